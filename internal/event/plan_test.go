package event

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// crowd is a table of events of tenants of very different sizes.
type crowd struct {
	big, middling, small, none id.Tenant
}

// fill makes n events over four months: of ten, six are the big tenant's, and one
// in a thousand the middling one's; the small one has three of the oldest.
func fill(t testing.TB, db *pg.DB, n int) crowd {
	t.Helper()
	c := crowd{id.New[id.Tenant](), id.New[id.Tenant](), id.New[id.Tenant](), id.New[id.Tenant]()}
	err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		for _, tenant := range []id.Tenant{c.big, c.middling, c.small, c.none} {
			if _, err := tx.Exec(t.Context(), `INSERT INTO tenants (id, slug, name, status) VALUES ($1::uuid, 'p' || substr(replace($1::uuid::text, '-', ''), 13), 'T', 'active')`, tenant); err != nil {
				return err
			}
		}
		for ago := range 3 {
			if _, err := tx.Exec(t.Context(), `SELECT landlord_make_month_partition('tenant_events', (date_trunc('month', now()) - make_interval(months => $1))::date)`, ago+1); err != nil {
				return err
			}
		}
		_, err := tx.Exec(t.Context(), `
			INSERT INTO tenant_events (tenant_id, type, payload, created_at)
			SELECT CASE WHEN n <= 3 THEN $3::uuid WHEN n % 1000 = 0 THEN $2::uuid WHEN n % 10 < 6 THEN $1::uuid ELSE md5((n % 5000)::text)::uuid END,
				CASE WHEN n % 3 = 0 THEN 'render.completed' ELSE 'render.progress' END, jsonb_build_object('n', n, 'text', repeat('x', 300)),
				date_trunc('month', now()) - make_interval(months => 3 - (4 * (n - 1) / $4)::int) + make_interval(secs => n % 3600)
			FROM generate_series(1::bigint, $4::bigint) AS n`, c.big, c.middling, c.small, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// vacuum refreshes the statistics and the visibility map, as the server does by itself.
func vacuum(t testing.TB, db *pg.DB) {
	t.Helper()
	c, err := db.Dedicated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	if _, err := c.Exec(t.Context(), `VACUUM ANALYZE tenant_events`); err != nil {
		t.Fatal(err)
	}
}

// Under forced row-level security every page comes from an index, in order:
// nothing is scanned, nothing sorted. Whatever the statistics say, and when there
// are none.
func TestPlans(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	app, owner := openAs(t, urls.App), openAs(t, urls.Owner)
	c := fill(t, app, 40_000)
	for _, statistics := range []string{"none", "fresh"} {
		if statistics == "fresh" {
			vacuum(t, owner)
		}
		for name, tenant := range map[string]id.Tenant{"big": c.big, "middling": c.middling, "small": c.small, "none": c.none, "all": {}} {
			for where, after := range map[string]Position{"first": {}, "later": {XID: 5, Seq: 20_000}} {
				s := span{tenant: tenant, after: after, settled: 1 << 40}
				list, listArgs := eventsSQL(s, Position{}, Filter{}, 51)
				rare, rareArgs := eventsSQL(s, Position{XID: 1 << 40}, Filter{Type: "render.*", ProjectID: id.New[id.Project](), Since: time.Now()}, 51)
				look, lookArgs := lookSQL(s, look)
				for what, q := range map[string]struct {
					sql  string
					args pg.Named
				}{"list": {list, listArgs}, "filtered": {rare, rareArgs}, "look": {look, lookArgs}} {
					checkPlan(t, app, tenant, fmt.Sprintf("%s of %s, %s, statistics %s", what, name, where, statistics), q.sql, q.args)
				}
			}
		}
		checkPlan(t, app, c.big, "one, statistics "+statistics, byIDSQL, c.big, id.New[id.Event]())
		checkPlan(t, app, c.middling, "erasable, statistics "+statistics, selectErasable, c.middling, time.Now(), CountMost)
		checkPlan(t, app, id.Tenant{}, "news, statistics "+statistics, selectNews, uint64(5), int64(30_000), 100)
	}
}

func openAs(t testing.TB, url string) *pg.DB {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: url, Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func checkPlan(t *testing.T, db *pg.DB, tenant id.Tenant, name, sql string, args ...any) {
	t.Helper()
	read := func(ctx context.Context, fn func(pg.Tx) error) error { return db.ReadTenant(ctx, tenant, fn) }
	if tenant.IsZero() {
		read = db.ReadOperator
	}
	if err := read(t.Context(), func(tx pg.Tx) error {
		if err := planInOrder(t.Context(), tx); err != nil {
			return err
		}
		lines, err := pg.Scalars[string](t.Context(), tx, "EXPLAIN "+sql, args...)
		lines = slices.DeleteFunc(lines, func(l string) bool {
			return strings.Contains(l, "Seq Scan") && strings.Contains(l, "(cost=0.00..0.00 ")
		}) // of a month to come, which is empty
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan on tenant_events") || strings.Contains(plan, "Sort  (") || strings.Contains(plan, "Bitmap Heap Scan on tenant_events") || !strings.Contains(plan, "Index Cond") {
			t.Errorf("%s:\n%s", name, plan)
		}
		return err
	}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// eraseStatement is the one inside landlord_erase_events, with $1, $2 and $3 for its
// arguments.
func eraseStatement(t *testing.T, db *pg.DB) string {
	t.Helper()
	var source string
	if err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT prosrc FROM pg_proc WHERE proname = 'landlord_erase_events'`).Scan(&source)
	}); err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(source, "DELETE FROM")
	statement, _, ends := strings.Cut(rest, ";")
	with := strings.NewReplacer("tenant_id = tenant", "tenant_id = $1", "< before", "< $2", "LIMIT most", "LIMIT $3").Replace(statement)
	if !begins || !ends || !strings.Contains(with, "$3") {
		t.Fatalf("no such statement in %s", source)
	}
	return "DELETE FROM" + with
}

// An erasure finds the oldest by the order's index and each of them by its key, as
// often as it runs: when the planner knows the arguments, and when it has settled
// on a plan for all.
func TestPlans_erase(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	app, owner := openAs(t, urls.App), openAs(t, urls.Owner)
	c := fill(t, app, 40_000)
	statement := eraseStatement(t, owner)
	for _, statistics := range []string{"none", "fresh"} {
		if statistics == "fresh" {
			vacuum(t, owner)
		}
		for name, tenant := range map[string]id.Tenant{"big": c.big, "middling": c.middling, "small": c.small, "none": c.none} {
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				err := owner.ReadTenant(t.Context(), tenant, func(tx pg.Tx) error {
					if err := planByKey(t.Context(), tx); err != nil {
						return err
					}
					if _, err := tx.Exec(t.Context(), `SELECT set_config('plan_cache_mode', $1, true)`, mode); err != nil {
						return err
					}
					if _, err := tx.Exec(t.Context(), `PREPARE erase (uuid, timestamptz, int) AS `+statement); err != nil {
						return err
					}
					lines, err := pg.Scalars[string](t.Context(), tx, fmt.Sprintf(`EXPLAIN EXECUTE erase ('%s', now(), %d)`, tenant.UUID(), EraseBatch))
					if err != nil {
						return err
					}
					plan := strings.Join(slices.DeleteFunc(lines, func(l string) bool {
						return strings.Contains(l, "Seq Scan") && strings.Contains(l, "(cost=0.00..0.00 ") // of a month to come, which is empty
					}), "\n")
					if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort  (") || !strings.Contains(plan, "xid_seq_idx") || !strings.Contains(plan, "_pkey") {
						t.Errorf("%s, %s, statistics %s:\n%s", name, mode, statistics, plan)
					}
					_, err = tx.Exec(t.Context(), `DEALLOCATE erase`)
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// BenchmarkList reads pages of 50 out of a million events, 600,000 of them one
// tenant's: a page costs the same wherever it lies.
func BenchmarkList(b *testing.B) {
	urls := pgtest.CloneURLs(b)
	db := openAs(b, urls.App)
	c := fill(b, db, 1_000_000)
	vacuum(b, openAs(b, urls.Owner))
	s := New(db)
	b.Cleanup(s.Release)
	ctx := access.AsSystem(b.Context(), "bench")
	middle := page.Encode(cursorName, placeOf(b, db, 500_000))
	end := page.Encode(cursorName, placeOf(b, db, 999_950))
	for name, tc := range map[string]struct {
		tenant id.Tenant
		p      ReadParams
	}{
		"big_first":           {c.big, ReadParams{}},
		"big_middle":          {c.big, ReadParams{Cursor: middle}},
		"big_end":             {c.big, ReadParams{Cursor: end}},
		"small_first":         {c.small, ReadParams{}},
		"small_nothing":       {c.small, ReadParams{Cursor: middle}},
		"all_middle":          {id.Tenant{}, ReadParams{Cursor: middle}},
		"big_third_of_types":  {c.big, ReadParams{Cursor: middle, Filter: Filter{Type: "render.completed"}}},
		"big_no_such_type":    {c.big, ReadParams{Cursor: middle, Filter: Filter{Type: "no.such"}}},
		"middling_no_such":    {c.middling, ReadParams{Filter: Filter{Type: "no.such"}}},
		"big_no_such_project": {c.big, ReadParams{Filter: Filter{ProjectID: id.New[id.Project]()}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.read(ctx, tc.tenant, tc.p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// placeOf returns the position of the nth event.
func placeOf(b *testing.B, db *pg.DB, n int) (p Position) {
	b.Helper()
	if err := db.ReadOperator(b.Context(), func(tx pg.Tx) (err error) {
		p, err = pg.One[Position](b.Context(), tx, `SELECT xid, seq FROM tenant_events ORDER BY xid, seq OFFSET $1 LIMIT 1`, n)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return p
}
