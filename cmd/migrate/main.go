// Command landlord-migrate brings a database to the schema of this release, or
// to any other. It is one static program with the migrations inside, made to run
// as an init container before the server:
//
//	landlord-migrate up --wait 2m
//
// Any number may run at once: one works, the others wait for it and then find
// nothing to do. A migration and the version it leads to are one transaction, so
// one that is killed leaves nothing half done and the next run goes on.
//
// Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong command line; 3 the
// database was not reachable in time; 4 the schema is dirty and wants a person;
// 5 another migrator did not finish in time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/landlordhq/landlord/migrations"
)

// Exit codes, as --help and docs/migrations.md state them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitDirty       = 4
	exitLocked      = 5
)

const help = `Bring a PostgreSQL database to the schema of this release of landlord, or to any other version.

Connect as the role that owns the tables, straight to the server rather than through a transaction pooler. Any number may run at once: one works, the others wait.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong command line, 3 database not reachable in time, 4 schema dirty, 5 another migrator did not finish in time.`

type cli struct {
	DatabaseURL string        `name:"database-url" env:"LANDLORD_MIGRATE_DATABASE_URL,LANDLORD_DATABASE_URL" placeholder:"postgres://…" help:"The database, as the role that owns the tables."`
	Wait        time.Duration `default:"30s" env:"LANDLORD_MIGRATE_WAIT" help:"How long to wait for a database that is not up yet; 0 tries once."`
	LockTimeout time.Duration `default:"5m" env:"LANDLORD_MIGRATE_LOCK_TIMEOUT" help:"How long to wait for another migrator."`
	LogFormat   string        `enum:"text,json" default:"text" env:"LANDLORD_LOG_FORMAT" help:"Format of the log on standard error: text or json."`

	Release kong.VersionFlag `name:"release" help:"Print the release of this program and exit."`

	Up      upCmd      `cmd:"" help:"Apply all outstanding migrations."`
	Down    downCmd    `cmd:"" help:"Revert the last migration, or the last N. Reverting drops tables with their rows."`
	Goto    gotoCmd    `cmd:"" name:"goto" help:"Go up or down to a version; 0 is an empty database."`
	Version versionCmd `cmd:"" help:"Print the version of the schema: 0 when empty, followed by (dirty) when a migration was cut short."`
	Force   forceCmd   `cmd:"" help:"Write down a version without running anything, after a repair by hand."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, out, errOut io.Writer) (code int) {
	type exit struct{ code int }
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exit: // kong asked to leave: --help, --release
			code = v.code
		default:
			panic(v)
		}
	}()
	c := &cli{}
	parser, err := kong.New(c,
		kong.Name("landlord-migrate"),
		kong.Description(help),
		kong.Writers(out, errOut),
		kong.Exit(func(code int) { panic(exit{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.Vars{"version": release()},
	)
	if err != nil {
		panic(err) // the command line itself is a defect
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err == nil && c.DatabaseURL == "" {
		err = errors.New("which database? Give --database-url or LANDLORD_DATABASE_URL")
	}
	if err != nil {
		fmt.Fprintf(errOut, "landlord-migrate: %v\nRun \"landlord-migrate --help\".\n", err)
		return exitUsage
	}
	log := logger(errOut, c.LogFormat)
	m, err := migrations.Open(ctx, migrations.Options{URL: c.DatabaseURL, Wait: c.Wait, LockTimeout: c.LockTimeout, Log: log})
	if err == nil {
		err = kctx.Run(&job{ctx: ctx, m: m, log: log, out: out})
		err = errors.Join(err, m.Close())
	}
	if err != nil {
		log.Error("failed", "err", err.Error(), "exit_code", exitCode(err))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, migrations.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, migrations.ErrDirty):
		return exitDirty
	case errors.Is(err, migrations.ErrLocked):
		return exitLocked
	default:
		return exitError
	}
}

func logger(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// version is set by the linker.
var version string

func release() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "dev"
}
