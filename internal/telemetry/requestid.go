package telemetry

import (
	"context"
	"math/rand/v2"
	"net/http"
)

// RequestIDHeader carries the id in requests and answers.
const RequestIDHeader = "X-Request-Id"

const (
	minRequestID = 8
	maxRequestID = 128
)

// RequestIDKey asks a context for the request's id, a string. It is public for contexts that carry more than that.
type RequestIDKey struct{}

// AcceptRequestID returns the caller's request id when it is sane (8 to 128 letters, digits and -_.:/+=@), which keeps a
// trace whole across services; else a new one. What isn't sane can't be trusted in a log.
func AcceptRequestID(inbound string) string {
	if len(inbound) < minRequestID || len(inbound) > maxRequestID {
		return NewRequestID()
	}
	for i := range len(inbound) {
		switch c := inbound[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return NewRequestID()
		}
	}
	return inbound
}

// NewRequestID returns a random id of 26 characters and 128 bits. It tells requests apart and guards nothing.
func NewRequestID() string {
	var id [26]byte
	var bits uint64
	for i := range id {
		if i%13 == 0 { // 12 of 5 bits and one of what is left
			bits = rand.Uint64() //nolint:gosec // see above
		}
		id[i] = base32[bits&31]
		bits >>= 5
	}
	return string(id[:])
}

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// WithRequestID returns a context that carries the id; the logger adds it to every line.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, RequestIDKey{}, id)
}

// RequestID returns the context's request id, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(RequestIDKey{}).(string)
	return id
}

// RequestIDs puts each request's id in its context and in the answer.
func RequestIDs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := AcceptRequestID(r.Header.Get(RequestIDHeader))
		w.Header().Set(RequestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(WithRequestID(r.Context(), id)))
	})
}
