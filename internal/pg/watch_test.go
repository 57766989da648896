package pg_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/pg"
)

// Watchers are told after the commit, once, of what the transaction was marked with,
// and of nothing that did not come to pass.
func TestWatch(t *testing.T) {
	t.Parallel()
	db := open(t, pg.Config{MaxConns: 1})
	ctx := t.Context()
	var told []string
	stop := db.Watch("events", func() { told = append(told, "events") })
	db.With(pg.Constraints{}).Watch("other", func() { told = append(told, "other") })
	mark := func(kinds ...string) func(pg.Tx) error {
		return func(tx pg.Tx) error {
			for _, kind := range kinds {
				pg.Mark(tx, kind)
			}
			return nil
		}
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
		told = nil
	}
	if err := db.AsOperator(ctx, mark("events", "events", "unknown")); err != nil {
		t.Fatal(err)
	}
	expect("marked twice", "events")
	if err := db.AsOperator(ctx, mark()); err != nil {
		t.Fatal(err)
	}
	expect("not marked")
	failed := errors.New("no")
	err := db.AsOperator(ctx, func(tx pg.Tx) error {
		pg.Mark(tx, "events")
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	expect("rolled back")
	if err := db.AsOperator(ctx, mark("other")); err != nil {
		t.Fatal(err)
	}
	expect("of a copy of the pool", "other")
	stop()
	if err := db.AsOperator(ctx, mark("events")); err != nil {
		t.Fatal(err)
	}
	expect("after its end")
}
