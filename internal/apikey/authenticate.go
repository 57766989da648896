package apikey

import (
	"context"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

var errCredential = fault.New(fault.Unauthenticated, "credential_invalid", "The credential is not valid.")

// Authenticate turns an API key that is used on landlord's own API into a
// principal: its tenant's and of those below it, with the permissions of its
// landlord: scopes. Whatever is wrong with the key itself is one and the same
// credential_invalid. It is the same cache, and counts as a use of the key.
//
// The caller's address comes from access.OriginOf. What its rate limits have left
// is told by ratelimit.Tell; no product's are among them.
func (v *Verifier) Authenticate(ctx context.Context, token string) (access.Principal, error) {
	var none access.Principal
	e, _, err := v.lookup(ctx, token)
	if err != nil {
		return none, err
	}
	now := v.now()
	if e == nil || e.keyState(now.UnixNano()) != "" {
		return none, errCredential
	}
	switch e.tenantDenied {
	case TenantSuspended:
		return none, fault.New(fault.Forbidden, "tenant_suspended", "The tenant is suspended.")
	case TenantArchived:
		return none, fault.New(fault.Forbidden, "tenant_archived", "The tenant is archived.")
	default:
	}
	if e.barred {
		return none, fault.New(fault.Forbidden, "environment_not_allowed", "The tenant's key policy allows no %s keys.", e.environment)
	}
	from := access.OriginOf(ctx).SourceIP
	if !e.from(from) {
		return none, fault.New(fault.Forbidden, "ip_not_allowed", "The key does not work from this address.")
	}
	var a Verification
	ok, err := v.spend(ctx, now, e, nil, &VerifyParams{}, &a)
	if err != nil {
		return none, err
	}
	limits := a.RateLimits(nil)
	ratelimit.Tell(ctx, limits)
	if !ok {
		names, after := ratelimit.Violated(limits)
		f := fault.New(fault.RateLimited, "rate_limited", "Rate limits are used up: %s.", strings.Join(names, ", "))
		f.RetryAfter = time.Duration(after) * time.Second
		return none, f
	}
	v.usage.note(e, now, from)
	p := access.Principal{Type: access.APIKey, ID: e.id.String(), Name: e.name, Tenant: e.tenant, Permissions: e.permissions}
	if v.within != nil {
		p.Within = func(ctx context.Context, other id.Tenant) (bool, error) { return v.within(ctx, e.tenant, other) }
	}
	return p, nil
}
