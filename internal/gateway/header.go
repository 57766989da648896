package gateway

import (
	"net/http"
	"strconv"

	"github.com/landlordhq/landlord/internal/ratelimit"
)

// The headers of a question and an answer, as net/http spells them.
const (
	authorization    = "Authorization"
	xAPIKey          = "X-Api-Key"
	xForwardedFor    = "X-Forwarded-For"
	xForwardedMethod = "X-Forwarded-Method"
	xOriginalMethod  = "X-Original-Method"

	headerTenantID    = "X-Landlord-Tenant-Id"
	headerTenantSlug  = "X-Landlord-Tenant-Slug"
	headerKeyID       = "X-Landlord-Key-Id"
	headerProjectID   = "X-Landlord-Project-Id"
	headerEnvironment = "X-Landlord-Environment"
	headerScopes      = "X-Landlord-Scopes"
	headerReadOnly    = "X-Landlord-Read-Only"
	headerOutcome     = "X-Landlord-Outcome"
	headerAuthStatus  = "X-Auth-Status"
	headerPolicy      = "Ratelimit-Policy"
	headerState       = "Ratelimit"
	headerRetryAfter  = "Retry-After"
	headerChallenge   = "Www-Authenticate"
)

// nothing is the value of an identity header that has none. An empty value would
// count as missing for some gateways, and a client's own header would survive.
const nothing = "-"

// identityNames are the headers that tell a backend who a request is from, in
// the order of identity.
var identityNames = [...]string{headerTenantID, headerTenantSlug, headerKeyID, headerProjectID, headerEnvironment, headerScopes, headerReadOnly}

// identity returns the values of the identity headers. Four of them have to be
// put together, and are pieces of one string: this runs for every request of
// every product.
func (d *decision) identity() [len(identityNames)]string {
	if !d.known {
		return [...]string{nothing, nothing, nothing, nothing, nothing, nothing, nothing}
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
	return [...]string{s[:t], d.v.TenantSlug, s[t:k], s[k:p], string(d.v.Environment), s[p:], strconv.FormatBool(d.v.ReadOnly)}
}

// headers sets values that are cut from one slice.
type headers struct {
	h      http.Header
	values []string
}

// newHeaders makes room for all that an answer may have.
func newHeaders(h http.Header) headers { return headers{h, make([]string, 0, len(identityNames)+6)} }

func (w *headers) set(name, value string) {
	w.values = append(w.values, value)
	n := len(w.values)
	w.h[name] = w.values[n-1 : n : n]
}

// identity sets the identity headers, and the outcome, for the gateway.
func (w *headers) identity(d *decision) {
	for i, v := range d.identity() {
		w.set(identityNames[i], v)
	}
	w.set(headerOutcome, d.outcome)
}

// verdict sets what is meant for the client: how much is left, when to come again
// and how to authenticate.
func (w *headers) verdict(d *decision) {
	var array [someLimits]ratelimit.Named
	if limits := d.limits(array[:0]); len(limits) > 0 {
		w.set(headerPolicy, ratelimit.Policy(limits...))
		w.set(headerState, ratelimit.State(limits...))
	}
	if d.retryAfter > 0 {
		w.set(headerRetryAfter, strconv.FormatInt(d.retryAfter, 10))
	}
	if d.challenge != nil {
		w.h[headerChallenge] = d.challenge
	}
}
