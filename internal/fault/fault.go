// Package fault holds the errors that a caller may act on: a kind, which the
// faces turn into a status, and a stable code, which clients switch on.
//
// Everything that is not a *fault.Error is internal: it is logged once at the
// edge and its text never leaves the server. The codes in use are listed in
// docs/errors.md, and a test holds that list.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says whose turn it is and maps to one HTTP status.
type Kind uint8

// The kinds, with the status a REST face gives them.
const (
	Internal         Kind = iota // 500: a defect or an unexpected failure
	Malformed                    // 400: can't be read at all
	Unauthenticated              // 401: no credential, or a bad one
	Forbidden                    // 403: a good credential that lacks the permission
	NotFoundKind                 // 404: absent, or not the caller's
	ConflictKind                 // 409: the state of the thing forbids it
	Stale                        // 412: If-Match names an older version
	TooLarge                     // 413
	UnsupportedMedia             // 415
	InvalidKind                  // 422: readable, but a field breaks a rule
	RateLimited                  // 429
	Unavailable                  // 503: try again later
)

// String returns the kind's name for logs.
func (k Kind) String() string {
	names := [...]string{
		"internal", "malformed", "unauthenticated", "forbidden", "not_found", "conflict",
		"stale", "too_large", "unsupported_media", "invalid", "rate_limited", "unavailable",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// Field is one complaint about one field of the input.
type Field struct {
	Field   string // path in the wire document: "slug", "products.render.config.max_seats"
	Code    string // stable: "required", "too_long", "slug_malformed", …
	Message string // for people
}

// Error is an error a caller may act on.
type Error struct {
	Kind       Kind
	Code       string // stable, snake_case
	Detail     string // for people; says what to do where that is known
	Fields     []Field
	RetryAfter time.Duration // with RateLimited and Unavailable
	Err        error         // the cause, for the log only
}

// Error implements error. It is for logs: faces send Code, Detail and Fields.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code)
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s (%s)", f.Field, f.Message, f.Code)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is compare by kind and code, so that a test can say
// errors.Is(err, fault.NotFound("tenant")).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Code == e.Code
}

// New returns an error of a kind with a stable code and a sentence for people.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// NotFound says that a thing is absent or not the caller's: the two are told
// apart nowhere, so that a stranger can't learn what exists. The code is
// NOUN_not_found.
func NotFound(noun string) *Error {
	return New(NotFoundKind, noun+"_not_found", "There is no such %s.", strings.ReplaceAll(noun, "_", " "))
}

// Conflict says that the state of the thing forbids the operation.
func Conflict(code, format string, args ...any) *Error {
	return New(ConflictKind, code, format, args...)
}

// Invalid says which fields break a rule. Its code is invalid_request, or, with
// one field, that field's own code is in Fields[0].Code.
func Invalid(fields ...Field) *Error {
	e := &Error{Kind: InvalidKind, Code: "invalid_request", Detail: "The request has fields that break a rule.", Fields: fields}
	if len(fields) == 1 {
		e.Detail = fields[0].Message
	}
	return e
}

// InvalidField is Invalid with one field.
func InvalidField(field, code, format string, args ...any) *Error {
	return Invalid(Field{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

// StaleVersion says that If-Match named a version that is no longer current.
func StaleVersion() *Error {
	return New(Stale, "stale_version", "The thing has changed since you read it: read it again and repeat your change.")
}

// As returns the *Error in err's chain. Anything else becomes Internal, with
// err as the cause.
func As(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side.", Err: err}
}

// KindOf returns the kind of err; nil and strangers are Internal.
func KindOf(err error) Kind { return As(err).Kind }

// CodeOf returns the stable code of err.
func CodeOf(err error) string { return As(err).Code }

// Fields collects complaints while a document is checked.
type Fields []Field

// Add notes a complaint.
func (f *Fields) Add(field, code, format string, args ...any) {
	*f = append(*f, Field{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

// Check notes a complaint unless ok.
func (f *Fields) Check(ok bool, field, code, format string, args ...any) {
	if !ok {
		f.Add(field, code, format, args...)
	}
}

// Err returns nil when there was nothing to complain about.
func (f Fields) Err() error {
	if len(f) == 0 {
		return nil
	}
	return Invalid(f...)
}
