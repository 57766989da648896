package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// AuditEvent is a record of what was done.
type AuditEvent struct {
	ID          string         `json:"id"`
	TenantID    string         `json:"tenant_id"` // "": the platform, or a tenant that was purged
	ProjectID   string         `json:"project_id"`
	Action      string         `json:"action"` // noun.verb: "api_key.created"
	CRUD        string         `json:"crud"`   // c, r, u or d
	Description string         `json:"description"`
	Actor       AuditActor     `json:"actor"`
	Target      *AuditTarget   `json:"target"`
	Product     string         `json:"product"` // "": the registry itself
	SourceIP    string         `json:"source_ip"`
	UserAgent   string         `json:"user_agent"`
	RequestID   string         `json:"request_id"`
	Metadata    map[string]any `json:"metadata"`
	IsFailure   bool           `json:"is_failure"`
	CreatedAt   time.Time      `json:"created_at"`
}

// AuditActor is who did something.
type AuditActor struct {
	Type string `json:"type"` // user, service, api_key or system
	ID   string `json:"id"`
	Name string `json:"name"` // as it was then
}

// AuditTarget is what something was done to.
type AuditTarget struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"` // as it was then
}

// AuditFilter chooses records; zero fields choose any.
type AuditFilter struct {
	Tenant     string // id, UUID or slug:NAME: this tenant's log; "": the whole platform's
	ProjectID  string
	Action     string // exact, or a prefix that ends in ".*": "api_key.*"
	ActorID    string
	ActorType  string
	TargetID   string
	TargetType string
	Product    string
	CRUD       string
	RequestID  string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
	ListOptions
}

// AuditLog reads what was done.
type AuditLog struct{ c *Client }

// List returns a page of the log, newest first.
func (s *AuditLog) List(ctx context.Context, f AuditFilter) (*Page[AuditEvent], error) {
	q := f.query()
	set(q, "project_id", f.ProjectID)
	set(q, "action", f.Action)
	set(q, "actor_id", f.ActorID)
	set(q, "actor_type", f.ActorType)
	set(q, "target_id", f.TargetID)
	set(q, "target_type", f.TargetType)
	set(q, "product", f.Product)
	set(q, "crud", f.CRUD)
	set(q, "request_id", f.RequestID)
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if !f.Until.IsZero() {
		q.Set("until", f.Until.UTC().Format(time.RFC3339Nano))
	}
	at := path("audit-log")
	if f.Tenant != "" {
		at = path("tenants", f.Tenant, "audit-log")
	}
	p := &Page[AuditEvent]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: at, query: q, out: p}))
}

// All walks all pages of List.
func (s *AuditLog) All(ctx context.Context, f AuditFilter) iter.Seq2[AuditEvent, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[AuditEvent], error) {
		f.Cursor = cursor
		return s.List(ctx, f)
	})
}

// Get returns one record.
func (s *AuditLog) Get(ctx context.Context, id string) (*AuditEvent, error) {
	e := &AuditEvent{}
	return result(e, s.c.do(ctx, request{method: http.MethodGet, path: path("audit-log", id), out: e}))
}

// GetOf returns one record of a tenant.
func (s *AuditLog) GetOf(ctx context.Context, tenant, id string) (*AuditEvent, error) {
	e := &AuditEvent{}
	return result(e, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "audit-log", id), out: e}))
}
