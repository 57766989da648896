package apikey

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// stripes is the number of counters that changes are spread over. A change makes
// one entry in 65536 stale beside those it concerns, which costs a statement
// each; in return no index from tenants and keys to entries has to be kept.
const stripes = 1 << 16

// generations tells entries that were read before a change from those that were
// read after it.
//
// Changes are numbered as they are applied. A stripe holds the number of the
// last change that concerned one of its ids. An entry is stamped, before its
// statement is sent, with the last number; it is current while none of the
// stripes of the ids it was made of holds a later one. So a load that was in
// flight while a key was revoked yields an entry that is stale when it is born,
// whatever the order of insertion and invalidation.
type generations struct {
	mu     sync.Mutex // serialises changes; readers don't take it
	last   atomic.Uint64
	all    atomic.Uint64 // number of the last change that concerned everything
	added  atomic.Uint64 // number of the last change that made keys of tokens that somebody may have asked for
	stripe [stripes]atomic.Uint64
}

// stamp is when an entry was read, and which stripes can make it stale.
type stamp struct {
	seq uint64
	at  [10]uint16 // a key, its project, its tenant and at most 5 ancestors
	n   uint8
}

func stripeOf(id [16]byte) uint16 {
	// The tail of a UUIDv7 is random; of ids made by hand the head may be all that differs.
	return binary.LittleEndian.Uint16(id[14:]) ^ binary.LittleEndian.Uint16(id[4:])
}

// mark makes the stamp depend on an id; the zero id is none.
func (s *stamp) mark(id [16]byte) {
	if id == [16]byte{} {
		return
	}
	if int(s.n) < len(s.at) {
		s.at[s.n] = stripeOf(id)
	}
	s.n++ // beyond the array: never current
}

func (g *generations) current(s *stamp) bool {
	if int(s.n) > len(s.at) || g.all.Load() > s.seq {
		return false
	}
	for _, i := range s.at[:s.n] {
		if g.stripe[i].Load() > s.seq {
			return false
		}
	}
	return true
}

// change makes what was read before it, and depends on one of the ids, stale;
// everything, when all is set.
func (g *generations) change(all bool, ids ...[16]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.last.Add(1)
	if all {
		g.all.Store(n)
	}
	for _, id := range ids {
		if id != [16]byte{} {
			g.stripe[stripeOf(id)].Store(n)
		}
	}
}

// imports makes what was read before it, and not found, stale: the tokens of
// imported keys are older than the keys.
func (g *generations) imports() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.added.Store(g.last.Add(1))
}

// heard reports whether no key was imported since change number seq.
func (g *generations) heard(seq uint64) bool { return g.added.Load() <= seq && g.all.Load() <= seq }
