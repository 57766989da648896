package secret

import (
	"crypto/subtle"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a Text shows of itself.
const Redacted = "[redacted]"

// Text holds a secret string and shows "[redacted]" wherever it is printed, logged or marshalled. Only Reveal gives the
// secret, which makes every use one a reviewer can search for.
//
// The string lies behind a pointer because fmt prints unexported fields without asking their methods: a Text inside
// somebody's unexported field shows as an address.
//
// A Text is not comparable to another with == (that compares addresses): use Equal.
type Text struct{ s *string }

// NewText wraps s.
func NewText(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret.
func (t Text) Reveal() string {
	if t.s == nil {
		return ""
	}
	return *t.s
}

// IsZero reports whether there is no secret (encoding/json's omitzero asks it).
func (t Text) IsZero() bool { return t.s == nil }

// Equal compares in constant time, except for the lengths.
func (t Text) Equal(u Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(u.Reveal())) == 1
}

// Format implements fmt.Formatter, for every verb and flag.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String returns "[redacted]".
func (t Text) String() string { return Redacted }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler (JSON, XML and YAML use it).
func (t Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler: secrets come in through requests, flags and the environment.
func (t *Text) UnmarshalText(b []byte) error {
	*t = NewText(string(b))
	return nil
}

// Value refuses to store a Text: a column holds a digest or a sealed box, and a driver that fell back to the text form
// would silently store "[redacted]".
func (t Text) Value() (driver.Value, error) {
	return nil, errors.New("a secret is stored as a digest or sealed, never as it is")
}
