package app

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/tenant"
)

// authenticate turns a bearer into a principal. Each kind of credential is known
// by its form and checked by the room that issues it.
func (a *App) authenticate(ctx context.Context, bearer string) (access.Principal, error) {
	if a.operators.Handles(bearer) {
		return a.operators.Authenticate(ctx, bearer)
	}
	return a.verifier.Authenticate(ctx, bearer)
}

// resolveTenant turns what a path names a tenant by into its id.
func (a *App) resolveTenant(ctx context.Context, ref string) (id.Tenant, error) {
	r, err := tenant.ParseRef(ref)
	if err != nil {
		return id.Tenant{}, err
	}
	return a.tenants.Resolve(ctx, r)
}

// clientIP is where a request came from: the nearest address that is no trusted
// proxy, read from the right of X-Forwarded-For. What a trusted proxy says and
// can't be read makes it unknown: a key's allow-list must not take the proxy's own
// address for the client's.
func (a *App) clientIP(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 0 || !a.trusted(ip) {
		return ip
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && a.trusted(ip); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return netip.Addr{}
		}
		ip = next.Unmap().WithZone("")
	}
	return ip
}

func (a *App) trusted(ip netip.Addr) bool {
	for _, p := range a.cfg.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
