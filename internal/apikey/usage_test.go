package apikey_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// cut is what a wire does to the next COMMIT.
type cut int32

const (
	whole  cut = iota
	before     // the server never hears of it
	after      // the server carries it out, and its answer is lost
)

// wire is a connection to PostgreSQL that breaks at commits, and only there.
type wire struct {
	next atomic.Int32 // cut
	done atomic.Int32 // how many were made
}

// newWire returns a database that is reached over a wire, and the wire.
func newWire(t *testing.T, tracer pgx.QueryTracer) (*pg.DB, *wire) {
	t.Helper()
	far, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	target := far.Host
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far.Host = l.Addr().String()
	w := &wire{}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { w.join(near, target) })
		}
	})
	db, err := pg.Open(t.Context(), pg.Config{URL: far.String(), MaxConns: 2, Tracer: tracer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		_ = l.Close()
		conns.Wait()
	})
	return db, w
}

func (w *wire) join(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	var deaf atomic.Bool // the next that the server says is not passed on
	var both sync.WaitGroup
	pass := func(from, to net.Conn, look func([]byte) bool) {
		defer func() { _, _ = from.Close(), to.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 && !look(buf[:n]) {
				return
			}
			if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}
	both.Go(func() {
		pass(near, far, func(b []byte) bool {
			if !bytes.Contains(b, []byte("commit\x00")) {
				return true
			}
			switch how := cut(w.next.Swap(int32(whole))); how {
			case whole:
				return true
			case before, after:
				w.done.Add(1)
				deaf.Store(how == after)
				return how == after
			}
			return true
		})
	})
	both.Go(func() {
		pass(far, near, func([]byte) bool { return !deaf.Load() })
	})
	both.Wait()
}

func (w *wire) cut(how cut) { w.next.Store(int32(how)) }

// Whether a commit was carried out whose answer is lost, nobody knows: each use
// counts once all the same.
func TestFlush_answerLost(t *testing.T) {
	t.Parallel()
	db, wire := newWire(t, nil)
	w := newWorldIn(t, db)
	k, token := w.create()
	uses := int64(0)
	use := func(n int64) {
		t.Helper()
		for range n {
			if o := w.outcome(token); o != apikey.Valid {
				t.Fatal(o)
			}
		}
		uses += n
	}
	direct := pgtest.New(t)
	counted := func(want int64) {
		t.Helper()
		if got := count[int64](t, direct, `SELECT usage_count FROM api_keys WHERE id = $1`, k.ID); got != want {
			t.Errorf("%d uses are counted, want %d", got, want)
		}
	}
	lost := func(how cut) {
		t.Helper()
		wire.cut(how)
		wantCode(t, w.verifier.Flush(t.Context()), "database_unavailable")
	}

	use(5)
	lost(after)
	counted(5)
	use(3) // into the next batch, not into the one that is on its way
	lost(after)
	counted(5)
	lost(before)
	counted(5)
	if err := w.verifier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted(uses)
	use(2)
	lost(before)
	counted(8)
	lost(after)
	counted(uses)

	// A clean stop is exact: one connection that breaks is not the end of it.
	use(4)
	wire.cut(after)
	if err := w.verifier.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted(uses)
	if n := wire.done.Load(); n != 6 {
		t.Errorf("%d commits were cut, want 6", n)
	}
	if n := count[int](t, direct, `SELECT count(*) FROM api_key_flushes WHERE flushed_at > NOW()`); n != 0 {
		t.Errorf("%d flushes are in the future", n)
	}
}

// deadlocks counts the statements that ended in one.
type deadlocks struct{ n atomic.Int32 }

func (d *deadlocks) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (d *deadlocks) TraceQueryEnd(_ context.Context, _ *pgx.Conn, end pgx.TraceQueryEndData) {
	if e, ok := errors.AsType[*pgconn.PgError](end.Err); ok && e.Code == "40P01" {
		d.n.Add(1)
	}
}

// Three replicas use the same keys and flush at the same time, over connections
// that break: the sums are exact, and none waits for another in a circle.
func TestFlush_replicas(t *testing.T) {
	t.Parallel()
	const keys, replicas = 30, 3
	w := newWorld(t)
	tokens := make([]string, keys)
	for i := range tokens {
		_, tokens[i] = w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM })
	}
	var d deadlocks
	var uses [keys]atomic.Int64
	var cuts atomic.Int32
	var all sync.WaitGroup
	for range replicas {
		db, wire := newWire(t, &d)
		all.Go(func() {
			v := apikey.NewVerifier(db, w.ring, apikey.VerifierConfig{Fresh: func() bool { return true }, Now: w.clock.now})
			for round := range 40 {
				for _, i := range rand.Perm(keys) {
					a, err := v.Check(t.Context(), &apikey.VerifyParams{Token: tokens[i]})
					if err != nil || a.Outcome != apikey.Valid {
						t.Errorf("%s, %v", a.Outcome, err)
						return
					}
					uses[i].Add(1)
				}
				if round%4 == 0 {
					wire.cut(cut(1 + rand.IntN(2)))
				}
				_ = v.Flush(t.Context()) // what fails is tried again
			}
			if err := v.Close(t.Context()); err != nil {
				t.Error(err)
			}
			cuts.Add(wire.done.Load())
		})
	}
	all.Wait()
	for i := range tokens {
		a := w.check(apikey.VerifyParams{Token: tokens[i], Peek: true})
		k, err := w.keys.Get(w.ctx(), w.tenant, a.KeyID)
		if err != nil || k.UsageCount != uses[i].Load() {
			t.Errorf("%d uses are counted, want %d (%v)", k.UsageCount, uses[i].Load(), err)
		}
	}
	if cuts.Load() != replicas*10 {
		t.Errorf("%d commits were cut, want %d", cuts.Load(), replicas*10)
	}
	if n := d.n.Load(); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// What replicas of long ago wrote last is forgotten, what the others did is not.
func TestTrimFlushes(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, pgtest.Clone(t))
	w.exec(`INSERT INTO api_key_flushes (replica, number, flushed_at)
		VALUES (gen_random_uuid(), 1, NOW() - INTERVAL '169 hours'), (gen_random_uuid(), 2, NOW() - INTERVAL '167 hours')`)
	if err := w.verifier.TrimFlushes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count[int](t, w.db, `SELECT sum(number) FROM api_key_flushes`); n != 2 {
		t.Errorf("left is %d, want only 2", n)
	}
}

// A flush is one statement in one transaction, whatever was used.
func TestFlush_statements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 {
		_, token := w.create()
		w.outcome(token)
	}
	all := pgtest.Statements(t, func(ctx context.Context) {
		if err := w.verifier.Flush(ctx); err != nil {
			t.Error(err)
		}
	})
	if len(all) != 3 || all[0][:5] != "BEGIN" || all[2] != "commit" {
		t.Errorf("%q", all)
	}
}
