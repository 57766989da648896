package api

import (
	"bytes"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// Product services verify a key with every request of theirs, so the plain form
// of that question is read and answered by hand: one flat object of known names,
// strings of printable ASCII without escapes. Whatever else comes goes the way of
// all operations, which says what is wrong with it. A test holds the two ways to
// the same answers.

// verifyAnswers are buffers for answers.
var verifyAnswers = sync.Pool{New: func() any { return new([]byte) }}

// verifyPlain answers a plain question; false leaves it to the framework.
func (a *API) verifyPlain(w http.ResponseWriter, r *http.Request, c *call, body string) bool {
	if !plainHeaders(r.Header) {
		return false
	}
	p, ok := parsePlain(body)
	if !ok {
		return false
	}
	v, err := a.s.APIKeys.Verify(&c.ctx, &p)
	if err != nil {
		writeProblem(w, r.WithContext(&c.ctx), a.answer(&c.ctx, err))
		return true
	}
	buf := verifyAnswers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer verifyAnswers.Put(buf)
	*buf = appendVerification((*buf)[:0], &v)
	w.Header()["Content-Type"] = contentTypeJSON
	_, _ = w.Write(*buf) // the caller may be gone
	return true
}

var contentTypeJSON = []string{"application/json"}

// plainHeaders reports whether a request says no more of its forms than usual.
func plainHeaders(h http.Header) bool {
	if t := h["Content-Type"]; len(t) != 1 || t[0] != "application/json" {
		return false
	}
	accept := h["Accept"]
	return len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || strings.HasPrefix(accept[0], "application/json"))
}

// plainReader reads JSON of the plain form.
type plainReader struct {
	s string
	i int
}

// next skips blanks and consumes c if it comes next.
func (r *plainReader) next(c byte) bool {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		case c:
			r.i++
			return true
		default:
			return false
		}
	}
	return false
}

// text reads a string of printable ASCII without escapes.
func (r *plainReader) text() (string, bool) {
	if !r.next('"') {
		return "", false
	}
	for start := r.i; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; {
		case c == '"':
			r.i++
			return r.s[start : r.i-1], true
		case c < 0x20 || c > 0x7e || c == '\\':
			return "", false
		}
	}
	return "", false
}

// word consumes a literal.
func (r *plainReader) word(s string) bool {
	if !r.next(s[0]) {
		return false
	}
	if !strings.HasPrefix(r.s[r.i:], s[1:]) {
		return false
	}
	r.i += len(s) - 1
	return true
}

// number reads a whole number of at most 7 digits.
func (r *plainReader) number() (n int64, ok bool) {
	r.next(0xff) // only the blanks
	start := r.i
	for ; r.i < len(r.s) && r.s[r.i] >= '0' && r.s[r.i] <= '9'; r.i++ {
		n = 10*n + int64(r.s[r.i]-'0')
		if r.i-start >= 7 {
			return 0, false
		}
	}
	return n, r.i == start+1 || r.i > start && r.s[start] != '0'
}

// list reads an array of strings.
func (r *plainReader) list(most int) ([]string, bool) {
	if !r.next('[') {
		return nil, false
	}
	out := make([]string, 0, 4)
	if r.next(']') {
		return out, true
	}
	for {
		s, ok := r.text()
		if !ok || len(out) == most {
			return nil, false
		}
		out = append(out, s)
		if r.next(']') {
			return out, true
		}
		if !r.next(',') {
			return nil, false
		}
	}
}

// parsePlain reads a question, of which the answer holds pieces; false says only that it is not of the plain form.
func parsePlain(s string) (apikey.VerifyParams, bool) {
	var p apikey.VerifyParams
	r := plainReader{s: s}
	if !r.next('{') {
		return p, false
	}
	var seen uint
	for {
		name, ok := r.text()
		if !ok || !r.next(':') {
			return p, false
		}
		bit, ok := readPlain(&p, &r, name)
		if !ok || seen&bit != 0 {
			return p, false
		}
		seen |= bit
		if r.next('}') {
			break
		}
		if !r.next(',') {
			return p, false
		}
	}
	r.next(0xff)
	return p, r.i == len(s) && seen&1 != 0 && p.Validate() == nil
}

// readPlain reads the value of one name, and says which bit stands for the name.
func readPlain(p *apikey.VerifyParams, r *plainReader, name string) (bit uint, ok bool) {
	str := func(most int) (s string) {
		s, ok = r.text()
		ok = ok && len(s) <= most
		return s
	}
	var err error
	switch name {
	case "key":
		p.Token = str(apikey.MaxForeignToken)
		return 1, ok
	case "product":
		p.Product = str(100)
		return 2, ok
	case "project":
		p.Project, err = id.Parse[id.Project](str(100))
		return 4, ok && err == nil
	case "environment":
		p.Environment = apikey.Environment(str(10))
		return 8, ok && p.Environment.Valid()
	case "scopes":
		p.Scopes, ok = r.list(apikey.MaxVerifyScopes)
		return 16, ok
	case "write":
		p.Write = r.word("true")
		return 32, p.Write || r.word("false")
	case "ip":
		p.IP, err = netip.ParseAddr(str(100))
		return 64, ok && err == nil
	case "cost":
		p.Cost, ok = r.number()
		p.Peek = p.Cost == 0
		return 128, ok
	case "limits":
		p.Limits, ok = r.limits()
		return 256, ok
	default:
		return 0, false
	}
}

// limits reads an array of names with costs; what it holds, the parameters' own
// check bounds.
func (r *plainReader) limits() ([]apikey.LimitCost, bool) {
	if !r.next('[') {
		return nil, false
	}
	if r.next(']') {
		return nil, true
	}
	out := make([]apikey.LimitCost, 0, 4)
	for {
		l, ok := r.limit()
		if !ok || len(out) == apikey.MaxVerifyLimits {
			return nil, false
		}
		out = append(out, l)
		if r.next(']') {
			return out, true
		}
		if !r.next(',') {
			return nil, false
		}
	}
}

func (r *plainReader) limit() (l apikey.LimitCost, ok bool) {
	l.Cost = 1
	if !r.next('{') {
		return l, false
	}
	var seen uint
	for {
		field, ok := r.text()
		if !ok || !r.next(':') {
			return l, false
		}
		bit := uint(1)
		switch field {
		case "name":
			l.Name, ok = r.text()
		case "cost":
			bit = 2
			l.Cost, ok = r.number()
		default:
			return l, false
		}
		if !ok || seen&bit != 0 {
			return l, false
		}
		seen |= bit
		if r.next('}') {
			return l, seen&1 != 0
		}
		if !r.next(',') {
			return l, false
		}
	}
}

// appendVerification appends the JSON of an answer, as encoding/json writes a
// KeyVerification.
func appendVerification(b []byte, v *apikey.Verification) []byte {
	b = append(b, `{"outcome":"`...)
	b = append(b, v.Outcome...)
	b = append(b, `","valid":`...)
	b = strconv.AppendBool(b, v.Outcome == apikey.Valid)
	b = appendID(b, "key_id", v.KeyID)
	b = appendText(b, "key_name", v.KeyName)
	b = appendID(b, "tenant_id", v.TenantID)
	b = appendText(b, "tenant_slug", v.TenantSlug)
	b = appendID(b, "project_id", v.ProjectID)
	b = appendText(b, "product", v.Product)
	b = appendText(b, "environment", string(v.Environment))
	for i, s := range v.Scopes {
		if i == 0 {
			b = append(b, `,"scopes":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, s)
		if i == len(v.Scopes)-1 {
			b = append(b, ']')
		}
	}
	if len(v.Metadata) > 0 {
		b = append(b, `,"metadata":`...)
		b = append(b, v.Metadata...)
	}
	if v.ReadOnly {
		b = append(b, `,"read_only":true`...)
	}
	b = appendTime(b, `,"expires_at":"`, v.ExpiresAt)
	if v.Config != nil {
		b = append(b, `,"entitlement":{"config":`...)
		b = append(b, v.Config...)
		b = appendTime(b, `,"expires_at":"`, v.EntitledUntil)
		b = append(b, '}')
	}
	if d := &v.Limit; d.Limit.Rate > 0 {
		b = append(b, `,"rate_limit":{"limit":`...)
		b = strconv.AppendInt(b, d.Limit.Rate, 10)
		b = appendRest(b, d)
	}
	for i := range v.Limits {
		if i == 0 {
			b = append(b, `,"rate_limits":[`...)
		} else {
			b = append(b, ',')
		}
		d := &v.Limits[i].Decision
		b = append(b, `{"name":`...)
		b = appendString(b, v.Limits[i].Name)
		b = append(b, `,"limit":`...)
		b = strconv.AppendInt(b, d.Limit.Rate, 10)
		b = append(b, `,"window":`...)
		b = strconv.AppendInt(b, int64(d.Limit.Period/time.Second), 10)
		b = appendRest(b, d)
		if i == len(v.Limits)-1 {
			b = append(b, ']')
		}
	}
	return append(b, '}', '\n')
}

// appendRest appends what a rate limit has left, and the end of its object.
func appendRest(b []byte, d *ratelimit.Decision) []byte {
	b = append(b, `,"remaining":`...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	b = append(b, `,"reset":`...)
	b = strconv.AppendInt(b, wholeSeconds(d.ResetAfter), 10)
	if !d.Allowed {
		b = append(b, `,"retry_after":`...)
		b = strconv.AppendInt(b, d.RetryAfterSeconds(), 10)
	}
	return append(b, '}')
}

func appendID[T interface {
	IsZero() bool
	AppendText([]byte) ([]byte, error)
}](b []byte, name string, v T,
) []byte {
	if v.IsZero() {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b, _ = v.AppendText(b) // never fails
	return append(b, '"')
}

func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendString(b, s)
}

func appendTime(b []byte, head string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(b, head...)
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			var escaped bytes.Buffer
			_ = marshalJSON(&escaped, s) // a string can be encoded
			return append(b, bytes.TrimSuffix(escaped.Bytes(), []byte{'\n'})...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
