package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Project is an explicit project of a tenant. The implicit default project has
// none: leave a project out to mean it.
type Project struct {
	ID          string         `json:"id"`
	TenantID    string         `json:"tenant_id"`
	Name        string         `json:"name"`
	Slug        string         `json:"slug"` // unique within the tenant
	Description string         `json:"description"`
	Status      string         `json:"status"` // active or archived
	Metadata    map[string]any `json:"metadata"`
	ArchivedAt  *time.Time     `json:"archived_at"`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// CreateProject describes a new project. Only Name is required.
type CreateProject struct {
	Name        string         `json:"name"`
	Slug        string         `json:"slug,omitempty"` // "": made from Name
	Description string         `json:"description,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
}

// UpdateProject changes a project; fields left out stay. Metadata is merged key
// by key, and a nil value takes a key away.
type UpdateProject struct {
	Name        Patch[string]         `json:"name,omitzero"`
	Slug        Patch[string]         `json:"slug,omitzero"`
	Description Patch[string]         `json:"description,omitzero"`
	Metadata    Patch[map[string]any] `json:"metadata,omitzero"`

	IfMatch string `json:"-"` // only if the project still has this ETag; "" is any
}

// ProjectFilter chooses projects; zero fields choose any.
type ProjectFilter struct {
	Status string
	ListOptions
}

// Projects are the operations on tenants' projects. A project is named by its id,
// a bare UUID or slug:NAME.
type Projects struct{ c *Client }

// Create makes a project. The tenant must be entitled to a product that supports
// projects.
func (s *Projects) Create(ctx context.Context, tenant string, in CreateProject) (*Project, error) {
	p := &Project{}
	return result(p, s.c.do(ctx, request{method: http.MethodPost, path: path("tenants", tenant, "projects"), body: in, out: p, creates: true, etag: &p.ETag}))
}

// Get returns a project.
func (s *Projects) Get(ctx context.Context, tenant, project string) (*Project, error) {
	return s.call(ctx, http.MethodGet, path("tenants", tenant, "projects", project), nil, "")
}

// List returns a page of a tenant's projects, newest first.
func (s *Projects) List(ctx context.Context, tenant string, f ProjectFilter) (*Page[Project], error) {
	q := f.query()
	set(q, "status", f.Status)
	return list[Project](ctx, s.c, path("tenants", tenant, "projects"), q)
}

// All walks all pages of List.
func (s *Projects) All(ctx context.Context, tenant string, f ProjectFilter) iter.Seq2[Project, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[Project], error) {
		f.Cursor = cursor
		return s.List(ctx, tenant, f)
	})
}

// Update changes a project that is not archived.
func (s *Projects) Update(ctx context.Context, tenant, project string, in UpdateProject) (*Project, error) {
	return s.call(ctx, http.MethodPatch, path("tenants", tenant, "projects", project), in, in.IfMatch)
}

// Archive stops a project: its keys do not verify until it is restored.
func (s *Projects) Archive(ctx context.Context, tenant, project string) (*Project, error) {
	return s.call(ctx, http.MethodPost, path("tenants", tenant, "projects", project, "archive"), nil, "")
}

// Restore makes an archived project work again.
func (s *Projects) Restore(ctx context.Context, tenant, project string) (*Project, error) {
	return s.call(ctx, http.MethodPost, path("tenants", tenant, "projects", project, "restore"), nil, "")
}

func (s *Projects) call(ctx context.Context, method, path string, body any, ifMatch string) (*Project, error) {
	p := &Project{}
	return result(p, s.c.do(ctx, request{method: method, path: path, body: body, out: p, ifMatch: ifMatch, etag: &p.ETag}))
}
