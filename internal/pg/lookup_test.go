//go:build unix

package pg_test

import (
	"context"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

type slugRow struct {
	Slug string `db:"slug"`
}

const slugOfTenantSQL = `SELECT slug FROM tenants WHERE id = $1`

func newTenant(t *testing.T, db *pg.DB, slug string) id.Tenant {
	t.Helper()
	n := id.New[id.Tenant]()
	if err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO tenants (id, slug, name, status) VALUES ($1, $2, 'Tenant', 'active')`, n, slug)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// A look-up sees every tenant, writes nothing, and leaves a connection that sees none.
func TestLookup(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 1})
	ctx := t.Context()
	tenant := newTenant(t, db, "lookup")
	if got, err := pg.Lookup[slugRow](ctx, db, slugOfTenantSQL, tenant); err != nil || got.Slug != "lookup" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := db.ReadTenant(ctx, id.New[id.Tenant](), func(tx pg.Tx) error {
		seen, err := pg.Collect[slugRow](ctx, tx, slugOfTenantSQL, tenant)
		if len(seen) != 0 {
			t.Error("another tenant is seen after a look-up")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	for name, sql := range map[string]string{
		"none":   `SELECT slug FROM tenants WHERE id = $1 AND FALSE`,
		"writes": `UPDATE tenants SET name = 'x' WHERE id = $1 RETURNING slug`,
		"fails":  `SELECT (1 / (id <> $1)::int)::text AS slug FROM tenants`,
		"wrong":  `SELECT slug FROM no_such_table WHERE id = $1`,
	} {
		if got, err := pg.Lookup[slugRow](ctx, db, sql, tenant); err == nil || pg.IsNoRows(err) != (name == "none") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := pg.Lookup[slugRow](ctx, db, slugOfTenantSQL, tenant); err != nil || got.Slug != "lookup" {
			t.Errorf("after %s: %v, %v", name, got, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := pg.Lookup[slugRow](gone, db, slugOfTenantSQL, tenant); err == nil {
		t.Error("a caller that is gone is answered")
	}
}

// Once the statement is known to the connection, a look-up is one round trip, also on a connection that lay idle.
func TestLookup_oneRoundTrip(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	wire := pgtest.NewWire(t, address.Host)
	address.Host = wire.Address()
	db, err := pg.Open(t.Context(), pg.Config{URL: address.String(), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tenant := newTenant(t, db, "one-round-trip")
	look := func() int64 {
		t.Helper()
		before := wire.RoundTrips()
		if _, err := pg.Lookup[slugRow](t.Context(), db, slugOfTenantSQL, tenant); err != nil {
			t.Fatal(err)
		}
		return wire.RoundTrips() - before
	}
	look()
	for range 5 {
		if n := look(); n != 1 {
			t.Errorf("%d round trips", n)
		}
	}
	<-time.After(1100 * time.Millisecond) // by then the pool would ask whether it lives
	if n := look(); n != 1 {
		t.Errorf("%d round trips after a pause", n)
	}
}

// Neither connections that died in the pool nor one that hangs cost a look-up.
func TestLookup_deadConnections(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 2, AppName: t.Name()})
	ctx := t.Context()
	tenant := newTenant(t, db, "dead-connections")
	super, err := pgx.Connect(ctx, pgtest.SuperURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = super.Close(context.WithoutCancel(ctx)) }()
	fill := func() {
		t.Helper()
		if err := db.ReadOperator(ctx, func(pg.Tx) error { return db.ReadOperator(ctx, one(ctx)) }); err != nil {
			t.Fatal(err)
		}
	}
	look := func() {
		t.Helper()
		if got, err := pg.Lookup[slugRow](ctx, db, slugOfTenantSQL, tenant); err != nil || got.Slug != "dead-connections" {
			t.Errorf("got %v, %v", got, err)
		}
	}
	fill()
	var killed int
	if err := super.QueryRow(ctx, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = $1`, t.Name()).Scan(&killed); err != nil || killed != 2 {
		t.Fatal(killed, err)
	}
	look()

	fill()
	rows, err := super.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE application_name = $1`, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(pids) != 2 {
		t.Fatal(pids, err)
	}
	<-time.After(1100 * time.Millisecond) // the pool holds them for good until then
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	}
	began := time.Now()
	look()
	if took := time.Since(began); took < time.Second || took > 8*time.Second { // 1 s each, and 1 s for a place in the pool
		t.Errorf("a look-up on connections that hang took %v", took)
	}
	// One that is in use is given up on with its caller only.
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := pg.Lookup[slugRow](short, db, `SELECT pg_sleep(20)::text AS slug`); fault.CodeOf(err) != "database_busy" {
		t.Errorf("got %v", err)
	}
}
