package webhook

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSchedule_default(t *testing.T) {
	t.Parallel()
	s := DefaultSchedule()
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for i, gap := range want {
		if got, ok := s.After(i+1, 0, 0); !ok || got != gap {
			t.Errorf("after try %d: %v, %t; want %v", i+1, got, ok, gap)
		}
	}
	if got, ok := s.After(10, 0, 0); ok {
		t.Errorf("an eleventh try after %v", got)
	}
	if err := s.validate(); err != nil {
		t.Error(err)
	}
}

// Whatever the numbers: a try is never earlier than the schedule or, within its
// bound, the receiver says, and later by the jitter at most.
func TestSchedule_neverEarlier(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hours := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "d"))
		})
		s := Schedule{
			Gaps: rapid.SliceOfN(hours, 1, 12).Draw(t, "gaps"), Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
			MaxRetryAfter: hours.Draw(t, "max"),
		}
		n := rapid.IntRange(1, 14).Draw(t, "n")
		asked := hours.Draw(t, "asked")
		got, ok := s.After(n, asked, rapid.Float64Range(0, 0.999).Draw(t, "random"))
		if ok != (n < len(s.Gaps)) {
			t.Fatalf("try %d of %d: %t", n, len(s.Gaps), ok)
		}
		if !ok {
			return
		}
		least := max(s.Gaps[n], min(asked, s.MaxRetryAfter))
		if got < least || got > least+time.Duration(float64(least)*s.Jitter)+1 {
			t.Fatalf("%v, want from %v", got, least)
		}
	})
}

func TestSchedule_refuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Schedule{
		"none": {}, "negative": {Gaps: []time.Duration{0, -1}}, "jitter": {Gaps: []time.Duration{0}, Jitter: 1.1}, "negative jitter": {Gaps: []time.Duration{0}, Jitter: -0.1},
	} {
		if s.validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "1.5": 0,
		"Wed, 25 Nov 2026 12:01:30 GMT": 90 * time.Second, "Wed, 25 Nov 2026 11:00:00 GMT": 0,
		"9223372036854775807": 10 * 365 * 24 * time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	limit := func(n int) *int { return &n }
	for _, tc := range []struct {
		name    string
		limit   int
		per     Period
		senders int
		first   int           // at once
		gap     time.Duration // between those that follow
	}{
		{"10 a second", 10, PerSecond, 1, 10, 100 * time.Millisecond},
		{"10 a second, two replicas", 10, PerSecond, 2, 5, 200 * time.Millisecond},
		{"6 a minute", 6, PerMinute, 1, 1, 10 * time.Second},
		{"600 a minute", 600, PerMinute, 1, 10, 100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r rate
			r.set(limit(tc.limit), tc.per, tc.senders)
			if got := r.upTo(now, 1000); got != tc.first {
				t.Errorf("%d at once, want %d", got, tc.first)
			}
			r.spend(now, tc.first)
			at := now
			for range 5 {
				if r.upTo(at, 1) != 0 {
					t.Errorf("one more at %v", at.Sub(now))
				}
				next := r.next(at)
				if got := next.Sub(at); got != tc.gap {
					t.Errorf("the next is after %v, want %v", got, tc.gap)
				}
				at = next
				if got := r.upTo(at, 9); got != 1 {
					t.Errorf("%d then, want 1", got)
				}
				r.spend(at, 1)
			}
			r.spend(at, -1)
			if r.upTo(at, 1) != 1 {
				t.Error("what was given back is gone")
			}
		})
	}
	var none rate
	none.spend(now, 1e6)
	if none.upTo(now, 7) != 7 {
		t.Error("no limit limits")
	}
}
