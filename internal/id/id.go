package id

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ErrMalformed is what Parse returns for text that is neither a TypeID of the
// wanted kind nor a UUID.
var ErrMalformed = errors.New("malformed id")

// kind is implemented by the marker type of each noun. It is unexported so that
// the list of kinds stays on one page, kinds.go.
type kind interface{ prefix() string }

// ID is the identifier of a noun K. The zero value means "none".
type ID[K kind] [16]byte

// New returns a fresh UUIDv7 of the kind asked for: id.New[id.Tenant]().
func New[T ~[16]byte]() T { return T(uuid.Must(uuid.NewV7())) }

// At returns an id that sorts with those made at t. Tests and backfills use it.
func At[T ~[16]byte](t time.Time) T {
	var u [16]byte
	if _, err := rand.Read(u[:]); err != nil {
		panic(err) // crypto/rand never fails on the systems that Go supports
	}
	ms := t.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return T(u)
}

// parser is what *ID[K] offers to Parse.
type parser[T any] interface {
	*T
	UnmarshalText([]byte) error
}

// Parse reads a TypeID of the wanted kind or a bare UUID.
func Parse[T ~[16]byte, P parser[T]](s string) (T, error) {
	var v T
	if s == "" {
		return v, ErrMalformed
	}
	err := P(&v).UnmarshalText([]byte(s))
	return v, err
}

// MustParse is Parse for constants of tests and seeds; it panics on bad text.
func MustParse[T ~[16]byte, P parser[T]](s string) T {
	v, err := Parse[T, P](s)
	if err != nil {
		panic(fmt.Sprintf("id: %q: %v", s, err))
	}
	return v
}

// IsZero reports whether the id names nothing.
func (i ID[K]) IsZero() bool { return i == ID[K]{} }

// Prefix is the TypeID prefix of the kind, without the underscore.
func (ID[K]) Prefix() string {
	var k K
	return k.prefix()
}

// UUID returns the canonical 8-4-4-4-12 text.
func (i ID[K]) UUID() string { return uuid.UUID(i).String() }

// String returns the TypeID text, or "" for the zero id.
func (i ID[K]) String() string {
	if i.IsZero() {
		return ""
	}
	b, _ := i.AppendText(nil)
	return string(b)
}

// AppendText implements encoding.TextAppender.
func (i ID[K]) AppendText(b []byte) ([]byte, error) {
	if i.IsZero() {
		return b, nil
	}
	b = append(b, i.Prefix()...)
	b = append(b, '_')
	return appendBase32(b, i), nil
}

// MarshalText implements encoding.TextMarshaler, and with it JSON.
func (i ID[K]) MarshalText() ([]byte, error) { return i.AppendText(nil) }

// UnmarshalText reads a TypeID of this kind or a UUID; empty text gives the zero id.
func (i *ID[K]) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "" {
		*i = ID[K]{}
		return nil
	}
	if rest, ok := strings.CutPrefix(s, i.Prefix()+"_"); ok && len(rest) == 26 {
		u, ok := decodeBase32(rest)
		if !ok {
			return ErrMalformed
		}
		*i = u
		return nil
	}
	// Only the canonical form: google/uuid also takes braces and urn:uuid:.
	if len(s) != 36 {
		return ErrMalformed
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return ErrMalformed
	}
	*i = ID[K](u)
	return nil
}

// Value implements driver.Valuer; the zero id is NULL.
func (i ID[K]) Value() (driver.Value, error) {
	if i.IsZero() {
		return nil, nil
	}
	return i.UUID(), nil
}

// Scan implements sql.Scanner; NULL gives the zero id.
func (i *ID[K]) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*i = ID[K]{}
		return nil
	case [16]byte:
		*i = v
		return nil
	case []byte:
		if len(v) == 16 {
			*i = ID[K](v)
			return nil
		}
		return i.UnmarshalText(v)
	case string:
		return i.UnmarshalText([]byte(v))
	default:
		return fmt.Errorf("id: scan %T: %w", src, ErrMalformed)
	}
}

// crockford is the alphabet of TypeID: Crockford base 32 in lower case.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// appendBase32 writes 128 bits as 26 characters, most significant first; the
// first carries 3 bits, so it is never above '7'.
func appendBase32(b []byte, u [16]byte) []byte {
	hi, lo := split(u)
	for n := 25; n >= 0; n-- {
		shift := uint(n) * 5
		var v uint64
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v = lo>>shift | hi<<(64-shift)
		default:
			v = lo >> shift
		}
		b = append(b, crockford[v&31])
	}
	return b
}

func decodeBase32(s string) ([16]byte, bool) {
	var hi, lo uint64
	if s[0] > '7' {
		return [16]byte{}, false // more than 128 bits
	}
	for n := range len(s) {
		v := strings.IndexByte(crockford, s[n])
		if v < 0 {
			return [16]byte{}, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var u [16]byte
	for n := range 8 {
		u[n] = byte(hi >> (56 - 8*n))
		u[8+n] = byte(lo >> (56 - 8*n))
	}
	return u, true
}

func split(u [16]byte) (hi, lo uint64) {
	for n := range 8 {
		hi = hi<<8 | uint64(u[n])
		lo = lo<<8 | uint64(u[8+n])
	}
	return hi, lo
}

// Hex returns the 32 hexadecimal digits without dashes.
func (i ID[K]) Hex() string { return hex.EncodeToString(i[:]) }
