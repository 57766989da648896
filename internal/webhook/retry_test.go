package webhook

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/outbound"
)

// hands is a clock that a test moves.
type hands struct{ ns atomic.Int64 }

func newHands() *hands {
	h := &hands{}
	h.ns.Store(time.Now().UnixNano())
	return h
}

func (h *hands) now() time.Time       { return time.Unix(0, h.ns.Load()) }
func (h *hands) move(d time.Duration) { h.ns.Add(int64(d)) }

// idle waits until the engine has looked at everything twice and has nothing to do.
func (w *world) idle(e *Engine) {
	w.t.Helper()
	before := e.Stats().Sweeps
	w.eventually("the engine is idle", func() bool {
		s := e.Stats()
		return s.Sweeps >= before+3 && s.InFlight == 0 && s.Ready == 0
	})
}

// answers gives one status after the other, and the last for ever.
func answers(statuses ...int) http.HandlerFunc {
	var mu sync.Mutex
	return func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if statuses[0] == http.StatusFound {
			rw.Header().Set("Location", "/elsewhere")
		}
		rw.WriteHeader(statuses[0])
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
	}
}

// The default schedule, try by try, on a clock that the test moves: never a moment
// early, always the same id, each time signed anew; then it is given up.
func TestRetry_schedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(http.StatusInternalServerError))
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	clock := newHands()
	e := w.engine(func(c *EngineConfig) { c.Now, c.Poll, c.DisableAfter = clock.now, 10*time.Millisecond, 1000 })
	event := w.publish(tenant, "render.completed")[0]
	gaps := DefaultSchedule().Gaps
	for n := 1; n <= len(gaps); n++ {
		w.eventually("try "+strconv.Itoa(n)+" is made", func() bool {
			ds := w.deliveries(tenant)
			return len(ds) == 1 && ds[0].Attempts == n
		})
		if n == len(gaps) {
			break
		}
		d := w.deliveries(tenant)[0]
		failed := w.attempts(tenant)[n-1].CreatedAt
		if wait := d.NextAt.Sub(failed); wait < gaps[n] || wait > gaps[n]+gaps[n]/10+time.Second {
			t.Fatalf("after try %d it waits %v, want %v and a tenth more at most", n, wait, gaps[n])
		}
		if d.State != Pending || d.LastStatus == nil || *d.LastStatus != 500 {
			t.Errorf("after try %d: %+v", n, d)
		}
		clock.move(d.NextAt.Sub(clock.now()) - 50*time.Millisecond)
		w.idle(e)
		if got := len(r.requests()); got != n {
			t.Fatalf("%d requests just before try %d is due", got, n+1)
		}
		clock.move(100 * time.Millisecond)
	}
	w.wantStates("it is given up", tenant, map[string]int{"failed exhausted": 1})
	signatures := map[string]bool{}
	for _, g := range r.requests() {
		if g.id != event.String() {
			t.Errorf("a try of event %s has the id %s", event, g.id)
		}
		signatures[g.header.Get(HeaderTimestamp)+g.header.Get(HeaderSignature)] = true
	}
	if len(signatures) != len(gaps) {
		t.Errorf("%d signatures of %d tries", len(signatures), len(gaps))
	}
	for i, a := range w.attempts(tenant) {
		if a.Attempt != i+1 || a.Succeeded || a.ErrorClass != ClassStatus || *a.ResponseStatus != 500 {
			t.Errorf("attempt %+v", a)
		}
	}
}

// Retry-After puts the next try off, for all that goes to the endpoint, and never
// brings it forward.
func TestRetry_after(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		header string
		want   time.Duration
	}{
		"429 in seconds":        {429, "120", 2 * time.Minute},
		"503 in seconds":        {503, "3600", time.Hour},
		"500 in seconds":        {500, "60", time.Minute},
		"earlier than schedule": {429, "1", 5 * time.Second},
		"beyond the bound":      {503, "864000", 24 * time.Hour},
		"without":               {429, "", 5 * time.Second},
		"nonsense":              {503, "soon", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Retry-After", tc.header)
				rw.WriteHeader(tc.status)
			})
			tenant := w.tenant()
			w.endpoint(tenant, r.URL)
			clock := newHands()
			w.engine(func(c *EngineConfig) { c.Now, c.Poll = clock.now, 10*time.Millisecond })
			w.publish(tenant, "render.completed")
			w.eventually("the first try is over", func() bool {
				ds := w.deliveries(tenant)
				return len(ds) == 1 && ds[0].Attempts == 1
			})
			wait := w.deliveries(tenant)[0].NextAt.Sub(w.attempts(tenant)[0].CreatedAt)
			if wait < tc.want || wait > tc.want+tc.want/10+time.Second {
				t.Errorf("it waits %v, want %v and a tenth more at most", wait, tc.want)
			}
		})
	}
}

// With a real clock and a receiver that wants a second's pause: that long nothing
// comes, then everything.
func TestRetry_afterForReal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int64
	r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			rw.Header().Set("Retry-After", "2")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	})
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	e := w.engine(func(c *EngineConfig) {
		c.Schedule = Schedule{Gaps: []time.Duration{0, 0, 0}, MaxRetryAfter: time.Minute}
	})
	w.publish(tenant, "render.completed")
	w.eventually("the first is answered with 429", func() bool { return e.Stats().Failed == 1 })
	w.publish(tenant, "render.failed")
	w.eventually("both arrive", func() bool { return e.Stats().Delivered == 2 })
	got := r.requests()
	if len(got) != 3 {
		t.Fatalf("%d requests", len(got))
	}
	if pause := got[1].at.Sub(got[0].at); pause < 2*time.Second {
		t.Errorf("it was left alone for %v, and wanted 2 s", pause)
	}
}

// What each answer makes of a delivery.
func TestRetry_answers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.engine(func(c *EngineConfig) { c.Schedule = Schedule{Gaps: []time.Duration{0, time.Hour}} })
	for _, tc := range []struct {
		status int
		state  string
		class  string
	}{
		{200, "delivered ", ""},
		{201, "delivered ", ""},
		{204, "delivered ", ""},
		{299, "delivered ", ""},
		{302, "pending ", ClassRedirect},
		{304, "pending ", ClassRedirect},
		{400, "pending ", ClassStatus},
		{404, "pending ", ClassStatus},
		{410, "failed gone", ClassGone},
		{429, "pending ", ClassThrottled},
		{500, "pending ", ClassStatus},
		{503, "pending ", ClassThrottled},
	} {
		tenant := w.tenant()
		r := w.newReceiver(answers(tc.status))
		w.endpoint(tenant, r.URL)
		w.publish(tenant, "render.completed")
		w.wantStates(strconv.Itoa(tc.status)+" makes it "+tc.state, tenant, map[string]int{tc.state: 1})
		if a := w.attempts(tenant); len(a) != 1 || a[0].ErrorClass != tc.class || *a[0].ResponseStatus != tc.status {
			t.Errorf("%d: attempts %+v", tc.status, a)
		}
		if n := len(r.requests()); n != 1 {
			t.Errorf("%d: %d requests: was the redirect followed?", tc.status, n)
		}
	}
	w.idle(e)
}

// Tests of how an endpoint fares.

type endpointRow struct {
	Status   Status     `db:"status"`
	Reason   string     `db:"status_reason"`
	Failures int        `db:"consecutive_failures"`
	First    *time.Time `db:"first_failure_at"`
	Warned   int        `db:"warned_percent"`
	Last     *int       `db:"last_status_code"`
}

func (w *world) row(endpoint id.Webhook) endpointRow {
	w.t.Helper()
	return rows[endpointRow](w, `SELECT status, status_reason, consecutive_failures, first_failure_at, warned_percent, last_status_code FROM tenant_webhooks WHERE id = $1`, endpoint)[0]
}

// told returns the types of the events about endpoints, of a tenant and of the
// platform, each with how often it was recorded.
func (w *world) told(tenant id.Tenant) string {
	w.t.Helper()
	type line struct{ Text string }
	var all []string
	for _, l := range rows[line](w, `SELECT type || ' ' || (payload->'metadata')::text AS text FROM tenant_events
		WHERE tenant_id = $1 AND type LIKE 'webhook.%' ORDER BY xid, seq`, tenant) {
		all = append(all, l.Text)
	}
	return strings.Join(all, "\n")
}

// Exactly the Nth failure in a row disables, not the one before; there are warnings on
// the way; the tenant and the platform are told.
func TestHealth_nthFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(500))
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `events = '{render.*}'`)
	e := w.engine(func(c *EngineConfig) { c.DisableAfter, c.DisableMinimum = 10, -1 })
	warned := []int{0, 0, 0, 0, 50, 50, 70, 70, 90}
	for n := 1; n < 10; n++ {
		w.publish(tenant, "render.completed")
		w.eventually("failure "+strconv.Itoa(n)+" is written down", func() bool { return w.row(endpoint).Failures == n })
		if got := w.row(endpoint); got.Status != Active || got.Warned != warned[n-1] {
			t.Fatalf("after %d failures: %+v", n, got)
		}
	}
	w.publish(tenant, "render.completed")
	w.eventually("the tenth disables it", func() bool { return w.row(endpoint).Status == Disabled })
	if got := w.row(endpoint); got.Failures != 10 || got.Reason != ReasonFailing {
		t.Errorf("%+v", got)
	}
	w.publish(tenant, "render.completed")
	w.wantStates("what waits is set aside, and what follows skipped", tenant, map[string]int{"skipped disabled": 11})
	want := strings.Join([]string{
		`webhook.failing {"percent": 50, "consecutive_failures": 5}`,
		`webhook.failing {"percent": 70, "consecutive_failures": 7}`,
		`webhook.failing {"percent": 90, "consecutive_failures": 9}`,
		`webhook.disabled {"reason": "failing", "consecutive_failures": 10}`,
	}, "\n")
	for _, to := range []id.Tenant{tenant, id.InternalTenant} {
		if diff := cmp.Diff(want, w.told(to)); diff != "" {
			t.Error(diff)
		}
	}
	if n := scalar[int](w, `SELECT count(*)::int FROM audit_log WHERE tenant_id = $1 AND action LIKE 'webhook.%' AND actor_id = 'webhooks'`, tenant); n != 4 {
		t.Errorf("%d audit records, want 4", n)
	}
	if n := e.Stats().Disabled; n != 1 {
		t.Errorf("%d endpoints disabled", n)
	}
}

// However many failures: not before the first of them is long enough ago.
func TestHealth_minimum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(500))
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `events = '{render.*}'`)
	clock := newHands()
	w.engine(func(c *EngineConfig) {
		c.Now, c.Poll, c.DisableAfter, c.Schedule = clock.now, 10*time.Millisecond, 3, Schedule{Gaps: []time.Duration{0}}
	})
	fail := func(n int) {
		w.publish(tenant, "render.completed")
		w.eventually("failure "+strconv.Itoa(n)+" is written down", func() bool { return w.row(endpoint).Failures == n })
	}
	for n := 1; n <= 5; n++ {
		fail(n)
	}
	if got := w.row(endpoint); got.Status != Active || got.Warned != 0 {
		t.Errorf("within minutes: %+v", got)
	}
	clock.move(23*time.Hour + 59*time.Minute)
	fail(6)
	if got := w.row(endpoint); got.Status != Active || got.Warned != 90 {
		t.Errorf("within 24 h: %+v", got)
	}
	clock.move(2 * time.Minute)
	fail(7)
	if got := w.row(endpoint); got.Status != Disabled {
		t.Errorf("after 24 h: %+v", got)
	}
}

// A success starts the count anew.
func TestHealth_successResets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(500, 500, 500, 500, 200, 500))
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `events = '{render.*}'`)
	w.engine(func(c *EngineConfig) {
		c.DisableAfter, c.DisableMinimum, c.Schedule = 5, -1, Schedule{Gaps: []time.Duration{0}}
	})
	for n, want := range []endpointRow{
		{Status: Active, Failures: 1, Last: new(500)},
		{Status: Active, Failures: 2, Last: new(500)},
		{Status: Active, Failures: 3, Warned: 50, Last: new(500)},
		{Status: Active, Failures: 4, Warned: 70, Last: new(500)},
		{Status: Active, Failures: 0, Last: new(200)},
		{Status: Active, Failures: 1, Last: new(500)},
	} {
		w.publish(tenant, "render.completed")
		w.eventually("request "+strconv.Itoa(n+1)+" is written down", func() bool {
			got := w.row(endpoint)
			if (got.First == nil) != (got.Failures == 0) {
				t.Errorf("%+v", got)
			}
			got.First = nil
			return cmp.Equal(want, got)
		})
	}
}

// 410 disables at once, whatever else.
func TestHealth_gone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(200, 410))
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `events = '{render.*}'`)
	w.engine(nil)
	w.publish(tenant, "render.completed")
	w.wantStates("the first arrives", tenant, map[string]int{"delivered ": 1})
	w.publish(tenant, "render.completed")
	w.wantStates("the second is given up", tenant, map[string]int{"delivered ": 1, "failed gone": 1})
	if got := w.row(endpoint); got.Status != Disabled || got.Reason != ReasonGone {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(w.told(tenant), `webhook.disabled {"reason": "gone"`) {
		t.Error("nobody is told")
	}
	w.publish(tenant, "render.completed")
	w.wantStates("the third is skipped", tenant, map[string]int{"delivered ": 1, "failed gone": 1, "skipped disabled": 1})
}

// The sum of a batch is that of its requests in their order.
func TestFareOf(t *testing.T) {
	t.Parallel()
	endpoint := id.New[id.Webhook]()
	o := func(status int) outcome {
		class, _ := judge(status)
		return outcome{job: job{claim: claim{EndpointID: endpoint}}, result: result{answer: outbound.Response{Status: status}, class: class}, kind: tried}
	}
	for _, tc := range []struct {
		statuses []int
		want     fare
	}{
		{[]int{200}, fare{reset: true, status: 200}},
		{[]int{500}, fare{failures: 1, status: 500}},
		{[]int{500, 502, 200}, fare{reset: true, status: 200}},
		{[]int{500, 200, 503, 504}, fare{failures: 2, reset: true, status: 504}},
		{[]int{410, 500}, fare{failures: 2, gone: true, status: 500}},
	} {
		var batch []outcome
		for _, s := range tc.statuses {
			batch = append(batch, o(s))
		}
		if diff := cmp.Diff(&tc.want, fareOf(batch)[endpoint], cmp.AllowUnexported(fare{})); diff != "" {
			t.Errorf("%v: %s", tc.statuses, diff)
		}
	}
	untried := o(500)
	untried.kind = notTried
	if got := fareOf(slices.Repeat([]outcome{untried}, 3)); len(got) != 0 {
		t.Errorf("what was not tried counts: %v", got)
	}
}
