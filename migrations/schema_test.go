package migrations

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

const (
	golden = "schema.sql"
	// goldenMajor is the PostgreSQL whose pg_dump wrote the golden file; others word the same schema differently.
	goldenMajor = 15
	banner      = "-- The whole schema, as pg_dump of PostgreSQL 15 tells it. Generated: make goldens.\n\n"
)

// dump returns the schema of a database, without month partitions and without
// what differs from run to run.
func dump(ctx context.Context, t *testing.T, database string) string {
	t.Helper()
	programs, err := embeddedpg.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(programs.Dir, "pg_dump"),
		"--schema-only", "--no-owner", "--exclude-table=*_y[0-9][0-9][0-9][0-9]m[0-9][0-9]", server.SuperURL(database))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pg_dump (which comes with the server programs; make deps): %v\n%s", err, stderr.String())
	}
	text := regexp.MustCompile(`(?m)^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)\n`).ReplaceAllString(string(out), "")
	return regexp.MustCompile(`\n{3,}`).ReplaceAllString(strings.TrimSpace(text)+"\n", "\n\n")
}

func TestSchema_golden(t *testing.T) {
	ctx := integration(t)
	got := dump(ctx, t, migratedDatabase(ctx, t))
	programs, err := embeddedpg.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if *update && programs.Major == goldenMajor {
		if err := os.WriteFile(golden, []byte(banner+got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(string(page), banner)
	if programs.Major != goldenMajor {
		// Both through the same pg_dump.
		database := emptyDatabase(ctx, t)
		super := connectTo(ctx, t, server.SuperURL(database))
		if _, err := super.PgConn().Exec(ctx, "SET check_function_bodies = off;\n"+want).ReadAll(); err != nil {
			t.Fatalf("load %s: %v", golden, err)
		}
		want = dump(ctx, t, database)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is not what the migrations make; run: make goldens; - golden, + migrations\n%s", golden, diff)
	}
}

func TestSchema_foreignKeysHaveIndexes(t *testing.T) {
	ctx := integration(t)
	owner := connectTo(ctx, t, server.OwnerURL(migratedDatabase(ctx, t)))
	// An index serves when it begins with the key's columns, in any order, and holds
	// all rows, or all where they are set.
	missing := column[string](ctx, t, owner, `
		SELECT f.conrelid::regclass || ': ' || f.conname
		FROM pg_constraint AS f
		WHERE f.contype = 'f' AND f.connamespace = 'public'::regnamespace AND NOT EXISTS (
			SELECT FROM pg_index AS i
			WHERE i.indrelid = f.conrelid
			  AND (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(f.conkey)] @> f.conkey
			  AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) IN (
				SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute AS a
				WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey))))`)
	if len(missing) > 0 {
		t.Errorf("foreign keys without an index: deleting what they point to scans the table: %v", missing)
	}
	chosen := column[string](ctx, t, owner, `
		SELECT conrelid::regclass || ': ' || conname FROM pg_constraint
		WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND confdeltype = 'a'`)
	if len(chosen) > 0 {
		t.Errorf("foreign keys without a chosen ON DELETE: %v", chosen)
	}
}

func TestSchema_everythingIsCommented(t *testing.T) {
	ctx := integration(t)
	database := migratedDatabase(ctx, t)
	owner := connectTo(ctx, t, server.OwnerURL(database))
	if err := EnsurePartitions(ctx, connectTo(ctx, t, server.AppURL(database)), time.Now(), 0); err != nil {
		t.Fatal(err)
	}
	bare := column[string](ctx, t, owner, `
		SELECT relname::text FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL
		UNION ALL
		SELECT proname::text FROM pg_proc AS p
		WHERE pronamespace = 'public'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
		  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')`)
	if len(bare) > 0 {
		t.Errorf("without a COMMENT: %v", bare)
	}
}

// Names of constraints are the contract that rooms map to error codes: each
// says its table, so that one that PostgreSQL made up after a rename stands out.
func TestSchema_constraintNames(t *testing.T) {
	ctx := integration(t)
	owner := connectTo(ctx, t, server.OwnerURL(migratedDatabase(ctx, t)))
	odd := column[string](ctx, t, owner, `
		SELECT conrelid::regclass || ': ' || conname FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conname NOT LIKE replace(conrelid::regclass::text, '_', '\_') || '\_%'
		   OR connamespace = 'public'::regnamespace AND conname ~ '\d$'`)
	if len(odd) > 0 {
		t.Errorf("constraints whose name does not say their table: %v", odd)
	}
}

func TestSchema_touchUpdatedAt(t *testing.T) {
	ctx := integration(t)
	app, database := seeded(ctx, t)
	owner := connectTo(ctx, t, server.OwnerURL(database))
	without := column[string](ctx, t, owner, `
		SELECT c.relname::text FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'updated_at'
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
		  AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND g.tgname = c.relname || '_touch_updated_at' AND g.tgfoid = 'touch_updated_at'::regproc)`)
	if len(without) > 0 {
		t.Errorf("updated_at without its trigger: %v", without)
	}
	triggers := column[string](ctx, t, owner, `
		SELECT c.relname || ': ' || g.tgname FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
		WHERE NOT g.tgisinternal AND g.tgfoid <> 'touch_updated_at'::regproc`)
	if len(triggers) > 0 {
		t.Errorf("triggers other than touch_updated_at, which append-only tables cannot have and others should not: %v", triggers)
	}

	// What does not count as configuration is an exception that is named here.
	exempt := map[string][]string{
		"api_keys":        {"expiry_told", "generation", "hash", "imported_at", "last_used_at", "last_used_ip", "origin_id", "usage_count"},
		"access_tokens":   {"hash", "last_used_at", "last_used_ip"},
		"operators":       {"last_seen_at"},
		"tenant_webhooks": {"consecutive_failures", "first_failure_at", "last_status_code", "last_triggered_at", "warned_percent"},
	}
	for _, table := range column[string](ctx, t, owner, `SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgattr <> '' ORDER BY 1`) {
		got := column[string](ctx, t, owner, `
			SELECT a.attname::text FROM pg_attribute AS a JOIN pg_trigger AS g ON g.tgrelid = a.attrelid AND NOT g.tgisinternal
			WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attnum = ANY (g.tgattr)
			ORDER BY a.attname COLLATE "C"`, table)
		if diff := cmp.Diff(exempt[table], got); diff != "" {
			t.Errorf("columns of %s that leave updated_at alone (-want +got):\n%s", table, diff)
		}
	}

	t.Run("strictly forward", func(t *testing.T) {
		tx := begin(ctx, t, app, scope(seedTenant))
		defer rollback(ctx, t, tx)
		const stamp = `SELECT updated_at FROM api_keys WHERE name = 'server'`
		seen := []time.Time{one[time.Time](ctx, t, tx, stamp)}
		for range 3 {
			mustExec(ctx, t, tx, `UPDATE api_keys SET name = name WHERE name = 'server'`)
			seen = append(seen, one[time.Time](ctx, t, tx, stamp))
		}
		for i := range len(seen) - 1 {
			if !seen[i].Before(seen[i+1]) {
				t.Errorf("updated_at went %v", seen)
			}
		}
		mustExec(ctx, t, tx, `UPDATE api_keys SET last_used_at = NOW(), usage_count = usage_count + 1 WHERE name = 'server'`)
		if got := one[time.Time](ctx, t, tx, stamp); !got.Equal(seen[3]) {
			t.Error("using a key changed its ETag")
		}
	})
}

func TestSchema_partitions(t *testing.T) {
	ctx := integration(t)
	database := migratedDatabase(ctx, t)
	owner := connectTo(ctx, t, server.OwnerURL(database))
	app := connectTo(ctx, t, server.AppURL(database))
	now := time.Date(2026, 12, 31, 23, 30, 0, 0, time.FixedZone("west", -2*3600)) // 2027 already, in UTC

	inDatabase := one[[]string](ctx, t, app, `SELECT landlord_month_partitioned_tables()`)
	walked := column[string](ctx, t, owner, `SELECT relname::text FROM pg_class WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace`)
	slices.Sort(walked)
	for what, list := range map[string][]string{"the function": inDatabase, "this package": slices.Clone(partitioned)} {
		slices.Sort(list)
		if diff := cmp.Diff(walked, list); diff != "" {
			t.Errorf("partitioned tables of the catalogue and of %s differ:\n%s", what, diff)
		}
	}

	// Several replicas start at once.
	done := make(chan error)
	for range 4 {
		go func() {
			conn, err := pgx.Connect(ctx, server.AppURL(database))
			if err == nil {
				err = EnsurePartitions(ctx, conn, now, 2)
				_ = conn.Close(ctx)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	const partitions = `
		SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) || ' ' || pg_get_userbyid(c.relowner) || ' ' || coalesce(c.relacl::text, '-')
		FROM pg_class AS c JOIN pg_inherits AS i ON i.inhrelid = c.oid
		WHERE i.inhparent = 'tenant_events'::regclass ORDER BY c.relname`
	mustExec(ctx, t, owner, `SET timezone = 'UTC'`)
	want := []string{
		"tenant_events_y2027m01 FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00') landlord_owner -",
		"tenant_events_y2027m02 FOR VALUES FROM ('2027-02-01 00:00:00+00') TO ('2027-03-01 00:00:00+00') landlord_owner -",
		"tenant_events_y2027m03 FOR VALUES FROM ('2027-03-01 00:00:00+00') TO ('2027-04-01 00:00:00+00') landlord_owner -",
	}
	if diff := cmp.Diff(want, column[string](ctx, t, owner, partitions)); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	loose := column[string](ctx, t, owner, `
		SELECT c.relname::text FROM pg_class AS c
		WHERE c.relkind = 'I' AND (SELECT count(*) FROM pg_inherits AS i WHERE i.inhparent = c.oid) <> 3`)
	if len(loose) > 0 {
		t.Errorf("indexes that some partition lacks: %v", loose)
	}
	if before := dump(ctx, t, database); before != dump(ctx, t, migratedDatabase(ctx, t)) {
		t.Error("month partitions are in the dump of the schema")
	}

	insert := `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ('` + internalTenant + `', 'x.y', $1)`
	tx := begin(ctx, t, app, scope(internalTenant))
	mustExec(ctx, t, tx, insert, now)
	if _, err := tx.Exec(ctx, insert, now.AddDate(1, 0, 0)); err == nil || !strings.Contains(err.Error(), "no partition of relation") {
		t.Errorf("a month that nobody made took a row: %v", err)
	}
	rollback(ctx, t, tx)

	if err := DropPartition(ctx, app, "tenant_events", now); err == nil {
		t.Error("a month that is not over was dropped")
	}
	past := time.Date(2020, 2, 29, 0, 0, 0, 0, time.UTC)
	if err := EnsurePartitions(ctx, app, past, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 { // dropping again does nothing
		if err := DropPartition(ctx, app, "tenant_events", past); err != nil {
			t.Error(err)
		}
	}
	if n := len(column[string](ctx, t, owner, partitions)); n != 3 {
		t.Errorf("%d partitions after the drop, want 3", n)
	}
	for _, sql := range []string{
		`SELECT landlord_make_month_partition('tenants', '2026-01-01')`,
		`SELECT landlord_make_month_partition(NULL, '2026-01-01')`,
		`SELECT landlord_make_month_partition('tenant_events', NULL)`,
		`SELECT landlord_drop_month_partition('tenants', '2020-01-01')`,
		`SELECT landlord_drop_month_partition('tenant_events', NULL)`,
	} {
		if _, err := app.Exec(ctx, sql); err == nil {
			t.Errorf("%s went through", sql)
		}
	}
}
