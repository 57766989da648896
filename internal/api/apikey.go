package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/secret"
)

// APIKey is a tenant's API key, as far as it may be shown.
type APIKey struct {
	ID             id.APIKey   `json:"id" example:"key_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	TenantID       id.Tenant   `json:"tenant_id"`
	ProjectID      id.Project  `json:"project_id,omitzero" doc:"The project it is confined to; absent: all of the tenant's."`
	Product        string      `json:"product,omitempty" example:"render" doc:"The product it is confined to; absent: all that the tenant is entitled to."`
	Environment    string      `json:"environment" enum:"live,test"`
	Name           string      `json:"name" example:"Production server"`
	Description    string      `json:"description,omitempty"`
	Prefix         string      `json:"prefix" example:"ll_live_1VqX" doc:"How the token begins: enough to tell it from others, too little to use it. Of an imported key, as far as it is known."`
	Last4          string      `json:"last4" example:"9aZx" doc:"How the token ends, likewise."`
	Scopes         []string    `json:"scopes" example:"[\"renders:*\"]"`
	AllowedIPs     []string    `json:"allowed_ips" doc:"Networks it works from; none: from everywhere."`
	RateLimitRPM   int         `json:"rate_limit_rpm" doc:"Requests a minute, all of which may come at once."`
	RateLimits     []RateLimit `json:"rate_limits" doc:"Beside that one."`
	IsActive       bool        `json:"is_active" doc:"The switch that can be turned back on."`
	DisabledAt     *time.Time  `json:"disabled_at,omitempty" doc:"Absent while it is on."`
	DisabledReason string      `json:"disabled_reason,omitempty"`
	State          string      `json:"state" enum:"active,disabled,expired,revoked" doc:"Now."`
	ExpiresAt      *time.Time  `json:"expires_at,omitempty" doc:"Absent: never."`
	RevokedAt      *time.Time  `json:"revoked_at,omitempty"`
	RevokedReason  string      `json:"revoked_reason,omitempty"`
	RotatedFrom    id.APIKey   `json:"rotated_from,omitzero" doc:"The key that this one replaced."`
	RotatedTo      id.APIKey   `json:"rotated_to,omitzero" doc:"The key that replaced this one."`
	GraceEndsAt    *time.Time  `json:"grace_ends_at,omitempty" doc:"With rotated_to: until when this one still works."`
	Generation     int         `json:"generation" minimum:"1" doc:"1, and one more with each rotation."`
	LastUsedAt     *time.Time  `json:"last_used_at,omitempty" doc:"Of the last verification that answered VALID, up to a second late."`
	LastUsedIP     *netip.Addr `json:"last_used_ip,omitempty"`
	UsageCount     int64       `json:"usage_count" doc:"Verifications that answered VALID, up to a second late."`
	Metadata       Metadata    `json:"metadata" doc:"Yours; a verification returns it."`
	ImportedAt     *time.Time  `json:"imported_at,omitempty" doc:"Absent: its token was made here."`
	LeakedAt       *time.Time  `json:"leaked_at,omitempty" doc:"When it was first reported as leaked; absent: it never was."`
	CreatedBy      string      `json:"created_by,omitempty" example:"user:operator_01jd3q8v6ze3nbq2m5xk7c9w4t" doc:"Who issued it: type and id."`
	CreatedAt      time.Time   `json:"created_at"`
	UpdatedAt      time.Time   `json:"updated_at" doc:"Use of the key does not move it."`
}

// TenantAPIKey is a key with the names of its tenant.
type TenantAPIKey struct {
	APIKey
	TenantSlug string `json:"tenant_slug" example:"acme"`
	TenantName string `json:"tenant_name" example:"Acme"`
}

// IssuedAPIKey is a new key with its token.
type IssuedAPIKey struct {
	APIKey

	Token string `json:"token" example:"ll_live_1VqX…9aZx" doc:"The secret. It is shown this once: keep it."`
}

// APIKeySelf is what a key is told about itself.
type APIKeySelf struct {
	TenantAPIKey
	TenantStatus string   `json:"tenant_status" enum:"demo,trial,active,frozen,suspended,archived" doc:"The effective one: the strictest of the tenant's and of those above it."`
	Products     []string `json:"products" doc:"That the tenant is entitled to now, and the key may be used for."`
}

// CreateAPIKey describes a new key.
type CreateAPIKey struct {
	Name         string      `json:"name" minLength:"1" maxLength:"100" example:"Production server" doc:"Unique among the tenant's keys that are not revoked."`
	Description  string      `json:"description,omitempty" maxLength:"1000"`
	Environment  string      `json:"environment,omitempty" enum:"live,test" default:"live"`
	Product      string      `json:"product,omitempty" maxLength:"100" doc:"Left out: every product that the tenant is entitled to."`
	ProjectID    id.Project  `json:"project_id,omitzero" doc:"Left out: every project of the tenant."`
	Scopes       []string    `json:"scopes,omitempty" maxItems:"100" example:"[\"renders:*\"]" doc:"Exact, or noun:*. Those that begin with landlord: are permissions on this API, which you must hold yourself."`
	AllowedIPs   []string    `json:"allowed_ips,omitempty" maxItems:"100" example:"[\"192.0.2.0/24\"]" doc:"Addresses and networks, IPv4 and IPv6. Left out: from everywhere."`
	RateLimitRPM int         `json:"rate_limit_rpm,omitempty" minimum:"1" maximum:"1000000" doc:"Left out: what the tenant's plan says, else 600."`
	RateLimits   []RateLimit `json:"rate_limits,omitempty" maxItems:"10" doc:"Beside that one. Those of the tenant and the product hold as well."`
	ExpiresAt    *time.Time  `json:"expires_at,omitempty" doc:"Left out: never, or as late as the tenant's plan and key policies allow."`
	Metadata     Metadata    `json:"metadata,omitempty" doc:"At most 8 KiB as JSON."`
}

// UpdateAPIKey changes a key; absent fields stay.
type UpdateAPIKey struct {
	Name         Required[string]    `json:"name,omitzero" maxLength:"100"`
	Description  Opt[string]         `json:"description,omitzero" maxLength:"1000"`
	Scopes       Opt[[]string]       `json:"scopes,omitzero" maxItems:"100"`
	AllowedIPs   Opt[[]string]       `json:"allowed_ips,omitzero" maxItems:"100"`
	RateLimitRPM Opt[int]            `json:"rate_limit_rpm,omitzero" doc:"null: what the tenant's plan says, else 600."`
	RateLimits   Opt[[]RateLimit]    `json:"rate_limits,omitzero" maxItems:"10" doc:"In place of all others."`
	ExpiresAt    Opt[time.Time]      `json:"expires_at,omitzero" doc:"null: never, or as late as the tenant's plan and key policies allow."`
	IsActive     Required[bool]      `json:"is_active,omitzero"`
	Metadata     Opt[map[string]any] `json:"metadata,omitzero" doc:"Merged key by key."`
}

// RotateAPIKey says how a key is replaced.
type RotateAPIKey struct {
	Grace     int            `json:"grace" minimum:"0" maximum:"2592000" example:"86400" doc:"Seconds that the old key goes on working, exactly; 0 ends it at once."`
	ExpiresAt Opt[time.Time] `json:"expires_at,omitzero" doc:"Of the new key; left out, as the old one's; null: never, or as late as the tenant's plan and key policies allow."`
}

// VerifyKey asks whether a token may do something. What is left out is not asked.
type VerifyKey struct {
	Key         string          `json:"key" maxLength:"255" example:"ll_live_1VqX…9aZx" doc:"The token, as the end caller sent it."`
	Product     string          `json:"product,omitempty" maxLength:"100" doc:"The tenant must be entitled to it now."`
	Project     id.Project      `json:"project,omitzero" doc:"The key must reach it."`
	Environment string          `json:"environment,omitempty" enum:"live,test"`
	Scopes      []string        `json:"scopes,omitempty" maxItems:"50" doc:"All of them are needed; no wildcards."`
	Write       bool            `json:"write,omitempty" doc:"The request changes something, though no scope tells so: a frozen tenant is denied."`
	IP          netip.Addr      `json:"ip,omitzero" doc:"The end caller's address. Keys with an allow-list refuse an unknown one."`
	Cost        *int64          `json:"cost,omitempty" minimum:"0" maximum:"1000000" doc:"Of each rate limit; left out, 1. 0 answers without spending or counting."`
	Limits      []RateLimitCost `json:"limits,omitempty" maxItems:"10" doc:"Rate limits of which this request spends another cost, or which only requests that name them spend from."`
}

// VerifyKeys asks many questions at once.
type VerifyKeys struct {
	Items []lenient[VerifyKey] `json:"items" minItems:"1" maxItems:"1000" doc:"Questions, each as the body of verify-key."`
}

// KeyVerifications answers the questions of a batch.
type KeyVerifications struct {
	Results []KeyVerificationResult `json:"results" doc:"One for each item, in their order."`
}

// KeyVerificationResult is the answer to one question of a batch.
type KeyVerificationResult struct {
	Verification *KeyVerification `json:"verification,omitempty" doc:"As verify-key answers; also when it denies."`
	Error        *BatchError      `json:"error,omitempty" doc:"Instead of it: why the question has no answer."`
}

// KeyVerification answers a verification.
type KeyVerification struct {
	Outcome     string           `json:"outcome" enum:"VALID,MALFORMED,NOT_FOUND,REVOKED,DISABLED,EXPIRED,TENANT_ARCHIVED,TENANT_SUSPENDED,TENANT_FROZEN,PROJECT_ARCHIVED,ENVIRONMENT_MISMATCH,IP_NOT_ALLOWED,NOT_ENTITLED,INSUFFICIENT_SCOPE,RATE_LIMITED,LIMIT_EXCEEDED" doc:"VALID lets the request pass. Don't tell strangers MALFORMED, NOT_FOUND, REVOKED, DISABLED and EXPIRED apart."`
	Valid       bool             `json:"valid" doc:"Whether outcome is VALID."`
	KeyID       id.APIKey        `json:"key_id,omitzero" doc:"Absent, like all that follows, with MALFORMED and NOT_FOUND."`
	KeyName     string           `json:"key_name,omitempty"`
	TenantID    id.Tenant        `json:"tenant_id,omitzero"`
	TenantSlug  string           `json:"tenant_slug,omitempty"`
	ProjectID   id.Project       `json:"project_id,omitzero" doc:"The one asked for, else the key's; absent: the tenant as a whole."`
	Product     string           `json:"product,omitempty" doc:"The one asked for, else the key's."`
	Environment string           `json:"environment,omitempty" enum:"live,test"`
	Scopes      []string         `json:"scopes,omitempty" doc:"All that the key holds."`
	Metadata    rawObject        `json:"metadata,omitempty" doc:"The key's."`
	ReadOnly    bool             `json:"read_only,omitempty" doc:"The tenant is frozen: nothing may be changed."`
	ExpiresAt   *time.Time       `json:"expires_at,omitempty" doc:"When the key, or its grace after rotation, ends."`
	Entitlement *KeyEntitlement  `json:"entitlement,omitempty" doc:"To product."`
	RateLimit   *KeyRateLimit    `json:"rate_limit,omitempty" doc:"The key's own. Absent when an earlier check denied."`
	RateLimits  []NamedRateLimit `json:"rate_limits,omitempty" doc:"All that the request came to, the key's own first. Absent when that is the only one, or an earlier check denied."`
}

// KeyEntitlement is the tenant's entitlement to the product of a verification.
type KeyEntitlement struct {
	Config    rawObject  `json:"config" doc:"In force: the product's default with the tenant's own over it."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Absent: for good."`
}

// rawObject is a JSON object that is passed on as it is stored.
type rawObject json.RawMessage

// MarshalJSON implements json.Marshaler.
func (o rawObject) MarshalJSON() ([]byte, error) { return o, nil }

// Schema implements huma.SchemaProvider.
func (rawObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

func (a *API) apiKeyOf(k apikey.Key) APIKey {
	return APIKey{
		ID: k.ID, TenantID: k.TenantID, ProjectID: k.ProjectID, Product: k.Product, Environment: string(k.Environment), Name: k.Name,
		Description: k.Description, Prefix: k.Prefix, Last4: k.Last4, Scopes: k.Scopes, AllowedIPs: cidrs(k.AllowedIPs), RateLimitRPM: k.RateLimitRPM,
		RateLimits: rateLimitsOf(k.RateLimits),
		IsActive:   k.IsActive, DisabledAt: utc(k.DisabledAt), DisabledReason: k.DisabledReason, State: string(a.s.APIKeys.StateOf(k)), ExpiresAt: utc(k.ExpiresAt), RevokedAt: utc(k.RevokedAt),
		RevokedReason: k.RevokedReason, RotatedFrom: k.RotatedFrom, RotatedTo: k.RotatedTo, GraceEndsAt: utc(k.GraceEndsAt), Generation: k.Generation,
		LastUsedAt: utc(k.LastUsedAt), LastUsedIP: k.LastUsedIP, UsageCount: k.UsageCount, Metadata: k.Metadata,
		ImportedAt: utc(k.ImportedAt), LeakedAt: utc(k.LeakedAt), CreatedBy: k.CreatedBy,
		CreatedAt: k.CreatedAt.UTC(), UpdatedAt: k.UpdatedAt.UTC(),
	}
}

// networks reads an allow-list, and says which of its elements is none.
func networks(list []string) ([]netip.Prefix, error) {
	var f fault.Fields
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		var ok bool
		out[i], ok = apikey.ParseNetwork(s)
		f.Check(ok, fmt.Sprintf("allowed_ips[%d]", i), "network_malformed", "This is neither an address nor a network in CIDR form: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32.")
	}
	return out, f.Err()
}

// KeyPath is embedded by the input of every operation on a key.
type KeyPath struct {
	Key id.APIKey `path:"key" doc:"Id of the key, not its token."`
}

func (a *API) apiKeyRoutes() {
	const tag, keys = "API keys", "/v1/tenants/{tenant}/api-keys"
	route(a, op{
		ID: "create-api-key", Method: "POST", Path: keys, Tag: tag, Creates: true, Summary: "Issue an API key",
		Description: "The token is in the answer and never again. Issuing a key with scopes that begin with landlord: needs those permissions.",
	}, a.createAPIKey)
	route(a, op{
		ID: "list-api-keys", Method: "GET", Path: keys, Tag: tag, Summary: "List a tenant's API keys", Description: "Newest first.",
	}, a.listAPIKeys)
	route(a, op{
		ID: "get-api-key", Method: "GET", Path: keys + "/{key}", Tag: tag, Summary: "Get an API key", Description: "Without its token, which nobody can read again.",
	}, a.getAPIKey)
	route(a, op{
		ID: "update-api-key", Method: "PATCH", Path: keys + "/{key}", Tag: tag, Summary: "Change an API key",
		Description: "JSON merge patch. Every replica sees the change within a second. A revoked or rotated key can't be changed.", Errors: []int{409, 412},
	}, a.updateAPIKey)
	route(a, op{
		ID: "revoke-api-key", Method: "POST", Path: keys + "/{key}/revoke", Tag: tag, Summary: "Revoke an API key",
		Description: "Ends the key for good, on every replica within a second, whatever the tenant's status is. Revoking twice is 409.", Errors: []int{409},
	}, a.revokeAPIKey)
	route(a, op{
		ID: "disable-api-key", Method: "POST", Path: keys + "/{key}/disable", Tag: tag, Summary: "Stop an API key for now",
		Description: "Until it is enabled again, on every replica within a second, whatever the tenant's status is. Disabling twice is 409.", Errors: []int{409},
	}, a.disableAPIKey)
	route(a, op{
		ID: "enable-api-key", Method: "POST", Path: keys + "/{key}/enable", Tag: tag, Summary: "Let a disabled API key work again", Errors: []int{409},
	}, a.enableAPIKey)
	route(a, op{
		ID: "search-api-keys", Method: "GET", Path: "/v1/api-keys", Tag: tag, Summary: "Find API keys of all tenants",
		Description: "Newest first: every tenant's for the platform, for a tenant's own credential those of its tenant and of those below it.",
	}, a.searchAPIKeys)
	route(a, op{
		ID: "rotate-api-key", Method: "POST", Path: keys + "/{key}/rotate", Tag: tag, Creates: true, Summary: "Replace an API key",
		Description: "Makes a new key with the same settings and answers with it and its token. The old one works for grace seconds more and answers EXPIRED " +
			"from then on. Of two that rotate a key at the same time, one gets 409.",
	}, a.rotateAPIKey)
	route(a, op{
		ID: "list-api-key-generations", Method: "GET", Path: keys + "/{key}/generations", Tag: tag, Summary: "List the generations of an API key",
		Description: "The keys that came before and after it by rotation, itself among them. Newest first.",
	}, a.listAPIKeyGenerations)
	route(a, op{
		ID: "get-api-key-self", Method: "GET", Path: "/v1/keys/self", Tag: tag, Summary: "Get the API key that asks",
		Description: "For any API key, whatever its scopes, test keys and keys of a project among them. It counts as a use of the key.",
	}, a.getAPIKeySelf)
	route(a, op{
		ID: "revoke-api-key-self", Method: "POST", Path: "/v1/keys/self/revoke", Tag: tag, Holder: true, Summary: "Revoke the API key that asks",
		Description: "Whoever holds a key may end it: needs no scope, and works from every address, beyond its rate limit, while it is disabled or expired, and " +
			"whatever the status of its tenant is. On every replica within a second, for good.", Errors: []int{409},
	}, a.revokeAPIKeySelf)
	route(a, op{
		ID: "verify-key", Method: "POST", Path: "/v1/keys/verify", Tag: tag, ReadOnly: true, Plain: a.verifyPlain, Summary: "Verify a key",
		Description: "Answers 200 with an outcome, also when it denies. Needs apikeys:verify. The checks run in this order, and one that denies spends nothing of " +
			"a later one: form, existence, key state, tenant and project state, environment, IP, entitlement, scope, rate limit, usage limit.",
	}, a.verifyKey)
	route(a, op{
		ID: "verify-keys", Method: "POST", Path: "/v1/keys/verify/batch", Tag: tag, ReadOnly: true, Summary: "Verify many keys",
		Description: "Up to 1000 questions, answered in their order and each as verify-key would: one that is malformed spoils no other, and a key that is asked " +
			"about twice spends and counts twice. Needs apikeys:verify. The body has at most 1 MiB.",
	}, a.verifyKeys)
}

type createAPIKeyInput struct {
	TenantPath
	Body CreateAPIKey
}

func (a *API) createAPIKey(ctx context.Context, in *createAPIKeyInput) (*created[IssuedAPIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	ips, err := networks(in.Body.AllowedIPs)
	if err != nil {
		return nil, err
	}
	b := in.Body
	return a.issuedAPIKey(a.s.APIKeys.Create(ctx, apikey.CreateParams{
		TenantID: tenant, ProjectID: b.ProjectID, Product: b.Product, Environment: apikey.Environment(b.Environment), Name: b.Name,
		Description: b.Description, Scopes: b.Scopes, AllowedIPs: ips, RateLimitRPM: b.RateLimitRPM,
		RateLimits: limitRulesOf(b.RateLimits), ExpiresAt: b.ExpiresAt, Metadata: b.Metadata,
	}))
}

func (a *API) issuedAPIKey(k apikey.Key, token secret.Text, err error) (*created[IssuedAPIKey], error) {
	if err != nil {
		return nil, err
	}
	return &created[IssuedAPIKey]{
		Location: "/v1/tenants/" + k.TenantID.String() + "/api-keys/" + k.ID.String(), ETag: etag(k.UpdatedAt),
		Body: IssuedAPIKey{APIKey: a.apiKeyOf(k), Token: token.Reveal()},
	}, nil
}

// KeyQuery is embedded by the input of every list of keys.
type KeyQuery struct {
	Environment    string    `query:"environment" enum:"live,test"`
	Product        string    `query:"product" maxLength:"100" doc:"Only those confined to this product."`
	State          string    `query:"state" enum:"active,disabled,expired,revoked" doc:"Only those in this state now."`
	Prefix         string    `query:"prefix" maxLength:"40" doc:"Only those whose token begins so; at most 4 characters of its random part are kept."`
	Last4          string    `query:"last4" minLength:"4" maxLength:"4" doc:"Only those whose token ends so."`
	CreatedBy      string    `query:"created_by" maxLength:"200" example:"user:operator_01jd3q8v6ze3nbq2m5xk7c9w4t" doc:"Only those that this one issued: type and id."`
	Leaked         bool      `query:"leaked" doc:"true: only those that were reported as leaked."`
	ExpiringBefore time.Time `query:"expiring_before" doc:"Only those that end, or whose grace ends, before this instant; revoked ones left out."`
}

func (q KeyQuery) filter() apikey.Filter {
	f := apikey.Filter{
		Product: q.Product, Environment: apikey.Environment(q.Environment), State: apikey.State(q.State), Prefix: q.Prefix, Last4: q.Last4,
		CreatedBy: q.CreatedBy, Leaked: q.Leaked,
	}
	if !q.ExpiringBefore.IsZero() {
		f.ExpiringBefore = &q.ExpiringBefore
	}
	return f
}

type listAPIKeysInput struct {
	TenantPath
	PageQuery
	KeyQuery
	ProjectID id.Project `query:"project_id" doc:"Only those confined to this project."`
}

func (a *API) listAPIKeys(ctx context.Context, in *listAPIKeysInput) (*listed[APIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	f := in.filter()
	f.TenantID, f.ProjectID, f.Page = tenant, in.ProjectID, in.request()
	p, err := a.s.APIKeys.List(ctx, f)
	if err != nil {
		return nil, err
	}
	return listOf(p, a.apiKeyOf), nil
}

type searchAPIKeysInput struct {
	PageQuery
	KeyQuery
}

func (a *API) searchAPIKeys(ctx context.Context, in *searchAPIKeysInput) (*listed[TenantAPIKey], error) {
	f := in.filter()
	f.Page = in.request()
	p, err := a.s.APIKeys.Search(ctx, f)
	if err != nil {
		return nil, err
	}
	return listOf(p, func(k apikey.TenantKey) TenantAPIKey {
		return TenantAPIKey{APIKey: a.apiKeyOf(k.Key), TenantSlug: k.TenantSlug, TenantName: k.TenantName}
	}), nil
}

type getAPIKeyInput struct {
	TenantPath
	KeyPath
}

func (a *API) getAPIKey(ctx context.Context, in *getAPIKeyInput) (*one[APIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return a.oneAPIKey(a.s.APIKeys.Get(ctx, tenant, in.Key))
}

func (a *API) oneAPIKey(k apikey.Key, err error) (*one[APIKey], error) {
	if err != nil {
		return nil, err
	}
	return &one[APIKey]{ETag: etag(k.UpdatedAt), Body: a.apiKeyOf(k)}, nil
}

type listAPIKeyGenerationsInput struct {
	TenantPath
	KeyPath
	PageQuery
}

func (a *API) listAPIKeyGenerations(ctx context.Context, in *listAPIKeyGenerationsInput) (*listed[APIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.APIKeys.Generations(ctx, tenant, in.Key, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, a.apiKeyOf), nil
}

type updateAPIKeyInput struct {
	TenantPath
	KeyPath
	Precondition
	Body UpdateAPIKey
}

func (a *API) updateAPIKey(ctx context.Context, in *updateAPIKeyInput) (*one[APIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	b := in.Body
	p := apikey.UpdateParams{
		TenantID: tenant, ID: in.Key, Name: b.Name.Field, Description: b.Description.Field, Scopes: b.Scopes.Field,
		RateLimitRPM: b.RateLimitRPM.Field, ExpiresAt: b.ExpiresAt.Field, IsActive: b.IsActive.Field, Metadata: b.Metadata.Field, IfMatch: version,
	}
	if list, ok := b.AllowedIPs.Get(); ok {
		ips, err := networks(list)
		if err != nil {
			return nil, err
		}
		p.AllowedIPs = patch.Set(ips)
	} else if b.AllowedIPs.IsNull() {
		p.AllowedIPs = patch.Null[[]netip.Prefix]()
	}
	if list, ok := b.RateLimits.Get(); ok {
		p.RateLimits = patch.Set(limitRulesOf(list))
	} else if b.RateLimits.IsNull() {
		p.RateLimits = patch.Null[[]ratelimit.Rule]()
	}
	return a.oneAPIKey(a.s.APIKeys.Update(ctx, p))
}

type keyActionInput struct {
	TenantPath
	KeyPath
	ReasonBody
}

func (a *API) revokeAPIKey(ctx context.Context, in *keyActionInput) (*one[APIKey], error) {
	return a.actOnKey(ctx, in, a.s.APIKeys.Revoke)
}

func (a *API) disableAPIKey(ctx context.Context, in *keyActionInput) (*one[APIKey], error) {
	return a.actOnKey(ctx, in, a.s.APIKeys.Disable)
}

func (a *API) enableAPIKey(ctx context.Context, in *keyActionInput) (*one[APIKey], error) {
	return a.actOnKey(ctx, in, a.s.APIKeys.Enable)
}

func (a *API) actOnKey(
	ctx context.Context, in *keyActionInput, act func(ctx context.Context, tenant id.Tenant, key id.APIKey, reason string) (apikey.Key, error),
) (*one[APIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return a.oneAPIKey(act(ctx, tenant, in.Key, in.reason()))
}

func (a *API) getAPIKeySelf(ctx context.Context, _ *struct{}) (*one[APIKeySelf], error) {
	k, err := a.s.APIKeys.Self(ctx)
	if err != nil {
		return nil, err
	}
	return &one[APIKeySelf]{ETag: etag(k.UpdatedAt), Body: APIKeySelf{
		TenantAPIKey: TenantAPIKey{APIKey: a.apiKeyOf(k.Key), TenantSlug: k.TenantSlug, TenantName: k.TenantName},
		TenantStatus: k.TenantStatus, Products: k.Products,
	}}, nil
}

type revokeSelfInput struct{ ReasonBody }

func (a *API) revokeAPIKeySelf(ctx context.Context, in *revokeSelfInput) (*one[APIKey], error) {
	return a.oneAPIKey(a.s.APIKeys.RevokeSelf(ctx, in.reason()))
}

type rotateAPIKeyInput struct {
	TenantPath
	KeyPath
	Body RotateAPIKey
}

func (a *API) rotateAPIKey(ctx context.Context, in *rotateAPIKeyInput) (*created[IssuedAPIKey], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return a.issuedAPIKey(a.s.APIKeys.Rotate(ctx, apikey.RotateParams{
		TenantID: tenant, ID: in.Key, Grace: time.Duration(in.Body.Grace) * time.Second, ExpiresAt: in.Body.ExpiresAt.Field,
	}))
}

type verifyKeyInput struct{ Body VerifyKey }

func (a *API) verifyKey(ctx context.Context, in *verifyKeyInput) (*plain[KeyVerification], error) {
	p := paramsOf(in.Body)
	v, err := a.s.APIKeys.Verify(ctx, &p)
	if err != nil {
		return nil, err
	}
	return &plain[KeyVerification]{Body: verificationOf(&v)}, nil
}

type verifyKeysInput struct{ Body VerifyKeys }

func (a *API) verifyKeys(ctx context.Context, in *verifyKeysInput) (*plain[KeyVerifications], error) {
	questions := make([]apikey.Question, len(in.Body.Items))
	for i, raw := range in.Body.Items {
		questions[i] = a.question(raw)
	}
	answers, err := a.s.APIKeys.VerifyAll(ctx, questions)
	if err != nil {
		return nil, err
	}
	out := KeyVerifications{Results: make([]KeyVerificationResult, len(answers))}
	for i := range answers {
		if err := answers[i].Err; err != nil {
			out.Results[i].Error = batchError(err)
		} else {
			out.Results[i].Verification = new(verificationOf(&answers[i].Verification))
		}
	}
	return &plain[KeyVerifications]{Body: out}, nil
}

// question reads an item of a batch, or says what is wrong with it.
func (a *API) question(raw lenient[VerifyKey]) apikey.Question {
	if p, ok := parsePlain(string(raw.raw)); ok { // as most are
		return apikey.Question{VerifyParams: p}
	}
	b, wrong := raw.value(a)
	if len(wrong) > 0 {
		return apikey.Question{Wrong: invalidItem(wrong)}
	}
	return apikey.Question{VerifyParams: paramsOf(b)}
}

func paramsOf(b VerifyKey) apikey.VerifyParams {
	p := apikey.VerifyParams{
		Token: b.Key, Product: b.Product, Project: b.Project, Environment: apikey.Environment(b.Environment), Scopes: b.Scopes,
		Write: b.Write, IP: b.IP, Limits: costsOf(b.Limits),
	}
	if b.Cost != nil {
		p.Cost, p.Peek = *b.Cost, *b.Cost == 0
	}
	return p
}

func verificationOf(v *apikey.Verification) KeyVerification {
	out := KeyVerification{
		Outcome: string(v.Outcome), Valid: v.Outcome == apikey.Valid, KeyID: v.KeyID, KeyName: v.KeyName, TenantID: v.TenantID,
		TenantSlug: v.TenantSlug, ProjectID: v.ProjectID, Product: v.Product, Environment: string(v.Environment), Scopes: v.Scopes,
		Metadata: rawObject(v.Metadata), ReadOnly: v.ReadOnly,
	}
	if !v.ExpiresAt.IsZero() {
		out.ExpiresAt = &v.ExpiresAt
	}
	if v.Config != nil {
		out.Entitlement = &KeyEntitlement{Config: rawObject(v.Config)}
		if !v.EntitledUntil.IsZero() {
			out.Entitlement.ExpiresAt = &v.EntitledUntil
		}
	}
	if d := v.Limit; d.Limit.Rate > 0 {
		out.RateLimit = &KeyRateLimit{Limit: d.Limit.Rate, Remaining: d.Remaining, Reset: wholeSeconds(d.ResetAfter)}
		if !d.Allowed {
			out.RateLimit.RetryAfter = d.RetryAfterSeconds()
		}
	}
	if len(v.Limits) > 0 {
		out.RateLimits = namedRateLimitsOf(v.Limits)
	}
	return out
}
