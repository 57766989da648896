package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

// world is a database with engines, tenants, endpoints and receivers.
type world struct {
	t    testing.TB
	urls pgtest.URLs
	db   *pg.DB // the publisher's
	keys *secret.Keyring
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, urls: pgtest.CloneURLs(t), keys: keyring(t)}
	w.db = w.open(nil)
	return w
}

func (w *world) open(session map[string]string) *pg.DB {
	w.t.Helper()
	db, err := pg.Open(w.t.Context(), pg.Config{URL: w.urls.App, MaxConns: 6, AppName: "landlord-test", Session: session})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(db.Close)
	return db
}

// engine starts an engine of its own replica; it stops with the test.
func (w *world) engine(change func(*EngineConfig)) *Engine {
	w.t.Helper()
	e := w.unstarted(change)
	e.Start(w.t.Context(), w.db)
	return e
}

func (w *world) unstarted(change func(*EngineConfig)) *Engine {
	w.t.Helper()
	allow, err := outbound.ParseAllow("http://127.0.0.1:*")
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Allow: []outbound.Allow{allow}})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := EngineConfig{
		Keys: w.keys, Send: client.Do, Poll: 100 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if change != nil {
		change(&cfg)
	}
	e, err := NewEngine(w.open(Session()), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		e.Stop(ctx)
		client.Close()
	})
	return e
}

func (w *world) tenant() id.Tenant {
	w.t.Helper()
	t := id.New[id.Tenant]()
	w.exec(`INSERT INTO tenants (id, slug, name) VALUES ($1, $2, 'T')`, t, "t-"+t.Hex())
	return t
}

// endpoint makes an endpoint of a tenant that wants everything.
func (w *world) endpoint(tenant id.Tenant, url string, set ...string) (id.Webhook, Secret) {
	w.t.Helper()
	endpoint, s := id.New[id.Webhook](), NewSecret(V1, time.Now())
	box, err := sealSecrets(w.keys, endpoint, []Secret{s})
	if err != nil {
		w.t.Fatal(err)
	}
	w.exec(`INSERT INTO tenant_webhooks (id, tenant_id, name, url, events, secret_encrypted) VALUES ($1, $2, 'x', $3, '{*}', $4)`,
		endpoint, tenant, url, box)
	for _, change := range set {
		w.exec(`UPDATE tenant_webhooks SET `+change+` WHERE id = $1`, endpoint)
	}
	return endpoint, s
}

// publish commits events of a tenant and returns their ids.
func (w *world) publish(tenant id.Tenant, types ...string) []id.Event {
	w.t.Helper()
	var ids []id.Event
	err := w.db.InTenant(w.t.Context(), tenant, func(tx pg.Tx) error {
		ids = nil
		b := &pg.Batch{}
		for i, eventType := range types {
			e := id.New[id.Event]()
			ids = append(ids, e)
			event.Queue(b, event.Event{ID: e, TenantID: tenant, Type: eventType, Payload: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i))})
		}
		pg.Mark(tx, event.Committed)
		return pg.Send(w.t.Context(), tx, b)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	err := w.db.AsOperator(w.t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(w.t.Context(), sql, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// deliveries returns a tenant's, oldest first.
func (w *world) deliveries(tenant id.Tenant) []Delivery {
	w.t.Helper()
	return rows[Delivery](w, `SELECT id, tenant_id, webhook_id, event_id, event_type, state, COALESCE(reason, '') AS reason, attempts, next_retry_at,
		claimed_until, expires_at, last_status, delivered_at, created_at FROM tenant_webhook_deliveries WHERE tenant_id = $1 ORDER BY event_id`, tenant)
}

func (w *world) attempts(tenant id.Tenant) []Attempt {
	w.t.Helper()
	return rows[Attempt](w, `SELECT id, tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers, response_status,
		response_headers, response_body, duration_ms, dns_us, connect_us, tls_us, first_byte_us, COALESCE(error_class, '') AS error_class,
		COALESCE(error_message, '') AS error_message, created_at
		FROM tenant_webhook_attempts WHERE tenant_id = $1 ORDER BY created_at, id`, tenant)
}

func rows[T any](w *world, sql string, args ...any) (all []T) {
	w.t.Helper()
	err := w.db.ReadOperator(w.t.Context(), func(tx pg.Tx) (err error) {
		all, err = pg.Collect[T](w.t.Context(), tx, sql, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func scalar[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var all []T
	err := w.db.ReadOperator(w.t.Context(), func(tx pg.Tx) (err error) {
		all, err = pg.Scalars[T](w.t.Context(), tx, sql, args...)
		return err
	})
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d rows, %v", len(all), err)
	}
	return all[0]
}

// eventually waits until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(2 * time.Minute) // of a machine that does much else
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			w.t.Fatalf("it never came to pass that %s", what)
		case <-tick.C:
		}
	}
}

// received is a request that came to a receiver.
type received struct {
	at     time.Time
	id     string
	header http.Header
	body   string
}

// receiver is somebody's server.
type receiver struct {
	*httptest.Server

	mu  sync.Mutex
	got []received
}

// newReceiver answers with what answer writes; nil answers 200.
func (w *world) newReceiver(answer http.HandlerFunc) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		at := time.Now()
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got = append(r.got, received{at: at, id: req.Header.Get(HeaderID), header: req.Header.Clone(), body: string(body)})
		r.mu.Unlock()
		if answer != nil {
			answer(rw, req)
		}
	}))
	w.t.Cleanup(r.Close)
	return r
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// ids returns the webhook-ids that came, sorted, each as often as it came.
func (r *receiver) ids() []string {
	var ids []string
	for _, g := range r.requests() {
		ids = append(ids, g.id)
	}
	slices.Sort(ids)
	return ids
}
