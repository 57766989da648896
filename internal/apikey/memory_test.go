package apikey

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// maxBytes is what a key in memory may cost, all counted.
const maxBytes = 400

// A key in memory takes less than maxBytes: the cache's node and table, the entry with its name, its part of what entries
// share, and the bucket of its rate limit. What is charged to the cache for it is not far from what its part of that takes.
func TestEntry_bytes(t *testing.T) { // alone: it measures the heap
	m := fill(t, 100_000)
	t.Logf("%s", m)
	if m.all >= maxBytes {
		t.Errorf("a key takes %.0f bytes, want less than %d", m.all, maxBytes)
	}
	if m.cached < 0.7*m.weight || m.cached > 1.1*m.weight {
		t.Errorf("a cached key takes %.0f bytes and is charged %.0f", m.cached, m.weight)
	}
}

func BenchmarkEntry_bytes(b *testing.B) {
	for b.Loop() {
		m := fill(b, 1_000_000)
		b.ReportMetric(m.cached, "cached-B/key")
		b.ReportMetric(m.bucket, "bucket-B/key")
		b.ReportMetric(m.use, "use-B/key")
		b.ReportMetric(m.weight, "charged-B/key")
		b.ReportMetric(m.all, "B/key")
		b.ReportMetric(0, "ns/op")
	}
}

// perKey is bytes a key.
type perKey struct {
	cached, bucket, all float64 // of the heap: of keys never used, of the bucket once used, and both
	use                 float64 // until the next flush only
	weight              float64 // as the cache reckons
}

func (m perKey) String() string {
	return fmt.Sprintf("%.0f bytes a key: cached %.0f (charged %.0f), bucket %.0f; use until the next flush %.0f", m.all, m.cached, m.weight, m.bucket, m.use)
}

// fill puts n keys of 1000 tenants, which have two products each, into a verifier's memory, uses each of them, and weighs.
func fill(t testing.TB, n int) perKey {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: "postgres://nobody@127.0.0.1:1/none"}) // nobody asks it
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(db, ring, VerifierConfig{Fresh: func() bool { return true }, CacheBytes: 1 << 40})
	defer func() { _ = v.Close(context.WithoutCancel(t.Context())) }()
	tenants := make([]tenantRow, 1000)
	reseller := id.New[id.Tenant]()
	for i := range tenants {
		tenants[i] = tenantRow{
			TenantID: id.New[id.Tenant](), TenantSlug: fmt.Sprintf("tenant-%d", i), TenantStatus: "active", Products: []string{"render", "studio"},
			Ancestors: []id.Tenant{reseller}, ProductsUntil: make([]*time.Time, 2),
			ProductsConfig:  []string{fmt.Sprintf(`{"seats": %d}`, i), `{}`},
			ProductsDefault: []string{`{"seats": 1, "queue": {"size": 100, "priority": "low"}}`, `{"watermark": true}`},
			ProductsLimits:  []string{`[{"name": "renders", "limit": 100, "window": 60, "per": "tenant"}]`, `[]`},
			PlanLimits:      []string{`[{"name": "renders", "limit": 1000, "window": 60}]`, `[]`},
			TenantLimits:    `[]`,
		}
	}
	sums := make([]secret.Sum, n)
	before := heap()
	for i := range n {
		r := row{
			ID: id.New[id.APIKey](), IsActive: true, Metadata: json.RawMessage("{}"), Name: fmt.Sprintf("render farm no. %d", i),
			settingsRow: settingsRow{
				Environment: Live, Scopes: []string{"renders:create", "renders:read", "assets:*"}, RateLimitRPM: DefaultRPM, RateLimits: "[]",
			},
			tenantRow: tenants[i%len(tenants)],
		}
		if i%10 == 0 { // an allow-list of its own for some, the office's for others
			r.AllowedIPs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i / 20)}), 32)}
		}
		sums[i] = secret.Sum{byte(i), byte(i >> 8), byte(i >> 16), 31: byte(i >> 4)}
		e := v.views.newEntry(&r, v.gens.last.Load())
		e.hold()
		v.entries.Set(sums[i], e)
	}
	cached := heap()
	if got := v.entries.EstimatedSize(); got != n {
		t.Fatalf("%d of %d keys are in memory", got, n)
	}
	now, ip := time.Now(), netip.MustParseAddr("192.0.2.1")
	for _, sum := range sums {
		e, ok := v.remembered(sum)
		if !ok {
			t.Fatal("a key is not known")
		}
		var a Verification
		if ok, err := v.spend(t.Context(), now, e, nil, &VerifyParams{}, &a); !ok || err != nil {
			t.Fatalf("%+v, %v", a.Limit, err)
		}
	}
	spent := heap()
	for _, sum := range sums {
		e, _ := v.remembered(sum)
		v.usage.note(e, now, ip)
	}
	noted := heap()
	for _, k := range v.usage.pending {
		k.take()
	}
	v.usage.pending = nil
	after := heap()
	each := func(bytes int) float64 { return float64(bytes) / float64(n) }
	m := perKey{
		cached: each(cached - before), bucket: each(spent - cached), use: each(noted - spent), all: each(after - before),
		weight: each(int(v.Stats().Bytes)),
	}
	runtime.KeepAlive(tenants)
	runtime.KeepAlive(sums)
	return m
}

// heap is how many bytes are in use once all garbage is gone.
func heap() int {
	runtime.GC()
	runtime.GC() // what had a clean-up
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
