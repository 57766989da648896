package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
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
	routes *routes

	missing, wrong, twice string // values of WWW-Authenticate

	misconfigured, unavailable complaint
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
		cfg: c, routes: newRoutes(),
		missing: realm,
		wrong:   realm + `, error="invalid_token"`,
		twice:   realm + `, error="invalid_request", error_description="Send one key, once."`,
	}
}

// Outcomes of a request that never came to a verification.
const (
	outcomeNoCredential  = "NO_CREDENTIAL"
	outcomeAmbiguous     = "AMBIGUOUS_CREDENTIAL"
	outcomeUnavailable   = "UNAVAILABLE"
	outcomeMisconfigured = "MISCONFIGURED"
)

// question is what a gateway asks, whatever its dialect.
type question struct {
	need    need
	token   string
	problem credentialProblem
	write   bool       // the client's method changes something
	ip      netip.Addr // the client's; the zero one is not known
}

// decision is the answer before it is put into a gateway's dialect.
type decision struct {
	status     int    // what the client should get when it is turned away; 204 lets it pass
	outcome    string // for the gateway's log
	challenge  string
	known      bool // v says whose key it is
	v          apikey.Verification
	retryAfter int64 // seconds; 0 is none
}

// ask reads the question of a gateway that speaks HTTP, and answers it. The
// client's method is in the header that the dialect names.
func (g *Gateway) ask(r *http.Request, methodHeader string) decision {
	n, err := g.routes.query(r.URL.RawQuery)
	if err != nil {
		return g.refuseRoute(r.Context(), r.URL.RequestURI(), err)
	}
	q := question{
		need: n, ip: clientIP(r.RemoteAddr, r.Header[xForwardedFor], g.cfg.TrustedProxies),
		// Of several, the client may have made one up: each may tell of a change.
		write: slices.ContainsFunc(r.Header[methodHeader], unsafeMethod),
	}
	q.token, q.problem = credential(r.Header[authorization], r.Header[xAPIKey])
	return g.decide(r.Context(), &q)
}

// decide answers a question.
func (g *Gateway) decide(ctx context.Context, q *question) decision {
	switch q.problem {
	case noCredential:
		return decision{status: statusOf(outcomeNoCredential), outcome: outcomeNoCredential, challenge: g.missing}
	case ambiguous:
		return decision{status: statusOf(outcomeAmbiguous), outcome: outcomeAmbiguous, challenge: g.twice}
	case noProblem:
	}
	n := &q.need
	v, err := g.cfg.Verifier.Check(ctx, &apikey.VerifyParams{
		Token: q.token, Product: n.product, Project: n.project, Environment: n.environment, Scopes: n.scopes,
		// Without scopes the method tells reading from writing.
		Write: q.write && len(n.scopes) == 0, IP: q.ip, Limits: n.limits,
	})
	switch {
	case err == nil:
	case fault.KindOf(err) == fault.InvalidKind: // the route names a rate limit that there is none of
		return g.refuseRoute(ctx, fmt.Sprintf("product %q, limits %v", n.product, n.limits), err)
	default:
		return g.refuseForNow(ctx, err)
	}
	d := decision{outcome: string(v.Outcome), v: v, known: !v.Outcome.Anonymous(), status: http.StatusNoContent}
	if v.Outcome != apikey.Valid {
		d.status = statusOf(d.outcome)
	}
	switch {
	case v.Outcome.Anonymous():
		d.challenge = g.wrong
	case v.Outcome == apikey.RateLimited:
		d.retryAfter = d.limitsRetryAfter()
	case v.Outcome == apikey.InsufficientScope:
		d.challenge = g.missing + `, error="insufficient_scope", scope="` + strings.Join(n.scopes, " ") + `"`
	}
	return d
}

// refuseRoute answers for a route whose configuration can't be understood.
func (g *Gateway) refuseRoute(ctx context.Context, route string, err error) decision {
	if more, due := g.misconfigured.due(g.cfg.Now()); due {
		g.cfg.Log.ErrorContext(ctx, "gateway route misconfigured", "route", route, "error", err.Error(), "suppressed", more)
	}
	return decision{status: statusOf(outcomeMisconfigured), outcome: outcomeMisconfigured}
}

// refuseForNow answers when nothing can be said about a key.
func (g *Gateway) refuseForNow(ctx context.Context, err error) decision {
	f := fault.As(err)
	if more, due := g.unavailable.due(g.cfg.Now()); due {
		g.cfg.Log.ErrorContext(ctx, "key not verified", "code", f.Code, "error", err.Error(), "suppressed", more)
	}
	return decision{
		status: statusOf(outcomeUnavailable), outcome: outcomeUnavailable,
		retryAfter: max(1, int64((f.RetryAfter+time.Second-1)/time.Second)),
	}
}

func (g *Gateway) observe(face string, d *decision, began time.Time) {
	if g.cfg.Observe != nil {
		g.cfg.Observe(face, d.outcome, g.cfg.Now().Sub(began))
	}
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

// complaint is what every request of a route, or of an outage, gives reason to
// log: it is logged once a second.
type complaint struct {
	last   atomic.Int64 // Unix nanoseconds
	silent atomic.Int64 // since then
}

// due reports whether it is to be logged now, and how often it was not since.
func (c *complaint) due(now time.Time) (suppressed int64, due bool) {
	last, at := c.last.Load(), now.UnixNano()
	if at-last < int64(time.Second) && at >= last || !c.last.CompareAndSwap(last, at) {
		c.silent.Add(1)
		return 0, false
	}
	return c.silent.Swap(0), true
}

// limits appends the rate limits that the decision came to, by name. It alone
// knows which there are.
func (d *decision) limits(to []ratelimit.Named) []ratelimit.Named {
	return d.v.RateLimits(to)
}

// limitsRetryAfter is when the last of the limits that denied would allow.
func (d *decision) limitsRetryAfter() (seconds int64) {
	var array [someLimits]ratelimit.Named
	for _, n := range d.limits(array[:0]) {
		if !n.Decision.Allowed {
			seconds = max(seconds, n.Decision.RetryAfterSeconds())
		}
	}
	return seconds
}

// someLimits is how many are named without room made for more.
const someLimits = 4
