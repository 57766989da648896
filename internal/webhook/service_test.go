package webhook_test

import (
	"context"
	"crypto/rand"
	"fmt"
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
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/webhook"
)

// desk is a tenant and the operations on its endpoints.
type desk struct {
	t      *testing.T
	db     *pg.DB
	s      *webhook.Service
	now    time.Time
	tenant id.Tenant
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, db: pgtest.New(t), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	d.s = webhook.NewService(d.db, webhook.Config{
		Keys: keys, MaxEndpoints: 3, Now: func() time.Time { return d.now },
		CheckURL: func(_ context.Context, field, url string) error {
			if strings.HasPrefix(url, "https://") {
				return nil
			}
			return fault.InvalidField(field, "url_malformed", "no")
		},
	})
	d.tenant = d.newTenant()
	return d
}

func (d *desk) newTenant() id.Tenant {
	d.t.Helper()
	tenant := id.New[id.Tenant]()
	d.exec(`INSERT INTO tenants (id, slug, name, status) VALUES ($1, $2, 'Acme', 'active')`, tenant, "t"+strings.ToLower(rand.Text()[:12]))
	return tenant
}

func (d *desk) exec(sql string, args ...any) {
	d.t.Helper()
	err := d.db.AsOperator(d.t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(d.t.Context(), sql, args...)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) count(sql string, args ...any) (n int) {
	d.t.Helper()
	err := d.db.ReadOperator(d.t.Context(), func(tx pg.Tx) error { return tx.QueryRow(d.t.Context(), sql, args...).Scan(&n) })
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *desk) ctx() context.Context { return access.AsSystem(d.t.Context(), "test") }

func (d *desk) params() webhook.CreateParams {
	return webhook.CreateParams{TenantID: d.tenant, Name: "Orders", URL: "https://example.com/hook", Events: []string{"render.*"}}
}

func (d *desk) create(change ...func(*webhook.CreateParams)) webhook.Endpoint {
	d.t.Helper()
	p := d.params()
	for _, f := range change {
		f(&p)
	}
	e, _, err := d.s.Create(d.ctx(), p)
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.As(err); err == nil || f.Code != code && (len(f.Fields) == 0 || f.Fields[0].Code != code) {
		t.Errorf("%v, want %s", err, code)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	five := 5
	e, secrets, err := d.s.Create(d.ctx(), webhook.CreateParams{
		TenantID: d.tenant, Name: " Orders ", URL: "https://example.com/hook", Events: []string{"render.*", "api_key.revoked", "render.*"},
		Description: "of the shop", Metadata: map[string]any{"team": "a"}, Headers: map[string]string{"x-team": "a b", "authorization": "Basic eHg="},
		Signatures: []webhook.Signature{webhook.V1a, webhook.V1}, RateLimit: &five, RatePeriod: webhook.PerMinute, MaxInFlight: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) != 2 || secrets[0].Version != webhook.V1 || !strings.HasPrefix(secrets[0].Value.Reveal(), "whsec_") ||
		!strings.HasPrefix(secrets[1].Value.Reveal(), "whsk_") || !strings.HasPrefix(secrets[1].PublicKey(), "whpk_") {
		t.Errorf("%d secrets", len(secrets))
	}
	want := webhook.Endpoint{
		ID: e.ID, TenantID: d.tenant, Name: "Orders", URL: "https://example.com/hook", Events: []string{"api_key.revoked", "render.*"},
		Description: "of the shop", Metadata: map[string]any{"team": "a"}, Signatures: []webhook.Signature{webhook.V1, webhook.V1a},
		Headers: []string{"Authorization", "X-Team"}, RateLimit: &five, RatePeriod: webhook.PerMinute, MaxInFlight: 2, Status: webhook.Active,
		CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	got, err := d.s.Get(d.ctx(), d.tenant, e.ID)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if n := d.count(`SELECT count(*) FROM tenant_webhooks WHERE tenant_id = $1 AND (position('whs' IN encode(secret_encrypted, 'escape')) > 0
		OR position('Basic' IN encode(headers_encrypted, 'escape')) > 0)`, d.tenant); n != 0 {
		t.Error("a secret or a header is stored as it is")
	}
	if n := d.count(`SELECT count(*) FROM tenant_events WHERE tenant_id = $1 AND type = 'webhook.created'`, d.tenant); n != 1 {
		t.Errorf("%d events", n)
	}
}

// The plan says how many endpoints there may be; where it does not, the installation.
func TestCreate_planLimit(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	plan := "p" + strings.ToLower(rand.Text()[:12])
	d.exec(`INSERT INTO plans (name, title, webhooks) VALUES ($1, 'Plan', '{"max_endpoints": 1}')`, plan)
	d.exec(`UPDATE tenants SET plan = $2 WHERE id = $1`, d.tenant, plan)
	d.create()
	_, _, err := d.s.Create(d.ctx(), d.params())
	wantCode(t, err, "webhook_limit_reached")
	d.exec(`UPDATE plans SET webhooks = '{}' WHERE name = $1`, plan)
	d.create()
	d.create()
	_, _, err = d.s.Create(d.ctx(), d.params())
	wantCode(t, err, "webhook_limit_reached")
}

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	zero, negative := 0, -1
	many := map[string]string{}
	for i := range 21 {
		many[fmt.Sprintf("x-%d", i)] = "a"
	}
	for name, tc := range map[string]struct {
		change func(*webhook.CreateParams)
		code   string
	}{
		"no name":             {func(p *webhook.CreateParams) { p.Name = " " }, "required"},
		"a long name":         {func(p *webhook.CreateParams) { p.Name = strings.Repeat("a", 201) }, "too_long"},
		"no events":           {func(p *webhook.CreateParams) { p.Events = nil }, "required"},
		"too many events":     {func(p *webhook.CreateParams) { p.Events = make([]string, 51) }, "too_many"},
		"no pattern":          {func(p *webhook.CreateParams) { p.Events = []string{"render*"} }, "pattern_malformed"},
		"a URL":               {func(p *webhook.CreateParams) { p.URL = "http://example.com" }, "url_malformed"},
		"no such project":     {func(p *webhook.CreateParams) { p.ProjectID = id.New[id.Project]() }, "project_not_found"},
		"a signature":         {func(p *webhook.CreateParams) { p.Signatures = []webhook.Signature{"v2"} }, "not_one_of"},
		"a rate of nothing":   {func(p *webhook.CreateParams) { p.RateLimit = &zero }, "out_of_range"},
		"a period":            {func(p *webhook.CreateParams) { p.RatePeriod = "day" }, "not_one_of"},
		"flights":             {func(p *webhook.CreateParams) { p.MaxInFlight = negative }, "out_of_range"},
		"too many flights":    {func(p *webhook.CreateParams) { p.MaxInFlight = 101 }, "out_of_range"},
		"metadata":            {func(p *webhook.CreateParams) { p.Metadata = map[string]any{"a": strings.Repeat("a", 9000)} }, "too_large"},
		"a short secret":      {func(p *webhook.CreateParams) { p.Secret = secret.NewText("whsec_AAAA") }, "secret_malformed"},
		"no secret's form":    {func(p *webhook.CreateParams) { p.Secret = secret.NewText("hunter2") }, "secret_malformed"},
		"a secret of another": {func(p *webhook.CreateParams) { p.Secret = webhook.NewSecret(webhook.V1a, d.now).Value }, "secret_malformed"},
		"too many headers":    {func(p *webhook.CreateParams) { p.Headers = many }, "too_many"},
		"a header's name":     {func(p *webhook.CreateParams) { p.Headers = map[string]string{"a b": "c"} }, "header_malformed"},
		"a header's value":    {func(p *webhook.CreateParams) { p.Headers = map[string]string{"x-a": "b\r\nHost: c"} }, "header_malformed"},
		"a header twice":      {func(p *webhook.CreateParams) { p.Headers = map[string]string{"x-a": "b", "X-A": "c"} }, "header_malformed"},
		"host":                {func(p *webhook.CreateParams) { p.Headers = map[string]string{"host": "x"} }, "header_reserved"},
		"the signature":       {func(p *webhook.CreateParams) { p.Headers = map[string]string{"WEBHOOK-Signature": "x"} }, "header_reserved"},
		"no such tenant":      {func(p *webhook.CreateParams) { p.TenantID = id.New[id.Tenant]() }, "tenant_not_found"},
	} {
		p := d.params()
		tc.change(&p)
		_, _, err := d.s.Create(d.ctx(), p)
		if f := fault.As(err); err == nil || f.Code != tc.code && (len(f.Fields) == 0 || f.Fields[0].Code != tc.code) {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	d.exec(`UPDATE tenants SET status = 'frozen', frozen_at = NOW() WHERE id = $1`, d.tenant)
	_, _, err := d.s.Create(d.ctx(), d.params())
	wantCode(t, err, "tenant_frozen")
}

// A tenant has no more endpoints than it may, however many are made at a time.
func TestCreate_limit(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var wg sync.WaitGroup
	made := make(chan error, 8)
	for range cap(made) {
		wg.Go(func() {
			_, _, err := d.s.Create(d.ctx(), d.params())
			made <- err
		})
	}
	wg.Wait()
	close(made)
	ok := 0
	for err := range made {
		if err == nil {
			ok++
		} else {
			wantCode(t, err, "webhook_limit_reached")
		}
	}
	if ok != 3 || d.count(`SELECT count(*) FROM tenant_webhooks WHERE tenant_id = $1`, d.tenant) != 3 {
		t.Errorf("%d were made", ok)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create(func(p *webhook.CreateParams) { p.Headers = map[string]string{"X-A": "1", "X-B": "2"} })
	b := "3"
	got, err := d.s.Update(d.ctx(), webhook.UpdateParams{
		TenantID: d.tenant, ID: e.ID, IfMatch: e.UpdatedAt, Name: patch.Set("New"), URL: patch.Set("https://example.com/new"), Events: patch.Set([]string{"*"}),
		Description: patch.Set("text"), Metadata: patch.Set(map[string]any{"a": 1.0}), Headers: patch.Set(map[string]*string{"x-a": nil, "x-c": &b}),
		RateLimit: patch.Set(7), RatePeriod: patch.Set(webhook.PerMinute), MaxInFlight: patch.Set(4),
	})
	if err != nil {
		t.Fatal(err)
	}
	seven := 7
	want := e
	want.Name, want.URL, want.Events, want.Description, want.Metadata = "New", "https://example.com/new", []string{"*"}, "text", map[string]any{"a": 1.0}
	want.Headers, want.RateLimit, want.RatePeriod, want.MaxInFlight = []string{"X-B", "X-C"}, &seven, webhook.PerMinute, 4
	want.UpdatedAt = got.UpdatedAt
	if diff := cmp.Diff(want, got); diff != "" || !got.UpdatedAt.After(e.UpdatedAt) {
		t.Error(diff)
	}
	_, err = d.s.Update(d.ctx(), webhook.UpdateParams{TenantID: d.tenant, ID: e.ID, IfMatch: e.UpdatedAt, Name: patch.Set("Old")})
	wantCode(t, err, "stale_version")

	got, err = d.s.Update(d.ctx(), webhook.UpdateParams{
		TenantID: d.tenant, ID: e.ID, Metadata: patch.Null[map[string]any](), Headers: patch.Null[map[string]*string](), RateLimit: patch.Null[int](),
		RatePeriod: patch.Null[webhook.Period](), MaxInFlight: patch.Null[int](), Description: patch.Null[string](),
	})
	if err != nil || len(got.Headers) != 0 || got.RateLimit != nil || got.RatePeriod != webhook.PerSecond || got.MaxInFlight != webhook.DefaultFlights || got.Description != "" {
		t.Errorf("%v %+v", err, got)
	}

	// Nothing changes, nothing is told.
	before := d.count(`SELECT count(*) FROM tenant_events WHERE tenant_id = $1`, d.tenant)
	if same, err := d.s.Update(d.ctx(), webhook.UpdateParams{TenantID: d.tenant, ID: e.ID, Name: patch.Set("New")}); err != nil || !same.UpdatedAt.Equal(got.UpdatedAt) {
		t.Errorf("%v %v", err, same.UpdatedAt)
	}
	if n := d.count(`SELECT count(*) FROM tenant_events WHERE tenant_id = $1`, d.tenant); n != before {
		t.Errorf("%d events, were %d", n, before)
	}

	for name, p := range map[string]webhook.UpdateParams{
		"required":      {Name: patch.Null[string]()},
		"url_malformed": {URL: patch.Set("ftp://example.com")},
		"out_of_range":  {MaxInFlight: patch.Set(0)},
		// The receiver could not verify what it has no key for.
		"secret_missing": {Signatures: patch.Set([]webhook.Signature{webhook.V1a})},
	} {
		p.TenantID, p.ID = d.tenant, e.ID
		_, err := d.s.Update(d.ctx(), p)
		wantCode(t, err, name)
	}
}

// The audit log tells that a header changed, and never to what.
func TestUpdate_headersAreSecret(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create()
	value := "Bearer hunter2hunter2"
	if _, err := d.s.Update(d.ctx(), webhook.UpdateParams{TenantID: d.tenant, ID: e.ID, Headers: patch.Set(map[string]*string{"authorization": &value})}); err != nil {
		t.Fatal(err)
	}
	if n := d.count(`SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'webhook.updated' AND metadata->'changes' ? 'headers' AND metadata::text NOT LIKE '%hunter2%'`, d.tenant); n != 1 {
		t.Errorf("%d records", n)
	}
	if n := d.count(`SELECT count(*) FROM tenant_events WHERE tenant_id = $1 AND payload::text LIKE '%hunter2%'`, d.tenant); n != 0 {
		t.Errorf("%d events tell", n)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create()
	p := webhook.StatusParams{TenantID: d.tenant, ID: e.ID, Reason: " maintenance "}
	got, err := d.s.Pause(d.ctx(), p)
	if err != nil || got.Status != webhook.Paused || got.Reason != "maintenance" || got.DisabledAt != nil {
		t.Errorf("%v %+v", err, got)
	}
	_, err = d.s.Pause(d.ctx(), p)
	wantCode(t, err, "webhook_paused")
	got, err = d.s.Disable(d.ctx(), p)
	if err != nil || got.Status != webhook.Disabled || got.DisabledAt == nil || !got.DisabledAt.Equal(d.now) {
		t.Errorf("%v %+v", err, got)
	}
	d.exec(`UPDATE tenant_webhooks SET consecutive_failures = 5, first_failure_at = NOW(), warned_percent = 50 WHERE tenant_id = $1`, d.tenant)
	got, err = d.s.Enable(d.ctx(), webhook.StatusParams{TenantID: d.tenant, ID: e.ID})
	if err != nil || got.Status != webhook.Active || got.Reason != "" || got.DisabledAt != nil || got.ConsecutiveFailures != 0 || got.FirstFailureAt != nil || got.WarnedPercent != 0 {
		t.Errorf("%v %+v", err, got)
	}
	_, err = d.s.Enable(d.ctx(), p)
	wantCode(t, err, "webhook_active")
	_, err = d.s.Enable(d.ctx(), webhook.StatusParams{TenantID: d.tenant, ID: e.ID, Reason: strings.Repeat("a", 501)})
	wantCode(t, err, "too_long")
}

func TestRotateSecret(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	p := d.params()
	e, first, err := d.s.Create(d.ctx(), p)
	if err != nil {
		t.Fatal(err)
	}
	signing := func() (out []string) {
		t.Helper()
		secrets, err := d.s.Secrets(d.ctx(), d.tenant, e.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			out = append(out, s.Value.Reveal())
		}
		return out
	}
	created := d.now
	d.now = d.now.Add(time.Hour)
	second, err := d.s.RotateSecret(d.ctx(), webhook.RotateParams{TenantID: d.tenant, ID: e.ID, Overlap: time.Hour})
	if err != nil || !second.CreatedAt.Equal(d.now) || !first[0].CreatedAt.Equal(created) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{second.Value.Reveal(), first[0].Value.Reveal()}, signing()); diff != "" {
		t.Error(diff)
	}
	d.now = d.now.Add(time.Hour - 1)
	if n := len(signing()); n != 2 {
		t.Errorf("%d secrets just before the end", n)
	}
	d.now = d.now.Add(1)
	if diff := cmp.Diff([]string{second.Value.Reveal()}, signing()); diff != "" {
		t.Error(diff)
	}
	// At once; and another version's stay.
	public, err := d.s.RotateSecret(d.ctx(), webhook.RotateParams{TenantID: d.tenant, ID: e.ID, Version: webhook.V1a})
	if err != nil || public.PublicKey() == "" || len(signing()) != 2 {
		t.Error(err, signing())
	}
	third := webhook.NewSecret(webhook.V1, d.now).Value
	if _, err := d.s.RotateSecret(d.ctx(), webhook.RotateParams{TenantID: d.tenant, ID: e.ID, Secret: third}); err != nil {
		t.Fatal(err)
	}
	if got := signing(); len(got) != 2 || got[0] != third.Reveal() && got[1] != third.Reveal() {
		t.Errorf("%d secrets", len(got))
	}
	for range webhook.MaxSecrets - 2 {
		if _, err = d.s.RotateSecret(d.ctx(), webhook.RotateParams{TenantID: d.tenant, ID: e.ID, Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = d.s.RotateSecret(d.ctx(), webhook.RotateParams{TenantID: d.tenant, ID: e.ID, Overlap: time.Hour})
	wantCode(t, err, "secret_limit_reached")
	for name, p := range map[string]webhook.RotateParams{
		"out_of_range":     {Overlap: -1},
		"not_one_of":       {Version: "v3"},
		"secret_malformed": {Version: webhook.V1, Secret: webhook.NewSecret(webhook.V1a, d.now).Value},
	} {
		p.TenantID, p.ID = d.tenant, e.ID
		_, err := d.s.RotateSecret(d.ctx(), p)
		wantCode(t, err, name)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b, c := d.create(), d.create(), d.create()
	if _, err := d.s.Pause(d.ctx(), webhook.StatusParams{TenantID: d.tenant, ID: b.ID}); err != nil {
		t.Fatal(err)
	}
	ids := func(f webhook.Filter) (out []id.Webhook) {
		t.Helper()
		f.TenantID = d.tenant
		for {
			p, err := d.s.List(d.ctx(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Data {
				out = append(out, e.ID)
			}
			if p.Next == "" {
				return out
			}
			f.Page.Cursor = p.Next
		}
	}
	if diff := cmp.Diff([]id.Webhook{c.ID, b.ID, a.ID}, ids(webhook.Filter{Page: page.Request{Limit: 2}})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]id.Webhook{b.ID}, ids(webhook.Filter{Status: webhook.Paused})); diff != "" {
		t.Error(diff)
	}
	if got := ids(webhook.Filter{ProjectID: id.New[id.Project]()}); got != nil {
		t.Error(got)
	}
	_, err := d.s.List(d.ctx(), webhook.Filter{TenantID: d.tenant, Status: "gone"})
	wantCode(t, err, "not_one_of")
	_, err = d.s.List(d.ctx(), webhook.Filter{TenantID: id.New[id.Tenant]()})
	wantCode(t, err, "tenant_not_found")
}

func TestDelete(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create()
	wantCode(t, d.s.Delete(d.ctx(), d.tenant, e.ID, e.UpdatedAt.Add(-1)), "stale_version")
	if err := d.s.Delete(d.ctx(), d.tenant, e.ID, e.UpdatedAt); err != nil {
		t.Fatal(err)
	}
	_, err := d.s.Get(d.ctx(), d.tenant, e.ID)
	wantCode(t, err, "webhook_not_found")
	wantCode(t, d.s.Delete(d.ctx(), d.tenant, e.ID, time.Time{}), "webhook_not_found")
}

// Another tenant's endpoint is not found, whatever is done to it; without the
// permission nothing is.
func TestService_isolation(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create()
	other := d.newTenant()
	status := webhook.StatusParams{TenantID: other, ID: e.ID}
	for name, fn := range map[string]func(context.Context) error{
		"get": func(ctx context.Context) error { _, err := d.s.Get(ctx, other, e.ID); return err },
		"update": func(ctx context.Context) error {
			_, err := d.s.Update(ctx, webhook.UpdateParams{TenantID: other, ID: e.ID})
			return err
		},
		"pause":   func(ctx context.Context) error { _, err := d.s.Pause(ctx, status); return err },
		"disable": func(ctx context.Context) error { _, err := d.s.Disable(ctx, status); return err },
		"enable":  func(ctx context.Context) error { _, err := d.s.Enable(ctx, status); return err },
		"secrets": func(ctx context.Context) error { _, err := d.s.Secrets(ctx, other, e.ID); return err },
		"rotate": func(ctx context.Context) error {
			_, err := d.s.RotateSecret(ctx, webhook.RotateParams{TenantID: other, ID: e.ID})
			return err
		},
		"delete": func(ctx context.Context) error { return d.s.Delete(ctx, other, e.ID, time.Time{}) },
	} {
		if err := fn(d.ctx()); fault.CodeOf(err) != "webhook_not_found" {
			t.Errorf("%s: %v", name, err)
		}
		if err := fn(access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key", Tenant: d.tenant})); fault.CodeOf(err) != "tenant_not_found" {
			t.Errorf("%s by a stranger: %v", name, err)
		}
		if err := fn(access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key", Tenant: other})); fault.CodeOf(err) != "permission_denied" {
			t.Errorf("%s without a permission: %v", name, err)
		}
	}
}
