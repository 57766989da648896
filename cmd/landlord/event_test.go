package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

// eventWorld is a replica with a tenant, acme, and a catalogue of two types.
func eventWorld(t *testing.T) (*apptest.World, shell) { return eventWorldWith(t) }

func eventWorldWith(t *testing.T, opts ...apptest.Option) (*apptest.World, shell) {
	t.Helper()
	w := apptest.New(t, opts...)
	_, err := w.Client.Catalog.Apply(t.Context(), client.CatalogDocument{EventTypes: []client.EventTypeDefinition{
		{Name: "render.started"},
		{Name: "render.progress", Schema: map[string]any{"type": "object", "required": []any{"percent"}}},
	}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Client.Tenants.Create(t.Context(), client.CreateTenant{Name: "Acme", Slug: "acme", Status: "active"}); err != nil {
		t.Fatal(err)
	}
	return w, shell{t: t, url: w.URL, token: w.Owner}
}

func TestEvents_commands(t *testing.T) {
	t.Parallel()
	_, s := eventWorld(t)
	fails := func(want, in string, args ...string) {
		t.Helper()
		if out, errOut, code := s.run(in, args...); code == exitOK || !strings.Contains(out+errOut, want) {
			t.Errorf("landlord %s: exit %d, want %s\n%s%s", strings.Join(args, " "), code, want, out, errOut)
		}
	}
	const acme = "slug:acme"
	one := into[client.PublishedEvents](s, "events", "publish", acme, "render.progress", "--payload", `{"percent": 9007199254740993}`)
	if one.Published != 1 || one.Results[0].ID == "" {
		t.Fatalf("got %+v", one)
	}
	id := one.Results[0].ID
	if got := s.ok("events", "publish", acme, "render.progress", "--payload", `{"percent":9007199254740993}`, "--id", id); !strings.Contains(got, "duplicate  "+id) {
		t.Errorf("got\n%s", got)
	}
	fails("event_id_reused", "", "events", "publish", acme, "render.progress", "--payload", `{"percent": 9007199254740992}`, "--id", id)
	fails("payload.percent", "", "events", "publish", acme, "render.progress")
	fails("no JSON", "", "events", "publish", acme, "render.progress", "--payload", "{")
	fails("give a TYPE", "", "events", "publish", acme)
	fails("the file says all", "", "events", "publish", acme, "-f", "-", "--payload", "{}")
	fails("-:2 is no event", "{\"type\": \"render.started\"}\n{\"kind\": 1}\n", "events", "publish", acme, "-f", "-")

	file := filepath.Join(t.TempDir(), "events.ndjson")
	var lines bytes.Buffer
	for range 501 { // more than a call takes
		lines.WriteString("{\"type\": \"render.started\", \"payload\": {\"n\": 1}, \"occurred_at\": \"2026-01-02T03:04:05Z\"}\n\n")
	}
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := into[client.PublishedEvents](s, "events", "publish", acme, "-f", file); got.Published != 501 || len(got.Results) != 501 {
		t.Errorf("%d of %d were published", got.Published, len(got.Results))
	}
	fails("1 event refused", "{\"type\": \"render.started\"}\n{\"type\": \"render.progress\"}\n", "events", "publish", acme, "-f", "-")

	if got := s.ok("events", "get", acme, id); !strings.Contains(got, "9007199254740993") || !strings.Contains(got, "render.progress") {
		t.Errorf("got\n%s", got)
	}
	page := into[client.EventPage](s, "events", "list", "--tenant", acme, "--type", "render.progress", "--wait", "20s")
	if len(page.Data) != 1 || page.Data[0].ID != id || page.NextCursor == "" {
		t.Errorf("got %+v", page)
	}
	out, errOut, code := s.run("", "events", "list", "--tenant", acme, "--limit", "1")
	if code != exitOK || !strings.Contains(out, "tenant.created") || !strings.Contains(errOut, "More: --cursor ") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if got := s.ok("events", "types", "render.progress"); !strings.Contains(got, "percent") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("events", "types", "tenant.created"); !strings.Contains(got, "metadata") || !strings.Contains(got, "yes") {
		t.Errorf("got\n%s", got)
	}
	fails("no event type render.paused", "", "events", "types", "render.paused")
}

// Erasing asks first, goes on until nothing is left, and says so in the audit log.
func TestEvents_erase(t *testing.T) {
	t.Parallel()
	_, s := eventWorld(t)
	const acme = "slug:acme"
	started := func() client.EventPage {
		t.Helper()
		return into[client.EventPage](s, "events", "list", "--tenant", acme, "--type", "render.*", "--wait", "10s")
	}
	s.ok("events", "publish", acme, "render.started")
	s.ok("events", "publish", acme, "render.started")
	if got := len(started().Data); got != 2 {
		t.Fatalf("%d events", got)
	}
	if told := into[client.ErasedEvents](s, "events", "erase", acme, "--dry-run"); !told.DryRun || told.Events < 2 || told.Oldest == nil {
		t.Errorf("told %+v", told)
	}
	if out, errOut, code := s.run("n\n", "events", "erase", acme); code == exitOK || !strings.Contains(errOut, "events of slug:acme written before") || !strings.Contains(errOut, "not confirmed") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if got := len(started().Data); got != 2 {
		t.Errorf("%d events, not confirmed", got)
	}
	if none := into[client.ErasedEvents](s, "events", "erase", acme, "--before", "2020-01-01", "--yes"); none.Events != 0 {
		t.Errorf("erased %+v", none)
	}
	erased := into[client.ErasedEvents](s, "events", "erase", acme, "--reason", "Ada asked", "--yes")
	if erased.Events < 2 || erased.HasMore || erased.DryRun {
		t.Errorf("erased %+v", erased)
	}
	// What tells of it came later.
	if page := into[client.EventPage](s, "events", "list", "--tenant", acme, "--wait", "10s"); len(page.Data) != 1 || page.Data[0].Type != "event.erased" {
		t.Errorf("left: %+v", page.Data)
	}
	if log := s.ok("audit", "list", "--tenant", acme, "--action", "event.erased", "-o", "json"); !strings.Contains(log, "Ada asked") {
		t.Errorf("the audit log says\n%s", log)
	}
	if got := s.ok("events", "retention"); !strings.Contains(got, "tenant_events") || !strings.Contains(got, "tenant_webhook_deliveries") {
		t.Errorf("got\n%s", got)
	}
}

// A tail prints what comes, outlives a server that is away for a while, and says
// where to go on.
func TestEvents_tail(t *testing.T) {
	t.Parallel()
	w, s := eventWorld(t)
	publish := func(n string) {
		t.Helper()
		if _, err := w.Client.Events.Publish(t.Context(), "slug:acme", client.NewEvent{Type: "render.started", Payload: map[string]any{"n": n}}); err != nil {
			t.Fatal(err)
		}
	}
	publish("before")
	away := newGate(t, w.URL)
	tail := s.start(t, away.URL, "events", "tail", "--tenant", "slug:acme", "--type", "render.*", "--since", "1h", "-o", "json")
	next := func() string {
		t.Helper()
		var e struct {
			Payload struct{ N string }
		}
		if err := tail.out.Decode(&e); err != nil {
			t.Fatalf("%v\n%s", err, tail.errOut.String())
		}
		return e.Payload.N
	}
	got := []string{next()}
	publish("while")
	got = append(got, next())
	away.shut.Store(true)
	away.CloseClientConnections() // the one that waits
	for range 4 {                 // once more than a call is repeated
		<-away.met
	}
	publish("away")
	away.shut.Store(false)
	got = append(got, next())
	if diff := cmp.Diff([]string{"before", "while", "away"}, got); diff != "" {
		t.Error(diff)
	}
	code, said := tail.interrupt(t)
	if code != exitOK || !strings.Contains(said, "can't be reached") || !strings.Contains(said, "answers again") {
		t.Errorf("exit %d\n%s", code, said)
	}
	_, cursor, found := strings.Cut(said, "To go on: --cursor ")
	if !found {
		t.Fatalf("no cursor in\n%s", said)
	}
	page := into[client.EventPage](s, "events", "list", "--tenant", "slug:acme", "--type", "render.*", "--cursor", strings.TrimSpace(cursor))
	if len(page.Data) > 1 { // the last page's event again, at most
		t.Errorf("got %+v", page.Data)
	}
}

// running is a command under way.
type running struct {
	out    *json.Decoder
	errOut *bytes.Buffer // once it has ended
	stop   context.CancelFunc
	code   chan int
}

// start runs a command beside the test.
func (s shell) start(t *testing.T, server string, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	c := &running{out: json.NewDecoder(r), errOut: &bytes.Buffer{}, stop: stop, code: make(chan int, 1)}
	args = append([]string{"--server", server, "--token", s.token}, args...)
	go func() {
		code := run(ctx, args, strings.NewReader(""), w, c.errOut)
		_ = w.CloseWithError(errors.New("the command has ended"))
		c.code <- code
	}()
	t.Cleanup(stop)
	return c
}

// interrupt does what ctrl-c does, and returns what was said on standard error.
func (c *running) interrupt(t *testing.T) (code int, said string) {
	t.Helper()
	c.stop()
	code = <-c.code
	return code, c.errOut.String()
}

// gate is a way to a server that can be shut.
type gate struct {
	*httptest.Server

	shut atomic.Bool
	met  chan struct{} // of one: somebody found it shut
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{met: make(chan struct{}, 1)}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // who asked has gone
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.shut.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		select {
		case g.met <- struct{}{}:
		default:
		}
		http.Error(w, "away", http.StatusServiceUnavailable)
	}))
	t.Cleanup(g.Close)
	return g
}
