package ratelimit

import (
	"strconv"
	"time"
)

// The header fields of draft-ietf-httpapi-ratelimit-headers-10. Their names, for whoever sets them.
const (
	PolicyHeader = "RateLimit-Policy"
	StateHeader  = "RateLimit"
)

// Named is a decision under its policy's name, a printable ASCII string that stays the same between answers.
type Named struct {
	Name     string
	Decision Decision
}

// Policy formats the RateLimit-Policy field: `"default";q=600;w=60`. The window is left out when it isn't a whole number of
// seconds, which the field can't say.
func Policy(limits ...Named) string {
	b := make([]byte, 0, 48*len(limits))
	for i, n := range limits {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendString(b, n.Name)
		b = append(b, ";q="...)
		b = strconv.AppendInt(b, n.Decision.Limit.Rate, 10)
		if p := n.Decision.Limit.Period; p >= time.Second && p%time.Second == 0 {
			b = append(b, ";w="...)
			b = strconv.AppendInt(b, int64(p/time.Second), 10)
		}
	}
	return string(b)
}

// State formats the RateLimit field: `"default";r=599;t=1`. r is what is left, t the seconds until there is more, rounded
// up; left out when the bucket is full. A denied request's RetryAfterSeconds is never earlier than its t.
func State(limits ...Named) string {
	b := make([]byte, 0, 48*len(limits))
	for i, n := range limits {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendString(b, n.Name)
		b = append(b, ";r="...)
		b = strconv.AppendInt(b, n.Decision.Remaining, 10)
		if t := n.Decision.NextAfter(); t > 0 {
			b = append(b, ";t="...)
			b = strconv.AppendInt(b, seconds(t), 10)
		}
	}
	return string(b)
}

// Violated returns the names of the limits that denied, and the seconds until the last of them would allow: what Retry-After
// should say, since it takes all of them.
func Violated(limits []Named) (names []string, retryAfter int64) {
	for _, n := range limits {
		if !n.Decision.Allowed {
			names = append(names, n.Name)
			retryAfter = max(retryAfter, n.Decision.RetryAfterSeconds())
		}
	}
	return names, retryAfter
}

// RetryAfterSeconds is what a denied request's Retry-After should say: whole seconds, rounded up, at least 1. A request that
// can never pass gets the time until the bucket is full, since the field has no way to say never.
func (d Decision) RetryAfterSeconds() int64 {
	if d.RetryAfter == Never {
		return max(1, seconds(d.ResetAfter))
	}
	return max(1, seconds(d.RetryAfter))
}

// appendString appends an RFC 9651 String; characters that it can't hold become '?'.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c > 0x7e:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
