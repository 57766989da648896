package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
)

// findNginx returns the program; daemons are where an ordinary user's PATH doesn't lead.
func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs nginx; get it with: make deps")
	return ""
}

// startNginx runs nginx with the example's configuration, in which only addresses
// are replaced, as an ordinary user in a folder of its own. It returns its URL.
func startNginx(t *testing.T, landlord, backend string) string {
	t.Helper()
	program := findNginx(t)
	text, err := os.ReadFile("../../examples/gateway/nginx/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	front := freeAddress(t)
	config := string(text)
	for from, to := range map[string]string{
		"server 127.0.0.1:8081;": "server " + landlord + ";",
		"server 127.0.0.1:9000;": "server " + backend + ";",
		"listen 127.0.0.1:8088;": "listen " + front + ";",
		"worker_processes auto;": "worker_processes 1;",
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("the example has not one %q", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	dir, err := os.MkdirTemp("", "landlord-nginx") //nolint:usetesting // t.TempDir's parent is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;")
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	cmd.Dir = dir
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	logged := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return string(raw)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("nginx: %s\n%s", logged("stderr"), logged("access.log"))
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", front); err == nil {
			_ = c.Close()
			return "http://" + front
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v\n%s", err, logged("stderr"))
		case <-deadline:
			t.Fatalf("nginx does not listen\n%s", logged("stderr"))
		case <-tick.C:
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve runs a handler on loopback and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// The example's configuration in the real nginx, before a backend that shows
// what reaches it.
func TestNginx_forReal(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	findNginx(t)
	w := newWorld(t)
	mux := http.NewServeMux()
	mux.Handle("GET /gateway/nginx", w.gateway.Nginx())
	landlord := serve(t, mux)
	backend := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/renders/forbidden":
			rw.WriteHeader(http.StatusForbidden)
		case "/renders/broken":
			rw.WriteHeader(http.StatusInternalServerError)
		}
		for name, values := range r.Header {
			fmt.Fprintf(rw, "%s: %s\n", name, strings.Join(values, " | "))
		}
		fmt.Fprintf(rw, "Body: %s %s %s\n", r.Method, r.URL.Path, body)
	}))
	front := startNginx(t, landlord, backend)

	key, token := w.create()
	_, listed := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	_, elsewhere := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	_, reader := w.create(func(p *apikey.CreateParams) { p.Scopes = []string{"renders:read"} })
	_, slow := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	_, test := w.create(func(p *apikey.CreateParams) { p.Environment = apikey.Test })
	revoked, revokedToken := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, ""); err != nil {
		t.Fatal(err)
	}

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	do := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, front+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for name := range resp.Header {
			if strings.HasPrefix(name, "X-Landlord") || name == "X-Auth-Status" {
				t.Errorf("%s %s: the client learns %s", method, path, name)
			}
		}
		return resp, string(raw)
	}
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }

	// Let through: who it is replaces what the client claims, and the key stays here.
	resp, seen := do("POST", "/renders/1", "hello", append(bearer(token),
		"X-Landlord-Tenant-Id", "forged", "X-Landlord-Project-Id", "forged", "X-Landlord-Scopes", "forged", "x-landlord-read-only", "forged",
		"X-Landlord-Tenant-Slug", "forged", "X-Landlord-Key-Id", "forged", "X-Landlord-Environment", "forged")...)
	if resp.StatusCode != http.StatusOK || strings.Contains(seen, "forged") || strings.Contains(seen, token) ||
		!strings.Contains(seen, "Body: POST /renders/1 hello") {
		t.Errorf("%d\n%s", resp.StatusCode, seen)
	}
	for _, line := range []string{
		"X-Landlord-Tenant-Id: " + w.tenant.String(), "X-Landlord-Tenant-Slug: acme", "X-Landlord-Key-Id: " + key.ID.String(),
		"X-Landlord-Project-Id: -", "X-Landlord-Environment: live", "X-Landlord-Scopes: renders:*", "X-Landlord-Read-Only: false",
	} {
		if !strings.Contains(seen, line+"\n") {
			t.Errorf("the backend does not see %q in\n%s", line, seen)
		}
	}
	if resp.Header.Get("RateLimit-Policy") != `"key";q=600;w=60` || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"key";r=`) {
		t.Errorf("%v", resp.Header)
	}

	// What each answer is to the client.
	for name, tc := range map[string]struct {
		method, path string
		header       []string
		status       int
		www          string
	}{
		"by X-API-Key":                  {"GET", "/renders", []string{"X-API-Key", token}, 200, ""},
		"reads":                         {"GET", "/renders", bearer(reader), 200, ""},
		"another route":                 {"DELETE", "/else", bearer(token), 200, ""},
		"from its address":              {"GET", "/renders", bearer(listed), 200, ""},
		"a backend's own 403":           {"GET", "/renders/forbidden", bearer(token), 403, ""},
		"a backend's own 500":           {"GET", "/renders/broken", bearer(token), 500, ""},
		"no key":                        {"GET", "/renders", nil, 401, `Bearer realm="landlord"`},
		"no such key":                   {"GET", "/renders", bearer("nonsense"), 401, `Bearer realm="landlord", error="invalid_token"`},
		"revoked":                       {"GET", "/renders", bearer(revokedToken), 401, `Bearer realm="landlord", error="invalid_token"`},
		"two keys":                      {"GET", "/renders", append(bearer(token), "X-API-Key", reader), 401, `Bearer realm="landlord", error="invalid_request", error_description="Send one key, once."`},
		"writes without the scope":      {"POST", "/renders", bearer(reader), 403, ""},
		"test key on a live route":      {"GET", "/else", bearer(test), 403, ""},
		"from another address":          {"GET", "/renders", bearer(elsewhere), 403, ""},
		"claims another address":        {"GET", "/renders", append(bearer(elsewhere), "X-Forwarded-For", "192.0.2.1"), 403, ""},
		"claims that it was authorized": {"GET", "/renders", []string{"X-Landlord-Outcome", "VALID", "X-Auth-Status", "200"}, 401, `Bearer realm="landlord"`},
		"claims that it reads":          {"POST", "/renders", append(bearer(reader), "X-Original-Method", "GET"), 403, ""},
		"asks landlord directly":        {"GET", "/_landlord", bearer(token), 404, ""},
	} {
		resp, body := do(tc.method, tc.path, "", tc.header...)
		if resp.StatusCode != tc.status || resp.Header.Get("WWW-Authenticate") != tc.www {
			t.Errorf("%s: %d %q\n%s", name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"), body)
		}
	}

	do("GET", "/renders", "", bearer(slow)...)
	resp, _ = do("GET", "/renders", "", bearer(slow)...)
	retry, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || err != nil || retry < 50 || retry > 60 ||
		resp.Header.Get("RateLimit-Policy") != `"key";q=1;w=60` || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"key";r=0;t=`) {
		t.Errorf("rate limited: %d %v", resp.StatusCode, resp.Header)
	}

	// The tenant's state.
	for _, tc := range []struct {
		status, method, path string
		want                 int
	}{
		{"frozen", "GET", "/renders", 200},
		{"frozen", "POST", "/renders", 403},
		{"frozen", "GET", "/else", 200},
		{"frozen", "PUT", "/else", 403},
		{"suspended", "GET", "/renders", 403},
		{"archived", "GET", "/renders", 403},
		{"active", "POST", "/renders", 200},
	} {
		w.status(tc.status)
		resp, seen := do(tc.method, tc.path, "", bearer(token)...)
		if resp.StatusCode != tc.want {
			t.Errorf("%s %s of a tenant that is %s: %d", tc.method, tc.path, tc.status, resp.StatusCode)
		}
		if tc.status == "frozen" && tc.want == 200 && !strings.Contains(seen, "X-Landlord-Read-Only: true\n") {
			t.Errorf("the backend does not learn that it may only read:\n%s", seen)
		}
	}

	// Without the database: 503, whatever was known before.
	if err := w.verifier.Flush(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	w.fresh.Store(false)
	w.db.Close()
	resp, _ = do("GET", "/renders", "", bearer(token)...)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("without a database: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ = do("GET", "/renders", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a database and a key: %d", resp.StatusCode)
	}
}

// landlord gone altogether is 503 too.
func TestNginx_landlordGone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	reached := false
	backend := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	front := startNginx(t, freeAddress(t), backend)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front+"/renders", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "x")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || reached {
		t.Errorf("%d %v, backend reached: %v", resp.StatusCode, resp.Header, reached)
	}
}
