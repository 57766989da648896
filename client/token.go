package client

import (
	"context"
	"net/http"
	"time"
)

// AccessToken is a bearer credential of an operator or of a service account,
// without its secret.
type AccessToken struct {
	ID            string     `json:"id"`
	OperatorID    string     `json:"operator_id"` // of this operator, or
	ServiceID     string     `json:"service_id"`  // of this service account
	Name          string     `json:"name"`
	Hint          string     `json:"hint"`  // the secret's beginning and end
	State         string     `json:"state"` // active, expired or revoked
	ExpiresAt     *time.Time `json:"expires_at"`
	RevokedAt     *time.Time `json:"revoked_at"`
	RevokedReason *string    `json:"revoked_reason"`
	LastUsedAt    *time.Time `json:"last_used_at"` // up to two minutes late
	LastUsedIP    *string    `json:"last_used_ip"`
	CreatedBy     *string    `json:"created_by"` // type and id: "user:operator_…"
	CreatedAt     time.Time  `json:"created_at"`
}

// IssuedToken is a new token with its secret.
type IssuedToken struct {
	AccessToken

	Token string `json:"token"` // shown this once
}

// IssueToken describes a new token.
type IssueToken struct {
	Name      string     `json:"name"`                 // what it is for
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // nil: 90 days; at most a year, unless configured otherwise
}

// TokenFilter chooses tokens.
type TokenFilter struct {
	Active bool // only those neither expired nor revoked
	ListOptions
}

// Tokens are the operations on access tokens of either kind. To issue and list
// them, see Operators and Services.
type Tokens struct{ c *Client }

// Get returns a token without its secret.
func (s *Tokens) Get(ctx context.Context, id string) (*AccessToken, error) {
	t := &AccessToken{}
	return result(t, s.c.do(ctx, request{method: http.MethodGet, path: path("tokens", id), out: t}))
}

// Revoke ends a token for good, within a second.
func (s *Tokens) Revoke(ctx context.Context, id, why string) (*AccessToken, error) {
	t := &AccessToken{}
	return result(t, s.c.do(ctx, request{method: http.MethodPost, path: path("tokens", id, "revoke"), body: reason{why}, out: t}))
}

func (c *Client) issue(ctx context.Context, path string, in IssueToken) (*IssuedToken, error) {
	t := &IssuedToken{}
	return result(t, c.do(ctx, request{method: http.MethodPost, path: path, body: in, out: t, creates: true}))
}

func (c *Client) tokens(ctx context.Context, path string, f TokenFilter) (*Page[AccessToken], error) {
	q := f.query()
	if f.Active {
		q.Set("active", "true")
	}
	p := &Page[AccessToken]{}
	return result(p, c.do(ctx, request{method: http.MethodGet, path: path, query: q, out: p}))
}
