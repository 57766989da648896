package tenant

import (
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
)

// Status says where in its life a tenant stands.
type Status string

// The statuses, from the freest to the strictest.
const (
	Demo      Status = "demo"      // shared, reset to a baseline, never billed, never frozen by time
	Trial     Status = "trial"     // a real customer's evaluation, until trial_ends_at
	Active    Status = "active"    // paid
	Frozen    Status = "frozen"    // read-only: the trial or contract ended, or nobody paid
	Suspended Status = "suspended" // blocked by an operator
	Archived  Status = "archived"  // only the audit log is kept
)

// Statuses lists the statuses.
func Statuses() []Status { return []Status{Demo, Trial, Active, Frozen, Suspended, Archived} }

// Valid reports whether s is a status.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Live reports whether a tenant in this status works as usual.
func (s Status) Live() bool { return s == Demo || s == Trial || s == Active }

// strictness orders the statuses for inheritance; the live ones are equal.
func (s Status) strictness() int {
	switch s {
	case Frozen:
		return 1
	case Suspended:
		return 2
	case Archived:
		return 3
	default:
		return 0
	}
}

// Kind says what a tenant is to the platform.
type Kind string

// The kinds.
const (
	KindCustomer   Kind = "customer"
	KindDemo       Kind = "demo"
	KindInternal   Kind = "internal"
	KindReseller   Kind = "reseller"
	KindEnterprise Kind = "enterprise"
)

// Kinds lists the kinds.
func Kinds() []Kind {
	return []Kind{KindCustomer, KindDemo, KindInternal, KindReseller, KindEnterprise}
}

// Valid reports whether k is a kind.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// MaxDepth is how many levels the tree of tenants has at most.
const MaxDepth = 5

// Tenant is a tenant as its row holds it. Text that is not set is "".
type Tenant struct {
	ID     id.Tenant `db:"id"`
	Slug   string    `db:"slug"`
	Name   string    `db:"name"`
	Kind   Kind      `db:"kind"`
	Status Status    `db:"status"`
	// Inherited is the strictest status among the ancestors, "" without any.
	Inherited Status      `db:"inherited_status"`
	Plan      string      `db:"plan"`
	ParentID  id.Tenant   `db:"parent_id"`
	Ancestors []id.Tenant `db:"ancestors"` // from the root to the parent

	ExternalID       string `db:"external_id"`
	ERPCustomerID    string `db:"erp_customer_id"`
	StripeCustomerID string `db:"stripe_cust_id"`

	ContactName    string         `db:"contact_name"`
	ContactEmail   string         `db:"contact_email"`
	ContactPhone   string         `db:"contact_phone"`
	BillingEmail   string         `db:"billing_email"`
	AllowedOrigins []string       `db:"allowed_origins"`
	Metadata       map[string]any `db:"metadata"`

	TrialEndsAt   *time.Time `db:"trial_ends_at"`
	ContractStart *time.Time `db:"contract_start"` // a date, at midnight UTC
	ContractEnd   *time.Time `db:"contract_end"`   // a date; the contract holds until its last instant, UTC
	SalesOwner    string     `db:"sales_owner"`

	StatusBeforeSuspension Status     `db:"status_before_suspension"`
	SuspendedAt            *time.Time `db:"suspended_at"`
	SuspensionReason       string     `db:"suspension_reason"`
	FrozenAt               *time.Time `db:"frozen_at"`
	FreezeReason           string     `db:"freeze_reason"`
	ArchiveDueAt           *time.Time `db:"archive_due_at"`
	ArchivedAt             *time.Time `db:"archived_at"`
	PurgeDueAt             *time.Time `db:"purge_due_at"`
	CancelledAt            *time.Time `db:"cancelled_at"`
	CancelReason           string     `db:"cancel_reason"`
	LegalHold              bool       `db:"legal_hold"`
	LegalHoldReason        string     `db:"legal_hold_reason"`
	// StatusLocked says that the platform put the tenant into its status, and
	// only the platform takes it out.
	StatusLocked bool       `db:"status_locked"`
	DeletedAt    *time.Time `db:"deleted_at"`

	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
}

// Effective returns the strictest of the tenant's own status and its ancestors'.
func (t Tenant) Effective() Status {
	if t.Inherited.strictness() > t.Status.strictness() {
		return t.Inherited
	}
	return t.Status
}

// Depth is the number of tenants above this one.
func (t Tenant) Depth() int { return len(t.Ancestors) }

// path is the tenant's position in tree order.
func (t Tenant) path() []id.Tenant { return append(slices.Clone(t.Ancestors), t.ID) }

// Ref names a tenant in a URL or on a command line: by id or by slug.
type Ref struct {
	ID   id.Tenant
	Slug string
}

// ParseRef reads an id (TypeID or bare UUID) or slug:NAME.
func ParseRef(s string) (Ref, error) {
	if slug, ok := strings.CutPrefix(s, "slug:"); ok {
		if slugPattern.MatchString(slug) {
			return Ref{Slug: slug}, nil
		}
	} else if t, err := id.Parse[id.Tenant](s); err == nil && !t.IsZero() {
		return Ref{ID: t}, nil
	}
	return Ref{}, fault.InvalidField("path.tenant", "id_malformed", "This is neither an id of a tenant, nor a UUID, nor slug:NAME.")
}

// String returns the reference as ParseRef reads it.
func (r Ref) String() string {
	if r.Slug != "" {
		return "slug:" + r.Slug
	}
	return r.ID.String()
}

// CreateParams says what tenant to make. Only Name is required.
type CreateParams struct {
	Name     string
	Slug     string    // "": made from Name
	Kind     Kind      // "": customer
	Plan     string    // "": the service's default plan
	ParentID id.Tenant // zero: a root, or below the tenant whose credential asks

	// Status and TrialEndsAt decide how the tenant starts. "" starts a demo tenant
	// in demo, one whose plan has trial days or that has TrialEndsAt in trial, any
	// other in active.
	Status      Status
	TrialEndsAt *time.Time

	ExternalID       string
	ERPCustomerID    string
	StripeCustomerID string
	ContactName      string
	ContactEmail     string
	ContactPhone     string
	BillingEmail     string
	AllowedOrigins   []string
	Metadata         map[string]any
	ContractStart    *time.Time
	ContractEnd      *time.Time
	SalesOwner       string
}

// UpdateParams is a merge patch of a tenant. Metadata is merged key by key.
type UpdateParams struct {
	IfMatch time.Time // the UpdatedAt that the caller has read; zero does not ask

	Name             patch.Field[string]
	Slug             patch.Field[string]
	Kind             patch.Field[Kind]
	Plan             patch.Field[string]
	ExternalID       patch.Field[string]
	ERPCustomerID    patch.Field[string]
	StripeCustomerID patch.Field[string]
	ContactName      patch.Field[string]
	ContactEmail     patch.Field[string]
	ContactPhone     patch.Field[string]
	BillingEmail     patch.Field[string]
	AllowedOrigins   patch.Field[[]string]
	Metadata         patch.Field[map[string]any]
	TrialEndsAt      patch.Field[time.Time]
	ContractStart    patch.Field[time.Time]
	ContractEnd      patch.Field[time.Time]
	SalesOwner       patch.Field[string]
}

// Filter narrows a list; a zero field does not.
type Filter struct {
	Status           Status
	EffectiveStatus  Status
	Kind             Kind
	Plan             string
	Parent           id.Tenant // its direct children
	ExternalID       string
	ERPCustomerID    string
	StripeCustomerID string
	MetadataKey      string  // tenants whose metadata has this key …
	MetadataValue    *string // … with this value, compared as text
	Query            string  // part of the name or slug
	Deleted          bool    // only deleted tenants, which a list otherwise leaves out; the platform's alone
}
