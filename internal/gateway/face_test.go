package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/gateway"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

var identityHeaders = []string{
	"X-Landlord-Tenant-Id", "X-Landlord-Tenant-Slug", "X-Landlord-Key-Id", "X-Landlord-Project-Id", "X-Landlord-Environment",
	"X-Landlord-Scopes", "X-Landlord-Read-Only",
}

// ask puts one question to the face as nginx would.
func (w *world) ask(query, token string, header ...string) *http.Response {
	w.t.Helper()
	return w.put(w.gateway.Nginx(), "/gateway/nginx?"+query, token, header...)
}

// askForward puts one question to the face as Caddy or Traefik would.
func (w *world) askForward(query, token string, header ...string) *http.Response {
	w.t.Helper()
	return w.put(w.gateway.ForwardAuth(), "/gateway/forward-auth?"+query, token, header...)
}

func (w *world) put(face http.Handler, url, token string, header ...string) *http.Response {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	r.RemoteAddr = "127.0.0.1:4711"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	face.ServeHTTP(rec, r)
	return rec.Result()
}

func TestNginx_outcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, good := w.create()
	bound, projectToken := w.create(func(p *apikey.CreateParams) { p.ProjectID = w.project })
	_, test := w.create(func(p *apikey.CreateParams) { p.Environment = apikey.Test })
	_, listed := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	_, bare := w.create(func(p *apikey.CreateParams) { p.Scopes = nil })
	_, slow := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	_, usedUp := w.create(func(p *apikey.CreateParams) { p.Name = "used up" })
	revoked, revokedToken := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	disabled, disabledToken := w.create()
	w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, disabled.ID)
	expired, expiredToken := w.create()
	w.exec(`UPDATE api_keys SET expires_at = NOW() WHERE id = $1`, expired.ID)
	w.ask("", slow)

	const challenge = `Bearer realm="landlord"`
	for name, tc := range map[string]struct {
		query, token string
		header       []string
		status       int
		outcome      string
		auth         string // X-Auth-Status
		www          string
		limited      bool // RateLimit is there
	}{
		"valid":              {query: "product=render&scope=renders:create&environment=live", token: good, status: 204, outcome: "VALID", limited: true},
		"valid, by header":   {header: []string{"X-API-Key", good}, status: 204, outcome: "VALID", limited: true},
		"project":            {query: "project=" + w.project.String(), token: projectToken, status: 204, outcome: "VALID", limited: true},
		"from the list":      {token: listed, header: []string{"X-Forwarded-For", "1.1.1.1, 192.0.2.9"}, status: 204, outcome: "VALID", limited: true},
		"nothing":            {status: 401, outcome: "NO_CREDENTIAL", www: challenge},
		"two keys":           {token: good, header: []string{"X-API-Key", bare}, status: 401, outcome: "AMBIGUOUS_CREDENTIAL", www: challenge + `, error="invalid_request", error_description="Send one key, once."`},
		"header twice":       {header: []string{"X-API-Key", good, "X-API-Key", good}, status: 401, outcome: "AMBIGUOUS_CREDENTIAL", www: challenge + `, error="invalid_request", error_description="Send one key, once."`},
		"malformed":          {token: "x", status: 401, outcome: "MALFORMED", www: challenge + `, error="invalid_token"`},
		"unknown":            {token: good[:8] + strings.Repeat("0", 49), status: 401, outcome: "MALFORMED", www: challenge + `, error="invalid_token"`},
		"revoked":            {token: revokedToken, status: 401, outcome: "REVOKED", www: challenge + `, error="invalid_token"`},
		"disabled":           {token: disabledToken, status: 401, outcome: "DISABLED", www: challenge + `, error="invalid_token"`},
		"expired":            {token: expiredToken, status: 401, outcome: "EXPIRED", www: challenge + `, error="invalid_token"`},
		"wrong environment":  {query: "environment=live", token: test, status: 403, outcome: "ENVIRONMENT_MISMATCH", auth: "403"},
		"off the list":       {token: listed, header: []string{"X-Forwarded-For", "192.0.2.9, 198.51.100.1"}, status: 403, outcome: "IP_NOT_ALLOWED", auth: "403"},
		"address not known":  {token: listed, status: 403, outcome: "IP_NOT_ALLOWED", auth: "403"},
		"not entitled":       {query: "product=other", token: good, status: 403, outcome: "NOT_ENTITLED", auth: "403"},
		"scope missing":      {query: "scope=renders:create&scope=a:b", token: bare, status: 403, outcome: "INSUFFICIENT_SCOPE", auth: "403", www: challenge + `, error="insufficient_scope", scope="renders:create a:b"`},
		"another project":    {query: "project=" + id.New[id.Project]().String(), token: projectToken, status: 403, outcome: "INSUFFICIENT_SCOPE", auth: "403", www: challenge + `, error="insufficient_scope", scope=""`},
		"rate limited":       {token: slow, status: 403, outcome: "RATE_LIMITED", auth: "429", limited: true},
		"limit exceeded":     {token: usedUp, status: 403, outcome: "LIMIT_EXCEEDED", auth: "429", limited: true},
		"unknown parameter":  {query: "scopes=renders:create", token: good, status: 500, outcome: "MISCONFIGURED", auth: "500"},
		"wildcard in config": {query: "scope=renders:*", token: good, status: 500, outcome: "MISCONFIGURED", auth: "500"},
	} {
		resp := w.ask(tc.query, tc.token, tc.header...)
		h := resp.Header
		if resp.StatusCode != tc.status || h.Get("X-Landlord-Outcome") != tc.outcome || h.Get("WWW-Authenticate") != tc.www {
			t.Errorf("%s: %d %s %q", name, resp.StatusCode, h.Get("X-Landlord-Outcome"), h.Get("WWW-Authenticate"))
		}
		if tc.auth == "" && tc.status == 401 {
			tc.auth = "401"
		}
		if got := h.Get("X-Auth-Status"); got != tc.auth {
			t.Errorf("%s: X-Auth-Status %q", name, got)
		}
		for _, n := range identityHeaders {
			if v := h.Values(n); len(v) != 1 || v[0] == "" || tc.status == 401 && v[0] != "-" {
				t.Errorf("%s: %s is %q", name, n, v)
			}
		}
		if (h.Get("RateLimit") != "") != tc.limited || (h.Get("RateLimit-Policy") != "") != tc.limited {
			t.Errorf("%s: RateLimit %q, RateLimit-Policy %q", name, h.Get("RateLimit"), h.Get("RateLimit-Policy"))
		}
		if (h.Get("Retry-After") != "") != (tc.outcome == "RATE_LIMITED") {
			t.Errorf("%s: Retry-After %q", name, h.Get("Retry-After"))
		}
	}

	h := w.ask("", good).Header
	want := []string{w.tenant.String(), "acme", key.ID.String(), "-", "live", "renders:*", "false"}
	for i, n := range identityHeaders {
		if h.Get(n) != want[i] {
			t.Errorf("%s: %s, want %s", n, h.Get(n), want[i])
		}
	}
	h = w.ask("", projectToken).Header
	if h.Get("X-Landlord-Project-Id") != bound.ProjectID.String() {
		t.Error(h.Get("X-Landlord-Project-Id"))
	}
	if h = w.ask("", bare).Header; h.Get("X-Landlord-Scopes") != "-" {
		t.Error(h.Get("X-Landlord-Scopes"))
	}
	if h = w.ask("", slow).Header; h.Get("RateLimit-Policy") != `"key";q=1;w=60` || !strings.HasPrefix(h.Get("RateLimit"), `"key";r=0;t=`) {
		t.Error(h)
	}
}

// What turns a client away is made for the client: it names nobody, and it says
// why in a problem document. What lets him through names everything.
func TestForwardAuth_answers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, good := w.create()
	_, bare := w.create(func(p *apikey.CreateParams) { p.Scopes = nil })
	_, slow := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	w.askForward("", slow)
	for name, tc := range map[string]struct {
		query, token string
		header       []string
		status       int
		problem      string
	}{
		"valid":             {query: "product=render&scope=renders:create", token: good, status: 204},
		"nothing":           {status: 401, problem: `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Send an API key, as Authorization: Bearer KEY or X-API-Key.","code":"credential_required"}`},
		"unknown":           {token: "x", status: 401, problem: `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The API key is not valid.","code":"credential_invalid"}`},
		"scope missing":     {query: "scope=renders:create", token: bare, status: 403, problem: `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope, or is another project's.","code":"insufficient_scope"}`},
		"rate limited":      {token: slow, status: 429, problem: `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"Too many requests. Try again after Retry-After.","code":"rate_limited","violated-policies":["key"]}`},
		"unknown parameter": {query: "scopes=a", token: good, status: 500, problem: `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The gateway is misconfigured.","code":"misconfigured"}`},
	} {
		resp := w.askForward(tc.query, tc.token, tc.header...)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tc.status || string(body) != tc.problem || (resp.Header.Get("Content-Type") == "application/problem+json") != (tc.problem != "") {
			t.Errorf("%s: %d %v %s", name, resp.StatusCode, resp.Header, body)
		}
		for _, n := range append(identityHeaders, "X-Landlord-Outcome") {
			if v := resp.Header.Values(n); tc.status == 204 && (len(v) != 1 || v[0] == "") || tc.status != 204 && v != nil {
				t.Errorf("%s: %s is %q", name, n, v)
			}
		}
	}
}

// The method is the one that the gateway sets; one that a client added is no excuse.
func TestForwardAuth_method(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create()
	w.status("frozen")
	for name, tc := range map[string]struct {
		header []string
		status int
	}{
		"reads":        {[]string{"X-Forwarded-Method", "GET"}, 204},
		"writes":       {[]string{"X-Forwarded-Method", "POST"}, 403},
		"claims both":  {[]string{"X-Forwarded-Method", "GET", "X-Forwarded-Method", "POST"}, 403},
		"not told":     {nil, 204},
		"nginx's name": {[]string{"X-Original-Method", "POST"}, 204},
	} {
		if resp := w.askForward("", token, tc.header...); resp.StatusCode != tc.status {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// A route says what it spends of the limits of a name, the client is told of all that
// he came to, and one that there is none of is the route's mistake.
func TestGateway_limits(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t, func(c *gateway.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w.stopClock()
	w.exec(`UPDATE products SET rate_limits = '[{"name": "renders", "limit": 10, "window": 60, "per": "tenant"}]' WHERE name = 'render'`)
	_, token := w.create(func(p *apikey.CreateParams) {
		p.RateLimits = []ratelimit.Rule{{Name: "heavy", Limit: 4, Window: 120, NamedOnly: true}}
	})
	for face, ask := range map[string]func(query, token string, header ...string) *http.Response{"nginx": w.ask, "forward-auth": w.askForward} {
		const query = "product=render&limit=renders:2&limit=heavy"
		h := ask(query, token).Header
		if got := h.Get("RateLimit-Policy"); got != `"key";q=600;w=60, "key.heavy";q=4;w=120, "renders";q=10;w=60` {
			t.Errorf("%s: %s", face, got)
		}
		if got := h.Get("RateLimit"); !strings.HasPrefix(got, `"key";r=`) || strings.Count(got, ";t=") != 3 {
			t.Errorf("%s: %s", face, got)
		}
		h = ask(query+"&limit=key:0", token).Header
		if got := h.Get("X-Landlord-Outcome"); face == "nginx" && got != "VALID" {
			t.Errorf("%s: %s", face, got)
		}
		resp := ask("limit=renders", token) // of a product that is not named
		if resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: %d", face, resp.StatusCode)
		}
	}
	resp := w.askForward("product=render&limit=renders:9&limit=heavy:5", token)
	body, err := io.ReadAll(resp.Body)
	// What is left of renders comes back at 6 s each, and heavy never holds 5: Retry-After says when it is full.
	if err != nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "120" ||
		!strings.Contains(string(body), `"violated-policies":["key.heavy","renders"]`) {
		t.Errorf("%d %v %s %v", resp.StatusCode, resp.Header, body, err)
	}
	if n := strings.Count(log.String(), "gateway route misconfigured"); n == 0 || !strings.Contains(log.String(), "rate_limit_not_found") {
		t.Errorf("%d: %s", n, &log)
	}
}

// A stranger gets one and the same answer, whatever is wrong with his key.
func TestGateway_strangersLearnNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens := map[string]string{"malformed": "x"}
	for name, sql := range map[string]string{"revoked": "revoked_at = NOW()", "disabled": "is_active = FALSE", "expired": "expires_at = NOW()", "unknown": "hash = 'gone'"} {
		k, token := w.create()
		w.exec(`UPDATE api_keys SET `+sql+` WHERE id = $1`, k.ID)
		tokens[name] = token
	}
	for face, ask := range map[string]func(query, token string, header ...string) *http.Response{"nginx": w.ask, "forward-auth": w.askForward} {
		outcomes, answers := map[string]bool{}, map[string]bool{}
		for name, token := range tokens {
			resp := ask("product=render&scope=renders:create", token)
			outcomes[resp.Header.Get("X-Landlord-Outcome")] = true
			resp.Header.Del("X-Landlord-Outcome")
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: %s: %d %v", face, name, resp.StatusCode, err)
			}
			answers[fmt.Sprint(resp.Header, string(body))] = true
		}
		if len(answers) != 1 || len(outcomes) != map[string]int{"nginx": 5, "forward-auth": 1}[face] {
			t.Errorf("%s: %v, and for its log %v", face, answers, outcomes)
		}
	}
}

func TestNginx_tenantStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create()
	for name, tc := range map[string]struct {
		status, query, method string
		code                  int
		outcome, readOnly     string
	}{
		"frozen, reads by scope":   {"frozen", "product=render&scope=renders:read", "POST", 204, "VALID", "true"},
		"frozen, writes by scope":  {"frozen", "product=render&scope=renders:create", "GET", 403, "TENANT_FROZEN", "true"},
		"frozen, reads by method":  {"frozen", "", "HEAD", 204, "VALID", "true"},
		"frozen, writes by method": {"frozen", "", "DELETE", 403, "TENANT_FROZEN", "true"},
		"frozen, method not told":  {"frozen", "", "", 204, "VALID", "true"},
		"suspended":                {"suspended", "", "GET", 403, "TENANT_SUSPENDED", "false"},
		"archived":                 {"archived", "", "GET", 403, "TENANT_ARCHIVED", "false"},
	} {
		w.status(tc.status)
		resp := w.ask(tc.query, token, "X-Original-Method", tc.method)
		if resp.StatusCode != tc.code || resp.Header.Get("X-Landlord-Outcome") != tc.outcome || resp.Header.Get("X-Landlord-Read-Only") != tc.readOnly {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
}

func TestNginx_databaseGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create()
	w.db.Close()
	resp := w.ask("", token)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || resp.Header.Get("X-Landlord-Outcome") != "UNAVAILABLE" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, n := range identityHeaders {
		if resp.Header.Get(n) != "-" {
			t.Errorf("%s: %q", n, resp.Header.Get(n))
		}
	}
}

// What every request of a route or of an outage would log is logged once a
// second; every decision is told to the metrics.
func TestGateway_observed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Now()
	seen := map[string]int{}
	w := newWorld(t, func(c *gateway.Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.Now = func() time.Time { return now }
		c.Observe = func(face, outcome string, _ time.Duration) { seen[face+" "+outcome]++ }
	})
	_, token := w.create()
	for range 5 {
		w.ask("scopes=x", "")
	}
	now = now.Add(time.Second)
	w.askForward("scopes=x", "")
	w.ask("", "")
	w.db.Close()
	for range 3 {
		w.askForward("", token)
	}
	now = now.Add(-time.Hour) // a clock that was set back keeps nothing from being said
	w.ask("", token)
	for text, want := range map[string]int{"gateway route misconfigured": 2, `route="/gateway/nginx?scopes=x"`: 1, "suppressed=4": 1, "key not verified": 2, "suppressed=2": 1} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is logged %d times, want %d: %s", text, n, want, log.String())
		}
	}
	if d := cmp.Diff(map[string]int{
		"nginx MISCONFIGURED": 5, "forward-auth MISCONFIGURED": 1, "nginx NO_CREDENTIAL": 1, "forward-auth UNAVAILABLE": 3, "nginx UNAVAILABLE": 1,
	}, seen); d != "" {
		t.Error(d)
	}
}
