package ratelimit

import (
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shards is the number of locks; 64 so that a set of shards is one word (AllowAll).
const shards = 64

// minSweep is the number of new keys in a shard below which sweeping isn't worth it.
const minSweep = 64

// Limiter holds the state of any number of keys. It is safe for concurrent use.
//
// A key is known by 128 bits of its hash under two secret seeds: that is a third of the memory which most keys would take,
// and two keys share a bucket as likely as two random UUIDs are the same.
//
// A shard is a map from key to TAT under a mutex, rather than a map of pointers with compare-and-swap: the section is
// some tens of nanoseconds, entries cost no allocation and nothing for the collector to walk, a sweep can't drop what
// another goroutine is about to spend, and AllowAll is exact because it holds all the shards it decides on.
type Limiter[K comparable] struct {
	start   time.Time
	seeds   [2]maphash.Seed
	perKeys int // most keys in a shard
	evicted atomic.Int64
	shards  [shards]shard
}

// slot stands for a key.
type slot [2]uint64

type shard struct {
	mu    sync.Mutex
	tats  map[slot]int64 // nanoseconds since start
	sweep int            // how many new keys until the next sweep
	_     [40]byte       // a cache line each
}

// New returns a limiter that remembers up to about maxKeys keys with less than a full bucket; 0 means a million.
func New[K comparable](maxKeys int) *Limiter[K] {
	if maxKeys <= 0 {
		maxKeys = 1_000_000
	}
	l := &Limiter[K]{start: time.Now(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, perKeys: max(1, maxKeys/shards)}
	for i := range l.shards {
		l.shards[i].tats = map[slot]int64{}
		l.shards[i].sweep = minSweep
	}
	return l
}

// Allow spends cost units of key's bucket when it holds as many, else nothing. A negative cost counts as 0.
//
// A bucket belongs to its key alone: give keys that name their policy, when a caller is under several.
func (l *Limiter[K]) Allow(now time.Time, key K, limit Limit, cost int64) Decision {
	t := l.nanos(now)
	k := l.slotOf(key)
	s := l.shardOf(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, ok := s.tats[k]
	if !ok {
		tat = t
	}
	d, next := decide(t, tat, limit, cost)
	if d.Allowed && cost > 0 || next < tat && d.RetryAfter != Never {
		l.put(s, t, k, next, ok)
	}
	return d
}

// Peek is Allow without spending: Allowed tells whether cost would be allowed, Remaining what is left now.
func (l *Limiter[K]) Peek(now time.Time, key K, limit Limit, cost int64) Decision {
	t := l.nanos(now)
	k := l.slotOf(key)
	s := l.shardOf(k)
	s.mu.Lock()
	tat, ok := s.tats[k]
	s.mu.Unlock()
	if !ok {
		tat = t
	}
	d, _ := decide(t, tat, limit, 0)
	if spend, _ := decide(t, tat, limit, cost); !spend.Allowed {
		d.Allowed, d.RetryAfter = false, spend.RetryAfter
	}
	return d
}

// Request is one of the limits that AllowAll must keep.
type Request[K comparable] struct {
	Key   K
	Limit Limit
	Cost  int64
}

// AllowAll spends every request's cost when all of them are allowed, else none; it writes a decision for each to
// decisions, which must be as long as requests. When it returns false, the decisions with Allowed set are those that
// would have passed, with what they have left unspent.
//
// It is one step: no other request sees some of them spent.
func (l *Limiter[K]) AllowAll(now time.Time, requests []Request[K], decisions []Decision) bool {
	return l.all(now, requests, decisions, false)
}

// PeekAll is AllowAll without spending: it returns what AllowAll would, and the decisions say what is left now.
func (l *Limiter[K]) PeekAll(now time.Time, requests []Request[K], decisions []Decision) bool {
	return l.all(now, requests, decisions, true)
}

func (l *Limiter[K]) all(now time.Time, requests []Request[K], decisions []Decision, peek bool) bool {
	decisions = decisions[:len(requests)] // panics early when too short, before anything is locked
	t := l.nanos(now)
	var array [4]slot // more are rare
	slots := array[:0]
	var set uint64
	for i := range requests {
		k := l.slotOf(requests[i].Key)
		slots = append(slots, k)
		set |= 1 << (k[0] % shards)
	}
	for rest := set; rest != 0; rest &= rest - 1 { // in ascending order, so that no two calls wait for each other
		l.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	defer func() {
		for rest := set; rest != 0; rest &= rest - 1 {
			l.shards[bits.TrailingZeros64(rest)].mu.Unlock()
		}
	}()

	all := decideAll(t, requests, decisions, peek, func(i int) int64 {
		if tat, ok := l.shardOf(slots[i]).tats[slots[i]]; ok {
			return tat
		}
		return t
	})
	if peek || slices.ContainsFunc(decisions, func(d Decision) bool { return d.RetryAfter == Never }) {
		return all
	}
	for i := range requests {
		r, k := &requests[i], slots[i]
		s := l.shardOf(k)
		tat, known := s.tats[k]
		if all && r.Cost > 0 {
			l.put(s, t, k, t+int64(decisions[i].ResetAfter), known)
		} else if !all && known {
			if _, next := decide(t, tat, r.Limit, 0); next < tat {
				l.put(s, t, k, next, known)
			}
		}
	}
	return all
}

// follow notes what was decided elsewhere for requests, so that this limiter can go on from there. A bucket is never made
// fuller by it: decisions that were made in one order may be noted in another.
func (l *Limiter[K]) follow(now time.Time, requests []Request[K], decisions []Decision) {
	t := l.nanos(now)
	for i := range requests {
		reset := int64(decisions[i].ResetAfter)
		if reset <= 0 {
			continue
		}
		k := l.slotOf(requests[i].Key)
		s := l.shardOf(k)
		s.mu.Lock()
		if tat, known := s.tats[k]; !known || tat < t+reset {
			l.put(s, t, k, t+reset, known)
		}
		s.mu.Unlock()
	}
}

// Sweep forgets every key whose bucket is full, and returns how many are left. Allow sweeps a shard itself whenever its
// map has doubled; calling Sweep now and then only gives memory back earlier.
func (l *Limiter[K]) Sweep(now time.Time) (left int) {
	t := l.nanos(now)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		l.sweep(s, t)
		left += len(s.tats)
		s.mu.Unlock()
	}
	return left
}

// Evicted is how many keys with less than a full bucket were forgotten because there were too many of them. Each
// gave its key up to a bucket too much.
func (l *Limiter[K]) Evicted() int64 { return l.evicted.Load() }

// put stores a TAT; for a new key it first makes room. The shard is locked.
func (l *Limiter[K]) put(s *shard, now int64, k slot, tat int64, known bool) {
	if !known {
		if s.sweep--; s.sweep < 0 {
			l.sweep(s, now)
		}
		if len(s.tats) >= l.perKeys {
			l.evict(s, now)
		}
	}
	s.tats[k] = tat
}

func (l *Limiter[K]) sweep(s *shard, now int64) {
	before := len(s.tats)
	for k, tat := range s.tats {
		if tat <= now {
			delete(s.tats, k)
		}
	}
	left := len(s.tats)
	if left < before/4 { // a map never shrinks by itself
		s.tats = maps.Clone(s.tats)
	}
	// Once for as many new keys as are left: a constant cost for each, and the map at most doubles between sweeps. Near
	// the bound sooner, for else live keys would be evicted while dead ones wait.
	s.sweep = max(minSweep, min(left, l.perKeys/8))
}

// evict forgets the one of a few random keys whose bucket is nearest to full: looking at all of them for each insert
// would make a flood of new keys expensive.
func (l *Limiter[K]) evict(s *shard, now int64) {
	var (
		victim slot
		least  int64
		seen   int
	)
	for k, tat := range s.tats { // in random order
		if seen == 0 || tat < least {
			victim, least = k, tat
		}
		if seen++; seen == 8 {
			break
		}
	}
	delete(s.tats, victim)
	if least > now {
		l.evicted.Add(1)
	}
}

func (l *Limiter[K]) slotOf(key K) slot {
	return slot{maphash.Comparable(l.seeds[0], key), maphash.Comparable(l.seeds[1], key)}
}

func (l *Limiter[K]) shardOf(k slot) *shard { return &l.shards[k[0]%shards] }

// nanos is now on the limiter's own clock: monotonic when now is.
func (l *Limiter[K]) nanos(now time.Time) int64 { return int64(now.Sub(l.start)) }
