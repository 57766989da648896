package client

import (
	"context"
	"net/http"
	"time"
)

// RateLimit is a named limit on how often.
type RateLimit struct {
	Name      string `json:"name"`
	Limit     int64  `json:"limit"`                // units in a window, 1 to 1000000000
	Window    int64  `json:"window"`               // seconds, 1 to 2678400
	Burst     int64  `json:"burst,omitempty"`      // how many at once; 0 is all of them
	NamedOnly bool   `json:"named_only,omitempty"` // only verifications that name it spend from it
}

// RateLimitCost is what a verification spends of the rate limits of a name.
type RateLimitCost struct {
	Name string `json:"name"`
	Cost *int64 `json:"cost,omitempty"` // nil is 1; 0 only tells what is left
}

// KeyRateLimit is what a key's own rate limit has left.
type KeyRateLimit struct {
	Limit      int64 `json:"limit"` // requests a minute
	Remaining  int64 `json:"remaining"`
	Reset      int64 `json:"reset"`       // seconds until all of it is back
	RetryAfter int64 `json:"retry_after"` // seconds until it would not deny; 0 when it did not
}

// NamedRateLimit is what a rate limit has left after a verification.
type NamedRateLimit struct {
	Name       string `json:"name"`  // key, key.NAME of the key's others, NAME of the tenant's and the product's
	Limit      int64  `json:"limit"` // units in a window
	Window     int64  `json:"window"`
	Remaining  int64  `json:"remaining"`
	Reset      int64  `json:"reset"`       // seconds until all of it is back
	RetryAfter int64  `json:"retry_after"` // seconds until it would not deny; 0 when it did not
}

// TenantRateLimit is a rate limit that all keys of a tenant share.
type TenantRateLimit struct {
	TenantID string `json:"tenant_id"`
	RateLimit
	Product   string    `json:"product"` // only where it is used; "" is always
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// PutRateLimit is a whole rate limit of a tenant: what it leaves out is back at
// its default.
type PutRateLimit struct {
	Limit     int64  `json:"limit"`                // units in a window, 1 to 1000000000
	Window    int64  `json:"window"`               // seconds, 1 to 2678400
	Burst     int64  `json:"burst,omitempty"`      // how many at once; 0 is all of them
	NamedOnly bool   `json:"named_only,omitempty"` // only verifications that name it spend from it
	Product   string `json:"product,omitempty"`    // only where it is used; "" is always

	IfMatch string `json:"-"` // only if the limit still has this ETag; "" is any
}

// RateLimits are the operations on what all keys of a tenant share.
type RateLimits struct{ c *Client }

// List returns a page of a tenant's rate limits, by name.
func (s *RateLimits) List(ctx context.Context, tenant string, o ListOptions) (*Page[TenantRateLimit], error) {
	return list[TenantRateLimit](ctx, s.c, path("tenants", tenant, "rate-limits"), o.query())
}

// Get returns a tenant's rate limit.
func (s *RateLimits) Get(ctx context.Context, tenant, name string) (*TenantRateLimit, error) {
	l := &TenantRateLimit{}
	return result(l, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "rate-limits", name), out: l, etag: &l.ETag}))
}

// Put gives a tenant a rate limit, in place of the one of its name that a product
// declares.
func (s *RateLimits) Put(ctx context.Context, tenant, name string, in PutRateLimit) (*TenantRateLimit, error) {
	l := &TenantRateLimit{}
	return result(l, s.c.do(ctx, request{method: http.MethodPut, path: path("tenants", tenant, "rate-limits", name), body: in, out: l, ifMatch: in.IfMatch, etag: &l.ETag}))
}

// Delete takes a rate limit away from a tenant; that of a product whose place it
// took is back in force. ifMatch is an ETag, or "" for any version.
func (s *RateLimits) Delete(ctx context.Context, tenant, name, ifMatch string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: path("tenants", tenant, "rate-limits", name), ifMatch: ifMatch})
}
