package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/migrations"
)

// What callers meet when something around the replica breaks. docs/reliability.md
// tells it to them; here it happens for real.

// faulty is a replica on a PostgreSQL of its own, which a test may break.
type faulty struct {
	*world
	server *embeddedpg.Server
	config embeddedpg.Config
	keys   *secret.Keyring

	warm  string // API key that every request of a test uses
	faces []face
}

func newFaulty(t *testing.T, opts ...apptest.Option) *faulty {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	dir, err := os.MkdirTemp("", "landlord-fault-*") //nolint:usetesting // a folder of t.TempDir is closed to the account that postgres runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	f := &faulty{config: embeddedpg.Config{DataDir: filepath.Join(dir, "pg"), FastUnsafe: true}, keys: apptest.NewKeys(t)}
	f.start(t)
	t.Cleanup(func() { f.stop(t) })
	m, err := migrations.Open(t.Context(), migrations.Options{URL: f.server.OwnerURL(embeddedpg.Database)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.server.GrantApp(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.config.Port = f.server.Port() // a restart must be found where it was
	f.world = &world{World: apptest.On(t, f.server.AppURL(embeddedpg.Database), f.keys, opts...)}
	f.Tenant, f.Key = f.newTenant(t)
	f.warm = f.newToken(t)
	f.faces = faces(t, f.World, f.Owner)
	return f
}

func (f *faulty) start(t *testing.T) {
	t.Helper()
	s, err := embeddedpg.Start(t.Context(), f.config)
	if err != nil {
		t.Fatal(err)
	}
	f.server = s
}

func (f *faulty) stop(t *testing.T) {
	t.Helper()
	if err := f.server.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// newToken issues an API key that this replica has not seen in use.
func (f *faulty) newToken(t *testing.T) string {
	t.Helper()
	_, token := f.newKey(t)
	return token
}

// gateway asks the private face about a key, as nginx does.
func (f *faulty) gateway(t *testing.T, token string) apptest.Response {
	t.Helper()
	return get(t, f.Private+"/gateway/nginx", map[string]string{"Authorization": "Bearer " + token})
}

func get(t *testing.T, url string, header map[string]string) apptest.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	c := &http.Client{Timeout: 30 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return apptest.Response{Status: resp.StatusCode, Header: resp.Header, Body: b}
}

// eventually polls until ok, which must be soon.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
}

// atOnce calls send n times, all at once, and returns the answers in order. (The
// parallel subtests of a machine with two processors are two at a time.)
func atOnce(n int, send func(i int) apptest.Response) []apptest.Response {
	answers := make([]apptest.Response, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = send(i) })
	}
	wg.Wait()
	return answers
}

// ready reports whether the replica says that it can do its work.
func (f *faulty) ready(t *testing.T) bool {
	t.Helper()
	return get(t, f.Private+"/readyz", nil).Status == http.StatusOK
}

// kinds are requests of every kind that needs the database.
func (f *faulty) kinds(t *testing.T) map[string]func(*testing.T) apptest.Response {
	t.Helper()
	cold, unknown, among := f.newToken(t), f.newToken(t), f.newToken(t)
	n := f.unique("kind")
	do := func(method, path string, body any, header ...string) func(*testing.T) apptest.Response {
		return func(t *testing.T) apptest.Response {
			r := apptest.Request{Method: method, Path: path, Token: f.Owner, Body: body}
			if len(header) == 2 {
				r.Header = map[string]string{header[0]: header[1]}
			}
			return f.Do(t, r)
		}
	}
	all := map[string]func(*testing.T) apptest.Response{
		"read":                   do("GET", "/v1/tenants/"+f.Tenant, nil),
		"list":                   do("GET", "/v1/tenants", nil),
		"write":                  do("PATCH", "/v1/tenants/"+f.Tenant, map[string]any{"name": n}),
		"create":                 do("POST", "/v1/operators", map[string]any{"email": n + "@example.com", "name": n, "role": "viewer"}),
		"create, once":           do("POST", "/v1/tenants", map[string]any{"name": n, "slug": n}, "Idempotency-Key", n),
		"verify, a known key":    do("POST", "/v1/keys/verify", map[string]any{"key": f.warm}),
		"verify, an unknown key": do("POST", "/v1/keys/verify", map[string]any{"key": cold}),
		"a batch of keys, one unknown": do("POST", "/v1/keys/verify/batch", map[string]any{
			"items": []any{map[string]any{"key": f.warm}, map[string]any{"key": among}},
		}),
		"an API key on the API": func(t *testing.T) apptest.Response {
			return f.Do(t, apptest.Request{Method: "GET", Path: "/v1/whoami", Token: f.Key})
		},
		"readiness, private": func(t *testing.T) apptest.Response { return get(t, f.Private+"/readyz", nil) },
		"readiness, public":  func(t *testing.T) apptest.Response { return get(t, f.URL+"/readyz", nil) },
	}
	for _, c := range f.faces {
		if c.name != "verify" { // is above, with all of its answer
			all["gateway, "+c.name+", a known key"] = func(t *testing.T) apptest.Response { return c.ask(t, f.warm) }
			all["gateway, "+c.name+", an unknown key"] = func(t *testing.T) apptest.Response { return c.ask(t, unknown) }
		}
	}
	return all
}

// expectUnavailable makes a request of every kind at once: each must end soon,
// with 503 and when to try again, and nothing may be let through.
func (f *faulty) expectUnavailable(t *testing.T, kinds map[string]func(*testing.T) apptest.Response, within time.Duration) {
	t.Helper()
	names := slices.Sorted(maps.Keys(kinds))
	took := make([]time.Duration, len(names))
	answers := atOnce(len(names), func(i int) apptest.Response {
		began := time.Now()
		defer func() { took[i] = time.Since(began) }()
		return kinds[names[i]](t)
	})
	for i, name := range names {
		r := answers[i]
		if took[i] > within {
			t.Errorf("%s: took %v", name, took[i])
		}
		if r.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d %s", name, r.Status, r.Body)
		}
		if strings.HasPrefix(name, "readiness") {
			continue
		}
		if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
			t.Errorf("%s: Retry-After is %q", name, r.Header.Get("Retry-After"))
		}
		if code := r.Code(); !strings.HasPrefix(name, "gateway") && code != "database_unavailable" && code != "database_busy" {
			t.Errorf("%s: got %s", name, r.Body)
		}
	}
	for _, url := range []string{f.URL + "/livez", f.Private + "/livez", f.URL + "/openapi.json", f.Private + "/metrics"} {
		if r := get(t, url, nil); r.Status != http.StatusOK {
			t.Errorf("%s: %d", url, r.Status)
		}
	}
}

// expectFine makes a request of every kind, which must succeed.
func (f *faulty) expectFine(t *testing.T, kinds map[string]func(*testing.T) apptest.Response) {
	t.Helper()
	for name, send := range kinds {
		if r := send(t); r.Status < 200 || r.Status > 299 || strings.HasPrefix(name, "verify") && r.JSON(t)["outcome"] != "VALID" {
			t.Errorf("%s: %d %s", name, r.Status, r.Body)
		}
	}
}

// super is a session that sees everything, beside the replica.
func (f *faulty) super(t *testing.T) *pgx.Conn {
	t.Helper()
	return session(t, f.server.SuperURL(embeddedpg.Database))
}

func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// postmaster is the server's first process.
func (f *faulty) postmaster(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.server.DataDir(), "pgdata", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(strings.NewReader(string(text))).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// freeze stops the server's processes where they are, as a host that is paused
// or cut off does, and returns what wakes them.
func (f *faulty) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	c, postmaster := f.super(t), f.postmaster(t)
	signal := func(sig syscall.Signal, pids ...int) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) { // some leave by themselves
				t.Errorf("signal %d: %v", pid, err)
			}
		}
	}
	signal(syscall.SIGSTOP, postmaster) // first: it makes no new ones then
	rows, err := c.Query(t.Context(), `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	signal(syscall.SIGSTOP, pids...)
	return sync.OnceFunc(func() { signal(syscall.SIGCONT, append(pids, postmaster)...) })
}

// One server for all of these, one after the other: each ends with the replica
// as it was, never restarted.
func TestFault_database(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *faulty)
	}{
		{"stopped", testStopped},
		{"restarted", testRestarted},
		{"killed", testKilled},
		{"frozen", testFrozen},
		{"lost a backend", testLostBackend},
	} {
		if !t.Run(c.name, func(t *testing.T) {
			eventually(t, 20*time.Second, "ready", func() bool { return f.ready(t) })
			c.run(t, f)
		}) {
			break // the server may be in any state
		}
	}
	if log := f.Log.String(); strings.Contains(log, `"panic"`) {
		t.Errorf("something panicked:\n%s", log)
	}
}

// A stopped database: 503 for all that needs it, the warm cache included once its
// lease is over. It is found again without a restart, and every use of a key that
// was let through meanwhile is counted.
func testStopped(t *testing.T, f *faulty) {
	kinds := f.kinds(t)
	keys := "/v1/tenants/" + f.Tenant + "/api-keys"
	key := f.must(t, "POST", keys, map[string]any{"name": "busy", "rate_limit_rpm": 1_000_000})
	path, token := keys+"/"+key["id"].(string), key["token"].(string)
	passed := 0
	pass := func() bool {
		r := f.gateway(t, token)
		switch r.Status {
		case http.StatusNoContent:
			passed++
			return true
		case http.StatusServiceUnavailable:
			return false
		default:
			t.Fatalf("got %d %v", r.Status, r.Header)
			return false
		}
	}
	for range 25 {
		pass()
	}
	down := make(chan time.Time)
	go func() { // requests go on while the server goes down
		f.stop(t)
		down <- time.Now()
	}()
	var since time.Time
	for {
		began := time.Now()
		ok := pass()
		select {
		case since = <-down:
		default:
		}
		if since.IsZero() {
			continue
		}
		if !ok {
			break
		}
		if began.Sub(since) > time.Second {
			t.Fatalf("VALID from memory %v after the database went", began.Sub(since))
		}
	}
	f.expectUnavailable(t, kinds, 5*time.Second)
	if passed < 25 {
		t.Errorf("only %d passed", passed)
	}

	f.start(t)
	eventually(t, 20*time.Second, "ready again", func() bool { return f.ready(t) })
	f.expectFine(t, kinds)
	counted := func() int {
		return int(f.must(t, "GET", path, nil)["usage_count"].(float64))
	}
	eventually(t, 20*time.Second, fmt.Sprintf("%d uses counted", passed), func() bool { return counted() == passed })
}

// All connections of the pool died at once: no request notices.
func testRestarted(t *testing.T, f *faulty) {
	kinds := f.kinds(t)
	atOnce(24, func(int) apptest.Response { // fill the pool
		return f.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants", Token: f.Owner})
	})
	f.stop(t)
	f.start(t)
	f.expectFine(t, without(kinds, "readiness, private", "readiness, public")) // the feed may take a moment
	eventually(t, 10*time.Second, "ready again", func() bool { return f.ready(t) })
}

// A database that is killed, under load: it recovers from its log when it is started again. Nobody is let in on a guess, no
// request is a 500, and no replica is restarted.
func testKilled(t *testing.T, f *faulty) {
	kinds := f.kinds(t)
	busy := f.must(t, "POST", "/v1/tenants/"+f.Tenant+"/api-keys", map[string]any{"name": "busy while it is killed", "rate_limit_rpm": 1_000_000})["token"].(string)
	path, revoked := f.newKey(t)
	f.must(t, "POST", path+"/revoke", nil)
	// The test's server does not wait for its log to be written, so a crash may take what it had committed.
	if _, err := f.super(t).Exec(t.Context(), `CHECKPOINT`); err != nil {
		t.Fatal(err)
	}
	if r := f.gateway(t, busy); r.Status != http.StatusNoContent { // it is in memory now
		t.Fatalf("got %d", r.Status)
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, c := range f.faces {
					if r := c.ask(t, busy); r.Status != http.StatusNoContent && r.Status != http.StatusServiceUnavailable {
						t.Errorf("%s: got %d %s, want 204 or 503", c.name, r.Status, r.Body)
					}
					if r := c.ask(t, revoked); r.Status != http.StatusUnauthorized && r.Status != http.StatusServiceUnavailable {
						t.Errorf("%s, revoked: got %d %s, want 401 or 503", c.name, r.Status, r.Body)
					}
				}
			}
		})
	}
	ended := sync.OnceFunc(func() { close(stop); load.Wait() })
	defer ended()
	if err := syscall.Kill(f.postmaster(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-f.server.Done()
	// What is in memory is refused when that is not believed any more.
	eventually(t, 5*time.Second, "the lease to end", func() bool { return f.gateway(t, busy).Status != http.StatusNoContent })
	f.expectUnavailable(t, kinds, 5*time.Second)
	f.stop(t) // it is gone, but its folder is held
	f.start(t)
	eventually(t, 20*time.Second, "ready again", func() bool { return f.ready(t) })
	ended()
	f.expectFine(t, kinds)
}

func without[V any](m map[string]V, names ...string) map[string]V {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

// A database that accepts and never answers.
func testFrozen(t *testing.T, f *faulty) {
	kinds := f.kinds(t)
	thaw := f.freeze(t)
	defer thaw()
	eventually(t, 5*time.Second, "the lease to end", func() bool { return f.gateway(t, f.warm).Status != http.StatusNoContent })
	f.expectUnavailable(t, kinds, 12*time.Second)
	thaw()
	eventually(t, 20*time.Second, "ready again", func() bool { return f.ready(t) })
	f.expectFine(t, kinds)
}

// A single session that is killed in a transaction costs that request, and says 503.
func testLostBackend(t *testing.T, f *faulty) {
	c := f.super(t)
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE tenants IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	answer := make(chan apptest.Response, 1)
	go func() {
		answer <- f.Do(t, apptest.Request{Method: "PATCH", Path: "/v1/tenants/" + f.Tenant, Token: f.Owner, Body: map[string]any{"name": "killed"}})
	}()
	observer := f.super(t)
	eventually(t, 10*time.Second, "a session waits and is killed", func() bool {
		var killed int
		if err := observer.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000))
			FROM pg_stat_activity WHERE application_name = 'landlord' AND wait_event_type = 'Lock'`).Scan(&killed); err != nil {
			t.Fatal(err)
		}
		return killed == 1
	})
	if r := <-answer; r.Status != http.StatusServiceUnavailable || r.Code() != "database_unavailable" {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.must(t, "GET", "/v1/tenants/"+f.Tenant, nil)["name"]; got == "killed" {
		t.Error("half a request was carried out")
	}
}

func writeJSON(t *testing.T, w io.Writer, v any) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Fatal(err)
	}
}
