package api

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/operator"
)

// Operator is a person of the platform.
type Operator struct {
	ID          id.Operator `json:"id" example:"operator_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Email       string      `json:"email" example:"ada@example.com" doc:"Lower case; unique."`
	Name        string      `json:"name" example:"Ada Lovelace"`
	Role        string      `json:"role" enum:"owner,admin,support,viewer" doc:"Decides the permissions: see docs/permissions.md."`
	Enabled     bool        `json:"enabled" doc:"Whether the person may act."`
	DisabledAt  *time.Time  `json:"disabled_at,omitempty"`
	OIDCIssuer  *string     `json:"oidc_issuer,omitempty" doc:"Issuer of the identity that is linked; absent until the person signs in through it."`
	OIDCSubject *string     `json:"oidc_subject,omitempty" doc:"Subject of the identity at that issuer."`
	LastSeenAt  *time.Time  `json:"last_seen_at,omitempty" doc:"Up to two minutes late."`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
}

func operatorOf(o operator.Operator) Operator {
	return Operator{
		ID: o.ID, Email: o.Email, Name: o.Name, Role: string(o.Role), Enabled: o.Enabled(), DisabledAt: utc(o.DisabledAt),
		OIDCIssuer: o.OIDCIssuer, OIDCSubject: o.OIDCSubject, LastSeenAt: utc(o.LastSeenAt),
		CreatedAt: o.CreatedAt.UTC(), UpdatedAt: o.UpdatedAt.UTC(),
	}
}

// CreateOperator describes a new person.
type CreateOperator struct {
	Email       string `json:"email" maxLength:"254" example:"ada@example.com"`
	Name        string `json:"name" minLength:"1" maxLength:"200" example:"Ada Lovelace"`
	Role        string `json:"role" enum:"owner,admin,support,viewer"`
	OIDCSubject string `json:"oidc_subject,omitempty" maxLength:"255" doc:"Subject at the platform's OIDC issuer. Left out, the person is linked on first sight of a JWT with this e-mail address, if the issuer verified it."`
}

// UpdateOperator changes a person; absent fields stay.
type UpdateOperator struct {
	Name Required[string]      `json:"name,omitzero" maxLength:"200"`
	Role Required[access.Role] `json:"role,omitzero" doc:"The last enabled owner stays one."`
}

// Reason says why something was done.
type Reason struct {
	Reason string `json:"reason,omitempty" maxLength:"500" example:"left the company" doc:"Kept in the audit log."`
}

// OperatorPath is embedded by the input of operations on one person.
type OperatorPath struct {
	Operator id.Operator `path:"operator" doc:"Id of the operator."`
}

// ReasonBody is embedded by the input of operations that may be given a reason.
type ReasonBody struct {
	Body *Reason
}

func (r ReasonBody) reason() string {
	if r.Body == nil {
		return ""
	}
	return r.Body.Reason
}

func (a *API) operatorRoutes() {
	const tag = "Operators"
	route(a, op{
		ID: "create-operator", Method: "POST", Path: "/v1/operators", Tag: tag, Creates: true, Summary: "Create an operator",
		Description: "Adds a person of the platform. You must hold every permission that the role gives.",
	}, a.createOperator)
	route(a, op{
		ID: "list-operators", Method: "GET", Path: "/v1/operators", Tag: tag, Summary: "List operators",
		Description: "Newest first.",
	}, a.listOperators)
	route(a, op{
		ID: "get-operator", Method: "GET", Path: "/v1/operators/{operator}", Tag: tag, Summary: "Get an operator",
		Description: "Operators may read themselves without operators:read.",
	}, a.getOperator)
	route(a, op{
		ID: "update-operator", Method: "PATCH", Path: "/v1/operators/{operator}", Tag: tag, Summary: "Change an operator's name or role",
		Description: "JSON merge patch. The last enabled owner can't be demoted.", Errors: []int{409, 412},
	}, a.updateOperator)
	route(a, op{
		ID: "disable-operator", Method: "POST", Path: "/v1/operators/{operator}/disable", Tag: tag, Summary: "Disable an operator",
		Description: "Stops the person from acting, by token or JWT, within a second and until enabled. Disabling twice is no error. " +
			"The last enabled owner can't be disabled.", Errors: []int{409},
	}, a.disableOperator)
	route(a, op{
		ID: "enable-operator", Method: "POST", Path: "/v1/operators/{operator}/enable", Tag: tag, Summary: "Enable an operator",
		Description: "Tokens that have not expired work again.",
	}, a.enableOperator)
	route(a, op{
		ID: "delete-operator", Method: "DELETE", Path: "/v1/operators/{operator}", Tag: tag, Summary: "Delete an operator", Status: 204,
		Description: "Removes the person and the tokens; the audit log keeps the name. The last enabled owner can't be deleted.", Errors: []int{409},
	}, a.deleteOperator)
	route(a, op{
		ID: "whoami", Method: "GET", Path: "/v1/whoami", Tag: tag, Summary: "Who am I",
		Description: "Tells whom the credential stands for and what it may do. Needs no permission.",
	}, a.whoami)
}

type createOperatorInput struct{ Body CreateOperator }

func (a *API) createOperator(ctx context.Context, in *createOperatorInput) (*created[Operator], error) {
	o, err := a.s.Operators.Create(ctx, operator.CreateParams{
		Email: in.Body.Email, Name: in.Body.Name, Role: access.Role(in.Body.Role), OIDCSubject: in.Body.OIDCSubject,
	})
	if err != nil {
		return nil, err
	}
	return &created[Operator]{Location: "/v1/operators/" + o.ID.String(), ETag: etag(o.UpdatedAt), Body: operatorOf(o)}, nil
}

type listOperatorsInput struct {
	PageQuery
	Role    string `query:"role" enum:"owner,admin,support,viewer" doc:"Only with this role."`
	Enabled string `query:"enabled" enum:"true,false" doc:"Only those who may act, or who may not."`
	Email   string `query:"email" maxLength:"254" doc:"Only with this e-mail address."`
}

func (a *API) listOperators(ctx context.Context, in *listOperatorsInput) (*listed[Operator], error) {
	p, err := a.s.Operators.List(ctx, operator.Filter{Role: access.Role(in.Role), Enabled: either(in.Enabled), Email: in.Email}, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, operatorOf), nil
}

// either reads a query parameter that is true, false or absent.
func either(s string) *bool {
	if s == "" {
		return nil
	}
	return new(s == "true")
}

type getOperatorInput struct{ OperatorPath }

func (a *API) getOperator(ctx context.Context, in *getOperatorInput) (*one[Operator], error) {
	return oneOperator(a.s.Operators.Get(ctx, in.Operator))
}

func oneOperator(o operator.Operator, err error) (*one[Operator], error) {
	if err != nil {
		return nil, err
	}
	return &one[Operator]{ETag: etag(o.UpdatedAt), Body: operatorOf(o)}, nil
}

type updateOperatorInput struct {
	OperatorPath
	Precondition
	Body UpdateOperator
}

func (a *API) updateOperator(ctx context.Context, in *updateOperatorInput) (*one[Operator], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	return oneOperator(a.s.Operators.Update(ctx, in.Operator, operator.UpdateParams{
		Name: in.Body.Name.Field, Role: in.Body.Role.Field, IfMatch: version,
	}))
}

type disableOperatorInput struct {
	OperatorPath
	ReasonBody
}

func (a *API) disableOperator(ctx context.Context, in *disableOperatorInput) (*one[Operator], error) {
	return oneOperator(a.s.Operators.Disable(ctx, in.Operator, in.reason()))
}

func (a *API) enableOperator(ctx context.Context, in *getOperatorInput) (*one[Operator], error) {
	return oneOperator(a.s.Operators.Enable(ctx, in.Operator))
}

func (a *API) deleteOperator(ctx context.Context, in *getOperatorInput) (*empty, error) {
	return &empty{}, a.s.Operators.Delete(ctx, in.Operator)
}

// Whoami is whom a credential stands for.
type Whoami struct {
	Type        string    `json:"type" enum:"user,service,api_key,system" doc:"Kind of actor, as in the audit log."`
	ID          string    `json:"id" example:"operator_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Name        string    `json:"name,omitempty"`
	TenantID    id.Tenant `json:"tenant_id,omitzero" doc:"The credential reaches this tenant and those below it; absent, all tenants."`
	Permissions []string  `json:"permissions" doc:"What the credential may do, sorted."`
}

func (a *API) whoami(ctx context.Context, _ *struct{}) (*plain[Whoami], error) {
	me, err := a.s.Operators.Whoami(ctx)
	if err != nil {
		return nil, err
	}
	return &plain[Whoami]{Body: Whoami{
		Type: string(me.Type), ID: me.ID, Name: me.Name, TenantID: me.TenantID, Permissions: texts(me.Permissions),
	}}, nil
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
