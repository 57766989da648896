package apikey

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// row is what the one statement of a miss answers: the key and all that its
// verification depends on.
type row struct {
	ID              id.APIKey       `db:"id"`
	TenantID        id.Tenant       `db:"tenant_id"`
	ProjectID       id.Project      `db:"project_id"`
	Product         string          `db:"product"`
	Environment     Environment     `db:"environment"`
	Scopes          []string        `db:"scopes"`
	AllowedIPs      []netip.Prefix  `db:"allowed_ips"`
	RateLimitRPM    int             `db:"rate_limit_rpm"`
	IsActive        bool            `db:"is_active"`
	Revoked         bool            `db:"revoked"`
	ExpiresAt       *time.Time      `db:"expires_at"`
	GraceEndsAt     *time.Time      `db:"grace_ends_at"`
	Metadata        json.RawMessage `db:"metadata"`
	Name            string          `db:"name"`
	Hash            string          `db:"hash"`
	TenantSlug      string          `db:"tenant_slug"`
	Ancestors       []id.Tenant     `db:"ancestors"`
	TenantStatus    string          `db:"tenant_status"` // the effective one
	ProjectArchived bool            `db:"project_archived"`
	PolicyNetworks  []string        `db:"policy_networks"` // a list for each policy that has one, with blanks between
	PolicyAllows    bool            `db:"policy_allows"`   // keys of this environment
	Products        []string        `db:"products"`        // entitlements, in step with the next three
	ProductsUntil   []*time.Time    `db:"products_until"`
	ProductsConfig  []string        `db:"products_config"`  // the tenant's own
	ProductsDefault []string        `db:"products_default"` // the product's
	ScopeProducts   []string        `db:"scope_products"`   // declared scopes, in step; only of a frozen tenant
	ScopeNames      []string        `db:"scope_names"`
	ScopeWrites     []bool          `db:"scope_writes"`
}

// entitled is a product that the tenant has.
type entitled struct {
	product string
	until   int64 // Unix nanoseconds; 0: for good
	config  json.RawMessage
}

// declaredScope is what a product's manifest says of a scope.
type declaredScope struct {
	product, scope string
	writes         bool
}

// entry is a key as the verify path keeps it: nothing in it changes after it was
// made, except use, and nothing has to be parsed again. Instants are compared on
// every request; an entry does not turn an expired key into a valid one.
type entry struct {
	stamp stamp

	id          id.APIKey
	tenant      id.Tenant
	project     id.Project
	ancestors   []id.Tenant
	name        string
	tenantSlug  string
	product     string
	environment Environment

	revoked, active bool
	ends            int64   // Unix nanoseconds of the earlier of expires_at and grace_ends_at; 0: never
	tenantDenied    Outcome // "" unless the tenant is suspended or archived
	frozen          bool
	projectArchived bool
	barred          bool // no key of this environment works, by a policy

	networks     networks
	policies     []networks // of the tenant and those above it: all must allow, too
	scopes       scopeSet
	limit        ratelimit.Limit
	entitlements []entitled
	declared     []declaredScope
	metadata     json.RawMessage
	permissions  access.Set // on landlord's own API; mostly none

	use *use
}

func newEntry(r *row) *entry {
	e := &entry{
		id: r.ID, tenant: r.TenantID, project: r.ProjectID, ancestors: r.Ancestors, name: r.Name,
		tenantSlug: r.TenantSlug, product: r.Product, environment: r.Environment,
		revoked: r.Revoked, active: r.IsActive, ends: earlier(nanos(r.ExpiresAt), nanos(r.GraceEndsAt)),
		projectArchived: r.ProjectArchived, barred: !r.PolicyAllows,
		networks: newNetworks(r.AllowedIPs), scopes: newScopeSet(r.Scopes),
		limit: ratelimit.PerMinute(int64(r.RateLimitRPM)), metadata: compact(r.Metadata),
		use: &use{key: r.ID, tenant: r.TenantID},
	}
	switch r.TenantStatus {
	case "demo", "trial", "active":
	case "frozen":
		e.frozen = true
	case "suspended":
		e.tenantDenied = TenantSuspended
	default: // archived, and whatever a newer schema adds
		e.tenantDenied = TenantArchived
	}
	for _, list := range r.PolicyNetworks {
		e.policies = append(e.policies, parseNetworks(list))
	}
	for i, p := range r.Products {
		e.entitlements = append(e.entitlements, entitled{p, nanos(r.ProductsUntil[i]), inForce(r.ProductsDefault[i], r.ProductsConfig[i])})
	}
	for i, s := range r.ScopeNames {
		e.declared = append(e.declared, declaredScope{r.ScopeProducts[i], s, r.ScopeWrites[i]})
	}
	if held := permissions(r.Scopes); len(held) > 0 && r.Environment == Live && r.ProjectID.IsZero() {
		e.permissions = access.NewSet(held...)
	}
	e.stamp.mark(e.id)
	e.stamp.mark(e.tenant)
	e.stamp.mark(e.project)
	for _, a := range e.ancestors {
		e.stamp.mark(a)
	}
	return e
}

// inForce lays a tenant's own configuration over the product's default, as an
// entitlement does.
func inForce(defaults, own string) json.RawMessage {
	var a, b map[string]any
	if decode(defaults, &a) != nil || decode(own, &b) != nil {
		return json.RawMessage("{}") // can't be: the columns hold objects
	}
	out, err := json.Marshal(merge(a, b))
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}

// decode keeps numbers as they are written: an id of 19 digits is no float64.
func decode(raw string, into *map[string]any) error {
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

// compact takes the blanks out of JSON that comes from the database, as answers
// are written without.
func compact(raw []byte) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

func nanos(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixNano()
}

// earlier returns the earlier of two instants, of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// bytes is about what the entry holds of memory.
func (e *entry) bytes() uint32 {
	n := 512 + len(e.name) + len(e.tenantSlug) + len(e.product) + len(e.metadata) + 16*len(e.ancestors) + 32*len(e.networks.few)
	for _, s := range e.scopes.all {
		n += 16 + len(s)
	}
	for _, p := range e.entitlements {
		n += 48 + len(p.product) + len(p.config)
	}
	for _, d := range e.declared {
		n += 40 + len(d.product) + len(d.scope)
	}
	if e.networks.many != nil {
		n += 100 * e.networks.many.Size()
	}
	for _, p := range e.policies {
		n += 40 + 32*len(p.few)
		if p.many != nil {
			n += 100 * p.many.Size()
		}
	}
	return uint32(n)
}

// from reports whether the key may be used by a caller at ip: its own list and
// those of all policies must allow it.
func (e *entry) from(ip netip.Addr) bool {
	if !e.networks.allow(ip) {
		return false
	}
	for _, p := range e.policies {
		if !p.allow(ip) {
			return false
		}
	}
	return true
}

// below reports whether the key's tenant is t or lies below it.
func (e *entry) below(t id.Tenant) bool {
	return e.tenant == t || slices.Contains(e.ancestors, t)
}

// keyState is the third check: the key's own state.
func (e *entry) keyState(now int64) Outcome {
	switch {
	case e.revoked:
		return KeyRevoked
	case !e.active:
		return KeyDisabled
	case e.ends != 0 && now >= e.ends:
		return KeyExpired
	default:
		return ""
	}
}

// entitlement returns the tenant's entitlement to a product at an instant.
func (e *entry) entitlement(product string, now int64) *entitled {
	for i := range e.entitlements {
		if p := &e.entitlements[i]; p.product == product {
			if p.until != 0 && now >= p.until {
				return nil
			}
			return p
		}
	}
	return nil
}

// writes reports whether a scope changes anything: as the product's manifest
// declares it, else by its last word. When the request names no product, one
// that declares the scope as writing is enough.
func (e *entry) writes(scope, product string) bool {
	declared := false
	for _, d := range e.declared {
		if d.scope == scope && (product == "" || d.product == product) {
			if d.writes {
				return true
			}
			declared = true
		}
	}
	return !declared && !readsByName(scope)
}
