package apikey

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// row is what the one statement of a miss answers: the key and all that its
// verification depends on. What entries share is a struct of its own each, and
// made from that struct alone: see interned.
type row struct {
	ID          id.APIKey       `db:"id"`
	IsActive    bool            `db:"is_active"`
	Revoked     bool            `db:"revoked"`
	ExpiresAt   *time.Time      `db:"expires_at"`
	GraceEndsAt *time.Time      `db:"grace_ends_at"`
	Metadata    json.RawMessage `db:"metadata"`
	Name        string          `db:"name"`
	Hash        string          `db:"hash"`

	settingsRow
	tenantRow
}

// settingsRow is what many keys have alike, because one program made them.
type settingsRow struct {
	ProjectID       id.Project     `db:"project_id"`
	ProjectArchived bool           `db:"project_archived"`
	Product         string         `db:"product"`
	Environment     Environment    `db:"environment"`
	Scopes          []string       `db:"scopes"`
	AllowedIPs      []netip.Prefix `db:"allowed_ips"`
	RateLimitRPM    int            `db:"rate_limit_rpm"`
	RateLimits      string         `db:"rate_limits"`
	PolicyAllows    bool           `db:"policy_allows"` // keys of this environment
}

// tenantRow is what all keys of a tenant have alike.
type tenantRow struct {
	TenantID        id.Tenant    `db:"tenant_id"`
	TenantSlug      string       `db:"tenant_slug"`
	Ancestors       []id.Tenant  `db:"ancestors"`
	TenantStatus    string       `db:"tenant_status"`   // the effective one
	PolicyNetworks  []string     `db:"policy_networks"` // a list for each policy that has one, with blanks between
	Products        []string     `db:"products"`        // entitlements, in step with the next five
	ProductsUntil   []*time.Time `db:"products_until"`
	ProductsConfig  []string     `db:"products_config"`  // the tenant's own
	ProductsDefault []string     `db:"products_default"` // the product's
	ProductsLimits  []string     `db:"products_limits"`  // rate limits, the product's
	PlanLimits      []string     `db:"plan_limits"`      // the plan's numbers for them
	TenantLimits    string       `db:"tenant_limits"`    // the tenant's own
	ScopeProducts   []string     `db:"scope_products"`   // declared scopes, in step; only of a frozen tenant
	ScopeNames      []string     `db:"scope_names"`
	ScopeWrites     []bool       `db:"scope_writes"`
}

// entitled is a product that the tenant has.
type entitled struct {
	product string
	until   int64 // Unix nanoseconds; 0: for good
	config  json.RawMessage
	limits  limits // of what is done with it
}

// declaredScope is what a product's manifest says of a scope.
type declaredScope struct {
	product, scope string
	writes         bool
}

// entry is a key as the verify path keeps it: nothing in it changes after it was
// made, except use, and nothing has to be parsed again. Instants are compared on
// every request; an entry does not turn an expired key into a valid one.
//
// There are as many as keys in use, so it holds only what is the key's own, and
// points to the rest.
type entry struct {
	*tenantView
	*settings

	id       id.APIKey
	read     uint64 // the number of the last change before it was read: see generations
	ends     int64  // Unix nanoseconds of the earlier of expires_at and grace_ends_at; 0: never
	name     string
	metadata json.RawMessage
	use      atomic.Pointer[use] // nil unless there is something to write

	revoked, active bool
	weight          uint32 // set by hold
}

// settings are what a key may do, and where from.
type settings struct {
	holders atomic.Int32 // entries in memory that point here

	project         id.Project
	product         string
	environment     Environment
	projectArchived bool
	barred          bool // no key of this environment works, by a policy

	networks    networks
	scopes      scopeSet
	limit       ratelimit.Limit
	own         limits     // beside that one
	permissions access.Set // on landlord's own API; mostly none
}

// tenantView is a tenant as its keys see it.
type tenantView struct {
	holders atomic.Int32 // entries in memory that point here

	tenant       id.Tenant
	tenantSlug   string
	ancestors    []id.Tenant
	marks        stamp   // of the tenant and its ancestors; each entry has its own seq
	tenantDenied Outcome // "" unless the tenant is suspended or archived
	frozen       bool
	policies     []networks // of the tenant and those above it: all must allow, beside the key's own
	entitlements []entitled
	declared     []declaredScope
	shared       limits // of all keys together, with whatever product
}

// views are what entries have in common.
type views struct {
	tenants  interned[tenantView]
	settings interned[settings]
}

// newEntry makes an entry of a row that was read after change number read.
func (v *views) newEntry(r *row, read uint64) *entry {
	return &entry{
		tenantView: v.tenants.of(r.tenantRow, func() *tenantView { return newTenantView(&r.tenantRow) }),
		settings:   v.settings.of(r.settingsRow, func() *settings { return newSettings(&r.settingsRow) }),
		id:         r.ID, read: read, ends: earlier(nanos(r.ExpiresAt), nanos(r.GraceEndsAt)),
		name: r.Name, metadata: compact(r.Metadata), revoked: r.Revoked, active: r.IsActive,
	}
}

func newSettings(r *settingsRow) *settings {
	s := &settings{
		project: r.ProjectID, product: r.Product, environment: r.Environment, projectArchived: r.ProjectArchived,
		barred: !r.PolicyAllows, networks: newNetworks(r.AllowedIPs), scopes: newScopeSet(r.Scopes), limit: ratelimit.PerMinute(int64(r.RateLimitRPM)),
		own: ownLimits(r.RateLimits),
	}
	if held := permissions(r.Scopes); len(held) > 0 && r.Environment == Live && r.ProjectID.IsZero() {
		s.permissions = access.NewSet(held...)
	}
	return s
}

func newTenantView(r *tenantRow) *tenantView {
	t := &tenantView{tenant: r.TenantID, tenantSlug: r.TenantSlug, ancestors: r.Ancestors}
	switch r.TenantStatus {
	case "demo", "trial", "active":
	case "frozen":
		t.frozen = true
	case "suspended":
		t.tenantDenied = TenantSuspended
	default: // archived, and whatever a newer schema adds
		t.tenantDenied = TenantArchived
	}
	for _, list := range r.PolicyNetworks {
		t.policies = append(t.policies, parseNetworks(list))
	}
	own := readLimits(r.TenantLimits)
	t.shared = tenantLimits(own, "")
	for i, p := range r.Products {
		t.entitlements = append(t.entitlements, entitled{
			product: p, until: nanos(r.ProductsUntil[i]), config: inForce(r.ProductsDefault[i], r.ProductsConfig[i]),
			limits: append(tenantLimits(own, p), productLimits(p, r.ProductsLimits[i], r.PlanLimits[i], own)...),
		})
	}
	for i, s := range r.ScopeNames {
		t.declared = append(t.declared, declaredScope{r.ScopeProducts[i], s, r.ScopeWrites[i]})
	}
	t.marks.mark(t.tenant)
	for _, a := range t.ancestors {
		t.marks.mark(a)
	}
	return t
}

// stamped is the whole stamp of the entry: its key, its project, its tenant and
// the tenants above.
func (e *entry) stamped() stamp {
	s := e.marks
	s.seq = e.read
	s.mark(e.id)
	s.mark(e.project)
	return s
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

// noMetadata is the metadata of most keys.
var noMetadata = json.RawMessage("{}")

// compact takes the blanks out of JSON that comes from the database, as answers
// are written without.
func compact(raw []byte) json.RawMessage {
	if string(raw) == string(noMetadata) {
		return noMetadata
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return bytes.Clone(b.Bytes()) // without room to grow
}

// lastNano is the last instant that nanoseconds since 1970 can say.
var lastNano = time.Unix(0, math.MaxInt64)

func nanos(t *time.Time) int64 {
	switch {
	case t == nil:
		return 0
	case t.After(lastNano): // an end in the year 2999 is later than now
		return math.MaxInt64
	default:
		return t.UnixNano()
	}
}

// earlier returns the earlier of two instants, of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// entryBytes is what an entry takes beside what it points to: itself, and the
// cache's node and its place in the table. TestEntry_bytes measures it.
const entryBytes = 270

// hold notes that the entry is kept in memory, and what it weighs: its own bytes
// and its part of what others hold as well. So much of it that many have a part
// in is there once; and nobody can fill the memory by what weighs nothing.
func (e *entry) hold() {
	n := entryBytes + len(e.name)
	if len(e.metadata) > len(noMetadata) {
		n += len(e.metadata)
	}
	n += e.settings.bytes() / int(e.settings.holders.Add(1))
	n += e.tenantView.bytes() / int(e.tenantView.holders.Add(1))
	e.weight = uint32(n)
}

// letGo undoes hold.
func (e *entry) letGo() {
	e.settings.holders.Add(-1)
	e.tenantView.holders.Add(-1)
}

// bytes is about what the settings take.
func (s *settings) bytes() int {
	n := internedBytes + int(unsafe.Sizeof(*s)) + len(s.product) + s.networks.bytes() + s.own.bytes() + 50*len(s.permissions)
	for _, scope := range s.scopes.all {
		n += 16 + len(scope)
	}
	return n + 16*len(s.scopes.under)
}

// bytes is about what the view takes.
func (t *tenantView) bytes() int {
	n := internedBytes + int(unsafe.Sizeof(*t)) + len(t.tenantSlug) + 16*len(t.ancestors) + t.shared.bytes()
	for _, p := range t.policies {
		n += int(unsafe.Sizeof(p)) + p.bytes()
	}
	for _, p := range t.entitlements {
		n += int(unsafe.Sizeof(p)) + len(p.product) + len(p.config) + p.limits.bytes()
	}
	for _, d := range t.declared {
		n += int(unsafe.Sizeof(d)) + len(d.product) + len(d.scope)
	}
	return n
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
