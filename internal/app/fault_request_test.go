package app_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// A pool without a free connection: who waits too long is told so, and the next
// one is served.
func TestFault_poolExhausted(t *testing.T) {
	t.Parallel()
	w := &world{World: apptest.New(t, func(c *app.Config) { c.MaxConns = 2 })}
	w.Tenant, _ = w.newTenant(t)
	_, warm := w.newKey(t)
	_, cold := w.newKey(t)
	all := faces(t, w.World, w.Owner)
	if r := all[0].ask(t, warm); r.Status != http.StatusNoContent {
		t.Fatalf("got %d %s", r.Status, r.Body)
	}
	ctx, release := context.WithCancel(t.Context())
	held := make(chan error)
	for range 2 {
		got := make(chan struct{})
		go func() {
			held <- w.DB.ReadOperator(context.WithoutCancel(ctx), func(pg.Tx) error {
				close(got)
				<-ctx.Done()
				return nil
			})
		}()
		<-got
	}
	// What is in memory needs none; the feed has a connection of its own.
	for _, c := range all {
		eventually(t, 10*time.Second, c.name+" lets a known key pass", func() bool {
			r := c.ask(t, warm)
			if r.Status != http.StatusNoContent && r.Status != http.StatusServiceUnavailable { // without the lease for a moment
				t.Fatalf("%s: got %d %s", c.name, r.Status, r.Body)
			}
			return r.Status == http.StatusNoContent
		})
	}
	for i, r := range atOnce(len(all), func(i int) apptest.Response { return all[i].ask(t, cold) }) {
		if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s, an unknown key: got %d %s", all[i].name, r.Status, r.Body)
		}
	}
	requests := []apptest.Request{
		{Method: "GET", Path: "/v1/tenants", Token: w.Owner},
		{Method: "POST", Path: "/v1/tenants", Token: w.Owner, Body: map[string]any{"name": "busy", "slug": "busy"}},
		{Method: "POST", Path: "/v1/tenants", Token: w.Owner, Body: map[string]any{"name": "busy", "slug": "busy"}, Header: map[string]string{"Idempotency-Key": "busy"}},
	}
	for i, r := range atOnce(len(requests), func(i int) apptest.Response { return w.Do(t, requests[i]) }) {
		if r.Status != http.StatusServiceUnavailable || r.Code() != "database_busy" || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %s", requests[i].Method, r.Status, r.Body)
		}
	}
	release()
	if err := errors.Join(<-held, <-held); err != nil {
		t.Error(err)
	}
	w.must(t, "GET", "/v1/tenants", nil)
	for _, c := range all {
		if r := c.ask(t, cold); r.Status != http.StatusNoContent {
			t.Errorf("%s: got %d afterwards", c.name, r.Status)
		}
	}
	if r := w.Do(t, requests[2]); r.Status != http.StatusCreated || r.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
}

func TestNew_tooFewConnections(t *testing.T) {
	t.Parallel()
	for _, n := range []int32{-1, 1} {
		_, err := app.New(t.Context(), app.Config{DatabaseURL: "postgres://127.0.0.1", Keys: apptest.NewKeys(t), MaxConns: n})
		if err == nil || !strings.Contains(err.Error(), "too few") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// blocked holds a lock that every write to tenants waits for.
type blocked struct {
	tx       pgx.Tx
	observer *pgx.Conn
}

func block(t *testing.T, superURL string) *blocked {
	t.Helper()
	tx, err := session(t, superURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE tenants IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	return &blocked{tx: tx, observer: session(t, superURL)}
}

// await returns when n requests wait for the lock.
func (b *blocked) await(t *testing.T, n int) {
	t.Helper()
	eventually(t, 10*time.Second, "requests that wait for the lock", func() bool {
		var waiting int
		if err := b.observer.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'landlord' AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting == n
	})
}

func (b *blocked) release(t *testing.T) {
	t.Helper()
	if err := b.tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A lock that is never let go: the request gives up, and says so.
func TestFault_lockHeld(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	w := &world{World: apptest.On(t, urls.App, apptest.NewKeys(t))}
	b := block(t, urls.Super)
	began := time.Now()
	r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/tenants", Token: w.Owner, Body: map[string]any{"name": "late", "slug": "late"}})
	if took := time.Since(began); r.Status != http.StatusServiceUnavailable || r.Code() != "database_busy" || took > 12*time.Second {
		t.Errorf("got %d %s after %v", r.Status, r.Body, took)
	}
	b.await(t, 0)
	b.release(t)
	if r := w.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants/slug:late", Token: w.Owner}); r.Status != http.StatusNotFound {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
}

// A caller that goes away: what it began is undone, its Idempotency-Key is free,
// the connection goes back, and the log does not cry.
func TestFault_callerGone(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	w := &world{World: apptest.On(t, urls.App, apptest.NewKeys(t))}
	tenant := w.must(t, "POST", "/v1/tenants", map[string]any{"name": "before", "slug": "before"})["id"].(string)
	b := block(t, urls.Super)
	requests := map[string]apptest.Request{
		"update": {Method: "PATCH", Path: "/v1/tenants/" + tenant, Body: map[string]any{"name": "after"}},
		"create": {Method: "POST", Path: "/v1/tenants", Body: map[string]any{"name": "new", "slug": "new"}, Header: map[string]string{"Idempotency-Key": "gone"}},
	}
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	for _, r := range requests {
		req := w.request(t, ctx, r)
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			gone <- err
		}()
	}
	b.await(t, len(requests))
	leave()
	for range requests {
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	b.await(t, 0) // its statements were cancelled although the lock is still held
	eventually(t, 10*time.Second, "two lines of callers that left", func() bool {
		return strings.Count(w.Log.String(), `"status":499`) == 2
	})
	b.release(t)
	eventually(t, 10*time.Second, "no connection in use", func() bool { return w.DB.Stat().AcquiredConns() == 0 })
	if log := w.Log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log cries:\n%s", log)
	}
	if got := w.must(t, "GET", "/v1/tenants/"+tenant, nil)["name"]; got != "before" {
		t.Errorf("got %v", got)
	}
	again := requests["create"]
	again.Token = w.Owner
	if r := w.Do(t, again); r.Status != http.StatusCreated || r.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("got %d %s", r.Status, r.Body)
	}
}

// request makes a request of the owner with a context of its own.
func (w *world) request(t *testing.T, ctx context.Context, r apptest.Request) *http.Request {
	t.Helper()
	var body strings.Builder
	if r.Body != nil {
		writeJSON(t, &body, r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, w.URL+r.Path, strings.NewReader(body.String()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Owner)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	return req
}

// One Idempotency-Key at two replicas at once makes one thing; who asks again
// gets the first one's answer, byte by byte.
func TestFault_sameKeyAtTwoReplicas(t *testing.T) {
	t.Parallel()
	urls, keys := pgtest.CloneURLs(t), apptest.NewKeys(t)
	one := &world{World: apptest.On(t, urls.App, keys)}
	two := &world{World: apptest.On(t, urls.App, keys)}
	account := one.must(t, "POST", "/v1/services", map[string]any{"name": "account", "permissions": []string{"tenants:read"}})["id"].(string)
	tokens := "/v1/services/" + account + "/tokens" // tokens of one name may be many: nothing else keeps a second away
	for _, key := range []string{"first", "second", "third"} {
		send := func(w *world) apptest.Response {
			return w.Do(t, apptest.Request{
				Method: "POST", Path: tokens, Token: one.Owner, Body: map[string]any{"name": key}, Header: map[string]string{"Idempotency-Key": key},
			})
		}
		bodies := map[string]int{}
		for _, r := range atOnce(12, func(i int) apptest.Response { return send([]*world{one, two}[i%2]) }) {
			switch {
			case r.Status == http.StatusCreated:
				bodies[string(r.Body)]++
			case r.Status == http.StatusConflict && r.Code() == "idempotency_in_progress" && r.Header.Get("Retry-After") != "":
			default:
				t.Errorf("%s: got %d %s", key, r.Status, r.Body)
			}
		}
		for _, w := range []*world{one, two} {
			if r := send(w); r.Status != http.StatusCreated || r.Header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s: got %d %s", key, r.Status, r.Body)
			} else {
				bodies[string(r.Body)]++
			}
		}
		if len(bodies) != 1 {
			t.Errorf("%s: different answers: %v", key, slices.Sorted(maps.Keys(bodies)))
		}
	}
	made := one.must(t, "GET", tokens, nil)["data"].([]any)
	if len(made) != 3 {
		t.Errorf("%d tokens were made, want 3", len(made))
	}
}
