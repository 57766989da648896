package apikey

import (
	"crypto/sha256"
	"encoding/json"
	"runtime"
	"sync"
	"weak"
)

// interned keeps one value for all entries whose part of the row is the same: a
// thousand keys of a tenant have one view of it, and what is stale is gone with
// the last entry that points to it. Values must not change.
//
// A value is made from the part that it is found by, and from nothing else.
// Sharing says nothing about freshness: that is each entry's own matter.
type interned[T any] struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]weak.Pointer[T]
}

// internedBytes is about what it takes to find a value: its place in the map, the
// weak pointer and the clean-up.
const internedBytes = 200

// of returns the value that stands for part, made if there is none.
func (in *interned[T]) of(part any, made func() *T) *T {
	text, err := json.Marshal(part)
	if err != nil { // an instant beyond the year 9999
		return made()
	}
	sum := sha256.Sum256(text)
	in.mu.Lock()
	defer in.mu.Unlock()
	if v := in.by[sum].Value(); v != nil {
		return v
	}
	if in.by == nil {
		in.by = map[[sha256.Size]byte]weak.Pointer[T]{}
	}
	v := made()
	in.by[sum] = weak.Make(v)
	runtime.AddCleanup(v, in.drop, sum)
	return v
}

// drop forgets a value that nobody has any more, unless it was made again since.
func (in *interned[T]) drop(sum [sha256.Size]byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.by[sum].Value() == nil {
		delete(in.by, sum)
	}
}
