package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// SharedConfig is what a Shared needs.
type SharedConfig[K comparable] struct {
	// URL is Redis's: redis://[USER:PASSWORD@]HOST:PORT[/DB], rediss:// with TLS, unix://PATH[?db=N]; of a cluster
	// redis-cluster:// or rediss-cluster://HOST:PORT[?addr=HOST:PORT…]. Redis 6.2 or newer, or Valkey.
	URL string
	// Timeout is the longest a decision waits for Redis before it is made here; 0 is 50 ms.
	Timeout time.Duration
	// Append appends the text of a key. Keys that are decided on together need the same part in braces, so that
	// a cluster keeps them together.
	Append func(b []byte, key K) []byte
	// Local decides while Redis can't; nil makes one.
	Local *Limiter[K]
	Log   *slog.Logger
}

// DefaultTimeout is the longest that a decision waits for Redis unless configured otherwise.
const DefaultTimeout = 50 * time.Millisecond

const (
	// probeFirst and probeLast are between attempts to reach Redis again; each waits twice as long as the one before.
	probeFirst = 100 * time.Millisecond
	probeLast  = 2 * time.Second
	// calm is how long Redis must have answered for the next loss to begin with the shortest pause again.
	calm = 10 * time.Second
)

// Shared is a limiter whose buckets are in Redis, where replicas meet. It decides what Limiter does, bit for bit, by Redis's
// clock. When Redis doesn't answer in time, this and all further decisions are Local's, until Redis answers a probe:
//
//	          an error, or Timeout ran out
//	shared ────────────────────────────────▶ local
//	       ◀────────────────────────────────
//	          a probe spent something in Redis
//
// Local follows what is decided in Redis, so that its loss gives nobody a full bucket. While it is lost, each replica grants a
// key its whole rate; when it is back, what was spent meanwhile is forgotten. Callers never get an error.
//
// It is safe for concurrent use.
type Shared[K comparable] struct {
	local   *Limiter[K]
	store   *store
	append  func([]byte, K) []byte
	timeout time.Duration
	log     *slog.Logger

	// term counts the changes between shared (odd) and local (even). A failure of an earlier term says nothing about
	// this one.
	term   atomic.Uint64
	lost   chan string // the key that failed; the term changed, so there is one at most
	status atomic.Pointer[Status]

	shared, fallen, failed atomic.Uint64

	stop context.CancelFunc
	done sync.WaitGroup
}

// Status tells where decisions are made.
type Status struct {
	Shared bool      // in Redis
	Since  time.Time // zero before Start
	Err    error     // why not in Redis
}

// Counts are how many decisions were made in Redis and how many locally, and how many of the latter had asked Redis first.
type Counts struct{ Shared, Local, Failed uint64 }

// NewShared returns a limiter that decides locally until Start. It fails on a URL that it doesn't understand.
func NewShared[K comparable](c SharedConfig[K]) (*Shared[K], error) {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Local == nil {
		c.Local = New[K](0)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	st, err := openStore(c.URL, c.Timeout)
	if err != nil {
		return nil, err
	}
	s := &Shared[K]{
		local: c.Local, store: st, append: c.Append, timeout: c.Timeout, log: c.Log, lost: make(chan string, 1), stop: func() {},
	}
	s.status.Store(&Status{Err: errNotStarted})
	return s, nil
}

var errNotStarted = errors.New("not started")

// Start looks for Redis, for as long as a decision may take, and then keeps looking whenever it is lost, until Close.
func (s *Shared[K]) Start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.probe(ctx, probeKey); err != nil {
		s.turn(0, err)
		s.lost <- probeKey
	} else {
		s.turn(1, nil)
	}
	s.done.Go(func() { s.watch(ctx) })
}

// Close stops looking for Redis and closes the connections. Decisions after it are local.
func (s *Shared[K]) Close() error {
	s.stop()
	s.done.Wait()
	if t := s.term.Load(); t%2 == 1 {
		s.term.CompareAndSwap(t, t+1)
	}
	s.status.Store(&Status{Since: time.Now(), Err: errClosed})
	return s.store.close()
}

var errClosed = errors.New("closed")

// AllowAll is Limiter.AllowAll, in Redis when it answers; now is for when it doesn't. The decisions are by Redis's clock, which all
// replicas have in common.
func (s *Shared[K]) AllowAll(ctx context.Context, now time.Time, requests []Request[K], decisions []Decision) bool {
	return s.all(ctx, now, requests, decisions, false)
}

// PeekAll is Limiter.PeekAll, in Redis when it answers.
func (s *Shared[K]) PeekAll(ctx context.Context, now time.Time, requests []Request[K], decisions []Decision) bool {
	return s.all(ctx, now, requests, decisions, true)
}

func (s *Shared[K]) all(ctx context.Context, now time.Time, requests []Request[K], decisions []Decision, peek bool) bool {
	if len(requests) == 0 {
		return true
	}
	if term := s.term.Load(); term%2 == 1 {
		ok, key, err := s.ask(ctx, requests, decisions, peek)
		if err == nil {
			s.shared.Add(1)
			s.local.follow(now, requests, decisions)
			return ok
		}
		s.failed.Add(1)
		if s.term.CompareAndSwap(term, term+1) {
			s.turned(false, err)
			s.lost <- key
		}
	}
	s.fallen.Add(1)
	return s.local.all(now, requests, decisions, peek)
}

// ask decides in Redis. Whose request it is, and whether he still waits for it, is no matter of Redis's health: only the
// timeout ends it. key is the one to probe when it failed.
func (s *Shared[K]) ask(ctx context.Context, requests []Request[K], decisions []Decision, peek bool) (ok bool, key string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	keys, args := make([]string, len(requests)), make([]any, 1, 1+4*len(requests))
	spend := !peek
	var text []byte
	for i := range requests {
		r := &requests[i]
		text = s.append(append(text[:0], keyPrefix...), r.Key)
		keys[i] = string(text)
		full, cost, possible := r.durations()
		spend = spend && possible
		args = append(args, int64(full/1000), int64(full%1000), int64(cost/1000), int64(cost%1000))
	}
	args[0] = 0
	if spend {
		args[0] = 1
	}
	a, err := s.store.decide(ctx, keys, args)
	if err != nil {
		return false, keys[0], err
	}
	ok = decideAll(a.now, requests, decisions, peek, func(i int) int64 { return a.tats[i] })
	if a.spent != (ok && !peek) {
		return false, keys[0], errDisagreement
	}
	return ok, "", nil
}

var errDisagreement = errors.New("redis decided otherwise on what it holds: another program writes to its keys")

// durations are what decide makes of a request; the possible ones fit in a bucket.
func (r *Request[K]) durations() (full, cost time.Duration, possible bool) {
	if r.Limit.Validate() != nil || r.Cost > r.Limit.size() {
		return 0, 0, false
	}
	interval := r.Limit.interval()
	return time.Duration(r.Limit.size()) * interval, time.Duration(max(r.Cost, 0)) * interval, true
}

// watch waits for Redis to be lost, and then probes until it is found.
func (s *Shared[K]) watch(ctx context.Context) {
	var (
		key   string
		found time.Time
		pause time.Duration
	)
	for {
		select {
		case <-ctx.Done():
			return
		case key = <-s.lost:
		}
		if time.Since(found) > calm {
			pause = probeFirst
		}
		for ok := false; !ok; ok = s.probe(ctx, key) == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, probeLast)
		}
		found = time.Now()
		s.turn(s.term.Load()+1, nil)
	}
}

// probe makes a decision that spends something, so that it fails when writing does. It is about a key of its own, on the
// node that holds key.
func (s *Shared[K]) probe(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.store.decide(ctx, []string{key + probeSuffix}, []any{1, int64(time.Second / time.Microsecond), 0, 1, 0})
	return err
}

// turn begins a term; only Start and watch do, while nobody else can.
func (s *Shared[K]) turn(term uint64, err error) {
	s.turned(term%2 == 1, err)
	s.term.Store(term)
}

// turned tells of a change. Addresses and errors are for the log, not for strangers.
func (s *Shared[K]) turned(shared bool, err error) {
	s.status.Store(&Status{Shared: shared, Since: time.Now(), Err: err})
	if shared {
		s.log.Info("rate limits are shared through redis")
	} else {
		s.log.Warn("rate limits are this replica's own: redis is away", "error", err)
	}
}

// Status tells where decisions are made now.
func (s *Shared[K]) Status() Status { return *s.status.Load() }

// Counts tells how many decisions were made.
func (s *Shared[K]) Counts() Counts {
	return Counts{Shared: s.shared.Load(), Local: s.fallen.Load(), Failed: s.failed.Load()}
}
