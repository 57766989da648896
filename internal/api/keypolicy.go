package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
)

// KeyPolicy is what a tenant demands of its API keys and of those of the tenants
// below it.
type KeyPolicy struct {
	TenantID     id.Tenant `json:"tenant_id"`
	AllowedIPs   []string  `json:"allowed_ips" doc:"Networks that keys work from, beside what each key says itself; none: from everywhere."`
	Environments []string  `json:"environments" enum:"live,test" doc:"Keys of which work."`
	MaxAgeDays   int       `json:"max_age_days,omitempty" example:"365" doc:"Longest life of a key from its issue; absent: any."`
	LeakAction   string    `json:"leak_action" enum:"revoke,disable,flag" doc:"What a report that a key has leaked does to it; flag only tells of it."`
	InForce      KeyRules  `json:"in_force" doc:"What binds the tenant's keys: of its policy and of those of all above it the strictest, field by field, and what its plan says."`

	CreatedAt *time.Time `json:"created_at,omitempty" doc:"Absent, like updated_at: it was never put and demands nothing."`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

// KeyRules are what binds the keys of a tenant.
type KeyRules struct {
	AllowedIPs   [][]string `json:"allowed_ips" doc:"Lists, from the root down to the tenant's own: each of them must allow the caller."`
	Environments []string   `json:"environments" enum:"live,test" doc:"None: no key works."`
	MaxAgeDays   int        `json:"max_age_days,omitempty" doc:"Of the tenant's plan, where that says less."`
	LeakAction   string     `json:"leak_action" enum:"revoke,disable,flag"`
	RateLimitRPM int        `json:"rate_limit_rpm" doc:"Of keys that don't say: the plan's, else 600."`
	MaxKeys      int        `json:"max_keys,omitempty" doc:"By the plan: how many may be neither revoked nor expired nor replaced; absent: any number."`
}

// PutKeyPolicy is a whole key policy. It replaces what was there: what it leaves
// out is back at its default.
type PutKeyPolicy struct {
	AllowedIPs   []string `json:"allowed_ips,omitempty" maxItems:"100" example:"[\"192.0.2.0/24\"]" doc:"Addresses and networks, IPv4 and IPv6. Left out: from everywhere."`
	Environments []string `json:"environments,omitempty" enum:"live,test" maxItems:"10" doc:"Left out: both."`
	MaxAgeDays   int      `json:"max_age_days,omitempty" minimum:"1" maximum:"3650" doc:"Left out: any."`
	LeakAction   string   `json:"leak_action,omitempty" enum:"revoke,disable,flag" default:"revoke"`
}

func (a *API) keyPolicyRoutes() {
	const tag, path = "API keys", "/v1/tenants/{tenant}/key-policy"
	route(a, op{
		ID: "get-key-policy", Method: "GET", Path: path, Tag: tag, Summary: "Get a tenant's key policy",
		Description: "One that was never put demands nothing.",
	}, a.getKeyPolicy)
	route(a, op{
		ID: "put-key-policy", Method: "PUT", Path: path, Tag: tag, Summary: "Put a tenant's key policy",
		Description: "Binds the tenant's keys and those of all tenants below it, within a second and also those that are there already; only their ends stay.",
		Errors:      []int{409, 412},
	}, a.putKeyPolicy)
}

func keyPolicyOf(p apikey.Policy, r apikey.Rules) *one[KeyPolicy] {
	out := KeyPolicy{
		TenantID: p.TenantID, AllowedIPs: cidrs(p.AllowedIPs), Environments: texts(p.Environments), MaxAgeDays: p.MaxAgeDays, LeakAction: string(p.LeakAction),
		InForce: KeyRules{
			AllowedIPs: [][]string{}, Environments: texts(r.Environments), MaxAgeDays: r.MaxAgeDays, LeakAction: string(r.LeakAction),
			RateLimitRPM: r.RateLimitRPM, MaxKeys: r.MaxKeys,
		},
	}
	for _, list := range r.AllowedIPs {
		out.InForce.AllowedIPs = append(out.InForce.AllowedIPs, cidrs(list))
	}
	if !p.CreatedAt.IsZero() {
		out.CreatedAt, out.UpdatedAt = utc(&p.CreatedAt), utc(&p.UpdatedAt)
	}
	return &one[KeyPolicy]{ETag: etag(p.UpdatedAt), Body: out}
}

// cidrs writes networks.
func cidrs(list []netip.Prefix) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return out
}

type getKeyPolicyInput struct{ TenantPath }

func (a *API) getKeyPolicy(ctx context.Context, in *getKeyPolicyInput) (*one[KeyPolicy], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, rules, err := a.s.APIKeys.Policy(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return keyPolicyOf(p, rules), nil
}

type putKeyPolicyInput struct {
	TenantPath
	Precondition
	Body PutKeyPolicy
}

func (a *API) putKeyPolicy(ctx context.Context, in *putKeyPolicyInput) (*one[KeyPolicy], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	ips, err := networks(in.Body.AllowedIPs)
	if err != nil {
		return nil, err
	}
	p := apikey.PutPolicyParams{
		TenantID: tenant, AllowedIPs: ips, MaxAgeDays: in.Body.MaxAgeDays, LeakAction: apikey.LeakAction(in.Body.LeakAction), IfMatch: version,
	}
	for _, e := range in.Body.Environments {
		p.Environments = append(p.Environments, apikey.Environment(e))
	}
	own, rules, err := a.s.APIKeys.PutPolicy(ctx, p)
	if err != nil {
		return nil, err
	}
	return keyPolicyOf(own, rules), nil
}
