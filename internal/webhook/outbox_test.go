package webhook

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// hold writes an event in a transaction that commits, or not, when it is told to.
func (w *world) hold(tenant id.Tenant) (e id.Event, end func(commit bool)) {
	e = id.New[id.Event]()
	written, decided, ended := make(chan struct{}), make(chan bool), make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.db.InTenant(context.Background(), tenant, func(tx pg.Tx) error {
			b := &pg.Batch{}
			event.Queue(b, event.Event{ID: e, TenantID: tenant, Type: "render.completed", Payload: json.RawMessage(`{}`)})
			if err := pg.Send(context.Background(), tx, b); err != nil {
				w.t.Error(err)
			}
			pg.Mark(tx, event.Committed)
			close(written)
			if !<-decided {
				return context.Canceled
			}
			return nil
		})
	}()
	<-written
	return e, func(commit bool) {
		decided <- commit
		<-ended
	}
}

// An event whose transaction commits late holds nobody up, and is sent when it does;
// one that is rolled back is not.
func TestOutbox_lateCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	w.engine(nil)
	late, commit := w.hold(tenant)
	_, rollback := w.hold(tenant)
	first := w.publish(tenant, "render.completed", "render.failed")
	w.eventually("what committed first arrives", func() bool { return len(r.ids()) == 2 })
	commit(true)
	rollback(false)
	w.eventually("what committed late arrives", func() bool { return len(r.ids()) == 3 })
	last := w.publish(tenant, "render.completed")
	w.eventually("the last arrives", func() bool { return len(r.ids()) == 4 })
	want := []string{late.String(), first[0].String(), first[1].String(), last[0].String()}
	slices.Sort(want)
	if diff := cmp.Diff(want, r.ids()); diff != "" {
		t.Error(diff)
	}
}

// Transactions of many sizes that overlap and end in any order, two replicas: every
// event that was committed is read once, by one of them, and sent once.
func TestOutbox_exactlyOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	var tenants []id.Tenant
	for range 5 {
		tenants = append(tenants, w.tenant())
		w.endpoint(tenants[len(tenants)-1], r.URL)
	}
	one, two := w.engine(nil), w.engine(nil)
	var mu sync.Mutex
	var want []string
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			for i := range 12 {
				tenant := tenants[(n+i)%len(tenants)]
				if n == 0 && i%6 == 3 { // whole pages, and one more
					got := w.publish(tenant, slices.Repeat([]string{"render.completed"}, pageSize+i/6)...)
					mu.Lock()
					for _, e := range got {
						want = append(want, e.String())
					}
					mu.Unlock()
				}
				switch rand.IntN(3) {
				case 0:
					e, end := w.hold(tenant)
					commit := rand.IntN(3) > 0
					<-time.After(time.Duration(rand.IntN(40)) * time.Millisecond) // how long the transaction lasts
					end(commit)
					if commit {
						mu.Lock()
						want = append(want, e.String())
						mu.Unlock()
					}
				default:
					got := w.publish(tenant, "render.completed")
					mu.Lock()
					want = append(want, got[0].String())
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	w.eventually("all arrive", func() bool { return len(r.requests()) >= len(want) })
	w.eventually("all are written down", func() bool {
		return one.Stats().Delivered+two.Stats().Delivered == uint64(len(want))
	})
	slices.Sort(want)
	if diff := cmp.Diff(want, r.ids()); diff != "" {
		t.Error(diff)
	}
	if got := one.Stats().Events + two.Stats().Events; got != uint64(len(want)) {
		t.Errorf("%d events were read of %d", got, len(want))
	}
}

// Which endpoints an event goes to.
func TestOutbox_whom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant, other := w.tenant(), w.tenant()
	project := id.New[id.Project]()
	w.exec(`INSERT INTO tenant_projects (id, tenant_id, name, slug) VALUES ($1, $2, 'P', 'pp')`, project, tenant)
	all, _ := w.endpoint(tenant, r.URL+"/all")
	renders, _ := w.endpoint(tenant, r.URL+"/renders", `events = '{render.*,user.created}'`)
	ofProject, _ := w.endpoint(tenant, r.URL+"/project", `project_id = '`+project.UUID()+`'`)
	paused, _ := w.endpoint(tenant, r.URL+"/paused", `status = 'paused'`)
	disabled, _ := w.endpoint(tenant, r.URL+"/disabled", `status = 'disabled', disabled_at = NOW()`)
	w.endpoint(other, r.URL+"/other")
	w.engine(nil)
	events := w.publish(tenant, "render.completed", "renderer.started", TypeTest, "user.created")
	inProject := id.New[id.Event]()
	w.exec(`INSERT INTO tenant_events (id, tenant_id, project_id, type, created_at) VALUES ($1, $2, $3, 'render.completed', clock_timestamp())`, inProject, tenant, project)
	w.eventually("all is done", func() bool {
		n := 0
		for _, d := range w.deliveries(tenant) {
			if d.State == Delivered || d.State == Skipped {
				n++
			}
		}
		return n == 4+3+1+4+4
	})
	got := map[string]string{}
	for _, d := range w.deliveries(tenant) {
		got[d.EndpointID.String()+" "+d.EventID.String()] = string(d.State) + d.Reason
	}
	want := map[string]string{}
	expect := func(endpoint id.Webhook, state string, events ...id.Event) {
		for _, e := range events {
			want[endpoint.String()+" "+e.String()] = state
		}
	}
	expect(all, "delivered", events[0], events[1], events[3], inProject)
	expect(renders, "delivered", events[0], events[3], inProject)
	expect(ofProject, "delivered", inProject)
	expect(paused, "skippedpaused", events[0], events[1], events[3], inProject)
	expect(disabled, "skippeddisabled", events[0], events[1], events[3], inProject)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An event that has its deliveries already, as after a restore of the outbox's place,
// gets no others and is not sent again.
func TestOutbox_turnedBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	before := scalar[string](w, `SELECT done::text FROM webhook_outbox`)
	e := w.engine(nil)
	w.publish(tenant, "render.completed", "render.failed")
	w.eventually("both are delivered", func() bool { return e.Stats().Delivered == 2 })
	w.exec(`UPDATE webhook_outbox SET done = $1::pg_snapshot`, before)
	w.publish(tenant, "render.completed")
	w.eventually("the third is delivered", func() bool { return e.Stats().Delivered == 3 })
	if n := len(r.requests()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if s := e.Stats(); s.InFlight != 0 {
		t.Errorf("%d slots are taken", s.InFlight)
	}
}

// A place from another server, as a restored dump brings it, is not waited for: what
// happens from now on is sent, and what came with the dump is not.
func TestOutbox_restored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	w.publish(tenant, "render.completed")
	w.exec(`UPDATE webhook_outbox SET done = '4000000000:4000000007:4000000003'`)
	e := w.engine(nil)
	w.eventually("the place is of this server", func() bool {
		return scalar[bool](w, `SELECT pg_snapshot_xmax(done) <= pg_snapshot_xmax(pg_current_snapshot()) FROM webhook_outbox`)
	})
	want := w.publish(tenant, "render.failed")[0].String()
	w.eventually("it is sent", func() bool { return e.Stats().Delivered == 1 })
	if diff := cmp.Diff([]string{want}, r.ids()); diff != "" {
		t.Error(diff)
	}
}

// The time in the body is when it happened, if its publisher says so; the same in
// every try.
func TestOutbox_occurred(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(answers(500, 200))
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	e := w.engine(func(c *EngineConfig) { c.Schedule = Schedule{Gaps: []time.Duration{0, 0}} })
	w.exec(`INSERT INTO tenant_events (id, tenant_id, type, payload, occurred_at, created_at)
		VALUES ($1, $2, 'render.completed', '{"frame": "{1}"}', '2026-01-02 03:04:05.6+02', clock_timestamp())`, id.New[id.Event](), tenant)
	w.eventually("it is delivered", func() bool { return e.Stats().Delivered == 1 })
	for _, g := range r.requests() {
		if want := `{"type":"render.completed","timestamp":"2026-01-02T01:04:05.600000Z","data":{"frame": "{1}"}}`; g.body != want {
			t.Errorf("body %s", g.body)
		}
	}
	if n := len(r.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}
