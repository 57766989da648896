package api

import (
	"context"
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

// WebhookPath is embedded by the input of every operation on an endpoint.
type WebhookPath struct {
	TenantPath
	Webhook id.Webhook `path:"webhook" doc:"Id of the endpoint."`
}

const (
	webhooksTag  = "Webhooks"
	webhooksPath = "/v1/tenants/{tenant}/webhooks"
	webhookPath  = webhooksPath + "/{webhook}"
)

func (a *API) webhookRoutes() {
	const tag, hooks, one = webhooksTag, webhooksPath, webhookPath
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
