package ratelimit_test

import (
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/ratelimit"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// key is what callers use: an id and the name of a policy.
type key struct {
	id   [16]byte
	name string
}

func named(name string) key { return key{name: name} }

func numbered(n int) (k key) {
	binary.BigEndian.PutUint64(k.id[:], uint64(n))
	return k
}

func TestAllow_aBurstThenTheRate(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	limit := ratelimit.Limit{Rate: 10, Period: time.Second, Burst: 3}
	var got []ratelimit.Decision
	for range 4 {
		got = append(got, l.Allow(start, named("k"), limit, 1))
	}
	got = append(got, l.Allow(start.Add(100*time.Millisecond), named("k"), limit, 1), l.Allow(start.Add(time.Hour), named("k"), limit, 4))
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	want := []ratelimit.Decision{
		{Allowed: true, Limit: limit, Remaining: 2, ResetAfter: ms(100)},
		{Allowed: true, Limit: limit, Remaining: 1, ResetAfter: ms(200)},
		{Allowed: true, Limit: limit, Remaining: 0, ResetAfter: ms(300)},
		{Allowed: false, Limit: limit, Remaining: 0, RetryAfter: ms(100), ResetAfter: ms(300)},
		{Allowed: true, Limit: limit, Remaining: 0, ResetAfter: ms(300)},
		{Allowed: false, Limit: limit, Remaining: 3, RetryAfter: ratelimit.Never},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAllow_invalidLimitsAllowNothing(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	for name, limit := range map[string]ratelimit.Limit{
		"zero":           {},
		"negative rate":  {Rate: -1, Period: time.Second},
		"no period":      {Rate: 1},
		"negative burst": {Rate: 1, Period: time.Second, Burst: -1},
		"below 1 ns":     {Rate: 2e9, Period: time.Second},
		"overflow":       {Rate: 1, Period: time.Hour, Burst: 1 << 60},
	} {
		if limit.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
		if d := l.Allow(start, named(name), limit, 1); d.Allowed || d.RetryAfter != ratelimit.Never || d.NextAfter() != 0 {
			t.Errorf("%s: %+v", name, d)
		}
		if d := l.Peek(start, named(name), limit, 1); d.Allowed {
			t.Errorf("%s: peek %+v", name, d)
		}
	}
	if n := l.Sweep(start); n != 0 {
		t.Errorf("%d keys were stored", n)
	}
}

func limits() *rapid.Generator[ratelimit.Limit] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Limit {
		return ratelimit.Limit{
			Rate:   rapid.Int64Range(1, 1000).Draw(t, "rate"),
			Period: time.Duration(rapid.Int64Range(1000, int64(time.Hour)).Draw(t, "period")),
			Burst:  rapid.Int64Range(0, 50).Draw(t, "burst"),
		}
	})
}

func size(l ratelimit.Limit) int64 {
	if l.Burst == 0 {
		return l.Rate
	}
	return l.Burst
}

// In any stretch of time no more is allowed than a bucket and what comes back meanwhile, and what a decision says of the
// future is exact to the nanosecond.
func TestAllow_property(t *testing.T) {
	t.Parallel()
	type spent struct {
		at   time.Duration
		cost int64
	}
	rapid.Check(t, func(t *rapid.T) {
		l := ratelimit.New[key](0)
		limit := limits().Draw(t, "limit")
		var now time.Duration
		var log []spent
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now += time.Duration(rapid.Int64Range(0, int64(limit.Period)/limit.Rate*3).Draw(t, "wait"))
			cost := rapid.Int64Range(0, size(limit)+2).Draw(t, "cost")
			if rapid.Bool().Draw(t, "sweep") {
				l.Sweep(start.Add(now))
			}
			peek := l.Peek(start.Add(now), named("k"), limit, cost)
			d := l.Allow(start.Add(now), named("k"), limit, cost)
			if peek.Allowed != d.Allowed || peek.RetryAfter != d.RetryAfter {
				t.Fatalf("peek %+v, allow %+v", peek, d)
			}
			if d.Allowed != (peek.Remaining >= cost) {
				t.Fatalf("%d of %d: %+v", cost, peek.Remaining, d)
			}
			if d.Allowed {
				log = append(log, spent{now, cost})
			}
			exact(t, l, start.Add(now), limit, cost, d)
		}
		for i, from := range log {
			var units int64
			for _, to := range log[i:] {
				units += to.cost
				back := float64(limit.Rate) * float64(to.at-from.at) / float64(limit.Period)
				if float64(units) > float64(size(limit))+back+1e-6 {
					t.Fatalf("%d units in %v with %+v", units, to.at-from.at, limit)
				}
			}
		}
	})
}

func exact(t *rapid.T, l *ratelimit.Limiter[key], now time.Time, limit ratelimit.Limit, cost int64, d ratelimit.Decision) {
	peek := func(after time.Duration, cost int64) ratelimit.Decision {
		return l.Peek(now.Add(after), named("k"), limit, cost)
	}
	if !peek(0, d.Remaining).Allowed || peek(0, d.Remaining+1).Allowed {
		t.Fatalf("remaining isn't exact: %+v", d)
	}
	if !d.Allowed && d.RetryAfter != ratelimit.Never {
		if d.RetryAfter <= 0 || !peek(d.RetryAfter, cost).Allowed || peek(d.RetryAfter-1, cost).Allowed {
			t.Fatalf("retry after isn't exact: %+v", d)
		}
	}
	if (d.RetryAfter == ratelimit.Never) != (cost > size(limit)) {
		t.Fatalf("never for %d: %+v", cost, d)
	}
	if peek(d.ResetAfter, 0).Remaining != size(limit) || peek(d.ResetAfter, 0).ResetAfter != 0 {
		t.Fatalf("reset after is too early: %+v", d)
	}
	if n := d.NextAfter(); n != 0 {
		if peek(d.ResetAfter-1, 0).Remaining == size(limit) {
			t.Fatalf("reset after is too late: %+v", d)
		}
		if peek(n, 0).Remaining != d.Remaining+1 || peek(n-1, 0).Remaining != d.Remaining {
			t.Fatalf("next after isn't exact: %+v: %v", d, n)
		}
	} else if d.Remaining != size(limit) {
		t.Fatalf("nothing comes back: %+v", d)
	}
}

// A clock that jumps about gives no more than its forward movements are worth, and locks nobody out for longer than a
// bucket takes to fill.
func TestAllow_clockSteps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := ratelimit.New[key](0)
		limit := limits().Draw(t, "limit")
		var now, forward time.Duration
		var units int64
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			step := time.Duration(rapid.Int64Range(-int64(limit.Period)*3, int64(limit.Period)).Draw(t, "step"))
			now += step
			forward += max(step, 0)
			cost := rapid.Int64Range(0, size(limit)).Draw(t, "cost")
			if l.Allow(start.Add(now), named("k"), limit, cost).Allowed {
				units += cost
			}
		}
		if back := float64(limit.Rate) * float64(forward) / float64(limit.Period); float64(units) > float64(size(limit))+back+1e-6 {
			t.Fatalf("%d units while the clock went %v ahead with %+v", units, forward, limit)
		}
		fill := l.Peek(start.Add(now), named("k"), limit, 0).ResetAfter
		if most := time.Duration(size(limit)) * ((limit.Period-1)/time.Duration(limit.Rate) + 1); fill > most {
			t.Fatalf("full after %v, want at most %v", fill, most)
		}
	})
}

// A clock that stepped back, or a limit that shrank, empties a bucket once. Asking
// in vain must not keep it empty.
func TestAllow_recoversFromASteppedClock(t *testing.T) {
	t.Parallel()
	limit := ratelimit.PerMinute(10)
	ask := map[string]func(l *ratelimit.Limiter[key], now time.Time) bool{
		"one": func(l *ratelimit.Limiter[key], now time.Time) bool { return l.Allow(now, named("k"), limit, 1).Allowed },
		"all": func(l *ratelimit.Limiter[key], now time.Time) bool {
			return l.AllowAll(now, []ratelimit.Request[key]{{Key: named("k"), Limit: limit, Cost: 1}}, make([]ratelimit.Decision, 1))
		},
	}
	for name, allow := range ask {
		l := ratelimit.New[key](0)
		for range 10 {
			allow(l, start)
		}
		back := start.Add(-24 * time.Hour)
		if allow(l, back) {
			t.Errorf("%s: something for stepping back", name)
		}
		got := 0
		for s := range 60 {
			if allow(l, back.Add(time.Duration(s)*time.Second)) {
				got++
			}
		}
		if got != 9 {
			t.Errorf("%s: %d in a minute, want 9", name, got)
		}
	}
}

// Keys don't affect each other, and sweeps at any moment change no answer.
func TestAllow_sweepingIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := ratelimit.Limit{Rate: 5, Period: time.Second, Burst: 3}
		swept := ratelimit.New[key](0)
		alone := map[int]*ratelimit.Limiter[key]{}
		now := start
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(300*time.Millisecond)).Draw(t, "wait")))
			swept.Sweep(now)
			n := rapid.IntRange(0, 5).Draw(t, "key")
			if alone[n] == nil {
				alone[n] = ratelimit.New[key](0)
			}
			want, got := alone[n].Allow(now, numbered(n), limit, 1), swept.Allow(now, numbered(n), limit, 1)
			if want != got {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
		if left := swept.Sweep(now.Add(time.Minute)); left != 0 {
			t.Fatalf("%d keys are left", left)
		}
	})
}

func TestAllow_concurrent(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	limit := ratelimit.Limit{Rate: 100, Period: time.Hour}
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				if l.Allow(start, named("shared"), limit, 1).Allowed {
					allowed.Add(1)
				}
				l.Allow(start, named(strconv.Itoa(i*1000+j)), limit, 1)
				l.Sweep(start)
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 100 {
		t.Errorf("%d were allowed, want 100", allowed.Load())
	}
}

func TestAllowAll(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	wide := ratelimit.Limit{Rate: 10, Period: time.Second}
	tight := ratelimit.Limit{Rate: 2, Period: time.Second}
	requests := []ratelimit.Request[key]{{named("wide"), wide, 1}, {named("tight"), tight, 1}, {named("wide"), wide, 2}}
	decisions := make([]ratelimit.Decision, 3)
	for i, want := range []struct {
		ok   bool
		left []int64
	}{
		{true, []int64{9, 1, 7}},
		{true, []int64{6, 0, 4}},
		{false, []int64{4, 0, 4}},
	} {
		ok := l.AllowAll(start, requests, decisions)
		left := []int64{decisions[0].Remaining, decisions[1].Remaining, decisions[2].Remaining}
		if diff := cmp.Diff(want.left, left); ok != want.ok || diff != "" {
			t.Errorf("call %d: %v %v, want %v", i, ok, left, want)
		}
	}
	if !decisions[0].Allowed || decisions[1].Allowed || !decisions[2].Allowed {
		t.Errorf("only the tight one is to blame: %+v", decisions)
	}
	if got := decisions[1].RetryAfter; got != 500*time.Millisecond {
		t.Errorf("retry after %v", got)
	}
	if !l.AllowAll(start, nil, nil) {
		t.Error("no limits at all is denied")
	}
}

// Whole requests pass or nothing is spent, from many goroutines with keys in both orders.
func TestAllowAll_concurrent(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	a := ratelimit.Limit{Rate: 100, Period: time.Hour}
	b := ratelimit.Limit{Rate: 60, Period: time.Hour}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			requests := []ratelimit.Request[key]{{numbered(1), a, 1}, {numbered(2), b, 1}}
			if i%2 == 0 {
				requests[0], requests[1] = requests[1], requests[0]
			}
			decisions := make([]ratelimit.Decision, 2)
			for range 20 {
				if l.AllowAll(start, requests, decisions) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 60 || l.Peek(start, numbered(1), a, 0).Remaining != 40 || l.Peek(start, numbered(2), b, 0).Remaining != 0 {
		t.Errorf("passed %d, left %d and %d", passed.Load(), l.Peek(start, numbered(1), a, 0).Remaining, l.Peek(start, numbered(2), b, 0).Remaining)
	}
}

func TestLimiter_memoryIsBounded(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](6400)
	limit := ratelimit.PerMinute(60)
	// Keys that come once: their buckets are full a second later, and they're forgotten without anybody losing.
	for i := range 100_000 {
		l.Allow(start.Add(time.Duration(i)*time.Millisecond), numbered(i), limit, 1)
	}
	if n := l.Evicted(); n != 0 {
		t.Errorf("%d live keys were evicted", n)
	}
	// More live keys than it may remember.
	for i := range 20_000 {
		l.Allow(start.Add(time.Hour), numbered(1_000_000+i), limit, 60)
	}
	left, evicted := l.Sweep(start.Add(time.Hour)), l.Evicted()
	if left > 6400 || int64(left)+evicted < 20_000 {
		t.Errorf("%d keys are left, %d were evicted", left, evicted)
	}
	if left := l.Sweep(start.Add(2 * time.Hour)); left != 0 {
		t.Errorf("%d keys are left", left)
	}
}

func TestWarmPath_doesNotAllocate(t *testing.T) {
	now := time.Now()
	limit := ratelimit.PerMinute(1e9)
	l := ratelimit.New[key](0)
	id := [16]byte{1}
	requests := []ratelimit.Request[key]{{numbered(1), limit, 1}, {numbered(2), limit, 1}}
	decisions := make([]ratelimit.Decision, 2)
	for what, f := range map[string]func(){
		"allow":         func() { l.Allow(now, key{id: id}, limit, 1) },
		"peek":          func() { l.Peek(now, key{id: id}, limit, 1) },
		"allow all":     func() { l.AllowAll(now, requests, decisions) },
		"first and all": func() { l.Sweep(now.Add(time.Hour)); l.AllowAll(now, requests, decisions) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	l := ratelimit.New[key](0)
	minute := l.Allow(start, named("m"), ratelimit.PerMinute(600), 1)
	day := l.Allow(start, named("d"), ratelimit.Limit{Rate: 10, Period: 24 * time.Hour, Burst: 5}, 5)
	odd := l.Peek(start, named("o"), ratelimit.Limit{Rate: 5, Period: 1500 * time.Millisecond}, 1)
	tests := map[string]struct {
		in            []ratelimit.Named
		policy, state string
	}{
		"none":    {nil, "", ""},
		"one":     {[]ratelimit.Named{{"default", minute}}, `"default";q=600;w=60`, `"default";r=599;t=1`},
		"several": {[]ratelimit.Named{{"default", minute}, {"daily", day}}, `"default";q=600;w=60, "daily";q=10;w=86400`, `"default";r=599;t=1, "daily";r=0;t=8640`},
		"full":    {[]ratelimit.Named{{"odd", odd}}, `"odd";q=5`, `"odd";r=5`},
		"escaped": {[]ratelimit.Named{{"a\"\\\r\né", odd}}, `"a\"\\????";q=5`, `"a\"\\????";r=5`},
	}
	for name, tt := range tests {
		if got := ratelimit.Policy(tt.in...); got != tt.policy {
			t.Errorf("%s: policy %s, want %s", name, got, tt.policy)
		}
		if got := ratelimit.State(tt.in...); got != tt.state {
			t.Errorf("%s: state %s, want %s", name, got, tt.state)
		}
	}
	for want, d := range map[int64]ratelimit.Decision{
		8640:  l.Allow(start, named("d"), ratelimit.Limit{Rate: 10, Period: 24 * time.Hour, Burst: 5}, 1),
		43200: l.Allow(start, named("d"), ratelimit.Limit{Rate: 10, Period: 24 * time.Hour, Burst: 5}, 6),
		1:     {},
	} {
		if got := d.RetryAfterSeconds(); got != want {
			t.Errorf("retry after %d, want %d", got, want)
		}
	}
}
