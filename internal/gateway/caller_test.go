package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/gateway"
	"github.com/landlordhq/landlord/internal/id"
)

// program is a gateway that is put between a caller and a backend.
type program struct {
	column string // of the table in docs/gateways.md
	// landlord serves what it asks, and returns the address.
	landlord func(t *testing.T, g *gateway.Gateway) string
	// start runs it with its example's configuration, in which the addresses are
	// replaced and what change says, and returns its URL.
	start    func(t *testing.T, landlord, backend string, change ...string) string
	misspell []string // a change that makes the routes ask what landlord does not understand
	more     func(c *caller, token string)
}

// over serves a face that speaks HTTP.
func over(pattern string, face func(*gateway.Gateway) http.Handler) func(*testing.T, *gateway.Gateway) string {
	return func(t *testing.T, g *gateway.Gateway) string {
		mux := http.NewServeMux()
		mux.Handle(pattern, face(g))
		return serve(t, mux)
	}
}

// expectation is a cell of the table: what the end caller gets.
type expectation struct {
	status                            string // "backend" is the backend's own
	challenge, retry, limits, problem bool
}

// table reads docs/gateways.md: by outcome, by gateway, and each outcome's code.
func table(t *testing.T) (cells map[string]map[string]expectation, codes map[string]string) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/gateways.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\n## What the client sees\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	cells, codes = map[string]map[string]expectation{}, map[string]string{}
	var columns []string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if columns == nil {
			columns = row
			continue
		}
		if len(row) != len(columns) {
			t.Fatalf("%q has not %d cells", line, len(columns))
		}
		names := []string{row[0]}
		if quoted := regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row[0], -1); quoted != nil {
			names = nil
			for _, q := range quoted {
				names = append(names, q[1])
			}
		}
		for _, name := range names {
			if cells[name] != nil {
				t.Errorf("the table has %s twice", name)
			}
			cells[name], codes[name] = map[string]expectation{}, strings.Trim(row[1], "`")
			if codes[name] == "" {
				codes[name] = strings.ToLower(name)
			}
			for i, text := range row[2:] {
				words := strings.Fields(text)
				e := expectation{status: words[0]}
				for _, w := range words[1:] {
					switch w {
					case "challenge":
						e.challenge = true
					case "retry":
						e.retry = true
					case "limits":
						e.limits = true
					case "problem":
						e.problem = true
					default:
						t.Errorf("%s, %s: %q has no meaning", name, columns[i+2], w)
					}
				}
				cells[name][columns[i+2]] = e
			}
		}
	}
	for _, o := range apikey.Outcomes() {
		if cells[string(o)] == nil {
			t.Errorf("docs/gateways.md does not say what a client sees for %s", o)
		}
	}
	return cells, codes
}

// caller is an end caller of a product that is behind a gateway.
type caller struct {
	t      *testing.T
	front  string
	client *http.Client
}

// callers is where they are. Linux has it; elsewhere it may have to be added.
const callers = "127.0.0.2"

func newCaller(t *testing.T, front string) *caller {
	// The callers' address is not the gateways', which is trusted.
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(callers)}}
	c := &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: from.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(c.CloseIdleConnections)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", callers+":0")
	if err != nil {
		t.Fatalf("%v; get that address with: sudo ifconfig lo0 alias %s", err, callers)
	}
	_ = l.Close()
	return &caller{t, front, c}
}

// do sends a request. The names of its headers go as they are.
func (c *caller) do(method, path, body string, header ...string) (*http.Response, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.front+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	for name := range resp.Header {
		if strings.Contains(strings.ToLower(name), "landlord") || name == "X-Auth-Status" {
			c.t.Errorf("%s %s: the client learns %s: %q", method, path, name, resp.Header[name])
		}
	}
	return resp, string(raw)
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// backend shows what reaches it.
func backend(t *testing.T) string {
	t.Helper()
	return serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Backend", "yes")
		switch r.URL.Path {
		case "/renders/forbidden":
			rw.WriteHeader(http.StatusForbidden)
		case "/renders/broken":
			rw.WriteHeader(http.StatusInternalServerError)
		case "/renders/away":
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(rw, "%s: %s\n", name, strings.Join(r.Header[name], " | "))
		}
		fmt.Fprintf(rw, "Body: %s %s %s\n", r.Method, r.URL.RequestURI(), body)
	}))
}

// expect fails unless the answer is what the table says.
func (e expectation) expect(t *testing.T, name, code string, resp *http.Response, body string) {
	t.Helper()
	h := resp.Header
	got := expectation{
		status: strconv.Itoa(resp.StatusCode), challenge: strings.HasPrefix(h.Get("WWW-Authenticate"), `Bearer realm="landlord"`),
		retry: h.Get("Retry-After") != "", limits: h.Get("RateLimit") != "" && h.Get("RateLimit-Policy") != "",
	}
	if h.Get("Backend") != "" {
		got.status = "backend"
	}
	if strings.HasPrefix(h.Get("Content-Type"), "application/problem+json") {
		var p struct {
			Type, Title, Detail, Code string
			Status                    int
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Errorf("%s: %v: %s", name, err, body)
		}
		got.problem = p.Code == code && p.Status == resp.StatusCode && p.Title == http.StatusText(p.Status) && p.Detail != "" && p.Type != ""
	}
	if d := cmp.Diff(e, got, cmp.AllowUnexported(e)); d != "" {
		t.Errorf("%s: %s\n%v\n%s", name, d, h, body)
	}
	for _, n := range []string{"RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"} {
		if v := h.Values(n); len(v) > 1 || len(v) == 1 && (v[0] == "" || v[0] == "forged") {
			t.Errorf("%s: %s is %q", name, n, v)
		}
	}
}

// testProgram puts a real gateway before a backend and tries every row of the table.
func testProgram(t *testing.T, p program) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	cells, codes := table(t)
	w := newWorld(t, func(c *gateway.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	landlord, behind := p.landlord(t, w.gateway), backend(t)
	c := newCaller(t, p.start(t, landlord, behind))
	seen := map[string]bool{}
	try := func(name, outcome, method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		resp, body := c.do(method, path, "", header...)
		e, ok := cells[outcome][p.column]
		if !ok {
			t.Fatalf("docs/gateways.md has no %q for %s", outcome, p.column)
		}
		e.expect(t, name, codes[outcome], resp, body)
		seen[outcome] = true
		return resp, body
	}

	key, token := w.create()
	c.letThrough(w, key, token)

	_, listed := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix(callers + "/32")} })
	_, elsewhere := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	_, reader := w.create(func(p *apikey.CreateParams) { p.Scopes = []string{"renders:read"} })
	_, slow := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	_, test := w.create(func(p *apikey.CreateParams) { p.Environment = apikey.Test })
	_, usedUp := w.create(func(p *apikey.CreateParams) { p.Name = "used up" })
	_, archived := w.create(func(p *apikey.CreateParams) { p.ProjectID = w.project })
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
	revoked, revokedToken := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	disabled, disabledToken := w.create()
	w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, disabled.ID)
	expired, expiredToken := w.create()
	w.exec(`UPDATE api_keys SET expires_at = NOW() WHERE id = $1`, expired.ID)
	unknown, unknownToken := w.create()
	w.exec(`UPDATE api_keys SET hash = 'gone' WHERE id = $1`, unknown.ID)
	stranger := id.New[id.Tenant]()
	w.exec(`INSERT INTO tenants (id, slug, name, status) VALUES ($1, 'stranger', 'Stranger', 'active')`, stranger)
	_, strangers := w.create(func(p *apikey.CreateParams) { p.TenantID = stranger })

	for _, tc := range []struct {
		name, outcome, method, path string
		header                      []string
	}{
		{"by X-API-Key", "VALID", "GET", "/renders", []string{"X-Api-Key", token}},
		{"another scheme", "VALID", "GET", "/renders", []string{"Authorization", "Basic eDp5", "X-Api-Key", token}},
		{"claims limits", "VALID", "GET", "/renders", append(bearer(token), "Ratelimit", "forged", "Ratelimit-Policy", "forged")},
		{"reads", "VALID", "GET", "/renders", bearer(reader)},
		{"another route", "VALID", "DELETE", "/else", bearer(token)},
		{"from its address", "VALID", "GET", "/renders", bearer(listed)},
		{"a backend's own 403", "VALID", "GET", "/renders/forbidden", bearer(token)},
		{"a backend's own 500", "VALID", "GET", "/renders/broken", bearer(token)},
		{"a backend's own 503", "VALID", "GET", "/renders/away", bearer(token)},
		{"nothing", "NO_CREDENTIAL", "GET", "/renders", nil},
		{"two keys", "AMBIGUOUS_CREDENTIAL", "GET", "/renders", append(bearer(token), "X-Api-Key", reader)},
		{"a key twice", "AMBIGUOUS_CREDENTIAL", "GET", "/renders", []string{"X-Api-Key", token, "X-Api-Key", token}},
		{"nonsense", "MALFORMED", "GET", "/renders", bearer("nonsense")},
		{"unknown", "NOT_FOUND", "GET", "/renders", bearer(unknownToken)},
		{"revoked", "REVOKED", "GET", "/renders", bearer(revokedToken)},
		{"disabled", "DISABLED", "GET", "/renders", bearer(disabledToken)},
		{"expired", "EXPIRED", "GET", "/renders", bearer(expiredToken)},
		{"project archived", "PROJECT_ARCHIVED", "GET", "/renders", bearer(archived)},
		{"test key on a live route", "ENVIRONMENT_MISMATCH", "GET", "/else", bearer(test)},
		{"from another address", "IP_NOT_ALLOWED", "GET", "/renders", bearer(elsewhere)},
		{"claims another address", "IP_NOT_ALLOWED", "GET", "/renders", append(bearer(elsewhere), "X-Forwarded-For", "192.0.2.1", "Forwarded", "for=192.0.2.1", "X-Real-Ip", "192.0.2.1")},
		{"not entitled", "NOT_ENTITLED", "GET", "/renders", bearer(strangers)},
		{"writes without the scope", "INSUFFICIENT_SCOPE", "POST", "/renders", bearer(reader)},
		{"claims that it reads", "INSUFFICIENT_SCOPE", "POST", "/renders", append(bearer(reader), "X-Original-Method", "GET", "X-Forwarded-Method", "GET", "X-Http-Method-Override", "GET")},
		{"used up", "LIMIT_EXCEEDED", "GET", "/renders", bearer(usedUp)},
		{"claims that it was let through", "NO_CREDENTIAL", "GET", "/renders", []string{"X-Landlord-Outcome", "VALID", "X-Auth-Status", "200", "X-Landlord-Tenant-Id", w.tenant.String()}},
	} {
		try(tc.name, tc.outcome, tc.method, tc.path, tc.header...)
	}

	// All who are strangers get the same bytes.
	answers := map[string]bool{}
	for _, token := range []string{"nonsense", unknownToken, revokedToken, disabledToken, expiredToken} {
		resp, body := c.do("GET", "/renders", "", bearer(token)...)
		resp.Header.Del("Date")
		answers[fmt.Sprint(resp.StatusCode, resp.Header, body)] = true
	}
	if len(answers) != 1 {
		t.Errorf("strangers get %d answers: %v", len(answers), slices.Collect(maps.Keys(answers)))
	}

	try("slow", "VALID", "GET", "/renders", bearer(slow)...)
	resp, _ := try("too fast", "RATE_LIMITED", "GET", "/renders", bearer(slow)...)
	if retry, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || retry < 40 || retry > 60 ||
		resp.Header.Get("RateLimit-Policy") != `"key";q=1;w=60` || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"key";r=0;t=`) {
		t.Errorf("rate limited: %v", resp.Header)
	}

	c.statuses(w, token, try)
	if p.more != nil {
		p.more(c, token)
	}

	c.front = p.start(t, landlord, behind, p.misspell...)
	try("route misspelt", "MISCONFIGURED", "GET", "/renders", bearer(token)...)

	// The database away: 503, whatever was known before.
	c.front = p.start(t, landlord, behind)
	if err := w.verifier.Flush(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	w.fresh.Store(false)
	w.db.Close()
	try("database away", "UNAVAILABLE", "GET", "/renders", bearer(token)...)
	try("database away, without a key", "NO_CREDENTIAL", "GET", "/renders")

	// landlord itself away.
	c.front = p.start(t, freeAddress(t), behind)
	try("landlord away", "landlord away", "GET", "/renders", bearer(token)...)

	for outcome := range cells {
		if !seen[outcome] {
			t.Errorf("%s was not tried", outcome)
		}
	}
}

// letThrough shows what a backend sees: who it is replaces what the client
// claims, and the key stays behind.
func (c *caller) letThrough(w *world, key apikey.Key, token string) {
	c.t.Helper()
	want := []string{
		"X-Landlord-Environment: live", "X-Landlord-Key-Id: " + key.ID.String(), "X-Landlord-Project-Id: -", "X-Landlord-Read-Only: false",
		"X-Landlord-Scopes: renders:*", "X-Landlord-Tenant-Id: " + w.tenant.String(), "X-Landlord-Tenant-Slug: acme",
	}
	var forged, aliases, dropped []string
	for _, n := range identityHeaders {
		forged = append(forged, n, "forged", n, "forged too")
		alias := strings.ReplaceAll(n, "-", "_")
		aliases = append(aliases, alias, "forged", strings.ToLower(alias), "forged", strings.Replace(n, "-", "_", 1), "forged")
		dropped = append(dropped, n)
	}
	for name, header := range map[string][]string{
		"nothing else":                       nil,
		"forged":                             forged,
		"forged, by other names":             aliases,
		"forged outcome":                     {"X-Landlord-Outcome", "forged"},
		"identity declared to be hop-by-hop": {"Connection", strings.Join(dropped, ", ")},
	} {
		resp, saw := c.do("POST", "/renders/1?a=b", "hello", append(bearer(token), header...)...)
		if resp.StatusCode != http.StatusOK || strings.Contains(saw, token) || strings.Contains(saw, "forged") ||
			!strings.Contains(saw, "Body: POST /renders/1?a=b hello") {
			c.t.Errorf("%s: %d\n%s", name, resp.StatusCode, saw)
		}
		var got []string
		for line := range strings.Lines(saw) {
			if strings.HasPrefix(line, "X-Landlord-") && !strings.HasPrefix(line, "X-Landlord-Outcome") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			c.t.Errorf("%s: the backend sees %s", name, d)
		}
	}
}

// statuses tries the tenant's states, in which a key is good but not for everything.
func (c *caller) statuses(w *world, token string, try func(name, outcome, method, path string, header ...string) (*http.Response, string)) {
	c.t.Helper()
	for _, tc := range []struct{ status, method, path, outcome string }{
		{"frozen", "GET", "/renders", "VALID"},
		{"frozen", "POST", "/renders", "TENANT_FROZEN"},
		{"frozen", "GET", "/else", "VALID"},
		{"frozen", "PUT", "/else", "TENANT_FROZEN"},
		{"suspended", "GET", "/renders", "TENANT_SUSPENDED"},
		{"archived", "GET", "/renders", "TENANT_ARCHIVED"},
		{"active", "POST", "/renders", "VALID"},
	} {
		w.status(tc.status)
		_, saw := try(tc.method+" "+tc.path+" of a tenant that is "+tc.status, tc.outcome, tc.method, tc.path, bearer(token)...)
		if tc.status == "frozen" && tc.outcome == "VALID" && !strings.Contains(saw, "X-Landlord-Read-Only: true\n") {
			c.t.Errorf("the backend does not learn that it may only read:\n%s", saw)
		}
	}
	w.status("frozen")
	try("claims that it reads", "TENANT_FROZEN", "PUT", "/else", append(bearer(token), "X-Forwarded-Method", "GET", "X-Original-Method", "GET", "X_Forwarded_Method", "GET")...)
	w.status("active")
}
