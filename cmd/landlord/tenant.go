package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// tenantsCmd is the command group of tenants.
type tenantsCmd struct {
	Create tenantCreateCmd `cmd:"" help:"Create a tenant from a plan."`
	List   tenantListCmd   `cmd:"" help:"List tenants, newest first." aliases:"ls"`
	Get    tenantGetCmd    `cmd:"" help:"Show a tenant."`
	Update tenantUpdateCmd `cmd:"" help:"Change a tenant."`
	Tree   tenantTreeCmd   `cmd:"" help:"Show a tenant and those below it."`
	Move   tenantMoveCmd   `cmd:"" help:"Move a tenant, with all below it, under another parent."`
	Due    tenantDueCmd    `cmd:"" help:"Show what the clock will do, and when."`

	Activate   tenantActivateCmd   `cmd:"" help:"Turn a trial into a contract."`
	Freeze     tenantFreezeCmd     `cmd:"" help:"Make a tenant read-only; 30 days later it is archived."`
	Cancel     tenantCancelCmd     `cmd:"" help:"Cancel a tenant, now or at the end of its trial or contract."`
	Reactivate tenantReactivateCmd `cmd:"" help:"Make a frozen tenant active again, or take back a cancellation."`
	Suspend    tenantSuspendCmd    `cmd:"" help:"Block a tenant and those below it."`
	Resume     tenantResumeCmd     `cmd:"" help:"Give a suspended tenant back the status that it had."`
	Archive    tenantArchiveCmd    `cmd:"" help:"Keep only a tenant's audit log in use."`
	Restore    tenantRestoreCmd    `cmd:"" help:"Bring an archived or deleted tenant back, frozen."`
	Hold       tenantHoldCmd       `cmd:"" help:"Set a legal hold: nothing is deleted."`
	Release    tenantReleaseCmd    `cmd:"" help:"Clear a legal hold."`
	Delete     tenantDeleteCmd     `cmd:"" help:"Delete an archived tenant." aliases:"rm"`
}

func showTenant(g *Globals, t *client.Tenant) error {
	effective := ""
	if t.EffectiveStatus != t.Status {
		effective = t.EffectiveStatus
	}
	flag := func(set bool) string {
		if set {
			return "yes"
		}
		return ""
	}
	return g.show(t,
		pair{"id", t.ID}, pair{"slug", t.Slug}, pair{"name", t.Name}, pair{"kind", t.Kind}, pair{"plan", t.Plan},
		pair{"status", t.Status}, pair{"in effect", effective}, pair{"parent", t.ParentID},
		pair{"trial ends", t.TrialEndsAt}, pair{"contract start", t.ContractStart}, pair{"contract end", t.ContractEnd},
		pair{"cancelled", t.CancelledAt}, pair{"cancelled because", t.CancelReason},
		pair{"suspended", t.SuspendedAt}, pair{"suspended because", t.SuspensionReason}, pair{"resumes to", t.StatusBeforeSuspension},
		pair{"frozen", t.FrozenAt}, pair{"frozen because", t.FreezeReason}, pair{"archives", t.ArchiveDueAt},
		pair{"archived", t.ArchivedAt}, pair{"purge from", t.PurgeDueAt}, pair{"deleted", t.DeletedAt},
		pair{"locked by the platform", flag(t.StatusLocked)}, pair{"legal hold", flag(t.LegalHold)}, pair{"held because", t.LegalHoldReason},
		pair{"contact", t.ContactName}, pair{"e-mail", t.ContactEmail}, pair{"phone", t.ContactPhone}, pair{"billing", t.BillingEmail},
		pair{"origins", t.AllowedOrigins}, pair{"external id", t.ExternalID}, pair{"erp customer", t.ERPCustomerID},
		pair{"stripe customer", t.StripeCustomerID}, pair{"sales owner", t.SalesOwner}, pair{"metadata", t.Metadata},
		pair{"created", t.CreatedAt}, pair{"allowed now", t.AllowedActions},
	)
}

// tenantFields are the fields that create and update share.
type tenantFields struct {
	ExternalID    *string           `help:"The platform's own id for it." name:"external-id" placeholder:"ID"`
	ERPCustomerID *string           `help:"Customer in the ERP." name:"erp-customer-id" placeholder:"ID"`
	StripeCustID  *string           `help:"Customer in Stripe." name:"stripe-cust-id" placeholder:"ID"`
	ContactName   *string           `help:"Whom to talk to." placeholder:"NAME"`
	ContactEmail  *string           `help:"E-mail of the contact." placeholder:"ADDRESS"`
	ContactPhone  *string           `help:"Telephone of the contact." placeholder:"NUMBER"`
	BillingEmail  *string           `help:"Where bills go." placeholder:"ADDRESS"`
	Origin        *[]string         `help:"Web origins that may call from a browser; replaces all." placeholder:"URL"`
	Metadata      map[string]string `help:"Your own data." placeholder:"KEY=VALUE"`
	TrialEndsAt   *time.Time        `help:"End of the trial, such as 2026-12-31T00:00:00Z." placeholder:"TIME"`
	ContractStart *string           `help:"First day of the contract, such as 2026-01-31." placeholder:"DATE"`
	ContractEnd   *string           `help:"Last day of the contract." placeholder:"DATE"`
	SalesOwner    *string           `help:"Who of the platform's people looks after it." placeholder:"NAME"`
}

func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type tenantCreateCmd struct {
	Name   string `arg:"" help:"Name, such as \"Acme Corp\"."`
	Slug   string `help:"Name in URLs; made from the name when left out." placeholder:"SLUG"`
	Plan   string `help:"Plan; starter when left out." placeholder:"PLAN"`
	Kind   string `help:"Kind: ${enum}." enum:"customer, demo, internal, reseller, enterprise" default:"customer" placeholder:"KIND"`
	Parent string `help:"Tenant above it: id or slug:NAME." placeholder:"TENANT"`
	Status string `help:"How it starts: trial or active; the plan decides when left out." placeholder:"STATUS"`

	tenantFields
}

// Run implements the command.
func (c *tenantCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	parent, err := tenantID(ctx, api, c.Parent)
	if err != nil {
		return err
	}
	in := client.CreateTenant{
		Name: c.Name, Slug: c.Slug, Plan: c.Plan, Kind: c.Kind, ParentID: parent, Status: c.Status, TrialEndsAt: c.TrialEndsAt,
		ExternalID: given(c.ExternalID), ERPCustomerID: given(c.ERPCustomerID), StripeCustomerID: given(c.StripeCustID),
		ContactName: given(c.ContactName), ContactEmail: given(c.ContactEmail), ContactPhone: given(c.ContactPhone), BillingEmail: given(c.BillingEmail),
		Metadata: metadata(c.Metadata), ContractStart: given(c.ContractStart), ContractEnd: given(c.ContractEnd), SalesOwner: given(c.SalesOwner),
	}
	if c.Origin != nil {
		in.AllowedOrigins = *c.Origin
	}
	t, err := api.Tenants.Create(ctx, in)
	if err != nil {
		return err
	}
	return showTenant(g, t)
}

// tenantID turns slug:NAME into an id, where only an id is taken.
func tenantID(ctx context.Context, api *client.Client, ref string) (string, error) {
	if !strings.HasPrefix(ref, "slug:") {
		return ref, nil
	}
	t, err := api.Tenants.Get(ctx, ref)
	if err != nil {
		return "", err
	}
	return t.ID, nil
}

type tenantListCmd struct {
	listFlags

	Status          string `help:"Only with this status of their own." placeholder:"STATUS"`
	EffectiveStatus string `help:"Only with this status in effect." placeholder:"STATUS"`
	Kind            string `help:"Only of this kind." placeholder:"KIND"`
	Plan            string `help:"Only on this plan." placeholder:"PLAN"`
	Parent          string `help:"Only direct children of this tenant: id or slug:NAME." placeholder:"TENANT"`
	ExternalID      string `help:"Only the one with this external id." name:"external-id" placeholder:"ID"`
	ERPCustomerID   string `help:"Only the one with this customer in the ERP." name:"erp-customer-id" placeholder:"ID"`
	StripeCustID    string `help:"Only the one with this customer in Stripe." name:"stripe-cust-id" placeholder:"ID"`
	Metadata        string `help:"Only with this key in the metadata, or this value of it." placeholder:"KEY[=VALUE]"`
	Search          string `help:"Part of the name or slug." short:"q" placeholder:"TEXT"`
	Deleted         bool   `help:"Only deleted tenants."`
}

// Run implements the command.
func (c *tenantListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	parent, err := tenantID(ctx, api, c.Parent)
	if err != nil {
		return err
	}
	p, err := api.Tenants.List(ctx, client.TenantFilter{
		Status: c.Status, EffectiveStatus: c.EffectiveStatus, Kind: c.Kind, Plan: c.Plan, ParentID: parent,
		ExternalID: c.ExternalID, ERPCustomerID: c.ERPCustomerID, StripeCustomerID: c.StripeCustID,
		Metadata: c.Metadata, Query: c.Search, Deleted: c.Deleted, ListOptions: c.options(),
	})
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "SLUG", "NAME", "KIND", "PLAN", "STATUS", "CREATED"}, func(t client.Tenant) []any {
		return []any{t.ID, t.Slug, t.Name, t.Kind, t.Plan, statusOf(t), t.CreatedAt}
	})
}

// statusOf shows the status, and the stricter one that is in effect.
func statusOf(t client.Tenant) string {
	if t.EffectiveStatus != t.Status {
		return t.Status + " (" + t.EffectiveStatus + ")"
	}
	return t.Status
}

type tenantArg struct {
	Tenant string `arg:"" help:"Id, bare UUID, or slug:NAME."`
}

type tenantGetCmd struct{ tenantArg }

// Run implements the command.
func (c *tenantGetCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Get(ctx, c.Tenant) })
}

// do calls one operation and shows the tenant that it gives.
func (tenantArg) do(g *Globals, call func(*client.Client) (*client.Tenant, error)) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	t, err := call(api)
	if err != nil {
		return err
	}
	return showTenant(g, t)
}

type tenantUpdateCmd struct {
	tenantArg

	Name           *string  `help:"New name." placeholder:"NAME"`
	Slug           *string  `help:"New slug." placeholder:"SLUG"`
	Kind           *string  `help:"New kind." placeholder:"KIND"`
	Plan           *string  `help:"New plan, with what it gives." placeholder:"PLAN"`
	Clear          []string `help:"Fields to clear, such as contact-email or contract-end." placeholder:"FIELD"`
	RemoveMetadata []string `help:"Metadata keys to remove." placeholder:"KEY"`
	IfMatch        string   `help:"Only if the tenant still has this ETag." placeholder:"ETAG"`

	tenantFields
}

// Run implements the command.
func (c *tenantUpdateCmd) Run(ctx context.Context, g *Globals) error {
	in := client.UpdateTenant{
		Name: optional(c.Name), Slug: optional(c.Slug), Kind: optional(c.Kind), Plan: optional(c.Plan),
		ExternalID: optional(c.ExternalID), ERPCustomerID: optional(c.ERPCustomerID), StripeCustomerID: optional(c.StripeCustID),
		ContactName: optional(c.ContactName), ContactEmail: optional(c.ContactEmail), ContactPhone: optional(c.ContactPhone),
		BillingEmail: optional(c.BillingEmail), AllowedOrigins: optional(c.Origin), TrialEndsAt: optional(c.TrialEndsAt),
		ContractStart: optional(c.ContractStart), ContractEnd: optional(c.ContractEnd), SalesOwner: optional(c.SalesOwner), IfMatch: c.IfMatch,
	}
	if m := metadata(c.Metadata); m != nil || len(c.RemoveMetadata) > 0 {
		if m == nil {
			m = map[string]any{}
		}
		for _, k := range c.RemoveMetadata {
			m[k] = nil
		}
		in.Metadata = client.Set(m)
	}
	for _, field := range c.Clear {
		switch strings.ReplaceAll(field, "_", "-") {
		case "external-id":
			in.ExternalID = client.Null[string]()
		case "erp-customer-id":
			in.ERPCustomerID = client.Null[string]()
		case "stripe-cust-id":
			in.StripeCustomerID = client.Null[string]()
		case "contact-name":
			in.ContactName = client.Null[string]()
		case "contact-email":
			in.ContactEmail = client.Null[string]()
		case "contact-phone":
			in.ContactPhone = client.Null[string]()
		case "billing-email":
			in.BillingEmail = client.Null[string]()
		case "origin", "allowed-origins":
			in.AllowedOrigins = client.Null[[]string]()
		case "metadata":
			in.Metadata = client.Null[map[string]any]()
		case "contract-start":
			in.ContractStart = client.Null[string]()
		case "contract-end":
			in.ContractEnd = client.Null[string]()
		case "sales-owner":
			in.SalesOwner = client.Null[string]()
		default:
			return fmt.Errorf("--clear: a tenant has no field %q that can be cleared", field)
		}
	}
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Update(ctx, c.Tenant, in) })
}

type tenantTreeCmd struct {
	tenantArg
	listFlags

	Levels int `help:"How far down to look, 1 to 5; all the way when left out." placeholder:"N"`
}

// Run implements the command.
func (c *tenantTreeCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Tenants.Subtree(ctx, c.Tenant, c.Levels, c.options())
	if err != nil {
		return err
	}
	top := 0
	if len(p.Data) > 0 && c.Cursor == "" {
		top = len(p.Data[0].Ancestors)
	}
	return table(g, p, []string{"SLUG", "ID", "NAME", "KIND", "STATUS"}, func(t client.Tenant) []any {
		return []any{strings.Repeat("  ", max(0, len(t.Ancestors)-top)) + t.Slug, t.ID, t.Name, t.Kind, statusOf(t)}
	})
}

type tenantMoveCmd struct {
	tenantArg

	Parent string `help:"New parent: id or slug:NAME." xor:"to" required:"" placeholder:"TENANT"`
	Root   bool   `help:"Make it a root." xor:"to" required:""`
}

// Run implements the command.
func (c *tenantMoveCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) {
		parent, err := tenantID(ctx, api, c.Parent)
		if err != nil {
			return nil, err
		}
		return api.Tenants.Move(ctx, c.Tenant, parent)
	})
}

type tenantDueCmd struct {
	listFlags

	Until time.Time `help:"How far to look, such as 2026-12-31T00:00:00Z; 30 days when left out." placeholder:"TIME"`
}

// Run implements the command.
func (c *tenantDueCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Tenants.Due(ctx, c.Until, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"AT", "TENANT", "ACTION", "FROM", "TO", "BECAUSE"}, func(d client.DueTransition) []any {
		return []any{d.At, d.Slug, d.Action, d.From, d.To, d.Reason}
	})
}

// mustReason is of the actions that need a reason, mayReason of those that take one.
type mustReason struct {
	Reason string `help:"Why: kept in the audit log." required:"" placeholder:"TEXT"`
}

type mayReason struct {
	Reason string `help:"Why: kept in the audit log." placeholder:"TEXT"`
}

type contractFlags struct {
	mayReason

	ContractEnd string `help:"Last day of the contract, such as 2026-12-31." placeholder:"DATE"`
}

func (c contractFlags) contract() client.Contract {
	return client.Contract{End: c.ContractEnd, Reason: c.Reason}
}

type tenantActivateCmd struct {
	tenantArg
	contractFlags
}

// Run implements the command.
func (c *tenantActivateCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) {
		return api.Tenants.Activate(ctx, c.Tenant, c.contract())
	})
}

type tenantFreezeCmd struct {
	tenantArg
	mustReason
}

// Run implements the command.
func (c *tenantFreezeCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Freeze(ctx, c.Tenant, c.Reason) })
}

type tenantCancelCmd struct {
	tenantArg
	mayReason

	AtEnd bool `help:"Wait for the end of the trial or contract."`
}

// Run implements the command.
func (c *tenantCancelCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) {
		return api.Tenants.Cancel(ctx, c.Tenant, client.Cancellation{AtEnd: c.AtEnd, Reason: c.Reason})
	})
}

type tenantReactivateCmd struct {
	tenantArg
	contractFlags
}

// Run implements the command.
func (c *tenantReactivateCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) {
		return api.Tenants.Reactivate(ctx, c.Tenant, c.contract())
	})
}

type tenantSuspendCmd struct {
	tenantArg
	mustReason
}

// Run implements the command.
func (c *tenantSuspendCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Suspend(ctx, c.Tenant, c.Reason) })
}

type tenantResumeCmd struct {
	tenantArg
	mayReason
}

// Run implements the command.
func (c *tenantResumeCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Resume(ctx, c.Tenant, c.Reason) })
}

type tenantArchiveCmd struct {
	tenantArg
	mustReason
}

// Run implements the command.
func (c *tenantArchiveCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Archive(ctx, c.Tenant, c.Reason) })
}

type tenantRestoreCmd struct {
	tenantArg
	mayReason
}

// Run implements the command.
func (c *tenantRestoreCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Restore(ctx, c.Tenant, c.Reason) })
}

type tenantHoldCmd struct {
	tenantArg
	mustReason
}

// Run implements the command.
func (c *tenantHoldCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Hold(ctx, c.Tenant, c.Reason) })
}

type tenantReleaseCmd struct {
	tenantArg
	mayReason
}

// Run implements the command.
func (c *tenantReleaseCmd) Run(ctx context.Context, g *Globals) error {
	return c.do(g, func(api *client.Client) (*client.Tenant, error) { return api.Tenants.Release(ctx, c.Tenant, c.Reason) })
}

type tenantDeleteCmd struct {
	tenantArg

	Yes bool `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *tenantDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Delete the archived tenant %s?", c.Tenant); err != nil {
		return err
	}
	if err := api.Tenants.Delete(ctx, c.Tenant); err != nil {
		return err
	}
	g.done("Deleted. Until it is purged, landlord tenants restore %s brings it back.", c.Tenant)
	return nil
}
