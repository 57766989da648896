package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Schedule says when a delivery is tried.
type Schedule struct {
	// Gaps has an entry for each try: how long after the one before it is made. The
	// first is after the event, and mostly 0.
	Gaps []time.Duration
	// Jitter is the share of a gap, at random, by which it is lengthened, so that
	// what failed together is not tried again together. Gaps are never shortened.
	Jitter float64
	// MaxRetryAfter bounds how far off a receiver may put a try with Retry-After.
	MaxRetryAfter time.Duration
}

// DefaultSchedule is the example of the Standard Webhooks specification: ten tries
// in a little over three days.
func DefaultSchedule() Schedule {
	return Schedule{
		Gaps: []time.Duration{
			0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
		Jitter:        0.1,
		MaxRetryAfter: 24 * time.Hour,
	}
}

func (s Schedule) validate() error {
	if len(s.Gaps) == 0 {
		return errors.New("a schedule without a try")
	}
	for i, gap := range s.Gaps {
		if gap < 0 {
			return fmt.Errorf("try %d of the schedule comes before the one before it", i+1)
		}
	}
	if s.Jitter < 0 || s.Jitter > 1 {
		return errors.New("the jitter of a schedule is a share between 0 and 1")
	}
	return nil
}

// After returns how long after failed try number n, counted from 1, the next is to
// be made; ok is false when there is none. retryAfter is what the receiver asked
// for: the try is never earlier. random is in [0, 1).
func (s Schedule) After(n int, retryAfter time.Duration, random float64) (wait time.Duration, ok bool) {
	if n >= len(s.Gaps) {
		return 0, false
	}
	gap := max(s.Gaps[max(n, 0)], min(retryAfter, s.MaxRetryAfter))
	return gap + time.Duration(float64(gap)*s.Jitter*random), true
}

// Total is how long after the event the last try may be made.
func (s Schedule) Total() time.Duration {
	var total time.Duration
	for _, gap := range s.Gaps {
		total += gap + time.Duration(float64(gap)*s.Jitter)
	}
	return total
}

// retryAfter reads the header of an answer: seconds, or a date. Nonsense is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		const most = int64(10 * 365 * 24 * time.Hour / time.Second) // whatever it says, it fits
		return time.Duration(max(0, min(n, most))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
