package entitlement

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Service is the entitlements' operations. It is safe for concurrent use.
type Service struct {
	db  *pg.DB
	now func() time.Time
}

// Option changes a Service.
type Option func(*Service)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

var constraints = pg.Constraints{
	"tenant_products_product_fkey":   fault.NotFound("product"),
	"tenant_products_tenant_id_fkey": fault.NotFound("tenant"),
}

// New returns the entitlements' operations over a database.
func New(db *pg.DB, opts ...Option) *Service {
	s := &Service{db: db.With(constraints), now: time.Now}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Now is the service's clock: the instant that states are told for.
func (s *Service) Now() time.Time { return s.now() }

// Put gives a tenant a product, or changes what it has of it. created tells
// whether it had none before. A put that changes nothing records nothing.
func (s *Service) Put(ctx context.Context, p PutParams) (e Entitlement, created bool, err error) {
	if err := s.requireGrantor(ctx, p.TenantID); err != nil {
		return e, false, err
	}
	if err := p.validate(); err != nil {
		return e, false, err
	}
	if p.Enabled {
		if err := s.requireHeld(ctx, p.Product); err != nil {
			return e, false, err
		}
	}
	err = s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) error {
		e, created, err = s.put(ctx, tx, p)
		return err
	})
	return e, created, err
}

func (s *Service) put(ctx context.Context, tx pg.Tx, p PutParams) (Entitlement, bool, error) {
	e := Entitlement{
		TenantID: p.TenantID, Product: p.Product, Enabled: p.Enabled,
		Config: p.Config, Source: p.Source, ExpiresAt: p.ExpiresAt,
	}
	if err := checkWritable(ctx, tx, p.TenantID); err != nil {
		return e, false, err
	}
	product, err := manifest(ctx, tx, p.Product)
	if err != nil {
		return e, false, err
	}
	e.DefaultConfig = product.DefaultConfig
	var f fault.Fields
	if err := product.CheckConfig(&f, "config", p.Config); err != nil {
		return e, false, err
	}
	if err := f.Err(); err != nil {
		return e, false, err
	}
	before, err := lock(ctx, tx, p.TenantID, p.Product)
	if err != nil {
		return e, false, err
	}
	if before == nil && p.IfMatch.IsZero() {
		err := write(ctx, tx, insertOne, &e)
		if err == nil {
			return e, true, record(ctx, tx, "entitlement.created", e.TenantID, e.Product, map[string]any{"to": snapshot(e)})
		}
		if !pg.IsNoRows(err) {
			return e, false, err
		}
		if before, err = lock(ctx, tx, p.TenantID, p.Product); err != nil { // somebody was faster
			return e, false, err
		}
	}
	if before == nil {
		return e, false, fault.StaleVersion() // what the caller has read is gone
	}
	if err := checkVersion(*before, p.IfMatch); err != nil {
		return e, false, err
	}
	if same(*before, e) {
		return *before, false, nil
	}
	if err := write(ctx, tx, updateOne, &e); err != nil {
		return e, false, err
	}
	return e, false, record(ctx, tx, "entitlement.updated", e.TenantID, e.Product, map[string]any{"from": snapshot(*before), "to": snapshot(e)})
}

// Get returns a tenant's entitlement to a product.
func (s *Service) Get(ctx context.Context, tenant id.Tenant, product string) (Entitlement, error) {
	var e Entitlement
	err := s.read(ctx, tenant, func(tx pg.Tx) (err error) {
		e, err = get(ctx, tx, tenant, product)
		return pg.Found(err, "entitlement")
	})
	return e, err
}

// List returns a tenant's entitlements by the name of the product, those that are
// disabled or expired among them.
func (s *Service) List(ctx context.Context, tenant id.Tenant, r page.Request) (p page.Page[Entitlement], err error) {
	if err := r.Validate(); err != nil {
		return p, err
	}
	after, _, err := page.Decode[string]("entitlements", r.Cursor)
	if err != nil {
		return p, err
	}
	err = s.read(ctx, tenant, func(tx pg.Tx) error {
		rows, err := pg.Collect[Entitlement](ctx, tx, listOfTenant, tenant, after, r.Size()+1)
		p = page.Of("entitlements", r, rows, func(e Entitlement) string { return e.Product })
		return err
	})
	return p, err
}

// Holders lists the tenants that have a product, the oldest first. It is the
// platform's alone.
func (s *Service) Holders(ctx context.Context, product string, r page.Request) (p page.Page[Holder], err error) {
	if err := access.RequirePlatform(ctx, access.EntitlementsRead); err != nil {
		return p, err
	}
	if err := r.Validate(); err != nil {
		return p, err
	}
	after, _, err := page.Decode[id.Tenant]("holders", r.Cursor)
	if err != nil {
		return p, err
	}
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) error {
		if err := productExists(ctx, tx, product); err != nil {
			return err
		}
		rows, err := pg.Collect[Holder](ctx, tx, listOfProduct, product, after.UUID(), r.Size()+1)
		p = page.Of("holders", r, rows, func(h Holder) id.Tenant { return h.TenantID })
		return err
	})
	return p, err
}

// Check answers whether a tenant may use a product now.
func (s *Service) Check(ctx context.Context, tenant id.Tenant, product string) (Decision, error) {
	d := Decision{TenantID: tenant, Product: product, Reason: NotEntitled, CheckedAt: s.now().UTC()}
	var e Entitlement
	var status string
	err := s.read(ctx, tenant, func(tx pg.Tx) (err error) {
		if status, err = effectiveStatus(ctx, tx, tenant); err != nil {
			return err
		}
		if e, err = get(ctx, tx, tenant, product); !pg.IsNoRows(err) {
			d.Reason = e.ReasonAt(d.CheckedAt)
			return err
		}
		return productExists(ctx, tx, product)
	})
	if err != nil {
		return d, err
	}
	d.ExpiresAt = e.ExpiresAt
	switch status {
	case "suspended":
		d.Reason = TenantSuspended
	case "archived":
		d.Reason = TenantArchived
	case "frozen":
		d.ReadOnly = d.Reason == OK
	}
	if d.Entitled = d.Reason == OK; d.Entitled {
		d.Config = e.EffectiveConfig()
	}
	return d, nil
}

// Delete takes a tenant's own entitlement away. Where the tenant's plan gives the
// product, that is back in force; an entitlement that comes from the plan can't be
// deleted but can be put with Enabled false.
func (s *Service) Delete(ctx context.Context, tenant id.Tenant, product string, ifMatch time.Time) error {
	if err := s.requireGrantor(ctx, tenant); err != nil {
		return err
	}
	return s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		if err := checkWritable(ctx, tx, tenant); err != nil {
			return err
		}
		before, err := lock(ctx, tx, tenant, product)
		if err != nil {
			return err
		}
		if before == nil {
			return fault.NotFound("entitlement")
		}
		if err := checkVersion(*before, ifMatch); err != nil {
			return err
		}
		if before.Source == Plan {
			return fault.Conflict("entitlement_from_plan", "The tenant has this product by its plan: put it with enabled false to withhold it, or change the plan.")
		}
		back, err := remove(ctx, tx, tenant, product)
		if err != nil {
			return err
		}
		return record(ctx, tx, "entitlement.deleted", tenant, product, map[string]any{"from": snapshot(*before), "back_to_plan": back})
	})
}

// ApplyPlan gives a tenant what a plan says, in the caller's transaction, which
// is in operator scope: the plan's products and limits, in place of those of the
// plan before. Overrides stay. The caller records the change.
//
// A plan that does not exist or is archived is a fault about the field "plan".
// Where a reseller acts, the plan may hold only what it is entitled to itself.
func (s *Service) ApplyPlan(ctx context.Context, tx pg.Tx, tenant id.Tenant, plan string) (Given, error) {
	return s.applyPlan(ctx, tx, tenant, plan, false)
}

func (s *Service) applyPlan(ctx context.Context, tx pg.Tx, tenant id.Tenant, plan string, again bool) (Given, error) {
	p, err := pg.One[planRow](ctx, tx, selectPlan, plan)
	if pg.IsNoRows(err) {
		return Given{}, fault.InvalidField("plan", "plan_not_found", "The catalogue has no plan %.60q.", plan)
	}
	if err != nil {
		return Given{}, err
	}
	if p.Archived && !again {
		return Given{}, fault.InvalidField("plan", "plan_archived", "The plan %s is archived: it is kept for the tenants that are on it.", plan)
	}
	if who, ok := access.From(ctx); ok && !who.Platform() {
		missing, err := notHeld(ctx, tx, plan, who.Tenant, s.now())
		if err != nil {
			return Given{}, err
		}
		if len(missing) > 0 {
			return Given{}, errNotHeld(missing...)
		}
	}
	n, err := takePlan(ctx, tx, tenant, plan)
	if err != nil || n == 0 {
		return Given{TrialDays: p.TrialDays}, err
	}
	return Given{TrialDays: p.TrialDays, Changed: true}, note(ctx, tx, tenant)
}

// Reapply brings a tenant in line with its plan as the catalogue now has it, and
// reports whether that has changed anything.
func (s *Service) Reapply(ctx context.Context, tenant id.Tenant) (plan string, changed bool, err error) {
	if err := s.requireGrantor(ctx, tenant); err != nil {
		return "", false, err
	}
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		if err := checkWritable(ctx, tx, tenant); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectPlanOfTenant, tenant).Scan(&plan); err != nil {
			return pg.Found(err, "tenant")
		}
		given, err := s.applyPlan(ctx, tx, tenant, plan, true)
		if changed = given.Changed; err != nil || !changed {
			return err
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "entitlement.plan_applied", CRUD: "u", TenantID: tenant, Metadata: map[string]any{"plan": plan},
			Target: audit.Target{Type: "plan", ID: plan, Name: plan},
		})
	})
	return plan, changed, err
}

// requireGrantor lets through the platform, and a tenant's credential for the
// tenants below its own: nobody grants to themselves.
func (s *Service) requireGrantor(ctx context.Context, tenant id.Tenant) error {
	if err := access.Require(ctx, access.EntitlementsWrite, tenant); err != nil {
		return err
	}
	if who, _ := access.From(ctx); who.Tenant == tenant && !who.Platform() {
		return fault.New(fault.Forbidden, "own_entitlement", "A tenant does not grant products to itself: ask who is above you.")
	}
	return nil
}

// requireHeld reports whether the tenant whose credential asks is entitled to
// what it wants to grant.
func (s *Service) requireHeld(ctx context.Context, product string) error {
	who, _ := access.From(ctx)
	if who.Platform() {
		return nil
	}
	return s.db.ReadTenant(ctx, who.Tenant, func(tx pg.Tx) error {
		e, err := get(ctx, tx, who.Tenant, product)
		if pg.IsNoRows(err) {
			if err := productExists(ctx, tx, product); err != nil {
				return err
			}
			return errNotHeld(product)
		}
		if err == nil && e.ReasonAt(s.now()) != OK {
			err = errNotHeld(product)
		}
		return err
	})
}

func errNotHeld(products ...string) error {
	return fault.Conflict("grantor_not_entitled", "Your own tenant is not entitled to %s, so it can't grant it.", strings.Join(products, ", "))
}

func (s *Service) read(ctx context.Context, tenant id.Tenant, fn func(pg.Tx) error) error {
	if err := access.Require(ctx, access.EntitlementsRead, tenant); err != nil {
		return err
	}
	return s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		if _, err := effectiveStatus(ctx, tx, tenant); err != nil {
			return err // there is no such tenant
		}
		return fn(tx)
	})
}

func checkWritable(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	status, err := effectiveStatus(ctx, tx, tenant)
	if err != nil {
		return err
	}
	who, _ := access.From(ctx)
	return access.CheckWritable(status, who)
}

func checkVersion(e Entitlement, ifMatch time.Time) error {
	if !ifMatch.IsZero() && !e.UpdatedAt.Equal(ifMatch) {
		return fault.StaleVersion()
	}
	return nil
}

func same(a, b Entitlement) bool {
	end := a.ExpiresAt == nil && b.ExpiresAt == nil || a.ExpiresAt != nil && b.ExpiresAt != nil && a.ExpiresAt.Equal(*b.ExpiresAt)
	return end && a.Enabled == b.Enabled && a.Source == b.Source && reflect.DeepEqual(a.Config, b.Config)
}

// snapshot is an entitlement as the audit log keeps it. Of a configuration only
// the names of its fields: products may keep credentials in it.
func snapshot(e Entitlement) map[string]any {
	fields := make([]string, 0, len(e.Config))
	for k := range e.Config {
		fields = append(fields, k)
	}
	slices.Sort(fields)
	return map[string]any{"enabled": e.Enabled, "source": e.Source, "expires_at": e.ExpiresAt, "config_fields": fields}
}

func record(ctx context.Context, tx pg.Tx, action string, tenant id.Tenant, product string, changes map[string]any) error {
	changes["product"] = product
	err := audit.Record(ctx, tx, audit.Event{
		Action: action, TenantID: tenant, Metadata: changes,
		Target: audit.Target{Type: "entitlement", ID: product, Name: product},
	})
	if err != nil {
		return err
	}
	return note(ctx, tx, tenant)
}

func note(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: "entitlement", TenantID: tenant})
}
