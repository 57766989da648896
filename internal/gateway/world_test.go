package gateway_test

import (
	"context"
	"crypto/rand"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/gateway"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// world is a tenant that is entitled to the product "render", on a database of
// its own, and the face in front of its keys.
type world struct {
	t        testing.TB
	db       *pg.DB
	verifier *apikey.Verifier
	keys     *apikey.Service
	fresh    atomic.Bool
	stopped  atomic.Pointer[time.Time]
	gateway  *gateway.Gateway

	tenant  id.Tenant
	project id.Project

	held, release chan struct{} // a verification of the key "held" waits between the two
}

func newWorld(t testing.TB, change ...func(*gateway.Config)) *world {
	t.Helper()
	w := &world{t: t, tenant: id.New[id.Tenant](), project: id.New[id.Project](), held: make(chan struct{}), release: make(chan struct{})}
	var err error
	if w.db, err = pg.Open(t.Context(), pg.Config{URL: pgtest.CloneURLs(t).App}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.db.Close)
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	w.fresh.Store(true)
	w.verifier = apikey.NewVerifier(w.db, ring, apikey.VerifierConfig{
		Fresh: w.fresh.Load,
		Now: func() time.Time {
			if at := w.stopped.Load(); at != nil {
				return *at
			}
			return time.Now()
		},
		UsageLimit: func(_ context.Context, v *apikey.Verification, _ int64) (bool, error) {
			if v.KeyName == "held" {
				w.held <- struct{}{}
				<-w.release
			}
			return v.KeyName != "used up", nil
		},
	})
	t.Cleanup(func() { _ = w.verifier.Close(context.WithoutCancel(t.Context())) })
	if w.keys, err = apikey.New(w.db, ring, apikey.Config{Verifier: w.verifier}); err != nil {
		t.Fatal(err)
	}
	c := gateway.Config{Verifier: w.verifier, TrustedProxies: loopback}
	for _, f := range change {
		f(&c)
	}
	w.gateway = gateway.New(c)
	w.exec(`INSERT INTO products (name, title, scopes) VALUES ('render', 'Render',
		'[{"name": "renders:create", "access": "write"}, {"name": "renders:read", "access": "read"}]'), ('other', 'Other', '[]')`)
	w.exec(`INSERT INTO tenants (id, slug, name, status) VALUES ($1, 'acme', 'Acme', 'active')`, w.tenant)
	w.exec(`INSERT INTO tenant_projects (id, tenant_id, name, slug) VALUES ($2, $1, 'Project', 'project')`, w.tenant, w.project)
	w.exec(`INSERT INTO tenant_products (tenant_id, product) VALUES ($1, 'render')`, w.tenant)
	return w
}

// stopClock lets no time pass for verifications.
func (w *world) stopClock() {
	now := time.Now()
	w.stopped.Store(&now)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if err := w.db.AsOperator(w.t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(w.t.Context(), sql, args...)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	w.verifier.Forget()
}

func (w *world) ctx() context.Context {
	return access.With(w.t.Context(), access.Principal{Type: access.User, ID: "operator_1", Permissions: access.Owner.Permissions()})
}

func (w *world) create(change ...func(*apikey.CreateParams)) (apikey.Key, string) {
	w.t.Helper()
	p := apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: rand.Text(), Scopes: []string{"renders:*"}}
	for _, f := range change {
		f(&p)
	}
	k, token, err := w.keys.Create(w.ctx(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, token.Reveal()
}

func (w *world) status(status string) {
	w.t.Helper()
	w.exec(`UPDATE tenants SET status = $2::text::tenant_status, frozen_at = NOW(), archived_at = NOW(), suspended_at = NOW(),
		suspension_reason = 'test', status_before_suspension = 'active' WHERE id = $1`, w.tenant, status)
}
