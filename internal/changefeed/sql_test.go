//go:build unix

package changefeed

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func dedicated(t *testing.T, db *pg.DB) *pg.Conn {
	t.Helper()
	conn, err := db.Dedicated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func TestSQL_prepares(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}

// Row-level security hides every change from a session without the scope, which must not look like "no change".
func TestSelectChanges_withoutScope(t *testing.T) {
	t.Parallel()
	conn := dedicated(t, pgtest.New(t))
	position, err := selectPosition(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selectChanges(t.Context(), conn, position, 10); err == nil || !strings.Contains(err.Error(), "scope") {
		t.Errorf("got %v", err)
	}
	if _, err := conn.Exec(t.Context(), "SET landlord.operator = 'on'"); err != nil {
		t.Fatal(err)
	}
	if b, err := selectChanges(t.Context(), conn, position, 10); err != nil || b.next.snapshot == "" || b.next.at.Before(position.at) {
		t.Errorf("%+v, %v", b, err)
	}
}

// What a poll costs doesn't grow with the table, and row-level security doesn't keep it from the index.
func TestSelectChanges_usesTheIndex(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	many := make([]Change, 20_000)
	for i := range many {
		many[i] = Change{Kind: "api_key", ID: strconv.Itoa(i)}
	}
	if err := db.AsOperator(t.Context(), func(tx pg.Tx) error { return Note(t.Context(), tx, many...) }); err != nil {
		t.Fatal(err)
	}
	conn := dedicated(t, db)
	if _, err := conn.Exec(t.Context(), "SET landlord.operator = 'on'"); err != nil {
		t.Fatal(err)
	}
	position, err := selectPosition(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN "+sqlChanges, position.snapshot, 100)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "change_feed_order_idx") ||
		!strings.Contains(text, "Index Cond: (xid >=") {
		t.Error(text)
	}
}

// A replica that was stopped for longer than rows are sure to be kept drops everything: those that it did not see may be gone.
func TestPoll_afterATrim(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	conn := dedicated(t, db)
	f := New(db, slog.New(slog.DiscardHandler))
	var told []string
	f.Subscribe(func(changes []Change) { told = append(told, changes[0].ID) }, func() { told = append(told, "reset") })
	at, err := f.begin(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	note := func(ref string) {
		t.Helper()
		err := db.AsOperator(t.Context(), func(tx pg.Tx) error { return Note(t.Context(), tx, Change{Kind: "api_key", ID: ref}) })
		if err != nil {
			t.Fatal(err)
		}
	}
	poll := func() {
		t.Helper()
		if at, err = f.poll(t.Context(), conn, at); err != nil {
			t.Fatal(err)
		}
	}
	note("seen")
	poll()
	// Six hours pass, of which the replica knows nothing; a change comes, ages and is trimmed.
	note("missed")
	if _, err := conn.Exec(t.Context(), "DELETE FROM change_feed"); err != nil {
		t.Fatal(err)
	}
	at.at = at.at.Add(-6 * time.Hour)
	poll()
	note("after")
	poll()
	if want := []string{"seen", "reset", "after"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// The monotonic clock stands still while a machine is suspended; the wall clock then tells.
func TestFresh_suspendedMachine(t *testing.T) {
	t.Parallel()
	f := New(nil, slog.New(slog.DiscardHandler))
	now := time.Now()
	f.renew(now, nil)
	if !f.Fresh(now) || !f.Fresh(now.Add(Lease-1)) || f.Fresh(now.Add(Lease)) {
		t.Error("the lease is wrong")
	}
	if age := f.Stats(now.Add(time.Minute)).Age; age != time.Minute {
		t.Errorf("age %v", age)
	}
	f.untilWall.Store(now.Add(-time.Hour).UnixNano())
	if age := f.Stats(now).Age; f.Fresh(now) || age != time.Hour+Lease {
		t.Errorf("fresh after an hour's sleep, age %v", age)
	}
	f.untilWall.Store(now.Add(time.Hour).UnixNano()) // set back
	if f.Fresh(now.Add(Lease)) {
		t.Error("a clock that is set back prolongs the lease")
	}
}
