package migrations

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

var update = flag.Bool("update", false, "rewrite schema.sql")

// server is one for the test binary; each test has databases of its own on it.
var (
	server    *embeddedpg.Server
	databases atomic.Int64
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "landlord-migrations-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Chmod(dir, 0o755) // the server's own account must enter
	}
	if err == nil {
		server, err = embeddedpg.Start(context.Background(), embeddedpg.Config{DataDir: dir + "/pg", FastUnsafe: true})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "start PostgreSQL (without the server programs: make deps): %v\n", err)
		return 1
	}
	code := m.Run()
	if err := server.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
		return 1
	}
	return code
}

func integration(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// emptyDatabase makes a database that the owner role owns, as a DBA would, and returns its name.
func emptyDatabase(ctx context.Context, t *testing.T) string {
	t.Helper()
	return createDatabase(ctx, t, "template1")
}

// template is the migrated database that the others are copies of.
var template = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	const name = "migrated"
	super, err := pgx.Connect(ctx, server.SuperURL("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = super.Close(ctx) }()
	if _, err := super.Exec(ctx, "CREATE DATABASE "+name+" OWNER "+embeddedpg.OwnerRole); err != nil {
		return "", err
	}
	m, err := Open(ctx, Options{URL: server.OwnerURL(name)})
	if err != nil {
		return "", err
	}
	defer func() { _ = m.Close() }()
	if _, err := m.Up(ctx); err != nil {
		return "", err
	}
	return name, server.GrantApp(ctx)
})

// migratedDatabase makes a database at the latest version and returns its name.
func migratedDatabase(ctx context.Context, t *testing.T) string {
	t.Helper()
	from, err := template()
	if err != nil {
		t.Fatalf("migrate the template: %v", err)
	}
	return createDatabase(ctx, t, from)
}

var creating sync.Mutex // a template takes one copy at a time

func createDatabase(ctx context.Context, t *testing.T, from string) string {
	t.Helper()
	name := fmt.Sprintf("t%d", databases.Add(1))
	super := connectTo(ctx, t, server.SuperURL("postgres"))
	creating.Lock()
	defer creating.Unlock()
	mustExec(ctx, t, super, fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE %s", name, embeddedpg.OwnerRole, from))
	return name
}

func connectTo(ctx context.Context, t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func openMigrator(ctx context.Context, t *testing.T, database string) *Migrator {
	t.Helper()
	m, err := Open(ctx, Options{URL: server.OwnerURL(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

type queryer interface {
	Execer
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func mustExec(ctx context.Context, t *testing.T, db Execer, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%v\n%s", err, strings.TrimSpace(sql))
	}
}

// column reads the one column of a query's rows.
func column[T any](ctx context.Context, t *testing.T, db queryer, sql string, args ...any) []T {
	t.Helper()
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return all
}

func one[T any](ctx context.Context, t *testing.T, db queryer, sql string, args ...any) T {
	t.Helper()
	all := column[T](ctx, t, db, sql, args...)
	if len(all) != 1 {
		t.Fatalf("%d rows instead of one\n%s", len(all), sql)
	}
	return all[0]
}

// scope is for whom a transaction works.
type scope string

const (
	noScope       scope = ""
	operatorScope scope = "operator"
)

// begin starts a transaction in a scope, a tenant's id unless it is one of the
// above, and rolls it back with the test unless it is ended before.
func begin(ctx context.Context, t *testing.T, conn *pgx.Conn, s scope) pgx.Tx {
	t.Helper()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	switch s {
	case noScope:
	case operatorScope:
		mustExec(ctx, t, tx, `SET LOCAL landlord.operator = 'on'`)
	default:
		mustExec(ctx, t, tx, fmt.Sprintf(`SET LOCAL landlord.tenant_id = '%s'`, s))
	}
	return tx
}

func commit(ctx context.Context, t *testing.T, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func rollback(ctx context.Context, t *testing.T, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
}
