package client

import (
	"context"
	"net/http"
	"time"
)

// Entitlement is a product that a tenant has.
type Entitlement struct {
	TenantID        string         `json:"tenant_id"`
	Product         string         `json:"product"`
	Enabled         bool           `json:"enabled"`
	State           string         `json:"state"`            // ok, disabled or expired, at the time of the answer
	Source          string         `json:"source"`           // plan, override or trial
	Config          map[string]any `json:"config"`           // the tenant's own
	EffectiveConfig map[string]any `json:"effective_config"` // in force: the product's defaults under the tenant's own
	ExpiresAt       *time.Time     `json:"expires_at"`       // from this instant on it is expired; nil never
	CreatedAt       time.Time      `json:"created_at"`
	UpdatedAt       time.Time      `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// ProductTenant is a tenant that has a product.
type ProductTenant struct {
	Entitlement
	TenantSlug string `json:"tenant_slug"`
	TenantName string `json:"tenant_name"`
}

// PutEntitlement says what a tenant shall have of a product. It replaces what was
// there.
type PutEntitlement struct {
	Enabled   *bool          `json:"enabled,omitempty"` // nil is true
	Config    map[string]any `json:"config,omitempty"`  // laid over the product's defaults; a nil value takes a default away
	Source    string         `json:"source,omitempty"`  // override or trial; "" is override
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`

	IfMatch string `json:"-"` // only if the entitlement still has this ETag; "" is any
}

// EntitlementDecision answers whether a tenant may use a product.
type EntitlementDecision struct {
	TenantID  string         `json:"tenant_id"`
	Product   string         `json:"product"`
	Entitled  bool           `json:"entitled"`
	Reason    string         `json:"reason"`    // ok, not_entitled, disabled, expired, tenant_suspended or tenant_archived
	ReadOnly  bool           `json:"read_only"` // the tenant is frozen
	Config    map[string]any `json:"config"`    // in force; nil unless Entitled
	ExpiresAt *time.Time     `json:"expires_at"`
	CheckedAt time.Time      `json:"checked_at"` // the instant that the answer is for
}

// PlanApplied tells what applying a tenant's plan again did.
type PlanApplied struct {
	Plan    string `json:"plan"`
	Changed bool   `json:"changed"`
}

// Entitlements are the operations on what tenants have of products.
type Entitlements struct{ c *Client }

// Put entitles a tenant to a product, or changes what it has of it. A tenant's
// own credential does this for the tenants below it.
func (s *Entitlements) Put(ctx context.Context, tenant, product string, in PutEntitlement) (*Entitlement, error) {
	e := &Entitlement{}
	return result(e, s.c.do(ctx, request{method: http.MethodPut, path: path("tenants", tenant, "products", product), body: in, out: e, ifMatch: in.IfMatch, etag: &e.ETag}))
}

// Get returns an entitlement.
func (s *Entitlements) Get(ctx context.Context, tenant, product string) (*Entitlement, error) {
	e := &Entitlement{}
	return result(e, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "products", product), out: e, etag: &e.ETag}))
}

// List returns a page of a tenant's entitlements, by product, those that are
// disabled or expired among them.
func (s *Entitlements) List(ctx context.Context, tenant string, o ListOptions) (*Page[Entitlement], error) {
	return list[Entitlement](ctx, s.c, path("tenants", tenant, "products"), o.query())
}

// Check answers whether a tenant may use a product now.
func (s *Entitlements) Check(ctx context.Context, tenant, product string) (*EntitlementDecision, error) {
	d := &EntitlementDecision{}
	return result(d, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "products", product, "check"), out: d}))
}

// Delete takes a tenant's own entitlement away; what its plan gives is back in
// force. ifMatch is an ETag, or "" for any version.
func (s *Entitlements) Delete(ctx context.Context, tenant, product, ifMatch string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: path("tenants", tenant, "products", product), ifMatch: ifMatch})
}

// ApplyPlan brings a tenant's products and limits in line with its plan as the
// catalogue now has it.
func (s *Entitlements) ApplyPlan(ctx context.Context, tenant string) (*PlanApplied, error) {
	out := &PlanApplied{}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: path("tenants", tenant, "products", "apply-plan"), out: out}))
}
