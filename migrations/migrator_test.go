package migrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

// catalogue lists everything that is in a database, apart from what PostgreSQL
// itself and the migrator bring.
func catalogue(ctx context.Context, t *testing.T, database string) []string {
	t.Helper()
	return column[string](ctx, t, connectTo(ctx, t, server.SuperURL(database)), `
		WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))
		SELECT item COLLATE "C" FROM (
			SELECT 'relation ' || oid::regclass FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
			UNION ALL
			SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
			FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
			WHERE c.relnamespace IN (SELECT oid FROM ours) AND attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT 'type ' || oid::regtype FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
			UNION ALL
			SELECT 'label ' || enumtypid::regtype || '.' || enumlabel FROM pg_enum
			UNION ALL
			SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
			UNION ALL
			SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
			UNION ALL
			SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal
			UNION ALL
			SELECT 'policy ' || polname || ' on ' || polrelid::regclass FROM pg_policy
			UNION ALL
			SELECT 'comment ' || classoid::regclass || ' ' || description FROM pg_description
			WHERE classoid = 'pg_class'::regclass AND objoid IN (SELECT c.oid FROM pg_class AS c WHERE relnamespace IN (SELECT oid FROM ours))
			UNION ALL
			SELECT 'grant ' || oid::regclass || ' ' || relacl::text FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours) AND relacl IS NOT NULL
			UNION ALL
			SELECT 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
			UNION ALL
			SELECT 'extension ' || extname FROM pg_extension
			UNION ALL
			SELECT 'default privilege ' || defaclacl::text FROM pg_default_acl
		) AS everything (item)
		WHERE item !~ 'schema_migrations'
		ORDER BY item`)
}

func TestMigrate_upDownRoundTrip(t *testing.T) {
	ctx := integration(t)
	database := emptyDatabase(ctx, t)
	empty := catalogue(ctx, t, database)
	m := openMigrator(ctx, t, database)

	// Up one at a time, so that each down is held to the up before it.
	at := map[uint][]string{0: empty}
	for _, v := range m.versions {
		if r, err := m.Goto(ctx, v); err != nil || r.To != v {
			t.Fatalf("up to %d: %v, %v", v, r, err)
		}
		at[v] = catalogue(ctx, t, database)
	}
	whole := strings.Join(at[m.Latest()], "\n")
	for _, want := range []string{
		"relation tenants", "relation tenant_projects", "relation tenant_products", "relation tenant_idp_config", "relation api_keys", "relation audit_log",
		"type tenant_status", "type tenant_kind", "type idp_kind", "type tenant_project_status", "type api_key_environment",
		"trigger tenants_touch_updated_at on tenants",
	} {
		if !strings.Contains(whole+"\n", want+"\n") {
			t.Errorf("after up there is no %s", want)
		}
	}
	// Months that a server made go down with the rest.
	if err := EnsurePartitions(ctx, connectTo(ctx, t, server.OwnerURL(database)), time.Now(), 1); err != nil {
		t.Fatal(err)
	}
	for i := range slices.Backward(m.versions) {
		before := uint(0)
		if i > 0 {
			before = m.versions[i-1]
		}
		if r, err := m.Down(ctx, 1); err != nil || r.To != before {
			t.Fatalf("down to %d: %v, %v", before, r, err)
		}
		got := catalogue(ctx, t, database)
		if i == 0 || !anyPartition(got) {
			if diff := cmp.Diff(at[before], got); diff != "" {
				t.Fatalf("going down to %d left (-before up, +after down):\n%s", before, diff)
			}
		}
	}
	if r, err := m.Up(ctx); err != nil || (r != Result{From: 0, To: m.Latest()}) {
		t.Fatalf("up again: %v, %v", r, err)
	}
	if diff := cmp.Diff(at[m.Latest()], catalogue(ctx, t, database)); diff != "" {
		t.Errorf("up after down (-first, +second):\n%s", diff)
	}
	if r, err := m.DownAll(ctx); err != nil || (r != Result{From: m.Latest(), To: 0}) {
		t.Fatalf("down all: %v, %v", r, err)
	}
	if diff := cmp.Diff(empty, catalogue(ctx, t, database)); diff != "" {
		t.Errorf("down all left:\n%s", diff)
	}
}

func anyPartition(items []string) bool { return strings.Contains(strings.Join(items, "\n"), "_y20") }

func TestMigrator_noChange(t *testing.T) {
	ctx := integration(t)
	m := openMigrator(ctx, t, migratedDatabase(ctx, t))
	want := Result{From: m.Latest(), To: m.Latest()}
	if r, err := m.Up(ctx); err != nil || r != want {
		t.Errorf("up: %v, %v", r, err)
	}
	if r, err := m.Goto(ctx, m.Latest()); err != nil || r != want {
		t.Errorf("goto: %v, %v", r, err)
	}
	if r, err := m.Down(ctx, 1000); err != nil || r.To != 0 {
		t.Errorf("down more than there are: %v, %v", r, err)
	}
	for what, f := range map[string]func() (Result, error){
		"down":     func() (Result, error) { return m.Down(ctx, 1) },
		"down all": func() (Result, error) { return m.DownAll(ctx) },
		"goto 0":   func() (Result, error) { return m.Goto(ctx, 0) },
	} {
		if r, err := f(); err != nil || (r != Result{}) {
			t.Errorf("%s of an empty database: %v, %v", what, r, err)
		}
	}
	latest, err := Latest()
	if err != nil || latest != m.Latest() {
		t.Errorf("Latest() = %d, %v; the migrator's is %d", latest, err, m.Latest())
	}
}

func TestMigrator_twoAtOnce(t *testing.T) {
	ctx := integration(t)
	database := emptyDatabase(ctx, t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		changed int
	)
	for range 3 {
		wg.Go(func() {
			m, err := Open(ctx, Options{URL: server.OwnerURL(database)})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = m.Close() }()
			r, err := m.Up(ctx)
			if err != nil || r.To != m.Latest() {
				t.Errorf("up: %v, %v", r, err)
			}
			if r.From != r.To {
				mu.Lock()
				changed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if changed != 1 {
		t.Errorf("%d migrators changed something, want 1", changed)
	}
}

func TestMigrator_lock(t *testing.T) {
	ctx := integration(t)
	database := emptyDatabase(ctx, t)
	first := openMigrator(ctx, t, database)
	var log bytes.Buffer
	_, err := Open(ctx, Options{URL: server.OwnerURL(database), LockTimeout: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("beside another migrator: %v", err)
	}
	if !strings.Contains(log.String(), "waiting for another migrator") {
		t.Errorf("log: %s", log.String())
	}
	hurried, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := Open(hurried, Options{URL: server.OwnerURL(database)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("told to stop while waiting: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openMigrator(ctx, t, database)
}

// files returns the first migrations and some more.
func files(t *testing.T, first int, more fstest.MapFS) fs.FS {
	t.Helper()
	all, err := fs.Glob(FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all[:2*first] {
		text, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		more[path.Base(name)] = &fstest.MapFile{Data: text}
	}
	return more
}

func file(sql string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(sql)} }

func TestMigrator_failure(t *testing.T) {
	ctx := integration(t)
	database := emptyDatabase(ctx, t)
	m, err := open(ctx, files(t, 2, fstest.MapFS{
		"000003_bad.up.sql":   file("CREATE TABLE unfinished (id INT);\nSELECT 1/0;\nCREATE TABLE other (id INT)"),
		"000003_bad.down.sql": file("SELECT nothing;"),
	}), Options{URL: server.OwnerURL(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	r, err := m.Up(ctx)
	if (r != Result{From: 0, To: 2}) || err == nil || !strings.Contains(err.Error(), "migrate to version 3") || !strings.Contains(err.Error(), "division by zero") {
		t.Errorf("up: %v, %v", r, err)
	}
	if strings.Contains(err.Error(), "CREATE TABLE") {
		t.Errorf("the error quotes the file: %v", err)
	}
	// Nothing of the failed file is there, and the version is clean: the next run goes on.
	if v, err := m.Version(); err != nil || (v != Version{Number: 2}) {
		t.Errorf("version after the failure: %v, %v", v, err)
	}
	for _, item := range catalogue(ctx, t, database) {
		if strings.Contains(item, "unfinished") {
			t.Errorf("the failed migration left %s", item)
		}
	}
	if r, err := m.Up(ctx); (r != Result{From: 2, To: 2}) || err == nil {
		t.Errorf("up again: %v, %v", r, err)
	}
}

func TestMigrator_noTransaction(t *testing.T) {
	ctx := integration(t)
	database := emptyDatabase(ctx, t)
	fsys := fstest.MapFS{
		"000003_index.up.sql":   file(noTransaction + "\nCREATE INDEX CONCURRENTLY plans_title_idx ON plans (title);"),
		"000003_index.down.sql": file("DROP INDEX plans_title_idx;"),
		"000004_lone.up.sql":    file(noTransaction + "\nCREATE INDEX CONCURRENTLY plans_none_idx ON plans (none);"),
		"000004_lone.down.sql":  file("SELECT 1;"),
	}
	m, err := open(ctx, files(t, 2, fsys), Options{URL: server.OwnerURL(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if r, err := m.Up(ctx); r.To != 4 || err == nil || !strings.Contains(err.Error(), `migrate to version 4: ERROR: column "none" does not exist`) {
		t.Errorf("up: %v, %v", r, err)
	}
	if v, err := m.Version(); err != nil || (v != Version{Number: 4, Dirty: true}) {
		t.Errorf("version: %v, %v", v, err)
	}
	for what, f := range map[string]func() (Result, error){
		"up":       func() (Result, error) { return m.Up(ctx) },
		"down":     func() (Result, error) { return m.Down(ctx, 1) },
		"down all": func() (Result, error) { return m.DownAll(ctx) },
		"goto":     func() (Result, error) { return m.Goto(ctx, 1) },
	} {
		if _, err := f(); !errors.Is(err, ErrDirty) {
			t.Errorf("%s of a dirty schema: %v", what, err)
		}
	}
	if err := m.Force(3); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Goto(ctx, 2); err != nil || (r != Result{From: 3, To: 2}) {
		t.Errorf("goto after force: %v, %v", r, err)
	}
}

// A program that is older than the schema leaves it alone, but cannot lead it anywhere.
func TestMigrator_ahead(t *testing.T) {
	ctx := integration(t)
	database := migratedDatabase(ctx, t)
	m, err := open(ctx, files(t, 3, fstest.MapFS{}), Options{URL: server.OwnerURL(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	latest, err := Latest()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := m.Up(ctx); err != nil || (r != Result{From: latest, To: latest}) {
		t.Errorf("up: %v, %v", r, err)
	}
	for what, f := range map[string]func() error{
		"down":     func() error { _, err := m.Down(ctx, 1); return err },
		"down all": func() error { _, err := m.DownAll(ctx); return err },
		"goto":     func() error { _, err := m.Goto(ctx, 2); return err },
		"force":    func() error { return m.Force(latest) },
	} {
		if err := f(); !errors.Is(err, ErrUnknownVersion) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Told to stop, it ends between two files.
func TestMigrator_stop(t *testing.T) {
	ctx := integration(t)
	m := openMigrator(ctx, t, emptyDatabase(ctx, t))
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	r, err := m.Up(stopped)
	if !errors.Is(err, context.Canceled) || r.To == m.Latest() {
		t.Errorf("up after a stop: %v, %v", r, err)
	}
	if v, err := m.Version(); err != nil || v.Dirty {
		t.Errorf("version after a stop: %v, %v", v, err)
	}
}

func TestOpen_unreachable(t *testing.T) {
	ctx := integration(t)
	// A port that nobody listens on.
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := fmt.Sprintf("postgres://ann:secret@%s/landlord", l.Addr())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		url  string
		wait time.Duration
		want error
		says string
	}{
		"refused":        {url: closed, want: ErrUnreachable, says: "connection refused"},
		"refused, wait":  {url: closed, wait: 600 * time.Millisecond, want: ErrUnreachable, says: "waited 600ms"},
		"no database":    {url: server.OwnerURL("nowhere"), wait: time.Minute, says: `database "nowhere" does not exist`},
		"wrong password": {url: strings.Replace(server.OwnerURL(embeddedpg.Database), embeddedpg.OwnerRole+":", embeddedpg.OwnerRole+":x", 1), wait: time.Minute, says: "password authentication failed"},
		"no URL":         {url: "postgres://[", says: "database URL"},
	} {
		_, err := Open(ctx, Options{URL: tc.url, Wait: tc.wait})
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q in it, and no password", name, err, tc.says)
		}
	}
}

// The application reads the version with its own rights, also of a database that has none.
func TestCurrent(t *testing.T) {
	ctx := integration(t)
	latest, err := Latest()
	if err != nil {
		t.Fatal(err)
	}
	migrated := connectTo(ctx, t, server.AppURL(migratedDatabase(ctx, t)))
	if v, err := Current(ctx, migrated); err != nil || (v != Version{Number: latest}) {
		t.Errorf("migrated: %v, %v", v, err)
	}
	empty := connectTo(ctx, t, server.AppURL(emptyDatabase(ctx, t)))
	if v, err := Current(ctx, empty); err != nil || (v != Version{}) {
		t.Errorf("empty: %v, %v", v, err)
	}
}
