package tenant

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Provision gives a tenant what its plan says, entitlements and limits, in the
// caller's transaction. It runs when a tenant is created and when its plan
// changes. A plan that does not exist, or that may not be given any more, is a
// fault about the field "plan". The composition root passes it in.
type Provision func(ctx context.Context, tx pg.Tx, tenant id.Tenant, plan string) (Provisioned, error)

// Provisioned is what a tenant takes over from its plan.
type Provisioned struct {
	TrialDays int // 0: the plan has no trial
}

// Service is the tenants' operations. It is safe for concurrent use.
type Service struct {
	db          *pg.DB
	provision   Provision
	defaultPlan string
	now         func() time.Time
}

// Option changes a Service.
type Option func(*Service)

// WithDefaultPlan names the plan of tenants that are created without one;
// without this option it is "starter".
func WithDefaultPlan(plan string) Option { return func(s *Service) { s.defaultPlan = plan } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

// New returns the tenants' operations over a database.
func New(db *pg.DB, provision Provision, opts ...Option) *Service {
	s := &Service{db: db.With(constraints), provision: provision, defaultPlan: "starter", now: time.Now}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Create makes a tenant from a plan: its row, its entitlements and limits, and
// its trial. A tenant's own credential creates below its own tenant.
func (s *Service) Create(ctx context.Context, p CreateParams) (Tenant, error) {
	who, _ := access.From(ctx)
	if p.ParentID.IsZero() {
		p.ParentID = who.Tenant
	}
	if p.ParentID.IsZero() {
		if err := access.RequirePlatform(ctx, access.TenantsWrite); err != nil {
			return Tenant{}, err
		}
	} else if err := requireParent(ctx, p.ParentID); err != nil {
		return Tenant{}, err
	}
	draft, err := s.draft(who, p)
	if err != nil {
		return Tenant{}, err
	}
	var made Tenant
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		t := draft // a transaction may run again
		if !t.ParentID.IsZero() {
			parent, err := parentOf(ctx, tx, who, t.ParentID)
			if err != nil {
				return err
			}
			t.Ancestors = parent.path()
		}
		if t, err = s.insert(ctx, tx, t); err != nil {
			return err
		}
		made = t
		return audit.Record(ctx, tx, t.event("tenant.created", "", map[string]any{
			"kind": t.Kind, "plan": t.Plan, "status": t.Status, "parent_id": t.ParentID, "slug": t.Slug,
		}))
	})
	return made, err
}

// draft makes the row of a new tenant and complains about it. Its status is ""
// where the plan decides.
func (s *Service) draft(who access.Principal, p CreateParams) (Tenant, error) {
	t := Tenant{
		ID: id.New[id.Tenant](), Slug: p.Slug, Name: p.Name, Kind: p.Kind, Status: p.Status, Plan: p.Plan, ParentID: p.ParentID,
		ExternalID: p.ExternalID, ERPCustomerID: p.ERPCustomerID, StripeCustomerID: p.StripeCustomerID,
		ContactName: p.ContactName, ContactEmail: p.ContactEmail, ContactPhone: p.ContactPhone, BillingEmail: p.BillingEmail,
		AllowedOrigins: p.AllowedOrigins, Metadata: mergeMetadata(nil, p.Metadata),
		TrialEndsAt: p.TrialEndsAt, ContractStart: p.ContractStart, ContractEnd: p.ContractEnd, SalesOwner: p.SalesOwner,
	}
	if t.Kind == "" {
		t.Kind = KindCustomer
	}
	if t.Plan == "" {
		t.Plan = s.defaultPlan
	}
	if t.Slug == "" {
		t.Slug = slugOf(p.Name)
	}
	if t.Status == "" {
		switch {
		case t.Kind == KindDemo:
			t.Status = Demo
		case t.Kind == KindInternal:
			t.Status = Active
		case t.TrialEndsAt != nil:
			t.Status = Trial
		}
	}
	t.normalize()
	f := t.validate()
	switch {
	case t.Status != "" && t.Status != Demo && t.Status != Trial && t.Status != Active:
		f.Add("status", "not_one_of", "A tenant starts in demo, trial or active.")
	case t.Status != "" && (t.Status == Demo) != (t.Kind == KindDemo):
		f.Add("status", "not_one_of", "A tenant of kind demo, and only such a one, starts in demo.")
	}
	f.Check(t.TrialEndsAt == nil || t.Status == Trial, "trial_ends_at", "not_in_trial", "Only a tenant that starts in trial has an end of it.")
	f.Check(t.TrialEndsAt == nil || t.TrialEndsAt.After(s.now()), "trial_ends_at", "in_the_past", "The trial must end in the future.")
	if !who.Platform() {
		tenantMayStart(&f, p)
	}
	return t, f.Err()
}

// tenantMayStart complains about what a tenant's own credential may not give.
func tenantMayStart(f *fault.Fields, p CreateParams) {
	f.Check(p.Kind != KindInternal && p.Kind != KindDemo, "kind", "platform_only", "Only the platform makes tenants of kind %s.", p.Kind)
	for field, given := range map[string]bool{
		"status": p.Status != "", "trial_ends_at": p.TrialEndsAt != nil, "external_id": p.ExternalID != "",
		"erp_customer_id": p.ERPCustomerID != "", "stripe_cust_id": p.StripeCustomerID != "",
		"contract_start": p.ContractStart != nil, "contract_end": p.ContractEnd != nil, "sales_owner": p.SalesOwner != "",
	} {
		f.Check(!given, field, "platform_only", "Only the platform sets %s.", field)
	}
}

// insert writes the row and what its plan gives, in that order, because what the
// plan gives refers to the row.
func (s *Service) insert(ctx context.Context, tx pg.Tx, t Tenant) (Tenant, error) {
	byPlan := t.Status == ""
	if byPlan {
		t.Status = Active
	}
	made, err := insertTenant(ctx, tx, t)
	if err != nil {
		return t, err
	}
	given, err := s.provision(ctx, tx, made.ID, made.Plan)
	if err != nil {
		return t, err
	}
	needsEnd := made.Status == Trial && made.TrialEndsAt == nil
	if needsEnd && given.TrialDays <= 0 {
		return t, fault.InvalidField("trial_ends_at", "required", "The plan has no trial days: say when the trial ends.")
	}
	if needsEnd || byPlan && given.TrialDays > 0 {
		made.Status, made.TrialEndsAt = Trial, new(s.now().UTC().AddDate(0, 0, given.TrialDays))
		return updateTenant(ctx, tx, made)
	}
	return made, nil
}

// Get returns a tenant. A deleted one is there for the platform only.
func (s *Service) Get(ctx context.Context, tenant id.Tenant) (Tenant, error) {
	if err := access.Require(ctx, access.TenantsRead, tenant); err != nil {
		return Tenant{}, err
	}
	var t Tenant
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		t, err = getTenant(ctx, tx, tenant)
		return err
	})
	if err != nil {
		return Tenant{}, err
	}
	return t, visible(ctx, t)
}

// Resolve returns the id that a reference names. It reads only when the
// reference is a slug; whether the tenant is the caller's, the operation asks.
func (s *Service) Resolve(ctx context.Context, r Ref) (id.Tenant, error) {
	if r.Slug == "" {
		return r.ID, nil
	}
	var t id.Tenant
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		t, err = idBySlug(ctx, tx, r.Slug)
		return err
	})
	return t, err
}

// ByClaim finds the tenant that an identity provider's organization claim means:
// its id, the id that the platform gave it, or its slug.
func (s *Service) ByClaim(ctx context.Context, claim string) (t id.Tenant, err error) {
	t, _ = id.Parse[id.Tenant](claim) // what is no id may be a name
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		t, err = idByClaim(ctx, tx, t, claim)
		return err
	})
	return t, err
}

// List returns tenants, newest first: all of them for the platform, for a
// tenant's own credential its own and those below it.
func (s *Service) List(ctx context.Context, f Filter, r page.Request) (page.Page[Tenant], error) {
	var none page.Page[Tenant]
	who, err := access.RequireAny(ctx, access.TenantsRead)
	if err != nil {
		return none, err
	}
	if err := r.Validate(); err != nil {
		return none, err
	}
	if err := f.validate(); err != nil {
		return none, err
	}
	if f.Deleted && !who.Platform() {
		return none, fault.InvalidField("deleted", "platform_only", "Only the platform sees deleted tenants.")
	}
	before, paged, err := page.Decode[id.Tenant]("tenants", r.Cursor)
	if err != nil {
		return none, err
	}
	var rows []Tenant
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		rows, err = listTenants(ctx, tx, f, who.Tenant, before, paged, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of("tenants", r, rows, func(t Tenant) id.Tenant { return t.ID }), nil
}

// Transition takes a tenant through one row of the lifecycle's table.
func (s *Service) Transition(ctx context.Context, tenant id.Tenant, p TransitionParams) (Tenant, error) {
	if err := access.Require(ctx, access.TenantsLifecycle, tenant); err != nil {
		return Tenant{}, err
	}
	if err := p.validate(); err != nil {
		return Tenant{}, err
	}
	who, _ := access.From(ctx)
	var after Tenant
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		if p.Action == Delete { // so that nobody creates or moves a tenant below it meanwhile
			if err := lockTree(ctx, tx); err != nil {
				return err
			}
		}
		t, err := lockTenant(ctx, tx, tenant)
		if err != nil {
			return err
		}
		if err := visible(ctx, t); err != nil {
			return err
		}
		after, err = s.transition(ctx, tx, who, t, p, s.now())
		return err
	})
	return after, err
}

// transition applies an action to a locked row, with its record and its note.
func (s *Service) transition(ctx context.Context, tx pg.Tx, who access.Principal, t Tenant, p TransitionParams, now time.Time) (Tenant, error) {
	after, rule, err := t.Next(p, now)
	// Who may do it comes before whether it can be done now: a reseller learns
	// nothing about what the platform could do. An action without a row is nobody's.
	if rule.Action != "" {
		if err := mayTransition(who, t, rule); err != nil {
			return t, err
		}
	}
	if err != nil {
		return t, err
	}
	if rule.Action == Delete {
		if err := childless(ctx, tx, t.ID); err != nil {
			return t, err
		}
	}
	after.lock(who, t)
	if after, err = updateTenant(ctx, tx, after); err != nil {
		return t, err
	}
	meta := map[string]any{"from": t.Status, "to": after.Status}
	if p.Reason != "" {
		meta["reason"] = p.Reason
	}
	if p.AtEnd {
		meta["at_end"] = true
	}
	if err := audit.Record(ctx, tx, after.event(rule.Event, p.Reason, meta)); err != nil {
		return t, err
	}
	return after, note(ctx, tx, after.ID)
}

// event is what the audit log says about a change of the tenant.
func (t Tenant) event(action, description string, meta map[string]any) audit.Event {
	return audit.Event{
		Action: action, TenantID: t.ID, Description: description, Metadata: meta,
		Target: audit.Target{Type: "tenant", ID: t.ID.String(), Name: t.Name},
	}
}

// note tells the replicas that a tenant changed, and with it what the tenants
// below it inherit.
func note(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: "tenant", TenantID: tenant, ID: tenant.UUID()})
}

// visible hides deleted tenants from everybody but the platform.
func visible(ctx context.Context, t Tenant) error {
	if who, _ := access.From(ctx); t.DeletedAt != nil && !who.Platform() {
		return fault.NotFound("tenant")
	}
	return nil
}
