package apikey_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// A warm verification in this process: token, state, project, environment, address,
// entitlement, scope and rate limit, without a statement.
func BenchmarkCheck_warm(b *testing.B) {
	w := newWorld(b)
	_, p := w.plentiful()
	w.exec(`UPDATE api_keys SET rate_limit_rpm = 1000000000 WHERE tenant_id = $1`, w.tenant)
	ask := func(b *testing.B, p *apikey.VerifyParams) {
		b.Helper()
		if v, err := w.verifier.Check(b.Context(), p); err != nil || v.Outcome != apikey.Valid {
			b.Fatal(v.Outcome, err)
		}
	}
	ask(b, &p)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask(b, &p)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			p := p
			for pb.Next() {
				ask(b, &p)
			}
		})
	})
}

func BenchmarkCreate(b *testing.B) {
	w := newWorld(b)
	ctx := w.ctx()
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := w.keys.Create(ctx, apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: rand.Text(), Scopes: []string{"renders:*"}})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// A miss: a key that is not in memory, among few and among many, in turns. LANDLORD_TEST_LONG=1 makes many 10 million, which
// takes minutes and 6 GB.
func BenchmarkCheck_miss(b *testing.B) {
	many := 1_000_000
	if os.Getenv("LANDLORD_TEST_LONG") != "" {
		many = 10_000_000
	}
	few, lots := newCrowd(b, 10_000), newCrowd(b, many)
	const turn = 50
	var tookFew, tookLots, ratios []float64
	for b.Loop() {
		f, l := few.miss(b, turn), lots.miss(b, turn)
		tookFew, tookLots, ratios = append(tookFew, f), append(tookLots, l), append(ratios, l/f)
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(tookFew)*1e6/turn, "µs-of-10k")
	b.ReportMetric(median(tookLots)*1e6/turn, fmt.Sprintf("µs-of-%dM", many/1_000_000))
	b.ReportMetric(median(ratios), "many/few")
}

// crowd is a world whose table is full, and tokens of some of the keys.
type crowd struct {
	*world
	tokens []string
	next   int
}

func newCrowd(b *testing.B, n int) *crowd {
	b.Helper()
	urls := pgtest.CloneURLs(b)
	db, err := pg.Open(b.Context(), pg.Config{URL: urls.App, Timeout: 10 * time.Minute}) // seeding takes long
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	c := &crowd{world: newWorldIn(b, db), tokens: make([]string, 1000)}
	c.seed(n)
	for i := range c.tokens {
		_, c.tokens[i] = c.create()
	}
	analyze(b, urls.Super)
	return c
}

// miss asks for n keys that are not in memory, and returns the seconds that it took.
func (c *crowd) miss(b *testing.B, n int) float64 {
	b.Helper()
	began := time.Now()
	for range n {
		c.verifier.Forget()
		c.next++
		v, err := c.verifier.Check(b.Context(), &apikey.VerifyParams{Token: c.tokens[c.next%len(c.tokens)], Product: c.product, Peek: true})
		if err != nil || v.Outcome != apikey.Valid {
			b.Fatal(v.Outcome, err)
		}
	}
	return time.Since(began).Seconds()
}

// seed fills the table with keys of 1000 tenants that nobody has the tokens of.
func (w *world) seed(n int) {
	w.t.Helper()
	tenants := make([]id.Tenant, 1000)
	for i := range tenants {
		tenants[i] = w.newTenant(id.Tenant{})
	}
	const batch = 250_000
	for from := 1; from <= n; from += batch {
		w.exec(`INSERT INTO api_keys (id, tenant_id, name, prefix, last4, hash, scopes)
			SELECT gen_random_uuid(), ($1::uuid[])[1 + n % 1000], 'seeded ' || n, 'll_live_0000', '0000',
				'hmac-sha256$v1$' || translate(encode(sha256(n::text::bytea), 'base64'), '+/=', '-_'), '{renders:*}'
			FROM generate_series($2::bigint, $3::bigint) AS n`, tenants, from, min(n, from+batch-1))
	}
}

func analyze(b *testing.B, url string) {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "VACUUM ANALYZE api_keys"); err != nil {
		b.Fatal(err)
	}
}
