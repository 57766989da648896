package tenant_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/tenant"
)

// house is a database with the tenants' operations over it, at a time that the
// test turns.
type house struct {
	*tenant.Service
	t   testing.TB
	db  *pg.DB
	ctx context.Context // acts as an operator

	mu          sync.Mutex
	now         time.Time
	provisioned []string // "tenant plan"
}

func newHouse(t testing.TB, db *pg.DB) *house {
	h := &house{t: t, db: db, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	h.ctx = access.With(t.Context(), access.Principal{Type: access.User, ID: "operator_test", Permissions: access.NewSet(access.All()...)})
	h.Service = tenant.New(db, h.provision, tenant.WithClock(h.clock))
	return h
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// provision knows two plans of the schema's own making and of this test's:
// "starter" without a trial and "trial-14" with one.
func (h *house) provision(ctx context.Context, tx pg.Tx, t id.Tenant, plan string) (tenant.Provisioned, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.provisioned = append(h.provisioned, t.String()+" "+plan)
	if plan == "trial-14" {
		return tenant.Provisioned{TrialDays: 14}, nil
	}
	return tenant.Provisioned{}, nil
}

func (h *house) plan(name string) {
	h.t.Helper()
	err := h.db.AsOperator(h.ctx, func(tx pg.Tx) error {
		_, err := tx.Exec(h.ctx, "INSERT INTO plans (name, title) VALUES ($1, $1) ON CONFLICT DO NOTHING", name)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// as returns a context that acts as a tenant's own credential.
func (h *house) as(v tenant.Tenant) context.Context {
	return access.With(h.ctx, access.Principal{
		Type: access.APIKey, ID: "key_test", Tenant: v.ID, Permissions: access.NewSet(access.All()...),
		Within: func(ctx context.Context, x id.Tenant) (bool, error) { return h.Within(ctx, v.ID, x) },
	})
}

func (h *house) make(p tenant.CreateParams) tenant.Tenant {
	h.t.Helper()
	if p.Slug == "" {
		p.Slug = slug()
	}
	p.Name = cmp.Or(p.Name, p.Slug)
	v, err := h.Create(h.ctx, p)
	if err != nil {
		h.t.Fatal("create:", err)
	}
	return v
}

func (h *house) do(v tenant.Tenant, p tenant.TransitionParams) tenant.Tenant {
	h.t.Helper()
	p.Reason = cmp.Or(p.Reason, "test")
	after, err := h.Transition(h.ctx, v.ID, p)
	if err != nil {
		h.t.Fatal(p.Action, err)
	}
	return after
}

func slug() string {
	s := id.New[id.Tenant]().Hex()
	return "t-" + s[:8] + "-" + s[20:]
}

// trail returns the actions that the audit log and the outbox hold about a
// tenant; they must be the same.
func (h *house) trail(v tenant.Tenant) []string {
	h.t.Helper()
	var log, events []string
	err := h.db.ReadOperator(h.ctx, func(tx pg.Tx) (err error) {
		if log, err = pg.Scalars[string](h.ctx, tx, "SELECT action FROM audit_log WHERE tenant_id = $1 ORDER BY id", v.ID); err != nil {
			return err
		}
		events, err = pg.Scalars[string](h.ctx, tx, "SELECT type FROM tenant_events WHERE tenant_id = $1 ORDER BY xid, seq", v.ID)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if !slices.Equal(log, events) {
		h.t.Errorf("audit log and outbox differ: %v, %v", log, events)
	}
	return log
}

func (h *house) notes(v tenant.Tenant) int {
	h.t.Helper()
	var n []int
	err := h.db.ReadOperator(h.ctx, func(tx pg.Tx) (err error) {
		n, err = pg.Scalars[int](h.ctx, tx, "SELECT count(*) FROM change_feed WHERE kind = 'tenant' AND tenant_id = $1", v.ID)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n[0]
}

// wants checks that an error is code, or about field with that code.
func wants(t testing.TB, what string, err error, code string) {
	t.Helper()
	got := ""
	if err != nil {
		f := fault.As(err)
		got = f.Code
		if len(f.Fields) > 0 {
			var fields []string
			for _, x := range f.Fields {
				fields = append(fields, x.Field+":"+x.Code)
			}
			slices.Sort(fields)
			got = strings.Join(fields, " ")
		}
	}
	if got != code {
		t.Errorf("%s: got %q (%v), want %q", what, got, err, code)
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".", "listTenantsSQL") // lists are prepared as they are put together, in TestList_queries
}

func TestCreate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	h.plan("trial-14")
	s := slug()
	p := tenant.CreateParams{
		Name: " Acme Corp ", Slug: s, Plan: "trial-14", ExternalID: "crm-" + s, ERPCustomerID: "erp-" + s, StripeCustomerID: "cus_" + s,
		ContactName: "Ann", ContactEmail: "Ann@acme.example", ContactPhone: "+49 30 1", BillingEmail: "bills@acme.example",
		AllowedOrigins: []string{"https://APP.acme.example:443"}, Metadata: map[string]any{"tier": "gold", "none": nil},
		ContractStart: new(h.now), ContractEnd: new(h.now.AddDate(1, 0, 0)), SalesOwner: "sam",
	}
	got, err := h.Create(h.ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	want := tenant.Tenant{
		ID: got.ID, Slug: s, Name: "Acme Corp", Kind: tenant.KindCustomer, Status: tenant.Trial, Plan: "trial-14", Ancestors: []id.Tenant{},
		ExternalID: "crm-" + s, ERPCustomerID: "erp-" + s, StripeCustomerID: "cus_" + s,
		ContactName: "Ann", ContactEmail: "Ann@acme.example", ContactPhone: "+49 30 1", BillingEmail: "bills@acme.example",
		AllowedOrigins: []string{"https://app.acme.example"}, Metadata: map[string]any{"tier": "gold"},
		TrialEndsAt: new(h.now.AddDate(0, 0, 14)), ContractStart: new(day), ContractEnd: new(day.AddDate(1, 0, 0)), SalesOwner: "sam",
		CreatedAt: got.CreatedAt, UpdatedAt: got.UpdatedAt,
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	read, err := h.Get(h.ctx, got.ID)
	if diff := gocmp.Diff(got, read); err != nil || diff != "" {
		t.Errorf("read back: %v\n%s", err, diff)
	}
	if got, want := h.trail(got), []string{"tenant.created"}; !slices.Equal(got, want) {
		t.Errorf("trail %v, want %v", got, want)
	}
	if want := []string{got.ID.String() + " trial-14"}; !slices.Equal(h.provisioned, want) {
		t.Errorf("provisioned %v, want %v", h.provisioned, want)
	}
	ref, err := h.Resolve(h.ctx, tenant.Ref{Slug: s})
	if err != nil || ref != got.ID {
		t.Errorf("resolved %v, %v", ref, err)
	}
	_, err = h.Resolve(h.ctx, tenant.Ref{Slug: "no-such-slug"})
	wants(t, "unknown slug", err, "tenant_not_found")
	_, err = h.Get(h.ctx, id.New[id.Tenant]())
	wants(t, "unknown id", err, "tenant_not_found")
	_, err = h.Get(t.Context(), got.ID)
	wants(t, "nobody", err, "credential_required")
}

func TestCreate_start(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	h.plan("trial-14")
	later := h.now.AddDate(0, 0, 3)
	for name, tc := range map[string]struct {
		p      tenant.CreateParams
		status tenant.Status
		ends   *time.Time
	}{
		"plan without trial":        {tenant.CreateParams{}, tenant.Active, nil},
		"plan with trial":           {tenant.CreateParams{Plan: "trial-14"}, tenant.Trial, new(h.now.AddDate(0, 0, 14))},
		"sold at once":              {tenant.CreateParams{Plan: "trial-14", Status: tenant.Active}, tenant.Active, nil},
		"trial of one's own length": {tenant.CreateParams{TrialEndsAt: &later}, tenant.Trial, &later},
		"trial said twice":          {tenant.CreateParams{Status: tenant.Trial, TrialEndsAt: &later, Plan: "trial-14"}, tenant.Trial, &later},
		"trial of the plan":         {tenant.CreateParams{Status: tenant.Trial, Plan: "trial-14"}, tenant.Trial, new(h.now.AddDate(0, 0, 14))},
		"demo":                      {tenant.CreateParams{Kind: tenant.KindDemo, Plan: "trial-14"}, tenant.Demo, nil},
		"internal":                  {tenant.CreateParams{Kind: tenant.KindInternal, Plan: "trial-14"}, tenant.Active, nil},
	} {
		v := h.make(tc.p)
		if v.Status != tc.status || gocmp.Diff(tc.ends, v.TrialEndsAt) != "" {
			t.Errorf("%s: got %s until %v, want %s until %v", name, v.Status, v.TrialEndsAt, tc.status, tc.ends)
		}
	}
}

func TestCreate_refused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	taken := h.make(tenant.CreateParams{ExternalID: slug(), ERPCustomerID: slug(), StripeCustomerID: slug()})
	for name, tc := range map[string]struct {
		p    tenant.CreateParams
		want string
	}{
		"nothing":              {tenant.CreateParams{}, "name:required slug:required"},
		"name without a slug":  {tenant.CreateParams{Name: "日本"}, "slug:required"},
		"bad slug":             {tenant.CreateParams{Name: "n", Slug: "-a-"}, "slug:slug_malformed"},
		"several":              {tenant.CreateParams{Slug: "Bad", Kind: "x", ContactEmail: "y"}, "contact_email:email_malformed kind:not_one_of name:required slug:slug_malformed"},
		"slug taken":           {tenant.CreateParams{Name: "n", Slug: taken.Slug}, "slug_taken"},
		"external id taken":    {tenant.CreateParams{Name: "n", Slug: slug(), ExternalID: taken.ExternalID}, "external_id_taken"},
		"erp id taken":         {tenant.CreateParams{Name: "n", Slug: slug(), ERPCustomerID: taken.ERPCustomerID}, "erp_customer_id_taken"},
		"stripe id taken":      {tenant.CreateParams{Name: "n", Slug: slug(), StripeCustomerID: taken.StripeCustomerID}, "stripe_cust_id_taken"},
		"unknown plan":         {tenant.CreateParams{Name: "n", Slug: slug(), Plan: "no-such-plan"}, "plan:plan_not_found"},
		"unknown parent":       {tenant.CreateParams{Name: "n", Slug: slug(), ParentID: id.New[id.Tenant]()}, "parent_not_found"},
		"starts frozen":        {tenant.CreateParams{Name: "n", Slug: slug(), Status: tenant.Frozen}, "status:not_one_of"},
		"demo status":          {tenant.CreateParams{Name: "n", Slug: slug(), Status: tenant.Demo}, "status:not_one_of"},
		"demo kind, active":    {tenant.CreateParams{Name: "n", Slug: slug(), Kind: tenant.KindDemo, Status: tenant.Active}, "status:not_one_of"},
		"trial without end":    {tenant.CreateParams{Name: "n", Slug: slug(), Status: tenant.Trial}, "trial_ends_at:required"},
		"trial over":           {tenant.CreateParams{Name: "n", Slug: slug(), TrialEndsAt: new(h.now)}, "trial_ends_at:in_the_past"},
		"active with a trial":  {tenant.CreateParams{Name: "n", Slug: slug(), Status: tenant.Active, TrialEndsAt: new(h.now.AddDate(0, 0, 1))}, "trial_ends_at:not_in_trial"},
		"NUL in the metadata":  {tenant.CreateParams{Name: "n", Slug: slug(), Metadata: map[string]any{"k": "a\x00b"}}, "invalid_text"},
		"contract in reverse":  {tenant.CreateParams{Name: "n", Slug: slug(), ContractStart: new(h.now), ContractEnd: new(h.now.AddDate(0, 0, -1))}, "contract_end:before_start"},
		"e-mail in bad format": {tenant.CreateParams{Name: "n", Slug: slug(), BillingEmail: "a b"}, "billing_email:email_malformed"},
	} {
		_, err := h.Create(h.ctx, tc.p)
		wants(t, name, err, tc.want)
	}
}

// What Provision refuses undoes the tenant.
func TestCreate_provisionRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	s := tenant.New(h.db, func(context.Context, pg.Tx, id.Tenant, string) (tenant.Provisioned, error) {
		return tenant.Provisioned{}, fault.InvalidField("plan", "plan_archived", "The plan is not sold any more.")
	})
	name := slug()
	_, err := s.Create(h.ctx, tenant.CreateParams{Name: name, Slug: name})
	wants(t, "refused", err, "plan:plan_archived")
	_, err = h.Resolve(h.ctx, tenant.Ref{Slug: name})
	wants(t, "left behind", err, "tenant_not_found")
}

// The statements of a create, so that a new one is a decision.
func TestCreate_statements(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	parent := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
	for name, tc := range map[string]struct {
		p    tenant.CreateParams
		want []string
	}{
		"root":  {tenant.CreateParams{}, []string{"BEGIN", "INSERT INTO tenants", "INSERT INTO audit_log", "INSERT INTO tenant_events", "COMMIT"}},
		"child": {tenant.CreateParams{ParentID: parent.ID}, []string{"BEGIN", "SELECT pg_advisory_xact_lock_shared", "SELECT", "INSERT INTO tenants", "INSERT INTO audit_log", "INSERT INTO tenant_events", "COMMIT"}},
	} {
		sent := pgtest.Statements(t, func(ctx context.Context) {
			who, _ := access.From(h.ctx)
			tc.p.Slug = slug()
			tc.p.Name = tc.p.Slug
			if _, err := h.Create(access.With(ctx, who), tc.p); err != nil {
				t.Fatal(err)
			}
		})
		ok := len(sent) == len(tc.want)
		for i := 0; ok && i < len(sent); i++ {
			ok = strings.HasPrefix(strings.ToUpper(strings.TrimSpace(sent[i])), strings.ToUpper(tc.want[i]))
		}
		if !ok {
			t.Errorf("%s: want %q, got %d statements:\n%s", name, tc.want, len(sent), strings.Join(sent, "\n"))
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	h.plan("pro")
	v := h.make(tenant.CreateParams{Metadata: map[string]any{"a": "1", "b": map[string]any{"c": true, "d": nil}}, ContactEmail: "a@b.example"})
	h.provisioned = nil
	s := slug()
	after, err := h.Update(h.ctx, v.ID, tenant.UpdateParams{
		IfMatch: v.UpdatedAt, Name: patch.Set("New"), Slug: patch.Set(s), Kind: patch.Set(tenant.KindReseller), Plan: patch.Set("pro"),
		ExternalID: patch.Set(s), ERPCustomerID: patch.Set(s), StripeCustomerID: patch.Set(s),
		ContactName: patch.Set("Bo"), ContactEmail: patch.Null[string](), ContactPhone: patch.Set("1"), BillingEmail: patch.Set("x@y.example"),
		AllowedOrigins: patch.Set([]string{"https://o.example"}),
		Metadata:       patch.Set(map[string]any{"a": nil, "b": map[string]any{"c": false}, "e": 5.0}),
		ContractStart:  patch.Set(h.now), ContractEnd: patch.Set(h.now), SalesOwner: patch.Set("sue"),
	})
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	want := v
	want.Name, want.Slug, want.Kind, want.Plan, want.ExternalID, want.ERPCustomerID, want.StripeCustomerID = "New", s, tenant.KindReseller, "pro", s, s, s
	want.ContactName, want.ContactEmail, want.ContactPhone, want.BillingEmail, want.AllowedOrigins = "Bo", "", "1", "x@y.example", []string{"https://o.example"}
	want.Metadata = map[string]any{"b": map[string]any{"c": false}, "e": 5.0}
	want.ContractStart, want.ContractEnd, want.SalesOwner, want.UpdatedAt = &day, &day, "sue", after.UpdatedAt
	if diff := gocmp.Diff(want, after); diff != "" {
		t.Errorf("updated (-want +got):\n%s", diff)
	}
	if !after.UpdatedAt.After(v.UpdatedAt) {
		t.Error("the version did not grow")
	}
	if want := []string{v.ID.String() + " pro"}; !slices.Equal(h.provisioned, want) {
		t.Errorf("provisioned %v, want %v", h.provisioned, want)
	}
	if got, want := h.trail(v), []string{"tenant.created", "tenant.updated"}; !slices.Equal(got, want) || h.notes(v) != 1 {
		t.Errorf("trail %v, %d notes", got, h.notes(v))
	}
	_, err = h.Update(h.ctx, v.ID, tenant.UpdateParams{IfMatch: v.UpdatedAt, Name: patch.Set("Newer")})
	wants(t, "stale", err, "stale_version")
	same, err := h.Update(h.ctx, v.ID, tenant.UpdateParams{Name: patch.Set(" New ")})
	if err != nil || !same.UpdatedAt.Equal(after.UpdatedAt) || len(h.trail(v)) != 2 {
		t.Errorf("a change of nothing: %v, %v", err, h.trail(v))
	}
}

func TestUpdate_refused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	v, demo, other := h.make(tenant.CreateParams{}), h.make(tenant.CreateParams{Kind: tenant.KindDemo}), h.make(tenant.CreateParams{})
	trial := h.make(tenant.CreateParams{TrialEndsAt: new(h.now.AddDate(0, 0, 5))})
	for name, tc := range map[string]struct {
		v    tenant.Tenant
		p    tenant.UpdateParams
		want string
	}{
		"no name":          {v, tenant.UpdateParams{Name: patch.Null[string]()}, "name:required"},
		"no plan":          {v, tenant.UpdateParams{Plan: patch.Null[string]()}, "plan:required"},
		"unknown plan":     {v, tenant.UpdateParams{Plan: patch.Set("no-such-plan")}, "plan:plan_not_found"},
		"no slug":          {v, tenant.UpdateParams{Slug: patch.Null[string]()}, "slug:required"},
		"slug taken":       {v, tenant.UpdateParams{Slug: patch.Set(other.Slug)}, "slug_taken"},
		"kind unknown":     {v, tenant.UpdateParams{Kind: patch.Set(tenant.Kind("x"))}, "kind:not_one_of"},
		"into demo":        {v, tenant.UpdateParams{Kind: patch.Set(tenant.KindDemo)}, "kind:immutable"},
		"out of demo":      {demo, tenant.UpdateParams{Kind: patch.Set(tenant.KindCustomer)}, "kind:immutable"},
		"trial end, sold":  {v, tenant.UpdateParams{TrialEndsAt: patch.Set(h.now.AddDate(0, 0, 9))}, "trial_ends_at:not_in_trial"},
		"trial end past":   {trial, tenant.UpdateParams{TrialEndsAt: patch.Set(h.now)}, "trial_ends_at:in_the_past"},
		"trial without":    {trial, tenant.UpdateParams{TrialEndsAt: patch.Null[time.Time]()}, "trial_ends_at:required"},
		"too much at once": {v, tenant.UpdateParams{Metadata: patch.Set(map[string]any{"k": strings.Repeat("x", 17<<10)})}, "metadata:too_large"},
		"start after end":  {h.make(tenant.CreateParams{ContractEnd: new(h.now)}), tenant.UpdateParams{ContractStart: patch.Set(h.now.AddDate(0, 0, 1))}, "contract_end:before_start"},
	} {
		_, err := h.Update(h.ctx, tc.v.ID, tc.p)
		wants(t, name, err, tc.want)
	}
	_, err := h.Update(h.ctx, id.New[id.Tenant](), tenant.UpdateParams{})
	wants(t, "unknown tenant", err, "tenant_not_found")
	got, err := h.Update(h.ctx, trial.ID, tenant.UpdateParams{TrialEndsAt: patch.Set(h.now.AddDate(0, 0, 30))})
	if err != nil || !got.TrialEndsAt.Equal(h.now.AddDate(0, 0, 30)) {
		t.Errorf("a longer trial: %v, %v", got.TrialEndsAt, err)
	}
}

// A tenant that is not live can't be changed, but for what puts it in order.
func TestUpdate_byStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	top := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
	v := h.make(tenant.CreateParams{ParentID: top.ID})
	name := func() tenant.UpdateParams { return tenant.UpdateParams{Name: patch.Set(slug())} }
	bill := func() tenant.UpdateParams { return tenant.UpdateParams{BillingEmail: patch.Set(slug() + "@b.example")} }
	own, end := h.as(v), tenant.UpdateParams{ContractEnd: patch.Set(h.now.AddDate(1, 0, 0))}
	update := func(ctx context.Context, p tenant.UpdateParams) error {
		_, err := h.Update(ctx, v.ID, p)
		return err
	}
	h.do(v, tenant.TransitionParams{Action: tenant.Freeze})
	wants(t, "frozen: operator", update(h.ctx, name()), "tenant_frozen")
	wants(t, "frozen: itself", update(own, name()), "tenant_frozen")
	wants(t, "frozen: billing contact", update(own, bill()), "")
	wants(t, "frozen: contract", update(h.ctx, end), "")
	h.do(v, tenant.TransitionParams{Action: tenant.Suspend})
	wants(t, "suspended: operator", update(h.ctx, name()), "")
	wants(t, "suspended: itself", update(own, bill()), "tenant_suspended")
	h.do(v, tenant.TransitionParams{Action: tenant.Archive})
	wants(t, "archived: operator", update(h.ctx, name()), "")
	wants(t, "archived: itself", update(own, bill()), "tenant_archived")
	h.do(v, tenant.TransitionParams{Action: tenant.Restore})
	h.do(v, tenant.TransitionParams{Action: tenant.Reactivate})
	wants(t, "live again", update(own, name()), "")
	h.do(top, tenant.TransitionParams{Action: tenant.Freeze})
	wants(t, "below a frozen one", update(own, name()), "tenant_frozen")
	got, err := h.Get(own, v.ID)
	if err != nil || got.Status != tenant.Active || got.Effective() != tenant.Frozen {
		t.Errorf("got %s, in effect %s, %v", got.Status, got.Effective(), err)
	}
}

func TestTransition(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	v := h.make(tenant.CreateParams{TrialEndsAt: new(h.now.AddDate(0, 0, 14))})
	for _, step := range []struct {
		p      tenant.TransitionParams
		status tenant.Status
		event  string
	}{
		{tenant.TransitionParams{Action: tenant.Suspend, Reason: "abuse"}, tenant.Suspended, "tenant.suspended"},
		{tenant.TransitionParams{Action: tenant.Resume}, tenant.Trial, "tenant.resumed"},
		{tenant.TransitionParams{Action: tenant.Activate, ContractEnd: new(h.now.AddDate(1, 0, 0))}, tenant.Active, "tenant.activated"},
		{tenant.TransitionParams{Action: tenant.Cancel, AtEnd: true}, tenant.Active, "tenant.cancelled"},
		{tenant.TransitionParams{Action: tenant.Reactivate}, tenant.Active, "tenant.reactivated"},
		{tenant.TransitionParams{Action: tenant.Cancel}, tenant.Frozen, "tenant.cancelled"},
		{tenant.TransitionParams{Action: tenant.Reactivate}, tenant.Active, "tenant.reactivated"},
		{tenant.TransitionParams{Action: tenant.Freeze, Reason: "unpaid"}, tenant.Frozen, "tenant.frozen"},
		{tenant.TransitionParams{Action: tenant.Suspend, Reason: "court"}, tenant.Suspended, "tenant.suspended"},
		{tenant.TransitionParams{Action: tenant.Resume}, tenant.Frozen, "tenant.resumed"},
		{tenant.TransitionParams{Action: tenant.Archive, Reason: "over"}, tenant.Archived, "tenant.archived"},
		{tenant.TransitionParams{Action: tenant.Hold, Reason: "case 7"}, tenant.Archived, "tenant.legal_hold_set"},
		{tenant.TransitionParams{Action: tenant.Release}, tenant.Archived, "tenant.legal_hold_cleared"},
		{tenant.TransitionParams{Action: tenant.Delete}, tenant.Archived, "tenant.deleted"},
		{tenant.TransitionParams{Action: tenant.Restore}, tenant.Frozen, "tenant.restored"},
	} {
		after, err := h.Transition(h.ctx, v.ID, step.p)
		if err != nil || after.Status != step.status {
			t.Fatalf("%s: %s, %v", step.p.Action, after.Status, err)
		}
		trail := h.trail(v)
		if last := trail[len(trail)-1]; last != step.event {
			t.Errorf("%s wrote %s, want %s", step.p.Action, last, step.event)
		}
		read, err := h.Get(h.ctx, v.ID)
		if diff := gocmp.Diff(after, read); err != nil || diff != "" {
			t.Errorf("%s: answered and stored differ: %v\n%s", step.p.Action, err, diff)
		}
	}
	if n := len(h.trail(v)); n != 16 || h.notes(v) != 15 {
		t.Errorf("%d records and %d notes of 15 transitions and a creation", n, h.notes(v))
	}
	_, err := h.Transition(h.ctx, v.ID, tenant.TransitionParams{Action: tenant.Suspend})
	wants(t, "no reason", err, "reason:required")
	_, err = h.Transition(h.ctx, v.ID, tenant.TransitionParams{Action: tenant.Suspend, Reason: strings.Repeat("x", 501)})
	wants(t, "long reason", err, "reason:too_long")
	_, err = h.Transition(h.ctx, v.ID, tenant.TransitionParams{Action: tenant.Activate})
	wants(t, "illegal", err, "illegal_transition")
	_, err = h.Transition(h.ctx, v.ID, tenant.TransitionParams{Action: "explode"})
	wants(t, "unknown", err, "illegal_transition")
	_, err = h.Transition(h.ctx, id.InternalTenant, tenant.TransitionParams{Action: tenant.Suspend, Reason: "x"})
	wants(t, "the internal tenant", err, "illegal_transition")
	if n := len(h.trail(v)); n != 16 {
		t.Errorf("what was refused wrote %d records", n-16)
	}
}

// The record says who, why, and from what to what.
func TestTransition_record(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	v := h.make(tenant.CreateParams{})
	h.do(v, tenant.TransitionParams{Action: tenant.Suspend, Reason: "abuse of renders"})
	type record struct {
		ActorID     string         `db:"actor_id"`
		ActorType   string         `db:"actor_type"`
		Description string         `db:"description"`
		TargetID    string         `db:"target_id"`
		Metadata    map[string]any `db:"metadata"`
	}
	var got record
	var payload map[string]any
	err := h.db.ReadOperator(h.ctx, func(tx pg.Tx) (err error) {
		got, err = pg.One[record](h.ctx, tx, `SELECT actor_id, actor_type, description, target_id, metadata FROM audit_log
			WHERE tenant_id = $1 AND action = 'tenant.suspended'`, v.ID)
		if err != nil {
			return err
		}
		raw, err := pg.Scalars[string](h.ctx, tx, `SELECT payload::text FROM tenant_events WHERE tenant_id = $1 AND type = 'tenant.suspended'`, v.ID)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(raw[0]), &payload)
	})
	if err != nil {
		t.Fatal(err)
	}
	meta := map[string]any{"from": "active", "to": "suspended", "reason": "abuse of renders"}
	want := record{"operator_test", "user", "abuse of renders", v.ID.String(), meta}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	wantPayload := map[string]any{"tenant": map[string]any{"id": v.ID.String(), "name": v.Name, "type": "tenant"}, "metadata": meta}
	if diff := gocmp.Diff(wantPayload, payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	top := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
	v := h.make(tenant.CreateParams{ParentID: top.ID})
	gone := func(x tenant.Tenant) error {
		_, err := h.Transition(h.ctx, x.ID, tenant.TransitionParams{Action: tenant.Delete})
		return err
	}
	wants(t, "live", gone(v), "illegal_transition")
	for _, x := range []tenant.Tenant{top, v} {
		h.do(x, tenant.TransitionParams{Action: tenant.Cancel})
		h.do(x, tenant.TransitionParams{Action: tenant.Archive})
	}
	wants(t, "with children", gone(top), "tenant_has_children")
	h.do(v, tenant.TransitionParams{Action: tenant.Hold})
	wants(t, "held", gone(v), "illegal_transition")
	h.do(v, tenant.TransitionParams{Action: tenant.Release})
	wants(t, "archived", gone(v), "")
	wants(t, "again", gone(v), "illegal_transition")
	if _, err := h.Get(h.ctx, v.ID); err != nil {
		t.Error("the platform does not see it any more:", err)
	}
	_, err := h.Get(h.as(v), v.ID)
	wants(t, "its own credential", err, "tenant_not_found")
	_, err = h.Get(h.as(top), v.ID)
	wants(t, "its reseller", err, "tenant_not_found")
	wants(t, "without children now", gone(top), "")
	_, err = h.Create(h.ctx, tenant.CreateParams{Name: "n", Slug: slug(), ParentID: top.ID})
	wants(t, "below a deleted one", err, "parent_not_found")
	for deleted, want := range map[bool]int{false: 0, true: 1} {
		p, err := h.List(h.ctx, tenant.Filter{Parent: top.ID, Deleted: deleted}, page.Request{})
		if err != nil || len(p.Data) != want {
			t.Errorf("deleted %v: %d listed, want %d, %v", deleted, len(p.Data), want, err)
		}
	}
	_, err = h.List(h.as(top), tenant.Filter{Deleted: true}, page.Request{})
	wants(t, "list of deleted", err, "deleted:platform_only")
	back := h.do(v, tenant.TransitionParams{Action: tenant.Restore})
	if back.DeletedAt != nil || back.Status != tenant.Frozen {
		t.Errorf("restored as %+v", back)
	}
}

func TestReseller(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	h.plan("pro")
	reseller, stranger := h.make(tenant.CreateParams{Kind: tenant.KindReseller}), h.make(tenant.CreateParams{})
	as := h.as(reseller)
	mine, err := h.Create(as, tenant.CreateParams{Name: "Mine", Slug: slug()})
	if err != nil || mine.ParentID != reseller.ID || !slices.Equal(mine.Ancestors, []id.Tenant{reseller.ID}) {
		t.Fatalf("created %+v, %v", mine, err)
	}
	create := func(p tenant.CreateParams) error {
		p.Name, p.Slug = "n", slug()
		_, err := h.Create(as, p)
		return err
	}
	update := func(x tenant.Tenant, p tenant.UpdateParams) error {
		_, err := h.Update(as, x.ID, p)
		return err
	}
	do := func(x tenant.Tenant, a tenant.Action) error {
		_, err := h.Transition(as, x.ID, tenant.TransitionParams{Action: a, Reason: "r"})
		return err
	}
	move := func(x tenant.Tenant, to id.Tenant) error {
		_, err := h.Move(as, x.ID, to)
		return err
	}
	later := h.now.AddDate(0, 1, 0)
	wants(t, "create below a stranger", create(tenant.CreateParams{ParentID: stranger.ID}), "parent_not_found")
	wants(t, "create below a customer", create(tenant.CreateParams{ParentID: mine.ID}), "parent_id:not_a_reseller")
	wants(t, "create internal", create(tenant.CreateParams{Kind: tenant.KindInternal}), "kind:platform_only")
	wants(t, "create demo", create(tenant.CreateParams{Kind: tenant.KindDemo}), "kind:platform_only")
	wants(t, "create sold", create(tenant.CreateParams{Status: tenant.Active}), "status:platform_only")
	wants(t, "create with the platform's fields", create(tenant.CreateParams{
		TrialEndsAt: &later, ExternalID: "x", ERPCustomerID: "x", StripeCustomerID: "x", ContractStart: &later, ContractEnd: &later, SalesOwner: "x",
	}), "contract_end:platform_only contract_start:platform_only erp_customer_id:platform_only external_id:platform_only "+
		"sales_owner:platform_only stripe_cust_id:platform_only trial_ends_at:platform_only")

	_, err = h.Get(as, stranger.ID)
	wants(t, "get a stranger", err, "tenant_not_found")
	_, err = h.Get(as, mine.ID)
	wants(t, "get mine", err, "")
	_, err = h.Get(h.as(mine), reseller.ID)
	wants(t, "get the one above", err, "tenant_not_found")
	list, err := h.List(as, tenant.Filter{}, page.Request{})
	if err != nil || len(list.Data) != 2 || list.Data[0].ID != mine.ID || list.Data[1].ID != reseller.ID {
		t.Errorf("listed %v, %v", list.Data, err)
	}
	list, err = h.List(as, tenant.Filter{Parent: stranger.ID}, page.Request{})
	if err != nil || len(list.Data) != 0 {
		t.Errorf("listed a stranger's children %v, %v", list.Data, err)
	}

	wants(t, "rename mine", update(mine, tenant.UpdateParams{Name: patch.Set("Mine too")}), "")
	wants(t, "rename itself", update(reseller, tenant.UpdateParams{Name: patch.Set("Me")}), "")
	wants(t, "rename a stranger", update(stranger, tenant.UpdateParams{Name: patch.Set("x")}), "tenant_not_found")
	wants(t, "own plan", update(reseller, tenant.UpdateParams{Plan: patch.Set("pro")}), "plan:platform_only")
	wants(t, "own kind", update(reseller, tenant.UpdateParams{Kind: patch.Set(tenant.KindEnterprise)}), "kind:platform_only")
	wants(t, "plan of mine", update(mine, tenant.UpdateParams{Plan: patch.Set("pro")}), "")
	wants(t, "mine internal", update(mine, tenant.UpdateParams{Kind: patch.Set(tenant.KindInternal)}), "kind:platform_only")
	wants(t, "slug of mine", update(mine, tenant.UpdateParams{Slug: patch.Set(slug())}), "slug:platform_only")
	wants(t, "contract of mine", update(mine, tenant.UpdateParams{ContractEnd: patch.Set(later)}), "contract_end:platform_only")

	wants(t, "own lifecycle", do(reseller, tenant.Cancel), "own_lifecycle")
	wants(t, "a stranger's lifecycle", do(stranger, tenant.Suspend), "tenant_not_found")
	wants(t, "suspend mine", do(mine, tenant.Suspend), "")
	wants(t, "resume mine", do(mine, tenant.Resume), "")
	wants(t, "hold mine", do(mine, tenant.Hold), "platform_only")
	wants(t, "cancel mine", do(mine, tenant.Cancel), "")
	wants(t, "archive mine", do(mine, tenant.Archive), "")
	wants(t, "delete mine", do(mine, tenant.Delete), "platform_only")
	wants(t, "restore mine", do(mine, tenant.Restore), "")
	wants(t, "reactivate mine", do(mine, tenant.Reactivate), "")
	h.do(mine, tenant.TransitionParams{Action: tenant.Suspend})
	wants(t, "resume what the platform suspended", do(mine, tenant.Resume), "status_locked")
	h.do(mine, tenant.TransitionParams{Action: tenant.Resume})
	wants(t, "freeze after that", do(mine, tenant.Freeze), "")
	h.do(reseller, tenant.TransitionParams{Action: tenant.Freeze})
	wants(t, "reactivate when frozen itself", do(mine, tenant.Reactivate), "tenant_frozen")
	wants(t, "create when frozen itself", create(tenant.CreateParams{}), "tenant_frozen")
	h.do(reseller, tenant.TransitionParams{Action: tenant.Reactivate})
	h.do(mine, tenant.TransitionParams{Action: tenant.Reactivate})

	sub, err := h.Create(as, tenant.CreateParams{Name: "Sub", Slug: slug(), Kind: tenant.KindReseller})
	wants(t, "a reseller below", err, "")
	wants(t, "move mine below it", move(mine, sub.ID), "")
	wants(t, "move mine out", move(mine, id.Tenant{}), "platform_only")
	wants(t, "move mine to a stranger", move(mine, stranger.ID), "parent_not_found")
	wants(t, "move a stranger in", move(stranger, reseller.ID), "tenant_not_found")
	wants(t, "move itself", move(reseller, sub.ID), "own_place")
	in, err := h.Within(as, sub.ID, mine.ID)
	if !in || err != nil {
		t.Errorf("moved and not within: %v", err)
	}

	viewer := access.With(h.ctx, access.Principal{Type: access.APIKey, Tenant: reseller.ID, Permissions: access.NewSet(access.TenantsRead)})
	_, err = h.Create(viewer, tenant.CreateParams{Name: "n", Slug: slug()})
	wants(t, "create without permission", err, "permission_denied")
	_, err = h.Transition(viewer, reseller.ID, tenant.TransitionParams{Action: tenant.Suspend, Reason: "r"})
	wants(t, "suspend without permission", err, "permission_denied")
}

func TestTree(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	below := func(p tenant.Tenant) tenant.Tenant {
		return h.make(tenant.CreateParams{ParentID: p.ID, Kind: tenant.KindReseller})
	}
	a := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
	b, c := below(a), below(a)
	d := below(b)
	e := below(d)
	x := h.make(tenant.CreateParams{Kind: tenant.KindReseller}) // a tree that must not show
	subtree := func(top tenant.Tenant, levels, limit int) []id.Tenant {
		var got []id.Tenant
		r := page.Request{Limit: limit}
		for {
			p, err := h.Subtree(h.ctx, top.ID, levels, r)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range p.Data {
				got = append(got, v.ID)
			}
			if r.Cursor = p.Next; p.Next == "" {
				return got
			}
		}
	}
	ids := func(vs ...tenant.Tenant) []id.Tenant {
		var out []id.Tenant
		for _, v := range vs {
			out = append(out, v.ID)
		}
		return out
	}
	check := func(what string, got, want []id.Tenant) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	for limit := 1; limit <= 6; limit++ {
		check("whole tree", subtree(a, 0, limit), ids(a, b, d, e, c))
	}
	check("children", subtree(a, 1, 2), ids(a, b, c))
	check("a part", subtree(b, 0, 2), ids(b, d, e))
	check("a leaf", subtree(e, 0, 2), ids(e))

	if e.Depth() != 3 || !slices.Equal(e.Ancestors, ids(a, b, d)) {
		t.Errorf("ancestors of e: %v", e.Ancestors)
	}
	f := below(e)
	_, err := h.Create(h.ctx, tenant.CreateParams{Name: "n", Slug: slug(), ParentID: f.ID})
	wants(t, "a sixth level", err, "tenant_too_deep")

	move := func(v tenant.Tenant, to id.Tenant) (tenant.Tenant, error) { return h.Move(h.ctx, v.ID, to) }
	_, err = move(a, e.ID)
	wants(t, "below its own grandchild", err, "tenant_cycle")
	_, err = move(a, a.ID)
	wants(t, "below itself", err, "tenant_cycle")
	_, err = move(a, x.ID)
	wants(t, "five levels below another", err, "tenant_too_deep")
	_, err = move(id2(id.New[id.Tenant]()), x.ID)
	wants(t, "unknown tenant", err, "tenant_not_found")
	_, err = move(b, id.New[id.Tenant]())
	wants(t, "unknown parent", err, "parent_not_found")
	_, err = move(id2(id.InternalTenant), x.ID)
	wants(t, "the internal tenant", err, "tenant_internal")

	moved, err := move(b, x.ID)
	if err != nil || !slices.Equal(moved.Ancestors, ids(x)) || moved.ParentID != x.ID {
		t.Fatalf("moved: %+v, %v", moved, err)
	}
	check("where it was", subtree(a, 0, 2), ids(a, c))
	check("where it went", subtree(x, 0, 2), ids(x, b, d, e, f))
	if got, err := h.Get(h.ctx, f.ID); err != nil || !slices.Equal(got.Ancestors, ids(x, b, d, e)) {
		t.Errorf("ancestors of the lowest: %v, %v", got.Ancestors, err)
	}
	h.do(x, tenant.TransitionParams{Action: tenant.Suspend})
	if got, _ := h.Get(h.ctx, f.ID); got.Effective() != tenant.Suspended {
		t.Errorf("in effect %s below a suspended one", got.Effective())
	}
	root, err := move(b, id.Tenant{}) // an operator takes them out of the suspended tree
	if err != nil || len(root.Ancestors) != 0 || !root.ParentID.IsZero() || root.Effective() != tenant.Active {
		t.Errorf("to the root: %+v, %v", root, err)
	}
	if got := h.trail(b); !slices.Equal(got, []string{"tenant.created", "tenant.moved", "tenant.moved"}) {
		t.Errorf("trail %v", got)
	}
	same, err := move(b, id.Tenant{})
	if err != nil || len(h.trail(b)) != 3 || !same.UpdatedAt.Equal(root.UpdatedAt) {
		t.Errorf("a move to where it is: %v, %v", err, h.trail(b))
	}
	_, err = h.Subtree(h.as(c), a.ID, 0, page.Request{})
	wants(t, "the tree above", err, "tenant_not_found")
	_, err = h.Subtree(h.ctx, id.New[id.Tenant](), 0, page.Request{})
	wants(t, "an unknown tree", err, "tenant_not_found")
	_, err = h.Subtree(h.ctx, a.ID, 9, page.Request{})
	wants(t, "levels", err, "levels:out_of_range")
	p, _ := h.Subtree(h.ctx, b.ID, 0, page.Request{Limit: 1})
	_, err = h.Subtree(h.ctx, a.ID, 0, page.Request{Cursor: p.Next})
	wants(t, "another tree's cursor", err, "cursor_malformed")
}

func id2(t id.Tenant) tenant.Tenant { return tenant.Tenant{ID: t} }

func TestList(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.Clone(t))
	h.plan("pro")
	reseller := h.make(tenant.CreateParams{Name: "Grand Résumé", Kind: tenant.KindReseller, Slug: "grand-resume"})
	a := h.make(tenant.CreateParams{Name: "Alpha 100%", Slug: "alpha-one", Plan: "pro", ParentID: reseller.ID, Metadata: map[string]any{"tier": "gold", "seats": 5.0, "vip": true}})
	b := h.make(tenant.CreateParams{Name: "Beta_Test", Slug: "beta-two", ExternalID: "crm-1", ERPCustomerID: "erp-1", StripeCustomerID: "cus_1", Metadata: map[string]any{"tier": "iron"}})
	c := h.make(tenant.CreateParams{Name: "Gamma", Slug: "gamma-three", TrialEndsAt: new(h.now.AddDate(0, 0, 9)), ParentID: reseller.ID})
	internal := tenant.Tenant{ID: id.InternalTenant, Slug: "internal"}
	h.do(b, tenant.TransitionParams{Action: tenant.Freeze})
	h.do(reseller, tenant.TransitionParams{Action: tenant.Suspend})
	for name, tc := range map[string]struct {
		f    tenant.Filter
		want []tenant.Tenant
	}{
		"all":                     {tenant.Filter{}, []tenant.Tenant{c, b, a, reseller, internal}},
		"own status":              {tenant.Filter{Status: tenant.Active}, []tenant.Tenant{a, internal}},
		"in effect active":        {tenant.Filter{EffectiveStatus: tenant.Active}, []tenant.Tenant{internal}},
		"in effect trial":         {tenant.Filter{EffectiveStatus: tenant.Trial}, nil},
		"in effect suspended":     {tenant.Filter{EffectiveStatus: tenant.Suspended}, []tenant.Tenant{c, a, reseller}},
		"in effect frozen":        {tenant.Filter{EffectiveStatus: tenant.Frozen}, []tenant.Tenant{b}},
		"kind":                    {tenant.Filter{Kind: tenant.KindReseller}, []tenant.Tenant{reseller}},
		"plan":                    {tenant.Filter{Plan: "pro"}, []tenant.Tenant{a}},
		"parent":                  {tenant.Filter{Parent: reseller.ID}, []tenant.Tenant{c, a}},
		"external id":             {tenant.Filter{ExternalID: "crm-1"}, []tenant.Tenant{b}},
		"erp":                     {tenant.Filter{ERPCustomerID: "erp-1"}, []tenant.Tenant{b}},
		"stripe":                  {tenant.Filter{StripeCustomerID: "cus_1"}, []tenant.Tenant{b}},
		"metadata key":            {tenant.Filter{MetadataKey: "tier"}, []tenant.Tenant{b, a}},
		"metadata text":           {tenant.Filter{MetadataKey: "tier", MetadataValue: new("gold")}, []tenant.Tenant{a}},
		"metadata number":         {tenant.Filter{MetadataKey: "seats", MetadataValue: new("5")}, []tenant.Tenant{a}},
		"metadata boolean":        {tenant.Filter{MetadataKey: "vip", MetadataValue: new("true")}, []tenant.Tenant{a}},
		"metadata nothing":        {tenant.Filter{MetadataKey: "tier", MetadataValue: new("")}, nil},
		"search name":             {tenant.Filter{Query: "RÉSUMÉ"}, []tenant.Tenant{reseller}},
		"search slug":             {tenant.Filter{Query: "a-t"}, []tenant.Tenant{c, b}},
		"search takes % as it is": {tenant.Filter{Query: "0%"}, []tenant.Tenant{a}},
		"search takes _ as it is": {tenant.Filter{Query: "a_t"}, []tenant.Tenant{b}},
		"search backslash":        {tenant.Filter{Query: `\`}, nil},
		"several":                 {tenant.Filter{Kind: tenant.KindCustomer, Parent: reseller.ID, Query: "gam"}, []tenant.Tenant{c}},
	} {
		for limit := 1; limit <= 3; limit++ {
			var got, want []string
			r := page.Request{Limit: limit}
			for {
				p, err := h.List(h.ctx, tc.f, r)
				if err != nil {
					t.Fatal(name, err)
				}
				for _, v := range p.Data {
					got = append(got, v.Slug)
				}
				if r.Cursor = p.Next; p.Next == "" {
					break
				}
			}
			for _, v := range tc.want {
				want = append(want, v.Slug)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: got %v, want %v", name, limit, got, want)
			}
		}
	}
	for name, tc := range map[string]struct {
		f    tenant.Filter
		r    page.Request
		want string
	}{
		"status":       {tenant.Filter{Status: "x"}, page.Request{}, "status:not_one_of"},
		"effective":    {tenant.Filter{EffectiveStatus: "x"}, page.Request{}, "effective_status:not_one_of"},
		"kind":         {tenant.Filter{Kind: "x"}, page.Request{}, "kind:not_one_of"},
		"metadata":     {tenant.Filter{MetadataKey: "a b"}, page.Request{}, "metadata:key_malformed"},
		"search":       {tenant.Filter{Query: strings.Repeat("x", 101)}, page.Request{}, "q:too_long"},
		"limit":        {tenant.Filter{}, page.Request{Limit: 201}, "limit:out_of_range"},
		"cursor":       {tenant.Filter{}, page.Request{Cursor: "x"}, "cursor_malformed"},
		"other cursor": {tenant.Filter{}, page.Request{Cursor: page.Encode("keys", "x")}, "cursor_malformed"},
	} {
		_, err := h.List(h.ctx, tc.f, tc.r)
		wants(t, name, err, tc.want)
	}
}

func TestTick(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.Clone(t))
	h.plan("trial-14")
	day := func(n int) time.Time { return h.now.AddDate(0, 0, n) }
	trial := h.make(tenant.CreateParams{Name: "trial", Plan: "trial-14"})
	contract := h.make(tenant.CreateParams{Name: "contract", ContractEnd: new(day(9))})
	notice := h.make(tenant.CreateParams{Name: "notice", ContractEnd: new(day(9))})
	h.do(notice, tenant.TransitionParams{Action: tenant.Cancel, AtEnd: true})
	held := h.make(tenant.CreateParams{Name: "suspended", Plan: "trial-14"})
	h.do(held, tenant.TransitionParams{Action: tenant.Suspend})
	h.make(tenant.CreateParams{Name: "demo", Kind: tenant.KindDemo, Plan: "trial-14", ContractEnd: new(day(1))})
	open := h.make(tenant.CreateParams{Name: "open"})

	start := h.now
	due, err := h.Due(h.ctx, day(365), page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC)
	row := func(v tenant.Tenant, at time.Time, a tenant.Action, from, to tenant.Status, reason string) tenant.Due {
		return tenant.Due{TenantID: v.ID, Slug: v.Slug, Name: v.Name, At: at, Action: a, From: from, To: to, Reason: reason}
	}
	want := []tenant.Due{
		row(contract, midnight, tenant.Freeze, tenant.Active, tenant.Frozen, "contract ended"),
		row(notice, midnight, tenant.Freeze, tenant.Active, tenant.Frozen, "cancelled"),
		row(trial, day(14), tenant.Freeze, tenant.Trial, tenant.Frozen, "trial ended"),
		row(contract, midnight.Add(tenant.Grace), tenant.Archive, tenant.Frozen, tenant.Archived, "grace period over"),
		row(notice, midnight.Add(tenant.Grace), tenant.Archive, tenant.Frozen, tenant.Archived, "grace period over"),
		row(trial, day(44), tenant.Archive, tenant.Frozen, tenant.Archived, "grace period over"),
	}
	if diff := gocmp.Diff(want, due.Data); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	var paged []tenant.Due
	for r := (page.Request{Limit: 1}); ; {
		p, err := h.Due(h.ctx, day(365), r)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, p.Data...)
		if r.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	if diff := gocmp.Diff(want, paged); diff != "" {
		t.Errorf("due, one by one (-want +got):\n%s", diff)
	}
	if mine, err := h.Due(h.as(trial), day(365), page.Request{}); err != nil || len(mine.Data) != 2 {
		t.Errorf("a tenant's own: %v, %v", mine.Data, err)
	}
	if soon, err := h.Due(h.ctx, midnight, page.Request{}); err != nil || len(soon.Data) != 2 {
		t.Errorf("until the contract's end: %v, %v", soon.Data, err)
	}

	tick := func(now time.Time, want tenant.Ticked) {
		t.Helper()
		h.mu.Lock()
		h.now = now
		h.mu.Unlock()
		if got, err := h.Tick(t.Context(), now); err != nil || got != want {
			t.Errorf("tick at %v: %+v, %v, want %+v", now, got, err, want)
		}
	}
	tick(start.AddDate(0, 0, 1), tenant.Ticked{})
	tick(midnight.Add(-time.Second), tenant.Ticked{})
	tick(midnight, tenant.Ticked{Frozen: 2})
	tick(midnight, tenant.Ticked{})
	// Nobody ticks for 60 days: the trial's grace begins only now.
	late := start.AddDate(0, 0, 60)
	tick(late, tenant.Ticked{Frozen: 1, Archived: 2})
	tick(late, tenant.Ticked{})
	got, err := h.Get(h.ctx, trial.ID)
	if err != nil || got.Status != tenant.Frozen || !got.FrozenAt.Equal(late) || !got.ArchiveDueAt.Equal(late.Add(tenant.Grace)) || got.FreezeReason != "trial ended" || got.StatusLocked {
		t.Errorf("missed, then frozen: %+v, %v", got, err)
	}
	if got := h.trail(trial); !slices.Equal(got, []string{"tenant.created", "tenant.frozen"}) {
		t.Errorf("trail %v", got)
	}
	if got := h.trail(contract); !slices.Equal(got, []string{"tenant.created", "tenant.frozen", "tenant.archived"}) {
		t.Errorf("trail %v", got)
	}
	for _, v := range []tenant.Tenant{open, held} {
		if got, _ := h.Get(h.ctx, v.ID); got.Status == tenant.Frozen || got.Status == tenant.Archived {
			t.Errorf("%s became %s", got.Name, got.Status)
		}
	}
	h.do(held, tenant.TransitionParams{Action: tenant.Resume})
	tick(late, tenant.Ticked{Frozen: 1})
}

// Two replicas that tick together carry out each transition once.
func TestTick_replicas(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.Clone(t))
	var all []tenant.Tenant
	for range 60 {
		all = append(all, h.make(tenant.CreateParams{TrialEndsAt: new(h.now.AddDate(0, 0, 1))}))
	}
	late := h.now.AddDate(0, 0, 2)
	var wg sync.WaitGroup
	counts := make([]tenant.Ticked, 3)
	for i := range counts {
		wg.Go(func() {
			var err error
			if counts[i], err = h.Tick(t.Context(), late); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rest, err := h.Tick(t.Context(), late) // what one of them left to another that was not done yet
	if err != nil {
		t.Fatal(err)
	}
	sum := rest.Frozen
	for _, c := range counts {
		sum += c.Frozen
	}
	if sum != len(all) {
		t.Errorf("froze %d of %d: %v, %v", sum, len(all), counts, rest)
	}
	for _, v := range all {
		if got := h.trail(v); !slices.Equal(got, []string{"tenant.created", "tenant.frozen"}) {
			t.Errorf("trail %v", got)
		}
	}
}

// Two operators suspend at once: one does, the other is told.
func TestTransition_race(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	v := h.make(tenant.CreateParams{})
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = h.Transition(h.ctx, v.ID, tenant.TransitionParams{Action: tenant.Suspend, Reason: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else {
			wants(t, "the later one", err, "illegal_transition")
		}
	}
	if done != 1 || !slices.Equal(h.trail(v), []string{"tenant.created", "tenant.suspended"}) {
		t.Errorf("%d suspended it: %v", done, h.trail(v))
	}
}

// Moves and creates that cross each other never leave a cycle or a wrong path.
func TestMove_race(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	for range 5 {
		top := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
		a, b := h.make(tenant.CreateParams{ParentID: top.ID}), h.make(tenant.CreateParams{ParentID: top.ID})
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { _, errs[0] = h.Move(h.ctx, a.ID, b.ID) })
		wg.Go(func() { _, errs[1] = h.Move(h.ctx, b.ID, a.ID) })
		for range 3 {
			wg.Go(func() {
				s := slug()
				if _, err := h.Create(h.ctx, tenant.CreateParams{Name: s, Slug: s, ParentID: a.ID}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("both or none moved: %v", errs)
		}
		wants(t, "the later move", cmp.Or(errs[0], errs[1]), "tenant_cycle")
		all, err := h.Subtree(h.ctx, top.ID, 0, page.Request{})
		if err != nil || len(all.Data) != 6 {
			t.Fatalf("%d in the tree, %v", len(all.Data), err)
		}
		parents := map[id.Tenant]tenant.Tenant{}
		for _, v := range all.Data {
			parents[v.ID] = v
		}
		for _, v := range all.Data[1:] {
			if p := parents[v.ParentID]; !slices.Equal(v.Ancestors, append(slices.Clone(p.Ancestors), p.ID)) {
				t.Errorf("the path of %s is not its parent's: %v", v.ID, v.Ancestors)
			}
		}
	}
}

// Two updates at once: what the second did not name is what the first wrote.
func TestUpdate_race(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	v := h.make(tenant.CreateParams{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := h.Update(h.ctx, v.ID, tenant.UpdateParams{Metadata: patch.Set(map[string]any{fmt.Sprint("k", i): "v"})})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := h.Get(h.ctx, v.ID)
	if err != nil || len(got.Metadata) != 8 || len(h.trail(v)) != 9 {
		t.Errorf("%d keys, %d records, %v", len(got.Metadata), len(h.trail(v)), err)
	}
	var done int
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			_, err := h.Update(h.ctx, v.ID, tenant.UpdateParams{IfMatch: got.UpdatedAt, Name: patch.Set(slug())})
			if mu.Lock(); err == nil {
				done++
			} else if !errors.Is(err, fault.StaleVersion()) {
				t.Error(err)
			}
			mu.Unlock()
		})
	}
	wg.Wait()
	if done != 1 {
		t.Errorf("%d went through with one version", done)
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	a := h.make(tenant.CreateParams{Kind: tenant.KindReseller})
	b := h.make(tenant.CreateParams{ParentID: a.ID})
	for _, tc := range []struct {
		root, v id.Tenant
		want    bool
	}{{a.ID, b.ID, true}, {a.ID, a.ID, true}, {b.ID, a.ID, false}, {id.InternalTenant, a.ID, false}, {a.ID, id.New[id.Tenant](), false}} {
		var sent []string
		var got bool
		var err error
		sent = pgtest.Statements(t, func(ctx context.Context) { got, err = h.Within(ctx, tc.root, tc.v) })
		if err != nil || got != tc.want || len(sent) != 3 { // BEGIN, the question, COMMIT
			t.Errorf("%s within %s: %v, %v, %q", tc.v, tc.root, got, err, sent)
		}
	}
}
