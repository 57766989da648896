package webhook

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/id"
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
