package event_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// patience is how long a test waits for what must come. The horizon is that of the
// whole server, which other test binaries work on as well.
const patience = time.Minute

func newService(t testing.TB, db *pg.DB, opts ...event.Option) *event.Service {
	t.Helper()
	s := event.New(db, opts...)
	t.Cleanup(s.Release)
	return s
}

func write(t testing.TB, db *pg.DB, fn func(pg.Tx) error) {
	t.Helper()
	if err := db.AsOperator(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, db *pg.DB, sql string, args ...any) {
	t.Helper()
	write(t, db, func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	})
}

func newTenant(t testing.TB, db *pg.DB) id.Tenant {
	t.Helper()
	n := id.New[id.Tenant]()
	exec(t, db, `INSERT INTO tenants (id, slug, name, status) VALUES ($1::uuid, 'e' || substr(replace($1::uuid::text, '-', ''), 13), 'T', 'active')`, n)
	return n
}

// happened adds an event of a type to a transaction.
func happened(ctx context.Context, tx pg.Tx, tenant id.Tenant, typ string) error {
	b := &pg.Batch{}
	event.Queue(b, event.Event{ID: id.New[id.Event](), TenantID: tenant, Type: typ, Payload: json.RawMessage(`{}`)})
	return pg.Send(ctx, tx, b)
}

// commit writes events of a tenant, each in a transaction of its own.
func commit(t testing.TB, db *pg.DB, tenant id.Tenant, types ...string) {
	t.Helper()
	for _, typ := range types {
		write(t, db, func(tx pg.Tx) error { return happened(t.Context(), tx, tenant, typ) })
	}
}

// platform is a context that acts as a service of the platform.
func platform(t testing.TB, perms ...access.Permission) context.Context {
	t.Helper()
	if perms == nil {
		perms = access.All()
	}
	return access.With(t.Context(), access.Principal{Type: access.Service, ID: "service_x", Permissions: access.NewSet(perms...), RequestID: "req"})
}

// confined is a context that acts as a tenant's own key.
func confined(t testing.TB, tenant id.Tenant, perms ...access.Permission) context.Context {
	t.Helper()
	return access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_x", Tenant: tenant, Permissions: access.NewSet(perms...)})
}

// reader reads a tenant's events page by page.
type reader struct {
	s      *event.Service
	ctx    context.Context
	tenant id.Tenant
	p      event.ReadParams
}

// next reads a page, waiting for it for a moment.
func (r *reader) next() ([]event.Event, bool, error) {
	got, err := r.s.ListOf(r.ctx, r.tenant, r.p)
	r.p.Cursor, r.p.Latest = got.Next, false
	return got.Data, got.More, err
}

// upTo reads until so many events have come.
func (r *reader) upTo(t testing.TB, n int) []event.Event {
	t.Helper()
	r.p.Wait = time.Second
	var all []event.Event
	for end := time.Now().Add(patience); len(all) < n; {
		page, _, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if time.Now().After(end) {
			t.Fatalf("%d events came, want %d: %v", len(all), n, typesOf(all))
		}
	}
	return all
}

func typesOf(events []event.Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}
