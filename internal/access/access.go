package access

import (
	"context"
	"net/netip"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

// ActorType is the kind of actor that the audit log records.
type ActorType string

// The actor types of the audit log.
const (
	User    ActorType = "user"    // an operator, or a person of the platform's OIDC issuer
	Service ActorType = "service" // a service account
	APIKey  ActorType = "api_key" // a tenant's API key
	System  ActorType = "system"  // landlord itself: timed transitions, migrations
)

// Principal is who does something, and what they may do.
type Principal struct {
	Type ActorType
	ID   string // operator_…, service_…, key_…, or the loop's name
	Name string // for people

	// Tenant confines the principal to a tenant and the tenants below it.
	// The zero id is a platform principal.
	Tenant id.Tenant
	// Within reports whether a tenant is Tenant or lies below it. Without it
	// only Tenant itself is within.
	Within func(ctx context.Context, tenant id.Tenant) (bool, error)

	Permissions Set

	SourceIP  netip.Addr
	UserAgent string
	RequestID string
}

// Platform reports whether the principal reaches every tenant.
func (p Principal) Platform() bool { return p.Tenant.IsZero() }

// PrincipalKey asks a context for its *Principal, which does not change any more.
// It is public, as OriginKey is, for a face whose requests have a context of their
// own: that saves it one for each of the two.
type PrincipalKey struct{}

// With returns a context that acts as p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, PrincipalKey{}, &p)
}

// From returns the principal of ctx.
func From(ctx context.Context) (Principal, bool) {
	if p, _ := ctx.Value(PrincipalKey{}).(*Principal); p != nil {
		return *p, true
	}
	return Principal{}, false
}

// Origin is where a request came from. A face puts it into the context before it
// asks who the bearer is, so that authentication itself can be recorded.
type Origin struct {
	SourceIP  netip.Addr
	UserAgent string
	RequestID string
}

// OriginKey asks a context for its *Origin, which does not change any more.
type OriginKey struct{}

// WithOrigin returns a context whose request came from o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, OriginKey{}, &o)
}

// OriginOf returns where the request of ctx came from; zero when no face said.
func OriginOf(ctx context.Context) Origin {
	if o, _ := ctx.Value(OriginKey{}).(*Origin); o != nil {
		return *o
	}
	return Origin{}
}

// AsSystem returns a context that acts as landlord itself: every permission on
// every tenant, recorded under the loop's name.
func AsSystem(ctx context.Context, name string) context.Context {
	return With(ctx, Principal{Type: System, ID: name, Name: name, Permissions: NewSet(All()...)})
}

var errNoCredential = fault.New(fault.Unauthenticated, "credential_required", "This needs a credential: send Authorization: Bearer with a token or key.")

// Require reports whether the principal of ctx may do p to a tenant. A tenant
// that is not the principal's answers tenant_not_found; a missing permission
// answers permission_denied.
func Require(ctx context.Context, p Permission, tenant id.Tenant) error {
	who, ok := From(ctx)
	if !ok {
		return errNoCredential
	}
	in, err := who.Reaches(ctx, tenant)
	if err != nil {
		return err
	}
	if !in {
		return fault.NotFound("tenant")
	}
	return who.require(p)
}

// RequirePlatform reports whether the principal of ctx may do p to what belongs
// to no tenant: the catalogue, operators, the list of all tenants.
func RequirePlatform(ctx context.Context, p Permission) error {
	who, ok := From(ctx)
	if !ok {
		return errNoCredential
	}
	if !who.Platform() {
		return fault.New(fault.Forbidden, "platform_only", "Only the platform's own credentials may do this.")
	}
	return who.require(p)
}

// RequireAny is for operations that every credential with the permission may
// do, each on what is its own: reading the catalogue, listing one's tenants.
func RequireAny(ctx context.Context, p Permission) (Principal, error) {
	who, ok := From(ctx)
	if !ok {
		return who, errNoCredential
	}
	return who, who.require(p)
}

// Reaches reports whether tenant is the principal's: any for the platform, else
// its own and those below it.
func (p Principal) Reaches(ctx context.Context, tenant id.Tenant) (bool, error) {
	switch {
	case p.Platform() || p.Tenant == tenant:
		return true, nil
	case tenant.IsZero() || p.Within == nil:
		return false, nil
	default:
		return p.Within(ctx, tenant)
	}
}

func (p Principal) require(perm Permission) error {
	if p.Permissions.Has(perm) {
		return nil
	}
	return fault.New(fault.Forbidden, "permission_denied", "This credential lacks the permission %s.", perm)
}
