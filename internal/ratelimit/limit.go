package ratelimit

import (
	"errors"
	"math"
	"time"
)

// Never is the RetryAfter of a request that costs more than a full bucket holds.
const Never = time.Duration(-1)

// maxFill bounds how long a bucket may take to fill, so that adding times can't overflow.
const maxFill = 10 * 366 * 24 * time.Hour

// Limit is a policy: Rate units per Period on average, Burst of them at once.
type Limit struct {
	Rate   int64         // units; at least 1
	Period time.Duration // at least 1 ns a unit
	Burst  int64         // the bucket's size; 0 means Rate
}

var (
	errRate   = errors.New("rate must be at least 1")
	errBurst  = errors.New("burst must not be negative")
	errPeriod = errors.New("period must be at least 1 ns for each unit")
	errFill   = errors.New("the bucket takes more than 10 years to fill")
)

// PerMinute is the limit of n units a minute, all of which may come at once.
func PerMinute(n int64) Limit { return Limit{Rate: n, Period: time.Minute} }

// Validate tells why a limit can't be kept. An invalid limit allows nothing: an unset limit must not mean unlimited.
func (l Limit) Validate() error {
	switch {
	case l.Rate < 1:
		return errRate
	case l.Burst < 0:
		return errBurst
	case l.Period < 1 || int64(l.Period) < l.Rate:
		return errPeriod
	case l.size() > int64(maxFill)/int64(l.interval()):
		return errFill
	}
	return nil
}

// size is the bucket's size in units.
func (l Limit) size() int64 {
	if l.Burst == 0 {
		return l.Rate
	}
	return l.Burst
}

// interval is the time in which one unit comes back; rounded up, so that the rate is never exceeded.
func (l Limit) interval() time.Duration {
	return (l.Period-1)/time.Duration(l.Rate) + 1
}

// Decision is the answer to one request.
type Decision struct {
	Allowed bool
	// Limit is the policy that was applied.
	Limit Limit
	// Remaining is how many units are left after this request.
	Remaining int64
	// RetryAfter is how long until the same request would be allowed if nothing else is spent; 0 when allowed, Never
	// when it costs more than the bucket holds (or the limit is invalid).
	RetryAfter time.Duration
	// ResetAfter is how long until the bucket is full.
	ResetAfter time.Duration
}

// NextAfter is how long until Remaining grows by one; 0 when the bucket is full.
func (d Decision) NextAfter() time.Duration {
	if d.ResetAfter <= 0 {
		return 0
	}
	return (d.ResetAfter-1)%d.Limit.interval() + 1
}

// decide is GCRA itself. Times are nanoseconds since the limiter's start; tat is the stored one, next the one to store:
// when the request is allowed, and when it is before tat, whatever the decision.
func decide(now, tat int64, l Limit, cost int64) (d Decision, next int64) {
	if l.Validate() != nil {
		return Decision{Limit: l, RetryAfter: Never}, tat
	}
	interval := int64(l.interval())
	full := l.size() * interval
	// A TAT further ahead than an empty bucket means that the clock stepped back or the limit shrank: the bucket is
	// empty then. Not clamping, or not storing it, would lock the key out until the clock catches up.
	tat = min(max(tat, now), now+full)
	cost = max(cost, 0)
	d = Decision{Limit: l, Allowed: true}
	next = tat
	switch {
	case cost > l.size():
		d.Allowed, d.RetryAfter = false, Never
	case tat+cost*interval > now+full:
		d.Allowed, d.RetryAfter = false, time.Duration(tat+cost*interval-now-full)
	default:
		next = tat + cost*interval
	}
	d.ResetAfter = time.Duration(next - now)
	d.Remaining = (full - (next - now)) / interval
	return d, next
}

// decideAll decides on requests that pass together or not at all, and returns whether they pass. tat gives the stored TAT of
// a request's key. When they pass and it isn't a peek, the decisions say what is left after spending, and each key's last one
// is what to store; otherwise they say what is left unspent.
func decideAll[K comparable](now int64, requests []Request[K], decisions []Decision, peek bool, tat func(i int) int64) bool {
	all := true
	for i := range requests {
		from, again := int64(0), false
		for j := i - 1; j >= 0 && !again; j-- { // from where an earlier one of the same key leaves it
			if again = requests[j].Key == requests[i].Key; again {
				from = now + int64(decisions[j].ResetAfter)
			}
		}
		if !again {
			from = tat(i)
		}
		decisions[i], _ = decide(now, from, requests[i].Limit, requests[i].Cost)
		all = all && decisions[i].Allowed
	}
	if all && !peek {
		return true
	}
	for i := range requests {
		d, _ := decide(now, tat(i), requests[i].Limit, 0)
		d.Allowed, d.RetryAfter = decisions[i].Allowed, decisions[i].RetryAfter
		decisions[i] = d
	}
	return all
}

// seconds rounds up to whole seconds, as header fields want them.
func seconds(d time.Duration) int64 {
	if d > math.MaxInt64-time.Second {
		return int64(d / time.Second)
	}
	return int64((d + time.Second - 1) / time.Second)
}
