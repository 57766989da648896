package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/app"
)

// receivedWebhook is a request as it came.
type receivedWebhook struct {
	header http.Header
	body   []byte
	raw    []byte // of all of it, as a tool would write it down
}

// newReceiver is a receiver on this machine. It answers by a path of the URL: /204
// with that status, /302 with a redirect to /204, /slow when the test has ended.
func newReceiver(t *testing.T) (*httptest.Server, chan receivedWebhook) {
	t.Helper()
	got, end := make(chan receivedWebhook, 20), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		raw, _ := httputil.DumpRequest(r, true)
		body, _ := io.ReadAll(r.Body)
		got <- receivedWebhook{header: r.Header, body: body, raw: raw}
		switch r.URL.Path {
		case "/500":
			rw.WriteHeader(http.StatusInternalServerError)
		case "/302":
			http.Redirect(rw, r, "/204", http.StatusFound)
		case "/slow":
			<-end
		default:
			rw.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(end) })
	return s, got
}

// What a developer's machine gets is what the engine sends to an endpoint, byte for
// byte, under the same id and signed likewise; through an absence of the server, and
// only what was asked for.
func TestWebhooks_listen(t *testing.T) {
	t.Parallel()
	w, s := eventWorldWith(t, func(c *app.Config) {
		egress, err := devEgress()
		if err != nil {
			t.Fatal(err)
		}
		c.Egress = egress
	})
	publish := func(typ string) {
		t.Helper()
		if _, err := w.Client.Events.Publish(t.Context(), "slug:acme", client.NewEvent{Type: typ, Payload: map[string]any{"percent": 7.50, "of": "<b>\u2028é"}}); err != nil {
			t.Fatal(err)
		}
	}
	endpoint, sent := newReceiver(t)
	hook := into[client.IssuedWebhook](s, "webhooks", "create", "slug:acme", "Real", endpoint.URL, "-e", "render.*")
	laptop, got := newReceiver(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(hook.Secrets[0].Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	official, err := standardwebhooks.NewWebhook(hook.Secrets[0].Secret)
	if err != nil {
		t.Fatal(err)
	}
	publish("render.started")
	away := newGate(t, w.URL)
	c := s.start(t, away.URL, "webhooks", "listen", "slug:acme", "--forward-to", laptop.URL, "-e", "render.*", "-e", "project.*", "--secret-file", file, "--since", "1h", "-o", "json")
	compare := func(typ string) {
		t.Helper()
		a, b := <-sent, <-got
		if diff := cmp.Diff(string(a.body), string(b.body)); diff != "" {
			t.Errorf("%s: %s", typ, diff)
		}
		for _, name := range []string{"Webhook-Id", "Content-Type"} {
			if a.header.Get(name) != b.header.Get(name) || a.header.Get(name) == "" {
				t.Errorf("%s: the engine sent %s %q, the command %q", typ, name, a.header.Get(name), b.header.Get(name))
			}
		}
		if err := official.Verify(b.body, b.header); err != nil {
			t.Errorf("%s: the official library: %v", typ, err)
		}
		var line forwarded
		if err := c.out.Decode(&line); err != nil {
			t.Fatalf("%v\n%s", err, c.errOut)
		}
		if line.Type != typ || line.Status != http.StatusNoContent || line.Error != "" || line.EventID != b.header.Get("Webhook-Id") {
			t.Errorf("printed %+v", line)
		}
	}
	compare("render.started")
	away.shut.Store(true)
	away.CloseClientConnections() // the one that waits
	for range 4 {                 // once more than a call is repeated
		<-away.met
	}
	publish("render.progress")
	away.shut.Store(false)
	compare("render.progress")
	code, said := c.interrupt(t)
	for _, want := range []string{"can't be reached", "answers again", "Sent 2 events, 0 failed.", "To go on: --cursor "} {
		if code != exitOK || !strings.Contains(said, want) {
			t.Errorf("exit %d, want %q in\n%s", code, want, said)
		}
	}
	if strings.Contains(said, hook.Secrets[0].Secret) {
		t.Errorf("it says the secret that it was given\n%s", said)
	}
}

// What the receiver does wrong is said and not tried again. A secret is made when
// none is given, and what it signs can be verified by the other command.
func TestWebhooks_listenFailures(t *testing.T) {
	t.Parallel()
	w, s := eventWorld(t)
	if _, err := w.Client.Events.Publish(t.Context(), "slug:acme", client.NewEvent{Type: "render.started"}); err != nil {
		t.Fatal(err)
	}
	laptop, got := newReceiver(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	made := regexp.MustCompile(`Requests are signed with the secret (whsec_\S+)`)
	for _, tc := range []struct {
		name, url string
		status    int
		error     string
	}{
		{"an error", laptop.URL + "/500", 500, "not taken"},
		{"a redirect", laptop.URL + "/302", 302, "not followed"},
		{"too slow", laptop.URL + "/slow", 0, "no answer in time"},
		{"nobody", gone.URL, 0, "connection refused"},
	} {
		c := s.start(t, w.URL, "webhooks", "listen", "slug:acme", "--forward-to", tc.url, "-e", "render.*", "--since", "1h", "--timeout", "2s", "-o", "json")
		var line forwarded
		if err := c.out.Decode(&line); err != nil {
			t.Fatalf("%s: %v\n%s", tc.name, err, c.errOut)
		}
		code, said := c.interrupt(t)
		if line.Status != tc.status || !strings.Contains(line.Error, tc.error) || code != exitOK || !strings.Contains(said, "Sent 1 event, 1 failed.") {
			t.Errorf("%s: exit %d, printed %+v\n%s", tc.name, code, line, said)
		}
		if tc.url == gone.URL {
			continue
		}
		request, secret := <-got, made.FindStringSubmatch(said)
		if len(secret) == 0 {
			t.Fatalf("%s: no secret in\n%s", tc.name, said)
		}
		if out, errOut, code := s.run(string(request.raw), "webhooks", "verify", "-", "--secret", secret[1]); code != exitOK || !strings.Contains(errOut, "is valid") {
			t.Errorf("%s: exit %d\n%s%s", tc.name, code, out, errOut)
		}
		select {
		case again := <-got:
			t.Errorf("%s: sent again, or to %s", tc.name, again.raw)
		default:
		}
	}
	for _, tc := range []struct {
		want, tenant string
		args         []string
	}{
		{"is no URL", "slug:acme", []string{"--forward-to", "localhost:3000"}},
		{"is no pattern", "slug:acme", []string{"--forward-to", laptop.URL, "-e", "render%"}},
		{"must be positive", "slug:acme", []string{"--forward-to", laptop.URL, "--timeout", "0s"}},
		{"a signing secret is", "slug:acme", []string{"--forward-to", laptop.URL, "--secret", "hunter2"}},
		{"read the secret", "slug:acme", []string{"--forward-to", laptop.URL, "--secret-file", "no/such"}},
		{"tenant_not_found", "slug:nobody", []string{"--forward-to", laptop.URL}},
		{"cursor_malformed", "slug:acme", []string{"--forward-to", laptop.URL, "--cursor", "x"}},
	} {
		if out, errOut, code := s.run("", append([]string{"webhooks", "listen", tc.tenant}, tc.args...)...); code == exitOK || !strings.Contains(out+errOut, tc.want) {
			t.Errorf("%v: exit %d, want %s\n%s%s", tc.args, code, tc.want, out, errOut)
		}
	}
}

// Stopped during a request, the event counts as not sent, and comes again by the
// cursor.
func TestWebhooks_listenStopped(t *testing.T) {
	t.Parallel()
	w, s := eventWorld(t)
	laptop, got := newReceiver(t)
	from := into[client.EventPage](s, "events", "list", "--tenant", "slug:acme", "--limit", "1", "--wait", "10s")
	if _, err := w.Client.Events.Publish(t.Context(), "slug:acme", client.NewEvent{Type: "render.started"}); err != nil {
		t.Fatal(err)
	}
	c := s.start(t, w.URL, "webhooks", "listen", "slug:acme", "--forward-to", laptop.URL+"/slow", "-e", "render.*", "--cursor", from.NextCursor)
	first := <-got
	code, said := c.interrupt(t)
	_, cursor, _ := strings.Cut(said, "To go on: --cursor ")
	if code != exitOK || !strings.Contains(said, "Sent 0 events, 0 failed.") || cursor == "" {
		t.Fatalf("exit %d\n%s", code, said)
	}
	s.start(t, w.URL, "webhooks", "listen", "slug:acme", "--forward-to", laptop.URL, "-e", "render.*", "--cursor", strings.TrimSpace(cursor), "-o", "json")
	select {
	case again := <-got:
		if again.header.Get("Webhook-Id") != first.header.Get("Webhook-Id") {
			t.Error("another event came")
		}
	case <-time.After(time.Minute):
		t.Error("it did not come again")
	}
}

// A line for a person says what was answered, or why nothing was.
func TestForwarded_print(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	var out bytes.Buffer
	g := &Globals{out: &out}
	for _, l := range []forwarded{
		{At: at, EventID: "event_1", Type: "a.b", Status: 204, DurationMS: 7},
		{At: at, EventID: "event_1", Type: "a.b", Status: 599, DurationMS: 7, Error: "not taken"},
		{At: at, EventID: "event_1", Type: "a.b", DurationMS: 15000, Error: "no answer in time"},
	} {
		if err := l.print(g); err != nil {
			t.Fatal(err)
		}
	}
	const want = "2026-11-26T01:02:03Z  a.b  event_1  7 ms  204 No Content\n" +
		"2026-11-26T01:02:03Z  a.b  event_1  7 ms  599: not taken\n" +
		"2026-11-26T01:02:03Z  a.b  event_1  15000 ms  -: no answer in time\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
