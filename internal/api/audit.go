package api

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/id"
)

// AuditEvent is a record of what was done.
type AuditEvent struct {
	ID          id.AuditEvent  `json:"id" example:"audit_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	TenantID    id.Tenant      `json:"tenant_id,omitzero" doc:"Absent: the platform, or a tenant that was purged."`
	ProjectID   id.Project     `json:"project_id,omitzero"`
	Action      string         `json:"action" example:"api_key.created" doc:"noun.verb in the past tense."`
	CRUD        string         `json:"crud,omitempty" enum:"c,r,u,d" doc:"What the action did to its target."`
	Description string         `json:"description,omitempty" doc:"Such as the reason given."`
	Actor       AuditActor     `json:"actor" doc:"Who did it."`
	Target      *AuditTarget   `json:"target,omitempty" doc:"What it was done to."`
	Product     string         `json:"product,omitempty" doc:"The product that reported it; absent: the registry itself."`
	SourceIP    *netip.Addr    `json:"source_ip,omitempty" doc:"Where the request came from, behind trusted proxies."`
	UserAgent   string         `json:"user_agent,omitempty"`
	RequestID   string         `json:"request_id,omitempty" doc:"As in the answer's X-Request-Id."`
	Metadata    map[string]any `json:"metadata" doc:"More about the change, such as from what to what."`
	IsFailure   bool           `json:"is_failure,omitempty" doc:"Whether the action was tried and failed."`
	CreatedAt   time.Time      `json:"created_at" doc:"When it happened."`
}

// AuditActor is who did something.
type AuditActor struct {
	Type string `json:"type,omitempty" example:"user" doc:"user, service, api_key or system."`
	ID   string `json:"id,omitempty" example:"operator_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Name string `json:"name,omitempty" doc:"As it was then."`
}

// AuditTarget is what something was done to.
type AuditTarget struct {
	Type string `json:"type" example:"api_key"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty" doc:"As it was then."`
}

func auditEventOf(e audit.Entry) AuditEvent {
	out := AuditEvent{
		ID: e.ID, TenantID: e.TenantID, ProjectID: e.ProjectID, Action: e.Action, CRUD: deref(e.CRUD), Description: deref(e.Description),
		Actor:   AuditActor{Type: deref(e.ActorType), ID: deref(e.ActorID), Name: deref(e.ActorName)},
		Product: deref(e.Product), SourceIP: e.SourceIP, UserAgent: deref(e.UserAgent), RequestID: deref(e.RequestID),
		Metadata: map[string]any{}, IsFailure: e.IsFailure, CreatedAt: e.CreatedAt.UTC(),
	}
	if e.TargetType != nil {
		out.Target = &AuditTarget{Type: *e.TargetType, ID: deref(e.TargetID), Name: deref(e.TargetName)}
	}
	// The column holds an object, by its constraint.
	_ = json.Unmarshal(e.Metadata, &out.Metadata)
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// AuditQuery are the filters of both lists.
type AuditQuery struct {
	Action     string     `query:"action" maxLength:"200" example:"api_key.*" doc:"Exactly this action, or, ending in .*, those of a noun."`
	ActorID    string     `query:"actor_id" maxLength:"200"`
	ActorType  string     `query:"actor_type" enum:"user,service,api_key,system"`
	TargetID   string     `query:"target_id" maxLength:"200"`
	TargetType string     `query:"target_type" maxLength:"100"`
	ProjectID  id.Project `query:"project_id"`
	Product    string     `query:"product" maxLength:"100"`
	CRUD       string     `query:"crud" enum:"c,r,u,d"`
	RequestID  string     `query:"request_id" maxLength:"128"`
	Since      time.Time  `query:"since" doc:"From this instant on."`
	Until      time.Time  `query:"until" doc:"Before this instant."`
}

func (q AuditQuery) filter() audit.Filter {
	return audit.Filter{
		Action: q.Action, ActorID: q.ActorID, ActorType: access.ActorType(q.ActorType), TargetID: q.TargetID, TargetType: q.TargetType,
		ProjectID: q.ProjectID, Product: q.Product, CRUD: q.CRUD, RequestID: q.RequestID, Since: q.Since, Until: q.Until,
	}
}

func (a *API) auditRoutes() {
	const tag = "Audit log"
	route(a, op{
		ID: "list-audit-log", Method: "GET", Path: "/v1/audit-log", Tag: tag, Summary: "List what was done, across the platform",
		Description: "Newest first. Only for the platform's own credentials.",
	}, a.listAuditLog)
	route(a, op{
		ID: "get-audit-event", Method: "GET", Path: "/v1/audit-log/{event}", Tag: tag, Summary: "Get one record",
		Description: "A tenant's credential reads its own and those of the tenants below it.",
	}, a.getAuditEvent)
	route(a, op{
		ID: "list-tenant-audit-log", Method: "GET", Path: "/v1/tenants/{tenant}/audit-log", Tag: tag, Summary: "List what was done in a tenant",
		Description: "Newest first. The tenants below it have a log each.",
	}, a.listTenantAuditLog)
	route(a, op{
		ID: "get-tenant-audit-event", Method: "GET", Path: "/v1/tenants/{tenant}/audit-log/{event}", Tag: tag, Summary: "Get one record of a tenant",
	}, a.getTenantAuditEvent)
}

type listAuditLogInput struct {
	PageQuery
	AuditQuery
	TenantID id.Tenant `query:"tenant_id" doc:"Only what concerns this tenant."`
}

func (a *API) listAuditLog(ctx context.Context, in *listAuditLogInput) (*listed[AuditEvent], error) {
	f := in.filter()
	f.TenantID = in.TenantID
	p, err := a.s.Audit.List(ctx, f, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, auditEventOf), nil
}

// AuditEventPath is embedded by the input of operations on one record.
type AuditEventPath struct {
	Event id.AuditEvent `path:"event" doc:"Id of the record."`
}

type getAuditEventInput struct{ AuditEventPath }

func (a *API) getAuditEvent(ctx context.Context, in *getAuditEventInput) (*plain[AuditEvent], error) {
	e, err := a.s.Audit.Get(ctx, in.Event)
	if err != nil {
		return nil, err
	}
	return &plain[AuditEvent]{Body: auditEventOf(e)}, nil
}

type listTenantAuditLogInput struct {
	TenantPath
	PageQuery
	AuditQuery
}

func (a *API) listTenantAuditLog(ctx context.Context, in *listTenantAuditLogInput) (*listed[AuditEvent], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Audit.ListOf(ctx, tenant, in.filter(), in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, auditEventOf), nil
}

type getTenantAuditEventInput struct {
	TenantPath
	AuditEventPath
}

func (a *API) getTenantAuditEvent(ctx context.Context, in *getTenantAuditEventInput) (*plain[AuditEvent], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.s.Audit.GetOf(ctx, tenant, in.Event)
	if err != nil {
		return nil, err
	}
	return &plain[AuditEvent]{Body: auditEventOf(e)}, nil
}
