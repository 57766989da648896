package webhook

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// A quantile is told within the width of a bucket, whatever the durations.
func TestQuantile(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"even":   func() time.Duration { return time.Duration(r.Int64N(int64(time.Second))) },
		"skewed": func() time.Duration { return time.Duration(math.Exp(r.NormFloat64()*2) * float64(20*time.Millisecond)) },
		"same":   func() time.Duration { return 37 * time.Millisecond },
		"slow":   func() time.Duration { return 15*time.Second + time.Duration(r.Int64N(int64(time.Second))) },
	} {
		var buckets [durationBuckets]int64
		all := make([]float64, 10_000)
		for i := range all {
			d := draw()
			all[i] = float64(d) / float64(time.Millisecond)
			buckets[bucketOf(d)]++
		}
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.95, 0.999} {
			got, want := quantile(buckets[:], q), all[int(q*float64(len(all)))]
			if want > 1 && (got > want*durationStep || got < want/durationStep) {
				t.Errorf("%s: the %v quantile is %.1f ms, told as %.1f", name, q, want, got)
			}
		}
	}
	if quantile(nil, 0.5) != 0 || bucketOf(0) != 0 || bucketOf(time.Hour) != durationBuckets-1 || bucketOf(bucketTop(20)) != 20 || bucketOf(bucketTop(20)+time.Microsecond) != 21 {
		t.Error("the ends are off")
	}
	if top := bound(durationBuckets - 2); top < 60_000 {
		t.Errorf("buckets reach to %.0f ms", top)
	}
}

func bucketTop(n int) time.Duration { return time.Duration(bound(n) * float64(time.Millisecond)) }

// What two replicas sent is added up, for each endpoint and hour.
func TestStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int64
	r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
		if calls.Add(1)%4 == 0 {
			rw.WriteHeader(http.StatusTeapot)
		}
	})
	tenant, other := w.tenant(), w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL)
	silent, _ := w.endpoint(other, r.URL, `status = 'paused'`)
	never := func(c *EngineConfig) { c.Schedule = Schedule{Gaps: []time.Duration{0}} }
	one, two := w.engine(never), w.engine(never)
	s := w.service()
	for range 40 {
		w.publish(tenant, "render.completed")
	}
	w.wantStates("all are sent", tenant, map[string]int{"delivered ": 30, "failed exhausted": 10})
	w.eventually("it is written down", func() bool {
		got, err := s.Stats(w.ctx(), StatsParams{TenantID: tenant, EndpointID: endpoint})
		return err == nil && got.Total.Attempts == 40
	})
	got, err := s.Stats(w.ctx(), StatsParams{TenantID: tenant, EndpointID: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	total := got.Total
	if total.Failures != 10 || total.SuccessRate() != 0.75 || total.LastFailure != ClassStatus || total.LastFailureAt == nil || total.Quantile(0.5) <= 0 ||
		total.Quantile(0.95) < total.Quantile(0.5) || len(got.Hours) == 0 || len(got.Hours) > 2 {
		t.Errorf("%+v", got)
	}
	if got, err = s.Stats(w.ctx(), StatsParams{TenantID: other, EndpointID: silent}); err != nil || got.Total.Attempts != 0 || got.Total.SuccessRate() != 1 || len(got.Hours) != 0 {
		t.Errorf("of none: %+v, %v", got, err)
	}
	_, err = s.Stats(w.ctx(), StatsParams{TenantID: other, EndpointID: endpoint})
	wantFault(t, err, "webhook_not_found")
	_, err = s.Stats(w.ctx(), StatsParams{TenantID: tenant, EndpointID: endpoint, Since: time.Now().Add(-32 * 24 * time.Hour)})
	wantFault(t, err, "out_of_range")

	// A clean stop loses nothing.
	one.Stop(t.Context())
	for range 8 {
		w.publish(tenant, "render.completed")
	}
	w.wantStates("they are sent", tenant, map[string]int{"delivered ": 36, "failed exhausted": 12})
	two.Stop(t.Context())
	if got, err = s.Stats(w.ctx(), StatsParams{TenantID: tenant, EndpointID: endpoint}); err != nil || got.Total.Attempts != 48 || got.Total.Failures != 12 {
		t.Errorf("after the stop: %+v, %v", got.Total, err)
	}
}

// What can't be written is kept for the next time, and no hour is added to another.
func TestTally(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.unstarted(nil)
	tenant, endpoint := id.New[id.Tenant](), id.New[id.Webhook]()
	hour := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	if hour.Month() != time.Now().Month() {
		hour = time.Now().Truncate(time.Hour)
	}
	at := func(at time.Time, class string) outcome {
		return outcome{job: job{claim: claim{TenantID: tenant, EndpointID: endpoint}}, result: result{at: at, took: 3 * time.Millisecond, class: class}}
	}
	e.tally.count([]outcome{at(hour, ""), at(hour.Add(59*time.Minute), "status"), at(hour.Add(time.Hour), ""), {kind: notTried}})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.writeTally(gone); err == nil {
		t.Fatal("nobody was there to write it")
	}
	e.tally.count([]outcome{at(hour, "")})
	for range 2 { // the second has nothing to write
		if err := e.writeTally(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := rows[struct {
		Hour     time.Time `db:"hour"`
		Attempts int64     `db:"attempts"`
		Failures int64     `db:"failures"`
	}](w, `SELECT hour, attempts, failures FROM tenant_webhook_stats WHERE tenant_id = $1 ORDER BY hour`, tenant)
	if len(got) != 2 || !got[0].Hour.Equal(hour) || got[0].Attempts != 3 || got[0].Failures != 1 || got[1].Attempts != 1 {
		t.Errorf("%+v", got)
	}
}
