package pg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

// Tx is a transaction. Rooms pass it to the functions of their sql.go.
type Tx = pgx.Tx

// Conn is a connection outside the pool.
type Conn = pgx.Conn

// Rows is a result set.
type Rows = pgx.Rows

// Config says how to reach the database.
type Config struct {
	URL            string          // postgres://… or a keyword/value string
	MaxConns       int32           // 0: pgx's default, the greater of 4 and the number of CPUs; who uses TryLock needs 2
	AcquireTimeout time.Duration   // how long an operation waits for a connection; 0: 5 s
	Timeout        time.Duration   // how long an operation has its connection, whatever its context allows; 0: 30 s
	Tracer         pgx.QueryTracer // sees every statement; tests count with it
	AppName        string          // application_name; "" is "landlord"
	// Session sets parameters of each of the pool's sessions, such as synchronous_commit. A URL that names one wins.
	Session map[string]string
}

// DB is a pool of connections as one login role, and the constraints that its
// user knows by name. It is safe for concurrent use.
type DB struct {
	pool           *pgxpool.Pool
	connConfig     *pgx.ConnConfig
	maxConns       int32
	locks          chan struct{} // one for each TryLock that may be under way
	acquireTimeout time.Duration
	timeout        time.Duration
	constraints    Constraints
	watchers       *watchers // of commits
}

// Open makes a pool. It does not wait for the database: Ping tells whether it
// is there.
func Open(ctx context.Context, c Config) (*DB, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("parse database url: %w", err)
	}
	if c.MaxConns > 0 {
		pc.MaxConns = c.MaxConns
	}
	pc.ShouldPing, pc.PingTimeout = shouldPing, pingTimeout // one that hangs makes room for a fresh one
	if c.AppName == "" {
		c.AppName = "landlord"
	}
	pc.ConnConfig.RuntimeParams["application_name"] = c.AppName
	// Times are UTC everywhere: a session's zone would leak into casts to date.
	pc.ConnConfig.RuntimeParams["timezone"] = "UTC"
	session := maps.Clone(sessionDefaults)
	maps.Copy(session, c.Session)
	for name, value := range session {
		if _, said := pc.ConnConfig.RuntimeParams[name]; !said {
			pc.ConnConfig.RuntimeParams[name] = value
		}
	}
	pc.ConnConfig.Tracer = c.Tracer
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pc.ConnConfig.DialFunc = impatient(pc.ConnConfig.DialFunc)
	if c.AcquireTimeout <= 0 {
		c.AcquireTimeout = 5 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	return &DB{
		pool: pool, connConfig: pc.ConnConfig, maxConns: pc.MaxConns, locks: make(chan struct{}, max(1, pc.MaxConns/2)),
		acquireTimeout: c.AcquireTimeout, timeout: c.Timeout, watchers: &watchers{},
	}, nil
}

// sessionDefaults bound what a replica that froze, or whose host vanished, keeps
// from the others: the locks of its transaction, and the advisory locks of its
// loops. A URL that names one of them wins.
var sessionDefaults = map[string]string{
	"idle_in_transaction_session_timeout": "60s",
	"tcp_keepalives_idle":                 "15",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
}

// Close waits for the connections in use and closes the pool.
func (db *DB) Close() { db.pool.Close() }

// With returns the same pool with more constraints known by name. A room's New
// calls it with the room's own table.
func (db *DB) With(c Constraints) *DB {
	d := *db
	d.constraints = maps.Clone(db.constraints)
	if d.constraints == nil {
		d.constraints = Constraints{}
	}
	maps.Copy(d.constraints, c)
	return &d
}

// Stat returns the pool's counters for metrics.
func (db *DB) Stat() *pgxpool.Stat { return db.pool.Stat() }

// Ping makes one round trip.
func (db *DB) Ping(ctx context.Context) error {
	return db.fault(db.onConn(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SELECT 1")
		return err
	}))
}

// InTenant runs fn in a transaction that sees and writes one tenant's rows.
func (db *DB) InTenant(ctx context.Context, tenant id.Tenant, fn func(Tx) error) error {
	return db.run(ctx, tenantScope("BEGIN", tenant), fn)
}

// AsOperator runs fn in a transaction that sees and writes every tenant's rows.
// Its statements still name the tenant they mean.
func (db *DB) AsOperator(ctx context.Context, fn func(Tx) error) error {
	return db.run(ctx, operatorScope("BEGIN"), fn)
}

// ReadTenant runs fn in a read-only transaction that sees one tenant's rows.
func (db *DB) ReadTenant(ctx context.Context, tenant id.Tenant, fn func(Tx) error) error {
	return db.run(withoutCommitHook(ctx), tenantScope("BEGIN READ ONLY", tenant), fn)
}

// ReadOperator runs fn in a read-only transaction that sees every tenant's rows.
func (db *DB) ReadOperator(ctx context.Context, fn func(Tx) error) error {
	return db.run(withoutCommitHook(ctx), operatorScope("BEGIN READ ONLY"), fn)
}

// tenantScope writes the scope as a literal: that is the form which Citus passes
// on to its workers, and a UUID's text needs no quoting.
func tenantScope(begin string, tenant id.Tenant) string {
	return begin + "; SET LOCAL landlord.tenant_id = '" + tenant.UUID() + "'"
}

func operatorScope(begin string) string {
	return begin + "; SET LOCAL landlord.operator = 'on'"
}

// attempts bounds the retries of serialization failures and deadlocks.
const attempts = 4

func (db *DB) run(ctx context.Context, begin string, fn func(Tx) error) error {
	var err error
	for n := range attempts {
		if n > 0 {
			// A little disorder, so that two that met do not meet again.
			wait := time.Duration(5+rand.IntN(20<<n)) * time.Millisecond //nolint:gosec // jitter needs no secrecy
			select {
			case <-ctx.Done():
				return db.fault(ctx.Err())
			case <-time.After(wait):
			}
		}
		err = db.once(ctx, begin, fn)
		if !retryable(err) {
			break
		}
	}
	return db.fault(err)
}

func (db *DB) once(ctx context.Context, begin string, fn func(Tx) error) error {
	c, tx, err := db.begin(ctx, begin)
	if err != nil {
		return err
	}
	defer db.release(c)
	marked := &markedTx{Tx: tx}
	done := false
	defer func() {
		if !done { // an error, or a panic on its way up
			// The caller's context may be over; the connection must still be clean.
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = tx.Rollback(undo) // a failed rollback closes the connection
		}
	}()
	if err := fn(marked); err != nil {
		return err
	}
	if hook := commitHook(ctx); hook != nil {
		if err := hook(ctx, marked); err != nil {
			return err
		}
	}
	done = true
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	db.watchers.tell(marked.marks)
	return nil
}

// begin opens a transaction. A connection that turns out to be dead, as all of
// the pool's are after the server was restarted, costs another try and not the
// request: nothing was done on it.
func (db *DB) begin(ctx context.Context, begin string) (*pgxpool.Conn, Tx, error) {
	for n := db.maxConns; ; n-- {
		c, err := db.acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		tx, err := c.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
		if err == nil {
			return c, tx, nil
		}
		dead := c.Conn().IsClosed() && ctx.Err() == nil && !timedOut(err)
		db.release(c)
		if !dead || n == 0 { // at least one fresh connection was tried
			return nil, nil, err
		}
	}
}

// acquire takes a connection out of the pool, for db.timeout. The deadline is on
// the socket: a server that froze answers neither a statement nor a request to
// cancel it.
func (db *DB) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, db.acquireTimeout)
	defer cancel()
	c, err := db.pool.Acquire(wait)
	if err != nil {
		return nil, err
	}
	db.extend(c.Conn())
	return c, nil
}

// extend gives a connection another db.timeout.
func (db *DB) extend(c *pgx.Conn) {
	_ = c.PgConn().Conn().SetDeadline(time.Now().Add(db.timeout)) // fails when closed, as will what comes next
}

func (db *DB) release(c *pgxpool.Conn) {
	socket := c.Conn().PgConn().Conn()
	if c.Conn().IsClosed() {
		// Given up on. The driver says goodbye for up to 15 s, for which the pool keeps
		// the place of a connection that may hang.
		time.AfterFunc(farewell, func() { _ = socket.Close() }) // closed twice is closed
	} else {
		_ = socket.SetDeadline(time.Time{}) // fails when closed, and then the pool drops it
	}
	c.Release()
}

const (
	farewell    = time.Second
	dialTimeout = 3 * time.Second // a lost SYN is sent again after one
)

// impatient keeps an address that swallows everything from holding a place in the
// pool for long: a connection is tried at each address of the server with and
// without TLS, and given up on by dialling once more.
func impatient(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, address)
	}
}

func (db *DB) onConn(ctx context.Context, fn func(*pgx.Conn) error) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer db.release(c)
	return fn(c.Conn())
}

// TryLock runs fn while holding a cluster-wide advisory lock, if nobody else
// holds it; ran tells. The lock belongs to a session: a process that dies lets
// go of it. fn gets no connection, so that a long run holds no transaction. At
// most half of the pool holds locks, for what fn does needs the other half.
func (db *DB) TryLock(ctx context.Context, key int64, fn func(context.Context) error) (ran bool, err error) {
	select {
	case db.locks <- struct{}{}:
		defer func() { <-db.locks }()
	case <-ctx.Done():
		return false, db.fault(ctx.Err())
	}
	err = db.onConn(ctx, func(c *pgx.Conn) error {
		if err := c.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", key).Scan(&ran); err != nil || !ran {
			return err
		}
		defer func() {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			db.extend(c) // fn may have taken longer
			if _, err := c.Exec(undo, "SELECT pg_advisory_unlock($1)", key); err != nil {
				_ = c.Close(undo) // a session that is gone holds nothing
			}
		}()
		return fn(ctx)
	})
	return ran, db.fault(err)
}

// Dedicated opens a connection outside the pool, for LISTEN. The caller closes it.
func (db *DB) Dedicated(ctx context.Context) (*Conn, error) {
	c, err := pgx.ConnectConfig(ctx, db.connConfig.Copy())
	if err != nil {
		return nil, db.fault(err)
	}
	return c, nil
}

// A commit hook runs in every writing transaction of a context, just before its
// commit. The REST face uses it to note, in the mutation's own transaction,
// that a request with an Idempotency-Key was applied.
type hookKey struct{}

type hookFunc = func(context.Context, Tx) error

// WithCommitHook returns a context whose writing transactions end with hook.
func WithCommitHook(ctx context.Context, hook func(context.Context, Tx) error) context.Context {
	return context.WithValue(ctx, hookKey{}, hook)
}

func withoutCommitHook(ctx context.Context) context.Context {
	if commitHook(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, hookKey{}, hookFunc(nil))
}

func commitHook(ctx context.Context) hookFunc {
	h, _ := ctx.Value(hookKey{}).(hookFunc)
	return h
}

// Collect runs a query and scans its rows into structs by their db tags.
func Collect[T any](ctx context.Context, tx Tx, sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// One runs a query that answers one row, scanned by db tags. No row is
// ErrNoRows, which rooms turn into their noun's NotFound.
func One[T any](ctx context.Context, tx Tx, sql string, args ...any) (T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
}

// Scalars runs a query of one column.
func Scalars[T any](ctx context.Context, tx Tx, sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// Named gives arguments by name: @slug in the statement.
type Named = pgx.NamedArgs

// ErrNoRows is what One returns when nothing matched.
var ErrNoRows = pgx.ErrNoRows

// IsNoRows reports whether nothing matched.
func IsNoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// Found turns "no row" into the noun's NotFound and leaves the rest alone.
func Found(err error, noun string) error {
	if IsNoRows(err) {
		return fault.NotFound(noun)
	}
	return err
}

func sqlState(err error) (*pgconn.PgError, bool) {
	var e *pgconn.PgError
	return e, errors.As(err, &e)
}

// Batch is several statements that travel in one round trip.
type Batch = pgx.Batch

// Send runs a batch and returns the first error of its statements.
func Send(ctx context.Context, tx Tx, b *Batch) error { return tx.SendBatch(ctx, b).Close() }
