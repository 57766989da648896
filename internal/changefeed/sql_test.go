//go:build unix

package changefeed

import (
	"context"
	"strconv"
	"strings"
	"testing"

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
	if _, _, err := selectChanges(t.Context(), conn, position, 10); err == nil || !strings.Contains(err.Error(), "scope") {
		t.Errorf("got %v", err)
	}
	if _, err := conn.Exec(t.Context(), "SET landlord.operator = 'on'"); err != nil {
		t.Fatal(err)
	}
	if _, next, err := selectChanges(t.Context(), conn, position, 10); err != nil || next == "" {
		t.Errorf("%q, %v", next, err)
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
	rows, err := conn.Query(t.Context(), "EXPLAIN "+sqlChanges, position, 100)
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
