package audit_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	// The list's statement is put together: see TestList_everyFilter.
	pgtest.PrepareAll(t, ".")
}

func tenant(t testing.TB, db *pg.DB) id.Tenant {
	t.Helper()
	n := id.New[id.Tenant]()
	write(t, db, func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO tenants (id, slug, name) VALUES ($1::uuid, 'a' || substr(replace($1::uuid::text, '-', ''), 13), 'T')`, n)
		return err
	})
	return n
}

func write(t testing.TB, db *pg.DB, fn func(pg.Tx) error) {
	t.Helper()
	if err := db.AsOperator(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func auditor(t testing.TB, confined id.Tenant) context.Context {
	t.Helper()
	return access.With(t.Context(), access.Principal{
		Type: access.Service, ID: "service_x", Name: "X", Tenant: confined, Permissions: access.NewSet(access.AuditRead),
		SourceIP: netip.MustParseAddr("192.0.2.1"), UserAgent: "curl/8", RequestID: id.New[id.Event]().String(),
	})
}

func record(t testing.TB, db *pg.DB, ctx context.Context, e audit.Event) {
	t.Helper()
	write(t, db, func(tx pg.Tx) error { return audit.Record(ctx, tx, e) })
}

func actions(p page.Page[audit.Entry]) []string {
	out := []string{}
	for _, e := range p.Data {
		out = append(out, e.Action)
	}
	return out
}

func TestRecord_readBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := audit.New(db)
	own := tenant(t, db)
	ctx := auditor(t, id.Tenant{})
	who, _ := access.From(ctx)
	record(t, db, ctx, audit.Event{
		Action: "api_key.created", TenantID: own, Target: audit.Target{Type: "api_key", ID: "key_1", Name: "CI"},
		Product: "render", Description: "for the pipeline", Metadata: map[string]any{"scopes": []string{"a"}},
	})
	p, err := s.ListOf(ctx, own, audit.Filter{}, page.Request{})
	if err != nil || len(p.Data) != 1 {
		t.Fatal(p, err)
	}
	got := p.Data[0]
	ref := func(s string) *string { return &s }
	ip := netip.MustParseAddr("192.0.2.1")
	want := audit.Entry{
		Seq: got.Seq, ID: got.ID, TenantID: own, ActorID: ref("service_x"), ActorName: ref("X"), ActorType: ref("service"),
		Action: "api_key.created", CRUD: ref("c"), Description: ref("for the pipeline"),
		TargetID: ref("key_1"), TargetType: ref("api_key"), TargetName: ref("CI"), Product: ref("render"),
		SourceIP: &ip, UserAgent: ref("curl/8"), RequestID: ref(who.RequestID), Metadata: []byte(`{"scopes": ["a"]}`), CreatedAt: got.CreatedAt,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for name, get := range map[string]func() (audit.Entry, error){
		"Get":          func() (audit.Entry, error) { return s.Get(ctx, got.ID) },
		"GetOf":        func() (audit.Entry, error) { return s.GetOf(ctx, own, got.ID) },
		"Get confined": func() (audit.Entry, error) { return s.Get(auditor(t, own), got.ID) },
	} {
		if e, err := get(); err != nil || e.ID != got.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = db.ReadTenant(t.Context(), own, func(tx pg.Tx) error {
		e, err := event.ByID(t.Context(), tx, own, id.Event(got.ID))
		if err == nil && (e.Type != "api_key.created" || e.ActorID != "service_x" || !strings.Contains(string(e.Payload), "key_1")) {
			t.Errorf("got %+v", e)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestList_access(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := audit.New(db)
	own, other := tenant(t, db), tenant(t, db)
	ctx := auditor(t, id.Tenant{})
	record(t, db, ctx, audit.Event{Action: "tenant.updated", TenantID: other, Target: audit.Target{Type: "tenant", ID: other.String()}})
	p, err := s.ListOf(ctx, other, audit.Filter{}, page.Request{})
	if err != nil || len(p.Data) != 1 {
		t.Fatal(p, err)
	}
	entry := p.Data[0].ID
	weak := access.With(t.Context(), access.Principal{Type: access.User, ID: "x"})
	reseller := access.With(t.Context(), access.Principal{
		Type: access.APIKey, ID: "key_x", Tenant: own, Permissions: access.NewSet(access.AuditRead),
		Within: func(_ context.Context, below id.Tenant) (bool, error) { return below == other, nil },
	})
	second := func(_ any, err error) error { return err }
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"nobody":                 {second(s.List(t.Context(), audit.Filter{}, page.Request{})), "credential_required"},
		"no permission":          {second(s.List(weak, audit.Filter{}, page.Request{})), "permission_denied"},
		"no permission, tenant":  {second(s.ListOf(weak, own, audit.Filter{}, page.Request{})), "permission_denied"},
		"no permission, one":     {second(s.Get(weak, entry)), "permission_denied"},
		"all, by a tenant":       {second(s.List(auditor(t, own), audit.Filter{}, page.Request{})), "platform_only"},
		"another tenant":         {second(s.ListOf(auditor(t, own), other, audit.Filter{}, page.Request{})), "tenant_not_found"},
		"another tenant's entry": {second(s.Get(auditor(t, own), entry)), "audit_event_not_found"},
		"through one's own":      {second(s.GetOf(auditor(t, own), own, entry)), "audit_event_not_found"},
		"through another's":      {second(s.GetOf(auditor(t, own), other, entry)), "tenant_not_found"},
		"no such entry":          {second(s.Get(ctx, id.New[id.AuditEvent]())), "audit_event_not_found"},
		"cursor":                 {second(s.List(ctx, audit.Filter{}, page.Request{Cursor: page.Encode("tenants", 1)})), "cursor_malformed"},
		"action":                 {second(s.List(ctx, audit.Filter{Action: "api%"}, page.Request{})), "invalid_request"},
		"crud":                   {second(s.List(ctx, audit.Filter{CRUD: "ru"}, page.Request{})), "invalid_request"},
		"interval":               {second(s.List(ctx, audit.Filter{Since: time.Now(), Until: time.Now().Add(-time.Hour)}, page.Request{})), "invalid_request"},
		"a reseller":             {second(s.ListOf(reseller, other, audit.Filter{}, page.Request{})), "internal"},
	} {
		if name == "a reseller" {
			if tc.err != nil {
				t.Errorf("%s: %v", name, tc.err)
			}
			continue
		}
		if tc.err == nil || fault.CodeOf(tc.err) != tc.code {
			t.Errorf("%s: got %v, want %s", name, tc.err, tc.code)
		}
	}
}

func TestList_everyFilter(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := audit.New(db)
	own := tenant(t, db)
	ctx := auditor(t, id.Tenant{})
	who, _ := access.From(ctx)
	project := id.New[id.Project]()
	write(t, db, func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO tenant_projects (id, tenant_id, slug, name) VALUES ($1, $2, 'main-project', 'P')`, project, own)
		return err
	})
	began := time.Now().Add(-time.Minute)
	record(t, db, ctx, audit.Event{Action: "api_key.created", TenantID: own, Target: audit.Target{Type: "api_key", ID: "key_1"}})
	record(t, db, auditor(t, id.Tenant{}), audit.Event{
		Action: "api_key.revoked", TenantID: own, ProjectID: project, Product: "render", Target: audit.Target{Type: "api_key", ID: "key_2"},
	})
	record(t, db, access.AsSystem(t.Context(), "loop"), audit.Event{Action: "api_keyring.read", TenantID: own, Target: audit.Target{Type: "keyring", ID: "r"}})
	all := []string{"api_keyring.read", "api_key.revoked", "api_key.created"}
	for name, tc := range map[string]struct {
		f    audit.Filter
		want []string
	}{
		"none":         {audit.Filter{}, all},
		"project":      {audit.Filter{ProjectID: project}, all[1:2]},
		"actor":        {audit.Filter{ActorID: "loop"}, all[:1]},
		"actor type":   {audit.Filter{ActorType: access.Service}, all[1:]},
		"action":       {audit.Filter{Action: "api_key.created"}, all[2:]},
		"prefix":       {audit.Filter{Action: "api_key.*"}, all[1:]},
		"target type":  {audit.Filter{TargetType: "keyring"}, all[:1]},
		"target":       {audit.Filter{TargetID: "key_2"}, all[1:2]},
		"product":      {audit.Filter{Product: "render"}, all[1:2]},
		"crud":         {audit.Filter{CRUD: "r"}, all[:1]},
		"request":      {audit.Filter{RequestID: who.RequestID}, all[2:]},
		"since":        {audit.Filter{Since: began}, all},
		"until":        {audit.Filter{Until: began}, []string{}},
		"all together": {audit.Filter{ProjectID: project, ActorID: "service_x", ActorType: access.Service, Action: "api_key.revoked", TargetType: "api_key", TargetID: "key_2", Product: "render", CRUD: "d", Since: began, Until: time.Now().Add(time.Hour)}, all[1:2]},
	} {
		p, err := s.ListOf(ctx, own, tc.f, page.Request{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, actions(p)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		tc.f.TenantID = own
		across, err := s.List(ctx, tc.f, page.Request{})
		if diff := cmp.Diff(actions(p), actions(across)); diff != "" || err != nil {
			t.Errorf("%s, across: %s %v", name, diff, err)
		}
	}
	var got []string
	r := page.Request{Limit: 1}
	for {
		p, err := s.ListOf(ctx, own, audit.Filter{}, r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, actions(p)...)
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Error(diff)
	}
}

// A tenant's transaction sees its own records only, whatever the statement asks.
func TestList_rowLevelSecurity(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	own, other := tenant(t, db), tenant(t, db)
	record(t, db, auditor(t, id.Tenant{}), audit.Event{Action: "tenant.updated", TenantID: other})
	err := db.ReadTenant(t.Context(), own, func(tx pg.Tx) error {
		n, err := pg.Scalars[int](t.Context(), tx, `SELECT count(*)::int FROM audit_log WHERE tenant_id = $1`, other)
		if err == nil && n[0] != 0 {
			t.Errorf("%d records of another tenant", n[0])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
