package api

import (
	"context"
	"math"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/webhook"
)

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
	if !p.Through.IsZero() {
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

// deliveryRoutes are what was sent to an endpoint, how it fares, and sending again.
func (a *API) deliveryRoutes() {
	const tag, one = webhooksTag, webhookPath
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
