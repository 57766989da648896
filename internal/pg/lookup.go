package pg

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// idleAfter is how long a connection lies in the pool before it may have died
// unnoticed; a connection that hangs is given up on after pingTimeout.
const idleAfter, pingTimeout = time.Second, time.Second

// The scope of a statement without BEGIN: it and the statement after it, sent
// together, are one transaction, which is over with them.
const scopeLookupSQL = `SELECT set_config('landlord.operator', 'on', TRUE), set_config('transaction_read_only', 'on', TRUE)`

// Lookup runs a query that answers one row, of whatever tenant, scanned by db
// tags. It costs one round trip, where ReadOperator costs three. No row is
// ErrNoRows.
//
// It writes nothing, so it is tried again where a transaction could not be: when
// the connection turns out to be dead, and when one that lay idle does not answer.
func Lookup[T any](ctx context.Context, db *DB, sql string, args ...any) (T, error) {
	return lookUp(ctx, db, func(rows Rows) (T, error) { return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T]) }, sql, args)
}

// LookupAll is Lookup for a query that answers any number of rows.
func LookupAll[T any](ctx context.Context, db *DB, sql string, args ...any) ([]T, error) {
	return lookUp(ctx, db, func(rows Rows) ([]T, error) { return pgx.CollectRows(rows, pgx.RowToStructByName[T]) }, sql, args)
}

func lookUp[T any](ctx context.Context, db *DB, collect func(Rows) (T, error), sql string, args []any) (T, error) {
	var found T
	for n := db.maxConns; ; n-- {
		idle := false
		c, err := db.acquire(context.WithValue(ctx, lookupKey{}, &idle))
		if err != nil {
			return found, db.fault(err)
		}
		found, err = lookUpOn(ctx, c.Conn(), idle && n > 0, collect, sql, args)
		dead := c.Conn().IsClosed() && ctx.Err() == nil && (idle || !timedOut(err))
		db.release(c)
		if err == nil || !dead || n == 0 { // at least one fresh connection was tried
			return found, db.fault(err)
		}
	}
}

func lookUpOn[T any](ctx context.Context, c *pgx.Conn, impatient bool, collect func(Rows) (T, error), sql string, args []any) (T, error) {
	if impatient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pingTimeout)
		defer cancel()
	}
	var both pgx.Batch
	both.Queue(scopeLookupSQL)
	both.Queue(sql, args...)
	answers := c.SendBatch(ctx, &both)
	defer func() { _ = answers.Close() }() // what went wrong was said before
	var found T
	if _, err := answers.Exec(); err != nil {
		return found, err
	}
	rows, err := answers.Query()
	if err != nil {
		return found, err
	}
	if found, err = collect(rows); err != nil {
		return found, err
	}
	return found, answers.Close()
}

// lookupKey asks a context whether a connection is wanted for Lookup, and where
// to say that it lay idle.
type lookupKey struct{}

// shouldPing asks a connection that was idle whether it is alive, before a
// transaction relies on it. Lookup finds out by itself.
func shouldPing(ctx context.Context, p pgxpool.ShouldPingParams) bool {
	idle := p.IdleDuration > idleAfter
	if told, ok := ctx.Value(lookupKey{}).(*bool); ok {
		*told = idle
		return false
	}
	return idle
}
