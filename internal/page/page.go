// Package page holds keyset pagination: a page is what follows a key in a
// stated order, so the last page of a long list costs what the first one does.
//
// A cursor is opaque to the caller. It carries the last row's key and the name
// of the list it was made for; one that was made for another list, or that
// somebody edited, is refused as cursor_malformed.
package page

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/landlordhq/landlord/internal/fault"
)

// The bounds of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Request is what a caller asks for.
type Request struct {
	Limit  int    // rows at most; 0 means DefaultLimit
	Cursor string // "" means from the start
}

// Page is one page of a list and where the next one starts.
type Page[T any] struct {
	Data []T
	Next string // "" on the last page
}

// Size returns the number of rows to answer with.
func (r Request) Size() int {
	switch {
	case r.Limit <= 0:
		return DefaultLimit
	case r.Limit > MaxLimit:
		return MaxLimit
	default:
		return r.Limit
	}
}

// Validate refuses a limit outside 0 … MaxLimit.
func (r Request) Validate() error {
	if r.Limit < 0 || r.Limit > MaxLimit {
		return fault.InvalidField("limit", "out_of_range", "limit is a whole number from 1 to %d.", MaxLimit)
	}
	return nil
}

// Of cuts a page from rows, which hold up to Size()+1 of them; key names the
// position of a row, and is what Decode gives back.
func Of[T, K any](list string, r Request, rows []T, key func(T) K) Page[T] {
	n := r.Size()
	if len(rows) <= n {
		if rows == nil {
			rows = []T{}
		}
		return Page[T]{Data: rows}
	}
	return Page[T]{Data: rows[:n], Next: Encode(list, key(rows[n-1]))}
}

// Map turns a page of one type into a page of another.
func Map[A, B any](p Page[A], f func(A) B) Page[B] {
	out := Page[B]{Data: make([]B, len(p.Data)), Next: p.Next}
	for i, v := range p.Data {
		out.Data[i] = f(v)
	}
	return out
}

type cursor[K any] struct {
	List string `json:"l"`
	Key  K      `json:"k"`
}

// Encode makes the cursor of a position in a list.
func Encode[K any](list string, key K) string {
	b, err := json.Marshal(cursor[K]{list, key})
	if err != nil {
		panic(err) // a key type that JSON can't hold is a defect of the list
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode reads a cursor of a list; ok is false when there is none.
func Decode[K any](list, s string) (key K, ok bool, err error) {
	if s == "" {
		return key, false, nil
	}
	bad := fault.New(fault.Malformed, "cursor_malformed", "The cursor was not made by this list: use next_cursor of its last answer as it is.")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return key, false, bad
	}
	var c cursor[K]
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(&c) != nil || d.More() || c.List != list {
		return key, false, bad
	}
	return c.Key, true, nil
}
