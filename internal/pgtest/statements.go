//go:build unix

package pgtest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Log is a tracer that keeps the text of each statement sent to the database,
// BEGIN and COMMIT included. Give it to pg.Config.Tracer to see all that a pool
// does; Statements is for what one context does.
type Log struct {
	mu   sync.Mutex
	sent []string
}

// Statements returns what was sent so far, in order.
func (l *Log) Statements() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// Reset forgets it.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = nil
}

func (l *Log) add(sql string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, sql)
}

// TraceQueryStart implements pgx.QueryTracer.
func (l *Log) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	l.add(d.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (l *Log) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (l *Log) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	if d.Batch != nil {
		for _, q := range d.Batch.QueuedQueries {
			l.add(q.SQL)
		}
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (l *Log) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (l *Log) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (l *Log) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceCopyFromStartData) context.Context {
	l.add("COPY " + d.TableName.Sanitize() + " FROM STDIN")
	return ctx
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (l *Log) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

// Statements runs fn and returns the statements that databases of New and Clone
// were sent under its context, in order. Other tests of the binary may run at
// the same time; what fn does under a context of its own making isn't seen.
func Statements(t testing.TB, fn func(ctx context.Context)) []string {
	t.Helper()
	var log Log
	fn(context.WithValue(t.Context(), logKey{}, &log))
	return log.Statements()
}

type logKey struct{}

// contextTracer hands over to the context's Log.
type contextTracer struct{}

func logOf(ctx context.Context) *Log {
	if l, ok := ctx.Value(logKey{}).(*Log); ok {
		return l
	}
	return &Log{} // nobody reads it
}

func (contextTracer) TraceQueryStart(ctx context.Context, c *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return logOf(ctx).TraceQueryStart(ctx, c, d)
}
func (contextTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (contextTracer) TraceBatchStart(ctx context.Context, c *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	return logOf(ctx).TraceBatchStart(ctx, c, d)
}
func (contextTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (contextTracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (contextTracer) TraceCopyFromStart(ctx context.Context, c *pgx.Conn, d pgx.TraceCopyFromStartData) context.Context {
	return logOf(ctx).TraceCopyFromStart(ctx, c, d)
}
func (contextTracer) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}
