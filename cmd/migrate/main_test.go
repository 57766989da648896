//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/migrations"
)

// result is what a run left behind.
type result struct {
	code     int
	out, log string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %sstderr: %s", r.code, r.out, r.log)
}

func command(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, log bytes.Buffer
	code := run(ctx, args, &out, &log)
	return result{code, out.String(), log.String()}
}

func latest(t *testing.T) string {
	t.Helper()
	v, err := migrations.Latest()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatUint(uint64(v), 10)
}

func TestRun_usage(t *testing.T) {
	t.Setenv("LANDLORD_DATABASE_URL", "")
	t.Setenv("LANDLORD_MIGRATE_DATABASE_URL", "")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"", exitOK, "Exit codes: 0 done"},
		{"--help", exitOK, "Usage: landlord-migrate"},
		{"up --help", exitOK, "--wait"},
		{"--release", exitOK, "dev"},
		{"sideways", exitUsage, "unexpected argument sideways"},
		{"up", exitUsage, "which database? Give --database-url or LANDLORD_DATABASE_URL"},
		{"up 3 --database-url=x", exitUsage, "unexpected argument 3"},
		{"down x --database-url=x", exitUsage, "<n>"},
		{"down 0 --database-url=x", exitUsage, "is positive"},
		{"down 1 --all --database-url=x", exitUsage, "--all or a number"},
		{"goto --database-url=x", exitUsage, "<version>"},
		{"goto -1 --database-url=x", exitUsage, ""},
		{"force --database-url=x", exitUsage, "<version>"},
		{"up --wait soon --database-url=x", exitUsage, "--wait"},
		{"up --log-format xml --database-url=x", exitUsage, "--log-format"},
	} {
		got := command(t, strings.Fields(tc.args)...)
		if got.code != tc.code || !strings.Contains(got.out+got.log, tc.says) {
			t.Errorf("%q: want exit code %d and %q, got %v", tc.args, tc.code, tc.says, got)
		}
	}
}

func TestRun_unreachable(t *testing.T) {
	t.Setenv("LANDLORD_DATABASE_URL", "postgres://ann:secret@127.0.0.1:1/landlord")
	got := command(t, "up", "--wait=300ms")
	if got.code != exitUnreachable || !strings.Contains(got.log, "waiting for the database") || !strings.Contains(got.log, "exit_code=3") {
		t.Errorf("%v", got)
	}
	if strings.Contains(got.log, "secret") {
		t.Errorf("the password is in the log: %v", got)
	}
}

func TestRun_commands(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t).Owner
	head := latest(t)
	for _, tc := range []struct {
		args, out, log string
		code           int
	}{
		{args: "version", out: "0\n", log: "latest=" + head},
		{args: "up", log: `msg="schema migrated" from=0 to=` + head},
		{args: "version", out: head + "\n"},
		{args: "up", log: `msg="no change" version=` + head},
		{args: "down", log: "from=" + head},
		{args: "up", log: "to=" + head},
		{args: "goto 4", log: "to=4"},
		{args: "down 2", log: "from=4 to=2"},
		{args: "goto 5", log: "from=2 to=5"},
		{args: "goto 9999", log: "unknown version 9999: this program knows 0 to " + head, code: exitError},
		{args: "force 9999", log: "unknown version 9999", code: exitError},
		{args: "force 3", log: "version forced; nothing was run"},
		{args: "version", out: "3\n"},
		{args: "up", log: "migrate to version 4", code: exitError}, // the table of 4 is there already
		{args: "force 5", log: "version=5"},
		{args: "down --all", log: "from=5 to=0"},
		{args: "down --all", log: "no change"},
		{args: "version", out: "0\n"},
	} {
		got := command(t, append(strings.Fields(tc.args), "--database-url="+url)...)
		if got.code != tc.code || got.out != tc.out || !strings.Contains(got.log, tc.log) {
			t.Fatalf("%s: want exit code %d, stdout %q and %q in the log; got %v", tc.args, tc.code, tc.out, tc.log, got)
		}
	}
}

func TestRun_jsonLog(t *testing.T) {
	t.Parallel()
	got := command(t, "up", "--log-format=json", "--database-url="+pgtest.Empty(t).Owner)
	if got.code != exitOK {
		t.Fatal(got)
	}
	for line := range strings.Lines(got.log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestRun_dirty(t *testing.T) {
	t.Parallel()
	urls := pgtest.Empty(t)
	if got := command(t, "up", "--database-url="+urls.Owner); got.code != exitOK {
		t.Fatal(got)
	}
	conn, err := pgx.Connect(t.Context(), urls.Owner)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), `UPDATE schema_migrations SET dirty = TRUE`); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "version", "--database-url="+urls.Owner); got.code != exitOK || got.out != latest(t)+" (dirty)\n" {
		t.Errorf("version: %v", got)
	}
	if got := command(t, "up", "--database-url="+urls.Owner); got.code != exitDirty || !strings.Contains(got.log, "force the version the schema has") {
		t.Errorf("up: %v", got)
	}
	if got := command(t, "force", latest(t), "--database-url="+urls.Owner); got.code != exitOK {
		t.Errorf("force: %v", got)
	}
	if got := command(t, "up", "--database-url="+urls.Owner); got.code != exitOK {
		t.Errorf("up after force: %v", got)
	}
}

// Two init containers start together, as the static programs they are, without
// an environment to speak of; a third waits in vain.
func TestProgram_twoAtOnce(t *testing.T) {
	t.Parallel()
	urls := pgtest.Empty(t)
	program := filepath.Join(t.TempDir(), "landlord-migrate")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}

	logs := make([]bytes.Buffer, 2)
	procs := make([]*exec.Cmd, len(logs))
	for i := range procs {
		procs[i] = exec.CommandContext(t.Context(), program, "up")
		procs[i].Env = []string{"LANDLORD_DATABASE_URL=" + urls.Owner}
		procs[i].Stderr = &logs[i]
		if err := procs[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	both := ""
	for i := range procs {
		if err := procs[i].Wait(); err != nil {
			t.Errorf("%v: %s", err, logs[i].String())
		}
		both += logs[i].String()
	}
	if strings.Count(both, "schema migrated") != 1 || strings.Count(both, "no change") != 1 {
		t.Errorf("one should have worked and one found nothing to do:\n%s", both)
	}

	m, err := migrations.Open(t.Context(), migrations.Options{URL: urls.Owner})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if got := command(t, "up", "--lock-timeout=100ms", "--database-url="+urls.Owner); got.code != exitLocked {
		t.Errorf("beside a migrator that does not end: %v", got)
	}
}
