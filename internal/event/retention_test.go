package event_test

import (
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

const day = 24 * time.Hour

// monthAgo is the first instant of the month so many months ago.
func monthAgo(n int) time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()-time.Month(n), 1, 0, 0, 0, 0, time.UTC)
}

// aged makes the months of the last year, of events, deliveries and tries, and in
// each month an event of a tenant.
func aged(t testing.TB, db *pg.DB, tenant id.Tenant) {
	t.Helper()
	for ago := range 13 {
		for _, table := range []string{"tenant_events", "tenant_webhook_deliveries", "tenant_webhook_attempts"} {
			exec(t, db, `SELECT landlord_make_month_partition($1, $2::date)`, table, monthAgo(ago))
		}
	}
	for ago := 12; ago >= 0; ago-- {
		at := monthAgo(ago)
		exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ($1, $2, $3)`, tenant, "month."+at.Format("y2006m01"), at)
		exec(t, db, `INSERT INTO event_marks (at, xid) VALUES ($1, pg_current_xact_id())`, at)
	}
}

// months are the months that there are of a table, up to the present one.
func months(t testing.TB, s *event.Service, table string) (all []string) {
	t.Helper()
	found, err := s.Retention(platform(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range found {
		if m.Table == table && !m.Month.After(time.Now()) {
			all = append(all, m.Month.UTC().Format("2006-01"))
		}
	}
	return all
}

func monthsSince(ago int) (all []string) {
	for ; ago >= 0; ago-- {
		all = append(all, monthAgo(ago).Format("2006-01"))
	}
	return all
}

func kept() event.Option {
	return event.WithRetention(
		event.Keep{Table: "tenant_events", For: 90 * day},
		event.Keep{Table: "tenant_webhook_deliveries", For: 90 * day},
		event.Keep{Table: "tenant_webhook_attempts"},
	)
}

// oldestKept is how many months ago the oldest one began whose last row is not 90
// days old yet.
func oldestKept() int {
	ago := 0
	for monthAgo(ago).Add(90 * day).After(time.Now()) { // the end of the month before it
		ago++
	}
	return ago
}

// Months go when their last row is old enough, on whatever replica, and with
// events go the marks of their time. What is kept for ever stays.
func TestDropOld(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db, kept())
	tenant := newTenant(t, db)
	aged(t, db, tenant)
	told, err := s.Retention(platform(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range told {
		want := m.Month.AddDate(0, 1, 0).Add(90 * day)
		if m.Table == "tenant_webhook_attempts" {
			want = time.Time{}
		}
		if !m.DropsAt.Equal(want) || m.Held || m.Bytes == 0 {
			t.Errorf("told %+v, want to drop it at %v", m, want)
		}
	}
	behind := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Limit: 1}}
	behind.upTo(t, 1)

	others := []*event.Service{s, newService(t, db, kept()), newService(t, db, kept())}
	errs := make(chan error, len(others))
	for _, replica := range others { // at once
		go func() { errs <- replica.DropOld(t.Context()) }()
	}
	for range others {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	oldest := oldestKept()
	for table, want := range map[string][]string{
		"tenant_events": monthsSince(oldest), "tenant_webhook_deliveries": monthsSince(oldest), "tenant_webhook_attempts": monthsSince(12),
	} {
		if diff := cmp.Diff(want, slices.DeleteFunc(months(t, s, table), func(m string) bool { return m < monthAgo(12).Format("2006-01") })); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
	if got := left(t, db, tenant); len(got) != oldest+1 || got[0] != "month."+monthAgo(oldest).Format("y2006m01") {
		t.Errorf("left: %v", got)
	}
	var marks []time.Time
	write(t, db, func(tx pg.Tx) (err error) {
		marks, err = pg.Scalars[time.Time](t.Context(), tx, `SELECT at FROM event_marks ORDER BY at LIMIT 1`)
		return err
	})
	if len(marks) != 1 || !marks[0].Equal(monthAgo(oldest)) {
		t.Errorf("the marks begin at %v, want %v", marks, monthAgo(oldest))
	}
	if _, _, err := behind.next(); fault.CodeOf(err) != "cursor_expired" {
		t.Errorf("who has read half of it: %v", err)
	}
	if err := s.DropOld(t.Context()); err != nil { // has nothing to do
		t.Error(err)
	}
}

// A month with something of a tenant under legal hold stays until it is released,
// and says so.
func TestDropOld_legalHold(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db, kept())
	held, other := newTenant(t, db), newTenant(t, db)
	aged(t, db, other)
	exec(t, db, `UPDATE tenants SET legal_hold = TRUE, legal_hold_reason = 'case 7' WHERE id = $1`, held)
	evidence := monthAgo(9)
	exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ($1, 'a.evidence', $2)`, held, evidence.Add(time.Hour))
	drop := func() {
		t.Helper()
		if err := s.DropOld(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	drop()
	want := append([]string{evidence.Format("2006-01")}, monthsSince(oldestKept())...)
	if diff := cmp.Diff(want, months(t, s, "tenant_events")); diff != "" {
		t.Error(diff)
	}
	all, err := s.Retention(platform(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Held != (m.Table == "tenant_events" && m.Month.Equal(evidence)) {
			t.Errorf("told %+v", m)
		}
	}
	r := reader{s: s, ctx: platform(t), tenant: held, p: event.ReadParams{Filter: event.Filter{Since: evidence}}}
	if diff := cmp.Diff([]string{"a.evidence"}, typesOf(r.upTo(t, 1))); diff != "" {
		t.Error(diff)
	}
	exec(t, db, `UPDATE tenants SET legal_hold = FALSE, legal_hold_reason = NULL WHERE id = $1`, held)
	drop()
	if diff := cmp.Diff(want[1:], months(t, s, "tenant_events")); diff != "" {
		t.Errorf("after the hold: %s", diff)
	}
}

// A table that somebody is reading keeps its months until the next time, waits for
// him once, and keeps the other tables from nothing.
func TestDropOld_inUse(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db, kept())
	tenant := newTenant(t, db)
	aged(t, db, tenant)
	err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM tenant_webhook_deliveries`); err != nil {
			return err
		}
		err := s.DropOld(t.Context())
		if want := "drop " + monthAgo(12).Format("2006-01") + " of tenant_webhook_deliveries: "; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			return fmt.Errorf("got %w, want one %s", err, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := monthsSince(oldestKept())
	if diff := cmp.Diff(want, months(t, s, "tenant_events")); diff != "" {
		t.Errorf("events: %s", diff)
	}
	if diff := cmp.Diff(monthsSince(12), months(t, s, "tenant_webhook_deliveries")); diff != "" {
		t.Errorf("deliveries: %s", diff)
	}
	if err := s.DropOld(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, months(t, s, "tenant_webhook_deliveries")); diff != "" {
		t.Errorf("deliveries, the next time: %s", diff)
	}
}

func TestRetention_access(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db, kept())
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"nobody":        {second(s.Retention(t.Context())), "credential_required"},
		"no permission": {second(s.Retention(platform(t, access.AuditRead))), "permission_denied"},
		"a tenant":      {second(s.Retention(confined(t, newTenant(t, db), access.EventsRead))), "platform_only"},
	} {
		if fault.CodeOf(tc.err) != tc.code {
			t.Errorf("%s: got %v, want %s", name, tc.err, tc.code)
		}
	}
}

func second(_ any, err error) error { return err }
