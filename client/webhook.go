package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Webhook is an endpoint of a tenant that is told what happened.
type Webhook struct {
	ID                  string         `json:"id"`
	TenantID            string         `json:"tenant_id"`
	ProjectID           string         `json:"project_id"` // "": events of the whole tenant
	Name                string         `json:"name"`
	URL                 string         `json:"url"`
	Events              []string       `json:"events"` // types, prefixes (render.*), or *
	Description         string         `json:"description"`
	Metadata            map[string]any `json:"metadata"`
	Headers             []string       `json:"headers"`    // names; the values are not told again
	Signatures          []string       `json:"signatures"` // v1, v1a
	RateLimit           *int           `json:"rate_limit"` // requests a RatePeriod; nil: none
	RatePeriod          string         `json:"rate_period"`
	MaxInFlight         int            `json:"max_in_flight"`
	Status              string         `json:"status"` // active, paused or disabled
	StatusReason        string         `json:"status_reason"`
	DisabledAt          *time.Time     `json:"disabled_at"`
	LastTriggeredAt     *time.Time     `json:"last_triggered_at"`
	LastStatusCode      *int           `json:"last_status_code"`
	ConsecutiveFailures int            `json:"consecutive_failures"`
	FirstFailureAt      *time.Time     `json:"first_failure_at"`
	CreatedAt           time.Time      `json:"created_at"`
	UpdatedAt           time.Time      `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// WebhookSecret signs requests to an endpoint, after Standard Webhooks 1.0.
type WebhookSecret struct {
	Version   string     `json:"version"`    // v1 (HMAC-SHA256) or v1a (ed25519)
	PublicKey string     `json:"public_key"` // whpk_… of v1a
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: signs until it is rotated
}

// IssuedWebhookSecret is a new secret with its value, which is shown this once.
type IssuedWebhookSecret struct {
	WebhookSecret

	Secret string `json:"secret"` // whsec_… or whsk_…
}

// IssuedWebhook is a new endpoint with its secrets, which are shown this once.
type IssuedWebhook struct {
	Webhook

	Secrets []IssuedWebhookSecret `json:"secrets"`
}

// CreateWebhook describes a new endpoint. Name, URL and Events are required.
type CreateWebhook struct {
	Name        string            `json:"name"`
	URL         string            `json:"url"`
	Events      []string          `json:"events"`
	ProjectID   string            `json:"project_id,omitempty"`
	Description string            `json:"description,omitempty"`
	Metadata    map[string]any    `json:"metadata,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Signatures  []string          `json:"signatures,omitempty"` // none: v1
	Secret      string            `json:"secret,omitempty"`     // one that the receiver has; "": one is made
	RateLimit   *int              `json:"rate_limit,omitempty"`
	RatePeriod  string            `json:"rate_period,omitempty"`   // second or minute; "": second
	MaxInFlight int               `json:"max_in_flight,omitempty"` // 0: 10
}

// UpdateWebhook changes an endpoint; fields left out stay.
type UpdateWebhook struct {
	Name        Patch[string]             `json:"name,omitzero"`
	URL         Patch[string]             `json:"url,omitzero"`
	Events      Patch[[]string]           `json:"events,omitzero"`
	Description Patch[string]             `json:"description,omitzero"`
	Metadata    Patch[map[string]any]     `json:"metadata,omitzero"` // merged key by key
	Headers     Patch[map[string]*string] `json:"headers,omitzero"`  // merged name by name; nil takes one away
	Signatures  Patch[[]string]           `json:"signatures,omitzero"`
	RateLimit   Patch[int]                `json:"rate_limit,omitzero"`
	RatePeriod  Patch[string]             `json:"rate_period,omitzero"`
	MaxInFlight Patch[int]                `json:"max_in_flight,omitzero"`

	IfMatch string `json:"-"` // only if the endpoint still has this ETag; "" is any
}

// RotateWebhookSecret says how a secret is replaced.
type RotateWebhookSecret struct {
	Version string `json:"version,omitempty"` // v1 or v1a; "": v1
	Secret  string `json:"secret,omitempty"`  // one that the receiver has; "": one is made
	Overlap *int   `json:"overlap,omitempty"` // seconds; nil: a day, 0: the ones before it end at once
}

// WebhookFilter chooses endpoints; zero fields choose any.
type WebhookFilter struct {
	ProjectID string
	Status    string // active, paused or disabled
	ListOptions
}

// WebhookDelivery is one event on its way to one endpoint.
type WebhookDelivery struct {
	ID            string     `json:"id"`
	WebhookID     string     `json:"webhook_id"`
	EventID       string     `json:"event_id"` // webhook-id of each of its requests
	EventType     string     `json:"event_type"`
	State         string     `json:"state"` // pending, claimed, held, delivered, failed, skipped or cancelled
	Reason        string     `json:"reason"`
	Attempts      int        `json:"attempts"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	ExpiresAt     time.Time  `json:"expires_at"`
	LastStatus    *int       `json:"last_status"` // HTTP status of the last answer
	DeliveredAt   *time.Time `json:"delivered_at"`
	CreatedAt     time.Time  `json:"created_at"` // when it happened
}

// WebhookAttempt is one request of a delivery. Its parts are in microseconds, and
// absent when a connection was there already.
type WebhookAttempt struct {
	ID              string            `json:"id"`
	Attempt         int               `json:"attempt"`
	Succeeded       bool              `json:"succeeded"`
	URL             string            `json:"url"`
	RequestHeaders  map[string]string `json:"request_headers"`
	ResponseStatus  *int              `json:"response_status"` // nil: nothing was answered
	ResponseHeaders map[string]string `json:"response_headers"`
	ResponseBody    *string           `json:"response_body"` // its first 8 KiB
	DurationMS      int               `json:"duration_ms"`
	DNSMicros       *int              `json:"dns_us"`
	ConnectMicros   *int              `json:"connect_us"`
	TLSMicros       *int              `json:"tls_us"`
	FirstByteMicros *int              `json:"first_byte_us"`
	ErrorClass      string            `json:"error_class"`
	ErrorMessage    string            `json:"error_message"`
	CreatedAt       time.Time         `json:"created_at"`
}

// WebhookDeliveryDetail is a delivery with what was sent and its requests.
type WebhookDeliveryDetail struct {
	WebhookDelivery

	Payload map[string]any   `json:"payload"`
	Log     []WebhookAttempt `json:"log"` // oldest first
}

// WebhookRange chooses deliveries or events of an endpoint. Since is required to
// recover and replay.
type WebhookRange struct {
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Type   string    `json:"type,omitempty"`   // exact, or a prefix: render.*
	States []string  `json:"states,omitempty"` // to recover from: failed, skipped, cancelled; none: the first two
}

// WebhookPiece says how far a call came that works on many deliveries.
type WebhookPiece struct {
	Deliveries int        `json:"deliveries"` // changed or made by this call
	More       bool       `json:"more"`       // call again, with Through as Since
	Through    *time.Time `json:"through"`
}

// WebhookFare is how an endpoint fared for a while. Times are in milliseconds, within
// a quarter.
type WebhookFare struct {
	Attempts         int64      `json:"attempts"`
	Failures         int64      `json:"failures"`
	SuccessRate      float64    `json:"success_rate"` // from 0 to 1
	P50              float64    `json:"p50_ms"`
	P95              float64    `json:"p95_ms"`
	LastFailureAt    *time.Time `json:"last_failure_at"`
	LastFailureClass string     `json:"last_failure_class"`
}

// WebhookHour is how an endpoint fared in an hour.
type WebhookHour struct {
	Hour time.Time `json:"hour"`
	WebhookFare
}

// WebhookStats tell how an endpoint fares.
type WebhookStats struct {
	Since time.Time     `json:"since"`
	Until time.Time     `json:"until"`
	Total WebhookFare   `json:"total"`
	Hours []WebhookHour `json:"hours"` // those in which anything was sent, the oldest first
}

// WebhookDeliveryFilter chooses deliveries; zero fields choose any.
type WebhookDeliveryFilter struct {
	State string
	Type  string // exact, or a prefix: render.*
	Since time.Time
	Until time.Time
	ListOptions
}

// Webhooks are the operations on tenants' endpoints.
type Webhooks struct{ c *Client }

// Create makes an endpoint. Its secrets are in the answer and never again.
func (s *Webhooks) Create(ctx context.Context, tenant string, in CreateWebhook) (*IssuedWebhook, error) {
	w := &IssuedWebhook{}
	return result(w, s.c.do(ctx, request{method: http.MethodPost, path: hooksPath(tenant), body: in, out: w, creates: true, etag: &w.ETag}))
}

// Get returns an endpoint.
func (s *Webhooks) Get(ctx context.Context, tenant, id string) (*Webhook, error) {
	return s.call(ctx, http.MethodGet, hooksPath(tenant, id), nil, "")
}

// List returns a page of a tenant's endpoints, newest first.
func (s *Webhooks) List(ctx context.Context, tenant string, f WebhookFilter) (*Page[Webhook], error) {
	q := f.query()
	set(q, "project_id", f.ProjectID)
	set(q, "status", f.Status)
	return list[Webhook](ctx, s.c, hooksPath(tenant), q)
}

// All walks all pages of List.
func (s *Webhooks) All(ctx context.Context, tenant string, f WebhookFilter) iter.Seq2[Webhook, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[Webhook], error) {
		f.Cursor = cursor
		return s.List(ctx, tenant, f)
	})
}

// Update changes an endpoint.
func (s *Webhooks) Update(ctx context.Context, tenant, id string, in UpdateWebhook) (*Webhook, error) {
	return s.call(ctx, http.MethodPatch, hooksPath(tenant, id), in, in.IfMatch)
}

// Delete takes an endpoint away for good, with its secrets and headers.
func (s *Webhooks) Delete(ctx context.Context, tenant, id string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: hooksPath(tenant, id)})
}

// Pause stops sending to an endpoint. What happens meanwhile can be recovered.
func (s *Webhooks) Pause(ctx context.Context, tenant, id, why string) (*Webhook, error) {
	return s.call(ctx, http.MethodPost, hooksPath(tenant, id, "pause"), reason{why}, "")
}

// Disable stops sending to an endpoint, as landlord does with one that keeps failing.
func (s *Webhooks) Disable(ctx context.Context, tenant, id, why string) (*Webhook, error) {
	return s.call(ctx, http.MethodPost, hooksPath(tenant, id, "disable"), reason{why}, "")
}

// Enable sends to an endpoint again, from now on.
func (s *Webhooks) Enable(ctx context.Context, tenant, id, why string) (*Webhook, error) {
	return s.call(ctx, http.MethodPost, hooksPath(tenant, id, "enable"), reason{why}, "")
}

// Secrets lists the secrets that sign now, newest first, without their values.
func (s *Webhooks) Secrets(ctx context.Context, tenant, id string) ([]WebhookSecret, error) {
	p, err := list[WebhookSecret](ctx, s.c, hooksPath(tenant, id, "secrets"), nil)
	if err != nil {
		return nil, err
	}
	return p.Data, nil
}

// RotateSecret adds a secret, whose value is in the answer and never again. The ones
// before it sign beside it until the overlap is over.
func (s *Webhooks) RotateSecret(ctx context.Context, tenant, id string, in RotateWebhookSecret) (*IssuedWebhookSecret, error) {
	out := &IssuedWebhookSecret{}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: hooksPath(tenant, id, "secrets", "rotate"), body: in, out: out, creates: true}))
}

// Deliveries returns a page of an endpoint's log, the newest event first.
func (s *Webhooks) Deliveries(ctx context.Context, tenant, id string, f WebhookDeliveryFilter) (*Page[WebhookDelivery], error) {
	q := f.query()
	set(q, "state", f.State)
	set(q, "type", f.Type)
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return list[WebhookDelivery](ctx, s.c, hooksPath(tenant, id, "deliveries"), q)
}

// AllDeliveries walks all pages of Deliveries.
func (s *Webhooks) AllDeliveries(ctx context.Context, tenant, id string, f WebhookDeliveryFilter) iter.Seq2[WebhookDelivery, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[WebhookDelivery], error) {
		f.Cursor = cursor
		return s.Deliveries(ctx, tenant, id, f)
	})
}

// Delivery returns a delivery with its payload and requests.
func (s *Webhooks) Delivery(ctx context.Context, tenant, id, delivery string) (*WebhookDeliveryDetail, error) {
	d := &WebhookDeliveryDetail{}
	return result(d, s.c.do(ctx, request{method: http.MethodGet, path: hooksPath(tenant, id, "deliveries", delivery), out: d}))
}

// Resend sends a delivery again, now, whatever became of it.
func (s *Webhooks) Resend(ctx context.Context, tenant, id, delivery string) (*WebhookDelivery, error) {
	return s.delivery(ctx, hooksPath(tenant, id, "deliveries", delivery, "resend"))
}

// CancelDelivery gives up a delivery that waits to be sent.
func (s *Webhooks) CancelDelivery(ctx context.Context, tenant, id, delivery string) (*WebhookDelivery, error) {
	return s.delivery(ctx, hooksPath(tenant, id, "deliveries", delivery, "cancel"))
}

// Test sends a test event to an endpoint and to no other.
func (s *Webhooks) Test(ctx context.Context, tenant, id string) (*WebhookDelivery, error) {
	return s.delivery(ctx, hooksPath(tenant, id, "test"))
}

func (s *Webhooks) delivery(ctx context.Context, path string) (*WebhookDelivery, error) {
	d := &WebhookDelivery{}
	return result(d, s.c.do(ctx, request{method: http.MethodPost, path: path, out: d}))
}

// Recover sends again what failed or was skipped, up to 5000 a call: while there are
// More, call again.
func (s *Webhooks) Recover(ctx context.Context, tenant, id string, r WebhookRange) (*WebhookPiece, error) {
	return s.piece(ctx, hooksPath(tenant, id, "recover"), r)
}

// Replay sends what an endpoint was never sent although it wants it now, likewise.
func (s *Webhooks) Replay(ctx context.Context, tenant, id string, r WebhookRange) (*WebhookPiece, error) {
	return s.piece(ctx, hooksPath(tenant, id, "replay"), r)
}

// Cancel gives up what waits to be sent, likewise.
func (s *Webhooks) Cancel(ctx context.Context, tenant, id string, r WebhookRange) (*WebhookPiece, error) {
	return s.piece(ctx, hooksPath(tenant, id, "cancel"), r)
}

func (s *Webhooks) piece(ctx context.Context, path string, r WebhookRange) (*WebhookPiece, error) {
	p := &WebhookPiece{}
	return result(p, s.c.do(ctx, request{method: http.MethodPost, path: path, body: r, out: p}))
}

// Stats tell how an endpoint fares, by hours. Zero times are a day ago and now.
func (s *Webhooks) Stats(ctx context.Context, tenant, id string, since, until time.Time) (*WebhookStats, error) {
	q := url.Values{}
	for name, at := range map[string]time.Time{"since": since, "until": until} {
		if !at.IsZero() {
			q.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	out := &WebhookStats{}
	return result(out, s.c.do(ctx, request{method: http.MethodGet, path: hooksPath(tenant, id, "stats"), query: q, out: out}))
}

func hooksPath(tenant string, rest ...string) string {
	return path(append([]string{"tenants", tenant, "webhooks"}, rest...)...)
}

func (s *Webhooks) call(ctx context.Context, method, path string, body any, ifMatch string) (*Webhook, error) {
	w := &Webhook{}
	return result(w, s.c.do(ctx, request{method: method, path: path, body: body, out: w, ifMatch: ifMatch, etag: &w.ETag}))
}
