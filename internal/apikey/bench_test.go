package apikey_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

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

// A miss: a key that is not in memory, among few and among many.
func BenchmarkCheck_miss(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			urls := pgtest.CloneURLs(b)
			db, err := pg.Open(b.Context(), pg.Config{URL: urls.App})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(db.Close)
			w := newWorldIn(b, db)
			w.seed(n)
			analyze(b, urls.Super)
			tokens := make([]string, 1000)
			for i := range tokens {
				_, tokens[i] = w.create()
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				w.verifier.Forget()
				v, err := w.verifier.Check(b.Context(), &apikey.VerifyParams{Token: tokens[i%len(tokens)], Product: w.product, Peek: true})
				if err != nil || v.Outcome != apikey.Valid {
					b.Fatal(v.Outcome, err)
				}
				i++
			}
		})
	}
}

// seed fills the table with keys of 1000 tenants that nobody has the tokens of.
func (w *world) seed(n int) {
	w.t.Helper()
	tenants := make([]id.Tenant, 1000)
	for i := range tenants {
		tenants[i] = w.newTenant(id.Tenant{})
	}
	w.exec(`INSERT INTO api_keys (id, tenant_id, name, prefix, last4, hash, scopes)
		SELECT gen_random_uuid(), ($1::uuid[])[1 + n % 1000], 'seeded ' || n, 'll_live_0000', '0000',
			'hmac-sha256$v1$' || translate(encode(sha256(n::text::bytea), 'base64'), '+/=', '-_'), '{renders:*}'
		FROM generate_series(1, $2) AS n`, tenants, n)
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
