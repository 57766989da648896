package webhook

import "time"

// rate is the generic cell rate algorithm over one endpoint: on average a request
// every so often, and at most so many at once. The zero rate lets all through.
type rate struct {
	every time.Duration
	burst int
	full  time.Time // when all that was spent is there again
}

// set takes over an endpoint's limit, divided among replicas.
func (r *rate) set(limit *int, per Period, senders int) {
	if limit == nil {
		*r = rate{}
		return
	}
	r.every = per.Duration() * time.Duration(senders) / time.Duration(*limit)
	// A second's worth may come at once.
	r.burst = max(1, int(time.Second/max(r.every, 1)))
}

// upTo returns how many of n requests may be begun now.
func (r *rate) upTo(now time.Time, n int) int {
	if r.every <= 0 {
		return n
	}
	left := time.Duration(r.burst)*r.every - max(0, r.full.Sub(now))
	return max(0, min(n, int(left/r.every)))
}

// spend counts n requests as begun, or so many as not begun after all.
func (r *rate) spend(now time.Time, n int) {
	if r.every <= 0 || n == 0 {
		return
	}
	if r.full.Before(now) {
		r.full = now
	}
	r.full = r.full.Add(time.Duration(n) * r.every)
}

// next returns when a request may be begun again.
func (r *rate) next(now time.Time) time.Time {
	if at := r.full.Add(-time.Duration(r.burst-1) * r.every); at.After(now) {
		return at
	}
	return now
}

// rested reports whether nothing is spent.
func (r *rate) rested(now time.Time) bool { return !r.full.After(now) }
