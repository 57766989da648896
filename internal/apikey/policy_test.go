package apikey_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

var samePrefix = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func (w *world) putPolicy(p apikey.PutPolicyParams) apikey.Policy {
	w.t.Helper()
	if p.TenantID.IsZero() {
		p.TenantID = w.tenant
	}
	own, _, err := w.keys.PutPolicy(w.ctx(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return own
}

func TestPutPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, rules, err := w.keys.Policy(w.ctx(), w.tenant)
	if err != nil {
		t.Fatal(err)
	}
	none := apikey.Policy{TenantID: w.tenant, Environments: apikey.Environments(), LeakAction: apikey.LeakRevoke, UpdatedAt: time.Unix(0, 0).UTC()}
	open := apikey.Rules{Environments: apikey.Environments(), LeakAction: apikey.LeakRevoke, RateLimitRPM: apikey.DefaultRPM}
	if d := cmp.Diff(none, own) + cmp.Diff(open, rules); d != "" {
		t.Error(d)
	}
	first, rules, err := w.keys.PutPolicy(w.ctx(), apikey.PutPolicyParams{
		TenantID: w.tenant, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("192.0.2.0/24")},
		Environments: []apikey.Environment{apikey.Test, apikey.Test}, MaxAgeDays: 90, LeakAction: apikey.LeakFlag, IfMatch: own.UpdatedAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	list := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	want := apikey.Policy{
		TenantID: w.tenant, AllowedIPs: list, Environments: []apikey.Environment{apikey.Test}, MaxAgeDays: 90, LeakAction: apikey.LeakFlag,
		CreatedAt: first.CreatedAt, UpdatedAt: first.UpdatedAt,
	}
	wantRules := apikey.Rules{
		AllowedIPs: [][]netip.Prefix{list}, Environments: want.Environments, MaxAgeDays: 90, LeakAction: apikey.LeakFlag, RateLimitRPM: apikey.DefaultRPM,
	}
	if d := cmp.Diff(want, first, samePrefix) + cmp.Diff(wantRules, rules, samePrefix); d != "" || first.CreatedAt.IsZero() {
		t.Error(d)
	}
	_, _, err = w.keys.PutPolicy(w.ctx(), apikey.PutPolicyParams{TenantID: w.tenant, IfMatch: own.UpdatedAt})
	wantCode(t, err, "stale_version")
	same := apikey.PutPolicyParams{
		TenantID: w.tenant, AllowedIPs: list, Environments: want.Environments, MaxAgeDays: 90, LeakAction: apikey.LeakFlag, IfMatch: first.UpdatedAt,
	}
	if again := w.putPolicy(same); !again.UpdatedAt.Equal(first.UpdatedAt) {
		t.Error("what changes nothing moves the version")
	}
	for table, n := range map[string]int{
		`audit_log WHERE tenant_id = $1 AND action = 'key_policy.updated'`:   1,
		`tenant_events WHERE tenant_id = $1 AND type = 'key_policy.updated'`: 1,
		`change_feed WHERE tenant_id = $1 AND kind = 'key_policy'`:           1,
	} {
		if got := count[int](t, w.db, `SELECT count(*) FROM `+table, w.tenant); got != n {
			t.Errorf("%d of %s, want %d", got, table, n)
		}
	}
	// What is left out is back at its default.
	last := w.putPolicy(apikey.PutPolicyParams{})
	want = apikey.Policy{
		TenantID: w.tenant, Environments: []apikey.Environment{apikey.Live, apikey.Test}, LeakAction: apikey.LeakRevoke,
		CreatedAt: first.CreatedAt, UpdatedAt: last.UpdatedAt,
	}
	if d := cmp.Diff(want, last); d != "" || !last.UpdatedAt.After(first.UpdatedAt) {
		t.Error(d)
	}
}

func TestPutPolicy_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := make([]netip.Prefix, 101)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)
	}
	for name, tc := range map[string]struct {
		p     apikey.PutPolicyParams
		field string
		code  string
	}{
		"no network":     {apikey.PutPolicyParams{AllowedIPs: []netip.Prefix{{}}}, "allowed_ips", "network_malformed"},
		"many networks":  {apikey.PutPolicyParams{AllowedIPs: many}, "allowed_ips", "too_many"},
		"no environment": {apikey.PutPolicyParams{Environments: []apikey.Environment{"prod"}}, "environments", "not_one_of"},
		"an age below 0": {apikey.PutPolicyParams{MaxAgeDays: -1}, "max_age_days", "out_of_range"},
		"a great age":    {apikey.PutPolicyParams{MaxAgeDays: 3651}, "max_age_days", "out_of_range"},
		"no action":      {apikey.PutPolicyParams{LeakAction: "shrug"}, "leak_action", "not_one_of"},
	} {
		tc.p.TenantID = w.tenant
		_, _, err := w.keys.PutPolicy(w.ctx(), tc.p)
		t.Log(name)
		wantField(t, err, tc.field, tc.code)
	}
	as := func(tenant id.Tenant, perms ...access.Permission) context.Context {
		return access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_1", Tenant: tenant, Permissions: access.NewSet(perms...)})
	}
	put := apikey.PutPolicyParams{TenantID: w.tenant, MaxAgeDays: 1}
	_, _, err := w.keys.PutPolicy(as(w.tenant, access.APIKeysRead), put)
	wantCode(t, err, "permission_denied")
	_, _, err = w.keys.PutPolicy(as(w.newTenant(id.Tenant{}), access.APIKeysWrite), put)
	wantCode(t, err, "tenant_not_found")
	_, _, err = w.keys.Policy(as(w.newTenant(id.Tenant{}), access.APIKeysRead), w.tenant)
	wantCode(t, err, "tenant_not_found")
	w.setStatus(w.tenant, "frozen")
	_, _, err = w.keys.PutPolicy(as(w.tenant, access.APIKeysWrite), put)
	wantCode(t, err, "tenant_frozen")
	_, _, err = w.keys.Policy(w.ctx(), id.New[id.Tenant]())
	wantCode(t, err, "tenant_not_found")
}

// Of two that put the first policy, both having read that there is none, one wins.
func TestPutPolicy_oneOfTwoFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, _, err := w.keys.Policy(w.ctx(), w.tenant)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = w.keys.PutPolicy(w.ctx(), apikey.PutPolicyParams{TenantID: w.tenant, MaxAgeDays: i + 1, IfMatch: own.UpdatedAt})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if fault.CodeOf(err) != "stale_version" {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d puts of the same version succeeded", won)
	}
}

// Of all policies on the way to the root the strictest counts, field by field.
func TestPolicy_strictest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.newTenant(w.tenant)
	grandchild := w.newTenant(child)
	wide, narrow := netip.MustParsePrefix("192.0.0.0/16"), netip.MustParsePrefix("192.0.2.0/24")
	w.putPolicy(apikey.PutPolicyParams{AllowedIPs: []netip.Prefix{wide}, MaxAgeDays: 30, LeakAction: apikey.LeakFlag})
	w.putPolicy(apikey.PutPolicyParams{TenantID: child, Environments: []apikey.Environment{apikey.Live}, MaxAgeDays: 90, LeakAction: apikey.LeakDisable})
	w.putPolicy(apikey.PutPolicyParams{TenantID: grandchild, AllowedIPs: []netip.Prefix{narrow}, LeakAction: apikey.LeakFlag})
	_, rules, err := w.keys.Policy(w.ctx(), grandchild)
	if err != nil {
		t.Fatal(err)
	}
	want := apikey.Rules{
		AllowedIPs:   [][]netip.Prefix{{wide}, {narrow}},
		Environments: []apikey.Environment{apikey.Live}, MaxAgeDays: 30, LeakAction: apikey.LeakDisable, RateLimitRPM: apikey.DefaultRPM,
	}
	if d := cmp.Diff(want, rules, samePrefix); d != "" {
		t.Error(d)
	}
	// A tenant is not bound by those below it.
	if _, rules, err = w.keys.Policy(w.ctx(), w.tenant); err != nil || len(rules.Environments) != 2 || rules.LeakAction != apikey.LeakFlag {
		t.Errorf("%+v, %v", rules, err)
	}
	// A grandchild whose parents agree on no environment has no key that works.
	w.putPolicy(apikey.PutPolicyParams{TenantID: grandchild, Environments: []apikey.Environment{apikey.Test}})
	if _, rules, err = w.keys.Policy(w.ctx(), grandchild); err != nil || len(rules.Environments) != 0 {
		t.Errorf("%+v, %v", rules, err)
	}
}

// A key works where its own list and those of all policies allow it.
func TestCheck_policyAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.newTenant(w.tenant)
	in := func(tenant id.Tenant, own ...string) string {
		_, token := w.create(func(p *apikey.CreateParams) {
			p.TenantID = tenant
			for _, s := range own {
				p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(s))
			}
		})
		return token
	}
	open, listed, below := in(w.tenant), in(w.tenant, "192.0.2.0/25", "2001:db8::/32"), in(child, "192.0.2.0/25")
	tokens := map[string]string{"open": open, "listed": listed, "below": below}
	verdict := func(ip string) map[string]apikey.Outcome {
		p := apikey.VerifyParams{Peek: true}
		if ip != "" {
			p.IP = netip.MustParseAddr(ip)
		}
		out := map[string]apikey.Outcome{}
		for name, token := range tokens {
			p.Token = token
			out[name] = w.check(p).Outcome
		}
		return out
	}
	const yes, no = apikey.Valid, apikey.IPNotAllowed
	verdict("192.0.2.1") // warm: what follows is seen although it is in memory
	w.putPolicy(apikey.PutPolicyParams{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.64/26")}})
	for ip, want := range map[string]map[string]apikey.Outcome{
		"192.0.2.65":        {"open": yes, "listed": yes, "below": yes},
		"::ffff:192.0.2.65": {"open": yes, "listed": yes, "below": yes},
		"192.0.2.1":         {"open": no, "listed": no, "below": no},
		"192.0.2.129":       {"open": no, "listed": no, "below": no},
		"2001:db8::1":       {"open": no, "listed": no, "below": no},
		"":                  {"open": no, "listed": no, "below": no},
	} {
		if d := cmp.Diff(want, verdict(ip)); d != "" {
			t.Errorf("%s: %s", ip, d)
		}
	}
	// Each list on the way must allow; more networks than a walk is good for.
	var many []netip.Prefix
	for i := range 20 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(64 + i)}), 32))
	}
	w.putPolicy(apikey.PutPolicyParams{TenantID: child, AllowedIPs: many})
	if d := cmp.Diff(map[string]apikey.Outcome{"open": yes, "listed": yes, "below": no}, verdict("192.0.2.90")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]apikey.Outcome{"open": yes, "listed": yes, "below": yes}, verdict("192.0.2.70")); d != "" {
		t.Error(d)
	}
	// All of it warm, without a statement.
	before := w.verifier.Stats().Statements
	verdict("192.0.2.70")
	if n := w.verifier.Stats().Statements - before; n != 0 {
		t.Errorf("%d statements", n)
	}
	w.putPolicy(apikey.PutPolicyParams{TenantID: child})
	w.putPolicy(apikey.PutPolicyParams{})
	if d := cmp.Diff(map[string]apikey.Outcome{"open": yes, "listed": yes, "below": yes}, verdict("192.0.2.1")); d != "" {
		t.Error(d)
	}
}

func TestCheck_policyEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.newTenant(w.tenant)
	k, live := w.create(func(p *apikey.CreateParams) { p.TenantID, p.AllowedIPs = child, homes })
	_, test := w.create(func(p *apikey.CreateParams) { p.TenantID, p.Environment, p.Scopes = child, apikey.Test, nil })
	w.putPolicy(apikey.PutPolicyParams{Environments: []apikey.Environment{apikey.Test}})
	// The environment comes before the address, and costs nothing.
	for _, p := range []apikey.VerifyParams{
		{Token: live, IP: home}, {Token: live, IP: away}, {Token: live, Environment: apikey.Live}, {Token: live, Environment: apikey.Test},
	} {
		v := w.check(p)
		if v.Outcome != apikey.EnvironmentMismatch || v.Limit.Limit.Rate != 0 {
			t.Errorf("%+v: %+v", p, v)
		}
	}
	if o := w.outcome(test); o != apikey.Valid {
		t.Error(o)
	}
	// No such key can be made any more, nor replaced.
	_, _, err := w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: child, Environment: apikey.Live, Name: "late"})
	wantField(t, err, "environment", "environment_not_allowed")
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: child, ID: k.ID})
	wantField(t, err, "environment", "environment_not_allowed")
	// A tenant's own policy does not undo what those above it say.
	w.putPolicy(apikey.PutPolicyParams{TenantID: child})
	if o := w.outcome(live); o != apikey.EnvironmentMismatch {
		t.Error(o)
	}
	// Another replica hears of it by the feed.
	w.exec(`UPDATE tenant_key_policies SET environments = '{live,test}' WHERE tenant_id = $1`, w.tenant)
	w.verifier.Apply([]changefeed.Change{{Kind: "key_policy", TenantID: w.tenant, ID: w.tenant.UUID()}})
	if o := w.check(apikey.VerifyParams{Token: live, IP: home}).Outcome; o != apikey.Valid {
		t.Error(o)
	}
}

// A policy holds on landlord's own API too.
func TestAuthenticate_policy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create(func(p *apikey.CreateParams) { p.Scopes = []string{"landlord:apikeys:read"} })
	auth := func(ip netip.Addr) error {
		_, err := w.verifier.Authenticate(access.WithOrigin(t.Context(), access.Origin{SourceIP: ip}), token)
		return err
	}
	w.putPolicy(apikey.PutPolicyParams{AllowedIPs: homes})
	if err := auth(home); err != nil {
		t.Error(err)
	}
	for _, ip := range []netip.Addr{away, {}} {
		wantCode(t, auth(ip), "ip_not_allowed")
	}
	w.putPolicy(apikey.PutPolicyParams{Environments: []apikey.Environment{apikey.Test}})
	wantCode(t, auth(home), "environment_not_allowed")
}
