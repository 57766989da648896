package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// APIKey is a tenant's API key, without its token.
type APIKey struct {
	ID             string         `json:"id"`
	TenantID       string         `json:"tenant_id"`
	ProjectID      string         `json:"project_id"`  // "" is every project of the tenant
	Product        string         `json:"product"`     // "" is every product the tenant is entitled to
	Environment    string         `json:"environment"` // live or test
	Name           string         `json:"name"`
	Description    string         `json:"description"`
	Prefix         string         `json:"prefix"` // how the token begins, and
	Last4          string         `json:"last4"`  // how it ends
	Scopes         []string       `json:"scopes"`
	AllowedIPs     []string       `json:"allowed_ips"`    // none is from everywhere
	RateLimitRPM   int            `json:"rate_limit_rpm"` // requests a minute
	RateLimits     []RateLimit    `json:"rate_limits"`    // beside that one
	IsActive       bool           `json:"is_active"`
	DisabledAt     *time.Time     `json:"disabled_at"` // nil while it is on
	DisabledReason string         `json:"disabled_reason"`
	State          string         `json:"state"`      // active, disabled, expired or revoked; now
	ExpiresAt      *time.Time     `json:"expires_at"` // nil is never
	RevokedAt      *time.Time     `json:"revoked_at"`
	RevokedReason  string         `json:"revoked_reason"`
	RotatedFrom    string         `json:"rotated_from"`  // the key that this one replaced
	RotatedTo      string         `json:"rotated_to"`    // the key that replaced this one
	GraceEndsAt    *time.Time     `json:"grace_ends_at"` // with RotatedTo: until when this one works
	Generation     int            `json:"generation"`    // 1, and one more with each rotation
	LastUsedAt     *time.Time     `json:"last_used_at"`  // up to a second late, like the next two
	LastUsedIP     *string        `json:"last_used_ip"`
	UsageCount     int64          `json:"usage_count"` // verifications that answered VALID
	Metadata       map[string]any `json:"metadata"`
	ImportedAt     *time.Time     `json:"imported_at"` // nil: its token was made by landlord
	LeakedAt       *time.Time     `json:"leaked_at"`   // when it was first reported as leaked; nil: never
	CreatedBy      string         `json:"created_by"`  // type and id: "user:operator_…"
	CreatedAt      time.Time      `json:"created_at"`
	UpdatedAt      time.Time      `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// TenantAPIKey is a key with the names of its tenant.
type TenantAPIKey struct {
	APIKey

	TenantSlug string `json:"tenant_slug"`
	TenantName string `json:"tenant_name"`
}

// APIKeySelf is what a key is told about itself.
type APIKeySelf struct {
	TenantAPIKey

	TenantStatus string   `json:"tenant_status"` // the effective one
	Products     []string `json:"products"`      // that the key may be used for now
}

// IssuedAPIKey is a new key with its token.
type IssuedAPIKey struct {
	APIKey

	Token string `json:"token"` // shown this once
}

// CreateAPIKey describes a new key.
type CreateAPIKey struct {
	Name         string         `json:"name"` // unique among the tenant's keys that are not revoked
	Description  string         `json:"description,omitempty"`
	Environment  string         `json:"environment,omitempty"` // "" is live
	Product      string         `json:"product,omitempty"`     // "" is every product
	ProjectID    string         `json:"project_id,omitempty"`  // "" is every project
	Scopes       []string       `json:"scopes,omitempty"`      // exact, or noun:*
	AllowedIPs   []string       `json:"allowed_ips,omitempty"` // addresses and CIDRs; none is from everywhere
	RateLimitRPM int            `json:"rate_limit_rpm,omitempty"`
	RateLimits   []RateLimit    `json:"rate_limits,omitempty"` // beside that one
	ExpiresAt    *time.Time     `json:"expires_at,omitempty"`
	Metadata     map[string]any `json:"metadata,omitempty"`
}

// UpdateAPIKey changes a key; fields left out stay.
type UpdateAPIKey struct {
	Name         Patch[string]         `json:"name,omitzero"`
	Description  Patch[string]         `json:"description,omitzero"`
	Scopes       Patch[[]string]       `json:"scopes,omitzero"`
	AllowedIPs   Patch[[]string]       `json:"allowed_ips,omitzero"`
	RateLimitRPM Patch[int]            `json:"rate_limit_rpm,omitzero"`
	RateLimits   Patch[[]RateLimit]    `json:"rate_limits,omitzero"` // in place of all others
	ExpiresAt    Patch[time.Time]      `json:"expires_at,omitzero"`
	IsActive     Patch[bool]           `json:"is_active,omitzero"`
	Metadata     Patch[map[string]any] `json:"metadata,omitzero"` // merged key by key

	IfMatch string `json:"-"` // only if the key still has this ETag; "" is any
}

// RotateAPIKey says how a key is replaced.
type RotateAPIKey struct {
	Grace     int              `json:"grace"`               // seconds that the old key goes on working, 0 to 2592000
	ExpiresAt Patch[time.Time] `json:"expires_at,omitzero"` // of the new key; left out, as the old one's
}

// APIKeyFilter chooses keys; zero fields choose any.
type APIKeyFilter struct {
	Environment    string
	Product        string
	ProjectID      string // not in Search
	CreatedBy      string // type and id: "user:operator_…"
	State          string // active, disabled, expired or revoked
	Prefix         string // the token begins so
	Last4          string // the token ends so
	Leaked         bool   // only those that were reported as leaked
	ExpiringBefore time.Time
	ListOptions
}

// VerifyKey asks whether a token may do something. What is left out is not asked.
type VerifyKey struct {
	Key         string          `json:"key"` // the token, as the end caller sent it
	Product     string          `json:"product,omitempty"`
	Project     string          `json:"project,omitempty"`
	Environment string          `json:"environment,omitempty"`
	Scopes      []string        `json:"scopes,omitempty"` // all of them are needed
	Write       bool            `json:"write,omitempty"`  // the request changes something, though no scope tells so
	IP          string          `json:"ip,omitempty"`     // the end caller's
	Cost        *int64          `json:"cost,omitempty"`   // of each rate limit; nil is 1, 0 answers without spending or counting
	Limits      []RateLimitCost `json:"limits,omitempty"` // of which it spends another cost, or that must be named
}

// KeyVerification answers a verification. With MALFORMED and NOT_FOUND only
// Outcome is set.
type KeyVerification struct {
	Outcome     string           `json:"outcome"` // VALID lets the request pass
	Valid       bool             `json:"valid"`
	KeyID       string           `json:"key_id"`
	KeyName     string           `json:"key_name"`
	TenantID    string           `json:"tenant_id"`
	TenantSlug  string           `json:"tenant_slug"`
	ProjectID   string           `json:"project_id"`
	Product     string           `json:"product"`
	Environment string           `json:"environment"`
	Scopes      []string         `json:"scopes"`
	Metadata    map[string]any   `json:"metadata"`
	ReadOnly    bool             `json:"read_only"` // the tenant is frozen
	ExpiresAt   *time.Time       `json:"expires_at"`
	Entitlement *KeyEntitlement  `json:"entitlement"` // to Product
	RateLimit   *KeyRateLimit    `json:"rate_limit"`  // the key's own; nil when an earlier check denied
	RateLimits  []NamedRateLimit `json:"rate_limits"` // all of them, when that is not the only one
}

// VerifyResult is the answer to one question of a batch: one of the two.
type VerifyResult struct {
	Verification *KeyVerification `json:"verification"` // also when it denies
	Error        *BatchError      `json:"error"`        // why the question has no answer
}

// KeyEntitlement is the tenant's entitlement to the product of a verification.
type KeyEntitlement struct {
	Config    map[string]any `json:"config"`
	ExpiresAt *time.Time     `json:"expires_at"`
}

// APIKeys are the operations on tenants' keys.
type APIKeys struct{ c *Client }

// Create issues a key. Its token is in the answer and never again.
func (s *APIKeys) Create(ctx context.Context, tenant string, in CreateAPIKey) (*IssuedAPIKey, error) {
	return s.issue(ctx, keysPath(tenant), in)
}

// Get returns a key without its token.
func (s *APIKeys) Get(ctx context.Context, tenant, id string) (*APIKey, error) {
	return s.call(ctx, http.MethodGet, keysPath(tenant, id), nil, "")
}

// List returns a page of a tenant's keys, newest first.
func (s *APIKeys) List(ctx context.Context, tenant string, f APIKeyFilter) (*Page[APIKey], error) {
	p := &Page[APIKey]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: keysPath(tenant), query: f.values(), out: p}))
}

func (f APIKeyFilter) values() url.Values {
	q := f.query()
	for name, v := range map[string]string{
		"environment": f.Environment, "product": f.Product, "project_id": f.ProjectID, "state": f.State, "prefix": f.Prefix, "last4": f.Last4,
		"created_by": f.CreatedBy,
	} {
		set(q, name, v)
	}
	if f.Leaked {
		q.Set("leaked", "true")
	}
	if !f.ExpiringBefore.IsZero() {
		q.Set("expiring_before", f.ExpiringBefore.UTC().Format(time.RFC3339Nano))
	}
	return q
}

// Search returns a page of keys of all tenants that the caller reaches, newest first.
func (s *APIKeys) Search(ctx context.Context, f APIKeyFilter) (*Page[TenantAPIKey], error) {
	p := &Page[TenantAPIKey]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("api-keys"), query: f.values(), out: p}))
}

// SearchAll walks all pages of Search.
func (s *APIKeys) SearchAll(ctx context.Context, f APIKeyFilter) iter.Seq2[TenantAPIKey, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[TenantAPIKey], error) {
		f.Cursor = cursor
		return s.Search(ctx, f)
	})
}

// All walks all pages of List.
func (s *APIKeys) All(ctx context.Context, tenant string, f APIKeyFilter) iter.Seq2[APIKey, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[APIKey], error) {
		f.Cursor = cursor
		return s.List(ctx, tenant, f)
	})
}

// Generations returns a page of the keys that came before and after a key by
// rotation, itself among them, the newest first.
func (s *APIKeys) Generations(ctx context.Context, tenant, id string, o ListOptions) (*Page[APIKey], error) {
	p := &Page[APIKey]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: keysPath(tenant, id, "generations"), query: o.query(), out: p}))
}

// AllGenerations walks all pages of Generations.
func (s *APIKeys) AllGenerations(ctx context.Context, tenant, id string, o ListOptions) iter.Seq2[APIKey, error] {
	return all(ctx, o.Cursor, func(ctx context.Context, cursor string) (*Page[APIKey], error) {
		o.Cursor = cursor
		return s.Generations(ctx, tenant, id, o)
	})
}

// Update changes a key, on every replica within a second.
func (s *APIKeys) Update(ctx context.Context, tenant, id string, in UpdateAPIKey) (*APIKey, error) {
	return s.call(ctx, http.MethodPatch, keysPath(tenant, id), in, in.IfMatch)
}

// Revoke ends a key for good, on every replica within a second.
func (s *APIKeys) Revoke(ctx context.Context, tenant, id, why string) (*APIKey, error) {
	return s.call(ctx, http.MethodPost, keysPath(tenant, id, "revoke"), reason{why}, "")
}

// Disable stops a key until it is enabled again, on every replica within a second.
func (s *APIKeys) Disable(ctx context.Context, tenant, id, why string) (*APIKey, error) {
	return s.call(ctx, http.MethodPost, keysPath(tenant, id, "disable"), reason{why}, "")
}

// Enable lets a disabled key work again.
func (s *APIKeys) Enable(ctx context.Context, tenant, id, why string) (*APIKey, error) {
	return s.call(ctx, http.MethodPost, keysPath(tenant, id, "enable"), reason{why}, "")
}

// Rotate replaces a key by a new one with the same settings and returns that one
// with its token.
func (s *APIKeys) Rotate(ctx context.Context, tenant, id string, in RotateAPIKey) (*IssuedAPIKey, error) {
	return s.issue(ctx, keysPath(tenant, id, "rotate"), in)
}

// Self returns the API key that is this client's credential.
func (s *APIKeys) Self(ctx context.Context) (*APIKeySelf, error) {
	k := &APIKeySelf{}
	return result(k, s.c.do(ctx, request{method: http.MethodGet, path: path("keys", "self"), out: k, etag: &k.ETag}))
}

// RevokeSelf ends the API key that is this client's credential, for good and in
// whatever state it is.
func (s *APIKeys) RevokeSelf(ctx context.Context, why string) (*APIKey, error) {
	return s.call(ctx, http.MethodPost, path("keys", "self", "revoke"), reason{why}, "")
}

// Verify asks whether a token may do something. A denial is an answer, not an error.
func (s *APIKeys) Verify(ctx context.Context, in VerifyKey) (*KeyVerification, error) {
	v := &KeyVerification{}
	return result(v, s.c.do(ctx, request{method: http.MethodPost, path: path("keys", "verify"), body: in, out: v}))
}

// VerifyAll asks up to 1000 questions at once and returns their answers in the same
// order. One that can't be answered spoils no other.
func (s *APIKeys) VerifyAll(ctx context.Context, in []VerifyKey) ([]VerifyResult, error) {
	body := struct {
		Items []VerifyKey `json:"items"`
	}{in}
	var out struct {
		Results []VerifyResult `json:"results"`
	}
	err := s.c.do(ctx, request{method: http.MethodPost, path: path("keys", "verify", "batch"), body: body, out: &out})
	return out.Results, err
}

// ReportLeak tells that a token was found where it must not be.
type ReportLeak struct {
	Token  string `json:"token"`
	Source string `json:"source,omitempty"` // in what: "commit", "paste"
	URL    string `json:"url,omitempty"`    // where: an http or https URL
}

// LeakReport is what became of a report.
type LeakReport struct {
	Known  bool    `json:"known"`  // the token is a key, and yours to report
	Action string  `json:"action"` // what was done: revoke, disable, flag, or none
	Key    *APIKey `json:"key"`    // as it is now; nil: not known
}

// KeyLeak is a place where a key was found that should have stayed secret.
type KeyLeak struct {
	ID         string    `json:"id"`
	KeyID      string    `json:"key_id"`
	TenantID   string    `json:"tenant_id"`
	Source     string    `json:"source"`
	URL        string    `json:"url"`
	ReportedBy string    `json:"reported_by"` // type and id; "system:secret-scanning:github" is GitHub
	Action     string    `json:"action"`      // what the report did: revoke, disable, flag, or none
	ReportedAt time.Time `json:"reported_at"`
}

// ReportLeak has a leaked key revoked, disabled or flagged, as the policies that
// bind its tenant say. Reporting the same place again does nothing.
func (s *APIKeys) ReportLeak(ctx context.Context, in ReportLeak) (*LeakReport, error) {
	r := &LeakReport{}
	return result(r, s.c.do(ctx, request{method: http.MethodPost, path: path("keys", "report-leak"), body: in, out: r, repeats: true}))
}

// Leaks returns a page of the places where a key was found, the newest report first.
func (s *APIKeys) Leaks(ctx context.Context, tenant, id string, o ListOptions) (*Page[KeyLeak], error) {
	p := &Page[KeyLeak]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: keysPath(tenant, id, "leaks"), query: o.query(), out: p}))
}

// AllLeaks walks all pages of Leaks.
func (s *APIKeys) AllLeaks(ctx context.Context, tenant, id string, o ListOptions) iter.Seq2[KeyLeak, error] {
	return all(ctx, o.Cursor, func(ctx context.Context, cursor string) (*Page[KeyLeak], error) {
		o.Cursor = cursor
		return s.Leaks(ctx, tenant, id, o)
	})
}

func keysPath(tenant string, rest ...string) string {
	return path(append([]string{"tenants", tenant, "api-keys"}, rest...)...)
}

func (s *APIKeys) issue(ctx context.Context, path string, in any) (*IssuedAPIKey, error) {
	k := &IssuedAPIKey{}
	return result(k, s.c.do(ctx, request{method: http.MethodPost, path: path, body: in, out: k, creates: true, etag: &k.ETag}))
}

func (s *APIKeys) call(ctx context.Context, method, path string, body any, ifMatch string) (*APIKey, error) {
	k := &APIKey{}
	return result(k, s.c.do(ctx, request{method: method, path: path, body: body, out: k, ifMatch: ifMatch, etag: &k.ETag}))
}
