package api

import (
	"context"
	"net/http"
	"time"

	"github.com/landlordhq/landlord/internal/entitlement"
	"github.com/landlordhq/landlord/internal/id"
)

// Entitlement is a product that a tenant has.
type Entitlement struct {
	TenantID        id.Tenant      `json:"tenant_id" example:"tenant_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Product         string         `json:"product" example:"render"`
	Enabled         bool           `json:"enabled" doc:"False withholds the product, whatever the plan says."`
	State           string         `json:"state" enum:"ok,disabled,expired" doc:"At the time of the answer. The tenant's own state is another question: see check."`
	Source          string         `json:"source" enum:"plan,override,trial" doc:"plan comes and goes with the tenant's plan; override survives a change of plan; trial gives way to a plan that has the product."`
	Config          map[string]any `json:"config" doc:"The tenant's own configuration."`
	EffectiveConfig map[string]any `json:"effective_config" doc:"In force: the product's defaults with the tenant's own laid over them."`
	ExpiresAt       *time.Time     `json:"expires_at,omitempty" doc:"From this instant on it is expired; absent, never."`
	CreatedAt       time.Time      `json:"created_at"`
	UpdatedAt       time.Time      `json:"updated_at"`
}

// ProductTenant is a tenant that has a product.
type ProductTenant struct {
	Entitlement
	TenantSlug string `json:"tenant_slug" example:"acme"`
	TenantName string `json:"tenant_name" example:"Acme"`
}

// PutEntitlement says what a tenant shall have of a product. It replaces what was
// there: what it leaves out is back at its default.
type PutEntitlement struct {
	Enabled   *bool          `json:"enabled,omitempty" doc:"Left out, true." nullable:"false"`
	Config    map[string]any `json:"config,omitempty" doc:"Laid over the product's default_config; the result must satisfy its config_schema. A null takes a default away."`
	Source    string         `json:"source,omitempty" enum:"override,trial" doc:"Left out, override."`
	ExpiresAt *time.Time     `json:"expires_at,omitempty" doc:"Required of a trial." nullable:"false"`
}

// EntitlementDecision answers whether a tenant may use a product.
type EntitlementDecision struct {
	TenantID  id.Tenant      `json:"tenant_id"`
	Product   string         `json:"product"`
	Entitled  bool           `json:"entitled"`
	Reason    string         `json:"reason" enum:"ok,not_entitled,disabled,expired,tenant_suspended,tenant_archived" doc:"The tenant's state comes before the entitlement's."`
	ReadOnly  bool           `json:"read_only" doc:"The tenant is frozen: entitled, but not to change anything."`
	Config    map[string]any `json:"config,omitempty" doc:"In force; only when entitled."`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	CheckedAt time.Time      `json:"checked_at" doc:"The instant that the answer is for."`
}

// PlanApplied tells what applying a tenant's plan again did.
type PlanApplied struct {
	Plan    string `json:"plan" example:"starter"`
	Changed bool   `json:"changed" doc:"Whether a product or limit of the tenant has changed."`
}

func (a *API) entitlementRoutes() {
	const tag = "Entitlements"
	route(a, op{
		ID: "list-entitlements", Method: "GET", Path: "/v1/tenants/{tenant}/products", Tag: tag, Summary: "List a tenant's entitlements",
		Description: "By product, those that are disabled or expired among them.",
	}, a.listEntitlements)
	route(a, op{
		ID: "get-entitlement", Method: "GET", Path: "/v1/tenants/{tenant}/products/{product}", Tag: tag, Summary: "Get an entitlement",
	}, a.getEntitlement)
	route(a, op{
		ID: "put-entitlement", Method: "PUT", Path: "/v1/tenants/{tenant}/products/{product}", Tag: tag, Summary: "Entitle a tenant to a product",
		Description: "Answers 201 when the tenant had no entitlement to the product, else 200. An entitlement that came with the plan becomes the tenant's own. " +
			"A tenant's credential may do this for the tenants below it only, and only with products that its own tenant is entitled to.", Errors: []int{409, 412},
	}, a.putEntitlement)
	route(a, op{
		ID: "delete-entitlement", Method: "DELETE", Path: "/v1/tenants/{tenant}/products/{product}", Tag: tag, Summary: "Delete an entitlement", Status: 204,
		Description: "Takes the tenant's own entitlement away. Where the tenant's plan gives the product, that is back in force; what comes from the plan itself can't be deleted, but put with enabled false.",
		Errors:      []int{409, 412},
	}, a.deleteEntitlement)
	route(a, op{
		ID: "check-entitlement", Method: "GET", Path: "/v1/tenants/{tenant}/products/{product}/check", Tag: tag, Summary: "May the tenant use the product now",
		Description: "Decides at the instant, from the state of the tenant and those above it, and of the entitlement. That a tenant has none is an answer, not an error.",
	}, a.checkEntitlement)
	route(a, op{
		ID: "apply-plan", Method: "POST", Path: "/v1/tenants/{tenant}/products/apply-plan", Tag: tag, Summary: "Apply the tenant's plan again",
		Description: "Brings the tenant's products and limits in line with its plan as the catalogue now has it; what is the tenant's own stays.", Errors: []int{409},
	}, a.applyPlan)
	route(a, op{
		ID: "list-product-tenants", Method: "GET", Path: "/v1/products/{product}/tenants", Tag: tag, Summary: "List the tenants that have a product",
		Description: "The oldest first, those whose entitlement is disabled or expired among them. Needs a platform credential.",
	}, a.listProductTenants)
	// The framework documents one status of success; this operation has two.
	answers := a.huma.OpenAPI().Paths["/v1/tenants/{tenant}/products/{product}"].Put.Responses
	made := *answers["200"]
	made.Description = http.StatusText(http.StatusCreated)
	answers["201"] = &made
}

func (a *API) entitlementOf(e entitlement.Entitlement) Entitlement {
	own := e.Config
	if own == nil {
		own = map[string]any{}
	}
	return Entitlement{
		TenantID: e.TenantID, Product: e.Product, Enabled: e.Enabled, State: string(e.ReasonAt(a.s.Entitlements.Now())), Source: string(e.Source),
		Config: own, EffectiveConfig: e.EffectiveConfig(), ExpiresAt: utc(e.ExpiresAt),
		CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(),
	}
}

type listEntitlementsInput struct {
	TenantPath
	PageQuery
}

func (a *API) listEntitlements(ctx context.Context, in *listEntitlementsInput) (*listed[Entitlement], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Entitlements.List(ctx, tenant, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, a.entitlementOf), nil
}

type getEntitlementInput struct {
	TenantPath
	ProductPath
}

func (a *API) getEntitlement(ctx context.Context, in *getEntitlementInput) (*one[Entitlement], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.s.Entitlements.Get(ctx, tenant, in.Product)
	if err != nil {
		return nil, err
	}
	return &one[Entitlement]{ETag: etag(e.UpdatedAt), Body: a.entitlementOf(e)}, nil
}

type putEntitlementInput struct {
	TenantPath
	ProductPath
	Precondition
	Body PutEntitlement
}

type putEntitlementOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"The version of the thing, for If-Match."`
	Body   Entitlement
}

func (a *API) putEntitlement(ctx context.Context, in *putEntitlementInput) (*putEntitlementOutput, error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, made, err := a.s.Entitlements.Put(ctx, entitlement.PutParams{
		TenantID: tenant, Product: in.Product, Enabled: in.Body.Enabled == nil || *in.Body.Enabled, Config: in.Body.Config,
		Source: entitlement.Source(in.Body.Source), ExpiresAt: in.Body.ExpiresAt, IfMatch: version,
	})
	if err != nil {
		return nil, err
	}
	out := &putEntitlementOutput{Status: http.StatusOK, ETag: etag(e.UpdatedAt), Body: a.entitlementOf(e)}
	if made {
		out.Status = http.StatusCreated
	}
	return out, nil
}

type deleteEntitlementInput struct {
	TenantPath
	ProductPath
	Precondition
}

func (a *API) deleteEntitlement(ctx context.Context, in *deleteEntitlementInput) (*empty, error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return &empty{}, a.s.Entitlements.Delete(ctx, tenant, in.Product, version)
}

func (a *API) checkEntitlement(ctx context.Context, in *getEntitlementInput) (*plain[EntitlementDecision], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	d, err := a.s.Entitlements.Check(ctx, tenant, in.Product)
	if err != nil {
		return nil, err
	}
	return &plain[EntitlementDecision]{EntitlementDecision{
		TenantID: d.TenantID, Product: d.Product, Entitled: d.Entitled, Reason: string(d.Reason), ReadOnly: d.ReadOnly,
		Config: d.Config, ExpiresAt: utc(d.ExpiresAt), CheckedAt: d.CheckedAt.UTC(),
	}}, nil
}

type applyPlanInput struct{ TenantPath }

func (a *API) applyPlan(ctx context.Context, in *applyPlanInput) (*plain[PlanApplied], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	plan, changed, err := a.s.Entitlements.Reapply(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &plain[PlanApplied]{PlanApplied{Plan: plan, Changed: changed}}, nil
}

type listProductTenantsInput struct {
	ProductPath
	PageQuery
}

func (a *API) listProductTenants(ctx context.Context, in *listProductTenantsInput) (*listed[ProductTenant], error) {
	p, err := a.s.Entitlements.Holders(ctx, in.Product, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(h entitlement.Holder) ProductTenant {
		return ProductTenant{a.entitlementOf(h.Entitlement), h.TenantSlug, h.TenantName}
	}), nil
}
