package api

import (
	"context"
	"math"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/webhook"
)

// Webhook is an endpoint of a tenant that is told what happened.
type Webhook struct {
	ID                  id.Webhook `json:"id" example:"webhook_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	TenantID            id.Tenant  `json:"tenant_id"`
	ProjectID           id.Project `json:"project_id,omitzero" doc:"The project whose events it is told; absent: all of the tenant's."`
	Name                string     `json:"name" example:"Order system"`
	URL                 string     `json:"url" example:"https://acme.example/hooks/landlord"`
	Events              []string   `json:"events" example:"[\"render.*\"]" doc:"Event types it is told: exact, or all below a prefix (render.*), or *."`
	Description         string     `json:"description"`
	Metadata            Metadata   `json:"metadata"`
	Headers             []string   `json:"headers" doc:"Names of the headers of its own that are sent along. Their values are not told again."`
	Signatures          []string   `json:"signatures" example:"[\"v1\"]" doc:"Versions of the Standard Webhooks signature that requests carry: v1 (HMAC-SHA256), v1a (ed25519)."`
	RateLimit           *int       `json:"rate_limit,omitempty" doc:"Requests a rate_period at most, over all replicas; absent: as many as max_in_flight lets through."`
	RatePeriod          string     `json:"rate_period" enum:"second,minute"`
	MaxInFlight         int        `json:"max_in_flight" doc:"Requests under way at a time."`
	Status              string     `json:"status" enum:"active,paused,disabled" doc:"What happens while it is not active is kept as skipped, and can be recovered."`
	StatusReason        string     `json:"status_reason,omitempty" doc:"Why it is paused or disabled: failing (too many failures for too long), gone (it answered 410), or what a person said."`
	DisabledAt          *time.Time `json:"disabled_at,omitempty"`
	LastTriggeredAt     *time.Time `json:"last_triggered_at,omitempty" doc:"When a request last ended, up to some seconds late."`
	LastStatusCode      *int       `json:"last_status_code,omitempty" doc:"Of the last answer; absent when there was none."`
	ConsecutiveFailures int        `json:"consecutive_failures" doc:"Failed requests since the last success."`
	FirstFailureAt      *time.Time `json:"first_failure_at,omitempty" doc:"When the first of them was."`
	CreatedAt           time.Time  `json:"created_at"`
	UpdatedAt           time.Time  `json:"updated_at" doc:"Results of deliveries do not move it."`
}

func webhookOf(e webhook.Endpoint) Webhook {
	return Webhook{
		ID: e.ID, TenantID: e.TenantID, ProjectID: e.ProjectID, Name: e.Name, URL: e.URL, Events: e.Events, Description: e.Description,
		Metadata: e.Metadata, Headers: orEmpty(e.Headers), Signatures: textsOf(e.Signatures), RateLimit: e.RateLimit,
		RatePeriod: string(e.RatePeriod), MaxInFlight: e.MaxInFlight, Status: string(e.Status), StatusReason: e.Reason,
		DisabledAt: utc(e.DisabledAt), LastTriggeredAt: utc(e.LastTriggeredAt), LastStatusCode: e.LastStatusCode,
		ConsecutiveFailures: e.ConsecutiveFailures, FirstFailureAt: utc(e.FirstFailureAt), CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(),
	}
}

// WebhookSecret signs requests to an endpoint.
type WebhookSecret struct {
	Version   string     `json:"version" enum:"v1,v1a"`
	PublicKey string     `json:"public_key,omitempty" example:"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=" doc:"Of v1a: what the receiver verifies with."`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Signs until then; absent: until it is rotated."`
}

// IssuedWebhookSecret is a new secret with its value.
type IssuedWebhookSecret struct {
	WebhookSecret

	Secret string `json:"secret" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" doc:"Shown this once: keep it."`
}

func webhookSecretOf(s webhook.Secret) WebhookSecret {
	return WebhookSecret{Version: string(s.Version), PublicKey: s.PublicKey(), CreatedAt: s.CreatedAt.UTC(), ExpiresAt: utc(s.ExpiresAt)}
}

func issuedWebhookSecretOf(s webhook.Secret) IssuedWebhookSecret {
	return IssuedWebhookSecret{WebhookSecret: webhookSecretOf(s), Secret: s.Value.Reveal()}
}

// IssuedWebhook is a new endpoint with its secrets.
type IssuedWebhook struct {
	Webhook

	Secrets []IssuedWebhookSecret `json:"secrets" doc:"One for each of signatures, shown this once."`
}

// CreateWebhook describes a new endpoint.
type CreateWebhook struct {
	Name        string            `json:"name" minLength:"1" maxLength:"200" example:"Order system"`
	URL         string            `json:"url" maxLength:"2000" example:"https://acme.example/hooks/landlord" doc:"https on port 443, unless the operator of this installation allows more. It must not lead into a private network."`
	Events      []string          `json:"events" maxItems:"50" example:"[\"render.*\",\"api_key.revoked\"]" doc:"Event types: exact, or all below a prefix (render.*), or *."`
	ProjectID   id.Project        `json:"project_id,omitzero" doc:"Only events of this project. Left out: all of the tenant's."`
	Description string            `json:"description,omitempty" maxLength:"1000"`
	Metadata    Metadata          `json:"metadata,omitempty" doc:"Your own data: at most 8 KiB as JSON."`
	Headers     map[string]string `json:"headers,omitempty" doc:"Headers to send along, at most 20 of 1000 bytes. Stored encrypted and not told again. Those of HTTP and of Standard Webhooks are not to be had."`
	Signatures  []string          `json:"signatures,omitempty" enum:"v1,v1a" maxItems:"2" doc:"Left out: v1."`
	Secret      string            `json:"secret,omitempty" maxLength:"200" doc:"A signing secret that the receiver has already: whsec_ and base64 of 24 to 64 bytes, or whsk_ and an ed25519 key. Left out, one is made."`
	RateLimit   *int              `json:"rate_limit,omitempty" minimum:"1" maximum:"10000" doc:"Requests a rate_period at most. Left out: no limit."`
	RatePeriod  string            `json:"rate_period,omitempty" enum:"second,minute" default:"second"`
	MaxInFlight int               `json:"max_in_flight,omitempty" minimum:"1" maximum:"100" default:"10"`
}

// UpdateWebhook changes an endpoint; absent fields stay.
type UpdateWebhook struct {
	Name        Required[string]        `json:"name,omitzero" maxLength:"200"`
	URL         Required[string]        `json:"url,omitzero" maxLength:"2000"`
	Events      Required[[]string]      `json:"events,omitzero" maxItems:"50"`
	Description Opt[string]             `json:"description,omitzero" maxLength:"1000"`
	Metadata    Opt[map[string]any]     `json:"metadata,omitzero" doc:"Merged key by key."`
	Headers     Opt[map[string]*string] `json:"headers,omitzero" doc:"Merged name by name; a null takes one away, null for all of it takes all."`
	Signatures  Required[[]string]      `json:"signatures,omitzero" doc:"A version that the endpoint has no secret of is refused: rotate one in first."`
	RateLimit   Opt[int]                `json:"rate_limit,omitzero" doc:"null: none."`
	RatePeriod  Required[string]        `json:"rate_period,omitzero"`
	MaxInFlight Opt[int]                `json:"max_in_flight,omitzero" doc:"null: 10."`
}

// RotateWebhookSecret says how a secret is replaced.
type RotateWebhookSecret struct {
	Version string `json:"version,omitempty" enum:"v1,v1a" doc:"Left out: v1, or what secret is."`
	Secret  string `json:"secret,omitempty" maxLength:"200" doc:"One that the receiver has already. Left out, one is made."`
	Overlap *int   `json:"overlap,omitempty" minimum:"0" maximum:"2592000" default:"86400" doc:"Seconds that the secrets before it go on signing beside it, exactly; 0 ends them at once."`
}

// WebhookDelivery is one event on its way to one endpoint.
type WebhookDelivery struct {
	ID          id.Delivery `json:"id" example:"delivery_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	WebhookID   id.Webhook  `json:"webhook_id"`
	EventID     id.Event    `json:"event_id" doc:"webhook-id of every request of it."`
	EventType   string      `json:"event_type" example:"render.completed"`
	State       string      `json:"state" enum:"pending,claimed,held,delivered,failed,skipped,cancelled" doc:"held: the tenant is suspended. skipped: the endpoint was not active."`
	Reason      string      `json:"reason,omitempty" doc:"Why it is held, failed, skipped or cancelled."`
	Attempts    int         `json:"attempts" doc:"Requests so far."`
	NextAt      *time.Time  `json:"next_attempt_at,omitempty"`
	ExpiresAt   time.Time   `json:"expires_at" doc:"It is not sent any more afterwards."`
	LastStatus  *int        `json:"last_status,omitempty" doc:"HTTP status of the last answer; absent when there was none."`
	DeliveredAt *time.Time  `json:"delivered_at,omitempty"`
	CreatedAt   time.Time   `json:"created_at" doc:"When it happened."`
}

func deliveryOf(d webhook.Delivery) WebhookDelivery {
	return WebhookDelivery{
		ID: d.ID, WebhookID: d.EndpointID, EventID: d.EventID, EventType: d.EventType, State: string(d.State), Reason: d.Reason, Attempts: d.Attempts,
		NextAt: utc(d.NextAt), ExpiresAt: d.ExpiresAt.UTC(), LastStatus: d.LastStatus, DeliveredAt: utc(d.DeliveredAt), CreatedAt: d.CreatedAt.UTC(),
	}
}

// WebhookAttempt is one request of a delivery.
type WebhookAttempt struct {
	ID              id.Attempt        `json:"id"`
	Attempt         int               `json:"attempt" doc:"1, 2, …"`
	Succeeded       bool              `json:"succeeded"`
	URL             string            `json:"url"`
	RequestHeaders  map[string]string `json:"request_headers" doc:"Without the signature's value and the values of the endpoint's own headers."`
	ResponseStatus  *int              `json:"response_status,omitempty" doc:"Absent when nothing was answered."`
	ResponseHeaders map[string]string `json:"response_headers,omitempty"`
	ResponseBody    *string           `json:"response_body,omitempty" doc:"Its first 8 KiB."`
	DurationMS      int               `json:"duration_ms" doc:"Milliseconds, to the end of the answer."`
	DNSMicros       *int              `json:"dns_us,omitempty" doc:"Microseconds of the name's look-up; absent on a connection that was there, like connect_us and tls_us."`
	ConnectMicros   *int              `json:"connect_us,omitempty"`
	TLSMicros       *int              `json:"tls_us,omitempty"`
	FirstByteMicros *int              `json:"first_byte_us,omitempty" doc:"From the end of the request to the first byte of the answer."`
	ErrorClass      string            `json:"error_class,omitempty" example:"connect_timeout" doc:"What went wrong, in one word."`
	ErrorMessage    string            `json:"error_message,omitempty" doc:"The same in a sentence."`
	CreatedAt       time.Time         `json:"created_at"`
}

func attemptOf(a webhook.Attempt) WebhookAttempt {
	return WebhookAttempt{
		ID: a.ID, Attempt: a.Attempt, Succeeded: a.Succeeded, URL: a.RequestURL, RequestHeaders: a.RequestHeaders, ResponseStatus: a.ResponseStatus,
		ResponseHeaders: a.ResponseHeaders, ResponseBody: a.ResponseBody, DurationMS: a.DurationMS, DNSMicros: a.DNSMicros, ConnectMicros: a.ConnectMicros,
		TLSMicros: a.TLSMicros, FirstByteMicros: a.FirstByteMicros, ErrorClass: a.ErrorClass, ErrorMessage: a.ErrorMessage, CreatedAt: a.CreatedAt.UTC(),
	}
}

// WebhookDeliveryDetail is a delivery with what was sent and every request of it.
type WebhookDeliveryDetail struct {
	WebhookDelivery

	Payload rawObject        `json:"payload,omitempty" doc:"data of the request's body; absent when the event was erased or its month has gone."`
	Log     []WebhookAttempt `json:"log" doc:"The latest 100 requests, oldest first."`
}

// RecoverWebhook chooses deliveries to send again.
type RecoverWebhook struct {
	Since  time.Time  `json:"since" doc:"What happened at or after this instant; at most 30 days back."`
	Until  *time.Time `json:"until,omitempty" doc:"What happened before this instant; left out: up to now."`
	Type   string     `json:"type,omitempty" maxLength:"200" doc:"Only events of this type, or below this prefix: render.*."`
	States []string   `json:"states,omitempty" enum:"failed,skipped,cancelled" maxItems:"3" doc:"Left out: failed and skipped."`
}

// ReplayWebhook chooses events that an endpoint was never sent.
type ReplayWebhook struct {
	Since time.Time  `json:"since" doc:"What happened at or after this instant; at most 30 days back."`
	Until *time.Time `json:"until,omitempty" doc:"What happened before this instant; left out: up to now."`
	Type  string     `json:"type,omitempty" maxLength:"200" doc:"Only events of this type, or below this prefix: render.*."`
}

// CancelWebhook chooses deliveries that wait.
type CancelWebhook struct {
	Since *time.Time `json:"since,omitempty" doc:"What happened at or after this instant; left out: all."`
	Until *time.Time `json:"until,omitempty" doc:"What happened before this instant; left out: up to now."`
	Type  string     `json:"type,omitempty" maxLength:"200" doc:"Only events of this type, or below this prefix: render.*."`
}

// WebhookPiece says how far a call came that works on many deliveries.
type WebhookPiece struct {
	Deliveries int        `json:"deliveries" doc:"How many this call changed or made: at most 5000."`
	More       bool       `json:"more" doc:"Call again, with through as since."`
	Through    *time.Time `json:"through,omitempty" doc:"When the last event happened that this call came to; absent when it found nothing."`
}

func pieceOf(p webhook.Piece) *plain[WebhookPiece] {
	out := WebhookPiece{Deliveries: p.Deliveries, More: p.More}
	if p.Deliveries > 0 {
		out.Through = utc(&p.Through)
	}
	return &plain[WebhookPiece]{Body: out}
}

// WebhookFare is how an endpoint fared for a while.
type WebhookFare struct {
	Attempts         int64      `json:"attempts" doc:"Requests."`
	Failures         int64      `json:"failures" doc:"Those of them that failed."`
	SuccessRate      float64    `json:"success_rate" doc:"Share of requests that succeeded, from 0 to 1; 1 of none."`
	P50              float64    `json:"p50_ms" doc:"Half of the requests took at most so long, failed ones included: milliseconds, estimated within 25 %."`
	P95              float64    `json:"p95_ms" doc:"Likewise of 95 in 100."`
	LastFailureAt    *time.Time `json:"last_failure_at,omitempty"`
	LastFailureClass string     `json:"last_failure_class,omitempty" example:"connect_timeout"`
}

// WebhookHour is how an endpoint fared in an hour.
type WebhookHour struct {
	Hour time.Time `json:"hour" doc:"Its beginning, UTC."`
	WebhookFare
}

// WebhookStats tell how an endpoint fares.
type WebhookStats struct {
	Since time.Time     `json:"since" doc:"Beginning of the first hour."`
	Until time.Time     `json:"until"`
	Total WebhookFare   `json:"total"`
	Hours []WebhookHour `json:"hours" doc:"Those in which anything was sent, the oldest first."`
}

func fareOf(f webhook.Fare) WebhookFare {
	return WebhookFare{
		Attempts: f.Attempts, Failures: f.Failures, SuccessRate: f.SuccessRate(), P50: tenths(f.Quantile(0.5)), P95: tenths(f.Quantile(0.95)),
		LastFailureAt: utc(f.LastFailureAt), LastFailureClass: f.LastFailure,
	}
}

// tenths rounds what is an estimate.
func tenths(ms float64) float64 { return math.Round(10*ms) / 10 }

// WebhookPath is embedded by the input of every operation on an endpoint.
type WebhookPath struct {
	TenantPath
	Webhook id.Webhook `path:"webhook" doc:"Id of the endpoint."`
}

func (a *API) webhookRoutes() {
	const tag, hooks = "Webhooks", "/v1/tenants/{tenant}/webhooks"
	const one = hooks + "/{webhook}"
	route(a, op{
		ID: "create-webhook", Method: "POST", Path: hooks, Tag: tag, Creates: true, Summary: "Create a webhook endpoint",
		Description: "Answers with the signing secrets, which are shown this once. Events from now on are delivered at least once, signed after Standard Webhooks 1.0.",
		Errors:      []int{409},
	}, a.createWebhook)
	route(a, op{ID: "list-webhooks", Method: "GET", Path: hooks, Tag: tag, Summary: "List a tenant's webhook endpoints", Description: "Newest first."}, a.listWebhooks)
	route(a, op{ID: "get-webhook", Method: "GET", Path: one, Tag: tag, Summary: "Get a webhook endpoint"}, a.getWebhook)
	route(a, op{
		ID: "update-webhook", Method: "PATCH", Path: one, Tag: tag, Summary: "Change a webhook endpoint",
		Description: "JSON merge patch. Deliveries that wait are sent as the endpoint is then.", Errors: []int{409, 412},
	}, a.updateWebhook)
	route(a, op{
		ID: "delete-webhook", Method: "DELETE", Path: one, Tag: tag, Status: 204, Summary: "Delete a webhook endpoint",
		Description: "Deletes the endpoint with its secrets and headers, for good. Deliveries that wait are cancelled; the log stays readable until its month goes.",
		Errors:      []int{409, 412},
	}, a.deleteWebhook)
	route(a, op{
		ID: "pause-webhook", Method: "POST", Path: one + "/pause", Tag: tag, Summary: "Pause a webhook endpoint",
		Description: "Nothing is sent to it. What happens meanwhile is kept as skipped, and can be recovered.", Errors: []int{409, 412},
	}, a.pauseWebhook)
	route(a, op{
		ID: "disable-webhook", Method: "POST", Path: one + "/disable", Tag: tag, Summary: "Disable a webhook endpoint",
		Description: "As pause, and as landlord itself does with an endpoint that fails for too long or answers 410.", Errors: []int{409, 412},
	}, a.disableWebhook)
	route(a, op{
		ID: "enable-webhook", Method: "POST", Path: one + "/enable", Tag: tag, Summary: "Enable a webhook endpoint",
		Description: "Sends to it again, from now on; its failures are forgotten. What was skipped stays so until it is recovered.", Errors: []int{409, 412},
	}, a.enableWebhook)
	route(a, op{
		ID: "get-webhook-secrets", Method: "GET", Path: one + "/secrets", Tag: tag, Summary: "Get an endpoint's signing secrets",
		Description: "Those that sign now, newest first, without their values.",
	}, a.listWebhookSecrets)
	route(a, op{
		ID: "rotate-webhook-secret", Method: "POST", Path: one + "/secrets/rotate", Tag: tag, Creates: true, Summary: "Rotate an endpoint's signing secret",
		Description: "Adds a secret, which is shown this once. Until the overlap is over, requests carry a signature of it and of those of its version before it.",
		Errors:      []int{409},
	}, a.rotateWebhookSecret)
	route(a, op{
		ID: "list-webhook-deliveries", Method: "GET", Path: one + "/deliveries", Tag: tag, Summary: "List an endpoint's deliveries",
		Description: "The newest event first. Of a deleted endpoint, too.",
	}, a.listWebhookDeliveries)
	route(a, op{
		ID: "get-webhook-delivery", Method: "GET", Path: one + "/deliveries/{delivery}", Tag: tag, Summary: "Get a delivery",
		Description: "With the payload and every request: headers, answer, times, and what went wrong.",
	}, a.getWebhookDelivery)
	route(a, op{
		ID: "resend-webhook-delivery", Method: "POST", Path: one + "/deliveries/{delivery}/resend", Tag: tag, Summary: "Send a delivery again",
		Description: "Now, whatever became of it, with the same webhook-id; the schedule of tries begins anew. One that waits for its next try is tried at once.",
		Errors:      []int{409},
	}, a.resendWebhookDelivery)
	route(a, op{
		ID: "cancel-webhook-delivery", Method: "POST", Path: one + "/deliveries/{delivery}/cancel", Tag: tag, Summary: "Cancel a delivery",
		Description: "One that is pending or held is given up; it can be sent again.", Errors: []int{409},
	}, a.cancelWebhookDelivery)
	route(a, op{
		ID: "recover-webhook", Method: "POST", Path: one + "/recover", Tag: tag, Summary: "Recover an endpoint's deliveries",
		Description: "Sends again what failed, and what was skipped while the endpoint was paused or disabled, the oldest first, up to 5000 a call. " +
			"Repeat it, with through as since, while there are more.",
		Errors: []int{409},
	}, a.recoverWebhook)
	route(a, op{
		ID: "replay-webhook", Method: "POST", Path: one + "/replay", Tag: tag, Summary: "Replay events that an endpoint missed",
		Description: "Sends what it was never sent although it wants it now: what happened before it was made, or before it wanted that type. The oldest first, " +
			"up to 5000 a call. Repeat it, with through as since, while there are more.",
		Errors: []int{409},
	}, a.replayWebhook)
	route(a, op{
		ID: "cancel-webhook", Method: "POST", Path: one + "/cancel", Tag: tag, Summary: "Cancel an endpoint's deliveries that wait",
		Description: "What is pending or held is given up, the oldest first, up to 5000 a call; it can be recovered. A request that is under way is not cut.",
		Errors:      []int{409},
	}, a.cancelWebhook)
	route(a, op{
		ID: "test-webhook", Method: "POST", Path: one + "/test", Tag: tag, Summary: "Send a test event to an endpoint",
		Description: "A webhook.test event goes to this endpoint only, through everything that other events go through. Answers with its delivery: get that to see what became of it.",
		Errors:      []int{409},
	}, a.testWebhook)
	route(a, op{
		ID: "get-webhook-stats", Method: "GET", Path: one + "/stats", Tag: tag, Summary: "See how an endpoint fares",
		Description: "By hours, up to 31 days at once. Of a deleted endpoint, too. A second late; a replica that is killed loses its last second.",
	}, a.getWebhookStats)
}

type createWebhookInput struct {
	TenantPath
	Body CreateWebhook
}

func (a *API) createWebhook(ctx context.Context, in *createWebhookInput) (*created[IssuedWebhook], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	b := in.Body
	e, secrets, err := a.s.Webhooks.Create(ctx, webhook.CreateParams{
		TenantID: tenant, ProjectID: b.ProjectID, Name: b.Name, URL: b.URL, Events: b.Events, Description: b.Description, Metadata: b.Metadata,
		Headers: b.Headers, Signatures: signaturesOf(b.Signatures), RateLimit: b.RateLimit, RatePeriod: webhook.Period(b.RatePeriod),
		MaxInFlight: b.MaxInFlight, Secret: secret.NewText(b.Secret),
	})
	if err != nil {
		return nil, err
	}
	out := IssuedWebhook{Webhook: webhookOf(e)}
	for _, s := range secrets {
		out.Secrets = append(out.Secrets, issuedWebhookSecretOf(s))
	}
	return &created[IssuedWebhook]{Location: "/v1/tenants/" + tenant.String() + "/webhooks/" + e.ID.String(), ETag: etag(e.UpdatedAt), Body: out}, nil
}

type listWebhooksInput struct {
	TenantPath
	PageQuery
	ProjectID id.Project `query:"project_id" doc:"Only those of this project."`
	Status    string     `query:"status" enum:"active,paused,disabled" doc:"Only those in this status."`
}

func (a *API) listWebhooks(ctx context.Context, in *listWebhooksInput) (*listed[Webhook], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Webhooks.List(ctx, webhook.Filter{TenantID: tenant, ProjectID: in.ProjectID, Status: webhook.Status(in.Status), Page: in.request()})
	if err != nil {
		return nil, err
	}
	return listOf(p, webhookOf), nil
}

type webhookInput struct{ WebhookPath }

func (a *API) getWebhook(ctx context.Context, in *webhookInput) (*one[Webhook], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return oneWebhook(a.s.Webhooks.Get(ctx, tenant, in.Webhook))
}

func oneWebhook(e webhook.Endpoint, err error) (*one[Webhook], error) {
	if err != nil {
		return nil, err
	}
	return &one[Webhook]{ETag: etag(e.UpdatedAt), Body: webhookOf(e)}, nil
}

type updateWebhookInput struct {
	WebhookPath
	Precondition
	Body UpdateWebhook
}

func (a *API) updateWebhook(ctx context.Context, in *updateWebhookInput) (*one[Webhook], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	b := in.Body
	return oneWebhook(a.s.Webhooks.Update(ctx, webhook.UpdateParams{
		TenantID: tenant, ID: in.Webhook, IfMatch: version, Name: b.Name.Field, URL: b.URL.Field, Events: b.Events.Field, Description: b.Description.Field,
		Metadata: b.Metadata.Field, Headers: b.Headers.Field, Signatures: converted(b.Signatures.Field, signaturesOf), RateLimit: b.RateLimit.Field,
		RatePeriod: converted(b.RatePeriod.Field, func(s string) webhook.Period { return webhook.Period(s) }), MaxInFlight: b.MaxInFlight.Field,
	}))
}

// converted is a field of another type.
func converted[A, B any](f patch.Field[A], to func(A) B) patch.Field[B] {
	if v, ok := f.Get(); ok {
		return patch.Set(to(v))
	}
	if f.IsNull() {
		return patch.Null[B]()
	}
	return patch.Field[B]{}
}

type deleteWebhookInput struct {
	WebhookPath
	Precondition
}

func (a *API) deleteWebhook(ctx context.Context, in *deleteWebhookInput) (*empty, error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	return nil, a.s.Webhooks.Delete(ctx, tenant, in.Webhook, version)
}

type turnWebhookInput struct {
	WebhookPath
	Precondition
	ReasonBody
}

func (a *API) pauseWebhook(ctx context.Context, in *turnWebhookInput) (*one[Webhook], error) {
	return a.turnWebhook(ctx, in, a.s.Webhooks.Pause)
}

func (a *API) disableWebhook(ctx context.Context, in *turnWebhookInput) (*one[Webhook], error) {
	return a.turnWebhook(ctx, in, a.s.Webhooks.Disable)
}

func (a *API) enableWebhook(ctx context.Context, in *turnWebhookInput) (*one[Webhook], error) {
	return a.turnWebhook(ctx, in, a.s.Webhooks.Enable)
}

func (a *API) turnWebhook(
	ctx context.Context, in *turnWebhookInput, turn func(context.Context, webhook.StatusParams) (webhook.Endpoint, error),
) (*one[Webhook], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	return oneWebhook(turn(ctx, webhook.StatusParams{TenantID: tenant, ID: in.Webhook, Reason: in.reason(), IfMatch: version}))
}

func (a *API) listWebhookSecrets(ctx context.Context, in *webhookInput) (*listed[WebhookSecret], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	secrets, err := a.s.Webhooks.Secrets(ctx, tenant, in.Webhook)
	if err != nil {
		return nil, err
	}
	out := &listed[WebhookSecret]{Body: Page[WebhookSecret]{Data: []WebhookSecret{}}}
	for _, s := range secrets {
		out.Body.Data = append(out.Body.Data, webhookSecretOf(s))
	}
	return out, nil
}

type rotateWebhookSecretInput struct {
	WebhookPath
	Body RotateWebhookSecret
}

func (a *API) rotateWebhookSecret(ctx context.Context, in *rotateWebhookSecretInput) (*created[IssuedWebhookSecret], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	overlap := webhook.DefaultOverlap
	if in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	s, err := a.s.Webhooks.RotateSecret(ctx, webhook.RotateParams{
		TenantID: tenant, ID: in.Webhook, Version: webhook.Signature(in.Body.Version), Secret: secret.NewText(in.Body.Secret), Overlap: overlap,
	})
	if err != nil {
		return nil, err
	}
	return &created[IssuedWebhookSecret]{
		Location: "/v1/tenants/" + tenant.String() + "/webhooks/" + in.Webhook.String() + "/secrets", ETag: etag(s.CreatedAt), Body: issuedWebhookSecretOf(s),
	}, nil
}

type listWebhookDeliveriesInput struct {
	WebhookPath
	PageQuery
	State string    `query:"state" enum:"pending,claimed,held,delivered,failed,skipped,cancelled" doc:"Only those in this state now."`
	Type  string    `query:"type" maxLength:"200" doc:"Only events of this type, or below this prefix: render.*."`
	Since time.Time `query:"since" doc:"Only what happened at or after this instant."`
	Until time.Time `query:"until" doc:"Only what happened before this instant."`
}

func (a *API) listWebhookDeliveries(ctx context.Context, in *listWebhookDeliveriesInput) (*listed[WebhookDelivery], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	f := webhook.DeliveryFilter{TenantID: tenant, EndpointID: in.Webhook, State: webhook.State(in.State), Type: in.Type, Page: in.request()}
	if !in.Since.IsZero() {
		f.Since = &in.Since
	}
	if !in.Until.IsZero() {
		f.Until = &in.Until
	}
	p, err := a.s.Webhooks.Deliveries(ctx, f)
	if err != nil {
		return nil, err
	}
	return listOf(p, deliveryOf), nil
}

type webhookDeliveryInput struct {
	WebhookPath
	Delivery id.Delivery `path:"delivery" doc:"Id of the delivery."`
}

func (a *API) getWebhookDelivery(ctx context.Context, in *webhookDeliveryInput) (*plain[WebhookDeliveryDetail], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.s.Webhooks.Delivery(ctx, tenant, in.Webhook, in.Delivery)
	if err != nil {
		return nil, err
	}
	out := WebhookDeliveryDetail{WebhookDelivery: deliveryOf(e.Delivery), Payload: rawObject(e.Payload), Log: []WebhookAttempt{}}
	for _, t := range e.Attempts {
		out.Log = append(out.Log, attemptOf(t))
	}
	return &plain[WebhookDeliveryDetail]{Body: out}, nil
}

func (a *API) resendWebhookDelivery(ctx context.Context, in *webhookDeliveryInput) (*plain[WebhookDelivery], error) {
	return a.onDelivery(ctx, in, a.s.Webhooks.Resend)
}

func (a *API) cancelWebhookDelivery(ctx context.Context, in *webhookDeliveryInput) (*plain[WebhookDelivery], error) {
	return a.onDelivery(ctx, in, a.s.Webhooks.CancelOne)
}

func (a *API) onDelivery(ctx context.Context, in *webhookDeliveryInput,
	do func(context.Context, id.Tenant, id.Webhook, id.Delivery) (webhook.Delivery, error),
) (*plain[WebhookDelivery], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	d, err := do(ctx, tenant, in.Webhook, in.Delivery)
	if err != nil {
		return nil, err
	}
	return &plain[WebhookDelivery]{Body: deliveryOf(d)}, nil
}

type recoverWebhookInput struct {
	WebhookPath
	Body RecoverWebhook
}

func (a *API) recoverWebhook(ctx context.Context, in *recoverWebhookInput) (*plain[WebhookPiece], error) {
	r, err := a.rangeOf(ctx, in.WebhookPath, &in.Body.Since, in.Body.Until, in.Body.Type)
	if err != nil {
		return nil, err
	}
	states := make([]webhook.State, len(in.Body.States))
	for i, s := range in.Body.States {
		states[i] = webhook.State(s)
	}
	p, err := a.s.Webhooks.Recover(ctx, webhook.RecoverParams{Range: r, States: states})
	if err != nil {
		return nil, err
	}
	return pieceOf(p), nil
}

type replayWebhookInput struct {
	WebhookPath
	Body ReplayWebhook
}

func (a *API) replayWebhook(ctx context.Context, in *replayWebhookInput) (*plain[WebhookPiece], error) {
	r, err := a.rangeOf(ctx, in.WebhookPath, &in.Body.Since, in.Body.Until, in.Body.Type)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Webhooks.Replay(ctx, r)
	if err != nil {
		return nil, err
	}
	return pieceOf(p), nil
}

type cancelWebhookInput struct {
	WebhookPath
	Body CancelWebhook
}

func (a *API) cancelWebhook(ctx context.Context, in *cancelWebhookInput) (*plain[WebhookPiece], error) {
	r, err := a.rangeOf(ctx, in.WebhookPath, in.Body.Since, in.Body.Until, in.Body.Type)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Webhooks.Cancel(ctx, r)
	if err != nil {
		return nil, err
	}
	return pieceOf(p), nil
}

func (a *API) rangeOf(ctx context.Context, in WebhookPath, since, until *time.Time, eventType string) (webhook.Range, error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	r := webhook.Range{TenantID: tenant, EndpointID: in.Webhook, Type: eventType}
	if since != nil {
		r.Since = *since
	}
	if until != nil {
		r.Until = *until
	}
	return r, err
}

func (a *API) testWebhook(ctx context.Context, in *webhookInput) (*plain[WebhookDelivery], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	d, err := a.s.Webhooks.Test(ctx, tenant, in.Webhook)
	if err != nil {
		return nil, err
	}
	return &plain[WebhookDelivery]{Body: deliveryOf(d)}, nil
}

type webhookStatsInput struct {
	WebhookPath
	Since time.Time `query:"since" doc:"From the hour of this instant on. Left out: a day before until."`
	Until time.Time `query:"until" doc:"Before this instant. Left out: now."`
}

func (a *API) getWebhookStats(ctx context.Context, in *webhookStatsInput) (*plain[WebhookStats], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p := webhook.StatsParams{TenantID: tenant, EndpointID: in.Webhook, Since: in.Since, Until: in.Until}
	s, err := a.s.Webhooks.Stats(ctx, p)
	if err != nil {
		return nil, err
	}
	out := WebhookStats{Since: s.Since.UTC(), Until: s.Until.UTC(), Total: fareOf(s.Total), Hours: make([]WebhookHour, len(s.Hours))}
	for i, h := range s.Hours {
		out.Hours[i] = WebhookHour{Hour: h.Hour.UTC(), WebhookFare: fareOf(h)}
	}
	return &plain[WebhookStats]{Body: out}, nil
}

func signaturesOf(texts []string) []webhook.Signature {
	out := make([]webhook.Signature, len(texts))
	for i, t := range texts {
		out[i] = webhook.Signature(t)
	}
	return out
}

func textsOf[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
