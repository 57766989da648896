package apikey

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the notices, the end and the instants at which somebody looks, a clock
// that is set back among them: what is told comes nearer to the end each time, is the
// nearest that is due, and once the end is seen nothing comes any more.
func TestNotices_marks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var before []time.Duration
		for _, s := range rapid.SliceOfN(rapid.IntRange(60, 10_000), 0, maxNotices).Draw(t, "notices") {
			before = append(before, time.Duration(s)*time.Second)
		}
		if err := ValidateNotices(before); err != nil {
			t.Fatal(err)
		}
		n := newNotices(before)
		base := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
		end := base.Add(time.Duration(rapid.IntRange(-100, 20_000).Draw(t, "end")) * time.Second)
		told := n.mark(&end, base)
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			now := base.Add(time.Duration(rapid.IntRange(0, 25_000).Draw(t, "now")) * time.Second)
			due := n.mark(&end, now)
			nearest := untold
			for _, d := range append(before, 0) {
				if left := end.Sub(now); left <= d && int32(d/time.Second) < nearest {
					nearest = int32(d / time.Second)
				}
			}
			if due != nearest {
				t.Fatalf("%v before the end the mark is %d, want %d", end.Sub(now), due, nearest)
			}
			// As lockEndingSQL chooses: by the largest notice below what was told.
			chosen := false
			for i, left := range n {
				if left < told {
					chosen = !end.After(n.until(now)[i])
					break
				}
			}
			if chosen != (due < told) {
				t.Fatalf("the statement chooses: %v; told %d, due %d", chosen, told, due)
			}
			if due < told {
				told = due
			}
			if told == 0 && n.mark(&end, end) != 0 {
				t.Fatal("the end is no mark")
			}
		}
	})
}
