package webhook

import (
	"bufio"
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/migrations"
)

// An endpoint that does not answer keeps its own waiting, and nobody else: while not
// one request to it ends, everything of the others arrives. With a tenant whose many
// endpoints are all like that, too.
func TestFault_neighbour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	stuck := w.newReceiver(func(http.ResponseWriter, *http.Request) { <-release })
	good := w.newReceiver(nil)
	noisy := w.tenant()
	for range 6 {
		w.endpoint(noisy, stuck.URL)
	}
	var healthy []id.Tenant
	for range 3 {
		healthy = append(healthy, w.tenant())
		w.endpoint(healthy[len(healthy)-1], good.URL)
	}
	e := w.engine(func(c *EngineConfig) { c.InFlight, c.TenantInFlight = 16, 12 })
	var want []string
	for range 20 {
		w.publish(noisy, slices.Repeat([]string{"render.completed"}, 10)...)
		for _, tenant := range healthy {
			want = append(want, w.publish(tenant, "render.completed")[0].String())
		}
	}
	w.eventually("all of the healthy arrives", func() bool { return len(good.requests()) == len(want) })
	slices.Sort(want)
	if diff := cmp.Diff(want, good.ids()); diff != "" {
		t.Error(diff)
	}
	if n := len(stuck.requests()); n != 12 {
		t.Errorf("the stuck endpoints have %d requests, want as many as a tenant may have: 12", n)
	}
	close(release)
	w.eventually("the rest arrives when it answers", func() bool { return e.Stats().Delivered == uint64(len(want)+6*200) })
}

// A process that is stopped: its kernel takes connections, and nobody answers.
func TestFault_stoppedReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	tenant := w.tenant()
	w.endpoint(tenant, "http://"+l.Addr().String())
	w.engine(func(c *EngineConfig) {
		c.Timeout, c.Schedule = 300*time.Millisecond, Schedule{Gaps: []time.Duration{0, time.Hour}}
	})
	w.publish(tenant, "render.completed")
	w.wantStates("it is given up on for now", tenant, map[string]int{"pending ": 1})
	w.eventually("the try is in the log", func() bool {
		a := w.attempts(tenant)
		return len(a) == 1 && a[0].ErrorClass == "timeout" && a[0].ResponseStatus == nil && a[0].ConnectMicros != nil
	})
}

// Two replicas drain one queue: each delivery is sent by one of them, and together
// they keep to what the endpoint takes at a time.
func TestFault_twoReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var now atomic.Int64
	var mu sync.Mutex
	var most int64
	r := w.newReceiver(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		mu.Lock()
		most = max(most, n)
		mu.Unlock()
		<-time.After(5 * time.Millisecond) // the receiver's work
	})
	tenant := w.tenant()
	w.endpoint(tenant, r.URL, `max_in_flight = 4`)
	one, two := w.engine(nil), w.engine(nil)
	w.eventually("they know of each other", func() bool { return one.Stats().Senders == 2 && two.Stats().Senders == 2 })
	const n = 400
	var want []string
	for _, e := range w.publish(tenant, slices.Repeat([]string{"render.completed"}, n)...) {
		want = append(want, e.String())
	}
	w.eventually("all is delivered", func() bool { return one.Stats().Delivered+two.Stats().Delivered == n })
	slices.Sort(want)
	if diff := cmp.Diff(want, r.ids()); diff != "" {
		t.Error(diff)
	}
	if one.Stats().Delivered == 0 || two.Stats().Delivered == 0 {
		t.Errorf("one replica did it all: %d and %d", one.Stats().Delivered, two.Stats().Delivered)
	}
	mu.Lock()
	defer mu.Unlock()
	if most > 4 {
		t.Errorf("%d requests at a time to an endpoint that takes 4", most)
	}
}

// What a dead replica had claimed is sent by another when the lease is over, and not
// before.
func TestFault_lease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, r.URL)
	clock := newHands()
	event := w.publish(tenant, "render.completed")[0]
	w.exec(`UPDATE webhook_outbox SET done = pg_current_snapshot()`)
	w.exec(`INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state, claimed_until, expires_at, created_at)
		SELECT $3, tenant_id, $2, id, type, 'claimed', $4, NOW() + INTERVAL '1 day', created_at FROM tenant_events WHERE tenant_id = $1`,
		tenant, endpoint, deliveryID(event, endpoint), clock.now().Add(time.Minute))
	e := w.engine(func(c *EngineConfig) { c.Now, c.Poll = clock.now, 10*time.Millisecond })
	w.idle(e)
	clock.move(59 * time.Second)
	w.idle(e)
	if n := len(r.requests()); n != 0 {
		t.Fatalf("%d requests while another has it", n)
	}
	clock.move(2 * time.Second)
	w.wantStates("it is sent", tenant, map[string]int{"delivered ": 1})
	if e.Stats().Reaped != 1 {
		t.Errorf("%+v", e.Stats())
	}
}

// A replica that was stopped for longer than its lease finds that another has sent
// what it was about to write down as failed: the success stays.
func TestFault_lostClaim(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		late int // what the receiver answers the first replica, when it is too late
	}{"late failure": {500}, "late success": {200}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			release := make(chan struct{})
			var calls atomic.Int64
			r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) == 1 {
					<-release
					rw.WriteHeader(tc.late)
				}
			})
			tenant := w.tenant()
			w.endpoint(tenant, r.URL)
			clock := newHands()
			set := func(c *EngineConfig) { c.Now, c.Poll, c.Lease = clock.now, 10*time.Millisecond, 30*time.Second }
			first := w.engine(set)
			w.publish(tenant, "render.completed")
			w.eventually("the first replica sends it", func() bool { return calls.Load() == 1 })
			second := w.engine(set)
			clock.move(31 * time.Second)
			w.eventually("it is delivered by somebody", func() bool { return first.Stats().Delivered+second.Stats().Delivered == 1 })
			close(release)
			w.eventually("the late outcome is written", func() bool { return len(w.attempts(tenant)) == 2 })
			w.idle(first)
			w.wantStates("it stays delivered", tenant, map[string]int{"delivered ": 1})
			if ids := r.ids(); len(ids) != 2 || ids[0] != ids[1] {
				t.Errorf("the duplicate has another id: %v", ids)
			}
		})
	}
}

// A stop lets requests end, writes down what became of them, and gives back at once
// what it had to cut.
func TestFault_stop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	ends := w.newReceiver(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	})
	hangs := w.newReceiver(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	one, two := w.tenant(), w.tenant()
	w.endpoint(one, ends.URL)
	w.endpoint(two, hangs.URL)
	e := w.engine(nil)
	w.publish(one, "render.completed")
	w.publish(two, "render.completed")
	<-begun
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		e.Stop(ctx)
		close(stopped)
	}()
	w.eventually("it takes nothing more", e.stopping)
	w.publish(one, "render.failed") // for the next one
	close(release)
	<-stopped
	w.wantStates("what could end has ended", one, map[string]int{"delivered ": 1})
	w.wantStates("what was cut waits for another replica", two, map[string]int{"pending ": 1})
	if n := scalar[int](w, `SELECT count(*)::int FROM webhook_senders`); n != 0 {
		t.Errorf("%d replicas are still said to send", n)
	}
	if d := w.deliveries(two)[0]; d.Attempts != 0 {
		t.Errorf("a cut request counts as a try: %+v", d)
	}
}

// The database goes and comes back while events, requests and outcomes are under way.
// Nothing is lost, nothing hangs, and the engine goes on by itself.
func TestFault_databaseGone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	ctx := t.Context()
	config := embeddedpg.Config{DataDir: t.TempDir(), FastUnsafe: true}
	server, err := embeddedpg.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	config.Port = server.Port()
	m, err := migrations.Open(ctx, migrations.Options{URL: server.OwnerURL(embeddedpg.Database)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.GrantApp(ctx); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, urls: pgtest.URLs{App: server.AppURL(embeddedpg.Database)}, keys: keyring(t)}
	w.db = w.open(nil)
	w.exec(`SELECT landlord_make_month_partition(parent, (now() + n * INTERVAL '1 month')::date)
		FROM unnest(landlord_month_partitioned_tables()) AS parent, generate_series(-1, 2) AS n`)
	release := make(chan struct{})
	var calls atomic.Int64
	r := w.newReceiver(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		<-release
	})
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	e := w.engine(func(c *EngineConfig) { c.Timeout, c.Lease = 10*time.Second, 15*time.Second })
	want := w.publish(tenant, "render.completed", "render.failed")
	w.eventually("both are being sent", func() bool { return calls.Load() == 2 })
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	close(release) // answered with 200 while nothing can be written down
	again, err := embeddedpg.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Stop(context.Background()) })
	w.wantStates("both are written down", tenant, map[string]int{"delivered ": 2})
	want = append(want, w.publish(tenant, "render.completed")...)
	w.eventually("the next arrives", func() bool { return e.Stats().Delivered == 3 })
	var ids []string
	for _, e := range want {
		ids = append(ids, e.String())
	}
	slices.Sort(ids)
	if diff := cmp.Diff(ids, r.ids()); diff != "" {
		t.Error(diff)
	}
}

// child starts a process with an engine, and kills it with SIGKILL when asked.
func (w *world) child(text string) (kill func()) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+w.urls.App+"\x1f"+text)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	w.t.Cleanup(kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == childUp {
			return kill
		}
	}
	w.t.Fatal("the child ended")
	return kill
}

// A replica is killed under load, with requests under way and outcomes not yet
// written. Everything arrives all the same; what arrives twice has the same id twice,
// and is little.
func TestFault_killed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = secret.Parse(text); err != nil {
		t.Fatal(err)
	}
	r := w.newReceiver(func(http.ResponseWriter, *http.Request) { <-time.After(10 * time.Millisecond) })
	var tenants []id.Tenant
	for range 5 {
		tenants = append(tenants, w.tenant())
		w.endpoint(tenants[len(tenants)-1], r.URL)
	}
	kill := w.child(text)
	const total, size = 3000, 10
	var want []string
	for n := range total / size {
		for _, e := range w.publish(tenants[n%len(tenants)], slices.Repeat([]string{"render.completed"}, size)...) {
			want = append(want, e.String())
		}
		if n == total/size/2 {
			w.eventually("it is under load", func() bool { return len(r.requests()) > total/10 })
			kill()
			w.child(text)
		}
	}
	distinct := func() []string { return slices.Compact(r.ids()) }
	w.eventually("everything arrives", func() bool { return len(distinct()) == total })
	w.eventually("everything is written down", func() bool {
		return scalar[int](w, `SELECT count(*)::int FROM tenant_webhook_deliveries WHERE state = 'delivered'`) == total
	})
	slices.Sort(want)
	if diff := cmp.Diff(want, distinct()); diff != "" {
		t.Error(diff)
	}
	twice := len(r.requests()) - total
	t.Log(strconv.Itoa(twice) + " of " + strconv.Itoa(total) + " arrived twice")
	if twice > total/50 {
		t.Errorf("%d of %d arrived twice, more than 2 %%", twice, total)
	}
}
