package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// EngineConfig is what an Engine is told. Zero fields take the defaults given.
type EngineConfig struct {
	Keys *secret.Keyring
	Send Send

	Schedule Schedule      // DefaultSchedule
	Timeout  time.Duration // of a request, from dialling to the end of the answer; 15 s
	Lease    time.Duration // how long a claim holds; 45 s more than Timeout
	TTL      time.Duration // how old a delivery may be to be sent; a week

	InFlight       int // requests under way; 256
	TenantInFlight int // of one tenant; a quarter of InFlight

	// An endpoint is disabled by its DisableAfter-th failure in a row (20), once the
	// first of them is DisableMinimum ago (24 h; negative: at once).
	DisableAfter   int
	DisableMinimum time.Duration

	Poll      time.Duration // how often is looked for what nobody has told; 1 s
	UserAgent string
	Log       *slog.Logger
	Now       func() time.Time // nil: the database's clock, for every replica the same
}

// DefaultTTL is how old a delivery may be to be sent.
const DefaultTTL = 7 * 24 * time.Hour

func (c EngineConfig) withDefaults() EngineConfig {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if len(c.Schedule.Gaps) == 0 {
		c.Schedule = DefaultSchedule()
	}
	def(&c.Timeout, 15*time.Second)
	def(&c.Lease, c.Timeout+45*time.Second)
	def(&c.TTL, DefaultTTL)
	def(&c.DisableMinimum, 24*time.Hour)
	def(&c.Poll, time.Second)
	if c.InFlight == 0 {
		c.InFlight = 256
	}
	if c.TenantInFlight == 0 {
		c.TenantInFlight = max(1, c.InFlight/4)
	}
	if c.DisableAfter == 0 {
		c.DisableAfter = 20
	}
	if c.UserAgent == "" {
		c.UserAgent = "landlord-webhooks"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Engine delivers. Each replica has one; they share the work through the tables.
type Engine struct {
	db     *pg.DB // a pool of its own: see Session
	cfg    EngineConfig
	id     uuid.UUID // among the senders
	clock  clock
	lanes  *lanes
	routes routes

	wake     chan struct{} // of one: look at the outbox
	outcomes chan outcome
	stats    stats
	tally    tally

	run     context.Context    // over when Stop was called
	intake  context.CancelFunc // ends it, and with it what brings new work
	sending context.CancelFunc // ends requests under way
	loops   sync.WaitGroup
	flights sync.WaitGroup
	writers sync.WaitGroup
	unwatch func()
	once    sync.Once
}

// Session is how the sessions of the engine's pool differ from others. What it
// commits may be lost by a crash of the database's machine: then a request is made
// twice, as when a replica dies, and nothing is lost. Statements over partitions are
// planned once a session, not once a call; so a plan must be good for a month that was
// empty when it was made, and goes by the indexes whatever the statistics say.
func Session() map[string]string {
	return map[string]string{
		"synchronous_commit": "off", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off",
	}
}

// NewEngine returns an engine over a pool of its own, with the settings of Session. It
// does nothing before Start.
func NewEngine(db *pg.DB, cfg EngineConfig) (*Engine, error) {
	cfg = cfg.withDefaults()
	switch {
	case cfg.Keys == nil || cfg.Send == nil:
		return nil, errors.New("webhooks need a keyring and a client")
	case cfg.Lease < cfg.Timeout+5*time.Second:
		return nil, fmt.Errorf("a claim of %v ends before a request of %v is over and written down", cfg.Lease, cfg.Timeout)
	}
	if err := cfg.Schedule.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		db: db, cfg: cfg, id: uuid.Must(uuid.NewV7()), clock: clock{fixed: cfg.Now, system: time.Now},
		wake: make(chan struct{}, 1), outcomes: make(chan outcome, cfg.InFlight),
	}
	e.lanes = newLanes(limits{all: cfg.InFlight, tenant: cfg.TenantInFlight, slow: max(1, cfg.InFlight*3/4)}, e.clock.now)
	e.routes.keys = cfg.Keys
	return e, nil
}

// writersPerReplica write outcomes: one writes while the other gathers.
const writersPerReplica = 2

// Start begins to deliver. published is the pool whose commits of events are heard
// of at once; what others commit is found within a Poll. It ends with Stop.
func (e *Engine) Start(ctx context.Context, published *pg.DB) {
	run, intake := context.WithCancel(context.WithoutCancel(ctx))
	send, sending := context.WithCancel(context.WithoutCancel(ctx))
	e.run, e.intake, e.sending = run, intake, sending
	e.unwatch = published.Watch(event.Committed, e.Wake)
	for range writersPerReplica {
		e.writers.Go(func() { e.writeOutcomes(context.WithoutCancel(ctx)) })
	}
	e.loops.Go(func() { e.keepHouse(run) })
	e.loops.Go(func() { e.followOutbox(run, send) })
	e.loops.Go(func() { e.followLanes(run, send) })
}

// Wake says that events may have been committed. It never blocks.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// stopping reports whether Stop was called.
func (e *Engine) stopping() bool { return e.run.Err() != nil }

// Stop takes no more work, lets requests under way end until ctx is over, cuts those
// that have not, writes down what became of each, and gives back what was claimed.
func (e *Engine) Stop(ctx context.Context) {
	e.once.Do(func() {
		if e.intake == nil {
			return
		}
		e.unwatch()
		e.intake()
		e.loops.Wait()
		landed := make(chan struct{})
		go func() { // ends with the requests, which sending cuts
			e.flights.Wait()
			close(landed)
		}()
		select {
		case <-landed:
		case <-ctx.Done():
		}
		e.sending()
		<-landed
		close(e.outcomes)
		e.writers.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := e.writeTally(last); err != nil {
			e.cfg.Log.WarnContext(last, "webhook statistics were not written", "err", err)
		}
		if err := e.leave(last); err != nil {
			e.cfg.Log.WarnContext(last, "webhook sender did not sign off", "err", err)
		}
	})
}

// stopTimeout is how long a stop waits for the database.
const stopTimeout = 3 * time.Second

// clock tells the database's time: what is due and whose claim is over must be the
// same for every replica, whatever their own clocks say. Between two looks at it, it
// goes on by the monotonic clock.
type clock struct {
	fixed  func() time.Time // of a test
	system func() time.Time // of this machine: only how much of it has passed matters

	mu   sync.Mutex
	base time.Time // the database's
	at   time.Time // ours, then
}

func (c *clock) now() time.Time {
	if c.fixed != nil {
		return c.fixed()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.system()
	if c.base.IsZero() {
		return now
	}
	return c.base.Add(now.Sub(c.at))
}

// set takes over the database's time, which was asked for at from.
func (c *clock) set(database time.Time, from time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.system()
	c.base, c.at = database.Add(now.Sub(from)/2), now
}

// window is what is looked at: a delivery is at most so old when it is recovered,
// and then lives for a TTL.
func (e *Engine) window() window {
	now := e.clock.now()
	return window{from: now.Add(-maxRecovery - e.cfg.TTL - 24*time.Hour), to: now.Add(24 * time.Hour)}
}

// Stats are an engine's counters, for metrics.
type Stats struct {
	Events       uint64 // read from the outbox
	Deliveries   uint64 // made of them
	Skipped      uint64 // of those, for endpoints that were not active
	Held         uint64 // for suspended tenants
	Claimed      uint64 // taken from the queue
	Delivered    uint64
	Failed       uint64 // attempts
	GaveUp       uint64 // deliveries
	Disabled     uint64 // endpoints
	Reaped       uint64 // claims of replicas that are gone
	Sweeps       uint64
	InFlight     int
	Ready        int // endpoints in line
	Known        int // endpoints remembered
	Senders      int // replicas that send
	SweepLast    time.Duration
	SweepLongest time.Duration
}

type stats struct {
	events, deliveries, skipped, held, claimed, delivered, failed, gaveUp, disabled, reaped, sweeps atomic.Uint64
	senders, sweepLast, sweepLongest                                                                atomic.Int64
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := Stats{
		Events: e.stats.events.Load(), Deliveries: e.stats.deliveries.Load(), Skipped: e.stats.skipped.Load(), Held: e.stats.held.Load(),
		Claimed: e.stats.claimed.Load(), Delivered: e.stats.delivered.Load(), Failed: e.stats.failed.Load(), GaveUp: e.stats.gaveUp.Load(),
		Disabled: e.stats.disabled.Load(), Reaped: e.stats.reaped.Load(), Sweeps: e.stats.sweeps.Load(), Senders: int(e.stats.senders.Load()),
		SweepLast: time.Duration(e.stats.sweepLast.Load()), SweepLongest: time.Duration(e.stats.sweepLongest.Load()),
	}
	s.InFlight, s.Ready, s.Known = e.lanes.counts()
	return s
}

// backoff waits after a failure, longer each time, and says so once an outage.
type backoff struct {
	log  *slog.Logger
	what string
	n    int
}

// after returns how long to wait after an error, or 0 after none.
func (b *backoff) after(ctx context.Context, err error) time.Duration {
	if err == nil {
		if b.n > 0 {
			b.log.InfoContext(ctx, "webhooks work again", "part", b.what, "failures", b.n)
		}
		b.n = 0
		return 0
	}
	if ctx.Err() != nil {
		return 0
	}
	if b.n++; b.n == 1 {
		b.log.WarnContext(ctx, "webhooks are held up", "part", b.what, "err", err)
	}
	return min(50*time.Millisecond<<min(b.n, 6), 2*time.Second)
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

// deliveryID makes the id of an event's delivery to an endpoint.
func deliveryID(e id.Event, endpoint id.Webhook) id.Delivery { return mixed(e, endpoint) }
