package client

import (
	"context"
	"net/http"
	"time"
)

// KeyPolicy is what a tenant demands of its API keys and of those of the tenants
// below it.
type KeyPolicy struct {
	TenantID     string     `json:"tenant_id"`
	AllowedIPs   []string   `json:"allowed_ips"`  // none is from everywhere
	Environments []string   `json:"environments"` // live, test
	MaxAgeDays   int        `json:"max_age_days"` // 0 is any
	LeakAction   string     `json:"leak_action"`  // revoke, disable or flag
	InForce      KeyRules   `json:"in_force"`     // with the policies of all tenants above it
	CreatedAt    *time.Time `json:"created_at"`   // nil: it was never put and demands nothing
	UpdatedAt    *time.Time `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch
}

// KeyRules are what binds the keys of a tenant.
type KeyRules struct {
	AllowedIPs   [][]string `json:"allowed_ips"` // lists, each of which must allow the caller
	Environments []string   `json:"environments"`
	MaxAgeDays   int        `json:"max_age_days"`
	LeakAction   string     `json:"leak_action"`
	RateLimitRPM int        `json:"rate_limit_rpm"` // of keys that don't say
	MaxKeys      int        `json:"max_keys"`       // that work; 0 is any number
}

// PutKeyPolicy is a whole key policy: what it leaves out is back at its default.
type PutKeyPolicy struct {
	AllowedIPs   []string `json:"allowed_ips,omitempty"`
	Environments []string `json:"environments,omitempty"` // none is both
	MaxAgeDays   int      `json:"max_age_days,omitempty"` // 0 is any
	LeakAction   string   `json:"leak_action,omitempty"`  // "" is revoke

	IfMatch string `json:"-"` // only if the policy still has this ETag; "" is any
}

// Policy returns a tenant's key policy.
func (s *APIKeys) Policy(ctx context.Context, tenant string) (*KeyPolicy, error) {
	p := &KeyPolicy{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: policyPath(tenant), out: p, etag: &p.ETag}))
}

// PutPolicy replaces a tenant's key policy, on every replica within a second.
func (s *APIKeys) PutPolicy(ctx context.Context, tenant string, in PutKeyPolicy) (*KeyPolicy, error) {
	p := &KeyPolicy{}
	return result(p, s.c.do(ctx, request{method: http.MethodPut, path: policyPath(tenant), body: in, out: p, ifMatch: in.IfMatch, etag: &p.ETag}))
}

func policyPath(tenant string) string { return path("tenants", tenant, "key-policy") }
