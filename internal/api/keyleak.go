package api

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// KeyLeak is a place where a key was found that should have stayed secret.
type KeyLeak struct {
	ID         id.KeyLeak `json:"id" example:"leak_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	KeyID      id.APIKey  `json:"key_id"`
	TenantID   id.Tenant  `json:"tenant_id"`
	Source     string     `json:"source,omitempty" example:"commit" doc:"In what."`
	URL        string     `json:"url,omitempty" example:"https://example.com/paste/4711" doc:"Where, as the report says. Think before you follow it."`
	ReportedBy string     `json:"reported_by" example:"system:secret-scanning:github" doc:"Type and id of who reported it."`
	Action     string     `json:"action" enum:"revoke,disable,flag,none" doc:"What the report did to the key; none: it was stopped already."`
	ReportedAt time.Time  `json:"reported_at"`
}

// ReportLeak tells that a token was found where it must not be.
type ReportLeak struct {
	Token  string `json:"token" minLength:"1" maxLength:"255" example:"ll_live_1VqX…9aZx"`
	Source string `json:"source,omitempty" maxLength:"100" example:"paste" doc:"In what it was found."`
	URL    string `json:"url,omitempty" maxLength:"2048" example:"https://example.com/paste/4711" doc:"Where: http or https. It is shown, and never fetched."`
}

// LeakReport is what became of a report.
type LeakReport struct {
	Known  bool    `json:"known" doc:"The token is a key, and yours to report. Otherwise nothing was done."`
	Action string  `json:"action" enum:"revoke,disable,flag,none" doc:"What was done to the key; none: it was stopped already, or of this place was told before."`
	Key    *APIKey `json:"key,omitempty" doc:"As it is now."`
}

func (a *API) keyLeakRoutes() {
	const tag = "API keys"
	route(a, op{
		ID: "report-leaked-key", Method: "POST", Path: "/v1/keys/report-leak", Tag: tag, Summary: "Report a leaked key",
		Description: "The key is revoked, disabled or flagged, as the key policies that bind its tenant say, on every replica within a second, whatever the " +
			"tenant's status is. To report the same source and url of a key again does nothing. A tenant's own credential reports keys of its tenant and of those below it.",
	}, a.reportLeak)
	route(a, op{
		ID: "list-key-leaks", Method: "GET", Path: "/v1/tenants/{tenant}/api-keys/{key}/leaks", Tag: tag, Summary: "List where a key was found",
		Description: "The newest report first; each place once, at most a hundred.",
	}, a.listKeyLeaks)
}

type reportLeakInput struct{ Body ReportLeak }

func (a *API) reportLeak(ctx context.Context, in *reportLeakInput) (*plain[LeakReport], error) {
	r, err := a.s.APIKeys.ReportLeak(ctx, apikey.ReportParams{Token: secret.NewText(in.Body.Token), Source: in.Body.Source, URL: in.Body.URL})
	if err != nil {
		return nil, err
	}
	out := LeakReport{Known: r.Known, Action: string(r.Action)}
	if r.Known {
		k := a.apiKeyOf(r.Key)
		out.Key = &k
	}
	return &plain[LeakReport]{Body: out}, nil
}

type listKeyLeaksInput struct {
	TenantPath
	KeyPath
	PageQuery
}

func (a *API) listKeyLeaks(ctx context.Context, in *listKeyLeaksInput) (*listed[KeyLeak], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.APIKeys.Leaks(ctx, tenant, in.Key, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(l apikey.Leak) KeyLeak {
		return KeyLeak{
			ID: l.ID, KeyID: l.KeyID, TenantID: l.TenantID, Source: l.Source, URL: l.URL, ReportedBy: l.ReportedBy, Action: string(l.Action),
			ReportedAt: l.CreatedAt.UTC(),
		}
	}), nil
}
