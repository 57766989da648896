package entitlement_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/examples"
	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/entitlement"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}

// world is a database with both example catalogues, and a clock.
type world struct {
	*testing.T
	db  *pg.DB
	svc *entitlement.Service
	now time.Time
}

// applied is the one apply of the example catalogues to the database that the
// tests of this binary share.
var applied struct {
	sync.Once
	err error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, db: pgtest.New(t), now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	w.svc = entitlement.New(w.db, entitlement.WithClock(func() time.Time { return w.now }))
	applied.Do(func() { applied.err = apply(t.Context(), w.db) })
	if applied.err != nil {
		t.Fatal(applied.err)
	}
	return w
}

func apply(ctx context.Context, db *pg.DB) error {
	files, err := catalog.Files(examples.Catalogs, ".")
	if err != nil {
		return err
	}
	d, err := catalog.Load(examples.Catalogs, files...)
	if err != nil {
		return err
	}
	_, err = catalog.New(db).Apply(platform(context.WithoutCancel(ctx)), d, false)
	return err
}

func platform(ctx context.Context) context.Context {
	return access.With(ctx, access.Principal{Type: access.User, ID: "operator_test", Permissions: access.NewSet(access.All()...)})
}

// as acts with a credential of a tenant, which reaches the tenants in below too.
func as(ctx context.Context, tenant id.Tenant, below ...id.Tenant) context.Context {
	within := func(_ context.Context, t id.Tenant) (bool, error) {
		return slices.Contains(below, t), nil
	}
	return access.With(ctx, access.Principal{
		Type: access.APIKey, ID: "key_test", Tenant: tenant, Within: within,
		Permissions: access.NewSet(access.EntitlementsRead, access.EntitlementsWrite),
	})
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	err := w.db.AsOperator(w.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(w.Context(), sql, args...)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) count(sql string, args ...any) (n int) {
	w.Helper()
	err := w.db.ReadOperator(w.Context(), func(tx pg.Tx) error { return tx.QueryRow(w.Context(), sql, args...).Scan(&n) })
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// tenant makes one in a status, below others from the root down.
func (w *world) tenant(plan, status string, above ...id.Tenant) id.Tenant {
	w.Helper()
	v := id.New[id.Tenant]()
	if above == nil {
		above = []id.Tenant{}
	}
	var parent id.Tenant
	if len(above) > 0 {
		parent = above[len(above)-1]
	}
	w.exec(`INSERT INTO tenants (id, slug, name, plan, parent_id, ancestors) VALUES ($1, $2, 'T', $3, $4, $5)`,
		v, "t-"+v.Hex()[14:], plan, parent, above)
	w.setStatus(v, status)
	return v
}

func (w *world) setStatus(v id.Tenant, status string) {
	w.Helper()
	w.exec(`UPDATE tenants SET status = $2::text::tenant_status, frozen_at = NOW(), archived_at = NOW(), suspended_at = NOW(),
	               suspension_reason = 'test', status_before_suspension = 'active' WHERE id = $1`, v, status)
}

func (w *world) records(v id.Tenant) int {
	w.Helper()
	return w.count(`SELECT count(*) FROM audit_log WHERE tenant_id = $1`, v)
}

func (w *world) notes(v id.Tenant) int {
	w.Helper()
	return w.count(`SELECT count(*) FROM change_feed WHERE tenant_id = $1 AND kind = 'entitlement'`, v)
}

func (w *world) want(err error, code string) {
	w.Helper()
	if (err == nil) != (code == "") || err != nil && fault.CodeOf(err) != code {
		w.Errorf("got %v, want %q", err, code)
	}
}

type config = map[string]any

func TestPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	v := w.tenant("starter", "active")
	end := w.now.Add(time.Hour)
	p := entitlement.PutParams{TenantID: v, Product: "ai-workspace", Enabled: true, Config: config{"max_seats": 7.0}, ExpiresAt: &end}

	e, created, err := w.svc.Put(ctx, p)
	if err != nil || !created {
		t.Fatalf("%v, created %v", err, created)
	}
	if d := cmp.Diff(config{"max_seats": 7.0, "modules_enabled": []any{"chat"}}, e.EffectiveConfig()); d != "" {
		t.Error(d)
	}
	got, err := w.svc.Get(ctx, v, "ai-workspace")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
	if _, created, err = w.svc.Put(ctx, p); err != nil || created || w.records(v) != 1 || w.notes(v) != 1 {
		t.Errorf("the same again: %v, created %v, %d records, %d notes", err, created, w.records(v), w.notes(v))
	}

	p.IfMatch = e.UpdatedAt.Add(-time.Second)
	p.Enabled = false
	_, _, err = w.svc.Put(ctx, p)
	w.want(err, "stale_version")
	p.IfMatch = e.UpdatedAt
	after, created, err := w.svc.Put(ctx, p)
	if err != nil || created || after.Enabled || !after.UpdatedAt.After(e.UpdatedAt) || w.records(v) != 2 {
		t.Errorf("%+v %v %v, %d records", after, created, err, w.records(v))
	}
	_, _, err = w.svc.Put(ctx, entitlement.PutParams{TenantID: v, Product: "render", Enabled: true, IfMatch: e.UpdatedAt})
	w.want(err, "stale_version") // nothing is no version

	list, err := w.svc.List(ctx, v, page.Request{})
	if err != nil || len(list.Data) != 1 || list.Data[0].Product != "ai-workspace" {
		t.Errorf("%+v %v", list, err)
	}
	w.want(w.svc.Delete(ctx, v, "ai-workspace", e.UpdatedAt), "stale_version")
	w.want(w.svc.Delete(ctx, v, "ai-workspace", after.UpdatedAt), "")
	w.want(w.svc.Delete(ctx, v, "ai-workspace", time.Time{}), "entitlement_not_found")
	if w.records(v) != 3 || w.notes(v) != 3 {
		t.Errorf("%d records, %d notes of 3 changes", w.records(v), w.notes(v))
	}
}

func TestPut_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.tenant("starter", "active")
	ctx := platform(t.Context())
	for name, tc := range map[string]struct {
		change func(*entitlement.PutParams)
		code   string
		fields []string
	}{
		"no such product": {func(p *entitlement.PutParams) { p.Product = "nope" }, "product_not_found", nil},
		"no such tenant":  {func(p *entitlement.PutParams) { p.TenantID = id.New[id.Tenant]() }, "tenant_not_found", nil},
		"config": {
			func(p *entitlement.PutParams) {
				p.Config = config{"max_seats": "x", "a": 1, "modules_enabled": []any{"chat", 1}}
			}, "invalid_request",
			[]string{"config.a unknown_field", "config.max_seats wrong_type", "config.modules_enabled[1] not_one_of"},
		},
		"source plan":         {func(p *entitlement.PutParams) { p.Source = entitlement.Plan }, "invalid_request", []string{"source source_reserved"}},
		"source":              {func(p *entitlement.PutParams) { p.Source = "gift" }, "invalid_request", []string{"source not_one_of"}},
		"a trial without end": {func(p *entitlement.PutParams) { p.Source = entitlement.Trial }, "invalid_request", []string{"expires_at required"}},
		"a far end":           {func(p *entitlement.PutParams) { p.ExpiresAt = new(time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)) }, "invalid_request", []string{"expires_at out_of_range"}},
		"text with NUL":       {func(p *entitlement.PutParams) { p.Product = "ai-gateway"; p.Config = config{"models": []any{"a\x00"}} }, "invalid_text", nil},
	} {
		p := entitlement.PutParams{TenantID: v, Product: "ai-workspace", Enabled: true}
		tc.change(&p)
		_, _, err := w.svc.Put(ctx, p)
		var got []string
		for _, f := range fault.As(err).Fields {
			got = append(got, f.Field+" "+f.Code)
		}
		if d := cmp.Diff(tc.fields, got); d != "" || fault.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want %s: %s", name, err, tc.code, d)
		}
	}
	if w.records(v) != 0 {
		t.Error("a refusal was recorded")
	}
}

// The decision is made at the instant: one tick before its end an entitlement
// entitles, at its end it does not.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	parent := w.tenant("reseller", "active")
	v := w.tenant("starter", "active", parent)
	end := w.now.Add(time.Hour)
	check := func(reason entitlement.Reason, readOnly bool) {
		t.Helper()
		d, err := w.svc.Check(ctx, v, "ai-workspace")
		if err != nil || d.Reason != reason || d.Entitled != (reason == entitlement.OK) || d.ReadOnly != readOnly || (d.Config != nil) != d.Entitled {
			t.Errorf("got %+v, %v, want %s", d, err, reason)
		}
	}
	put := func(p entitlement.PutParams) {
		t.Helper()
		p.TenantID, p.Product = v, "ai-workspace"
		if _, _, err := w.svc.Put(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	check(entitlement.NotEntitled, false)
	put(entitlement.PutParams{Enabled: true, ExpiresAt: &end, Source: entitlement.Trial})
	check(entitlement.OK, false)
	w.now = end.Add(-time.Microsecond)
	check(entitlement.OK, false)
	w.now = end
	check(entitlement.Expired, false)
	put(entitlement.PutParams{Enabled: false})
	check(entitlement.Disabled, false)
	put(entitlement.PutParams{Enabled: true})
	for _, tc := range []struct {
		own, above string
		reason     entitlement.Reason
		readOnly   bool
	}{
		{"trial", "active", entitlement.OK, false},
		{"frozen", "active", entitlement.OK, true},
		{"active", "frozen", entitlement.OK, true},
		{"frozen", "suspended", entitlement.TenantSuspended, false},
		{"suspended", "demo", entitlement.TenantSuspended, false},
		{"active", "archived", entitlement.TenantArchived, false},
	} {
		w.setStatus(v, tc.own)
		w.setStatus(parent, tc.above)
		check(tc.reason, tc.readOnly)
	}
	_, err := w.svc.Check(ctx, v, "nope")
	w.want(err, "product_not_found")
	_, err = w.svc.Check(ctx, id.New[id.Tenant](), "render")
	w.want(err, "tenant_not_found")
}

func TestWritable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent := w.tenant("reseller", "active")
	v := w.tenant("starter", "active", parent)
	w.exec(`INSERT INTO tenant_products (tenant_id, product) VALUES ($1, 'render')`, parent)
	reseller := as(t.Context(), parent, v)
	enabled := true
	for _, tc := range []struct {
		own, above         string
		platform, reseller string
	}{
		{"active", "active", "", ""},
		{"frozen", "active", "tenant_frozen", "tenant_frozen"},
		{"suspended", "active", "", "tenant_suspended"},
		{"active", "suspended", "", "tenant_suspended"},
		{"archived", "active", "", "tenant_archived"},
	} {
		w.setStatus(v, tc.own)
		w.setStatus(parent, tc.above)
		for code, ctx := range map[*string]context.Context{&tc.platform: platform(t.Context()), &tc.reseller: reseller} {
			enabled = !enabled // each put changes something
			_, _, err := w.svc.Put(ctx, entitlement.PutParams{TenantID: v, Product: "render", Enabled: enabled})
			w.want(err, *code)
		}
	}
}

func TestReseller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, other := w.tenant("reseller", "active"), w.tenant("starter", "active")
	child := w.tenant("starter", "active", mine)
	ctx := as(t.Context(), mine, child)
	put := func(to id.Tenant, product string, enabled bool) error {
		_, _, err := w.svc.Put(ctx, entitlement.PutParams{TenantID: to, Product: product, Enabled: enabled})
		return err
	}
	end := w.now.Add(time.Hour)
	w.exec(`INSERT INTO tenant_products (tenant_id, product, expires_at) VALUES ($1, 'render', $2)`, mine, end)

	w.want(put(child, "render", true), "")
	w.want(put(child, "ai-gateway", true), "grantor_not_entitled")
	w.want(put(child, "nope", true), "product_not_found")
	w.want(put(child, "ai-gateway", false), "") // withholding needs nothing
	w.want(put(mine, "render", true), "own_entitlement")
	w.want(put(other, "render", true), "tenant_not_found")
	w.want(w.svc.Delete(ctx, mine, "render", time.Time{}), "own_entitlement")
	_, err := w.svc.Get(ctx, other, "render")
	w.want(err, "tenant_not_found")
	_, err = w.svc.Get(ctx, mine, "render")
	w.want(err, "")
	_, err = w.svc.Holders(ctx, "render", page.Request{})
	w.want(err, "platform_only")

	plan := func(name string) error {
		return w.db.AsOperator(ctx, func(tx pg.Tx) error {
			_, err := w.svc.ApplyPlan(ctx, tx, child, name)
			return err
		})
	}
	w.want(plan("starter"), "")
	w.want(plan("reseller"), "grantor_not_entitled") // has studio too
	w.now = end
	w.want(put(child, "render", true), "grantor_not_entitled")
	w.want(plan("starter"), "grantor_not_entitled")
}

func TestApplyPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	v := w.tenant("starter", "active")
	plan := func(name string) entitlement.Given {
		t.Helper()
		var g entitlement.Given
		err := w.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
			if _, err := tx.Exec(ctx, `UPDATE tenants SET plan = $2 WHERE id = $1`, v, name); err != nil {
				return err
			}
			g, err = w.svc.ApplyPlan(ctx, tx, v, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	state := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		list, err := w.svc.List(ctx, v, page.Request{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Data {
			b, _ := json.Marshal(e.Config)
			out[e.Product] = string(e.Source) + " " + string(b)
		}
		return out
	}
	check := func(want map[string]string) {
		t.Helper()
		if d := cmp.Diff(want, state()); d != "" {
			t.Error(d)
		}
	}
	if g := plan("starter"); g != (entitlement.Given{TrialDays: 14, Changed: true}) {
		t.Errorf("%+v", g)
	}
	check(map[string]string{"render": "plan {}"})
	if g := plan("starter"); g.Changed || w.notes(v) != 1 {
		t.Errorf("the same plan again: %+v, %d notes", g, w.notes(v))
	}
	limit := `SELECT COALESCE(limit_value, -1) FROM tenant_limits WHERE tenant_id = $1 AND meter = $2`
	if n := w.count(limit, v, "storage_bytes"); n != 5e9 {
		t.Errorf("storage: %d", n)
	}

	// Overrides of products and limits survive; a trial gives way to a plan that
	// has the product, and survives one that has not.
	w.exec(`UPDATE tenant_limits SET source = 'override', limit_value = 9 WHERE tenant_id = $1 AND meter = 'users'`, v)
	end := w.now.Add(time.Hour)
	for product, source := range map[string]entitlement.Source{"studio": entitlement.Trial, "ai-gateway": entitlement.Trial, "ai-workspace": entitlement.Override} {
		if _, _, err := w.svc.Put(ctx, entitlement.PutParams{TenantID: v, Product: product, Enabled: true, Source: source, ExpiresAt: &end}); err != nil {
			t.Fatal(err)
		}
	}
	plan("enterprise")
	check(map[string]string{
		"render": `plan {"max_parallel_renders":100,"output_formats":["mp4","webm","mov","gif"],"priority":"high"}`,
		"studio": `plan {"embed":true}`, "ai-gateway": "trial {}", "ai-workspace": "override {}",
	})
	if n := w.count(limit, v, "users"); n != 9 {
		t.Errorf("the override of users is %d", n)
	}
	if n := w.count(limit, v, "storage_bytes"); n != -1 {
		t.Errorf("storage is %d, not unlimited", n)
	}
	plan("demo")
	check(map[string]string{"ai-gateway": "plan {}", "ai-workspace": "override {}"})
	if n := w.count(`SELECT count(*) FROM tenant_limits WHERE tenant_id = $1`, v); n != 2 {
		t.Errorf("%d limits", n)
	}

	// Without its override a product is what the plan says; the plan's own can't go.
	if err := w.svc.Delete(ctx, v, "ai-workspace", time.Time{}); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"ai-gateway": "plan {}", "ai-workspace": `plan {"max_seats":3,"modules_enabled":["chat","documents"]}`})
	w.want(w.svc.Delete(ctx, v, "ai-workspace", time.Time{}), "entitlement_from_plan")

	// A plan that was edited reaches its tenants when it is applied again.
	w.exec(`DELETE FROM tenant_products WHERE tenant_id = $1 AND product = 'ai-gateway'`, v)
	before := w.records(v)
	for _, want := range []bool{true, false} {
		if name, changed, err := w.svc.Reapply(ctx, v); err != nil || name != "demo" || changed != want {
			t.Errorf("%s %v %v", name, changed, err)
		}
	}
	check(map[string]string{"ai-gateway": "plan {}", "ai-workspace": `plan {"max_seats":3,"modules_enabled":["chat","documents"]}`})
	if n := w.records(v) - before; n != 1 {
		t.Errorf("%d records of one change", n)
	}

	err := w.db.AsOperator(ctx, func(tx pg.Tx) error {
		_, err := w.svc.ApplyPlan(ctx, tx, v, "nope")
		return err
	})
	if f := fault.As(err); f.Code != "invalid_request" || f.Fields[0].Code != "plan_not_found" || f.Fields[0].Field != "plan" {
		t.Errorf("got %v", err)
	}
}

func TestHolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	w.exec(`INSERT INTO products (name, title) VALUES ('holders-test', 'T')`)
	var want, got []id.Tenant
	for range 5 {
		v := w.tenant("starter", "active")
		want = append(want, v)
		if _, _, err := w.svc.Put(ctx, entitlement.PutParams{TenantID: v, Product: "holders-test", Enabled: true}); err != nil {
			t.Fatal(err)
		}
	}
	for r := (page.Request{Limit: 2}); ; {
		p, err := w.svc.Holders(ctx, "holders-test", r)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range p.Data {
			got = append(got, h.TenantID)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err := w.svc.Holders(ctx, "nope", page.Request{})
	w.want(err, "product_not_found")
}

// Of many that put at once with the same version, one wins.
func TestPut_atOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	v := w.tenant("starter", "active")
	p := entitlement.PutParams{TenantID: v, Product: "ai-workspace", Enabled: true}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := w.svc.Put(ctx, p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.records(v); n != 1 {
		t.Errorf("%d records of one change", n)
	}
	e, err := w.svc.Get(ctx, v, "ai-workspace")
	if err != nil {
		t.Fatal(err)
	}
	p.IfMatch = e.UpdatedAt
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			p := p
			p.Config = config{"max_seats": float64(i + 1)}
			switch _, _, err := w.svc.Put(ctx, p); {
			case err == nil:
				mu.Lock()
				won++
				mu.Unlock()
			case fault.CodeOf(err) != "stale_version":
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.tenant("starter", "active")
	for name, ctx := range map[string]context.Context{
		"credential_required": t.Context(),
		"permission_denied":   access.With(t.Context(), access.Principal{Tenant: v, Permissions: access.NewSet(access.TenantsRead)}),
		"tenant_not_found":    as(t.Context(), w.tenant("starter", "active")),
	} {
		_, _, err := w.svc.Put(ctx, entitlement.PutParams{TenantID: v, Product: "render"})
		w.want(err, name)
		_, err = w.svc.Get(ctx, v, "render")
		w.want(err, name)
		_, err = w.svc.List(ctx, v, page.Request{})
		w.want(err, name)
		_, err = w.svc.Check(ctx, v, "render")
		w.want(err, name)
		_, _, err = w.svc.Reapply(ctx, v)
		w.want(err, name)
		w.want(w.svc.Delete(ctx, v, "render", time.Time{}), name)
	}
}
