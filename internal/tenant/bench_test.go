package tenant_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/tenant"
)

// BenchmarkCreate makes root tenants, one after the other, plan and record included.
func BenchmarkCreate(b *testing.B) {
	h := newHouse(b, pgtest.Clone(b))
	for b.Loop() {
		s := slug()
		if _, err := h.Create(h.ctx, tenant.CreateParams{Name: s, Slug: s}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList reads pages of 50 out of a million tenants: a page costs the
// same wherever it lies.
func BenchmarkList(b *testing.B) {
	urls := pgtest.CloneURLs(b)
	db, err := pg.Open(b.Context(), pg.Config{URL: urls.App})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	h := newHouse(b, db)
	million(b, urls.Super)
	last := page.Encode("tenants", id.MustParse[id.Tenant]("019a0000-0000-7000-8000-000000000033")) // 51 rows lie below it
	for name, tc := range map[string]struct {
		f tenant.Filter
		r page.Request
	}{
		"first":         {tenant.Filter{}, page.Request{}},
		"last":          {tenant.Filter{}, page.Request{Cursor: last}},
		"plan_last":     {tenant.Filter{Plan: "starter"}, page.Request{Cursor: last}},
		"status_rare":   {tenant.Filter{Status: tenant.Trial}, page.Request{}},
		"search_absent": {tenant.Filter{Query: "no such tenant"}, page.Request{}},
		"key_absent":    {tenant.Filter{MetadataKey: "absent"}, page.Request{}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := h.List(h.ctx, tc.f, tc.r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func million(b *testing.B, url string) {
	b.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	for _, sql := range []string{
		`INSERT INTO tenants (id, slug, name, status, metadata)
		SELECT ('019a0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'tenant-' || n, 'Tenant ' || n, 'active', jsonb_build_object('tier', n % 7)
		FROM generate_series(1, 1000000) n`,
		`VACUUM ANALYZE tenants`,
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			b.Fatal(err)
		}
	}
}
