package apikey_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// A tenant's limit is put, put again, read, listed and taken away, each with its
// record and note, and verifications go by it from then on.
func TestTenantLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`UPDATE products SET rate_limits = '[{"name": "renders", "limit": 20, "window": 60, "per": "tenant"}]' WHERE name = $1`, w.product)
	_, token := w.create()
	remaining := func(want ...left) {
		t.Helper()
		v := w.check(apikey.VerifyParams{Token: token, Product: w.product, Peek: true})
		if d := cmp.Diff(append([]left{{"key", true, 600}}, want...), lefts(v)); d != "" {
			t.Error(d)
		}
	}
	remaining(left{"renders", true, 20})
	p := apikey.PutLimitParams{TenantID: w.tenant, Rule: ratelimit.Rule{Name: "renders", Limit: 2000, Window: 60}}
	l, made, err := w.keys.PutLimit(w.ctx(), p)
	if err != nil || !made || l.CreatedAt.IsZero() {
		t.Fatalf("%+v %v %v", l, made, err)
	}
	remaining(left{"renders", true, 2000})
	again, made, err := w.keys.PutLimit(w.ctx(), p)
	if d := cmp.Diff(l, again); err != nil || made || d != "" {
		t.Errorf("the same again: %v %v %s", made, err, d)
	}
	p.Product, p.Rule.Burst, p.Rule.NamedOnly, p.IfMatch = w.product, 7, true, l.UpdatedAt
	l, made, err = w.keys.PutLimit(w.ctx(), p)
	if err != nil || made || l.Burst != 7 || !l.NamedOnly || l.Product != w.product {
		t.Errorf("%+v %v %v", l, made, err)
	}
	remaining()
	if _, _, err = w.keys.PutLimit(w.ctx(), p); fault.CodeOf(err) != "stale_version" {
		t.Errorf("an old version: %v", err)
	}
	got, err := w.keys.Limit(w.ctx(), w.tenant, "renders")
	if d := cmp.Diff(l, got); err != nil || d != "" {
		t.Error(err, d)
	}
	wantCode(t, w.keys.DeleteLimit(w.ctx(), w.tenant, "renders", l.CreatedAt.Add(-time.Hour)), "stale_version")
	if err := w.keys.DeleteLimit(w.ctx(), w.tenant, "renders", l.UpdatedAt); err != nil {
		t.Fatal(err)
	}
	remaining(left{"renders", true, 20})
	wantCode(t, w.keys.DeleteLimit(w.ctx(), w.tenant, "renders", time.Time{}), "rate_limit_not_found")
	_, err = w.keys.Limit(w.ctx(), w.tenant, "renders")
	wantCode(t, err, "rate_limit_not_found")
	_, _, err = w.keys.PutLimit(w.ctx(), p)
	wantCode(t, err, "stale_version") // what the caller has read is gone
	for _, sql := range []string{
		`SELECT string_agg(action, ' ' ORDER BY id) FROM audit_log WHERE tenant_id = $1 AND action LIKE 'rate_limit.%'`,
		`SELECT string_agg(type, ' ' ORDER BY seq) FROM tenant_events WHERE tenant_id = $1 AND type LIKE 'rate_limit.%'`,
	} {
		if got := count[string](t, w.db, sql, w.tenant); got != "rate_limit.created rate_limit.updated rate_limit.deleted" {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM change_feed WHERE tenant_id = $1 AND kind = 'rate_limit'`, w.tenant); n != 3 {
		t.Errorf("%d notes", n)
	}
}

// A tenant has no more than so many, which are listed by name.
func TestTenantLimits_list(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(name string) error {
		_, _, err := w.keys.PutLimit(w.ctx(), apikey.PutLimitParams{TenantID: w.tenant, Rule: ratelimit.Rule{Name: name, Limit: 1, Window: 1}})
		return err
	}
	var want, got []string
	for i := range ratelimit.MaxRules {
		want = append(want, fmt.Sprintf("limit-%d", i))
		if err := put(want[i]); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, put("more"), "rate_limits_full")
	if err := put(want[0]); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	for r := (page.Request{Limit: 4}); ; {
		p, err := w.keys.Limits(w.ctx(), w.tenant, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.Data {
			got = append(got, l.Name)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Limits of tenants are the platform's: a tenant's own credential reads them, those
// of the tenants below it too, and changes none. What is malformed is refused.
func TestTenantLimits_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := apikey.PutLimitParams{TenantID: w.tenant, Rule: ratelimit.Rule{Name: "renders", Limit: 1, Window: 1}}
	if _, _, err := w.keys.PutLimit(w.ctx(), good); err != nil {
		t.Fatal(err)
	}
	own := access.With(t.Context(), access.Principal{
		Type: access.APIKey, ID: "key_1", Tenant: w.tenant, Permissions: access.NewSet(access.EntitlementsRead, access.EntitlementsWrite),
	})
	if _, err := w.keys.Limit(own, w.tenant, "renders"); err != nil {
		t.Error(err)
	}
	_, _, err := w.keys.PutLimit(own, good)
	wantCode(t, err, "platform_only")
	wantCode(t, w.keys.DeleteLimit(own, w.tenant, "renders", time.Time{}), "platform_only")
	bad := good
	bad.Rule.Name = "Renders"
	_, _, err = w.keys.PutLimit(w.ctx(), bad)
	wantField(t, err, "name", "name_malformed")
	bad = good
	bad.Product = "nothing"
	_, _, err = w.keys.PutLimit(w.ctx(), bad)
	wantField(t, err, "product", "product_not_found")
	bad = good
	bad.TenantID = id.New[id.Tenant]()
	_, _, err = w.keys.PutLimit(w.ctx(), bad)
	wantCode(t, err, "tenant_not_found")
	_, err = w.keys.Limits(w.ctx(), bad.TenantID, page.Request{})
	wantCode(t, err, "tenant_not_found")
	w.setStatus(w.tenant, "frozen")
	good.Rule.Limit = 2
	_, _, err = w.keys.PutLimit(w.ctx(), good)
	wantCode(t, err, "tenant_frozen")
	wantCode(t, w.keys.DeleteLimit(w.ctx(), w.tenant, "renders", time.Time{}), "tenant_frozen")
}
