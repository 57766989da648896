package migrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// lockKey is the advisory lock of landlord's migrators, whatever the database is called. It is taken
	// around golang-migrate's own, which can be neither watched nor cancelled while it is waited for.
	lockKey = 0x6c616e646c6f7264 // "landlord"

	noTransaction = "-- landlord: no transaction"
	connectRetry  = 250 * time.Millisecond
	connectWithin = 10 * time.Second
)

func config(o Options) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err) // pgx leaves the password out
	}
	// The schema lives in public, where the functions with the owner's rights look for it.
	cfg.RuntimeParams["search_path"] = "public"
	cfg.RuntimeParams["application_name"] = "landlord-migrate"
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectWithin
	}
	return cfg, nil
}

// connect waits for a database that is still starting, or whose name does not
// resolve yet. What waiting cannot cure (a wrong password, no such database) ends it at once.
func connect(ctx context.Context, cfg *pgx.ConnConfig, wait time.Duration, log *slog.Logger) (*pgx.Conn, error) {
	target := fmt.Sprintf("%s at %s:%d", cfg.Database, cfg.Host, cfg.Port)
	deadline := time.Now().Add(wait)
	for waited := false; ; waited = true {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			if waited {
				log.Info("the database is up", "database", target)
			}
			return conn, nil
		}
		var refused *pgconn.PgError
		if errors.As(err, &refused) && !starting(refused.Code) {
			return nil, fmt.Errorf("connect to database %s as %s: %w", target, cfg.User, refused)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: database %s: %w", ErrUnreachable, target, context.Cause(ctx))
		}
		if !time.Now().Add(connectRetry).Before(deadline) {
			return nil, fmt.Errorf("%w (waited %s): %s", ErrUnreachable, wait, trimLine(err.Error()))
		}
		if !waited {
			log.Info("waiting for the database", "database", target, "at_most", wait.String(), "because", trimLine(err.Error()))
		}
		select {
		case <-ctx.Done():
		case <-time.After(connectRetry):
		}
	}
}

// starting tells the refusals that pass: starting or shutting down, too many connections.
func starting(code string) bool {
	return strings.HasPrefix(code, "57P0") || code == "53300"
}

func takeLock(ctx context.Context, conn *pgx.Conn, within time.Duration, log *slog.Logger) error {
	var free bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockKey)).Scan(&free); err != nil {
		return fmt.Errorf("take the migration lock: %w", err)
	}
	if free {
		return nil
	}
	log.Info("waiting for another migrator", "at_most", within.String())
	if _, err := conn.Exec(ctx, `SELECT set_config('lock_timeout', $1, false)`, strconv.FormatInt(within.Milliseconds(), 10)); err != nil {
		return fmt.Errorf("take the migration lock: %w", err)
	}
	_, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(lockKey))
	var timeout *pgconn.PgError
	if errors.As(err, &timeout) && timeout.Code == "55P03" {
		return fmt.Errorf("%w, and was still after %s", ErrLocked, within)
	}
	if err != nil {
		return fmt.Errorf("take the migration lock: %w", err)
	}
	return nil
}

// driver makes a migration and the version it leads to one transaction. golang-migrate writes the version as dirty
// before a file and as clean after it; a process killed between the two leaves a version that only a person can judge.
// PostgreSQL has transactional DDL, and runs a text of several statements as one transaction, so the version is
// appended to the file's text instead.
type driver struct {
	database.Driver

	target int
}

func newDriver(cfg *pgx.ConnConfig) (*driver, error) {
	drv, err := migratepgx.WithInstance(stdlib.OpenDB(*cfg), &migratepgx.Config{SchemaName: "public"})
	if err != nil {
		return nil, fmt.Errorf("prepare the table schema_migrations: %w", err)
	}
	return &driver{Driver: drv}, nil
}

func (d *driver) SetVersion(version int, dirty bool) error {
	if dirty {
		d.target = version // Run follows
		return nil
	}
	return d.Driver.SetVersion(version, false)
}

func (d *driver) Run(file io.Reader) error {
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(text, []byte(noTransaction)) {
		if err := d.Driver.SetVersion(d.target, true); err != nil {
			return err
		}
		return d.explain(d.Driver.Run(bytes.NewReader(text)))
	}
	text = append(text, "\n;\nDELETE FROM public.schema_migrations;\n"...)
	if d.target != database.NilVersion {
		text = fmt.Appendf(text, "INSERT INTO public.schema_migrations (version, dirty) VALUES (%d, FALSE);\n", d.target)
	}
	return d.explain(d.Driver.Run(bytes.NewReader(text)))
}

// explain leaves the file's text out of its error: an init container's log wants the line, not the file.
func (d *driver) explain(err error) error {
	var e database.Error
	if !errors.As(err, &e) {
		return err
	}
	err = e.OrigErr
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		if pg.Hint != "" {
			err = fmt.Errorf("%w: %s", err, pg.Hint)
		}
		if pg.Position > 0 { // without one, the line is made up
			err = fmt.Errorf("line %d: %w", e.Line, err)
		}
	}
	return fmt.Errorf("migrate to version %d: %w", max(d.target, 0), err)
}

func trimLine(s string) string { return strings.Join(strings.Fields(s), " ") }
