package apikey

import (
	"context"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

var errCredential = fault.New(fault.Unauthenticated, "credential_invalid", "The credential is not valid.")

// Authenticate turns an API key that is used on landlord's own API into a
// principal: its tenant's and of those below it, with the permissions of its
// landlord: scopes. Whatever is wrong with the key itself is one and the same
// credential_invalid. It is the same cache, and counts as a use of the key.
//
// The caller's address comes from access.OriginOf.
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
	if d := v.spend(ctx, now, e, 1, false); !d.Allowed {
		f := fault.New(fault.RateLimited, "rate_limited", "The key's rate limit is used up.")
		f.RetryAfter = d.RetryAfter
		return none, f
	}
	v.usage.note(e, now, from)
	p := access.Principal{Type: access.APIKey, ID: e.id.String(), Name: e.name, Tenant: e.tenant, Permissions: e.permissions}
	if v.within != nil {
		p.Within = func(ctx context.Context, other id.Tenant) (bool, error) { return v.within(ctx, e.tenant, other) }
	}
	return p, nil
}
