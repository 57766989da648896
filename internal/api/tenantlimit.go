package api

import (
	"context"
	"net/http"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// TenantRateLimit is a rate limit that all keys of a tenant share.
type TenantRateLimit struct {
	TenantID id.Tenant `json:"tenant_id"`
	RateLimit
	Product   string    `json:"product,omitempty" example:"render" doc:"Spent from only where this product is used; absent: always."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PutTenantRateLimit is a whole rate limit. It replaces what was there: what it
// leaves out is back at its default.
type PutTenantRateLimit struct {
	Limit     int64  `json:"limit" minimum:"1" maximum:"1000000000" example:"500" doc:"Units in a window; at most a million for each of its seconds."`
	Window    int64  `json:"window" minimum:"1" maximum:"2678400" example:"3600" doc:"Seconds in which they come back, evenly."`
	Burst     int64  `json:"burst,omitempty" minimum:"1" doc:"How many may come at once; left out, all of them."`
	NamedOnly bool   `json:"named_only,omitempty" doc:"Only verifications that name it spend from it; else all do."`
	Product   string `json:"product,omitempty" maxLength:"63" doc:"Spent from only where this product is used; left out: always."`
}

func (a *API) tenantRateLimitRoutes() {
	const tag, all, each = "Rate limits", "/v1/tenants/{tenant}/rate-limits", "/v1/tenants/{tenant}/rate-limits/{name}"
	route(a, op{
		ID: "list-rate-limits", Method: "GET", Path: all, Tag: tag, Summary: "List a tenant's rate limits",
		Description: "By name: those that all its keys share. Products declare others, in their manifests.",
	}, a.listTenantRateLimits)
	route(a, op{ID: "get-rate-limit", Method: "GET", Path: each, Tag: tag, Summary: "Get a tenant's rate limit"}, a.getTenantRateLimit)
	route(a, op{
		ID: "put-rate-limit", Method: "PUT", Path: each, Tag: tag, Summary: "Put a tenant's rate limit",
		Description: "Answers 201 when the tenant had none of the name, else 200. It takes the place of the limit of its name that a product declares, be it lower or higher. " +
			"In force within a second, on every replica. Needs a platform credential.", Errors: []int{409, 412},
	}, a.putTenantRateLimit)
	route(a, op{
		ID: "delete-rate-limit", Method: "DELETE", Path: each, Tag: tag, Summary: "Delete a tenant's rate limit", Status: 204,
		Description: "That of a product whose place it took is back in force. Needs a platform credential.", Errors: []int{409, 412},
	}, a.deleteTenantRateLimit)
	// The framework documents one status of success; this operation has two.
	answers := a.huma.OpenAPI().Paths[each].Put.Responses
	made := *answers["200"]
	made.Description = http.StatusText(http.StatusCreated)
	answers["201"] = &made
}

func tenantRateLimitOf(l apikey.TenantLimit) TenantRateLimit {
	return TenantRateLimit{
		TenantID: l.TenantID, Product: l.Product, CreatedAt: l.CreatedAt.UTC(), UpdatedAt: l.UpdatedAt.UTC(),
		RateLimit: RateLimit{Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst, NamedOnly: l.NamedOnly},
	}
}

// RateLimitPath is embedded by the input of every operation on a tenant's rate limit.
type RateLimitPath struct {
	TenantPath
	Name string `path:"name" maxLength:"40" doc:"Name of the rate limit." example:"renders"`
}

type listTenantRateLimitsInput struct {
	TenantPath
	PageQuery
}

func (a *API) listTenantRateLimits(ctx context.Context, in *listTenantRateLimitsInput) (*listed[TenantRateLimit], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.APIKeys.Limits(ctx, tenant, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, tenantRateLimitOf), nil
}

type getTenantRateLimitInput struct{ RateLimitPath }

func (a *API) getTenantRateLimit(ctx context.Context, in *getTenantRateLimitInput) (*one[TenantRateLimit], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	l, err := a.s.APIKeys.Limit(ctx, tenant, in.Name)
	if err != nil {
		return nil, err
	}
	return &one[TenantRateLimit]{ETag: etag(l.UpdatedAt), Body: tenantRateLimitOf(l)}, nil
}

type putTenantRateLimitInput struct {
	RateLimitPath
	Precondition
	Body PutTenantRateLimit
}

type putTenantRateLimitOutput struct {
	Status int
	ETag   string `header:"ETag" doc:"The version of the thing, for If-Match."`
	Body   TenantRateLimit
}

func (a *API) putTenantRateLimit(ctx context.Context, in *putTenantRateLimitInput) (*putTenantRateLimitOutput, error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	l, made, err := a.s.APIKeys.PutLimit(ctx, apikey.PutLimitParams{
		TenantID: tenant, Product: in.Body.Product, IfMatch: version,
		Rule: ratelimit.Rule{Name: in.Name, Limit: in.Body.Limit, Window: in.Body.Window, Burst: in.Body.Burst, NamedOnly: in.Body.NamedOnly},
	})
	if err != nil {
		return nil, err
	}
	out := &putTenantRateLimitOutput{Status: http.StatusOK, ETag: etag(l.UpdatedAt), Body: tenantRateLimitOf(l)}
	if made {
		out.Status = http.StatusCreated
	}
	return out, nil
}

type deleteTenantRateLimitInput struct {
	RateLimitPath
	Precondition
}

func (a *API) deleteTenantRateLimit(ctx context.Context, in *deleteTenantRateLimitInput) (*empty, error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return &empty{}, a.s.APIKeys.DeleteLimit(ctx, tenant, in.Name, version)
}
