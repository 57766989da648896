package event_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// recorded returns an option that writes each erasure into the tenant's events, as
// the audit log does.
func recorded(before ...func(context.Context, pg.Tx) error) event.Option {
	return event.WithRecord(func(ctx context.Context, tx pg.Tx, tenant id.Tenant, e event.Erased, _ string) error {
		for _, fn := range before {
			if err := fn(ctx, tx); err != nil {
				return err
			}
		}
		return happened(ctx, tx, tenant, fmt.Sprintf("erased.n%d", e.Events))
	})
}

// many writes events of a tenant, of the types many.n1, many.n2 and so on.
func many(t testing.TB, db *pg.DB, tenant id.Tenant, n int) {
	t.Helper()
	exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) SELECT $1, 'many.n' || n, clock_timestamp() FROM generate_series(1, $2::int) AS n`, tenant, n)
}

// left are the types of a tenant's events, in their order.
func left(t testing.TB, db *pg.DB, tenant id.Tenant) (types []string) {
	t.Helper()
	write(t, db, func(tx pg.Tx) (err error) {
		types, err = pg.Scalars[string](t.Context(), tx, `SELECT type FROM tenant_events WHERE tenant_id = $1 ORDER BY xid, seq`, tenant)
		return err
	})
	return types
}

func clockOf(t testing.TB, db *pg.DB) (now time.Time) {
	t.Helper()
	write(t, db, func(tx pg.Tx) error { return tx.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now) })
	return now.UTC()
}

// What was written before a time goes, from every month; what came later, and what
// is others', stays. Who has read half of it reads on.
func TestErase(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db, recorded())
	own, other := newTenant(t, db), newTenant(t, db)
	lastMonth := time.Now().UTC().AddDate(0, 0, -time.Now().UTC().Day())
	exec(t, db, `SELECT landlord_make_month_partition('tenant_events', $1::date)`, lastMonth)
	exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ($1, 'a.old', $2)`, own, lastMonth)
	commit(t, db, own, "a.first", "a.second")
	commit(t, db, other, "a.foreign")
	half := reader{s: s, ctx: platform(t), tenant: own, p: event.ReadParams{Limit: 1}}
	half.upTo(t, 1)
	before := clockOf(t, db)
	commit(t, db, own, "a.later")

	told, err := s.Erase(platform(t), own, event.EraseParams{Before: before, DryRun: true})
	if err != nil || told.Events != 3 || told.More || told.Newest == nil || told.Newest.After(before) || told.Oldest == nil || told.Oldest.Month() != lastMonth.Month() {
		t.Errorf("told %+v, %v", told, err)
	}
	if diff := cmp.Diff([]string{"a.old", "a.first", "a.second", "a.later"}, left(t, db, own)); diff != "" {
		t.Fatalf("only to tell: %s", diff)
	}
	for _, want := range []event.Erased{{Before: before, Events: 3}, {Before: before}} {
		got, err := s.Erase(platform(t), own, event.EraseParams{Before: before})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	if diff := cmp.Diff([]string{"a.later", "erased.n3"}, left(t, db, own)); diff != "" {
		t.Errorf("recorded once, and only when something was erased: %s", diff)
	}
	if diff := cmp.Diff([]string{"a.foreign"}, left(t, db, other)); diff != "" {
		t.Error(diff)
	}
	half.p.Limit = 10
	if diff := cmp.Diff([]string{"a.later", "erased.n3"}, typesOf(half.upTo(t, 2))); diff != "" {
		t.Errorf("who has read half of it: %s", diff)
	}
}

// One call takes so many, the oldest; one that dies in the middle has erased
// nothing, those before it have, and repeating it ends.
func TestErase_killedBetweenBatches(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	calls := 0
	s := newService(t, db, recorded(func(ctx context.Context, tx pg.Tx) error {
		if calls++; calls != 2 {
			return nil
		}
		_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
		return errors.Join(errors.New("killed"), err)
	}))
	tenant := newTenant(t, db)
	const total = 2*event.EraseBatch + 5
	many(t, db, tenant, total)
	before := clockOf(t, db)

	remain := func() []string {
		return slices.DeleteFunc(left(t, db, tenant), func(typ string) bool { return !strings.HasPrefix(typ, "many.") })
	}
	first, err := s.Erase(platform(t), tenant, event.EraseParams{Before: before})
	if err != nil || first.Events != event.EraseBatch || !first.More {
		t.Fatalf("%+v, %v", first, err)
	}
	if got := remain(); len(got) != total-event.EraseBatch || got[0] != fmt.Sprintf("many.n%d", event.EraseBatch+1) {
		t.Fatalf("%d are left, from %s", len(got), got[0])
	}
	if _, err := s.Erase(platform(t), tenant, event.EraseParams{Before: before}); err == nil {
		t.Fatal("it was not killed")
	}
	if got := remain(); len(got) != total-event.EraseBatch {
		t.Fatalf("%d are left after a call that was killed", len(got))
	}
	var all int64
	for more := true; more; {
		e, err := s.Erase(platform(t), tenant, event.EraseParams{Before: before})
		if err != nil {
			t.Fatal(err)
		}
		all, more = all+e.Events, e.More
	}
	if got := remain(); len(got) != 0 || all != total-event.EraseBatch {
		t.Errorf("%d more were erased, %d are left", all, len(got))
	}
}

// What is not recorded is not erased.
func TestErase_unrecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	tenant := newTenant(t, db)
	commit(t, db, tenant, "a.kept")
	for name, s := range map[string]*event.Service{
		"by nobody": newService(t, db),
		"in vain":   newService(t, db, recorded(func(context.Context, pg.Tx) error { return errors.New("no room") })),
	} {
		if _, err := s.Erase(platform(t), tenant, event.EraseParams{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := left(t, db, tenant); !slices.Equal(got, []string{"a.kept"}) {
		t.Errorf("left: %v", got)
	}
}

// A legal hold keeps all, also one that is being set: the erasure waits for it.
func TestErase_legalHold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db, recorded())
	tenant := newTenant(t, db)
	commit(t, db, tenant, "a.evidence")
	erased := make(chan error, 1)
	err := db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE tenants SET legal_hold = TRUE, legal_hold_reason = 'case 7' WHERE id = $1`, tenant); err != nil {
			return err
		}
		go func() {
			_, err := s.Erase(platform(t), tenant, event.EraseParams{})
			erased <- err
		}()
		for waiting := false; !waiting; { // for our lock
			if err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM tenants%FOR SHARE%' AND pid <> pg_backend_pid())`).Scan(&waiting)
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-erased; fault.CodeOf(err) != "tenant_on_hold" || fault.KindOf(err) != fault.ConflictKind {
		t.Errorf("got %v", err)
	}
	if e, err := s.Erase(platform(t), tenant, event.EraseParams{DryRun: true}); err != nil || e.Events != 1 {
		t.Errorf("to tell is no harm: %+v, %v", e, err)
	}
	exec(t, db, `UPDATE tenants SET legal_hold = FALSE, legal_hold_reason = NULL WHERE id = $1`, tenant)
	if e, err := s.Erase(platform(t), tenant, event.EraseParams{}); err != nil || e.Events != 1 {
		t.Errorf("after the hold: %+v, %v", e, err)
	}
}

func TestErase_refused(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db, recorded())
	own, other := newTenant(t, db), newTenant(t, db)
	for name, tc := range map[string]struct {
		ctx    context.Context
		tenant id.Tenant
		p      event.EraseParams
		code   string
	}{
		"nobody":                {t.Context(), own, event.EraseParams{}, "credential_required"},
		"may only read":         {platform(t, access.EventsRead, access.EventsWrite), own, event.EraseParams{}, "permission_denied"},
		"a tenant's own key":    {confined(t, own, access.EventsRead, access.EventsWrite), own, event.EraseParams{}, "permission_denied"},
		"another tenant's":      {confined(t, other, access.EventsErase), own, event.EraseParams{}, "tenant_not_found"},
		"no such tenant":        {platform(t), id.New[id.Tenant](), event.EraseParams{}, "tenant_not_found"},
		"no such, told":         {platform(t), id.New[id.Tenant](), event.EraseParams{DryRun: true}, "tenant_not_found"},
		"the future":            {platform(t), own, event.EraseParams{Before: time.Now().Add(time.Hour)}, "invalid_request"},
		"a long reason":         {platform(t), own, event.EraseParams{Reason: strings.Repeat("x", 501)}, "invalid_request"},
		"a reason with a break": {platform(t), own, event.EraseParams{Reason: "a\nb"}, "invalid_request"},
	} {
		if _, err := s.Erase(tc.ctx, tc.tenant, tc.p); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want %s", name, err, tc.code)
		}
	}
	if access.EventsErase.TenantGrantable() {
		t.Error("a tenant can be granted to erase")
	}
}
