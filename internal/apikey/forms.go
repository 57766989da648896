package apikey

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/landlordhq/landlord/internal/pg"
)

// The form of a token that landlord did not make: printable ASCII without blanks.
const (
	MinForeignToken = 16
	MaxForeignToken = 255
)

// foreignForm reports whether s could be the token of an imported key.
func foreignForm(s string) bool {
	if len(s) < MinForeignToken || len(s) > MaxForeignToken {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// forms are how the tokens of imported keys begin, of the whole installation. A
// token that is not of our own form is looked for only if an imported key begins
// like it: until somebody imports keys, other tokens cost no I/O, and after that
// only those that look like the imported ones do.
//
// What is known is never dropped: a beginning too many costs a look-up, one too
// few turns a good key away. It is read once when the process starts; imports
// come through the change feed, or, while that can't be relied on, from the
// database once a second (Refresh).
type forms struct {
	seed  maphash.Seed
	stale atomic.Bool // something may have been missed

	loading sync.Mutex
	upTo    *time.Time // what was imported before this, by the server's clock, is known; guarded by loading

	mu      sync.RWMutex
	begins  map[uint64]formKind // by the hash of the beginning
	lengths []int               // of the beginnings, the longest first; 0 is a key whose beginning is not known
}

// formKind says how keys of a beginning are found: in one of the ways, or both.
type formKind uint8

const (
	byDigest formKind = 1 << iota
	bySlowHash
)

// form is the beginning of some imported keys.
type form struct {
	Begin string `db:"begin"`
	Slow  bool   `db:"slow"`
}

func newForms() *forms {
	f := &forms{seed: maphash.MakeSeed(), begins: map[uint64]formKind{}}
	f.stale.Store(true)
	return f
}

func (f *forms) add(list ...form) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range list {
		kind := byDigest
		if x.Slow {
			kind = bySlowHash
		}
		f.begins[maphash.String(f.seed, x.Begin)] |= kind
		if at, found := slices.BinarySearchFunc(f.lengths, len(x.Begin), func(a, b int) int { return b - a }); !found {
			f.lengths = slices.Insert(f.lengths, at, len(x.Begin))
		}
	}
}

// has reports whether an imported key begins as the token does.
func (f *forms) has(token string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, n := range f.lengths {
		if n <= len(token) && f.begins[maphash.String(f.seed, token[:n])] != 0 {
			return true
		}
	}
	return false
}

// slow returns the beginnings of the token that keys with slow hashes have, the
// longest first.
func (f *forms) slow(token string) []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out []string
	for _, n := range f.lengths {
		if n <= len(token) && f.begins[maphash.String(f.seed, token[:n])]&bySlowHash != 0 {
			out = append(out, token[:n])
		}
	}
	return out
}

// importKind is the kind of the change that an import notes. Its id holds the
// forms of what was imported.
const importKind = "api_key_import"

// The marks before the beginnings in such a change.
const (
	digestMark = "="
	slowMark   = "$"
)

// encodeForms writes forms into a change. A beginning has no blanks.
func encodeForms(list []form) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = digestMark + x.Begin
		if x.Slow {
			words[i] = slowMark + x.Begin
		}
	}
	return strings.Join(words, " ")
}

func decodeForms(s string) []form {
	var out []form
	for w := range strings.FieldsSeq(s) {
		out = append(out, form{w[1:], w[:1] == slowMark})
	}
	return out
}

// importsOverlap is how much of what is known already is read again: more than a
// transaction that imports can take, so that none which began before the last
// look and ended after it is missed.
const importsOverlap = time.Minute

// Refresh reads how the tokens of imported keys begin, unless all imports were
// heard of. Call it before the first Check, and about once a second.
func (v *Verifier) Refresh(ctx context.Context) error {
	f := v.forms
	f.loading.Lock()
	defer f.loading.Unlock()
	if v.fresh() && !f.stale.Load() {
		return nil
	}
	f.stale.Store(false) // before the statement: what is missed while it runs makes it stale again
	since := f.upTo
	if since != nil {
		since = new(since.Add(-importsOverlap))
	}
	var list []form
	var at time.Time
	err := v.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		list, at, err = selectForms(ctx, tx, since)
		return err
	})
	if err != nil {
		f.stale.Store(true)
		return err
	}
	f.add(list...)
	f.upTo = &at
	return nil
}

// heardOf takes in what was imported. Tokens that did not exist may exist now.
func (v *Verifier) heardOf(list []form) {
	v.forms.add(list...)
	v.gens.imports()
}

// couldBe reports whether a token may be a key's, which is asked of nobody: it
// has the form of ours, or begins like one that was imported.
func (v *Verifier) couldBe(token string) bool {
	if _, ok := ParseToken(token); ok {
		return true
	}
	return foreignForm(token) && v.forms.has(token)
}
