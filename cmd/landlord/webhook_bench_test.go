//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/id"
)

// BenchmarkWebhooks measures the delivery of webhooks as an operator sees it: the
// program over HTTP with authentication, PostgreSQL that syncs to disk, and receivers
// on the same machine. The processor time is that of the program and of PostgreSQL,
// all of it; publisher and receivers are this process, which shares the cores. Latency
// is from when the event was written, before its commit, to its arrival.
//
// Run it with -benchtime 1x: each scenario takes its own time.
func BenchmarkWebhooks(b *testing.B) {
	for _, s := range []struct {
		name string
		run  func(*testing.B, *hooksWorld)
	}{
		{"sustained", func(b *testing.B, w *hooksWorld) { w.sustained(b, 1) }},
		{"sustained_10_a_call", func(b *testing.B, w *hooksWorld) { w.sustained(b, 10) }},
		{"latency", func(b *testing.B, w *hooksWorld) { w.report(b, w.paced(b, w.endpoints(b, 20, "/now"))) }},
		{"slow_neighbour", func(b *testing.B, w *hooksWorld) {
			w.report(b, w.paced(b, append(w.endpoints(b, 3, "/now"), w.endpoints(b, 1, "/slow")...)))
		}},
		{"backlog", func(b *testing.B, w *hooksWorld) {
			w.backlog(b, w.endpoints(b, 1, "/backlog")[0], 200_000, "now()")
			w.report(b, w.paced(b, w.endpoints(b, 20, "/now")))
			b.ReportMetric(float64(w.arrivedAt("/backlog")), "of_backlog")
		}},
		{"million_waiting", func(b *testing.B, w *hooksWorld) { w.waiting(b, 1_000_000) }},
	} {
		b.Run(s.name, func(b *testing.B) { s.run(b, newHooksWorld(b, 1)) })
	}
	b.Run("endpoints_100k", func(b *testing.B) { newHooksWorld(b, 2).manyEndpoints(b, 100_000) })
}

const (
	hooksRate = 200              // events a second, where they are paced
	hooksTime = 20 * time.Second // for which a scenario publishes
)

// hooksWorld is the program with receivers.
type hooksWorld struct {
	*cluster

	receiver *http.Server
	url      string
	postgres int // process

	mu       sync.Mutex
	arrivals map[string][]time.Duration // by path, since the event was written
	seen     map[string]int             // by webhook-id
	all      atomic.Int64
}

func newHooksWorld(b *testing.B, replicas int) *hooksWorld {
	b.Helper()
	w := &hooksWorld{
		cluster:  newClusterWith(b, replicas, true, "LANDLORD_EGRESS_ALLOW=http://127.0.0.1:*", "LANDLORD_MAX_CONNS=16", "LANDLORD_WEBHOOK_IN_FLIGHT=256"),
		arrivals: map[string][]time.Duration{}, seen: map[string]int{},
	}
	w.postgres = w.postmaster()
	doc := client.CatalogDocument{EventTypes: []client.EventTypeDefinition{{
		Name: "render.completed", Schema: map[string]any{"type": "object", "required": []any{"render_id"}, "properties": map[string]any{"render_id": map[string]any{"type": "string"}}},
	}}}
	if _, err := w.clients[0].Catalog.Apply(b.Context(), doc, false); err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	w.url = "http://" + listener.Addr().String()
	w.receiver = &http.Server{Handler: http.HandlerFunc(w.receive), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- w.receiver.Serve(listener) }()
	b.Cleanup(func() {
		if err := errors.Join(w.receiver.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	})
	return w
}

var writtenAt = []byte(`"timestamp":"`)

func (w *hooksWorld) receive(rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	_, after, found := bytes.Cut(body, writtenAt)
	at, _, _ := bytes.Cut(after, []byte(`"`))
	written, bad := time.Parse(time.RFC3339Nano, string(at))
	if err != nil || !found || bad != nil {
		http.Error(rw, "no event", http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	w.arrivals[r.URL.Path] = append(w.arrivals[r.URL.Path], now.Sub(written))
	w.seen[r.Header.Get("Webhook-Id")]++
	w.mu.Unlock()
	w.all.Add(1)
	if r.URL.Path == "/slow" {
		<-time.After(4 * time.Second)
	}
	rw.WriteHeader(http.StatusNoContent)
}

func (w *hooksWorld) arrivedAt(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.arrivals[path])
}

// hook is an endpoint, of a tenant of its own.
type hook struct{ tenant, id string }

func (w *hooksWorld) endpoints(b *testing.B, n int, path string) (all []hook) {
	b.Helper()
	for range n {
		t, err := w.clients[0].Tenants.Create(b.Context(), client.CreateTenant{Name: "Bench", Slug: slug()})
		if err != nil {
			b.Fatal(err)
		}
		h, err := w.clients[0].Webhooks.Create(b.Context(), t.ID, client.CreateWebhook{Name: "Bench", URL: w.url + path, Events: []string{"render.*"}})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, hook{t.ID, h.ID})
	}
	return all
}

// publish sends events of a tenant to the API, each with a payload of some 600 bytes.
func (w *hooksWorld) publish(ctx context.Context, tenant string, n int) error {
	event := `{"type":"render.completed","payload":{"render_id":"r-1","note":"` + strings.Repeat("x", 570) + `"}}`
	body := `{"events":[` + strings.Repeat(event+",", n-1) + event + `]}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.replicas[0].public+"/v1/tenants/"+tenant+"/events", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+w.owner)
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // only read from
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("publish: %d %.300s (%w)", resp.StatusCode, text, err)
	}
	return nil
}

// sustained publishes as fast as the server takes it, over 32 connections, and waits
// for all of it to arrive.
func (w *hooksWorld) sustained(b *testing.B, each int) {
	hooks := w.endpoints(b, 16, "/now")
	begun, cpu := time.Now(), w.cpu(b)
	ctx, cancel := context.WithTimeout(b.Context(), hooksTime)
	defer cancel()
	var published atomic.Int64
	var lanes sync.WaitGroup
	for lane := range 32 {
		lanes.Go(func() {
			for ctx.Err() == nil {
				if err := w.publish(b.Context(), hooks[lane%len(hooks)].tenant, each); err != nil {
					b.Error(err)
					return
				}
				published.Add(int64(each))
			}
		})
	}
	lanes.Wait()
	w.drain(b, published.Load())
	took := time.Since(begun)
	n := float64(published.Load())
	b.ReportMetric(n/took.Seconds(), "deliveries/s")
	b.ReportMetric(float64((w.cpu(b)-cpu).Microseconds())/1000/n, "cpu-ms/delivery")
	b.ReportMetric(0, "ns/op")
	w.judge(b)
}

// drain waits until so many arrived.
func (w *hooksWorld) drain(b *testing.B, n int64) {
	b.Helper()
	for last, still := int64(-1), 0; w.all.Load() < n; <-time.After(20 * time.Millisecond) {
		if got := w.all.Load(); got != last {
			last, still = got, 0
		} else if still++; still > 1500 {
			b.Fatalf("%d of %d arrived, and then none for half a minute", got, n)
		}
	}
}

// judge fails on what came twice: nothing died.
func (w *hooksWorld) judge(b *testing.B) {
	b.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for webhook, n := range w.seen {
		if n > 1 {
			b.Errorf("%s came %d times", webhook, n)
			return
		}
	}
}

// paced publishes at a rate, whatever comes back, in turn for each endpoint, and
// returns how long those took that were to arrive at once.
func (w *hooksWorld) paced(b *testing.B, hooks []hook) []time.Duration {
	b.Helper()
	for range 3 { // connections and caches are there
		for _, h := range hooks {
			if err := w.publish(b.Context(), h.tenant, 1); err != nil {
				b.Fatal(err)
			}
		}
		<-time.After(300 * time.Millisecond)
	}
	w.mu.Lock()
	w.arrivals["/now"] = nil
	w.mu.Unlock()
	cpu := w.cpu(b)
	var calls sync.WaitGroup
	tick := time.NewTicker(time.Second / hooksRate)
	defer tick.Stop()
	const n = int(hooksRate * hooksTime / time.Second)
	for i := range n {
		<-tick.C
		calls.Go(func() {
			if err := w.publish(b.Context(), hooks[i%len(hooks)].tenant, 1); err != nil {
				b.Error(err)
			}
		})
	}
	calls.Wait()
	want := n
	if slow := w.arrivedAt("/slow"); slow > 0 {
		want = n / len(hooks) * (len(hooks) - 1)
	}
	for deadline := time.Now().Add(time.Minute); w.arrivedAt("/now") < want && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	b.ReportMetric(float64((w.cpu(b)-cpu).Microseconds())/1000/float64(n), "cpu-ms/delivery")
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := len(w.arrivals["/now"]); got < want {
		b.Errorf("%d of %d arrived", got, want)
	}
	return slices.Clone(w.arrivals["/now"])
}

func (w *hooksWorld) report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	for _, q := range []float64{0.5, 0.99} {
		b.ReportMetric(float64(took[int(q*float64(len(took)-1))].Microseconds())/1000, fmt.Sprintf("p%.0f-ms", 100*q))
	}
	b.ReportMetric(0, "ns/op")
}

// backlog writes deliveries of one event to an endpoint, due by an expression over n.
func (w *hooksWorld) backlog(b *testing.B, h hook, n int, due string) {
	b.Helper()
	const piece = 50_000
	for from := 0; from < n; from += piece {
		w.exec(fmt.Sprintf(`WITH event AS (
				INSERT INTO tenant_events (id, tenant_id, type, payload, created_at)
				SELECT gen_random_uuid(), tenant_id, 'job.done', '{"render_id": "r-1"}', clock_timestamp() FROM tenant_webhooks WHERE id = '%[1]s' RETURNING *
			)
			INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, next_retry_at, expires_at, created_at)
			SELECT gen_random_uuid(), tenant_id, '%[1]s', id, type, %[2]s, NOW() + INTERVAL '3 days', created_at FROM event, generate_series(%[3]d, %[4]d) AS n`,
			id.MustParse[id.Webhook](h.id).UUID(), due, from+1, min(from+piece, n)))
	}
}

// waiting looks at what memory a day's backlog takes: of a million deliveries, some
// come up at any time and are sent.
func (w *hooksWorld) waiting(b *testing.B, n int) {
	hooks := w.endpoints(b, 10, "/waiting")
	<-time.After(2 * time.Second)
	before := w.memory(b)
	for _, h := range hooks {
		w.backlog(b, h, n/len(hooks), fmt.Sprintf("NOW() + n * INTERVAL '1 day' / %d", n/len(hooks)))
	}
	most := 0.0
	for range 30 {
		<-time.After(time.Second)
		most = max(most, w.memory(b))
	}
	b.ReportMetric(before, "MiB-before")
	b.ReportMetric(most, "MiB-most")
	b.ReportMetric(float64(w.arrivedAt("/waiting")), "sent")
	b.ReportMetric(1000*w.metric(w.replicas[0], "landlord_webhook_sweep_longest_seconds"), "ms-longest-sweep")
	b.ReportMetric(0, "ns/op")
}

// manyEndpoints looks at the sweeps of two replicas, with something pending for each of
// very many endpoints.
func (w *hooksWorld) manyEndpoints(b *testing.B, n int) {
	const tenants = 100
	for _, h := range w.endpoints(b, tenants, "/many") {
		w.exec(fmt.Sprintf(`WITH hooks AS (
				INSERT INTO tenant_webhooks (id, tenant_id, name, url, events, secret_encrypted)
				SELECT gen_random_uuid(), tenant_id, 'x', url, '{job.done}', secret_encrypted FROM tenant_webhooks, generate_series(1, %[2]d) WHERE id = '%[1]s' RETURNING *
			), event AS (
				INSERT INTO tenant_events (id, tenant_id, type, payload, created_at)
				SELECT gen_random_uuid(), tenant_id, 'webhook.test', '{}', clock_timestamp() FROM tenant_webhooks WHERE id = '%[1]s' RETURNING *
			)
			INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, next_retry_at, expires_at, created_at)
			SELECT gen_random_uuid(), h.tenant_id, h.id, e.id, e.type, NOW() + INTERVAL '1 hour', NOW() + INTERVAL '3 days', e.created_at FROM hooks AS h, event AS e`,
			id.MustParse[id.Webhook](h.id).UUID(), n/tenants))
	}
	before := w.metric(w.replicas[0], "landlord_webhook_sweeps_total")
	<-time.After(60 * time.Second) // twice round
	for i, r := range w.replicas {
		b.ReportMetric(1000*w.metric(r, "landlord_webhook_sweep_longest_seconds"), fmt.Sprintf("ms-longest-sweep-%d", i+1))
	}
	b.ReportMetric(w.metric(w.replicas[0], "landlord_webhook_sweeps_total")-before, "sweeps")
	b.ReportMetric(0, "ns/op")
}

// cpu is the processor time that the program and PostgreSQL have used.
func (w *hooksWorld) cpu(b *testing.B) (used time.Duration) {
	b.Helper()
	for _, r := range w.replicas {
		used += processTime(r.cmd.Process.Pid, false)
	}
	used += processTime(w.postgres, true) // and of backends that have ended
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if fields := statOf(pid); len(fields) > 1 && fields[1] == strconv.Itoa(w.postgres) {
			used += processTime(pid, false)
		}
	}
	return used
}

// statOf returns the fields of a process behind its name; none when it has ended.
func statOf(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}

// processTime is what a process used, and with children also what those that ended
// did. A tick is a hundredth of a second on every Linux.
func processTime(pid int, children bool) time.Duration {
	fields := statOf(pid)
	if len(fields) < 15 {
		return 0
	}
	ticks := 0
	for i := 11; i < 15; i++ { // utime, stime, cutime, cstime
		if n, err := strconv.Atoi(fields[i]); err == nil && (i < 13 || children) {
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is what the first replica has resident, in MiB.
func (w *hooksWorld) memory(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", w.replicas[0].cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20)
}
