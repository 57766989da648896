package apikey_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// left is what a decision says, without what a limit is.
type left struct {
	Name      string
	Allowed   bool
	Remaining int64
}

func lefts(v apikey.Verification) (out []left) {
	for _, n := range v.RateLimits(nil) {
		out = append(out, left{n.Name, n.Decision.Allowed, n.Decision.Remaining})
	}
	return out
}

// limited is a key of 1000 requests a minute with limits of its own, of its tenant
// and of its product.
func (w *world) limited() (apikey.Key, apikey.VerifyParams) {
	w.exec(`INSERT INTO tenant_rate_limits (tenant_id, name, product, limit_value, window_secs, burst, named_only) VALUES
		($1, 'everything', NULL, 500, 3600, NULL, FALSE), ($1, 'replaced', $2, 40, 3600, 30, FALSE), ($1, 'elsewhere', NULL, 5, 60, NULL, TRUE)`,
		w.tenant, w.product)
	w.exec(`UPDATE products SET rate_limits = '[{"name": "renders", "limit": 20, "window": 60, "per": "tenant"},
		{"name": "replaced", "limit": 1, "window": 60, "per": "tenant"}, {"name": "each", "limit": 10, "window": 60, "per": "key"}]' WHERE name = $1`, w.product)
	k, token := w.create(func(p *apikey.CreateParams) {
		p.RateLimitRPM = 1000
		p.RateLimits = []ratelimit.Rule{{Name: "renders", Limit: 100, Window: 60}, {Name: "heavy", Limit: 6, Window: 60, NamedOnly: true}}
	})
	return k, apikey.VerifyParams{Token: token, Product: w.product}
}

// Which limits a verification comes to, and what it spends of them.
func TestCheck_limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p := w.limited()
	ask := func(what string, p apikey.VerifyParams, outcome apikey.Outcome, want ...left) {
		t.Helper()
		v := w.check(p)
		if d := cmp.Diff(want, lefts(v)); v.Outcome != outcome || d != "" {
			t.Errorf("%s: %s, %s", what, v.Outcome, d)
		}
	}
	ask("all that apply by themselves", p, apikey.Valid, left{"key", true, 999}, left{"key.renders", true, 99},
		left{"everything", true, 499}, left{"replaced", true, 29}, left{"renders", true, 19}, left{"each", true, 9})
	all := p
	all.Product = ""
	ask("no product", all, apikey.Valid, left{"key", true, 998}, left{"key.renders", true, 98}, left{"everything", true, 498})
	all.Cost = 8
	ask("a cost is of all", all, apikey.Valid, left{"key", true, 990}, left{"key.renders", true, 90}, left{"everything", true, 490})
	named := p
	named.Limits = []apikey.LimitCost{{"renders", 5}, {"heavy", 2}, {"key", 10}, {"each", 0}}
	ask("a name is of each owner", named, apikey.Valid, left{"key", true, 980}, left{"key.heavy", true, 4}, left{"key.renders", true, 85},
		left{"everything", true, 489}, left{"replaced", true, 28}, left{"renders", true, 14}, left{"each", true, 9})
	named.Peek = true
	ask("a look", named, apikey.Valid, left{"key", true, 980}, left{"key.heavy", true, 4}, left{"key.renders", true, 85},
		left{"everything", true, 489}, left{"replaced", true, 28}, left{"renders", true, 14}, left{"each", true, 9})
	named.Peek = false
	named.Limits[0].Cost, named.Limits[1].Cost = 15, 5
	for range 2 {
		ask("two deny, none is spent", named, apikey.RateLimited, left{"key", true, 980}, left{"key.heavy", false, 4}, left{"key.renders", true, 85},
			left{"everything", true, 489}, left{"replaced", true, 28}, left{"renders", false, 14}, left{"each", true, 9})
	}
	v := w.check(named)
	names, after := ratelimit.Violated(v.RateLimits(nil))
	// One of heavy's comes back in 10 s, one of the product's renders in 3 s.
	if d := cmp.Diff([]string{"key.heavy", "renders"}, names); d != "" || after != 10 {
		t.Errorf("%s, after %d s", d, after)
	}
	w.clock.advance(9 * time.Second)
	if o := w.check(named).Outcome; o != apikey.RateLimited {
		t.Errorf("before the latest: %s", o)
	}
	w.clock.advance(time.Second)
	if o := w.check(named).Outcome; o != apikey.Valid {
		t.Errorf("at the latest: %s", o)
	}
}

// What all keys of a tenant have together, each has less of; what is per key, each
// has for itself.
func TestCheck_limitsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p := w.limited()
	_, token := w.create()
	q := apikey.VerifyParams{Token: token, Product: w.product}
	w.check(p)
	want := []left{{"key", true, 599}, {"everything", true, 498}, {"replaced", true, 28}, {"renders", true, 18}, {"each", true, 9}}
	if d := cmp.Diff(want, lefts(w.check(q))); d != "" {
		t.Error(d)
	}
	other := w.newTenant(w.tenant) // below it, and on its own
	w.entitle(other, w.product)
	_, token = w.create(func(p *apikey.CreateParams) { p.TenantID = other })
	want = []left{{"key", true, 599}, {"renders", true, 19}, {"replaced", true, 0}, {"each", true, 9}}
	if d := cmp.Diff(want, lefts(w.check(apikey.VerifyParams{Token: token, Product: w.product}))); d != "" {
		t.Error(d)
	}
}

// A plan has other numbers for what the product declares, and a limit of the tenant
// takes the place of both.
func TestCheck_limitsOfThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan := "plan-" + w.slug[2:10]
	w.exec(`UPDATE products SET rate_limits = '[{"name": "renders", "limit": 20, "window": 60, "per": "key", "named_only": true}]' WHERE name = $1`, w.product)
	w.exec(`INSERT INTO plans (name, title) VALUES ($1, 'Plan')`, plan)
	w.exec(`INSERT INTO plan_products (plan, product, rate_limits) VALUES ($1, $2, '[{"name": "renders", "limit": 200, "window": 60}]')`, plan, w.product)
	k, token := w.create()
	p := apikey.VerifyParams{Token: token, Product: w.product, Limits: []apikey.LimitCost{{"renders", 1}}}
	ask := func(n int64) {
		t.Helper()
		if got := lefts(w.check(p)); len(got) != 2 || got[1] != (left{"renders", true, n}) {
			t.Errorf("%v, want %d", got, n)
		}
	}
	ask(19)
	w.exec(`UPDATE tenants SET plan = $2 WHERE id = $1`, w.tenant, plan)
	w.verifier.Apply([]changefeed.Change{{Kind: "tenant", TenantID: w.tenant, ID: w.tenant.UUID()}})
	ask(189) // a bucket is a time: the 3 s in which one of 20 comes back are 10 of 200
	w.exec(`INSERT INTO tenant_rate_limits (tenant_id, name, limit_value, window_secs, named_only) VALUES ($1, 'renders', 2000, 60, TRUE)`, w.tenant)
	w.verifier.Apply([]changefeed.Change{{Kind: "rate_limit", TenantID: w.tenant, ID: "renders"}})
	ask(1999)
	if k.RateLimitRPM != apikey.DefaultRPM {
		t.Error(k.RateLimitRPM)
	}
}

// A name that nobody has a limit of is a mistake of who asks, unless something else
// denies first.
func TestCheck_limitUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p := w.limited()
	before := lefts(w.check(apikey.VerifyParams{Token: p.Token, Product: p.Product, Peek: true}))
	p.Limits = []apikey.LimitCost{{"key", 1}, {"rendres", 1}}
	_, err := w.verifier.Check(t.Context(), &p)
	wantField(t, err, "limits[1].name", "rate_limit_not_found")
	p.Limits[1].Name = "each" // of the product, which is not asked for
	p.Product = ""
	_, err = w.verifier.Check(t.Context(), &p)
	wantField(t, err, "limits[1].name", "rate_limit_not_found")
	p.Scopes = []string{"no:no"}
	if o := w.check(p).Outcome; o != apikey.InsufficientScope {
		t.Error(o)
	}
	if d := cmp.Diff(before, lefts(w.check(apikey.VerifyParams{Token: p.Token, Product: w.product, Peek: true}))); d != "" {
		t.Errorf("a mistake spends: %s", d)
	}
	for field, limits := range map[string][]apikey.LimitCost{
		"limits[0].name": {{"Renders", 1}},
		"limits[1].name": {{"renders", 1}, {"renders", 2}},
		"limits[0].cost": {{"renders", -1}},
		"limits":         make([]apikey.LimitCost, 11),
	} {
		err := (&apikey.VerifyParams{Token: p.Token, Limits: limits}).Validate()
		if f := fault.As(err); len(f.Fields) == 0 || f.Kind != fault.InvalidKind {
			t.Errorf("%s: %v", field, err)
		} else if f.Fields[0].Field != field {
			t.Errorf("%s: %+v", field, f.Fields)
		}
	}
}

// Questions of a batch spend as if each were asked alone: in their order, each all or
// nothing, and a mistake in one is the answer to that one.
func TestCheckAll_limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p := w.limited()
	question := func(limits ...apikey.LimitCost) apikey.Question {
		q := apikey.Question{VerifyParams: p}
		q.Limits = limits
		return q
	}
	answers, err := w.verifier.CheckAll(t.Context(), []apikey.Question{
		question(apikey.LimitCost{Name: "heavy", Cost: 4}),
		question(apikey.LimitCost{Name: "heavy", Cost: 4}), // 2 are left
		question(apikey.LimitCost{Name: "haevy", Cost: 1}),
		question(apikey.LimitCost{Name: "heavy", Cost: 2}),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantField(t, answers[2].Err, "limits[0].name", "rate_limit_not_found")
	others := []left{{"key.renders", true, 98}, {"everything", true, 498}, {"replaced", true, 28}, {"renders", true, 18}, {"each", true, 8}}
	for i, want := range map[int]struct {
		outcome apikey.Outcome
		first   []left
	}{
		1: {apikey.RateLimited, []left{{"key", true, 999}, {"key.heavy", false, 2}}},
		3: {apikey.Valid, []left{{"key", true, 998}, {"key.heavy", true, 0}}},
	} {
		got := lefts(answers[i].Verification)
		if answers[i].Err != nil || answers[i].Outcome != want.outcome || len(got) < 2 || !cmp.Equal(got[:2], want.first) {
			t.Errorf("%d: %v %s, %v", i, answers[i].Err, answers[i].Outcome, got)
		}
	}
	if d := cmp.Diff(others, lefts(answers[3].Verification)[2:]); d != "" {
		t.Errorf("what was refused spent something: %s", d)
	}
}

// A key's limits are issued, changed, rotated along and refused when they are not
// well formed.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rules := []ratelimit.Rule{{Name: "a", Limit: 10, Window: 60, Burst: 5}, {Name: "b", Limit: 1, Window: 1, NamedOnly: true}}
	k, token := w.create(func(p *apikey.CreateParams) { p.RateLimits = []ratelimit.Rule{rules[1], rules[0]} })
	if d := cmp.Diff(rules, k.RateLimits); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]left{{"key", true, 599}, {"key.a", true, 4}}, lefts(w.check(apikey.VerifyParams{Token: token}))); d != "" {
		t.Error(d)
	}
	successor, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID})
	if d := cmp.Diff(rules, successor.RateLimits); err != nil || d != "" {
		t.Error(err, d)
	}
	k, token = w.create(func(p *apikey.CreateParams) { p.RateLimits = rules })
	w.check(apikey.VerifyParams{Token: token})
	changed, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, RateLimits: patch.Set(rules[1:])})
	if d := cmp.Diff(rules[1:], changed.RateLimits); err != nil || d != "" || changed.UpdatedAt.Equal(k.UpdatedAt) {
		t.Error(err, d)
	}
	if d := cmp.Diff([]left{{"key", true, 598}}, lefts(w.check(apikey.VerifyParams{Token: token}))); d != "" {
		t.Error(d)
	}
	changed, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, RateLimits: patch.Null[[]ratelimit.Rule]()})
	if d := cmp.Diff([]ratelimit.Rule{}, changed.RateLimits); err != nil || d != "" {
		t.Error(err, d)
	}
	for code, bad := range map[string]ratelimit.Rule{
		"name_malformed": {Name: "No", Limit: 1, Window: 1},
		"name_reserved":  {Name: "key", Limit: 1, Window: 1},
		"out_of_range":   {Name: "x", Limit: 1_000_001, Window: 1},
	} {
		_, _, err := w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "bad", RateLimits: []ratelimit.Rule{bad}})
		if f := fault.As(err); len(f.Fields) != 1 || f.Fields[0].Code != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// Several limits cost a warm verification no statement, and little memory; one costs
// what it did.
func TestCheck_limitsWarm(t *testing.T) {
	w := newWorld(t)
	k, p := w.limited()
	w.exec(`UPDATE api_keys SET rate_limits = '[{"name": "renders", "limit": 100000000, "window": 3600}, {"name": "heavy", "limit": 100000000, "window": 3600, "named_only": true}]',
		rate_limit_rpm = 1000000 WHERE id = $1`, k.ID)
	w.exec(`UPDATE tenant_rate_limits SET limit_value = 100000000, window_secs = 3600, burst = NULL WHERE tenant_id = $1`, w.tenant)
	w.exec(`UPDATE products SET rate_limits = '[{"name": "renders", "limit": 100000000, "window": 3600}]' WHERE name = $1`, w.product)
	p.Limits = []apikey.LimitCost{{"renders", 2}, {"heavy", 1}}
	_, plain := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM })
	ask := func(ctx context.Context, p *apikey.VerifyParams) {
		if v, err := w.verifier.Check(ctx, p); err != nil || v.Outcome != apikey.Valid {
			t.Fatal(v.Outcome, err)
		}
	}
	ask(t.Context(), &p)
	if all := pgtest.Statements(t, func(ctx context.Context) { ask(ctx, &p) }); len(all) > 0 {
		t.Errorf("%q", all)
	}
	several := testing.AllocsPerRun(1000, func() { ask(t.Context(), &p) })
	if several > 6+dropped {
		t.Errorf("%v allocations, want at most 6", several)
	}
	w.exec(`DELETE FROM tenant_rate_limits WHERE tenant_id = $1`, w.tenant)
	w.verifier.Forget()
	one := apikey.VerifyParams{Token: plain}
	ask(t.Context(), &one)
	single := testing.AllocsPerRun(1000, func() { ask(t.Context(), &one) })
	if single > 2+dropped {
		t.Errorf("%v allocations with one limit, want at most 2", single)
	}
	t.Logf("%v allocations with six limits, %v with one", several, single)
}

// A key on landlord's own API is under its own limits and its tenant's, and what they
// have left is told to the face.
func TestAuthenticate_limits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO tenant_rate_limits (tenant_id, name, product, limit_value, window_secs) VALUES ($1, 'everything', NULL, 2, 60), ($1, 'work', $2, 1, 60)`,
		w.tenant, w.product)
	_, token := w.create(func(p *apikey.CreateParams) { p.Scopes, p.Product = []string{"landlord:apikeys:read"}, w.product })
	var told ratelimit.Report
	ctx := context.WithValue(access.WithOrigin(t.Context(), access.Origin{SourceIP: netip.MustParseAddr("192.0.2.1")}), ratelimit.ReportKey{}, &told)
	for n := int64(1); n >= 0; n-- {
		if _, err := w.verifier.Authenticate(ctx, token); err != nil {
			t.Fatal(err)
		}
		if len(told.Limits) != 2 || told.Limits[0].Name != "key" || told.Limits[1].Name != "everything" || told.Limits[1].Decision.Remaining != n {
			t.Errorf("%+v", told.Limits)
		}
	}
	_, err := w.verifier.Authenticate(ctx, token)
	wantCode(t, err, "rate_limited")
	if names, after := ratelimit.Violated(told.Limits); len(names) != 1 || names[0] != "everything" || fault.As(err).RetryAfter != time.Duration(after)*time.Second {
		t.Errorf("%v, %d, %v", names, after, err)
	}
}
