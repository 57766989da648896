package apikey

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/redistest"
	"github.com/landlordhq/landlord/internal/secret"
)

// limitNames are few, so that owners have limits of one name.
var limitNames = []string{"a", "b", "c", "d"}

// rules draws limits of different names whose units come back in hours: a test spends, and time gives nothing back.
func rules(t *rapid.T, label string) []declaredLimit {
	names := rapid.SliceOfDistinct(rapid.SampledFrom(limitNames), rapid.ID[string]).Draw(t, label)
	out := make([]declaredLimit, len(names))
	for i, name := range names {
		n := rapid.Int64Range(1, 8).Draw(t, label+" limit")
		out[i] = declaredLimit{
			Rule: ratelimit.Rule{Name: name, Limit: n, Window: 86400 * n, NamedOnly: rapid.Bool().Draw(t, label+" named only")},
			Per:  rapid.SampledFrom([]string{"tenant", "key"}).Draw(t, label+" per"),
		}
	}
	return out
}

func column(t *rapid.T, list []declaredLimit) string {
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// counter is a limit in the plainest form: what is left, and who shares it.
type counter struct {
	declaredLimit
	shown, bucket string
	left          *int64
}

// Random limits of keys, their tenant and a product, and random questions: what passes
// spends all of it, what does not spends nothing, as plain counters say; in process, in
// Redis, and after a look.
func TestSpend_property(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	shared, err := ratelimit.NewShared(ratelimit.SharedConfig[Bucket]{
		URL: redis.URL(), Timeout: 20 * time.Second, Append: func(b []byte, k Bucket) []byte { return k.Append(b) },
	})
	if err != nil {
		t.Fatal(err)
	}
	shared.Start(t.Context())
	t.Cleanup(func() { _ = shared.Close() })
	db, err := pg.Open(t.Context(), pg.Config{URL: "postgres://nobody@127.0.0.1:1/none"}) // nobody asks it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	verifiers := map[string]*Verifier{"in process": NewVerifier(db, ring, VerifierConfig{}), "redis": NewVerifier(db, ring, VerifierConfig{Shared: shared})}
	t.Cleanup(func() {
		for _, v := range verifiers {
			_ = v.Close(context.Background())
		}
	})
	denied, passed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		tenant, product := id.New[id.Tenant](), "render"
		ofTenant, ofProduct := rules(t, "tenant"), rules(t, "product")
		for i := range ofTenant {
			if rapid.Bool().Draw(t, "of the product") {
				ofTenant[i].Product = product
			}
		}
		var entries []*entry
		var counters [][]counter
		buckets := map[string]*int64{}
		var v views
		for k := range 2 {
			own := rules(t, fmt.Sprintf("key %d", k))
			r := &row{
				ID: id.New[id.APIKey](), IsActive: true,
				settingsRow: settingsRow{RateLimitRPM: 12, RateLimits: column(t, own)},
				tenantRow: tenantRow{
					TenantID: tenant, TenantStatus: "active", TenantLimits: column(t, ofTenant), Products: []string{product},
					ProductsUntil: make([]*time.Time, 1), ProductsConfig: []string{"{}"}, ProductsDefault: []string{"{}"},
					ProductsLimits: []string{column(t, ofProduct)}, PlanLimits: []string{"[]"},
				},
			}
			// A minute gives a unit of rate_limit_rpm back in 5 s; this test takes hours out of it.
			e := v.newEntry(r, 0)
			e.settings = &settings{limit: ratelimit.Limit{Rate: 12, Period: 12 * 24 * time.Hour}, own: e.own}
			entries = append(entries, e)
			counters = append(counters, model(k, own, ofTenant, ofProduct, buckets))
		}
		for range rapid.IntRange(1, 25).Draw(t, "questions") {
			k := rapid.IntRange(0, 1).Draw(t, "key")
			p := VerifyParams{Cost: rapid.Int64Range(0, 3).Draw(t, "cost"), Peek: rapid.IntRange(0, 4).Draw(t, "peek") == 0}
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(append(limitNames, "key")), rapid.ID[string]).Draw(t, "names") {
				p.Limits = append(p.Limits, LimitCost{name, rapid.Int64Range(0, 4).Draw(t, "named cost")})
			}
			var have *entitled
			if rapid.Bool().Draw(t, "product") {
				have = &entries[k].entitlements[0]
			}
			want, ok, known := expect(counters[k], &p, have != nil)
			for name, verifier := range verifiers {
				var a Verification
				got, err := verifier.spend(t.Context(), now, entries[k], have, &p, &a)
				if !known {
					if fault.As(err).Kind != fault.InvalidKind {
						t.Fatalf("%s: %v for an unknown name in %+v", name, err, p)
					}
					continue
				}
				if err != nil || got != ok {
					t.Fatalf("%s: %v, %v, want %v: %+v", name, got, err, ok, p)
				}
				var said []string
				for _, n := range a.RateLimits(nil) {
					said = append(said, fmt.Sprint(n.Name, n.Decision.Allowed, n.Decision.Remaining))
				}
				if !slices.Equal(said, want) {
					t.Fatalf("%s: %v, want %v: %+v", name, said, want, p)
				}
			}
			if ok {
				passed++
			} else if known {
				denied++
			}
		}
	})
	if n := shared.Counts(); n.Local > 0 {
		t.Errorf("not in Redis: %+v: %v", n, shared.Status().Err)
	}
	if denied < 50 || passed < 50 {
		t.Errorf("%d passed and %d were denied: too few to say anything", passed, denied)
	}
}

// model is what a key is under, in the order of answers.
func model(key int, own, tenant, product []declaredLimit, buckets map[string]*int64) (out []counter) {
	add := func(d declaredLimit, shown, bucket string) {
		if buckets[bucket] == nil {
			buckets[bucket] = new(d.Limit)
		}
		out = append(out, counter{d, shown, bucket, buckets[bucket]})
	}
	add(declaredLimit{Rule: ratelimit.Rule{Name: "key", Limit: 12}}, "key", fmt.Sprint(key))
	for _, d := range own {
		add(d, "key."+d.Name, fmt.Sprint(key, d.Name))
	}
	for _, of := range []string{"", "render"} {
		for _, d := range tenant {
			if d.Product == of {
				add(d, d.Name, d.Name)
			}
		}
	}
	for _, d := range product {
		if slices.ContainsFunc(tenant, func(x declaredLimit) bool { return x.Name == d.Name }) {
			continue
		}
		d.Product = "render"
		if d.Per == "key" {
			add(d, d.Name, fmt.Sprint(key, "render/", d.Name))
		} else {
			add(d, d.Name, "render/"+d.Name)
		}
	}
	return out
}

// expect is what counters make of a question; they count it, too.
func expect(all []counter, p *VerifyParams, product bool) (want []string, ok, known bool) {
	names := map[string]int64{}
	for _, l := range p.Limits {
		names[l.Name] = l.Cost
	}
	found := map[string]bool{}
	var under []counter
	var costs []int64
	ok = true
	for _, c := range all {
		if c.Product != "" && !product {
			continue
		}
		cost, named := names[c.Name]
		found[c.Name] = found[c.Name] || named
		if c.NamedOnly && !named {
			continue
		}
		if !named {
			cost = max(p.Cost, 1)
		}
		under, costs = append(under, c), append(costs, cost)
		ok = ok && cost <= *c.left
	}
	for name := range names {
		if !found[name] {
			return nil, false, false
		}
	}
	for i, c := range under {
		fits := costs[i] <= *c.left
		if ok && !p.Peek {
			*c.left -= costs[i]
		}
		want = append(want, fmt.Sprint(c.shown, fits, *c.left))
	}
	return want, ok, true
}

// Limits that a column can't tell let nobody through.
func TestOwnLimits_unreadable(t *testing.T) {
	t.Parallel()
	for _, column := range []string{`["none"]`, `{}`, `[{"limit": "many"}]`, ``} {
		own := ownLimits(column)
		if len(own) != 1 || own[0].namedOnly {
			t.Fatalf("%s: %+v", column, own)
		}
		request := []ratelimit.Request[Bucket]{{Key: Bucket{Name: own[0].bucket}, Limit: own[0].policy, Cost: 1}}
		if ratelimit.New[Bucket](0).AllowAll(time.Now(), request, make([]ratelimit.Decision, 1)) {
			t.Errorf("%s lets a request through", column)
		}
	}
	if own := ownLimits("[]"); len(own) != 0 {
		t.Errorf("%+v", own)
	}
}
