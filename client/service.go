package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// ServiceAccount is a program that calls the registry.
type ServiceAccount struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"` // unique
	Description string     `json:"description"`
	Permissions []string   `json:"permissions"`
	TenantID    string     `json:"tenant_id"` // "" reaches all tenants; else this one and those below it
	Enabled     bool       `json:"enabled"`
	DisabledAt  *time.Time `json:"disabled_at"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// CreateService describes a new service account.
type CreateService struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Permissions []string `json:"permissions"` // each must be one that you hold
	TenantID    string   `json:"tenant_id,omitempty"`
}

// UpdateService changes a service account; fields left out stay.
type UpdateService struct {
	Name        Patch[string]   `json:"name,omitzero"`
	Description Patch[string]   `json:"description,omitzero"`
	Permissions Patch[[]string] `json:"permissions,omitzero"`

	IfMatch string `json:"-"` // only if the account still has this ETag; "" is any
}

// ServiceFilter chooses service accounts; zero fields choose any.
type ServiceFilter struct {
	TenantID string
	Enabled  *bool
	ListOptions
}

// Services are the operations on service accounts.
type Services struct{ c *Client }

// Create adds a service account. You must hold every permission that you grant.
func (s *Services) Create(ctx context.Context, in CreateService) (*ServiceAccount, error) {
	if in.Permissions == nil {
		in.Permissions = []string{}
	}
	a := &ServiceAccount{}
	return result(a, s.c.do(ctx, request{method: http.MethodPost, path: path("services"), body: in, out: a, creates: true, etag: &a.ETag}))
}

// Get returns a service account.
func (s *Services) Get(ctx context.Context, id string) (*ServiceAccount, error) {
	return s.call(ctx, http.MethodGet, path("services", id), nil, "")
}

// List returns a page of service accounts, newest first.
func (s *Services) List(ctx context.Context, f ServiceFilter) (*Page[ServiceAccount], error) {
	q := f.query()
	set(q, "tenant_id", f.TenantID)
	setBool(q, "enabled", f.Enabled)
	p := &Page[ServiceAccount]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("services"), query: q, out: p}))
}

// All walks all pages of List.
func (s *Services) All(ctx context.Context, f ServiceFilter) iter.Seq2[ServiceAccount, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[ServiceAccount], error) {
		f.Cursor = cursor
		return s.List(ctx, f)
	})
}

// Update changes a service account; its tokens have the new permissions within
// a second.
func (s *Services) Update(ctx context.Context, id string, in UpdateService) (*ServiceAccount, error) {
	return s.call(ctx, http.MethodPatch, path("services", id), in, in.IfMatch)
}

// Disable stops an account's tokens from working, within a second and until enabled.
func (s *Services) Disable(ctx context.Context, id, why string) (*ServiceAccount, error) {
	return s.call(ctx, http.MethodPost, path("services", id, "disable"), reason{why}, "")
}

// Enable lets a disabled account's tokens work again.
func (s *Services) Enable(ctx context.Context, id string) (*ServiceAccount, error) {
	return s.call(ctx, http.MethodPost, path("services", id, "enable"), nil, "")
}

// Delete removes an account and its tokens.
func (s *Services) Delete(ctx context.Context, id string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: path("services", id)})
}

// IssueToken makes a token of an account. Its secret is in the answer and never again.
func (s *Services) IssueToken(ctx context.Context, id string, in IssueToken) (*IssuedToken, error) {
	return s.c.issue(ctx, path("services", id, "tokens"), in)
}

// Tokens returns a page of an account's tokens, newest first.
func (s *Services) Tokens(ctx context.Context, id string, f TokenFilter) (*Page[AccessToken], error) {
	return s.c.tokens(ctx, path("services", id, "tokens"), f)
}

func (s *Services) call(ctx context.Context, method, path string, body any, ifMatch string) (*ServiceAccount, error) {
	a := &ServiceAccount{}
	return result(a, s.c.do(ctx, request{method: method, path: path, body: body, out: a, ifMatch: ifMatch, etag: &a.ETag}))
}
