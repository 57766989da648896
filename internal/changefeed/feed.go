package changefeed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// Lease is how long after a poll began what was cached then may be used.
	Lease = time.Second

	interval    = 250 * time.Millisecond // between polls when nobody notifies: four tries a lease
	spacing     = 10 * time.Millisecond  // between polls when many do
	pollTimeout = 2 * time.Second        // an answer later than this doesn't come: longer than a lease, for a busy server is no reason to drop caches
	dialTimeout = 3 * time.Second
	minBackoff  = 50 * time.Millisecond
	maxBackoff  = time.Second

	// maxBatch is the most changes that are applied one by one.
	maxBatch = 5000

	// maxBehind is the longest between two polls after which the rows in between are sure to be there still: a row is
	// trimmed MinAge after its transaction began, at the earliest. A process that was stopped for longer starts anew.
	maxBehind = MinAge / 2
)

// AppName is the application_name of a feed's session, by which pg_stat_activity shows it.
const AppName = "landlord-changefeed"

// Feed follows the changes of all replicas, this one included. One goroutine and one database session; Fresh and
// Generation are atomic reads.
type Feed struct {
	db      *pg.DB
	log     *slog.Logger
	base    time.Time       // monotonic zero of until
	expired context.Context // always over
	observe func(lag time.Duration)

	until      atomic.Int64 // Fresh before base + this many nanoseconds,
	untilWall  atomic.Int64 // and before this Unix time in nanoseconds
	generation atomic.Uint64
	changes    atomic.Int64
	resets     atomic.Int64
	sessions   atomic.Int64

	mu          sync.Mutex
	subscribers []subscriber
	waiters     []chan struct{}    // of Sync, for the next poll
	wake        context.CancelFunc // ends the wait for a notification
	cancel      context.CancelFunc // ends the feed; nil before Start
	done        chan struct{}      // closed by Close
	wg          sync.WaitGroup
}

type subscriber struct {
	apply func([]Change)
	reset func()
}

// Stats are the feed's counters, for metrics.
type Stats struct {
	Changes  int64         // changes applied
	Resets   int64         // times that subscribers had to drop everything; 1 is the start
	Sessions int64         // database sessions begun; more than 1 means that some were lost
	Age      time.Duration // since the begin of the last poll; above Lease when not fresh
}

// New returns a feed of the database's changes. It does nothing before Start.
func New(db *pg.DB, log *slog.Logger) *Feed {
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	return &Feed{db: db, log: log, base: time.Now(), expired: expired, done: make(chan struct{})}
}

// Subscribe adds a cache, before Start. apply is told what changed, reset that anything may have; both are called by
// the feed's goroutine, before the lease that covers the change begins, so they must not wait for anything. apply must not
// keep or alter the slice.
func (f *Feed) Subscribe(apply func([]Change), reset func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(f.subscribers, subscriber{apply, reset})
}

// Observe has fn called for every change that is applied, with how long after the begin of its transaction that was, by
// the server's clock. Set it before Start.
func (f *Feed) Observe(fn func(lag time.Duration)) { f.observe = fn }

// Start begins to follow the feed. It doesn't wait for the database; Fresh tells. It ends with ctx or Close.
func (f *Feed) Start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
		return
	default:
	}
	if f.cancel != nil {
		return
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.wg.Go(func() { f.run(ctx) })
}

// Close ends the feed and waits for it. The lease runs out by itself.
func (f *Feed) Close() {
	f.mu.Lock()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
	if f.cancel != nil {
		f.cancel()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// Fresh reports whether everything that committed more than Lease before now has been applied here. now is time.Now's,
// with its monotonic reading. The wall clock can only end a lease early: the monotonic one stands still while the machine
// is suspended, and the wall clock may be set back.
func (f *Feed) Fresh(now time.Time) bool {
	return int64(now.Sub(f.base)) < f.until.Load() && now.UnixNano() < f.untilWall.Load()
}

// Generation moves before subscribers are told of a change or a reset. The package comment says what caches do with it.
func (f *Feed) Generation() uint64 { return f.generation.Load() }

// Stats returns the counters.
func (f *Feed) Stats(now time.Time) Stats {
	age := now.Sub(f.base) - time.Duration(f.until.Load())
	if wall := f.untilWall.Load(); wall != 0 {
		age = max(age, time.Duration(now.UnixNano()-wall))
	}
	return Stats{Changes: f.changes.Load(), Resets: f.resets.Load(), Sessions: f.sessions.Load(), Age: age + Lease}
}

// Sync waits until everything that has committed before the call is applied here: for who must read their own write, and for
// tests.
func (f *Feed) Sync(ctx context.Context) error {
	applied := make(chan struct{})
	f.mu.Lock()
	f.waiters = append(f.waiters, applied)
	if f.wake != nil {
		f.wake()
	}
	f.mu.Unlock()
	select {
	case <-applied:
		return nil
	case <-f.done:
		return errors.New("change feed is closed")
	case <-ctx.Done():
		return fmt.Errorf("wait for the change feed: %w", ctx.Err())
	}
}

// run keeps a session.
func (f *Feed) run(ctx context.Context) {
	backoff, failures := minBackoff, 0
	works := func() {
		if failures > 0 {
			f.log.InfoContext(ctx, "change feed follows again", "failures", failures)
		}
		backoff, failures = minBackoff, 0
	}
	for {
		err := f.session(ctx, works)
		if ctx.Err() != nil {
			return
		}
		if failures++; failures == 1 { // once an outage, not once a try
			f.log.WarnContext(ctx, "change feed lost its session", "err", err)
		}
		if !sleep(ctx, backoff+rand.N(backoff)) { //nolint:gosec // jitter needs no secrecy
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// session follows the feed until something goes wrong. works is called after each poll that went well.
func (f *Feed) session(ctx context.Context, works func()) (err error) {
	var waiters []chan struct{} // of the poll under way
	defer func() {
		f.returnWaiters(waiters)
		if v := recover(); v != nil { // a subscriber's: what it has applied is unknown, and a new session resets it
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer f.disconnect(ctx, conn)
	f.sessions.Add(1)
	polled := time.Now()
	waiters = f.takeWaiters()
	at, err := f.begin(ctx, conn)
	if err != nil {
		return err
	}
	f.reset()
	f.renew(polled, waiters)
	waiters = nil
	for {
		if err := f.wait(ctx, conn, polled); err != nil {
			return err
		}
		polled = time.Now()
		waiters = f.takeWaiters()
		if at, err = f.poll(ctx, conn, at); err != nil {
			return err
		}
		f.renew(polled, waiters)
		waiters = nil
		works()
	}
}

func (f *Feed) connect(ctx context.Context) (*pg.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return f.db.Dedicated(ctx)
}

// disconnect closes the session beside the feed's goroutine: a server that hangs must not delay the next session.
func (f *Feed) disconnect(ctx context.Context, conn *pg.Conn) {
	f.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
		select {
		case <-conn.PgConn().CleanupDone():
		case <-ctx.Done():
		}
	})
}

// begin listens, and only then takes the position to go on from.
func (f *Feed) begin(ctx context.Context, conn *pg.Conn) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	// The session reads across tenants. A literal SET, as everywhere.
	if _, err := conn.Exec(ctx, "SET landlord.operator = 'on'; SET application_name = '"+AppName+"'; LISTEN landlord_change"); err != nil {
		return position{}, fmt.Errorf("listen: %w", err)
	}
	return selectPosition(ctx, conn)
}

// poll applies what committed since a position and returns the new one.
func (f *Feed) poll(ctx context.Context, conn *pg.Conn, since position) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	b, err := selectChanges(ctx, conn, since, maxBatch+1)
	switch {
	case err != nil:
		return position{}, err
	case len(b.changes) > maxBatch, b.next.at.Sub(since.at) > maxBehind:
		f.reset()
	case len(b.changes) > 0:
		f.generation.Add(1) // before the subscribers: see the package comment
		for _, s := range f.snapshot() {
			s.apply(b.changes)
		}
		f.changes.Add(int64(len(b.changes)))
		if f.observe != nil {
			for _, began := range b.began {
				f.observe(b.next.at.Sub(began))
			}
		}
	}
	return b.next, nil
}

func (f *Feed) reset() {
	f.generation.Add(1)
	for _, s := range f.snapshot() {
		s.reset()
	}
	f.resets.Add(1)
}

func (f *Feed) snapshot() []subscriber {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subscribers
}

// renew begins a new lease, from before the poll that earned it was sent.
func (f *Feed) renew(polled time.Time, waiters []chan struct{}) {
	f.untilWall.Store(polled.Add(Lease).UnixNano())
	f.until.Store(int64(polled.Sub(f.base) + Lease))
	for _, w := range waiters {
		close(w)
	}
}

// wait returns when a poll is due: a notification came, Sync asks, or the interval is over.
func (f *Feed) wait(ctx context.Context, conn *pg.Conn, polled time.Time) error {
	nap, cancel := context.WithDeadline(ctx, polled.Add(interval))
	defer cancel()
	f.mu.Lock()
	f.wake = cancel
	if len(f.waiters) > 0 {
		cancel()
	}
	f.mu.Unlock()
	if _, err := conn.WaitForNotification(nap); err != nil && (nap.Err() == nil || conn.IsClosed()) {
		return fmt.Errorf("wait for a notification: %w", err)
	}
	if !sleep(ctx, spacing-time.Since(polled)) {
		return ctx.Err()
	}
	// The poll covers every notification that has come by now.
	for {
		if _, err := conn.WaitForNotification(f.expired); err != nil {
			return nil // none is left
		}
	}
}

func (f *Feed) takeWaiters() []chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiters
	f.waiters = nil
	return w
}

func (f *Feed) returnWaiters(w []chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters = append(f.waiters, w...)
}

// sleep waits for d and reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
