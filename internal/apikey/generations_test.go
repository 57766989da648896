package apikey

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/id"
)

// Whatever the order in which loads begin and end and changes are applied: an entry is current exactly when nothing that it
// was made of, or that shares a stripe with it, changed since its load began.
func TestGenerations(t *testing.T) {
	t.Parallel()
	type load struct {
		stamp stamp
		begun int // how many changes there had been
		ids   [][16]byte
	}
	rapid.Check(t, func(t *rapid.T) {
		g := &generations{}
		pool := make([][16]byte, 6)
		for i := range pool {
			pool[i] = id.New[id.APIKey]()
		}
		pool[1][15], pool[1][14], pool[1][4], pool[1][5] = pool[0][15], pool[0][14], pool[0][4], pool[0][5] // one stripe
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, 4, rapid.ID)
		var history [][][16]byte // what each change concerned; nil is everything
		var loads []*load
		stale := func(l *load) bool {
			return slices.ContainsFunc(history[l.begun:], func(ids [][16]byte) bool {
				return ids == nil || slices.ContainsFunc(ids, func(c [16]byte) bool {
					return slices.ContainsFunc(l.ids, func(id [16]byte) bool { return stripeOf(c) == stripeOf(id) })
				})
			})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"begin", "end", "change", "change", "all"}).Draw(t, "step") {
			case "begin": // before it knows what it will find
				loads = append(loads, &load{stamp: stamp{seq: g.last.Load()}, begun: len(history)})
			case "end":
				if i := slices.IndexFunc(loads, func(l *load) bool { return l.ids == nil }); i >= 0 {
					loads[i].ids = some.Draw(t, "ids")
					for _, id := range loads[i].ids {
						loads[i].stamp.mark(id)
					}
				}
			case "change":
				ids := some.Draw(t, "changed")
				g.change(false, ids...)
				history = append(history, ids)
			case "all":
				g.change(true)
				history = append(history, nil)
			}
			for _, l := range loads {
				if l.ids != nil && g.current(&l.stamp) == stale(l) {
					t.Fatalf("%+v: current is %v after %v", l, !stale(l), history)
				}
			}
		}
	})
}

// A stamp that can't hold all that an entry depends on never vouches for it.
func TestStamp_overfull(t *testing.T) {
	t.Parallel()
	g := &generations{}
	s := stamp{}
	for range len(s.at) {
		s.mark(id.New[id.APIKey]())
	}
	s.mark([16]byte{}) // none
	if !g.current(&s) {
		t.Error("a full stamp is stale")
	}
	s.mark(id.New[id.APIKey]())
	if g.current(&s) {
		t.Error("an overfull stamp is current")
	}
}
