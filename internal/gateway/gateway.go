package gateway

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// Config is what the face needs.
type Config struct {
	Verifier *apikey.Verifier
	// TrustedProxies are the gateways, and the proxies before them: those whose
	// X-Forwarded-For is believed. Without any, no client's address is known.
	TrustedProxies []netip.Prefix
	// Realm is in WWW-Authenticate; "" is landlord.
	Realm string
	Log   *slog.Logger
	// Observe is told every decision, for metrics; nil is nobody.
	Observe func(face, outcome string, took time.Duration)
	Now     func() time.Time
}

// Gateway is the face for API gateways.
type Gateway struct {
	cfg    Config
	routes routes

	missing, wrong, twice []string // values of WWW-Authenticate

	complained atomic.Int64 // when a misconfigured route was last logged, Unix nanoseconds
}

// New returns the face.
func New(c Config) *Gateway {
	if c.Realm == "" {
		c.Realm = "landlord"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	realm := "Bearer realm=" + strconv.Quote(c.Realm)
	return &Gateway{
		cfg: c, routes: routes{known: map[string]routed{}},
		missing: []string{realm},
		wrong:   []string{realm + `, error="invalid_token"`},
		twice:   []string{realm + `, error="invalid_request", error_description="Send one key, once."`},
	}
}

// Outcomes of a request that never came to a verification.
const (
	outcomeNoCredential  = "NO_CREDENTIAL"
	outcomeAmbiguous     = "AMBIGUOUS_CREDENTIAL"
	outcomeUnavailable   = "UNAVAILABLE"
	outcomeMisconfigured = "MISCONFIGURED"
)

// decision is the answer before it is put into a gateway's dialect.
type decision struct {
	status     int    // what the client should get when it is turned away; 204 lets it pass
	outcome    string // for the gateway's log
	challenge  []string
	known      bool // v says whose key it is
	v          apikey.Verification
	retryAfter int64 // seconds; 0 is none
}

// decide answers for one request.
func (g *Gateway) decide(r *http.Request) decision {
	n, err := g.routes.parse(r.URL.RawQuery)
	if err != nil {
		g.complain(r, err)
		return decision{status: http.StatusInternalServerError, outcome: outcomeMisconfigured}
	}
	token, problem := credential(r.Header)
	switch problem {
	case noCredential:
		return decision{status: http.StatusUnauthorized, outcome: outcomeNoCredential, challenge: g.missing}
	case ambiguous:
		return decision{status: http.StatusUnauthorized, outcome: outcomeAmbiguous, challenge: g.twice}
	case noProblem:
	}
	v, err := g.cfg.Verifier.Check(r.Context(), &apikey.VerifyParams{
		Token: token, Product: n.product, Project: n.project, Environment: n.environment, Scopes: n.scopes,
		// Without scopes the method tells reading from writing.
		Write: len(n.scopes) == 0 && unsafeMethod(r.Header.Get("X-Original-Method")),
		IP:    clientIP(r.RemoteAddr, r.Header["X-Forwarded-For"], g.cfg.TrustedProxies),
	})
	if err != nil {
		f := fault.As(err)
		g.cfg.Log.ErrorContext(r.Context(), "key not verified", "code", f.Code, "error", err.Error())
		return decision{
			status: http.StatusServiceUnavailable, outcome: outcomeUnavailable,
			retryAfter: max(1, int64((f.RetryAfter+time.Second-1)/time.Second)),
		}
	}
	d := decision{outcome: string(v.Outcome), v: v, known: !v.Outcome.Anonymous()}
	switch {
	case v.Outcome == apikey.Valid:
		d.status = http.StatusNoContent
	case v.Outcome.Anonymous():
		d.status, d.challenge = http.StatusUnauthorized, g.wrong
	case v.Outcome == apikey.RateLimited:
		d.status, d.retryAfter = http.StatusTooManyRequests, v.Limit.RetryAfterSeconds()
	case v.Outcome == apikey.LimitExceeded:
		d.status = http.StatusTooManyRequests
	case v.Outcome == apikey.InsufficientScope:
		d.status = http.StatusForbidden
		d.challenge = []string{g.missing[0] + `, error="insufficient_scope", scope="` + strings.Join(n.scopes, " ") + `"`}
	default:
		d.status = http.StatusForbidden
	}
	return d
}

// unsafeMethod reports whether a method changes anything (RFC 9110, 9.2.1). An
// unknown one is not judged: the gateway did not say.
func unsafeMethod(m string) bool {
	switch m {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	default:
		return true
	}
}

// complain logs a misconfigured route, at most once a second: every request of
// the route comes here.
func (g *Gateway) complain(r *http.Request, err error) {
	now := g.cfg.Now().UnixNano()
	last := g.complained.Load()
	if now-last < int64(time.Second) || !g.complained.CompareAndSwap(last, now) {
		return
	}
	g.cfg.Log.ErrorContext(r.Context(), "gateway route misconfigured", "url", r.URL.RequestURI(), "error", err.Error())
}

// The headers of an answer, as net/http spells them.
const (
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

// limitName is the name of a key's own limit in the RateLimit fields.
const limitName = "key"

// nothing is the value of an identity header that has none. An empty value would
// count as missing for some gateways, and a client's own header would survive.
const nothing = "-"

// writeHeaders sets the headers that all dialects share. Values are cut from one
// string and one slice: this runs for every request of every product.
func (d *decision) writeHeaders(h http.Header) {
	values := make([]string, 8, 11)
	set := func(i int, name, value string) {
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	tenant, key, project, scopes := nothing, nothing, nothing, nothing
	slug, environment, readOnly := nothing, nothing, nothing
	if d.known {
		tenant, key, project, scopes = d.identity()
		slug, environment, readOnly = d.v.TenantSlug, string(d.v.Environment), strconv.FormatBool(d.v.ReadOnly)
	}
	set(0, headerTenantID, tenant)
	set(1, headerTenantSlug, slug)
	set(2, headerKeyID, key)
	set(3, headerProjectID, project)
	set(4, headerEnvironment, environment)
	set(5, headerScopes, scopes)
	set(6, headerReadOnly, readOnly)
	set(7, headerOutcome, d.outcome)
	if d.v.Limit.Limit.Rate > 0 {
		named := ratelimit.Named{Name: limitName, Decision: d.v.Limit}
		values = append(values, ratelimit.Policy(named), ratelimit.State(named))
		h[headerPolicy], h[headerState] = values[8:9:9], values[9:10:10]
	}
	if d.retryAfter > 0 {
		h[headerRetryAfter] = []string{strconv.FormatInt(d.retryAfter, 10)}
	}
	if d.challenge != nil {
		h[headerChallenge] = d.challenge
	}
}

// identity returns the four values that have to be put together, as pieces of
// one string.
func (d *decision) identity() (tenant, key, project, scopes string) {
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
	return s[:t], s[t:k], s[k:p], s[p:]
}
