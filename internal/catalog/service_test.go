package catalog_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".", "used") // used is the beginning of others
}

// operator acts as somebody of the platform.
func operator(ctx context.Context, perms ...access.Permission) context.Context {
	if perms == nil {
		perms = access.All()
	}
	return access.With(ctx, access.Principal{Type: access.User, ID: "operator_test", Permissions: access.NewSet(perms...)})
}

// exec runs a statement in operator scope.
func exec(t *testing.T, db *pg.DB, sql string, args ...any) {
	t.Helper()
	err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *pg.DB, sql string, args ...any) (n int) {
	t.Helper()
	err := db.ReadOperator(t.Context(), func(tx pg.Tx) error { return tx.QueryRow(t.Context(), sql, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tenant(t *testing.T, db *pg.DB, slug, plan string) id.Tenant {
	t.Helper()
	v := id.New[id.Tenant]()
	exec(t, db, `INSERT INTO tenants (id, slug, name, status, plan) VALUES ($1, $2, $2, 'active', $3)`, v, slug, plan)
	return v
}

const applies = `SELECT count(*) FROM audit_log WHERE action = 'catalog.applied'`

// The whole life of a catalogue: both examples, alone, together, one after the
// other, with tenants in the way.
func TestApply_examples(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := catalog.New(db)
	ctx := operator(t.Context())
	media, ai := example(t, "media-reseller"), example(t, "ai-platform")

	dry, err := s.Apply(ctx, media, true)
	if err != nil {
		t.Fatal(err)
	}
	if d, _, err := s.Current(ctx); err != nil || len(d.Products) > 0 || count(t, db, applies) != 0 {
		t.Fatalf("a dry run wrote: %v %v", d.Products, err)
	}
	done, err := s.Apply(ctx, media, false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(dry.Changes, done.Changes); d != "" || done.Version != 1 {
		t.Errorf("version %d; the dry run told otherwise: %s", done.Version, d)
	}
	back, state, err := s.Current(ctx)
	if err != nil || state.Version != 1 || state.AppliedBy != "user:operator_test" {
		t.Fatalf("%v %v", state, err)
	}
	if left := catalog.Diff(back, media); len(left) > 0 {
		t.Errorf("what was written is not what was read: %+v", left)
	}

	again, err := s.Apply(ctx, media, false)
	if err != nil || len(again.Changes) > 0 || again.Version != 1 || count(t, db, applies) != 1 {
		t.Errorf("the second apply: %+v, %v, %d records", again, err, count(t, db, applies))
	}

	// Both together, then back to one: nothing is in use.
	for _, d := range []catalog.Document{example(t, "."), ai, media} {
		if _, err := s.Apply(ctx, d, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db, applies); n != 4 {
		t.Errorf("%d records of 4 applies", n)
	}
	p, err := s.Plan(ctx, "starter")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(media.Plans[0], p, cmpopts.IgnoreFields(catalog.Plan{}, "CreatedAt", "UpdatedAt"), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if n := count(t, db, `SELECT limit_value FROM plan_limits WHERE plan = 'starter' AND meter = 'storage_bytes'`); n != 5_000_000_000 {
		t.Errorf("5 GB are stored as %d bytes", n)
	}

	// With tenants in the way, media can't go.
	for _, slug := range []string{"one", "two"} {
		v := tenant(t, db, slug, "reseller")
		exec(t, db, `INSERT INTO tenant_products (tenant_id, product, config) VALUES ($1, 'render', '{"max_parallel_renders": 5}')`, v)
		exec(t, db, `INSERT INTO tenant_limits (tenant_id, meter, period, limit_value) VALUES ($1, 'users', 'total', 7)`, v)
		exec(t, db, `INSERT INTO tenant_rate_limits (tenant_id, name, product, limit_value, window_secs) VALUES ($1, 'renders', 'render', 7, 60)`, v)
		exec(t, db, `INSERT INTO tenant_settings (tenant_id, "values") VALUES ($1, '{"allow_4k": true}')`, v)
		exec(t, db, `INSERT INTO tenant_webhooks (tenant_id, name, url, events, secret_encrypted) VALUES ($1, 'x', 'https://example.com', '{render.failed}', '')`, v)
		exec(t, db, `INSERT INTO tenant_usage_daily (tenant_id, usage_date, meter, value) VALUES ($1, '2026-01-01', 'api_calls', 7)`, v)
	}
	_, err = s.Apply(ctx, ai, false)
	f := fault.As(err)
	var got []string
	for _, x := range f.Fields {
		got = append(got, x.Field+" "+x.Code+" "+x.Message)
	}
	if d := cmp.Diff([]string{
		"product.render in_use 2 tenants entitled to it: one, two.",
		"product.render in_use 2 tenants with rate limits of it: one, two.",
		"meter.api_calls in_use 2 tenants with usage of it: one, two.",
		"meter.users in_use 2 tenants with limits on it: one, two.",
		"setting.allow_4k in_use 2 tenants that set it: one, two.",
		"event_type.render.failed in_use 2 tenants with webhooks that want it: one, two.",
		"plan.reseller in_use 2 tenants on it: one, two.",
	}, got); d != "" || f.Code != "catalog_in_use" || f.Kind != fault.ConflictKind {
		t.Errorf("%v: %s", err, d)
	}
	if n := count(t, db, `SELECT count(*) FROM products WHERE name LIKE 'ai-%'`); n != 0 || count(t, db, applies) != 4 {
		t.Error("a refused apply left something behind")
	}
	if dry, err := s.Apply(ctx, ai, true); err != nil || len(dry.InUse) != 7 {
		t.Errorf("the dry run says %+v, %v", dry.InUse, err)
	}

	// A limit goes without its meter going.
	less := example(t, "media-reseller")
	for i := range less.Meters {
		if less.Meters[i].Name == "users" {
			less.Meters[i].Limits = nil
		}
	}
	for i := range less.Plans {
		delete(less.Plans[i].Limits, "max_users")
	}
	if _, err = s.Apply(ctx, less, false); !strings.Contains(err.Error(), "limit.max_users: 2 tenants with this limit: one, two. (in_use)") {
		t.Errorf("got %v", err)
	}

	// A schema that tenants' configurations break.
	tight := example(t, "media-reseller")
	properties := tight.Products[0].ConfigSchema["properties"].(map[string]any)
	properties["max_parallel_renders"] = map[string]any{"type": "integer", "maximum": 4}
	for i := range tight.Plans {
		tight.Plans[i].Products = map[string]catalog.PlanProduct{"render": {}}
	}
	_, err = s.Apply(ctx, tight, false)
	if want := "product.render: 2 tenants whose configuration the new schema refuses: one (config.max_parallel_renders), two (config.max_parallel_renders). (config_invalid)"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func TestApply_starterStays(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := catalog.New(db)
	ctx := operator(t.Context())
	if first, err := s.Apply(ctx, catalog.Document{}, false); err != nil || len(first.Changes) != 0 {
		t.Fatalf("an empty catalogue on an empty registry: %+v, %v", first, err)
	}
	mine := catalog.Document{Plans: []catalog.Plan{{Name: "starter", Title: "Free", TrialDays: 3}}}
	if _, err := s.Apply(ctx, mine, false); err != nil {
		t.Fatal(err)
	}
	tenant(t, db, "one", "starter")
	if _, err := s.Apply(ctx, catalog.Document{}, false); err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(ctx, "starter")
	if err != nil || p.Title != "Starter" || p.TrialDays != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// Two that apply at once take turns: the second finds nothing left to do.
func TestApply_atOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := catalog.New(db)
	ctx := operator(t.Context())
	media := example(t, "media-reseller")
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Apply(ctx, media, false) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if n := count(t, db, applies); n != 1 {
		t.Errorf("%d records of one change", n)
	}
}

// What is put to use between the check and the delete is caught by its foreign key.
func TestApply_usedMeanwhile(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := catalog.New(db)
	ctx := operator(t.Context())
	if _, err := s.Apply(ctx, catalog.Document{Products: []catalog.Product{{Name: "render", Title: "R"}}}, false); err != nil {
		t.Fatal(err)
	}
	v := tenant(t, db, "one", "starter")
	granted, hold := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.AsOperator(ctx, func(tx pg.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO tenant_products (tenant_id, product) VALUES ($1, 'render')`, v); err != nil {
				return err
			}
			close(granted)
			<-hold
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-granted
	wg.Go(func() {
		if _, err := s.Apply(ctx, catalog.Document{}, false); fault.CodeOf(err) != "catalog_in_use" {
			t.Errorf("got %v", err)
		}
	})
	// The apply waits for the row that the other transaction holds; only then let it go.
	for count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted`) == 0 {
		if t.Context().Err() != nil {
			break
		}
	}
	close(hold)
	wg.Wait()
}

func TestAccess(t *testing.T) {
	t.Parallel()
	s := catalog.New(pgtest.New(t))
	apply := func(ctx context.Context) error { _, err := s.Apply(ctx, catalog.Document{}, false); return err }
	read := func(ctx context.Context) error { _, err := s.Products(ctx, page.Request{}); return err }
	key := access.With(t.Context(), access.Principal{Type: access.APIKey, Tenant: id.New[id.Tenant](), Permissions: access.NewSet(access.CatalogRead, access.CatalogWrite)})
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"apply: nobody":          {apply(t.Context()), "credential_required"},
		"apply: a tenant":        {apply(key), "platform_only"},
		"apply: no permission":   {apply(operator(t.Context(), access.CatalogRead)), "permission_denied"},
		"read: nobody":           {read(t.Context()), "credential_required"},
		"read: no permission":    {read(operator(t.Context(), access.TenantsRead)), "permission_denied"},
		"read: a tenant may":     {read(key), ""},
		"get: not there":         {func() error { _, err := s.Product(key, "nope"); return err }(), "product_not_found"},
		"list: a foreign cursor": {func() error { _, err := s.Plans(key, page.Request{Cursor: page.Encode("meters", "x")}); return err }(), "cursor_malformed"},
	} {
		if (tc.err == nil) != (tc.want == "") || tc.err != nil && fault.CodeOf(tc.err) != tc.want {
			t.Errorf("%s: got %v, want %s", name, tc.err, tc.want)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := catalog.New(db)
	ctx := operator(t.Context())
	for range 2 { // a second replica
		if err := s.Seed(ctx); err != nil {
			t.Fatal(err)
		}
	}
	media := example(t, "media-reseller")
	if _, err := s.Apply(ctx, media, false); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := (page.Request{Limit: 4}); ; {
		p, err := s.Meters(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Data {
			names = append(names, m.Name)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if len(names) != len(media.Meters) || !slices.IsSorted(names) {
		t.Errorf("got %v", names)
	}
	products, err := s.Products(ctx, page.Request{})
	if err != nil || len(products.Data) != 2 || products.Data[0].Name != "render" || len(products.Data[0].Scopes) != 6 {
		t.Errorf("%+v %v", products, err)
	}
	plans, err := s.Plans(ctx, page.Request{})
	if err != nil || len(plans.Data) != 3 || plans.Data[0].Limits["max_users"] != nil || len(plans.Data[0].Limits) != 4 {
		t.Errorf("%+v %v", plans, err)
	}
	settings, err := s.Settings(ctx, page.Request{})
	if err != nil || len(settings.Data) != len(media.Settings) {
		t.Errorf("%+v %v", settings, err)
	}
	events, err := s.EventTypes(ctx, page.Request{Limit: 200})
	if err != nil || len(events.Data) != len(media.EventTypes)+len(catalog.BuiltInEventTypes()) {
		t.Errorf("%d event types, %v", len(events.Data), err)
	}
	for _, e := range events.Data {
		if e.BuiltIn == strings.HasPrefix(e.Name, "render.") {
			t.Errorf("%s: built in: %v", e.Name, e.BuiltIn)
		}
	}
}
