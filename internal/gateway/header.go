package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/landlordhq/landlord/internal/ratelimit"
)

// The headers of a question, as net/http spells them.
const (
	authorization    = "Authorization"
	xAPIKey          = "X-Api-Key"
	xForwardedFor    = "X-Forwarded-For"
	xForwardedMethod = "X-Forwarded-Method"
	xOriginalMethod  = "X-Original-Method"
)

// headerName is a header of an answer, as net/http and as HTTP/2 spell it.
type headerName struct{ canonical, lower string }

func named(name string) headerName {
	return headerName{http.CanonicalHeaderKey(name), strings.ToLower(name)}
}

// identityNames are the headers that tell a backend who a request is from, in
// the order of identity.
var identityNames = [...]headerName{
	named("X-Landlord-Tenant-Id"), named("X-Landlord-Tenant-Slug"), named("X-Landlord-Key-Id"), named("X-Landlord-Project-Id"),
	named("X-Landlord-Environment"), named("X-Landlord-Scopes"), named("X-Landlord-Read-Only"),
}

// The other headers of an answer.
var (
	outcomeName    = named("X-Landlord-Outcome")
	authStatusName = named("X-Auth-Status")
	policyName     = named(ratelimit.PolicyHeader)
	stateName      = named(ratelimit.StateHeader)
	retryAfterName = named("Retry-After")
	challengeName  = named("WWW-Authenticate")
	typeName       = named("Content-Type")
	cacheName      = named("Cache-Control")
)

// nothing is the value of an identity header that has none. An empty value would
// count as missing for some gateways, and a client's own header would survive.
const nothing = "-"

// identity is the values of the identity headers.
type identity [len(identityNames)]string

// identity returns who a request is from. Four of them have to be
// put together, and are pieces of one string: this runs for every request of
// every product.
func (d *decision) identity() identity {
	if !d.known {
		return identity{nothing, nothing, nothing, nothing, nothing, nothing, nothing}
	}
	var array [256]byte
	b, _ := d.v.TenantID.AppendText(array[:0])
	t := len(b)
	b, _ = d.v.KeyID.AppendText(b)
	k := len(b)
	if d.v.ProjectID.IsZero() {
		b = append(b, nothing...)
	} else {
		b, _ = d.v.ProjectID.AppendText(b)
	}
	p := len(b)
	for i, s := range d.v.Scopes {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, s...)
	}
	if len(b) == p {
		b = append(b, nothing...)
	}
	s := string(b)
	return identity{s[:t], d.v.TenantSlug, s[t:k], s[k:p], string(d.v.Environment), s[p:], strconv.FormatBool(d.v.ReadOnly)}
}

// forClient adds what is meant for the client: how much is left, when to come
// again and how to authenticate.
func (d *decision) forClient(add func(name headerName, value string)) {
	var array [someLimits]ratelimit.Named
	if limits := d.limits(array[:0]); len(limits) > 0 {
		add(policyName, ratelimit.Policy(limits...))
		add(stateName, ratelimit.State(limits...))
	}
	if d.retryAfter > 0 {
		add(retryAfterName, strconv.FormatInt(d.retryAfter, 10))
	}
	if d.challenge != "" {
		add(challengeName, d.challenge)
	}
}

// headers sets values that are cut from one slice.
type headers struct {
	h      http.Header
	values []string
}

// newHeaders makes room for all that an answer may have.
func newHeaders(h http.Header) headers { return headers{h, make([]string, 0, len(identityNames)+6)} }

func (w *headers) set(name headerName, value string) {
	w.values = append(w.values, value)
	n := len(w.values)
	w.h[name.canonical] = w.values[n-1 : n : n]
}

// identity sets the identity headers, and the outcome, for the gateway.
func (w *headers) identity(d *decision) {
	for i, v := range d.identity() {
		w.set(identityNames[i], v)
	}
	w.set(outcomeName, d.outcome)
}
