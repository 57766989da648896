package catalog

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Service is the catalogue's operations. It is safe for concurrent use.
type Service struct {
	db     *pg.DB
	now    func() time.Time
	events atomic.Pointer[eventRules] // in memory
}

// Option changes a Service.
type Option func(*Service)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

// constraints catch what is put to use between the check and the delete.
var constraints = pg.Constraints{
	"tenant_products_product_fkey":    errInUse(),
	"api_keys_product_fkey":           errInUse(),
	"tenant_rate_limits_product_fkey": errInUse(),
	"tenants_plan_fkey":               errInUse(),
	"tenant_limits_meter_fkey":        errInUse(),
}

func errInUse(uses ...Use) *fault.Error {
	e := fault.Conflict("catalog_in_use", "The catalogue would lose what tenants use. Keep it, or take it from them first.")
	for _, u := range uses {
		e.Fields = append(e.Fields, u.field())
	}
	return e
}

func (u Use) field() fault.Field {
	at := u.Kind + "." + u.Name
	if u.Breaks {
		return fault.Field{Field: at, Code: "config_invalid", Message: u.String()}
	}
	return fault.Field{Field: at, Code: "in_use", Message: u.String()}
}

// New returns the catalogue's operations over a database.
func New(db *pg.DB, opts ...Option) *Service {
	s := &Service{db: db.With(constraints), now: time.Now}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Seed makes the built-in event types known. A replica calls it when it starts;
// it writes nothing that is already there.
func (s *Service) Seed(ctx context.Context) error {
	return s.db.AsOperator(ctx, func(tx pg.Tx) error {
		b := &pg.Batch{}
		for _, e := range BuiltInEventTypes() {
			b.Queue(seedEventType, e.Name, e.Description, e.Schema)
		}
		return pg.Send(ctx, tx, b)
	})
}

// Applied is what an apply did, or, of a dry run, would do.
type Applied struct {
	Version int64 // of the catalogue; a dry run and an apply without changes leave it
	Changes []Change
	// InUse says why an apply would be refused. Only a dry run returns it; an apply
	// fails with catalog_in_use.
	InUse []Use
}

// Use is one reason why a change is refused: an object that tenants use.
type Use struct {
	Kind    string // as in Change, or "limit"
	Name    string
	Breaks  bool     // not removed, but its new schema refuses what tenants have
	What    string   // "entitled to it"
	Tenants int64    // how many
	First   []string // slugs of the first five
}

// String gives a sentence for people.
func (u Use) String() string {
	noun := "tenants"
	if u.Tenants == 1 {
		noun = "tenant"
	}
	more := ""
	if int64(len(u.First)) < u.Tenants {
		more = ", …"
	}
	return fmt.Sprintf("%d %s %s: %s%s.", u.Tenants, noun, u.What, strings.Join(u.First, ", "), more)
}

// Apply makes d the catalogue. What d does not have is removed, except the plan
// starter, which goes back to being empty, and landlord's own event types. It
// refuses to remove what tenants use, and to change a product's schema so that a
// tenant's configuration breaks it.
//
// Applying the same document again changes nothing and records nothing.
func (s *Service) Apply(ctx context.Context, d Document, dryRun bool) (Applied, error) {
	if err := access.RequirePlatform(ctx, access.CatalogWrite); err != nil {
		return Applied{}, err
	}
	if err := d.Validate(); err != nil {
		return Applied{}, err
	}
	d = d.withBuiltIns()
	run := s.db.AsOperator
	if dryRun {
		run = s.db.ReadOperator
	}
	var out Applied
	err := run(ctx, func(tx pg.Tx) (err error) {
		out, err = s.apply(ctx, tx, d, dryRun)
		return err
	})
	return out, err
}

func (s *Service) apply(ctx context.Context, tx pg.Tx, d Document, dryRun bool) (Applied, error) {
	lock := lockState
	if dryRun {
		lock = selectState
	}
	state, err := pg.One[State](ctx, tx, lock)
	if err != nil {
		return Applied{}, err
	}
	now, err := readDocument(ctx, tx)
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Version: state.Version, Changes: Diff(now, d)}
	if len(out.Changes) == 0 {
		return out, nil
	}
	if !dryRun {
		// Before the checks: the rows of changed products are then locked against
		// entitlements that still go by the old schema.
		if err := writeDocument(ctx, tx, d, out.Changes); err != nil {
			return Applied{}, err
		}
	}
	if out.InUse, err = inUse(ctx, tx, now, d, out.Changes); err != nil {
		return Applied{}, err
	}
	if dryRun {
		return out, nil
	}
	if len(out.InUse) > 0 {
		return Applied{}, errInUse(out.InUse...)
	}
	if err := deleteObjects(ctx, tx, out.Changes); err != nil {
		return Applied{}, err
	}
	who, _ := access.From(ctx)
	state, err = pg.One[State](ctx, tx, bumpState, string(who.Type)+":"+who.ID, s.now().UTC())
	if err != nil {
		return Applied{}, err
	}
	out.Version = state.Version
	err = audit.Record(ctx, tx, audit.Event{
		Action: "catalog.applied", CRUD: "u", Metadata: summary(out.Changes),
		Target: audit.Target{Type: "catalog", ID: fmt.Sprint(state.Version), Name: fmt.Sprintf("version %d", state.Version)},
	})
	if err != nil {
		return Applied{}, err
	}
	return out, changefeed.Note(ctx, tx, changefeed.Change{Kind: "catalog"})
}

// summary names what changed: {"version": …, "create": ["product render"], …}.
func summary(changes []Change) map[string]any {
	byOp := map[Op][]string{}
	for _, c := range changes {
		byOp[c.Op] = append(byOp[c.Op], c.Kind+" "+c.Name)
	}
	out := map[string]any{}
	for op, names := range byOp {
		out[string(op)] = names
	}
	return out
}

// inUse finds the reasons to refuse: removed objects and limits that tenants
// use, and changed schemas that a tenant's configuration breaks.
func inUse(ctx context.Context, tx pg.Tx, before, after Document, changes []Change) ([]Use, error) {
	var out []Use
	ask := func(u Use, sql string, args ...any) error {
		row, err := pg.One[useRow](ctx, tx, sql, args...)
		if err == nil && row.Tenants > 0 {
			u.Tenants, u.First = row.Tenants, row.First
			out = append(out, u)
		}
		return err
	}
	removed := map[string]bool{}
	for _, c := range changes {
		switch {
		case c.Op == Remove:
			removed[c.Kind+" "+c.Name] = true
			for _, by := range usedBy[c.Kind] {
				if err := ask(Use{Kind: c.Kind, Name: c.Name, What: by.what}, by.sql, c.Name); err != nil {
					return nil, err
				}
			}
		case c.Op == Update && c.Kind == "product" && c.touches("config_schema", "default_config"):
			u, err := brokenConfigs(ctx, tx, after.product(c.Name))
			if err != nil {
				return nil, err
			}
			if u.Tenants > 0 {
				out = append(out, u)
			}
		}
	}
	// A limit has no row of its own: tenants' limits go by its meter and period.
	kept := map[string]bool{}
	for _, m := range after.Meters {
		for _, l := range m.Limits {
			kept[m.Name+" "+string(l.Period)] = true
		}
	}
	for _, m := range before.Meters {
		for _, l := range m.Limits {
			if kept[m.Name+" "+string(l.Period)] || removed["meter "+m.Name] {
				continue
			}
			if err := ask(Use{Kind: "limit", Name: l.Name, What: "with this limit"}, usedLimit, m.Name, l.Period); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (c Change) touches(fields ...string) bool {
	for _, f := range c.Fields {
		for _, name := range fields {
			if f.Field == name || strings.HasPrefix(f.Field, name+".") {
				return true
			}
		}
	}
	return false
}

func (d Document) product(name string) Product {
	for _, p := range d.Products {
		if p.Name == name {
			return p
		}
	}
	return Product{}
}

// brokenConfigs checks every tenant's configuration of a product against its new
// schema and defaults.
func brokenConfigs(ctx context.Context, tx pg.Tx, p Product) (Use, error) {
	u := Use{Kind: "product", Name: p.Name, Breaks: true, What: "whose configuration the new schema refuses"}
	schema, err := CompileSchema(p.ConfigSchema)
	if err != nil || schema == nil {
		return u, err
	}
	rows, err := tx.Query(ctx, configsOfProduct, p.Name)
	if err != nil {
		return u, err
	}
	defer rows.Close()
	for rows.Next() {
		var slug string
		var config map[string]any
		if err := rows.Scan(&slug, &config); err != nil {
			return u, err
		}
		var broken fault.Fields
		if schema.Validate(&broken, "config", p.EffectiveConfig(config)); len(broken) == 0 {
			continue
		}
		if u.Tenants++; len(u.First) < 5 {
			u.First = append(u.First, fmt.Sprintf("%s (%s)", slug, broken[0].Field))
		}
	}
	return u, rows.Err()
}

// Current returns the catalogue as a document that Apply would take, and its state.
func (s *Service) Current(ctx context.Context) (Document, State, error) {
	var d Document
	var state State
	err := s.read(ctx, func(tx pg.Tx) (err error) {
		if state, err = pg.One[State](ctx, tx, selectState); err != nil {
			return err
		}
		d, err = readDocument(ctx, tx)
		return err
	})
	return d, state, err
}

// Product returns a product by name.
func (s *Service) Product(ctx context.Context, name string) (Product, error) {
	return get[Product](ctx, s, getProduct, name, fault.NotFound("product"))
}

// Plan returns a plan by name.
func (s *Service) Plan(ctx context.Context, name string) (Plan, error) {
	return get[Plan](ctx, s, getPlan, name, fault.NotFound("plan"))
}

// Products lists the products by name.
func (s *Service) Products(ctx context.Context, r page.Request) (page.Page[Product], error) {
	return list(ctx, s, "products", listProducts, r, func(p Product) string { return p.Name })
}

// Plans lists the plans by name.
func (s *Service) Plans(ctx context.Context, r page.Request) (page.Page[Plan], error) {
	return list(ctx, s, "plans", listPlans, r, func(p Plan) string { return p.Name })
}

// Meters lists the meters by name.
func (s *Service) Meters(ctx context.Context, r page.Request) (page.Page[Meter], error) {
	return list(ctx, s, "meters", listMeters, r, func(m Meter) string { return m.Name })
}

// Settings lists the setting definitions by name.
func (s *Service) Settings(ctx context.Context, r page.Request) (page.Page[Setting], error) {
	return list(ctx, s, "setting_definitions", listSettings, r, func(v Setting) string { return v.Name })
}

// EventTypes lists the event types by name, landlord's own among them.
func (s *Service) EventTypes(ctx context.Context, r page.Request) (page.Page[EventType], error) {
	return list(ctx, s, "event_types", listEventTypes, r, func(e EventType) string { return e.Name })
}

// read runs fn for everybody who may read the catalogue: it belongs to no tenant.
func (s *Service) read(ctx context.Context, fn func(pg.Tx) error) error {
	if _, err := access.RequireAny(ctx, access.CatalogRead); err != nil {
		return err
	}
	return s.db.ReadOperator(ctx, fn)
}

func get[T any](ctx context.Context, s *Service, sql, name string, none *fault.Error) (v T, err error) {
	err = s.read(ctx, func(tx pg.Tx) error {
		if v, err = pg.One[T](ctx, tx, sql, name); pg.IsNoRows(err) {
			return none
		}
		return err
	})
	return v, err
}

func list[T any](ctx context.Context, s *Service, of, sql string, r page.Request, key func(T) string) (p page.Page[T], err error) {
	if err := r.Validate(); err != nil {
		return p, err
	}
	after, _, err := page.Decode[string](of, r.Cursor)
	if err != nil {
		return p, err
	}
	err = s.read(ctx, func(tx pg.Tx) error {
		rows, err := pg.Collect[T](ctx, tx, sql, after, r.Size()+1)
		p = page.Of(of, r, rows, key)
		return err
	})
	return p, err
}
