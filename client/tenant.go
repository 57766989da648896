package client

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// Tenant is a tenant of the platform. Text that is not set is "".
type Tenant struct {
	ID              string   `json:"id"`
	Slug            string   `json:"slug"` // name in URLs and commands; unique
	Name            string   `json:"name"`
	Kind            string   `json:"kind"`             // customer, demo, internal, reseller or enterprise
	Status          string   `json:"status"`           // its own: demo, trial, active, frozen, suspended or archived
	EffectiveStatus string   `json:"effective_status"` // the strictest of its own and those above it
	AllowedActions  []string `json:"allowed_actions"`  // what the lifecycle allows now
	Plan            string   `json:"plan"`
	ParentID        string   `json:"parent_id"` // "" at the root
	Ancestors       []string `json:"ancestors"` // from the root down to the parent

	ExternalID       string         `json:"external_id"`
	ERPCustomerID    string         `json:"erp_customer_id"`
	StripeCustomerID string         `json:"stripe_cust_id"`
	ContactName      string         `json:"contact_name"`
	ContactEmail     string         `json:"contact_email"`
	ContactPhone     string         `json:"contact_phone"`
	BillingEmail     string         `json:"billing_email"`
	AllowedOrigins   []string       `json:"allowed_origins"`
	Metadata         map[string]any `json:"metadata"`

	TrialEndsAt   *time.Time `json:"trial_ends_at"`
	ContractStart string     `json:"contract_start"` // 2026-01-31
	ContractEnd   string     `json:"contract_end"`   // last day, UTC: 2026-12-31
	SalesOwner    string     `json:"sales_owner"`

	StatusBeforeSuspension string     `json:"status_before_suspension"`
	SuspendedAt            *time.Time `json:"suspended_at"`
	SuspensionReason       string     `json:"suspension_reason"`
	FrozenAt               *time.Time `json:"frozen_at"`
	FreezeReason           string     `json:"freeze_reason"`
	ArchiveDueAt           *time.Time `json:"archive_due_at"` // when a frozen tenant is archived
	ArchivedAt             *time.Time `json:"archived_at"`
	PurgeDueAt             *time.Time `json:"purge_due_at"` // until when an archived one can be restored for certain
	CancelledAt            *time.Time `json:"cancelled_at"`
	CancelReason           string     `json:"cancel_reason"`
	LegalHold              bool       `json:"legal_hold"` // blocks deletion and purge
	LegalHoldReason        string     `json:"legal_hold_reason"`
	StatusLocked           bool       `json:"status_locked"` // only the platform takes it out of its status
	DeletedAt              *time.Time `json:"deleted_at"`
	CreatedAt              time.Time  `json:"created_at"`
	UpdatedAt              time.Time  `json:"updated_at"`

	ETag string `json:"-"` // version, for IfMatch; empty in lists
}

// CreateTenant describes a new tenant. Only Name is required. Fields that are
// the platform's to give are refused from a tenant's own credential: status,
// dates, references, sales owner, and the kinds demo and internal.
type CreateTenant struct {
	Name     string `json:"name"`
	Slug     string `json:"slug,omitempty"`      // 3 to 40 of a-z, 0-9 and -; "" makes it from Name
	Kind     string `json:"kind,omitempty"`      // "" is customer
	Plan     string `json:"plan,omitempty"`      // "" is starter
	ParentID string `json:"parent_id,omitempty"` // "" is a root, or below the credential's own tenant

	Status      string     `json:"status,omitempty"`        // demo, trial or active; "" lets the plan's trial days decide
	TrialEndsAt *time.Time `json:"trial_ends_at,omitempty"` // starts in trial until then

	ExternalID       string         `json:"external_id,omitempty"`
	ERPCustomerID    string         `json:"erp_customer_id,omitempty"`
	StripeCustomerID string         `json:"stripe_cust_id,omitempty"`
	ContactName      string         `json:"contact_name,omitempty"`
	ContactEmail     string         `json:"contact_email,omitempty"`
	ContactPhone     string         `json:"contact_phone,omitempty"`
	BillingEmail     string         `json:"billing_email,omitempty"`
	AllowedOrigins   []string       `json:"allowed_origins,omitempty"` // https://app.example.com
	Metadata         map[string]any `json:"metadata,omitempty"`        // at most 50 keys and 16 KiB
	ContractStart    string         `json:"contract_start,omitempty"`  // 2026-01-31
	ContractEnd      string         `json:"contract_end,omitempty"`
	SalesOwner       string         `json:"sales_owner,omitempty"`
}

// UpdateTenant changes a tenant; fields left out stay. Metadata is merged key by
// key: a nil value removes a key.
type UpdateTenant struct {
	Name             Patch[string]         `json:"name,omitzero"`
	Slug             Patch[string]         `json:"slug,omitzero"`
	Kind             Patch[string]         `json:"kind,omitzero"`
	Plan             Patch[string]         `json:"plan,omitzero"` // gives the tenant what the new plan says
	ExternalID       Patch[string]         `json:"external_id,omitzero"`
	ERPCustomerID    Patch[string]         `json:"erp_customer_id,omitzero"`
	StripeCustomerID Patch[string]         `json:"stripe_cust_id,omitzero"`
	ContactName      Patch[string]         `json:"contact_name,omitzero"`
	ContactEmail     Patch[string]         `json:"contact_email,omitzero"`
	ContactPhone     Patch[string]         `json:"contact_phone,omitzero"`
	BillingEmail     Patch[string]         `json:"billing_email,omitzero"`
	AllowedOrigins   Patch[[]string]       `json:"allowed_origins,omitzero"`
	Metadata         Patch[map[string]any] `json:"metadata,omitzero"`
	TrialEndsAt      Patch[time.Time]      `json:"trial_ends_at,omitzero"` // only in trial
	ContractStart    Patch[string]         `json:"contract_start,omitzero"`
	ContractEnd      Patch[string]         `json:"contract_end,omitzero"`
	SalesOwner       Patch[string]         `json:"sales_owner,omitzero"`

	IfMatch string `json:"-"` // only if the tenant still has this ETag; "" is any
}

// TenantFilter chooses tenants; zero fields choose any.
type TenantFilter struct {
	Status           string // their own
	EffectiveStatus  string
	Kind             string
	Plan             string
	ParentID         string // direct children of this tenant
	ExternalID       string
	ERPCustomerID    string
	StripeCustomerID string
	Metadata         string // KEY, or KEY=VALUE compared as text
	Query            string // part of the name or slug
	Deleted          bool   // only deleted tenants, which are left out otherwise
	ListOptions
}

// DueTransition is what the clock will do to a tenant if nobody does anything.
type DueTransition struct {
	TenantID string    `json:"tenant_id"`
	Slug     string    `json:"slug"`
	Name     string    `json:"name"`
	At       time.Time `json:"at"`     // in the past: within a minute
	Action   string    `json:"action"` // freeze or archive
	From     string    `json:"from"`
	To       string    `json:"to"`
	Reason   string    `json:"reason"`
}

// Contract is how a tenant becomes active.
type Contract struct {
	End    string `json:"contract_end,omitempty"` // last day, 2026-12-31; needed when the one before is over
	Reason string `json:"reason,omitempty"`
}

// Cancellation is how a tenant is cancelled.
type Cancellation struct {
	AtEnd  bool   `json:"at_end,omitempty"` // wait for the end of the trial or contract, instead of freezing now
	Reason string `json:"reason,omitempty"`
}

// Tenants are the operations on tenants. Wherever one takes a tenant, an id, a
// bare UUID or "slug:NAME" will do.
type Tenants struct{ c *Client }

// Create makes a tenant from a plan, with its entitlements, limits and trial.
func (s *Tenants) Create(ctx context.Context, in CreateTenant) (*Tenant, error) {
	t := &Tenant{}
	return result(t, s.c.do(ctx, request{method: http.MethodPost, path: path("tenants"), body: in, out: t, creates: true, etag: &t.ETag}))
}

// Get returns a tenant.
func (s *Tenants) Get(ctx context.Context, tenant string) (*Tenant, error) {
	return s.call(ctx, http.MethodGet, path("tenants", tenant), nil, "")
}

// List returns a page of tenants, newest first.
func (s *Tenants) List(ctx context.Context, f TenantFilter) (*Page[Tenant], error) {
	q := f.query()
	set(q, "status", f.Status)
	set(q, "effective_status", f.EffectiveStatus)
	set(q, "kind", f.Kind)
	set(q, "plan", f.Plan)
	set(q, "parent_id", f.ParentID)
	set(q, "external_id", f.ExternalID)
	set(q, "erp_customer_id", f.ERPCustomerID)
	set(q, "stripe_cust_id", f.StripeCustomerID)
	set(q, "metadata", f.Metadata)
	set(q, "q", f.Query)
	if f.Deleted {
		q.Set("deleted", "true")
	}
	p := &Page[Tenant]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants"), query: q, out: p}))
}

// All walks all pages of List.
func (s *Tenants) All(ctx context.Context, f TenantFilter) iter.Seq2[Tenant, error] {
	return all(ctx, f.Cursor, func(ctx context.Context, cursor string) (*Page[Tenant], error) {
		f.Cursor = cursor
		return s.List(ctx, f)
	})
}

// Update changes a tenant. A frozen one takes only its contacts, and from the
// platform its contract, trial, references and sales owner.
func (s *Tenants) Update(ctx context.Context, tenant string, in UpdateTenant) (*Tenant, error) {
	return s.call(ctx, http.MethodPatch, path("tenants", tenant), in, in.IfMatch)
}

// Delete hides an archived tenant from everybody but the platform; Restore
// brings it back until it is purged.
func (s *Tenants) Delete(ctx context.Context, tenant string) error {
	return s.c.do(ctx, request{method: http.MethodDelete, path: path("tenants", tenant)})
}

// Subtree returns a page of a tenant and those below it, each before its
// children. levels limits how far down to look, 1 to 5; 0 does not.
func (s *Tenants) Subtree(ctx context.Context, tenant string, levels int, o ListOptions) (*Page[Tenant], error) {
	q := o.query()
	if levels > 0 {
		q.Set("levels", strconv.Itoa(levels))
	}
	p := &Page[Tenant]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "subtree"), query: q, out: p}))
}

// Move puts a tenant, with all that lies below it, under another parent, given
// by its id; "" makes it a root.
func (s *Tenants) Move(ctx context.Context, tenant, parentID string) (*Tenant, error) {
	body := map[string]any{"parent_id": nil}
	if parentID != "" {
		body["parent_id"] = parentID
	}
	return s.call(ctx, http.MethodPost, path("tenants", tenant, "move"), body, "")
}

// Due returns a page of what the clock will do until an instant, soonest first;
// the zero time looks 30 days ahead.
func (s *Tenants) Due(ctx context.Context, until time.Time, o ListOptions) (*Page[DueTransition], error) {
	q := o.query()
	if !until.IsZero() {
		q.Set("until", until.UTC().Format(time.RFC3339Nano))
	}
	p := &Page[DueTransition]{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", "due"), query: q, out: p}))
}

// Activate turns a trial into a contract.
func (s *Tenants) Activate(ctx context.Context, tenant string, in Contract) (*Tenant, error) {
	return s.act(ctx, tenant, "activate", in)
}

// Freeze makes a tenant read-only; 30 days later it is archived, unless
// reactivated.
func (s *Tenants) Freeze(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "freeze", reason{why})
}

// Cancel freezes a tenant now, or when its trial or contract ends.
func (s *Tenants) Cancel(ctx context.Context, tenant string, in Cancellation) (*Tenant, error) {
	return s.act(ctx, tenant, "cancel", in)
}

// Reactivate makes a frozen tenant active again, and takes back a cancellation
// that waits for the end.
func (s *Tenants) Reactivate(ctx context.Context, tenant string, in Contract) (*Tenant, error) {
	return s.act(ctx, tenant, "reactivate", in)
}

// Suspend blocks the keys and sign-in of a tenant and of those below it.
func (s *Tenants) Suspend(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "suspend", reason{why})
}

// Resume gives a suspended tenant back the status that it had.
func (s *Tenants) Resume(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "resume", reason{why})
}

// Archive keeps only the audit log of a tenant in use.
func (s *Tenants) Archive(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "archive", reason{why})
}

// Restore brings an archived tenant back, frozen; Reactivate makes it live.
func (s *Tenants) Restore(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "restore", reason{why})
}

// Hold sets a legal hold, which blocks deletion and purge.
func (s *Tenants) Hold(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "hold", reason{why})
}

// Release clears a legal hold.
func (s *Tenants) Release(ctx context.Context, tenant, why string) (*Tenant, error) {
	return s.act(ctx, tenant, "release", reason{why})
}

func (s *Tenants) act(ctx context.Context, tenant, action string, body any) (*Tenant, error) {
	return s.call(ctx, http.MethodPost, path("tenants", tenant, action), body, "")
}

func (s *Tenants) call(ctx context.Context, method, path string, body any, ifMatch string) (*Tenant, error) {
	t := &Tenant{}
	return result(t, s.c.do(ctx, request{method: method, path: path, body: body, out: t, ifMatch: ifMatch, etag: &t.ETag}))
}
