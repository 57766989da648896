package event_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	// The lists' statements are put together: see TestList_everyFilter.
	pgtest.PrepareAll(t, ".")
}

func TestList_everyFilter(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	ctx := platform(t)
	own, other := newTenant(t, db), newTenant(t, db)
	project := id.New[id.Project]()
	commit(t, db, own, "render.started")
	commit(t, db, other, "render.started")
	if err := s.Mark(ctx); err != nil {
		t.Fatal(err)
	}
	var since time.Time
	write(t, db, func(tx pg.Tx) error { return tx.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&since) })
	write(t, db, func(tx pg.Tx) error {
		if err := happened(t.Context(), tx, own, "render.completed"); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `
			INSERT INTO tenant_events (tenant_id, type, project_id, created_at) VALUES ($1, 'renderer.paused', $2, clock_timestamp())`, own, project)
		return err
	})
	all := []string{"render.started", "render.completed", "renderer.paused"}
	(&reader{s: s, ctx: ctx, tenant: own}).upTo(t, len(all)) // they have settled
	for name, tc := range map[string]struct {
		f    event.Filter
		want []string
	}{
		"none":         {event.Filter{}, all},
		"type":         {event.Filter{Type: "render.completed"}, all[1:2]},
		"prefix":       {event.Filter{Type: "render.*"}, all[:2]},
		"noun":         {event.Filter{Type: "render"}, []string{}},
		"project":      {event.Filter{ProjectID: project}, all[2:]},
		"since":        {event.Filter{Since: since}, all[1:]},
		"since ever":   {event.Filter{Since: time.Unix(0, 0)}, all},
		"since later":  {event.Filter{Since: time.Now().Add(time.Hour)}, []string{}},
		"all together": {event.Filter{Type: "renderer.*", ProjectID: project, Since: since}, all[2:]},
	} {
		got, err := s.ListOf(ctx, own, event.ReadParams{Filter: tc.f})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, typesOf(got.Data)); diff != "" || got.More || got.Next == "" {
			t.Errorf("%s: more %t, next %q %s", name, got.More, got.Next, diff)
		}
		one := reader{s: s, ctx: ctx, tenant: own, p: event.ReadParams{Filter: tc.f, Limit: 1}}
		var paged []event.Event
		for more := true; more; {
			var events []event.Event
			if events, more, err = one.next(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			paged = append(paged, events...)
		}
		if diff := cmp.Diff(tc.want, typesOf(paged)); diff != "" {
			t.Errorf("%s, one by one: %s", name, diff)
		}
	}
	found := false
	for p := (event.ReadParams{Filter: event.Filter{Since: since}}); !found; { // beside the events of other tests
		across, err := s.List(ctx, p)
		found = slices.ContainsFunc(across.Data, func(e event.Event) bool { return e.TenantID == own && e.Type == "renderer.paused" })
		if err != nil || !found && !across.More {
			t.Fatalf("across: %v %v", typesOf(across.Data), err)
		}
		p.Cursor = across.Next
	}
	e := (&reader{s: s, ctx: ctx, tenant: own}).upTo(t, 3)[2]
	if got, err := s.Get(ctx, own, e.ID); err != nil || got.ID != e.ID || got.ProjectID != project || !got.OccurredAt.Equal(got.CreatedAt) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestList_access(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	own, other := newTenant(t, db), newTenant(t, db)
	commit(t, db, own, "render.started")
	e := (&reader{s: s, ctx: platform(t), tenant: own}).upTo(t, 1)[0].ID
	gone := newTenant(t, db)
	exec(t, db, `UPDATE tenants SET deleted_at = now() WHERE id = $1`, gone)
	read := func(p event.ReadParams) error { return second(s.ListOf(platform(t), own, p)) }
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"nobody":                 {second(s.ListOf(t.Context(), own, event.ReadParams{})), "credential_required"},
		"no permission":          {second(s.ListOf(platform(t, access.AuditRead), own, event.ReadParams{})), "permission_denied"},
		"no permission, all":     {second(s.List(platform(t, access.AuditRead), event.ReadParams{})), "permission_denied"},
		"no permission, one":     {second(s.Get(platform(t, access.AuditRead), own, e)), "permission_denied"},
		"all, by a tenant":       {second(s.List(confined(t, own, access.EventsRead), event.ReadParams{})), "platform_only"},
		"another tenant":         {second(s.ListOf(confined(t, other, access.EventsRead), own, event.ReadParams{})), "tenant_not_found"},
		"another tenant's event": {second(s.Get(confined(t, other, access.EventsRead), own, e)), "tenant_not_found"},
		"through one's own":      {second(s.Get(confined(t, other, access.EventsRead), other, e)), "event_not_found"},
		"a deleted tenant":       {second(s.ListOf(platform(t), gone, event.ReadParams{})), "tenant_not_found"},
		"no such event":          {second(s.Get(platform(t), own, id.New[id.Event]())), "event_not_found"},
		"cursor":                 {read(event.ReadParams{Cursor: page.Encode("tenants", 1)}), "cursor_malformed"},
		"limit":                  {read(event.ReadParams{Limit: 201}), "invalid_request"},
		"type":                   {read(event.ReadParams{Filter: event.Filter{Type: "render%"}}), "invalid_request"},
		"a long type":            {read(event.ReadParams{Filter: event.Filter{Type: fmt.Sprintf("a.%0100d", 1)}}), "invalid_request"},
		"wait":                   {read(event.ReadParams{Wait: 21 * time.Second}), "invalid_request"},
		"latest and a cursor":    {read(event.ReadParams{Latest: true, Cursor: page.Encode("events", event.Position{})}), "invalid_request"},
	} {
		if tc.err == nil || fault.CodeOf(tc.err) != tc.code {
			t.Errorf("%s: got %v, want %s", name, tc.err, tc.code)
		}
	}
}

// A transaction that began first and commits last is not skipped by a reader who
// has read beyond it meanwhile: he is not let beyond it.
func TestList_lateCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	r := reader{s: s, ctx: platform(t), tenant: tenant}
	commit(t, db, tenant, "a.before")
	if got := typesOf(r.upTo(t, 1)); !slices.Equal(got, []string{"a.before"}) {
		t.Fatal(got)
	}
	r.p.Wait = 0
	err := db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		if err := happened(t.Context(), tx, tenant, "a.slow"); err != nil {
			return err
		}
		commit(t, db, tenant, "a.quick")
		for range 3 {
			if got, _, err := r.next(); err != nil || len(got) > 0 {
				return fmt.Errorf("read past an open transaction: %v %w", typesOf(got), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.slow", "a.quick"}, typesOf(r.upTo(t, 2))); diff != "" {
		t.Error(diff)
	}
}

// A transaction of another database on the same server holds nothing back, however
// long it takes; one of this database does.
func TestList_otherDatabases(t *testing.T) {
	t.Parallel()
	db, elsewhere := pgtest.Clone(t), pgtest.Clone(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	read := func() []string {
		t.Helper()
		got, err := s.ListOf(platform(t), tenant, event.ReadParams{})
		if err != nil {
			t.Fatal(err)
		}
		return typesOf(got.Data)
	}
	write(t, elsewhere, func(tx pg.Tx) error {
		if err := happened(t.Context(), tx, id.InternalTenant, "a.elsewhere"); err != nil {
			return err
		}
		commit(t, db, tenant, "a.here")
		if got := read(); !slices.Equal(got, []string{"a.here"}) {
			t.Errorf("beside another database's transaction: %v", got)
		}
		return db.AsOperator(t.Context(), func(own pg.Tx) error {
			if err := happened(t.Context(), own, id.InternalTenant, "a.own"); err != nil {
				return err
			}
			commit(t, db, tenant, "a.behind")
			if got := read(); !slices.Equal(got, []string{"a.here"}) {
				t.Errorf("beside one of its own: %v", got)
			}
			return nil
		})
	})
	if got := read(); !slices.Equal(got, []string{"a.here", "a.behind"}) {
		t.Errorf("after all of them: %v", got)
	}
}

// Changes of one thing follow one another, although the transaction of the later
// one began first: what waits for the row's lock has no place in the order yet.
func TestList_orderOfOneThing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	change := func(typ string, begun chan<- struct{}) error {
		return db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
			if begun != nil {
				close(begun)
			}
			if _, err := tx.Exec(t.Context(), `SELECT FROM tenants WHERE id = $1 FOR UPDATE`, tenant); err != nil {
				return err
			}
			return happened(t.Context(), tx, tenant, typ)
		})
	}
	done := make(chan error, 1)
	err := db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT FROM tenants WHERE id = $1 FOR UPDATE`, tenant); err != nil {
			return err
		}
		begun := make(chan struct{})
		go func() { done <- change("a.second", begun) }()
		<-begun
		for waiting := false; !waiting; { // for our lock
			if err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid IN (
					SELECT pid FROM pg_stat_activity WHERE datname = current_database()))`).Scan(&waiting)
			}); err != nil {
				return err
			}
		}
		return happened(t.Context(), tx, tenant, "a.first")
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.first", "a.second"}, typesOf((&reader{s: s, ctx: platform(t), tenant: tenant}).upTo(t, 2))); diff != "" {
		t.Error(diff)
	}
}

// Many write, with transactions of every length, some rolled back, while many
// read: each reader gets each event once, all in the same order.
func TestList_exactlyOnceInOrder(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db)
	tenants := []id.Tenant{newTenant(t, db), newTenant(t, db)}
	const writers, transactions, readers = 4, 40, 4
	ctx, cancel := context.WithTimeout(platform(t), 2*patience)
	defer cancel()

	var wg sync.WaitGroup
	errs := make(chan error, writers+readers)
	undo := errors.New("undo")
	written, total := make(chan int, writers), make(chan struct{})
	sum := 0 // once total is closed
	for w := range writers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			n := 0
			for i := range transactions {
				size, keep := 1+random.IntN(3), random.IntN(5) > 0
				err := db.AsOperator(ctx, func(tx pg.Tx) error {
					for k := range size {
						if err := happened(ctx, tx, tenants[random.IntN(2)], fmt.Sprintf("w.w%d_%d_%d", w, i, k)); err != nil {
							return err
						}
						if random.IntN(4) == 0 { // the transaction stays open, on the server's own clock
							if _, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, random.Float64()/50); err != nil {
								return err
							}
						}
					}
					if !keep {
						return undo
					}
					return nil
				})
				switch {
				case err == nil:
					n += size
				case !errors.Is(err, undo):
					errs <- err
				}
			}
			written <- n
		})
	}
	go func() {
		for range writers {
			sum += <-written
		}
		close(total)
	}()
	got := make([][]id.Event, readers)
	for r := range readers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(r)))
			complete := func() bool {
				select {
				case <-total:
					return len(got[r]) >= sum
				default:
					return false
				}
			}
			for cursor := ""; !complete(); {
				page, err := s.List(ctx, event.ReadParams{Filter: event.Filter{Type: "w.*"}, Cursor: cursor, Limit: 1 + random.IntN(5), Wait: time.Duration(random.IntN(2)) * time.Second})
				if err != nil {
					errs <- err
					return
				}
				cursor = page.Next
				for _, e := range page.Data {
					got[r] = append(got[r], e.ID)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	var want []id.Event
	write(t, db, func(tx pg.Tx) (err error) {
		want, err = pg.Scalars[id.Event](ctx, tx, `SELECT id FROM tenant_events WHERE type LIKE 'w.%' ORDER BY xid, seq`)
		return err
	})
	for r := range readers {
		if diff := cmp.Diff(want, got[r]); diff != "" {
			t.Errorf("reader %d: %s", r, diff)
		}
	}
	// A tenant's readers get the same, less the others' events.
	var own []event.Event
	for _, tenant := range tenants {
		one := reader{s: s, ctx: ctx, tenant: tenant, p: event.ReadParams{Filter: event.Filter{Type: "w.*"}, Limit: 7}}
		for more := true; more; {
			var events []event.Event
			var err error
			if events, more, err = one.next(); err != nil {
				t.Fatal(err)
			}
			own = append(own, events...)
		}
	}
	slices.SortFunc(own, func(a, b event.Event) int {
		if a.Before(b.Position) {
			return -1
		}
		return 1
	})
	var merged []id.Event
	for _, e := range own {
		merged = append(merged, e.ID)
	}
	if diff := cmp.Diff(want, merged); diff != "" {
		t.Errorf("tenant by tenant: %s", diff)
	}
}

// A filter that leaves nearly everything out costs a bounded look a page.
func TestList_rareType(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) SELECT $1, CASE WHEN n = 25000 THEN 'b.rare' ELSE 'b.usual' END, clock_timestamp() FROM generate_series(1, 25001) n`, tenant)
	(&reader{s: s, ctx: platform(t), tenant: tenant}).upTo(t, 1)
	r := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Filter: event.Filter{Type: "b.rare"}}}
	var pages []int
	for more := true; more; {
		var events []event.Event
		var err error
		if events, more, err = r.next(); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, len(events))
	}
	if diff := cmp.Diff([]int{0, 0, 1}, pages); diff != "" {
		t.Errorf("events of each page: %s", diff)
	}
}

func TestList_latest(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	commit(t, db, tenant, "c.old")
	(&reader{s: s, ctx: platform(t), tenant: tenant}).upTo(t, 1)
	r := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Latest: true}}
	if got, more, err := r.next(); err != nil || len(got) > 0 || more {
		t.Fatal(typesOf(got), more, err)
	}
	commit(t, db, tenant, "c.new")
	again := reader{s: newService(t, db), ctx: platform(t), tenant: tenant, p: event.ReadParams{Cursor: r.p.Cursor}} // after a restart
	if diff := cmp.Diff([]string{"c.new"}, typesOf(again.upTo(t, 1))); diff != "" {
		t.Error(diff)
	}
}

// Who waits is woken by the event, and by the end of the replica.
func TestList_waits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	r := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Latest: true}}
	if _, _, err := r.next(); err != nil {
		t.Fatal(err)
	}
	r.p.Wait = event.MaxWait
	began := time.Now()
	commit(t, db, newTenant(t, db), "f.foreign")
	commit(t, db, tenant, "f.own")
	if got, _, err := r.next(); err != nil || !slices.Equal(typesOf(got), []string{"f.own"}) {
		t.Fatal(typesOf(got), err)
	}
	go s.Release()
	if got, _, err := r.next(); err != nil || len(got) > 0 || time.Since(began) > event.MaxWait {
		t.Errorf("after the release: %v %v, %v", typesOf(got), err, time.Since(began))
	}
}

// A reader whose place was dropped is told; one who has kept up is not, however
// long ago his tenant's last event was.
func TestList_expired(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db)
	tenant, quiet := newTenant(t, db), newTenant(t, db)
	old := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	exec(t, db, `SELECT landlord_make_month_partition('tenant_events', $1::date)`, old)
	insert := func(typ string, at time.Time) {
		exec(t, db, `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ($1, $2, $3)`, tenant, typ, at)
	}
	insert("d.first", old)
	insert("d.second", old.Add(time.Hour))
	insert("d.third", time.Now())
	behind := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Limit: 1}}
	behind.upTo(t, 1)
	unread := reader{s: s, ctx: platform(t), tenant: quiet}
	if got, _, err := unread.next(); err != nil || len(got) > 0 {
		t.Fatal(typesOf(got), err)
	}
	ahead := reader{s: s, ctx: platform(t), tenant: tenant}
	ahead.upTo(t, 3)

	exec(t, db, `SELECT landlord_drop_month_partition('tenant_events', $1::date)`, old)
	if _, _, err := behind.next(); fault.CodeOf(err) != "cursor_expired" || fault.KindOf(err) != fault.ConflictKind {
		t.Errorf("behind: %v", err)
	}
	for name, r := range map[string]*reader{"ahead": &ahead, "a quiet tenant's": &unread} {
		r.p.Wait = 0
		if got, _, err := r.next(); err != nil || len(got) > 0 {
			t.Errorf("%s: %v %v", name, typesOf(got), err)
		}
	}
	anew := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Filter: event.Filter{Since: old}}}
	if got, _, err := anew.next(); err != nil || !slices.Equal(typesOf(got), []string{"d.third"}) {
		t.Errorf("anew: %v %v", typesOf(got), err)
	}
	// Of another database, or of this one before it was restored.
	ahead.p.Cursor = page.Encode("events", event.Position{XID: 1 << 60})
	if _, _, err := ahead.next(); fault.CodeOf(err) != "cursor_expired" {
		t.Errorf("a cursor ahead of the database: %v", err)
	}
}

// Events of a dump, with xids that this server has not reached, are shown, in
// their order, before what comes after.
func TestReorder(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := newService(t, db)
	tenant := newTenant(t, db)
	commit(t, db, tenant, "e.first")
	exec(t, db, `INSERT INTO tenant_events (tenant_id, type, xid, created_at) VALUES ($1, 'e.second', '9000000000', now()), ($1, 'e.third', '9000000001', now())`, tenant)
	exec(t, db, `INSERT INTO event_marks (at, xid) VALUES (now(), '9000000001')`)
	for range 2 { // the second time it has nothing to do
		if err := s.Reorder(t.Context()); err != nil {
			t.Fatal(err)
		}
		commit(t, db, tenant, "e.later")
	}
	r := reader{s: s, ctx: platform(t), tenant: tenant, p: event.ReadParams{Filter: event.Filter{Since: time.Now().Add(-time.Hour)}}}
	if diff := cmp.Diff([]string{"e.first", "e.second", "e.third", "e.later", "e.later"}, typesOf(r.upTo(t, 5))); diff != "" {
		t.Error(diff)
	}
}
