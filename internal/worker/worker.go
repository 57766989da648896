package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// defaultTimeout is how long a tick may take when its loop doesn't say.
	defaultTimeout = time.Minute
	// maxBackoff is the longest a failing loop waits, unless its period is longer.
	maxBackoff = time.Minute
)

// Loop is a periodic job.
type Loop struct {
	// Name identifies the loop in logs, in metrics and between replicas; a noun and a verb: "partition_ensure".
	Name string
	// Every is the time between the end of a tick and the start of the next; Jitter, up to which a random time is added,
	// keeps replicas and loops apart. The first tick comes after the jitter alone: what was missed is made up at once.
	Every  time.Duration
	Jitter time.Duration
	// Timeout ends the context of a tick; 0 is a minute.
	Timeout time.Duration
	// PerReplica runs the loop on every replica, without the lock: for what a replica keeps in memory.
	PerReplica bool
	// Run does the work of one tick.
	Run func(context.Context) error
}

// Lock runs fn while holding a lock that no two replicas hold at once, if it's free; ran tells.
type Lock func(ctx context.Context, key int64, fn func(context.Context) error) (ran bool, err error)

// Outcome is how a tick ended.
type Outcome string

// The outcomes of a tick.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "error"
	Skipped Outcome = "skipped" // another replica was running it
)

// Tick is what Config.Observe is told.
type Tick struct {
	Loop    string
	Outcome Outcome
	Took    time.Duration
	Err     error
}

// Config is what a Group needs. Lock may be nil when every loop is PerReplica; Observe, for metrics, may be nil.
type Config struct {
	Lock    Lock
	Log     *slog.Logger
	Observe func(Tick)
}

// Group is a set of loops that live and end together.
type Group struct {
	cfg   Config
	loops map[string]*loop

	mu     sync.Mutex
	state  state
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type state int

const (
	idle state = iota
	running
	closed
)

type loop struct {
	Loop
	key  int64
	wake chan struct{} // of one: several wakes before a tick are one tick
}

// New makes a group of the loops. It fails on what would only show later: a loop without a name, a period or a
// function, two of one name, or one that needs a lock when there is none.
func New(cfg Config, loops ...Loop) (*Group, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	g := &Group{cfg: cfg, loops: make(map[string]*loop, len(loops))}
	keys := map[int64]string{}
	for _, l := range loops {
		key := lockKey(l.Name)
		switch {
		case l.Name == "" || l.Run == nil || l.Every <= 0 || l.Jitter < 0 || l.Timeout < 0:
			return nil, fmt.Errorf("loop %q needs a name, a period and a function", l.Name)
		case keys[key] != "":
			return nil, fmt.Errorf("loops %q and %q have the same name or lock", keys[key], l.Name)
		case !l.PerReplica && cfg.Lock == nil:
			return nil, fmt.Errorf("loop %q needs a lock", l.Name)
		}
		keys[key] = l.Name
		if l.Timeout == 0 {
			l.Timeout = defaultTimeout
		}
		g.loops[l.Name] = &loop{Loop: l, key: key, wake: make(chan struct{}, 1)}
	}
	return g, nil
}

// Start begins the loops. They end when ctx does, or with Close. A second Start, or one after Close, does nothing.
func (g *Group) Start(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != idle {
		return
	}
	g.state = running
	ctx, g.cancel = context.WithCancel(ctx)
	for _, l := range g.loops {
		g.wg.Go(func() { g.run(ctx, l) })
	}
}

// Wake makes a loop tick now instead of at its time; when it is ticking, once more after that. A loop that failed keeps
// to its backoff, and ticks once when that is over. It never blocks, and may be called before Start. An unknown name is
// ignored, so that who wakes need not know whether this replica runs the loop.
func (g *Group) Wake(name string) {
	l, ok := g.loops[name]
	if !ok {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // already pending
	}
}

// Close cancels the ticks that run and waits for them to return.
func (g *Group) Close() {
	g.mu.Lock()
	if g.state == running {
		g.cancel()
	}
	g.state = closed
	g.mu.Unlock()
	g.wg.Wait()
}

func (g *Group) run(ctx context.Context, l *loop) {
	failures := 0
	timer := time.NewTimer(jitter(l.Jitter))
	defer timer.Stop()
	for {
		wake := l.wake
		if failures > 0 {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		if ctx.Err() != nil { // select picks at random when the timer is ready too
			return
		}
		select { // this tick sees what it was woken for
		case <-l.wake:
		default:
		}
		if g.tick(ctx, l, failures) {
			failures = 0
		} else {
			failures++
		}
		timer.Reset(backoff(l.Every, failures) + jitter(l.Jitter))
	}
}

// tick runs a loop once and reports whether it went well.
func (g *Group) tick(parent context.Context, l *loop, failures int) (ok bool) {
	ctx, cancel := context.WithTimeout(parent, l.Timeout)
	defer cancel()
	start := time.Now()
	ran := true
	var err error
	if l.PerReplica {
		err = safely(ctx, l.Run)
	} else {
		// A panic is caught inside the lock, so that it is released.
		ran, err = g.cfg.Lock(ctx, l.key, func(ctx context.Context) error { return safely(ctx, l.Run) })
	}
	t := Tick{Loop: l.Name, Outcome: OK, Took: time.Since(start), Err: err}
	switch {
	case err != nil && parent.Err() != nil:
		// Shutting down: what was cut short isn't a failure of the loop, and is done by the next replica or start.
		return true
	case err != nil:
		t.Outcome = Failed
		attrs := []any{"loop", l.Name, "err", err, "took", t.Took, "failures", failures + 1}
		if p, isPanic := errors.AsType[*panicError](err); isPanic {
			attrs = append(attrs, "stack", string(p.stack))
		}
		g.cfg.Log.ErrorContext(ctx, "background loop failed", attrs...)
	case !ran:
		t.Outcome = Skipped
	case failures > 0:
		g.cfg.Log.InfoContext(ctx, "background loop recovered", "loop", l.Name, "failures", failures)
	}
	if g.cfg.Observe != nil {
		g.cfg.Observe(t)
	}
	return err == nil
}

// panicError is a panic of a Run.
type panicError struct {
	value any
	stack []byte
}

// Error shows the panic's value; the stack goes to the log beside it.
func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func safely(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return fn(ctx)
}

// backoff doubles the period with each failure in a row, up to a minute.
func backoff(every time.Duration, failures int) time.Duration {
	most := max(every, maxBackoff)
	for range failures {
		if every *= 2; every >= most {
			return most
		}
	}
	return every
}

func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most) //nolint:gosec // jitter needs no secrecy
}

// lockKey maps a name to the key of its advisory lock; the prefix keeps it apart from others' locks in the same database.
func lockKey(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("landlord/worker/" + name))
	return int64(h.Sum64())
}
