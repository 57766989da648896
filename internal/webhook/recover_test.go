package webhook

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

func (w *world) service() *Service {
	return NewService(w.db, Config{Keys: w.keys, CheckURL: func(context.Context, string, string) error { return nil }})
}

func (w *world) ctx() context.Context { return access.AsSystem(w.t.Context(), "test") }

// happened writes events of a tenant that the outbox is past already, an hour old.
func (w *world) happened(tenant id.Tenant, n int, eventType string) {
	w.t.Helper()
	w.exec(`INSERT INTO tenant_events (id, tenant_id, type, payload, created_at)
		SELECT gen_random_uuid(), $1, $2, '{"n": 1}', NOW() - INTERVAL '1 hour' + n * INTERVAL '1 ms' FROM generate_series(1, $3::int) AS n`, tenant, eventType, n)
	w.exec(`UPDATE webhook_outbox SET done = pg_current_snapshot(), target = NULL, xid = NULL, seq = NULL`)
}

// undelivered makes deliveries in a state of all events of a tenant.
func (w *world) undelivered(tenant id.Tenant, endpoint id.Webhook, state string) {
	w.t.Helper()
	w.exec(`INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state, reason, attempts, next_retry_at, delivered_at, claimed_until, expires_at, created_at)
		SELECT gen_random_uuid(), tenant_id, $2, id, type, $3, 'x', 10, CASE $3 WHEN 'pending' THEN NOW() + INTERVAL '1 hour' END,
			CASE $3 WHEN 'delivered' THEN NOW() END, CASE $3 WHEN 'claimed' THEN NOW() + INTERVAL '1 hour' END, NOW(), created_at
		FROM tenant_events WHERE tenant_id = $1`, tenant, endpoint, state)
}

func wantFault(t *testing.T, err error, code string) {
	t.Helper()
	if f := fault.As(err); err == nil || f.Code != code && (len(f.Fields) == 0 || f.Fields[0].Code != code) {
		t.Errorf("%v, want %s", err, code)
	}
}

// What was skipped while an endpoint was paused arrives when it is recovered, and so
// does what failed; each once, the schedule from its begin.
func TestRecover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, r.URL)
	other, _ := w.endpoint(tenant, "http://127.0.0.1:1", `status = 'paused'`)
	w.happened(tenant, 3, "render.failed")
	w.undelivered(tenant, endpoint, "failed")
	w.undelivered(tenant, other, "failed")
	w.engine(nil)
	since := time.Now().Add(-2 * time.Hour)
	in := Range{TenantID: tenant, EndpointID: endpoint, Since: since}
	if _, err := s.Pause(w.ctx(), StatusParams{TenantID: tenant, ID: endpoint}); err != nil {
		t.Fatal(err)
	}
	w.publish(tenant, "render.completed", "job.completed")
	w.eventually("they are skipped", func() bool { return w.states(tenant)["skipped paused"] >= 4 })
	_, err := s.Recover(w.ctx(), RecoverParams{Range: in})
	wantFault(t, err, "webhook_paused")
	_, err = s.Replay(w.ctx(), in)
	wantFault(t, err, "webhook_paused")
	_, err = s.Test(w.ctx(), tenant, endpoint)
	wantFault(t, err, "webhook_paused")
	if _, err := s.Enable(w.ctx(), StatusParams{TenantID: tenant, ID: endpoint}); err != nil {
		t.Fatal(err)
	}
	in.Type = "render.*"
	p, err := s.Recover(w.ctx(), RecoverParams{Range: in})
	if err != nil || p.Deliveries != 4 || p.More || p.Through.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	w.eventually("they arrive", func() bool {
		return scalar[int](w, `SELECT count(*) FROM tenant_webhook_deliveries WHERE webhook_id = $1 AND state = 'delivered' AND event_type IN ('render.failed', 'render.completed')`, endpoint) == 4
	})
	if n := scalar[int](w, `SELECT count(*) FROM tenant_webhook_deliveries WHERE webhook_id = $1 AND event_type = 'render.failed' AND attempts = 11 AND attempts_before = 10`, endpoint); n != 3 {
		t.Errorf("%d have begun anew", n)
	}
	if n := scalar[int](w, `SELECT count(*) FROM tenant_webhook_deliveries WHERE webhook_id = $1 AND state = 'failed'`, other); n != 3 {
		t.Error("another endpoint's were recovered")
	}
	if p, err = s.Recover(w.ctx(), RecoverParams{Range: in}); err != nil || p.Deliveries != 0 {
		t.Errorf("once more: %+v, %v", p, err)
	}
	if n := scalar[int](w, `SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'webhook.recovered'`, tenant); n != 1 {
		t.Errorf("%d records", n)
	}
	in.Since = time.Now().Add(-31 * 24 * time.Hour)
	_, err = s.Recover(w.ctx(), RecoverParams{Range: in})
	wantFault(t, err, "out_of_range")
}

// Many are recovered in pieces, and none twice.
func TestRecover_pieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, "http://127.0.0.1:1")
	w.happened(tenant, MaxPiece+10, "render.failed")
	w.undelivered(tenant, endpoint, "skipped")
	in := RecoverParams{Range: Range{TenantID: tenant, EndpointID: endpoint, Since: time.Now().Add(-2 * time.Hour)}}
	p, err := s.Recover(w.ctx(), in)
	if err != nil || p.Deliveries != MaxPiece || !p.More {
		t.Fatalf("%+v, %v", p, err)
	}
	in.Since = p.Through
	if p, err = s.Recover(w.ctx(), in); err != nil || p.Deliveries != 10 || p.More {
		t.Fatalf("%+v, %v", p, err)
	}
	if diff := cmp.Diff(map[string]int{"pending ": MaxPiece + 10}, w.states(tenant)); diff != "" {
		t.Error(diff)
	}
	// And all is given up.
	all := Range{TenantID: tenant, EndpointID: endpoint}
	if p, err = s.Cancel(w.ctx(), all); err != nil || p.Deliveries != MaxPiece || !p.More {
		t.Fatalf("%+v, %v", p, err)
	}
	all.Since = p.Through
	if p, err = s.Cancel(w.ctx(), all); err != nil || p.Deliveries != 10 || p.More {
		t.Fatalf("%+v, %v", p, err)
	}
}

// What an endpoint was never sent is: of the types it wants, of its project, once,
// and not what it has a delivery of, whatever became of that.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant, stranger := w.tenant(), w.tenant()
	s := w.service()
	w.happened(tenant, 2, "render.completed")
	endpoint, _ := w.endpoint(tenant, r.URL, `events = '{render.*,job.done}'`)
	w.undelivered(tenant, endpoint, "failed")
	w.happened(tenant, 3, "render.completed")
	w.happened(tenant, 1, "job.done")
	w.happened(tenant, 1, "job.failed")
	w.happened(tenant, 1, TypeTest)
	w.happened(stranger, 1, "render.completed")
	w.engine(nil)
	in := Range{TenantID: tenant, EndpointID: endpoint, Since: time.Now().Add(-2 * time.Hour)}
	p, err := s.Replay(w.ctx(), in)
	if err != nil || p.Deliveries != 4 || p.More {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = s.Replay(w.ctx(), in); err != nil || p.Deliveries != 0 {
		t.Errorf("once more: %+v, %v", p, err)
	}
	w.wantStates("they arrive", tenant, map[string]int{"delivered ": 4, "failed x": 2})
	if n := len(r.requests()); n != 4 {
		t.Errorf("%d requests", n)
	}
}

// An event that is about to be turned into deliveries, and replayed at the same time,
// arrives once.
func TestReplay_racesTheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, r.URL)
	w.engine(nil)
	since := time.Now().Add(-time.Hour)
	const n = 50
	for range n {
		w.publish(tenant, "render.completed")
		if _, err := s.Replay(w.ctx(), Range{TenantID: tenant, EndpointID: endpoint, Since: since, Type: "render.*"}); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all arrive", func() bool {
		return scalar[int](w, `SELECT count(*) FROM tenant_webhook_deliveries WHERE tenant_id = $1 AND state = 'delivered' AND event_type = 'render.completed'`, tenant) == n
	})
	if got := scalar[int](w, `SELECT count(*) FROM tenant_webhook_attempts WHERE tenant_id = $1 AND delivery_id IN
		(SELECT id FROM tenant_webhook_deliveries WHERE tenant_id = $1 AND event_type = 'render.completed')`, tenant); got != n {
		t.Errorf("%d requests for %d events", got, n)
	}
}

func TestResend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, r.URL)
	w.engine(nil)
	w.publish(tenant, "render.completed")
	w.wantStates("it arrives", tenant, map[string]int{"delivered ": 1})
	first := w.deliveries(tenant)[0]
	d, err := s.Resend(w.ctx(), tenant, endpoint, first.ID)
	if err != nil || d.State != Pending || d.ID != first.ID {
		t.Fatalf("%+v, %v", d, err)
	}
	w.eventually("it arrives again", func() bool {
		d, err := s.Delivery(w.ctx(), tenant, endpoint, first.ID)
		return err == nil && d.State == Delivered && d.Delivery.Attempts == 2 && len(d.Attempts) == 2
	})
	var ids []string
	for _, q := range r.requests() {
		if q.id == first.EventID.String() {
			ids = append(ids, q.id)
		}
	}
	if len(ids) != 2 {
		t.Errorf("it was sent %d times with its id", len(ids))
	}
	for name, tc := range map[string]struct{ change, code string }{
		"under way":   {`UPDATE tenant_webhook_deliveries SET state = 'claimed', delivered_at = NULL, claimed_until = NOW() + INTERVAL '1 hour' WHERE id = $1`, "delivery_under_way"},
		"erased":      {`UPDATE tenant_webhook_deliveries SET state = 'failed', claimed_until = NULL, event_id = gen_random_uuid() WHERE id = $1`, "event_erased"},
		"not waiting": {`UPDATE tenant_webhook_deliveries SET state = 'failed', claimed_until = NULL WHERE id = $1`, "delivery_settled"},
	} {
		w.exec(`UPDATE tenant_webhook_deliveries SET state = 'delivered', delivered_at = NOW(), claimed_until = NULL WHERE id = $1 AND state <> 'delivered'`, first.ID)
		w.exec(`UPDATE tenant_webhook_deliveries SET delivered_at = NULL, state = 'failed' WHERE id = $1`, first.ID)
		w.exec(tc.change, first.ID)
		do := s.Resend
		if name == "not waiting" {
			do = s.CancelOne
		}
		_, err := do(w.ctx(), tenant, endpoint, first.ID)
		wantFault(t, err, tc.code)
	}
	_, err = s.Resend(w.ctx(), tenant, endpoint, id.New[id.Delivery]())
	wantFault(t, err, "delivery_not_found")
}

// Who writes outcomes down has deliveries in hand when it comes to their endpoints; who
// resends one waits for that delivery, and keeps nobody from its endpoint.
func TestResend_noCircle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, "http://127.0.0.1:1")
	w.happened(tenant, 1, "render.completed")
	w.undelivered(tenant, endpoint, "failed")
	delivery := w.deliveries(tenant)[0].ID
	resent := make(chan error, 1)
	err := w.db.AsOperator(t.Context(), func(tx pg.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE tenant_webhook_deliveries SET last_status = 500 WHERE id = $1`, delivery); err != nil {
			return err
		}
		go func() {
			_, err := s.Resend(w.ctx(), tenant, endpoint, delivery)
			resent <- err
		}()
		w.eventually("it waits", func() bool {
			return scalar[int](w, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
		})
		if _, err := tx.Exec(t.Context(), `SET LOCAL lock_timeout = '500ms'`); err != nil { // less than it takes to find a circle
			return err
		}
		_, err := tx.Exec(t.Context(), lockEndpoints, []id.Webhook{endpoint})
		return err
	})
	if err := errors.Join(err, <-resent); err != nil {
		t.Error(err)
	}
}

// Two that replay the same say together what was made, and make nothing twice.
func TestReplay_twice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, "http://127.0.0.1:1", `events = '{render.*}'`)
	const n = 500
	w.happened(tenant, n, "render.completed")
	made := make(chan int, 4)
	for range cap(made) {
		go func() {
			p, err := s.Replay(w.ctx(), Range{TenantID: tenant, EndpointID: endpoint, Since: time.Now().Add(-2 * time.Hour)})
			if err != nil {
				t.Error(err)
			}
			made <- p.Deliveries
		}()
	}
	total := 0
	for range cap(made) {
		total += <-made
	}
	if total != n || len(w.deliveries(tenant)) != n {
		t.Errorf("%d made, %d there, want %d", total, len(w.deliveries(tenant)), n)
	}
}

// One that is cancelled is not sent, and can be sent after all.
func TestCancelOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fail atomic.Bool
	fail.Store(true)
	r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
		if fail.Load() {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, r.URL)
	w.engine(func(c *EngineConfig) { c.Schedule = Schedule{Gaps: []time.Duration{0, time.Hour}} })
	w.publish(tenant, "render.completed")
	w.eventually("it failed once", func() bool {
		d := w.deliveries(tenant)
		return len(d) == 1 && d[0].State == Pending && d[0].Attempts == 1
	})
	delivery := w.deliveries(tenant)[0].ID
	d, err := s.CancelOne(w.ctx(), tenant, endpoint, delivery)
	if err != nil || d.State != Cancelled || d.Reason != WhyCancelled || d.NextAt != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	fail.Store(false)
	p, err := s.Recover(w.ctx(), RecoverParams{
		Range: Range{TenantID: tenant, EndpointID: endpoint, Since: time.Now().Add(-time.Hour), Type: "render.completed"}, States: []State{Cancelled},
	})
	if err != nil || p.Deliveries != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	w.eventually("it arrives", func() bool {
		d, err := s.Delivery(w.ctx(), tenant, endpoint, delivery)
		return err == nil && d.State == Delivered
	})
}

// A test event goes through the pipeline, to the endpoint it is meant for, whatever
// that wants, and to no other.
func TestTest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, others := w.newReceiver(nil), w.newReceiver(nil)
	tenant := w.tenant()
	s := w.service()
	endpoint, _ := w.endpoint(tenant, mine.URL, `events = '{render.*}'`)
	w.endpoint(tenant, others.URL)
	w.engine(nil)
	d, err := s.Test(w.ctx(), tenant, endpoint)
	if err != nil || d.EventType != TypeTest || d.State != Pending {
		t.Fatalf("%+v, %v", d, err)
	}
	w.wantStates("it arrives", tenant, map[string]int{"delivered ": 1})
	w.publish(tenant, "job.done")
	w.wantStates("the outbox is past it", tenant, map[string]int{"delivered ": 2})
	if got := mine.requests(); len(got) != 1 || got[0].id != d.EventID.String() {
		t.Errorf("%d requests", len(got))
	}
	if got := others.requests(); len(got) != 1 || got[0].id == d.EventID.String() {
		t.Errorf("%d requests to the other", len(got))
	}
}

// Who may not change an endpoint, or is another tenant's, does none of it.
func TestRecover_strangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	tenant, other := w.tenant(), w.tenant()
	endpoint, _ := w.endpoint(tenant, "http://127.0.0.1:1")
	w.happened(tenant, 1, "render.completed")
	w.undelivered(tenant, endpoint, "failed")
	delivery := w.deliveries(tenant)[0].ID
	reader := access.With(t.Context(), access.Principal{Type: access.Service, ID: "s", Permissions: access.NewSet(access.WebhooksRead)})
	since := time.Now().Add(-2 * time.Hour)
	for name, try := range map[string]func(ctx context.Context, tenant id.Tenant) error{
		"resend": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.Resend(ctx, tenant, endpoint, delivery)
			return err
		},
		"cancel one": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.CancelOne(ctx, tenant, endpoint, delivery)
			return err
		},
		"recover": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.Recover(ctx, RecoverParams{Range: Range{TenantID: tenant, EndpointID: endpoint, Since: since}})
			return err
		},
		"replay": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.Replay(ctx, Range{TenantID: tenant, EndpointID: endpoint, Since: since})
			return err
		},
		"cancel": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.Cancel(ctx, Range{TenantID: tenant, EndpointID: endpoint})
			return err
		},
		"test": func(ctx context.Context, tenant id.Tenant) error {
			_, err := s.Test(ctx, tenant, endpoint)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantFault(t, try(w.ctx(), other), "webhook_not_found")
			wantFault(t, try(reader, tenant), "permission_denied")
		})
	}
	if diff := cmp.Diff(map[string]int{"failed x": 1}, w.states(tenant)); diff != "" {
		t.Error(diff)
	}
}

// Every replica hears of what there is to do.
func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL)
	e := w.engine(func(c *EngineConfig) { c.Poll = time.Hour }) // nothing but what it is told
	w.eventually("it has begun", func() bool { return e.Stats().Sweeps > 0 })
	w.happened(tenant, 1, "render.completed")
	w.undelivered(tenant, endpoint, "pending")
	w.exec(`UPDATE tenant_webhook_deliveries SET next_retry_at = NOW(), expires_at = NOW() + INTERVAL '1 day' WHERE tenant_id = $1`, tenant)
	e.Apply([]changefeed.Change{{Kind: "webhook", TenantID: tenant}, {Kind: "api_key", TenantID: tenant, ID: endpoint.UUID()}, {Kind: "webhook", TenantID: tenant, ID: endpoint.UUID()}})
	w.wantStates("it arrives", tenant, map[string]int{"delivered ": 1})
}
