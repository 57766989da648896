package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
)

// What a caller may act on; the text around them says what happened.
var (
	// ErrUnreachable means that the database took no connection in the time allowed.
	ErrUnreachable = errors.New("database not reachable")
	// ErrLocked means that another migrator held the lock for all of the time allowed.
	ErrLocked = errors.New("another migrator is at work")
	// ErrDirty means that a migration which cannot run in a transaction was cut short: look, repair, then Force.
	ErrDirty = errors.New("schema is dirty")
	// ErrUnknownVersion means that a version was asked for, or found, that this program has no migrations to or from.
	ErrUnknownVersion = errors.New("unknown version")
)

// DefaultLockTimeout is how long a Migrator waits for another one, unless told otherwise.
const DefaultLockTimeout = 5 * time.Minute

// Options say where the database is and how patient the Migrator shall be.
type Options struct {
	URL         string        // of the role that owns the tables; a direct connection, not through a transaction pooler
	Wait        time.Duration // how long to wait for a database that is not up yet; 0 tries once
	LockTimeout time.Duration // how long to wait for another migrator; 0 is DefaultLockTimeout
	Log         *slog.Logger  // nil is silent
}

// Version is where a schema stands.
type Version struct {
	Number uint // 0: no migration was applied
	Dirty  bool // a migration that cannot run in a transaction was cut short
}

// Result tells what a run did; From equals To when there was nothing to do.
type Result struct{ From, To uint }

// Migrator holds the lock of the database's migrations from Open to Close, so
// what it was told about the version stays true. It is not for concurrent use.
type Migrator struct {
	log      *slog.Logger
	lock     *pgx.Conn // holds the advisory lock; nil once closed
	migrate  *migrate.Migrate
	versions []uint
}

// Open connects to the database, waiting for it and for other migrators as the
// options allow, and makes the table schema_migrations when it is not there.
func Open(ctx context.Context, o Options) (*Migrator, error) { return open(ctx, FS, o) }

func open(ctx context.Context, files fs.FS, o Options) (_ *Migrator, err error) {
	m := &Migrator{log: o.Log}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	src, err := iofs.New(files, ".")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	if m.versions, err = versions(src); err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	cfg, err := config(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	if m.lock, err = connect(ctx, cfg, o.Wait, m.log); err != nil {
		return nil, err
	}
	if err = takeLock(ctx, m.lock, o.LockTimeout, m.log); err != nil {
		return nil, err
	}
	drv, err := newDriver(cfg)
	if err != nil {
		return nil, err
	}
	m.migrate, err = migrate.NewWithInstance("iofs", src, "pgx5", drv)
	if err != nil {
		return nil, errors.Join(err, drv.Close())
	}
	m.migrate.LockTimeout = o.LockTimeout
	m.migrate.Log = progress{m.log}
	return m, nil
}

// Close frees the lock and the connections.
func (m *Migrator) Close() error {
	var errs []error
	if m.migrate != nil {
		src, db := m.migrate.Close()
		errs = append(errs, src, db)
		m.migrate = nil
	}
	if m.lock != nil {
		errs = append(errs, m.lock.Close(context.Background()))
		m.lock = nil
	}
	return errors.Join(errs...)
}

// Latest is the version that this program's migrations lead to.
func (m *Migrator) Latest() uint { return m.versions[len(m.versions)-1] }

// Version tells where the schema stands.
func (m *Migrator) Version() (Version, error) {
	n, dirty, err := m.migrate.Version()
	if errors.Is(err, migrate.ErrNilVersion) {
		return Version{}, nil
	}
	if err != nil {
		return Version{}, fmt.Errorf("read the version: %w", err)
	}
	return Version{Number: n, Dirty: dirty}, nil
}

// Up applies all outstanding migrations. A schema that a newer program has
// already taken further is left as it is: every release runs on the schema of
// the next one, so that a rollout, and its way back, never stop here.
func (m *Migrator) Up(ctx context.Context) (Result, error) {
	return m.run(ctx, func(v Version) error {
		if v.Number > m.Latest() {
			m.log.Warn("the schema is ahead of this program; nothing to do", "version", v.Number, "latest", m.Latest())
			return nil
		}
		return m.migrate.Up()
	})
}

// Down reverts the last n migrations, or as many as there are.
func (m *Migrator) Down(ctx context.Context, n int) (Result, error) {
	return m.run(ctx, func(v Version) error {
		if n < 1 {
			return fmt.Errorf("cannot revert %d migrations", n)
		}
		if err := m.known(v.Number); err != nil {
			return err
		}
		return m.migrate.Steps(-min(n, m.applied(v)))
	})
}

// DownAll reverts every migration: the tables and all their rows are gone.
func (m *Migrator) DownAll(ctx context.Context) (Result, error) {
	return m.run(ctx, func(v Version) error {
		if err := m.known(v.Number); err != nil {
			return err
		}
		return m.migrate.Down()
	})
}

// Goto goes up or down to a version.
func (m *Migrator) Goto(ctx context.Context, version uint) (Result, error) {
	return m.run(ctx, func(v Version) error {
		if err := errors.Join(m.known(v.Number), m.known(version)); err != nil {
			return err
		}
		if version == 0 {
			return m.migrate.Down()
		}
		return m.migrate.Migrate(version)
	})
}

// Force writes down a version, clean, without running anything: the last step
// of a repair by hand.
func (m *Migrator) Force(version uint) error {
	if err := m.known(version); err != nil {
		return err
	}
	n := database.NilVersion
	if version > 0 {
		n = int(min(version, math.MaxInt32))
	}
	if err := m.migrate.Force(n); err != nil {
		return fmt.Errorf("force version %d: %w", version, err)
	}
	return nil
}

// run does the work of one command and tells where it began and ended. When ctx
// ends, the file at work is finished, and no other one is begun.
func (m *Migrator) run(ctx context.Context, work func(Version) error) (Result, error) {
	before, err := m.Version()
	if err != nil {
		return Result{}, err
	}
	if before.Dirty {
		return Result{From: before.Number, To: before.Number},
			fmt.Errorf("%w: migration %d was cut short; look what it left, repair it, then force the version the schema has", ErrDirty, before.Number)
	}
	stop := context.AfterFunc(ctx, func() { m.migrate.GracefulStop <- true })
	err = work(before)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, migrate.ErrNoChange) {
		err = nil
	}
	after, verr := m.Version()
	if verr != nil {
		return Result{From: before.Number}, errors.Join(err, verr)
	}
	return Result{From: before.Number, To: after.Number}, err
}

// known refuses versions that this program's migrations do not pass through.
func (m *Migrator) known(version uint) error {
	if version == 0 {
		return nil
	}
	if slices.Contains(m.versions, version) {
		return nil
	}
	return fmt.Errorf("%w %d: this program knows 0 to %d", ErrUnknownVersion, version, m.Latest())
}

// applied counts the migrations up to a version.
func (m *Migrator) applied(v Version) int {
	n := 0
	for _, known := range m.versions {
		if known <= v.Number {
			n++
		}
	}
	return n
}

// versions lists what a source holds, in order; at least one.
func versions(src source.Driver) ([]uint, error) {
	v, err := src.First()
	if err != nil {
		return nil, err
	}
	all := []uint{v}
	for {
		switch v, err = src.Next(v); {
		case errors.Is(err, os.ErrNotExist):
			return all, nil
		case err != nil:
			return nil, err
		}
		all = append(all, v)
	}
}

// progress writes golang-migrate's one line a migration to the log, without its
// time, which counts from when the file was read.
type progress struct{ log *slog.Logger }

func (progress) Verbose() bool { return false }

func (p progress) Printf(format string, v ...any) {
	file, _, _ := strings.Cut(fmt.Sprintf(format, v...), " (")
	p.log.Info("migrated", "file", file)
}
