package project_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/project"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}

// world is a tenant that is entitled to a product with projects, and a clock.
type world struct {
	*testing.T
	db     *pg.DB
	svc    *project.Service
	now    time.Time
	tenant id.Tenant
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, db: pgtest.New(t), now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	w.svc = project.New(w.db, project.WithClock(func() time.Time { return w.now }))
	w.exec(`INSERT INTO products (name, title, supports_projects) VALUES ('with-projects', 'T', TRUE), ('without', 'T', FALSE) ON CONFLICT DO NOTHING`)
	w.tenant = w.newTenant()
	w.exec(`INSERT INTO tenant_products (tenant_id, product) VALUES ($1, 'with-projects')`, w.tenant)
	return w
}

func (w *world) newTenant() id.Tenant {
	w.Helper()
	v := id.New[id.Tenant]()
	w.exec(`INSERT INTO tenants (id, slug, name, status) VALUES ($1, $2, 'T', 'active')`, v, "t-"+v.Hex()[14:])
	return v
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

func (w *world) records() int {
	return w.count(`SELECT count(*) FROM audit_log WHERE tenant_id = $1`, w.tenant)
}

func (w *world) want(err error, code string) {
	w.Helper()
	if (err == nil) != (code == "") || err != nil && fault.CodeOf(err) != code {
		w.Errorf("got %v, want %q", err, code)
	}
}

func (w *world) create(name string) project.Project {
	w.Helper()
	p, err := w.svc.Create(platform(w.Context()), project.CreateParams{TenantID: w.tenant, Name: name})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func platform(ctx context.Context) context.Context {
	return access.With(ctx, access.Principal{Type: access.User, ID: "operator_test", Permissions: access.NewSet(access.All()...)})
}

func as(ctx context.Context, tenant id.Tenant, perms ...access.Permission) context.Context {
	return access.With(ctx, access.Principal{Type: access.APIKey, ID: "key_test", Tenant: tenant, Permissions: access.NewSet(perms...)})
}

func ref(p project.Project) project.Ref { return project.Ref{ID: p.ID} }

func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := as(t.Context(), w.tenant, access.ProjectsRead, access.ProjectsWrite)
	p, err := w.svc.Create(ctx, project.CreateParams{TenantID: w.tenant, Name: " Spring Campaign ", Description: "all of it", Metadata: map[string]any{"a": "1", "b": nil}})
	if err != nil {
		t.Fatal(err)
	}
	want := project.Project{
		ID: p.ID, TenantID: w.tenant, Name: "Spring Campaign", Slug: "spring-campaign", Description: "all of it",
		Status: project.Active, Metadata: map[string]any{"a": "1"}, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	for _, r := range []project.Ref{{ID: p.ID}, {Slug: "spring-campaign"}} {
		got, err := w.svc.Get(ctx, w.tenant, r)
		if d := cmp.Diff(p, got); err != nil || d != "" {
			t.Error(err, d)
		}
	}

	u := project.UpdateParams{Name: patch.Set("Spring"), Metadata: patch.Set(map[string]any{"a": nil, "c": 2.0}), Description: patch.Null[string](), IfMatch: p.UpdatedAt}
	q, err := w.svc.Update(ctx, w.tenant, ref(p), u)
	want.Name, want.Description, want.Metadata, want.UpdatedAt = "Spring", "", map[string]any{"c": 2.0}, q.UpdatedAt
	if d := cmp.Diff(want, q); err != nil || d != "" || !q.UpdatedAt.After(p.UpdatedAt) {
		t.Error(err, d)
	}
	_, err = w.svc.Update(ctx, w.tenant, ref(p), u)
	w.want(err, "stale_version")
	u.IfMatch = time.Time{}
	if same, err := w.svc.Update(ctx, w.tenant, ref(p), u); err != nil || !same.UpdatedAt.Equal(q.UpdatedAt) || w.records() != 2 {
		t.Errorf("the same update again: %+v, %v, %d records", same, err, w.records())
	}

	a, err := w.svc.Archive(ctx, w.tenant, ref(p), q.UpdatedAt)
	if err != nil || a.Status != project.Archived || !a.ArchivedAt.Equal(w.now) {
		t.Errorf("%+v %v", a, err)
	}
	_, err = w.svc.Archive(ctx, w.tenant, ref(p), time.Time{})
	w.want(err, "project_archived")
	_, err = w.svc.Update(ctx, w.tenant, ref(p), project.UpdateParams{Name: patch.Set("X")})
	w.want(err, "project_archived")
	r, err := w.svc.Restore(ctx, w.tenant, ref(p), time.Time{})
	if err != nil || r.Status != project.Active || r.ArchivedAt != nil {
		t.Errorf("%+v %v", r, err)
	}
	_, err = w.svc.Restore(ctx, w.tenant, ref(p), time.Time{})
	w.want(err, "project_active")
	if w.records() != 4 {
		t.Errorf("%d records of 4 changes", w.records())
	}
	if n := w.count(`SELECT count(*) FROM change_feed WHERE tenant_id = $1 AND kind = 'project' AND ref = $2`, w.tenant, p.ID.UUID()); n != 3 {
		t.Errorf("%d notes of 3 changes", n)
	}
}

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("taken")
	many := map[string]any{}
	for i := range 51 {
		many[strings.Repeat("k", i+1)] = i
	}
	for name, tc := range map[string]struct {
		params project.CreateParams
		code   string
		field  string
	}{
		"slug taken":       {project.CreateParams{Name: "x", Slug: "taken"}, "slug_taken", ""},
		"the default":      {project.CreateParams{Name: "Default"}, "slug_reserved", "slug"},
		"no name":          {project.CreateParams{Slug: "abc"}, "required", "name"},
		"long name":        {project.CreateParams{Name: strings.Repeat("ä", 201), Slug: "abc"}, "too_long", "name"},
		"control":          {project.CreateParams{Name: "a\x00b"}, "invalid_text", "name"},
		"not UTF-8":        {project.CreateParams{Name: "a\xffb"}, "invalid_text", "name"},
		"no slug":          {project.CreateParams{Name: "Ω"}, "required", "slug"},
		"slug in capitals": {project.CreateParams{Name: "x", Slug: "Abc"}, "slug_malformed", "slug"},
		"slug's end":       {project.CreateParams{Name: "x", Slug: "abc-"}, "slug_malformed", "slug"},
		"slug of one":      {project.CreateParams{Name: "x", Slug: "a"}, "slug_malformed", "slug"},
		"long slug":        {project.CreateParams{Name: "x", Slug: strings.Repeat("a", 41)}, "slug_malformed", "slug"},
		"metadata keys":    {project.CreateParams{Name: "xy", Metadata: many}, "too_many", "metadata"},
		"a metadata key":   {project.CreateParams{Name: "xy", Metadata: map[string]any{"a b": 1}}, "key_malformed", "metadata"},
		"metadata's size":  {project.CreateParams{Name: "xy", Metadata: map[string]any{"a": strings.Repeat("x", 17000)}}, "too_large", "metadata"},
		"metadata's text":  {project.CreateParams{Name: "xy", Metadata: map[string]any{"a": "\x00"}}, "invalid_text", ""},
		"no such tenant":   {project.CreateParams{Name: "xy", TenantID: id.New[id.Tenant]()}, "tenant_not_found", ""},
	} {
		if tc.params.TenantID.IsZero() {
			tc.params.TenantID = w.tenant
		}
		_, err := w.svc.Create(platform(t.Context()), tc.params)
		f := fault.As(err)
		if tc.field == "" && f.Code != tc.code || tc.field != "" && (len(f.Fields) == 0 || f.Fields[0].Code != tc.code || f.Fields[0].Field != tc.field) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if w.records() != 1 {
		t.Error("a refusal was recorded")
	}
}

// Projects need an entitlement at this instant to a product that supports them.
func TestCreate_supported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	end := w.now.Add(time.Hour)
	n := 0
	create := func(code string) {
		t.Helper()
		n++
		_, err := w.svc.Create(ctx, project.CreateParams{TenantID: w.tenant, Name: "project " + strings.Repeat("x", n)})
		w.want(err, code)
	}
	create("")
	w.exec(`UPDATE tenant_products SET expires_at = $2 WHERE tenant_id = $1`, w.tenant, end)
	w.now = end.Add(-time.Microsecond)
	create("")
	w.now = end
	create("projects_not_supported")
	w.exec(`UPDATE tenant_products SET expires_at = NULL, enabled = FALSE WHERE tenant_id = $1`, w.tenant)
	create("projects_not_supported")
	w.exec(`UPDATE tenant_products SET enabled = TRUE, product = 'without' WHERE tenant_id = $1`, w.tenant)
	create("projects_not_supported")
	// Those that exist stay.
	if p, err := w.svc.List(ctx, w.tenant, project.Filter{}, page.Request{}); err != nil || len(p.Data) != 2 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	var want, got []string
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		p := w.create(name)
		if name == "two" || name == "five" {
			if _, err := w.svc.Archive(ctx, w.tenant, ref(p), time.Time{}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want = append([]string{name}, want...)
	}
	for r := (page.Request{Limit: 2}); ; {
		p, err := w.svc.List(ctx, w.tenant, project.Filter{Status: project.Active}, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Data {
			got = append(got, v.Name)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err := w.svc.List(ctx, w.tenant, project.Filter{Status: "gone"}, page.Request{})
	w.want(err, "invalid_request")
	_, err = w.svc.List(ctx, w.tenant, project.Filter{}, page.Request{Cursor: "x"})
	w.want(err, "cursor_malformed")
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.create("mine")
	other := w.newTenant()
	for code, ctx := range map[string]context.Context{
		"credential_required": t.Context(),
		"permission_denied":   as(t.Context(), w.tenant, access.TenantsRead),
		"tenant_not_found":    as(t.Context(), other, access.ProjectsRead, access.ProjectsWrite),
	} {
		_, err := w.svc.Create(ctx, project.CreateParams{TenantID: w.tenant, Name: "x"})
		w.want(err, code)
		_, err = w.svc.Get(ctx, w.tenant, ref(p))
		w.want(err, code)
		_, err = w.svc.List(ctx, w.tenant, project.Filter{}, page.Request{})
		w.want(err, code)
		_, err = w.svc.Update(ctx, w.tenant, ref(p), project.UpdateParams{})
		w.want(err, code)
		_, err = w.svc.Archive(ctx, w.tenant, ref(p), time.Time{})
		w.want(err, code)
		_, err = w.svc.Restore(ctx, w.tenant, ref(p), time.Time{})
		w.want(err, code)
	}
	// Another tenant's project is not there, whoever asks.
	for _, ctx := range []context.Context{platform(t.Context()), as(t.Context(), other, access.ProjectsRead, access.ProjectsWrite)} {
		_, err := w.svc.Get(ctx, other, ref(p))
		w.want(err, "project_not_found")
		_, err = w.svc.Archive(ctx, other, ref(p), time.Time{})
		w.want(err, "project_not_found")
	}
}

func TestWritable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.create("pp")
	w.exec(`UPDATE tenants SET status = 'frozen', frozen_at = NOW() WHERE id = $1`, w.tenant)
	ctx := platform(t.Context())
	_, err := w.svc.Create(ctx, project.CreateParams{TenantID: w.tenant, Name: "xy"})
	w.want(err, "tenant_frozen")
	_, err = w.svc.Archive(ctx, w.tenant, ref(p), time.Time{})
	w.want(err, "tenant_frozen")
	_, err = w.svc.Get(ctx, w.tenant, ref(p))
	w.want(err, "")
}

// Of many that take a slug, or archive, at once, one wins and one is recorded.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := platform(t.Context())
	race := func(code string, fn func() error) {
		t.Helper()
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { errs[i] = fn() })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if fault.CodeOf(err) != code {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	}
	race("slug_taken", func() error {
		_, err := w.svc.Create(ctx, project.CreateParams{TenantID: w.tenant, Name: "one"})
		return err
	})
	race("project_archived", func() error {
		_, err := w.svc.Archive(ctx, w.tenant, project.Ref{Slug: "one"}, time.Time{})
		return err
	})
	if w.records() != 2 {
		t.Errorf("%d records of 2 changes", w.records())
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	p := id.New[id.Project]()
	for _, s := range []string{p.String(), p.UUID()} {
		if r, err := project.ParseRef(s); err != nil || r.ID != p {
			t.Errorf("%s: %v %v", s, r, err)
		}
	}
	if r, err := project.ParseRef("slug:a-b"); err != nil || r.Slug != "a-b" {
		t.Errorf("%v %v", r, err)
	}
	for _, s := range []string{"", "a-b", "slug:", "slug:A", "tenant_01h455vb4pex5vsknk084sn02q"} {
		if _, err := project.ParseRef(s); err == nil || fault.As(err).Fields[0].Code != "id_malformed" {
			t.Errorf("%q: %v", s, err)
		}
	}
}
