package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// open returns a pool on the shared database with a configuration of its own.
func open(t *testing.T, c pg.Config) *pg.DB {
	t.Helper()
	c.URL = pgtest.URL(t)
	db, err := pg.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// sleep runs for that long inside the database.
func sleep(ctx context.Context, d time.Duration) func(pg.Tx) error {
	return func(tx pg.Tx) error {
		_, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, d.Seconds())
		return err
	}
}

func one(ctx context.Context) func(pg.Tx) error {
	return func(tx pg.Tx) error {
		_, err := tx.Exec(ctx, `SELECT 1`)
		return err
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return &pgconn.PgError{Code: code, Message: "m"} }
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"end of file":            {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "database_unavailable"},
		"connection reset":       {&net.OpError{Op: "read", Err: errors.New("reset")}, "database_unavailable"},
		"server stops":           {state("57P01"), "database_unavailable"},
		"server starts":          {state("57P03"), "database_unavailable"},
		"too many connections":   {state("53300"), "database_unavailable"},
		"disk full":              {state("53100"), "database_unavailable"},
		"I/O error":              {state("58030"), "database_unavailable"},
		"standby":                {state("25006"), "database_unavailable"},
		"we froze":               {state("25P03"), "database_unavailable"},
		"statement timeout":      {state("57014"), "database_busy"},
		"lock timeout":           {state("55P03"), "database_busy"},
		"deadline of a context":  {fmt.Errorf("x: %w", context.DeadlineExceeded), "database_busy"},
		"deadline of a socket":   {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "database_busy"},
		"caller gone":            {fmt.Errorf("x: %w", context.Canceled), "internal"},
		"a defect":               {state("42703"), "internal"},
		"unknown constraint":     {state("23505"), "internal"},
		"NUL":                    {state("22021"), "invalid_text"},
		"a fault stays as it is": {fault.NotFound("tenant"), "tenant_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := pgtest.New(t).ReadOperator(t.Context(), func(pg.Tx) error { return c.err })
			if f := fault.As(got); f.Code != c.code || f.Kind == fault.Unavailable && f.RetryAfter == 0 {
				t.Errorf("got %+v, want %s", f, c.code)
			}
			if !errors.Is(got, c.err) {
				t.Errorf("%v lost its cause", got)
			}
		})
	}
}

// Who can't be connected to, or does not let us in, is unavailable.
func TestOpen_refused(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	_ = l.Close()
	good, err := pgx.ParseConfig(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"nobody listens": "postgres://landlord@" + gone + "/landlord",
		"wrong password": "postgres://landlord:wrong@" + net.JoinHostPort(good.Host, strconv.Itoa(int(good.Port))) + "/landlord?sslmode=disable",
	} {
		db, err := pg.Open(t.Context(), pg.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Ping(t.Context()); fault.CodeOf(err) != "database_unavailable" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pg.Open(t.Context(), pg.Config{URL: "postgres://:::"}); err == nil {
		t.Error("a malformed URL was accepted")
	}
}

// An operation ends although its context never does.
func TestTimeout(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 1, Timeout: 200 * time.Millisecond})
	ctx := t.Context()
	began := time.Now()
	if err := db.AsOperator(ctx, sleep(ctx, 20*time.Second)); fault.CodeOf(err) != "database_busy" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if err := db.AsOperator(ctx, one(ctx)); err != nil {
		t.Errorf("the pool did not recover: %v", err)
	}
	// The deadline belongs to the operation, not to the connection.
	deadline := time.Now().Add(time.Second)
	for time.Now().Before(deadline) {
		if err := db.AsOperator(ctx, one(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

// A loop may hold its lock for longer than one operation may take.
func TestTryLock_outlivesTimeout(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 2, Timeout: 200 * time.Millisecond})
	ctx := t.Context()
	ran, err := db.TryLock(ctx, 4711, func(ctx context.Context) error {
		<-time.After(300 * time.Millisecond)
		return nil
	})
	if err != nil || !ran {
		t.Fatal(ran, err)
	}
	var held bool
	if err := db.ReadOperator(ctx, func(tx pg.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)`).Scan(&held)
	}); err != nil || held {
		t.Error(held, err)
	}
}

// However many loops begin at once, those that hold their lock get the
// connection that their work needs.
func TestTryLock_leavesRoom(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 2, AcquireTimeout: 20 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	errs := make(chan error)
	for key := range int64(8) {
		go func() {
			ran, err := db.TryLock(ctx, 4800+key, func(ctx context.Context) error { return db.AsOperator(ctx, one(ctx)) })
			if err == nil && !ran {
				err = errors.New("did not run")
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestPool_exhausted(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 1, AcquireTimeout: 500 * time.Millisecond}) // in which a connection can be made
	ctx := t.Context()
	if err := db.AsOperator(ctx, func(pg.Tx) error {
		f := fault.As(db.AsOperator(ctx, one(ctx)))
		if f.Code != "database_busy" || f.RetryAfter == 0 {
			t.Errorf("got %v", f)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := db.AsOperator(ctx, one(ctx)); err != nil {
		t.Error(err)
	}
}

// A caller that goes away leaves nothing behind: neither its writes nor its
// transaction.
func TestCallerGone(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := db.AsOperator(ctx, func(tx pg.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO products (name, title) VALUES ('caller-gone', 'x')`); err != nil {
			return err
		}
		time.AfterFunc(50*time.Millisecond, cancel)
		return sleep(ctx, 20*time.Second)(tx)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var there bool
	if err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM products WHERE name = 'caller-gone')`).Scan(&there)
	}); err != nil || there {
		t.Error(there, err)
	}
}

// Connections that died in the pool cost no request.
func TestDeadConnections(t *testing.T) {
	t.Parallel()
	const n = 6
	db := open(t, pg.Config{MaxConns: n, AppName: t.Name()})
	ctx := t.Context()
	var fill func(left int) error // n connections at once
	fill = func(left int) error {
		if left == 0 {
			return nil
		}
		return db.ReadOperator(ctx, func(pg.Tx) error { return fill(left - 1) })
	}
	super, err := pgx.Connect(ctx, pgtest.SuperURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = super.Close(context.WithoutCancel(ctx)) }()
	for range 3 {
		if err := fill(n); err != nil {
			t.Fatal(err)
		}
		var killed int
		if err := super.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = $1`, t.Name()).Scan(&killed); err != nil || killed != n {
			t.Fatal(killed, err)
		}
		for range n + 1 {
			if err := db.ReadOperator(ctx, one(ctx)); err != nil {
				t.Error(err)
			}
		}
	}
}
