//go:build unix

package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/pg"
)

// joinEnv turns the test binary into a user of the server that waits to be killed.
const joinEnv = "LANDLORD_TEST_JOIN"

func TestMain(m *testing.M) {
	if os.Getenv(joinEnv) != "" {
		b, err := newBinary(context.Background())
		fmt.Println(b.name, err)
		select {}
	}
	goleak.VerifyTestMain(Main(m))
}

func ask[T any](t *testing.T, db *pg.DB, sql string, args ...any) T {
	t.Helper()
	var got T
	if err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		return tx.QueryRow(t.Context(), sql, args...).Scan(&got)
	}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func TestNew(t *testing.T) {
	t.Parallel()
	db := New(t)
	if New(t) != db {
		t.Error("a binary has more than one shared database")
	}
	got := ask[string](t, db, `SELECT current_user || ' ' || (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)`)
	if got != "landlord false" {
		t.Errorf("connected as %s", got)
	}
	if n := ask[int](t, db, `SELECT count(*) FROM tenants`); n == 0 {
		t.Error("the internal tenant of the migrations is missing")
	}
	for name, url := range map[string]string{"landlord": URL(t), "landlord_owner": OwnerURL(t), "postgres": SuperURL(t)} {
		if err := as(t.Context(), url, func(c *pgx.Conn) error {
			var who, where string
			err := c.QueryRow(t.Context(), `SELECT current_user, current_database()`).Scan(&who, &where)
			if want := ask[string](t, db, `SELECT current_database()`); who != name || where != want {
				t.Errorf("%s in %s, want %s in %s", who, where, name, want)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}

//nolint:tparallel // the subtest ends before the test looks at what it left
func TestClone_isPrivateAndDropped(t *testing.T) {
	t.Parallel()
	shared := New(t)
	exists := `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`
	var names []string
	t.Run("in use", func(t *testing.T) {
		for _, db := range []*pg.DB{Clone(t), Clone(t)} {
			name := ask[string](t, db, `SELECT current_database()`)
			if !ask[bool](t, shared, exists, name) {
				t.Errorf("%s is not there", name)
			}
			names = append(names, name)
		}
		if err := as(t.Context(), Empty(t).Owner, func(c *pgx.Conn) error {
			_, err := c.Exec(t.Context(), `CREATE TABLE tenants ()`)
			return err
		}); err != nil {
			t.Errorf("an empty database for migrations: %v", err)
		}
	})
	if names[0] == names[1] {
		t.Errorf("two clones are one: %v", names)
	}
	for _, name := range names {
		if ask[bool](t, shared, exists, name) {
			t.Errorf("%s outlives its test", name)
		}
	}
}

// A killed test binary's databases go while others work on.
func TestSupervisor_cleansUpAfterTheKilled(t *testing.T) {
	t.Parallel()
	db := New(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(program)
	other.Env = append(os.Environ(), joinEnv+"=1")
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	_ = other.Process.Kill()
	_ = other.Wait() // killed, as wanted
	prefix, ok := strings.CutSuffix(line, " <nil>\n")
	if !ok {
		t.Fatalf("the other binary said %q", line)
	}
	tick, patience := time.NewTicker(100*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for ask[int](t, db, `SELECT count(*) FROM pg_database WHERE starts_with(datname, $1)`, prefix) > 0 {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("databases %s* outlive their binary", prefix)
		}
	}
}

func TestSupervisor_endsWhenIdle(t *testing.T) {
	t.Parallel()
	New(t)                                                 // for its skips and its complaint about a missing PostgreSQL
	dir, err := os.MkdirTemp("", "landlord-pgtest-idle-*") //nolint:usetesting // t.TempDir is closed to root's postgres
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := folder(filepath.Join(dir, filepath.Base(dir)))
	if err := errors.Join(os.Chmod(dir, 0o711), ownFolder(string(f)), os.Mkdir(f.path("clients"), 0o700)); err != nil {
		t.Fatal(err)
	}
	client, err := f.lock("clients/1-1")
	if err != nil {
		t.Fatal(err)
	}

	s, err := newSupervisor(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	data := s.server.DataDir()
	if second, err := newSupervisor(t.Context(), f); err == nil {
		_ = second.end()
		t.Error("two supervisors of one folder")
	}
	if live, err := s.sweep(t.Context()); live != 1 || err != nil {
		t.Errorf("%d live clients, %v, want 1", live, err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	s.idle, s.look = 50*time.Millisecond, 10*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.run(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("run: %v, %v", err, ctx.Err())
	}
	if start, err := f.lock("start"); start != nil || err != nil {
		t.Errorf("somebody could join a server that ends: %v", err)
	}
	if err := s.end(); err != nil {
		t.Errorf("end: %v", err)
	}
	for _, gone := range []string{data, f.path("server.json"), f.path("clients/1-1")} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
}

func TestOwnFolder_refusesAStrangers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := ownFolder(dir); err == nil {
		t.Error("took a folder that everybody may write to")
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	db := New(t)
	got := Statements(t, func(ctx context.Context) {
		if err := db.AsOperator(ctx, func(tx pg.Tx) error {
			ask[int](t, db, `SELECT 3`) // another context's
			if _, err := tx.Exec(ctx, `SELECT 1`); err != nil {
				return err
			}
			var b pg.Batch
			b.Queue(`SELECT 2`)
			b.Queue(`SELECT $1::int`, 3)
			return pg.Send(ctx, tx, &b)
		}); err != nil {
			t.Error(err)
		}
	})
	want := []string{"BEGIN; SET LOCAL landlord.operator = 'on'", "SELECT 1", "SELECT 2", "SELECT $1::int", "commit"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	var log Log
	traced, err := pg.Open(t.Context(), pg.Config{URL: URL(t), Tracer: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer traced.Close()
	ask[int](t, traced, `SELECT 4`)
	if diff := cmp.Diff([]string{want[0], "SELECT 4", "commit"}, log.Statements()); diff != "" {
		t.Error(diff)
	}
	log.Reset()
	if n := len(log.Statements()); n > 0 {
		t.Errorf("%d statements after Reset", n)
	}
}

func TestPrepareAll(t *testing.T) {
	t.Parallel()
	PrepareAll(t, "testdata/room", "misspelt")
}

func TestSQLConstants(t *testing.T) {
	t.Parallel()
	all, err := sqlConstants("testdata/room")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, fmt.Sprintf("%s %v", c.name, isStatement(c.sql)))
	}
	want := []string{"columns false", "selectTenant true", "listTenants true", "condition false", "listen true", "misspelt true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := sqlConstants("."); err != nil {
		if !strings.Contains(err.Error(), "another package's constant") {
			t.Error(err)
		}
	}
	if _, err := sqlConstants(t.TempDir()); err == nil {
		t.Error("a folder without sql.go passes")
	}
}

func TestPrepare_finds(t *testing.T) {
	t.Parallel()
	c, err := New(t).Dedicated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	for _, tt := range []struct{ name, sql, want string }{
		{"a good one", `UPDATE tenants SET name = @name WHERE id = @id`, ""},
		{"a missing column", `SELECT colour FROM tenants`, "42703"},
		{"a wrong type", `SELECT 1 FROM tenants WHERE name = 1`, "42883"},
		{"a missing grant", `DELETE FROM schema_migrations`, "42501"},
		{"two in one", `SELECT 1; SELECT 2`, "42601"},
	} {
		got := ""
		if err := prepare(t.Context(), c, tt.sql); err != nil {
			got = err.Error()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want SQLSTATE %q", tt.name, got, tt.want)
		}
	}
}
