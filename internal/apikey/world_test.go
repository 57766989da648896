package apikey_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

func TestSQL(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".", "listKeysSQL", "searchKeysSQL", "searchBelowSQL") // TestLists_queries runs them whole
}

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// world is a tenant with a product and a project, beside the services.
type world struct {
	t        testing.TB
	db       *pg.DB
	ring     *secret.Keyring
	secrets  string // the file ring was read from
	keys     *apikey.Service
	verifier *apikey.Verifier
	clock    *clock
	fresh    *atomic.Bool

	tenant  id.Tenant
	slug    string
	project id.Project
	product string
}

// newSecrets makes the text of a secrets file.
func newSecrets(t testing.TB) string {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parseRing(t testing.TB, text string) *secret.Keyring {
	t.Helper()
	ring, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newWorld(t testing.TB, change ...func(*apikey.VerifierConfig)) *world {
	t.Helper()
	return newWorldIn(t, pgtest.New(t), change...)
}

func newWorldIn(t testing.TB, db *pg.DB, change ...func(*apikey.VerifierConfig)) *world {
	t.Helper()
	w := &world{t: t, db: db, secrets: newSecrets(t), clock: newClock(), fresh: new(atomic.Bool)}
	w.fresh.Store(true)
	w.ring = parseRing(t, w.secrets)
	c := apikey.VerifierConfig{Fresh: w.fresh.Load, Now: w.clock.now}
	for _, f := range change {
		f(&c)
	}
	w.verifier = apikey.NewVerifier(db, w.ring, c)
	t.Cleanup(func() { _ = w.verifier.Close(context.WithoutCancel(t.Context())) })
	var err error
	if w.keys, err = apikey.New(db, w.ring, apikey.Config{Verifier: w.verifier, Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	w.product = "p" + strings.ToLower(rand.Text()[:10])
	w.exec(`INSERT INTO products (name, title, default_config, scopes) VALUES ($1, 'Product', '{"seats": 1, "queue": {"size": 12345678901234567890}}', $2)`, w.product,
		`[{"name": "renders:create", "access": "write"}, {"name": "renders:read", "access": "read"}, {"name": "stats:query", "access": "read"}]`)
	w.tenant = w.newTenant(id.Tenant{})
	w.slug = slugOf(w.tenant)
	w.project = w.newProject(w.tenant)
	w.entitle(w.tenant, w.product)
	return w
}

func slugOf(t id.Tenant) string { return "t-" + t.Hex()[16:] }

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	err := w.db.AsOperator(w.t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(w.t.Context(), sql, args...)
		return err
	})
	if err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) newTenant(parent id.Tenant) id.Tenant {
	w.t.Helper()
	n := id.New[id.Tenant]()
	w.exec(`INSERT INTO tenants (id, slug, name, status, parent_id, ancestors)
		VALUES ($1, $2, 'Tenant', 'active', $3, COALESCE((SELECT ancestors || id FROM tenants WHERE id = $3), '{}'))`,
		n, slugOf(n), parent)
	return n
}

func (w *world) newProject(tenant id.Tenant) id.Project {
	w.t.Helper()
	n := id.New[id.Project]()
	w.exec(`INSERT INTO tenant_projects (id, tenant_id, name, slug) VALUES ($1, $2, 'Project', $3)`, n, tenant, "p-"+n.Hex()[16:])
	return n
}

func (w *world) entitle(tenant id.Tenant, product string) {
	w.t.Helper()
	w.exec(`INSERT INTO tenant_products (tenant_id, product, config) VALUES ($1, $2, '{"seats": 3}')`, tenant, product)
}

func (w *world) setStatus(tenant id.Tenant, status string) {
	w.t.Helper()
	w.exec(`UPDATE tenants SET status = $2::text::tenant_status, frozen_at = NOW(), archived_at = NOW(), suspended_at = NOW(),
		suspension_reason = 'test', status_before_suspension = 'active' WHERE id = $1`, tenant, status)
}

// operator is a context of somebody who may do everything.
func operator(ctx context.Context) context.Context {
	return access.With(ctx, access.Principal{Type: access.User, ID: "operator_1", Permissions: access.Owner.Permissions()})
}

func (w *world) ctx() context.Context { return operator(w.t.Context()) }

// create issues a key; change adjusts what would be a plain live key.
func (w *world) create(change ...func(*apikey.CreateParams)) (apikey.Key, string) {
	w.t.Helper()
	p := apikey.CreateParams{
		TenantID: w.tenant, Environment: apikey.Live, Name: "key " + rand.Text(), Scopes: []string{"renders:*", "projects:read"},
	}
	for _, f := range change {
		f(&p)
	}
	k, token, err := w.keys.Create(w.ctx(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, token.Reveal()
}

func (w *world) check(p apikey.VerifyParams) apikey.Verification {
	w.t.Helper()
	v, err := w.verifier.Check(w.t.Context(), &p)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) outcome(token string) apikey.Outcome {
	w.t.Helper()
	return w.check(apikey.VerifyParams{Token: token}).Outcome
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %s", code)
		return
	}
	if got := fault.CodeOf(err); got != code {
		t.Errorf("got %s (%v), want %s", got, err, code)
	}
}

// wantField expects an invalid request whose complaint is of one field.
func wantField(t testing.TB, err error, field, code string) {
	t.Helper()
	for _, f := range fault.As(err).Fields {
		if f.Field == field && f.Code == code {
			return
		}
	}
	t.Errorf("got %v, want %s: %s", err, field, code)
}

func count[T any](t testing.TB, db *pg.DB, sql string, args ...any) T {
	t.Helper()
	var n T
	err := db.ReadOperator(t.Context(), func(tx pg.Tx) error { return tx.QueryRow(t.Context(), sql, args...).Scan(&n) })
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}
