package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/page"
)

// AccessToken is a bearer credential of an operator or of a service account, as
// far as it may be shown.
type AccessToken struct {
	ID            id.Token    `json:"id" example:"token_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	OperatorID    id.Operator `json:"operator_id,omitzero" doc:"The operator that it stands for; absent of a service account's."`
	ServiceID     id.Service  `json:"service_id,omitzero" doc:"The service account that it stands for; absent of an operator's."`
	Name          string      `json:"name" example:"laptop"`
	Hint          string      `json:"hint" example:"llop_…9aZx" doc:"Its beginning and end, to tell it from others."`
	State         string      `json:"state" enum:"active,expired,revoked" doc:"Now. A disabled operator's or account's token is active and yet does not work."`
	ExpiresAt     *time.Time  `json:"expires_at,omitempty" doc:"Absent: never."`
	RevokedAt     *time.Time  `json:"revoked_at,omitempty"`
	RevokedReason *string     `json:"revoked_reason,omitempty"`
	LastUsedAt    *time.Time  `json:"last_used_at,omitempty" doc:"Up to two minutes late."`
	LastUsedIP    *netip.Addr `json:"last_used_ip,omitempty"`
	CreatedBy     *string     `json:"created_by,omitempty" example:"user:operator_01jd3q8v6ze3nbq2m5xk7c9w4t" doc:"Who issued it: type and id."`
	CreatedAt     time.Time   `json:"created_at"`
}

// IssuedToken is a new token with its secret.
type IssuedToken struct {
	AccessToken

	Token string `json:"token" example:"llop_1Vq…9aZx" doc:"The secret. It is shown this once: keep it."`
}

// IssueToken describes a new token.
type IssueToken struct {
	Name      string     `json:"name" minLength:"1" maxLength:"200" example:"laptop" doc:"What it is for."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"At most a year ahead, unless the server is configured otherwise; left out, 90 days."`
}

func (a *API) tokenOf(t operator.AccessToken) AccessToken {
	return AccessToken{
		ID: t.ID, OperatorID: t.OperatorID, ServiceID: t.ServiceID, Name: t.Name, Hint: t.Prefix + "…" + t.Last4,
		State: string(a.s.Operators.StateOf(t)), ExpiresAt: utc(t.ExpiresAt), RevokedAt: utc(t.RevokedAt), RevokedReason: t.RevokedReason,
		LastUsedAt: utc(t.LastUsedAt), LastUsedIP: t.LastUsedIP, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt.UTC(),
	}
}

// TokenPath is embedded by the input of operations on one token.
type TokenPath struct {
	Token id.Token `path:"token" doc:"Id of the token, not its secret."`
}

func (a *API) tokenRoutes() {
	const (
		tag    = "Access tokens"
		issue  = "The secret is in the answer and never again. Issue your own without a permission; for others you need operators:write and all that they hold."
		revoke = "Ends the token for good, within a second. Your own needs no permission. Revoking twice is no error; the first reason stays."
	)
	route(a, op{
		ID: "issue-operator-token", Method: "POST", Path: "/v1/operators/{operator}/tokens", Tag: tag, Creates: true,
		Summary: "Issue a token of an operator", Description: issue,
	}, a.issueOperatorToken)
	route(a, op{
		ID: "list-operator-tokens", Method: "GET", Path: "/v1/operators/{operator}/tokens", Tag: tag,
		Summary: "List an operator's tokens", Description: "Newest first. Your own need no permission.",
	}, a.listOperatorTokens)
	route(a, op{
		ID: "issue-service-token", Method: "POST", Path: "/v1/services/{service}/tokens", Tag: tag, Creates: true,
		Summary: "Issue a token of a service account", Description: issue,
	}, a.issueServiceToken)
	route(a, op{
		ID: "list-service-tokens", Method: "GET", Path: "/v1/services/{service}/tokens", Tag: tag,
		Summary: "List a service account's tokens", Description: "Newest first. An account's own need no permission.",
	}, a.listServiceTokens)
	route(a, op{
		ID: "get-token", Method: "GET", Path: "/v1/tokens/{token}", Tag: tag, Summary: "Get a token", Description: "Without its secret, which nobody can read again.",
	}, a.getToken)
	route(a, op{
		ID: "revoke-token", Method: "POST", Path: "/v1/tokens/{token}/revoke", Tag: tag, Summary: "Revoke a token", Description: revoke,
	}, a.revokeToken)
}

type issueOperatorTokenInput struct {
	OperatorPath
	Body IssueToken
}

func (a *API) issueOperatorToken(ctx context.Context, in *issueOperatorTokenInput) (*created[IssuedToken], error) {
	return a.issueToken(ctx, operator.IssueParams{OperatorID: in.Operator, Name: in.Body.Name, ExpiresAt: in.Body.ExpiresAt})
}

type issueServiceTokenInput struct {
	ServicePath
	Body IssueToken
}

func (a *API) issueServiceToken(ctx context.Context, in *issueServiceTokenInput) (*created[IssuedToken], error) {
	return a.issueToken(ctx, operator.IssueParams{ServiceID: in.Service, Name: in.Body.Name, ExpiresAt: in.Body.ExpiresAt})
}

func (a *API) issueToken(ctx context.Context, p operator.IssueParams) (*created[IssuedToken], error) {
	t, err := a.s.Operators.IssueToken(ctx, p)
	if err != nil {
		return nil, err
	}
	return &created[IssuedToken]{
		Location: "/v1/tokens/" + t.ID.String(),
		Body:     IssuedToken{AccessToken: a.tokenOf(t.AccessToken), Token: t.Secret.Reveal()},
	}, nil
}

// TokenQuery is embedded by the input of both lists of tokens.
type TokenQuery struct {
	Active string `query:"active" enum:"true,false" doc:"true: only those neither expired nor revoked."`
}

type listOperatorTokensInput struct {
	OperatorPath
	PageQuery
	TokenQuery
}

func (a *API) listOperatorTokens(ctx context.Context, in *listOperatorTokensInput) (*listed[AccessToken], error) {
	return a.listTokens(ctx, operator.TokenFilter{OperatorID: in.Operator, Live: in.Active == "true"}, in.request())
}

type listServiceTokensInput struct {
	ServicePath
	PageQuery
	TokenQuery
}

func (a *API) listServiceTokens(ctx context.Context, in *listServiceTokensInput) (*listed[AccessToken], error) {
	return a.listTokens(ctx, operator.TokenFilter{ServiceID: in.Service, Live: in.Active == "true"}, in.request())
}

func (a *API) listTokens(ctx context.Context, f operator.TokenFilter, r page.Request) (*listed[AccessToken], error) {
	p, err := a.s.Operators.ListTokens(ctx, f, r)
	if err != nil {
		return nil, err
	}
	return listOf(p, a.tokenOf), nil
}

type getTokenInput struct{ TokenPath }

func (a *API) getToken(ctx context.Context, in *getTokenInput) (*plain[AccessToken], error) {
	t, err := a.s.Operators.GetToken(ctx, in.Token)
	if err != nil {
		return nil, err
	}
	return &plain[AccessToken]{Body: a.tokenOf(t)}, nil
}

type revokeTokenInput struct {
	TokenPath
	ReasonBody
}

func (a *API) revokeToken(ctx context.Context, in *revokeTokenInput) (*plain[AccessToken], error) {
	t, err := a.s.Operators.RevokeToken(ctx, in.Token, in.reason())
	if err != nil {
		return nil, err
	}
	return &plain[AccessToken]{Body: a.tokenOf(t)}, nil
}
