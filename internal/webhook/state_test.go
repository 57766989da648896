package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// states counts a tenant's deliveries by state and reason.
func (w *world) states(tenant id.Tenant) map[string]int {
	w.t.Helper()
	n := map[string]int{}
	for _, d := range w.deliveries(tenant) {
		n[string(d.State)+" "+d.Reason]++
	}
	return n
}

func (w *world) wantStates(what string, tenant id.Tenant, want map[string]int) {
	w.t.Helper()
	var got map[string]int
	w.eventually(what, func() bool {
		got = w.states(tenant)
		return cmp.Equal(want, got)
	})
}

// While a tenant is suspended its deliveries are held: what happens then, and what
// was waiting before. They are sent when it is resumed, but for those too old.
func TestHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `max_in_flight = 1`)
	// Something is due from before, as when the only replica was down.
	w.publish(tenant, "render.completed")
	w.exec(`UPDATE tenants SET status = 'suspended', suspended_at = NOW(), suspension_reason = 'x', status_before_suspension = 'active' WHERE id = $1`, tenant)
	w.exec(`INSERT INTO tenant_webhook_deliveries (tenant_id, webhook_id, event_id, event_type, next_retry_at, expires_at, created_at)
		SELECT tenant_id, $2, id, type, NOW(), NOW() + INTERVAL '1 hour', created_at FROM tenant_events WHERE tenant_id = $1`, tenant, endpoint)
	w.engine(nil)
	w.publish(tenant, "render.failed")
	w.wantStates("all is held", tenant, map[string]int{"held suspended": 3})
	w.exec(`UPDATE tenant_webhook_deliveries SET expires_at = NOW() WHERE tenant_id = $1 AND event_type = 'render.failed'`, tenant)
	if n := len(r.requests()); n != 0 {
		t.Errorf("%d requests for a suspended tenant", n)
	}
	w.exec(`UPDATE tenants SET status = 'active', suspended_at = NULL, suspension_reason = NULL, status_before_suspension = NULL WHERE id = $1`, tenant)
	w.wantStates("what is not too old is sent", tenant, map[string]int{"delivered ": 2, "failed expired": 1})
}

// The strictest status of the tenant and of those above it counts.
func TestHeld_ancestor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	reseller, tenant := w.tenant(), id.New[id.Tenant]()
	w.exec(`INSERT INTO tenants (id, slug, name, parent_id, ancestors) VALUES ($1, $2, 'T', $3, ARRAY[$3::uuid])`, tenant, "t-"+tenant.Hex(), reseller)
	w.endpoint(tenant, r.URL)
	w.exec(`UPDATE tenants SET status = 'suspended', suspended_at = NOW(), suspension_reason = 'x', status_before_suspension = 'active' WHERE id = $1`, reseller)
	w.engine(nil)
	w.publish(tenant, "render.completed")
	w.wantStates("it is held", tenant, map[string]int{"held suspended": 1})
	w.exec(`UPDATE tenants SET status = 'archived', suspended_at = NULL, suspension_reason = NULL, status_before_suspension = NULL, archived_at = NOW() WHERE id = $1`, reseller)
	w.wantStates("it is cancelled", tenant, map[string]int{"cancelled archived": 1})
	w.publish(tenant, "render.completed")
	w.publish(w.tenant(), "render.completed")
	w.wantStates("nothing is made of what happens then", tenant, map[string]int{"cancelled archived": 1})
}

// What waits for an endpoint that is not sent to any more is set aside, all of it.
func TestSetAside(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ change, want string }{
		"paused":   {`UPDATE tenant_webhooks SET status = 'paused' WHERE id = $1`, "skipped paused"},
		"disabled": {`UPDATE tenant_webhooks SET status = 'disabled', disabled_at = NOW() WHERE id = $1`, "skipped disabled"},
		"deleted":  {`DELETE FROM tenant_webhooks WHERE id = $1`, "cancelled deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tenant := w.tenant()
			endpoint, _ := w.endpoint(tenant, "http://127.0.0.1:1")
			const n = 2*asideSize + 7
			w.backlog(tenant, endpoint, n, time.Hour)
			w.backlog(tenant, endpoint, 1, 0)
			w.exec(tc.change, endpoint)
			w.engine(nil)
			w.wantStates("all is set aside", tenant, map[string]int{tc.want: n + 1})
		})
	}
}

// A delivery whose event was erased is not sent.
func TestErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL)
	w.backlog(tenant, endpoint, 3, 0)
	w.engine(nil)
	w.wantStates("all is cancelled", tenant, map[string]int{"cancelled erased": 3})
	if n := len(r.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// An event that is erased between two tries is not sent again.
func TestErased_betweenTries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	w.engine(func(c *EngineConfig) { c.Schedule = Schedule{Gaps: []time.Duration{0, time.Hour}} })
	w.publish(tenant, "render.completed", "render.completed")
	w.eventually("each was tried once", func() bool { return len(w.attempts(tenant)) == 2 })
	var erased int
	err := w.db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT landlord_erase_events($1, NOW(), 10)`, tenant).Scan(&erased)
	})
	if err != nil || erased != 2 {
		t.Fatalf("%d were erased, %v", erased, err)
	}
	w.exec(`UPDATE tenant_webhook_deliveries SET next_retry_at = NOW() WHERE tenant_id = $1`, tenant)
	w.wantStates("all is cancelled", tenant, map[string]int{"cancelled erased": 2})
	if n := len(r.requests()); n != 2 {
		t.Errorf("%d requests, want one each", n)
	}
}

// A month that is dropped takes along what is under way and what waits in it; what
// comes after is sent.
func TestDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	came, answer := make(chan struct{}, 10), make(chan struct{})
	r := w.newReceiver(func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-answer
	})
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL, `max_in_flight = 1`)
	w.engine(nil)
	w.publish(tenant, "render.completed", "render.completed", "render.completed")
	<-came
	w.wantStates("the others wait", tenant, map[string]int{"claimed ": 1, "pending ": 2})
	// The month is the present one, so the function that drops those that are over
	// would not.
	owner, err := pg.Open(t.Context(), pg.Config{URL: w.urls.Owner})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	for _, table := range []string{"tenant_events", "tenant_webhook_deliveries"} {
		if err := owner.AsOperator(t.Context(), func(tx pg.Tx) error {
			if _, err := tx.Exec(t.Context(), `DROP TABLE `+table+`_`+time.Now().UTC().Format("y2006m01")); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), `SELECT landlord_make_month_partition($1, CURRENT_DATE)`, table)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	close(answer)
	w.eventually("the try under way is logged", func() bool { return len(w.attempts(tenant)) == 1 })
	w.publish(tenant, "render.started")
	w.wantStates("what came after is sent", tenant, map[string]int{"delivered ": 1})
	if n := len(r.requests()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	if failures := scalar[int](w, `SELECT consecutive_failures FROM tenant_webhooks WHERE id = $1`, endpoint); failures != 0 {
		t.Errorf("the endpoint has %d failures", failures)
	}
}

// backlog makes deliveries of events that are no more, due in a while.
func (w *world) backlog(tenant id.Tenant, endpoint id.Webhook, n int, in time.Duration) {
	w.t.Helper()
	const piece = 20_000
	for ; n > 0; n -= piece { // each within what one operation may take on a busy machine
		w.exec(`INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, next_retry_at, expires_at, created_at)
		SELECT gen_random_uuid(), $1, $2, gen_random_uuid(), 'render.completed', NOW() + $4::interval, NOW() + INTERVAL '3 days', clock_timestamp()
		FROM generate_series(1, $3::int)`, tenant, endpoint, min(n, piece), in)
	}
}
