package webhook

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// durationStep is how much longer than the one before it a bucket of durations is:
	// what is told of them is at most so much off.
	durationStep = 1.25
	// durationBuckets reach over a minute, and the last holds what takes longer.
	durationBuckets = 52
	// maxStats is the longest time that statistics are told of at once.
	maxStats = 31 * 24 * time.Hour
)

// bucketOf returns the bucket of a duration.
func bucketOf(d time.Duration) int {
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(int(math.Ceil(math.Log(ms)/math.Log(durationStep)-1e-9)), durationBuckets-1)
}

// bound returns the longest duration of a bucket, in milliseconds.
func bound(bucket int) float64 { return math.Pow(durationStep, float64(bucket)) }

// quantile estimates a quantile of durations in milliseconds, within durationStep.
func quantile(buckets []int64, q float64) float64 {
	var total int64
	for _, n := range buckets {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := q * float64(total)
	for i, n := range buckets {
		if n > 0 && rank <= float64(n) {
			from := 0.0
			if i > 0 {
				from = bound(i - 1)
			}
			return from + (bound(i)-from)*rank/float64(n)
		}
		rank -= float64(n)
	}
	return bound(len(buckets) - 1)
}

// tally is what a replica sent and has not written down.
type tally struct {
	mu  sync.Mutex
	all map[tallyKey]*hourly
}

type tallyKey struct {
	tenant   id.Tenant
	endpoint id.Webhook
	hour     int64 // Unix
}

// hourly is how an endpoint fared in an hour.
type hourly struct {
	attempts, failures int64
	durations          [durationBuckets]int64
	failedAt           time.Time
	failure            string
}

func (h *hourly) add(o *hourly) {
	h.attempts += o.attempts
	h.failures += o.failures
	for i, n := range o.durations {
		h.durations[i] += n
	}
	if o.failedAt.After(h.failedAt) {
		h.failedAt, h.failure = o.failedAt, o.failure
	}
}

// count adds tries that were written down.
func (t *tally) count(batch []outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range batch {
		if o.kind != tried {
			continue
		}
		h := t.of(tallyKey{o.TenantID, o.EndpointID, o.at.Truncate(time.Hour).Unix()})
		h.attempts++
		h.durations[bucketOf(o.took)]++
		if o.class != "" {
			h.failures++
			if o.at.After(h.failedAt) {
				h.failedAt, h.failure = o.at, o.class
			}
		}
	}
}

func (t *tally) of(key tallyKey) *hourly {
	h := t.all[key]
	if h == nil {
		if t.all == nil {
			t.all = map[tallyKey]*hourly{}
		}
		h = &hourly{}
		t.all[key] = h
	}
	return h
}

// take takes all there is; give gives it back.
func (t *tally) take() map[tallyKey]*hourly {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.all
	t.all = nil
	return all
}

func (t *tally) give(all map[tallyKey]*hourly) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, h := range all {
		t.of(key).add(h)
	}
}

// tallyPiece is the most rows of statistics that one statement writes.
const tallyPiece = 1000

// writeTally writes down how endpoints fared since it last did. A process that is
// killed loses a second of it; the log of tries has them.
func (e *Engine) writeTally(ctx context.Context) error {
	all := e.tally.take()
	if len(all) == 0 {
		return nil
	}
	keys := make([]tallyKey, 0, len(all))
	for key := range all {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, tallyKey.compare) // as every replica does, so that none waits for another in a circle
	for piece := range slices.Chunk(keys, tallyPiece) {
		err := e.db.AsOperator(ctx, func(tx pg.Tx) error { return addStats(ctx, tx, piece, all) })
		if err != nil {
			e.tally.give(all)
			return err
		}
		for _, key := range piece {
			delete(all, key)
		}
	}
	return nil
}

func (k tallyKey) compare(o tallyKey) int {
	if c := bytes.Compare(k.tenant[:], o.tenant[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(k.endpoint[:], o.endpoint[:]); c != 0 {
		return c
	}
	return int(k.hour - o.hour)
}

// Fare is how an endpoint fared in an hour, or in all of several.
type Fare struct {
	Hour          time.Time  `db:"hour"`
	Attempts      int64      `db:"attempts"`
	Failures      int64      `db:"failures"`
	Durations     []int64    `db:"durations"`
	LastFailureAt *time.Time `db:"last_failure_at"`
	LastFailure   string     `db:"last_failure"` // its class
}

// SuccessRate is the share of requests that succeeded, or 1 of none.
func (f Fare) SuccessRate() float64 {
	if f.Attempts == 0 {
		return 1
	}
	return float64(f.Attempts-f.Failures) / float64(f.Attempts)
}

// Quantile estimates how long requests took, in milliseconds, a quarter more or less
// at worst: 0.5 is the median.
func (f Fare) Quantile(q float64) float64 { return quantile(f.Durations, q) }

// StatsParams choose the hours to tell of.
type StatsParams struct {
	TenantID   id.Tenant
	EndpointID id.Webhook
	Since      time.Time // zero: a day ago
	Until      time.Time // zero: now
}

// EndpointStats tell how an endpoint fared.
type EndpointStats struct {
	Since, Until time.Time
	Total        Fare
	Hours        []Fare // those in which anything was sent, the oldest first
}

// Stats returns how an endpoint fared. The hours of both ends count whole.
func (s *Service) Stats(ctx context.Context, p StatsParams) (EndpointStats, error) {
	if p.Until.IsZero() {
		p.Until = s.now()
	}
	if p.Since.IsZero() {
		p.Since = p.Until.Add(-24 * time.Hour)
	}
	var f fault.Fields
	f.Check(p.Since.Before(p.Until), "until", "out_of_range", "until is after since.")
	f.Check(p.Until.Sub(p.Since) <= maxStats, "since", "out_of_range", "At most %d days at once.", int(maxStats.Hours()/24))
	if err := f.Err(); err != nil {
		return EndpointStats{}, err
	}
	out := EndpointStats{Since: p.Since.Truncate(time.Hour), Until: p.Until, Total: Fare{Durations: make([]int64, durationBuckets)}}
	err := s.read(ctx, p.TenantID, func(tx pg.Tx) (err error) {
		if out.Hours, err = selectStats(ctx, tx, p); err != nil || len(out.Hours) > 0 {
			return err
		}
		_, err = selectStored(ctx, tx, p.TenantID, p.EndpointID) // nothing, or no such endpoint
		return found(err)
	})
	total := &out.Total
	for _, h := range out.Hours {
		total.Attempts += h.Attempts
		total.Failures += h.Failures
		for i, n := range h.Durations[:min(len(h.Durations), durationBuckets)] {
			total.Durations[i] += n
		}
		if h.LastFailureAt != nil {
			total.LastFailureAt, total.LastFailure = h.LastFailureAt, h.LastFailure
		}
	}
	return out, err
}
