package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Operator is a person of the platform.
type Operator struct {
	ID          string     `json:"id"`
	Email       string     `json:"email"` // lower case, unique
	Name        string     `json:"name"`
	Role        string     `json:"role"` // owner, admin, support or viewer
	Enabled     bool       `json:"enabled"`
	DisabledAt  *time.Time `json:"disabled_at"`
	OIDCIssuer  *string    `json:"oidc_issuer"` // nil until the person signed in through it
	OIDCSubject *string    `json:"oidc_subject"`
	LastSeenAt  *time.Time `json:"last_seen_at"` // up to two minutes late
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// CreateOperator describes a new person.
type CreateOperator struct {
	Email       string `json:"email"`
	Name        string `json:"name"`
	Role        string `json:"role"`
	OIDCSubject string `json:"oidc_subject,omitempty"` // "" links on first sight of the verified e-mail address
}

// UpdateOperator changes a person; fields left out stay.
type UpdateOperator struct {
	Name Patch[string] `json:"name,omitzero"`
	Role Patch[string] `json:"role,omitzero"`

	IfMatch string `json:"-"` // only if the person still has this ETag; "" is any
}

// OperatorFilter chooses people; zero fields choose any.
type OperatorFilter struct {
	Role    string
	Enabled *bool
	Email   string
	ListOptions
}

// Operators are the operations on the platform's people.
type Operators struct{ c *Client }

type reason struct {
	Reason string `json:"reason,omitempty"`
}

// Create adds a person. You must hold every permission that the role gives.
func (s *Operators) Create(ctx context.Context, in CreateOperator) (*Operator, error) {
	o := &Operator{}
	return result(o, s.c.do(ctx, request{method: http.MethodPost, path: path("operators"), body: in, out: o, creates: true, etag: &o.ETag}))
}

// Get returns a person.
func (s *Operators) Get(ctx context.Context, id string) (*Operator, error) {
	return s.call(ctx, http.MethodGet, path("operators", id), nil, "")
}

// List returns a page of people, newest first.
func (s *Operators) List(ctx context.Context, f OperatorFilter) (*Page[Operator], error) {
	q := f.query()
	set(q, "role", f.Role)
	set(q, "email", f.Email)
	setBool(q, "enabled", f.Enabled)
	p := &Page[Operator]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("operators"), query: q, out: p}))
}

// All walks all pages of List.
func (s *Operators) All(ctx context.Context, f OperatorFilter) iter.Seq2[Operator, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[Operator], error) {
		f.Cursor = cursor
		return s.List(ctx, f)
	})
}

// Update changes a person's name or role; the last enabled owner stays one.
func (s *Operators) Update(ctx context.Context, id string, in UpdateOperator) (*Operator, error) {
	return s.call(ctx, http.MethodPatch, path("operators", id), in, in.IfMatch)
}

// Disable stops a person from acting, within a second and until enabled.
func (s *Operators) Disable(ctx context.Context, id, why string) (*Operator, error) {
	return s.call(ctx, http.MethodPost, path("operators", id, "disable"), reason{why}, "")
}

// Enable lets a disabled person act again.
func (s *Operators) Enable(ctx context.Context, id string) (*Operator, error) {
	return s.call(ctx, http.MethodPost, path("operators", id, "enable"), nil, "")
}

// Delete removes a person and the tokens.
func (s *Operators) Delete(ctx context.Context, id string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: path("operators", id)})
}

// IssueToken makes a token of a person. Its secret is in the answer and never again.
func (s *Operators) IssueToken(ctx context.Context, id string, in IssueToken) (*IssuedToken, error) {
	return s.c.issue(ctx, path("operators", id, "tokens"), in)
}

// Tokens returns a page of a person's tokens, newest first.
func (s *Operators) Tokens(ctx context.Context, id string, f TokenFilter) (*Page[AccessToken], error) {
	return s.c.tokens(ctx, path("operators", id, "tokens"), f)
}

func (s *Operators) call(ctx context.Context, method, path string, body any, ifMatch string) (*Operator, error) {
	o := &Operator{}
	return result(o, s.c.do(ctx, request{method: method, path: path, body: body, out: o, ifMatch: ifMatch, etag: &o.ETag}))
}

// Whoami is whom a credential stands for and what it may do.
type Whoami struct {
	Type        string   `json:"type"` // user, service, api_key
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	TenantID    string   `json:"tenant_id"` // "" reaches all tenants; else this one and those below it
	Permissions []string `json:"permissions"`
}

// Whoami tells whom the client's credential stands for.
func (c *Client) Whoami(ctx context.Context) (*Whoami, error) {
	w := &Whoami{}
	return result(w, c.do(ctx, request{method: http.MethodGet, path: path("whoami"), out: w}))
}
