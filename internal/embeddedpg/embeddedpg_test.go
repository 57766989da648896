//go:build unix

package embeddedpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func query(t *testing.T, url, sql string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer c.Close(context.Background())
	results, err := c.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, row := range results[len(results)-1].Rows {
		var fields []string
		for _, f := range row {
			fields = append(fields, string(f))
		}
		rows = append(rows, strings.Join(fields, "|"))
	}
	return strings.Join(rows, "\n")
}

//nolint:tparallel // the subtests look at one server in the order of its life
func TestServer_lifeOfAFolder(t *testing.T) {
	integration(t)
	dir := filepath.Join(openTemp(t), "pg")
	s := mustStart(t, Config{DataDir: dir})

	t.Run("roles", func(t *testing.T) {
		got := query(t, s.AppURL(Database), `SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb
			FROM pg_roles WHERE rolname LIKE 'landlord%' ORDER BY 1`)
		if diff := cmp.Diff("landlord|f|f|f|f\nlandlord_owner|f|f|t|f", got); diff != "" {
			t.Error(diff)
		}
		got = query(t, s.OwnerURL(Database), `SELECT current_user, pg_get_userbyid(datdba), pg_encoding_to_char(encoding)
			FROM pg_database WHERE datname = current_database()`)
		if diff := cmp.Diff("landlord_owner|landlord_owner|UTF8", got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a password is needed", func(t *testing.T) {
		_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:guess@127.0.0.1:%d/postgres", s.Port()))
		if !wrongPassword(err) {
			t.Errorf("got %v, want a refused password", err)
		}
		info, err := os.Stat(filepath.Join(s.DataDir(), "pgpass"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("pgpass: %v, %v, want mode 0600", info, err)
		}
	})
	t.Run("the folder has one owner", func(t *testing.T) {
		_, err := Start(deadline(t), Config{DataDir: dir})
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("got %v, want ErrInUse with the owner's process id", err)
		}
	})
	t.Run("a given port must be free", func(t *testing.T) {
		_, err := Start(deadline(t), Config{DataDir: filepath.Join(openTemp(t), "pg"), Port: s.Port()})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d", s.Port())) {
			t.Errorf("got %v, want an error that names the port", err)
		}
	})
	t.Run("membership follows the migrations", func(t *testing.T) {
		if err := s.GrantApp(t.Context()); err == nil {
			t.Error("granted a role that does not exist")
		}
		query(t, s.OwnerURL(Database), `CREATE ROLE landlord_app NOLOGIN; SELECT 1`)
		for range 2 {
			if err := s.GrantApp(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := query(t, s.AppURL(Database), `SELECT pg_has_role('landlord_app', 'member')`); got != "t" {
			t.Errorf("member: %s", got)
		}
	})

	query(t, s.OwnerURL(Database), `CREATE TABLE kept AS SELECT 42 AS n; SELECT 1`)
	mustStop(t, s)
	mustStop(t, s)
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}

	again := mustStart(t, Config{DataDir: dir})
	if got := query(t, again.OwnerURL(Database), `SELECT n FROM kept`); got != "42" {
		t.Errorf("after a restart: %s", got)
	}

	// Someone stops the server behind our back: Done tells.
	if err := signalFast(again.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	select {
	case <-again.Done():
	case <-deadline(t).Done():
		t.Fatal("Done is open after the server ended")
	}
	mustStop(t, again)

	if err := os.Remove(filepath.Join(dir, "pgpass")); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(deadline(t), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "delete the folder") {
		t.Errorf("without passwords: %v", err)
	}
}

// An owner is killed without warning; the next one finds the data.
func TestServer_survivesKill(t *testing.T) {
	integration(t)
	dir := filepath.Join(openTemp(t), "pg")
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), holdEnv+"="+dir)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, err := fmt.Sscanf(line, "holding %d", &pid); err != nil {
		t.Fatalf("owner said %q", line)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed, as wanted

	s := mustStart(t, Config{DataDir: dir})
	if serves(pid, s.folder.pgdata()) {
		t.Errorf("the first server %d still runs", pid)
	}
	query(t, s.AppURL(Database), "SELECT 1")
}

//nolint:tparallel // the subtests start one server after the other
func TestServer_stalePidFile(t *testing.T) {
	integration(t)
	dir := filepath.Join(openTemp(t), "pg")
	s := mustStart(t, Config{DataDir: dir})
	mustStop(t, s)
	pidFile := filepath.Join(s.folder.pgdata(), "postmaster.pid")

	for name, text := range map[string]string{
		"another process has the id": fmt.Sprintf("%d\n%s\n", os.Getpid(), s.folder.pgdata()),
		"nobody has the id":          "4194000\n" + s.folder.pgdata() + "\n",
		"empty":                      "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.folder.account.own(pidFile); err != nil {
				t.Fatal(err)
			}
			mustStop(t, mustStart(t, Config{DataDir: dir}))
		})
	}

	t.Run("a server was left running", func(t *testing.T) {
		left := exec.Command(filepath.Join(s.programs.Dir, "postgres"), s.settings()...)
		left.Dir = s.folder.pgdata()
		left.Env = environment()
		left.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.folder.account.attributes().Credential}
		if err := left.Start(); err != nil {
			t.Fatal(err)
		}
		for ctx := deadline(t); ping(ctx, s.SuperURL(SuperRole)) != nil; {
			select {
			case <-ctx.Done():
				t.Fatal("the server to be left does not start")
			case <-time.After(20 * time.Millisecond):
			}
		}
		next := mustStart(t, Config{DataDir: dir})
		defer mustStop(t, next)
		_ = left.Wait() // hangs when it was not stopped
		query(t, next.AppURL(Database), "SELECT 1")
	})
}

func TestStart_cancelled(t *testing.T) {
	integration(t)
	dir := filepath.Join(openTemp(t), "pg")
	for _, after := range []time.Duration{0, 150 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err := Start(ctx, Config{DataDir: dir, FastUnsafe: true})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: got %v, want a cancelled start", after, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "pgdata*")); len(left) > 0 {
			t.Errorf("after %v: left %v", after, left)
		}
	}
	mustStart(t, Config{DataDir: dir})
}

func TestStart_rootDropsPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has privileges to drop")
	}
	integration(t)
	home := openTemp(t)
	if err := os.Chmod(home, 0o700); err != nil { // as /root is
		t.Fatal(err)
	}
	s := mustStart(t, Config{DataDir: filepath.Join(home, "checkout", "pg"), closed: openTemp(t)})
	info, err := os.Stat(fmt.Sprintf("/proc/%d", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 || uid != s.folder.account.uid {
		t.Errorf("postgres runs as %d, want the account %s", uid, s.folder.account.name)
	}
	if strings.HasPrefix(s.DataDir(), home) {
		t.Errorf("data is in %s, which the account can't enter", s.DataDir())
	}

	closed := filepath.Join(home, "closed")
	_, err = Start(deadline(t), Config{DataDir: filepath.Join(home, "pg"), closed: closed})
	if err == nil || !strings.Contains(err.Error(), "chmod o+x "+home) {
		t.Errorf("got %v, want an error that names the closed folder", err)
	}
}

func TestStart_foreignFolder(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	if err := os.Mkdir(filepath.Join(dir, "pgdata"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "not a PostgreSQL cluster") {
		t.Errorf("got %v", err)
	}
	if _, err := Start(t.Context(), Config{}); err == nil {
		t.Error("started without a folder")
	}
}

func TestChoosePort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if _, err := choosePort(port); err == nil {
		t.Errorf("port %d is taken and was chosen", port)
	}
	if p, err := choosePort(0); err != nil || p == 0 {
		t.Errorf("got %d, %v", p, err)
	}
}
