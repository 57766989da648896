package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/tenant"
)

// Tenant is a tenant of the platform.
type Tenant struct {
	ID              id.Tenant   `json:"id" example:"tenant_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Slug            string      `json:"slug" example:"acme" doc:"Name in URLs and commands; unique."`
	Name            string      `json:"name" example:"Acme Corp"`
	Kind            string      `json:"kind" enum:"customer,demo,internal,reseller,enterprise"`
	Status          string      `json:"status" enum:"demo,trial,active,frozen,suspended,archived" doc:"The tenant's own status."`
	EffectiveStatus string      `json:"effective_status" enum:"demo,trial,active,frozen,suspended,archived" doc:"The strictest of its own status and those above it: what keys and products go by."`
	AllowedActions  []string    `json:"allowed_actions" doc:"What the lifecycle allows now; whether you may do it is another matter."`
	Plan            string      `json:"plan" example:"starter"`
	ParentID        id.Tenant   `json:"parent_id,omitzero" doc:"The tenant above; absent at the root."`
	Ancestors       []id.Tenant `json:"ancestors" doc:"From the root down to the parent."`

	ExternalID       string   `json:"external_id,omitempty" doc:"The platform's own id for the tenant; unique."`
	ERPCustomerID    string   `json:"erp_customer_id,omitempty" doc:"Customer in the ERP; unique."`
	StripeCustomerID string   `json:"stripe_cust_id,omitempty" doc:"Customer in Stripe; unique."`
	ContactName      string   `json:"contact_name,omitempty"`
	ContactEmail     string   `json:"contact_email,omitempty"`
	ContactPhone     string   `json:"contact_phone,omitempty"`
	BillingEmail     string   `json:"billing_email,omitempty"`
	AllowedOrigins   []string `json:"allowed_origins" doc:"Web origins that may call the platform from a browser for this tenant (CORS)."`
	Metadata         Metadata `json:"metadata" doc:"The caller's own data, at most 50 keys and 16 KiB."`

	TrialEndsAt   *time.Time `json:"trial_ends_at,omitempty" doc:"When a tenant in trial freezes."`
	ContractStart *Date      `json:"contract_start,omitempty" doc:"First day of the contract."`
	ContractEnd   *Date      `json:"contract_end,omitempty" doc:"Last day of the contract; the tenant freezes when it is over, UTC."`
	SalesOwner    string     `json:"sales_owner,omitempty" doc:"Who of the platform's people looks after the tenant."`

	StatusBeforeSuspension string     `json:"status_before_suspension,omitempty" doc:"Where resume returns to."`
	SuspendedAt            *time.Time `json:"suspended_at,omitempty"`
	SuspensionReason       string     `json:"suspension_reason,omitempty"`
	FrozenAt               *time.Time `json:"frozen_at,omitempty"`
	FreezeReason           string     `json:"freeze_reason,omitempty"`
	ArchiveDueAt           *time.Time `json:"archive_due_at,omitempty" doc:"When a frozen tenant is archived."`
	ArchivedAt             *time.Time `json:"archived_at,omitempty"`
	PurgeDueAt             *time.Time `json:"purge_due_at,omitempty" doc:"Until when an archived tenant can be restored for certain."`
	CancelledAt            *time.Time `json:"cancelled_at,omitempty" doc:"When notice was given."`
	CancelReason           string     `json:"cancel_reason,omitempty"`
	LegalHold              bool       `json:"legal_hold" doc:"Blocks deletion and purge."`
	LegalHoldReason        string     `json:"legal_hold_reason,omitempty"`
	StatusLocked           bool       `json:"status_locked" doc:"The platform itself put the tenant into its status; a reseller above it can't undo that."`
	DeletedAt              *time.Time `json:"deleted_at,omitempty" doc:"Only the platform sees deleted tenants."`
	CreatedAt              time.Time  `json:"created_at"`
	UpdatedAt              time.Time  `json:"updated_at"`
}

func tenantOf(t tenant.Tenant) Tenant {
	return Tenant{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Kind: string(t.Kind), Status: string(t.Status), EffectiveStatus: string(t.Effective()),
		AllowedActions: texts(t.Allowed()), Plan: t.Plan, ParentID: t.ParentID, Ancestors: append([]id.Tenant{}, t.Ancestors...),
		ExternalID: t.ExternalID, ERPCustomerID: t.ERPCustomerID, StripeCustomerID: t.StripeCustomerID,
		ContactName: t.ContactName, ContactEmail: t.ContactEmail, ContactPhone: t.ContactPhone, BillingEmail: t.BillingEmail,
		AllowedOrigins: append([]string{}, t.AllowedOrigins...), Metadata: t.Metadata,
		TrialEndsAt: utc(t.TrialEndsAt), ContractStart: dateOf(t.ContractStart), ContractEnd: dateOf(t.ContractEnd), SalesOwner: t.SalesOwner,
		StatusBeforeSuspension: string(t.StatusBeforeSuspension), SuspendedAt: utc(t.SuspendedAt), SuspensionReason: t.SuspensionReason,
		FrozenAt: utc(t.FrozenAt), FreezeReason: t.FreezeReason, ArchiveDueAt: utc(t.ArchiveDueAt),
		ArchivedAt: utc(t.ArchivedAt), PurgeDueAt: utc(t.PurgeDueAt), CancelledAt: utc(t.CancelledAt), CancelReason: t.CancelReason,
		LegalHold: t.LegalHold, LegalHoldReason: t.LegalHoldReason, StatusLocked: t.StatusLocked, DeletedAt: utc(t.DeletedAt),
		CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

// Date is a day, written 2026-12-31.
type Date struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (d Date) MarshalJSON() ([]byte, error) { return json.Marshal(d.Format(time.DateOnly)) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Date) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	t, err := time.Parse(time.DateOnly, s)
	d.Time = t
	return err
}

// Schema implements huma.SchemaProvider.
func (Date) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Format: "date", Examples: []any{"2026-12-31"}}
}

func dateOf(t *time.Time) *Date {
	if t == nil {
		return nil
	}
	return &Date{t.UTC()}
}

func (d *Date) time() *time.Time {
	if d == nil {
		return nil
	}
	return &d.Time
}

// CreateTenant describes a new tenant.
type CreateTenant struct {
	Name     string    `json:"name" maxLength:"200" example:"Acme Corp"`
	Slug     string    `json:"slug,omitempty" example:"acme" doc:"3 to 40 of a-z, 0-9 and -. Left out, it is made from the name."`
	Kind     string    `json:"kind,omitempty" enum:"customer,demo,internal,reseller,enterprise" default:"customer" doc:"demo and internal are the platform's to give."`
	Plan     string    `json:"plan,omitempty" example:"starter" doc:"Decides entitlements, limits and the trial; left out, it is starter."`
	ParentID id.Tenant `json:"parent_id,omitzero" doc:"The tenant above. Left out, it is a root, or lies below the tenant whose credential asks."`

	Status      string     `json:"status,omitempty" enum:"demo,trial,active" doc:"How the tenant starts. Left out, the plan's trial days decide. The platform's to give."`
	TrialEndsAt *time.Time `json:"trial_ends_at,omitempty" doc:"Starts the tenant in trial until then. The platform's to give."`

	ExternalID       string   `json:"external_id,omitempty" maxLength:"200" doc:"The platform's own id for the tenant; unique. The platform's to give."`
	ERPCustomerID    string   `json:"erp_customer_id,omitempty" maxLength:"200" doc:"Customer in the ERP; unique. The platform's to give."`
	StripeCustomerID string   `json:"stripe_cust_id,omitempty" maxLength:"200" doc:"Customer in Stripe; unique. The platform's to give."`
	ContactName      string   `json:"contact_name,omitempty" maxLength:"200"`
	ContactEmail     string   `json:"contact_email,omitempty" maxLength:"254"`
	ContactPhone     string   `json:"contact_phone,omitempty" maxLength:"50"`
	BillingEmail     string   `json:"billing_email,omitempty" maxLength:"254" doc:"Where bills go."`
	AllowedOrigins   []string `json:"allowed_origins,omitempty" maxItems:"50" example:"https://app.acme.example" doc:"Web origins that may call the platform from a browser for this tenant (CORS)."`
	Metadata         Metadata `json:"metadata,omitempty" doc:"Your own data, at most 50 keys and 16 KiB."`
	ContractStart    *Date    `json:"contract_start,omitempty" doc:"First day of the contract. The platform's to give."`
	ContractEnd      *Date    `json:"contract_end,omitempty" doc:"Last day of the contract; the tenant freezes when it is over, UTC. The platform's to give."`
	SalesOwner       string   `json:"sales_owner,omitempty" maxLength:"200" doc:"Who of the platform's people looks after the tenant. The platform's to give."`
}

// UpdateTenant changes a tenant; absent fields stay, null clears.
type UpdateTenant struct {
	Name             Required[string] `json:"name,omitzero" maxLength:"200"`
	Slug             Required[string] `json:"slug,omitzero" doc:"The platform's to change: it is in URLs."`
	Kind             Required[string] `json:"kind,omitzero" enum:"customer,demo,internal,reseller,enterprise"`
	Plan             Required[string] `json:"plan,omitzero" doc:"Gives the tenant what the new plan says. Not by its own credential."`
	ExternalID       Opt[string]      `json:"external_id,omitzero" maxLength:"200" doc:"The platform's to change."`
	ERPCustomerID    Opt[string]      `json:"erp_customer_id,omitzero" maxLength:"200" doc:"The platform's to change."`
	StripeCustomerID Opt[string]      `json:"stripe_cust_id,omitzero" maxLength:"200" doc:"The platform's to change."`
	ContactName      Opt[string]      `json:"contact_name,omitzero" maxLength:"200"`
	ContactEmail     Opt[string]      `json:"contact_email,omitzero" maxLength:"254"`
	ContactPhone     Opt[string]      `json:"contact_phone,omitzero" maxLength:"50"`
	BillingEmail     Opt[string]      `json:"billing_email,omitzero" maxLength:"254"`
	AllowedOrigins   Opt[[]string]    `json:"allowed_origins,omitzero" maxItems:"50"`
	Metadata         Opt[Metadata]    `json:"metadata,omitzero" doc:"Merged key by key: null removes a key."`
	TrialEndsAt      Opt[time.Time]   `json:"trial_ends_at,omitzero" doc:"Only of a tenant in trial. The platform's to change."`
	ContractStart    Opt[Date]        `json:"contract_start,omitzero" doc:"The platform's to change."`
	ContractEnd      Opt[Date]        `json:"contract_end,omitzero" doc:"The platform's to change."`
	SalesOwner       Opt[string]      `json:"sales_owner,omitzero" maxLength:"200" doc:"The platform's to change."`
}

// DueTransition is what the clock will do to a tenant.
type DueTransition struct {
	TenantID id.Tenant `json:"tenant_id"`
	Slug     string    `json:"slug"`
	Name     string    `json:"name"`
	At       time.Time `json:"at" doc:"When; in the past: within a minute."`
	Action   string    `json:"action" enum:"freeze,archive"`
	From     string    `json:"from" enum:"trial,active,frozen"`
	To       string    `json:"to" enum:"frozen,archived"`
	Reason   string    `json:"reason" example:"trial ended"`
}

func (a *API) tenantRoutes() {
	const tag = "Tenants"
	route(a, op{
		ID: "create-tenant", Method: "POST", Path: "/v1/tenants", Tag: tag, Creates: true, Summary: "Create a tenant",
		Description: "Makes a tenant from a plan: entitlements, limits and trial come with it. A tenant's own credential creates below its own tenant, which must be a reseller or an enterprise.",
	}, a.createTenant)
	route(a, op{
		ID: "list-tenants", Method: "GET", Path: "/v1/tenants", Tag: tag, Summary: "List tenants",
		Description: "Newest first. The platform's credentials see all tenants, a tenant's own sees its tenant and those below it. Deleted tenants are left out unless asked for.",
	}, a.listTenants)
	route(a, op{
		ID: "list-due-transitions", Method: "GET", Path: "/v1/tenants/due", Tag: tag, Summary: "List what the clock will do",
		Description: "The transitions that will happen if nobody does anything, soonest first: trials and contracts that end, and frozen tenants whose grace is over.",
	}, a.listDue)
	route(a, op{
		ID: "get-tenant", Method: "GET", Path: "/v1/tenants/{tenant}", Tag: tag, Summary: "Get a tenant",
	}, a.getTenant)
	route(a, op{
		ID: "update-tenant", Method: "PATCH", Path: "/v1/tenants/{tenant}", Tag: tag, Summary: "Change a tenant",
		Description: "JSON merge patch. A frozen tenant takes only its contacts, and from the platform its contract, trial, references and sales owner.", Errors: []int{409, 412},
	}, a.updateTenant)
	route(a, op{
		ID: "delete-tenant", Method: "DELETE", Path: "/v1/tenants/{tenant}", Tag: tag, Summary: "Delete an archived tenant", Status: 204,
		Description: "Hides it from everybody but the platform; restore brings it back until it is purged. Refused under legal hold and while tenants lie below it. Its slug stays taken.", Errors: []int{409},
	}, a.deleteTenant)
	route(a, op{
		ID: "list-subtree", Method: "GET", Path: "/v1/tenants/{tenant}/subtree", Tag: tag, Summary: "List a tenant and those below it",
		Description: "In tree order: each tenant before its children, siblings oldest first. The length of ancestors tells how deep each lies.",
	}, a.listSubtree)
	route(a, op{
		ID: "move-tenant", Method: "POST", Path: "/v1/tenants/{tenant}/move", Tag: tag, Summary: "Move a tenant in the tree",
		Description: "Puts the tenant, with all that lies below it, under another parent. parent_id null makes it a root, which is the platform's to do.", Errors: []int{409},
	}, a.moveTenant)
	a.lifecycleRoutes(tag)
}

// lifecycleRoutes registers the actions of the lifecycle, by what they are told.
func (a *API) lifecycleRoutes(tag string) {
	action := func(name tenant.Action, summary, description string) op {
		return op{
			ID: string(name) + "-tenant", Method: "POST", Path: "/v1/tenants/{tenant}/" + string(name), Tag: tag,
			Summary: summary, Description: description, Errors: []int{409},
		}
	}
	for _, x := range []struct {
		name                 tenant.Action
		summary, description string
	}{
		{tenant.Freeze, "Freeze a tenant", "Makes it read-only: keys still verify for reading. After 30 days it is archived, unless reactivated."},
		{tenant.Suspend, "Suspend a tenant", "Blocks its keys and sign-in, and those of the tenants below it, until resumed."},
		{tenant.Archive, "Archive a tenant", "Keeps only the audit log in use. Can be restored until it is purged."},
		{tenant.Hold, "Set a legal hold", "Blocks deletion and purge. The platform's to do."},
	} {
		route(a, action(x.name, x.summary, x.description), func(ctx context.Context, in *tenantReasonInput) (*one[Tenant], error) {
			return a.transition(ctx, in.Tenant, tenant.TransitionParams{Action: x.name, Reason: in.Body.Reason})
		})
	}
	for _, x := range []struct {
		name                 tenant.Action
		summary, description string
	}{
		{tenant.Resume, "Resume a suspended tenant", "Gives back the status that it had. The grace of a frozen tenant stood still meanwhile."},
		{tenant.Restore, "Restore an archived tenant", "Brings it back frozen, with a new grace; reactivate makes it live. A demo tenant comes back as demo. Works on deleted ones too."},
		{tenant.Release, "Clear a legal hold", "The platform's to do."},
	} {
		route(a, action(x.name, x.summary, x.description), func(ctx context.Context, in *tenantMayReasonInput) (*one[Tenant], error) {
			return a.transition(ctx, in.Tenant, tenant.TransitionParams{Action: x.name, Reason: in.reason()})
		})
	}
	for _, x := range []struct {
		name                 tenant.Action
		summary, description string
	}{
		{tenant.Activate, "Turn a trial into a contract", "Ends the trial by success."},
		{tenant.Reactivate, "Reactivate a frozen tenant", "Makes it active again. On a live tenant it takes back a cancellation that waits for the end."},
	} {
		route(a, action(x.name, x.summary, x.description), func(ctx context.Context, in *tenantContractInput) (*one[Tenant], error) {
			p := tenant.TransitionParams{Action: x.name}
			if in.Body != nil {
				p.Reason, p.ContractEnd = in.Body.Reason, in.Body.ContractEnd.time()
			}
			return a.transition(ctx, in.Tenant, p)
		})
	}
	route(a, action(tenant.Cancel, "Cancel a tenant", "Freezes it now, or, with at_end, when its trial or contract ends. Until it is archived, reactivate undoes that."),
		func(ctx context.Context, in *cancelTenantInput) (*one[Tenant], error) {
			p := tenant.TransitionParams{Action: tenant.Cancel}
			if in.Body != nil {
				p.Reason, p.AtEnd = in.Body.Reason, in.Body.AtEnd
			}
			return a.transition(ctx, in.Tenant, p)
		})
}

// MustReason says why something is done that needs a reason.
type MustReason struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" example:"abuse of the render queue" doc:"Kept in the audit log."`
}

// StartContract is how a tenant becomes active.
type StartContract struct {
	ContractEnd *Date  `json:"contract_end,omitempty" doc:"Last day of the contract. Needed when the one before is over, for else the tenant would freeze again at once."`
	Reason      string `json:"reason,omitempty" maxLength:"500" doc:"Kept in the audit log."`
}

// CancelTenant is how a tenant is cancelled.
type CancelTenant struct {
	AtEnd  bool   `json:"at_end,omitempty" doc:"Wait for the end of the trial or contract, instead of freezing now."`
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Kept with the tenant and in the audit log."`
}

type tenantReasonInput struct {
	TenantPath
	Body MustReason
}

type tenantMayReasonInput struct {
	TenantPath
	ReasonBody
}

type tenantContractInput struct {
	TenantPath
	Body *StartContract
}

type cancelTenantInput struct {
	TenantPath
	Body *CancelTenant
}

func (a *API) transition(ctx context.Context, ref string, p tenant.TransitionParams) (*one[Tenant], error) {
	t, err := a.tenant(ctx, ref)
	if err != nil {
		return nil, err
	}
	return oneTenant(a.s.Tenants.Transition(ctx, t, p))
}

func oneTenant(t tenant.Tenant, err error) (*one[Tenant], error) {
	if err != nil {
		return nil, err
	}
	return &one[Tenant]{ETag: etag(t.UpdatedAt), Body: tenantOf(t)}, nil
}

type createTenantInput struct{ Body CreateTenant }

func (a *API) createTenant(ctx context.Context, in *createTenantInput) (*created[Tenant], error) {
	b := in.Body
	t, err := a.s.Tenants.Create(ctx, tenant.CreateParams{
		Name: b.Name, Slug: b.Slug, Kind: tenant.Kind(b.Kind), Plan: b.Plan, ParentID: b.ParentID,
		Status: tenant.Status(b.Status), TrialEndsAt: b.TrialEndsAt,
		ExternalID: b.ExternalID, ERPCustomerID: b.ERPCustomerID, StripeCustomerID: b.StripeCustomerID,
		ContactName: b.ContactName, ContactEmail: b.ContactEmail, ContactPhone: b.ContactPhone, BillingEmail: b.BillingEmail,
		AllowedOrigins: b.AllowedOrigins, Metadata: b.Metadata,
		ContractStart: b.ContractStart.time(), ContractEnd: b.ContractEnd.time(), SalesOwner: b.SalesOwner,
	})
	if err != nil {
		return nil, err
	}
	return &created[Tenant]{Location: "/v1/tenants/" + t.ID.String(), ETag: etag(t.UpdatedAt), Body: tenantOf(t)}, nil
}

type listTenantsInput struct {
	PageQuery
	Status           string    `query:"status" enum:"demo,trial,active,frozen,suspended,archived" doc:"Only with this status of their own."`
	EffectiveStatus  string    `query:"effective_status" enum:"demo,trial,active,frozen,suspended,archived" doc:"Only with this status in effect."`
	Kind             string    `query:"kind" enum:"customer,demo,internal,reseller,enterprise" doc:"Only of this kind."`
	Plan             string    `query:"plan" maxLength:"200" doc:"Only on this plan."`
	ParentID         id.Tenant `query:"parent_id" doc:"Only the direct children of this tenant."`
	ExternalID       string    `query:"external_id" maxLength:"200" doc:"Only the one with this external_id."`
	ERPCustomerID    string    `query:"erp_customer_id" maxLength:"200" doc:"Only the one with this erp_customer_id."`
	StripeCustomerID string    `query:"stripe_cust_id" maxLength:"200" doc:"Only the one with this stripe_cust_id."`
	Metadata         string    `query:"metadata" maxLength:"600" doc:"KEY, or KEY=VALUE with the value compared as text." example:"tier=gold"`
	Query            string    `query:"q" maxLength:"100" doc:"Part of the name or slug, in upper or lower case."`
	Deleted          bool      `query:"deleted" doc:"Only deleted tenants; the platform's to ask."`
}

func (a *API) listTenants(ctx context.Context, in *listTenantsInput) (*listed[Tenant], error) {
	f := tenant.Filter{
		Status: tenant.Status(in.Status), EffectiveStatus: tenant.Status(in.EffectiveStatus), Kind: tenant.Kind(in.Kind),
		Plan: in.Plan, Parent: in.ParentID, ExternalID: in.ExternalID, ERPCustomerID: in.ERPCustomerID, StripeCustomerID: in.StripeCustomerID,
		Query: in.Query, Deleted: in.Deleted,
	}
	key, value, given := strings.Cut(in.Metadata, "=")
	if f.MetadataKey = key; given {
		f.MetadataValue = &value
	}
	p, err := a.s.Tenants.List(ctx, f, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, tenantOf), nil
}

type listDueInput struct {
	PageQuery
	Until time.Time `query:"until" doc:"How far to look; 30 days when left out." example:"2026-12-31T00:00:00Z"`
}

func (a *API) listDue(ctx context.Context, in *listDueInput) (*listed[DueTransition], error) {
	p, err := a.s.Tenants.Due(ctx, in.Until, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(d tenant.Due) DueTransition {
		return DueTransition{
			TenantID: d.TenantID, Slug: d.Slug, Name: d.Name, At: d.At.UTC(),
			Action: string(d.Action), From: string(d.From), To: string(d.To), Reason: d.Reason,
		}
	}), nil
}

type getTenantInput struct{ TenantPath }

func (a *API) getTenant(ctx context.Context, in *getTenantInput) (*one[Tenant], error) {
	t, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return oneTenant(a.s.Tenants.Get(ctx, t))
}

type updateTenantInput struct {
	TenantPath
	Precondition
	Body UpdateTenant
}

func (a *API) updateTenant(ctx context.Context, in *updateTenantInput) (*one[Tenant], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	t, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	b := in.Body
	return oneTenant(a.s.Tenants.Update(ctx, t, tenant.UpdateParams{
		IfMatch: version, Name: b.Name.Field, Slug: b.Slug.Field, Kind: mapField(b.Kind.Field, func(s string) tenant.Kind { return tenant.Kind(s) }),
		Plan: b.Plan.Field, ExternalID: b.ExternalID.Field, ERPCustomerID: b.ERPCustomerID.Field, StripeCustomerID: b.StripeCustomerID.Field,
		ContactName: b.ContactName.Field, ContactEmail: b.ContactEmail.Field, ContactPhone: b.ContactPhone.Field, BillingEmail: b.BillingEmail.Field,
		AllowedOrigins: b.AllowedOrigins.Field, Metadata: mapField(b.Metadata.Field, func(m Metadata) map[string]any { return m }),
		TrialEndsAt:   b.TrialEndsAt.Field,
		ContractStart: mapField(b.ContractStart.Field, func(d Date) time.Time { return d.Time }),
		ContractEnd:   mapField(b.ContractEnd.Field, func(d Date) time.Time { return d.Time }),
		SalesOwner:    b.SalesOwner.Field,
	}))
}

// mapField turns a field of one type into a field of another.
func mapField[A, B any](f patch.Field[A], to func(A) B) patch.Field[B] {
	switch v, ok := f.Get(); {
	case ok:
		return patch.Set(to(v))
	case f.IsNull():
		return patch.Null[B]()
	default:
		return patch.Field[B]{}
	}
}

func (a *API) deleteTenant(ctx context.Context, in *getTenantInput) (*empty, error) {
	_, err := a.transition(ctx, in.Tenant, tenant.TransitionParams{Action: tenant.Delete})
	return &empty{}, err
}

type listSubtreeInput struct {
	TenantPath
	PageQuery
	Levels int `query:"levels" minimum:"1" maximum:"5" doc:"How far down to look; all the way when left out."`
}

func (a *API) listSubtree(ctx context.Context, in *listSubtreeInput) (*listed[Tenant], error) {
	t, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Tenants.Subtree(ctx, t, in.Levels, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, tenantOf), nil
}

// MoveTenant says where to move a tenant.
type MoveTenant struct {
	ParentID Opt[id.Tenant] `json:"parent_id" doc:"The new parent; null for none."`
}

type moveTenantInput struct {
	TenantPath
	Body MoveTenant
}

func (a *API) moveTenant(ctx context.Context, in *moveTenantInput) (*one[Tenant], error) {
	t, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	parent, _ := in.Body.ParentID.Get()
	return oneTenant(a.s.Tenants.Move(ctx, t, parent))
}
