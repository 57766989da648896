package operator

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// The bounds of what Authenticate remembers.
const (
	maxKnown    = 10_000
	maxUnknown  = 10_000           // apart, so that a stranger's guesses push out nobody
	keepUnknown = 30 * time.Second // a token can't come to exist after it was guessed, but be modest
)

// The kinds of change that concern a grant.
const (
	kindOperator = "operator"
	kindService  = "service"
	kindToken    = "access_token"
	kindTenant   = "tenant" // suspended, archived: of confined accounts and their ancestors
)

// grant is what a bearer stands for, as the database has it. Whether it acts is
// decided at each instant, by Service.principal.
type grant struct {
	Token        id.Token            `db:"id"`
	Digest       string              `db:"hash"`
	ExpiresAt    *time.Time          `db:"expires_at"`
	RevokedAt    *time.Time          `db:"revoked_at"`
	OperatorID   id.Operator         `db:"operator_id"`
	ServiceID    id.Service          `db:"service_account_id"`
	Name         string              `db:"name"`
	Role         access.Role         `db:"role"`
	Grants       []access.Permission `db:"permissions"`
	TenantID     id.Tenant           `db:"tenant_id"`
	TenantStatus string              `db:"tenant_status"`
	DisabledAt   *time.Time          `db:"disabled_at"`

	actor       string     // id of the principal; "" when the bearer stands for nobody
	permissions access.Set // shared by all principals of the grant, never changed
	keepUntil   time.Time  // zero: while it is not forgotten
}

// settle computes once what all requests of the grant share.
func (g *grant) settle() {
	if !g.OperatorID.IsZero() {
		g.actor, g.permissions = g.OperatorID.String(), g.Role.Permissions()
	} else {
		g.actor, g.permissions = g.ServiceID.String(), toSet(g.Grants, !g.TenantID.IsZero())
	}
	g.Grants = nil
}

// unknown reports whether the bearer stands for nobody.
func (g *grant) unknown() bool { return g.actor == "" }

// concerns reports whether a change may have made the grant untrue. Any tenant's
// change concerns every confined grant: the tenant may be its ancestor, and
// changes of tenants are rare.
func (g grant) concerns(c changefeed.Change) bool {
	switch c.Kind {
	case kindOperator:
		return !g.OperatorID.IsZero() && (c.ID == "" || c.ID == g.OperatorID.UUID())
	case kindService:
		return !g.ServiceID.IsZero() && (c.ID == "" || c.ID == g.ServiceID.UUID())
	case kindToken:
		return !g.Token.IsZero() && (c.ID == "" || c.ID == g.Token.UUID())
	case kindTenant:
		return !g.TenantID.IsZero()
	default:
		return false
	}
}

// ours reports whether a change is of a kind that grants depend on.
func ours(c changefeed.Change) bool {
	switch c.Kind {
	case kindOperator, kindService, kindToken, kindTenant:
		return true
	default:
		return false
	}
}

// cache remembers grants by the digest of their bearer.
type cache struct {
	known      *otter.Cache[secret.Sum, grant]
	unknown    *otter.Cache[secret.Sum, time.Time] // until when
	generation atomic.Uint64
	mu         sync.RWMutex // put shares it, forget has it alone: see put
}

func newCache() *cache {
	return &cache{
		known:   otter.Must(&otter.Options[secret.Sum, grant]{MaximumSize: maxKnown}),
		unknown: otter.Must(&otter.Options[secret.Sum, time.Time]{MaximumSize: maxUnknown}),
	}
}

func (c *cache) get(key secret.Sum, now time.Time) (grant, bool) {
	if g, ok := c.known.GetIfPresent(key); ok && (g.keepUntil.IsZero() || now.Before(g.keepUntil)) {
		return g, true
	}
	if until, ok := c.unknown.GetIfPresent(key); ok && now.Before(until) {
		return grant{}, true
	}
	return grant{}, false
}

// put stores what was read since generation, unless something changed meanwhile:
// the read may have come before that change, and its notice would not come again.
func (c *cache) put(key secret.Sum, g grant, generation uint64, now time.Time) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.generation.Load() != generation {
		return
	}
	if g.unknown() {
		c.unknown.Set(key, now.Add(keepUnknown))
		return
	}
	c.known.Set(key, g)
}

// forget drops the grants that match.
func (c *cache) forget(match func(grant) bool, changed bool) {
	if !changed {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation.Add(1)
	for key, g := range c.known.All() {
		if match(g) {
			c.known.Invalidate(key)
		}
	}
	c.unknown.InvalidateAll()
}
