package entitlement

import (
	"time"

	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

// Source says why a tenant has an entitlement.
type Source string

// The sources.
const (
	Plan     Source = "plan"     // comes and goes with the tenant's plan
	Override Source = "override" // somebody decided; survives a change of plan
	Trial    Source = "trial"    // ends by itself; gives way to a plan that has the product
)

// Reason says why a tenant may or may not use a product.
type Reason string

// The reasons. Only OK entitles.
const (
	OK              Reason = "ok"
	NotEntitled     Reason = "not_entitled"
	Disabled        Reason = "disabled"
	Expired         Reason = "expired"
	TenantSuspended Reason = "tenant_suspended"
	TenantArchived  Reason = "tenant_archived"
)

// Entitlement is a product that a tenant has, as its row holds it.
type Entitlement struct {
	TenantID  id.Tenant      `db:"tenant_id"`
	Product   string         `db:"product"`
	Enabled   bool           `db:"enabled"`
	Config    map[string]any `db:"config"` // the tenant's own; see EffectiveConfig
	Source    Source         `db:"source"`
	ExpiresAt *time.Time     `db:"expires_at"` // from this instant on it is expired; nil never
	CreatedAt time.Time      `db:"created_at"`
	UpdatedAt time.Time      `db:"updated_at"`

	DefaultConfig map[string]any `db:"default_config"` // the product's
}

// EffectiveConfig is what is in force: the product's defaults with the tenant's
// own configuration laid over them.
func (e Entitlement) EffectiveConfig() map[string]any {
	return catalog.Merge(e.DefaultConfig, e.Config)
}

// ReasonAt says whether the entitlement entitles at an instant: OK, Disabled or
// Expired. The state of the tenant is another question; see Check.
func (e Entitlement) ReasonAt(now time.Time) Reason {
	switch {
	case !e.Enabled:
		return Disabled
	case e.ExpiresAt != nil && !now.Before(*e.ExpiresAt):
		return Expired
	default:
		return OK
	}
}

// Holder is a tenant that has a product.
type Holder struct {
	Entitlement
	TenantSlug string `db:"tenant_slug"`
	TenantName string `db:"tenant_name"`
}

// Decision answers whether a tenant may use a product now.
type Decision struct {
	TenantID  id.Tenant
	Product   string
	Entitled  bool
	Reason    Reason
	ReadOnly  bool           // the tenant is frozen: entitled, but not to change anything
	Config    map[string]any // in force; nil unless Entitled
	ExpiresAt *time.Time
	CheckedAt time.Time // the instant that the answer is for
}

// PutParams says what a tenant shall have of a product. It replaces whatever was
// there.
type PutParams struct {
	TenantID  id.Tenant
	Product   string
	Enabled   bool
	Config    map[string]any
	Source    Source // Override or Trial; "" is Override
	ExpiresAt *time.Time
	IfMatch   time.Time // the UpdatedAt that the caller has read; zero does not ask
}

func (p *PutParams) validate() error {
	var f fault.Fields
	switch p.Source {
	case "":
		p.Source = Override
	case Override, Trial:
	case Plan:
		f.Add("source", "source_reserved", "Only a plan gives entitlements with the source plan: put the tenant on one.")
	default:
		f.Add("source", "not_one_of", "source is override or trial.")
	}
	f.Check(p.Source != Trial || p.ExpiresAt != nil, "expires_at", "required", "A trial ends: say when.")
	if p.ExpiresAt != nil {
		// The database keeps microseconds; what it gives back is what was put.
		p.ExpiresAt = new(p.ExpiresAt.UTC().Truncate(time.Microsecond))
		y := p.ExpiresAt.Year()
		f.Check(y >= 1970 && y <= 9999, "expires_at", "out_of_range", "The year is from 1970 to 9999.")
	}
	if p.Config == nil {
		p.Config = map[string]any{}
	}
	return f.Err()
}

// Given is what a plan gave a tenant.
type Given struct {
	TrialDays int  // 0: the plan has no trial
	Changed   bool // whether entitlements or limits have changed
}
