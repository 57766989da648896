package api

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/operator"
)

// ServiceAccount is a program that calls the registry.
type ServiceAccount struct {
	ID          id.Service `json:"id" example:"service_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Name        string     `json:"name" example:"render-backend" doc:"Unique."`
	Description string     `json:"description,omitempty"`
	Permissions []string   `json:"permissions" doc:"What its tokens may do: see docs/permissions.md."`
	TenantID    id.Tenant  `json:"tenant_id,omitzero" doc:"The account reaches this tenant and those below it; absent, all tenants."`
	Enabled     bool       `json:"enabled" doc:"Whether its tokens work."`
	DisabledAt  *time.Time `json:"disabled_at,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func serviceOf(s operator.ServiceAccount) ServiceAccount {
	return ServiceAccount{
		ID: s.ID, Name: s.Name, Description: s.Description, Permissions: texts(s.Permissions), TenantID: s.TenantID,
		Enabled: s.Enabled(), DisabledAt: utc(s.DisabledAt), CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
}

// CreateService describes a new service account.
type CreateService struct {
	Name        string              `json:"name" minLength:"1" maxLength:"200" example:"render-backend"`
	Description string              `json:"description,omitempty" maxLength:"1000"`
	Permissions []access.Permission `json:"permissions" maxItems:"100" example:"[\"apikeys:verify\"]" doc:"Each must be one that you hold. An account confined to a tenant can't hold what concerns the whole platform."`
	TenantID    id.Tenant           `json:"tenant_id,omitzero" doc:"Confines the account to this tenant and those below it. It can't be changed later."`
}

// UpdateService changes a service account; absent fields stay.
type UpdateService struct {
	Name        Required[string]              `json:"name,omitzero" maxLength:"200"`
	Description Opt[string]                   `json:"description,omitzero" maxLength:"1000"`
	Permissions Required[[]access.Permission] `json:"permissions,omitzero" doc:"All permissions from now on; tokens have them within a second."`
}

// ServicePath is embedded by the input of operations on one service account.
type ServicePath struct {
	Service id.Service `path:"service" doc:"Id of the service account."`
}

func (a *API) serviceRoutes() {
	const tag = "Service accounts"
	route(a, op{
		ID: "create-service", Method: "POST", Path: "/v1/services", Tag: tag, Creates: true, Summary: "Create a service account",
		Description: "A program's identity; give it a token next. You must hold every permission that you grant.",
	}, a.createService)
	route(a, op{
		ID: "list-services", Method: "GET", Path: "/v1/services", Tag: tag, Summary: "List service accounts", Description: "Newest first.",
	}, a.listServices)
	route(a, op{
		ID: "get-service", Method: "GET", Path: "/v1/services/{service}", Tag: tag, Summary: "Get a service account",
		Description: "An account may read itself without operators:read.",
	}, a.getService)
	route(a, op{
		ID: "update-service", Method: "PATCH", Path: "/v1/services/{service}", Tag: tag, Summary: "Change a service account",
		Description: "JSON merge patch. You must hold every permission that the account has or gets.", Errors: []int{409, 412},
	}, a.updateService)
	route(a, op{
		ID: "disable-service", Method: "POST", Path: "/v1/services/{service}/disable", Tag: tag, Summary: "Disable a service account",
		Description: "Stops its tokens from working, within a second and until enabled. Disabling twice is no error.",
	}, a.disableService)
	route(a, op{
		ID: "enable-service", Method: "POST", Path: "/v1/services/{service}/enable", Tag: tag, Summary: "Enable a service account",
		Description: "Tokens that have not expired work again.",
	}, a.enableService)
	route(a, op{
		ID: "delete-service", Method: "DELETE", Path: "/v1/services/{service}", Tag: tag, Summary: "Delete a service account", Status: 204,
		Description: "Removes the account and its tokens; the audit log keeps its name.",
	}, a.deleteService)
}

type createServiceInput struct{ Body CreateService }

func (a *API) createService(ctx context.Context, in *createServiceInput) (*created[ServiceAccount], error) {
	s, err := a.s.Operators.CreateService(ctx, operator.CreateServiceParams{
		Name: in.Body.Name, Description: in.Body.Description, Permissions: in.Body.Permissions, TenantID: in.Body.TenantID,
	})
	if err != nil {
		return nil, err
	}
	return &created[ServiceAccount]{Location: "/v1/services/" + s.ID.String(), ETag: etag(s.UpdatedAt), Body: serviceOf(s)}, nil
}

type listServicesInput struct {
	PageQuery
	TenantID id.Tenant `query:"tenant_id" doc:"Only those confined to this tenant."`
	Enabled  string    `query:"enabled" enum:"true,false" doc:"Only those whose tokens work, or don't."`
}

func (a *API) listServices(ctx context.Context, in *listServicesInput) (*listed[ServiceAccount], error) {
	p, err := a.s.Operators.ListServices(ctx, operator.ServiceFilter{TenantID: in.TenantID, Enabled: either(in.Enabled)}, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, serviceOf), nil
}

type getServiceInput struct{ ServicePath }

func (a *API) getService(ctx context.Context, in *getServiceInput) (*one[ServiceAccount], error) {
	return oneService(a.s.Operators.GetService(ctx, in.Service))
}

func oneService(s operator.ServiceAccount, err error) (*one[ServiceAccount], error) {
	if err != nil {
		return nil, err
	}
	return &one[ServiceAccount]{ETag: etag(s.UpdatedAt), Body: serviceOf(s)}, nil
}

type updateServiceInput struct {
	ServicePath
	Precondition
	Body UpdateService
}

func (a *API) updateService(ctx context.Context, in *updateServiceInput) (*one[ServiceAccount], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	return oneService(a.s.Operators.UpdateService(ctx, in.Service, operator.UpdateServiceParams{
		Name: in.Body.Name.Field, Description: in.Body.Description.Field, Permissions: in.Body.Permissions.Field, IfMatch: version,
	}))
}

type disableServiceInput struct {
	ServicePath
	ReasonBody
}

func (a *API) disableService(ctx context.Context, in *disableServiceInput) (*one[ServiceAccount], error) {
	return oneService(a.s.Operators.DisableService(ctx, in.Service, in.reason()))
}

func (a *API) enableService(ctx context.Context, in *getServiceInput) (*one[ServiceAccount], error) {
	return oneService(a.s.Operators.EnableService(ctx, in.Service))
}

func (a *API) deleteService(ctx context.Context, in *getServiceInput) (*empty, error) {
	return &empty{}, a.s.Operators.DeleteService(ctx, in.Service)
}
