package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// served is a replica on listeners of its own, as landlord serve makes them: the
// bounds of its HTTP server are part of what is tested.
type served struct {
	public, private, extAuthz string // addresses
	owner                     string
	stop                      func() error
}

func serve(t *testing.T, cfg app.Config) *served {
	t.Helper()
	cfg.Keys, cfg.Version, cfg.MaxConns = apptest.NewKeys(t), "test", 4
	cfg.Listen, cfg.PrivateListen = "127.0.0.1:0", "127.0.0.1:0"
	a, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{}
	if s.owner, err = a.Bootstrap(t.Context(), "owner@example.com", "Olivia Owner", false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- a.Run(ctx, func(at app.Addresses) {
			s.public, s.private = at.Public.String(), at.Private.String()
			if at.ExtAuthz != nil {
				s.extAuthz = at.ExtAuthz.String()
			}
			close(ready)
		})
	}()
	s.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { _ = s.stop() })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return s
}

// raw sends bytes to the public face and reads one answer.
func (s *served) raw(t *testing.T, parts ...string) (*http.Response, []byte) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { // the server may answer before it has read everything
		for _, p := range parts {
			if _, err := io.WriteString(c, p); err != nil {
				return
			}
		}
	}()
	method, _, _ := strings.Cut(parts[0], " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.60q: %v", parts[0], err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%.60q: %v", parts[0], err)
	}
	return resp, body
}

func TestFault_http(t *testing.T) {
	t.Parallel()
	s := serve(t, app.Config{DatabaseURL: pgtest.CloneURLs(t).App})
	const host = "Host: landlord\r\n"
	auth := "Authorization: Bearer " + s.owner + "\r\n"
	head := host + auth
	post := func(headers, body string) string {
		return "POST /v1/tenants HTTP/1.1\r\n" + head + headers + "\r\n" + body
	}
	sized := func(headers, body string) string {
		return post(fmt.Sprintf("%sContent-Length: %d\r\n", headers, len(body)), body)
	}
	const jsonType = "Content-Type: application/json\r\n"
	tenant := func(slug, more string) string { return fmt.Sprintf(`{"name":"N","slug":%q%s}`, slug, more) }
	for _, c := range []struct {
		name    string
		request string
		status  int
		code    string // of a problem document; "" is none
		header  string // that the answer must have, as Name: value
	}{
		// The request line and the headers.
		{"HEAD is GET without the body", "HEAD /v1/tenants HTTP/1.1\r\n" + head + "\r\n", 200, "", "Content-Type: application/json"},
		{"OPTIONS", "OPTIONS /v1/tenants HTTP/1.1\r\n" + head + "\r\n", 405, "method_not_allowed", "Allow: GET, HEAD, POST"},
		{"OPTIONS of the server", "OPTIONS * HTTP/1.1\r\n" + head + "\r\n", 200, "", ""},
		{"TRACE", "TRACE /v1/tenants HTTP/1.1\r\n" + head + "\r\n", 405, "method_not_allowed", "Allow: GET, HEAD, POST"},
		{"a method of one's own", "FROB /v1/tenants HTTP/1.1\r\n" + head + "\r\n", 405, "method_not_allowed", "Allow: GET, HEAD, POST"},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\n" + host + "\r\n", 404, "route_not_found", ""},
		{"an unknown path", "GET /v2/tenants HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"the root", "GET / HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"an empty segment", "GET /v1//tenants HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"an empty variable", "POST /v1/tenants//suspend HTTP/1.1\r\n" + head + "Content-Length: 0\r\n\r\n", 404, "route_not_found", ""},
		{"dots", "GET /v1/services/../tenants HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"escaped dots", "GET /v1/services/%2e%2e/tenants HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"a trailing slash", "GET /v1/tenants/ HTTP/1.1\r\n" + head + "\r\n", 404, "route_not_found", ""},
		{"an escaped slash", "GET /v1/tenants/slug:a%2Fb HTTP/1.1\r\n" + head + "\r\n", 422, "invalid_request", ""},
		{"NUL", "GET /v1/tenants/slug:%00 HTTP/1.1\r\n" + head + "\r\n", 400, "invalid_text", ""},
		{"NUL in the query", "GET /v1/tenants?q=%00 HTTP/1.1\r\n" + head + "\r\n", 400, "invalid_text", ""},
		{"no UTF-8", "GET /v1/tenants/slug:%ff HTTP/1.1\r\n" + head + "\r\n", 400, "invalid_text", ""},
		{"no UTF-8 in the query", "GET /v1/tenants?q=%c3%28 HTTP/1.1\r\n" + head + "\r\n", 400, "invalid_text", ""},
		{"a broken escape", "GET /v1/tenants/%zz HTTP/1.1\r\n" + head + "\r\n", 400, "", ""},
		{"a parameter twice", "GET /v1/tenants?limit=1&limit=2 HTTP/1.1\r\n" + head + "\r\n", 200, "", ""},
		{"a long URL", "GET /v1/tenants/" + strings.Repeat("x", 8<<10) + " HTTP/1.1\r\n" + head + "\r\n", 422, "invalid_request", ""},
		{"a URL that is too long", "GET /v1/tenants/" + strings.Repeat("x", 200<<10) + " HTTP/1.1\r\n" + head + "\r\n", 431, "", ""},
		{"headers that are too large", "GET /v1/tenants HTTP/1.1\r\n" + head + "X-Large: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", 431, "", ""},
		{"headers that are too many", "GET /v1/tenants HTTP/1.1\r\n" + head + strings.Repeat("X-Many: x\r\n", 20_000) + "\r\n", 431, "", ""},
		{"no Host", "GET /v1/tenants HTTP/1.1\r\n" + auth + "\r\n", 400, "", ""},
		{"a space before the colon", "GET /v1/tenants HTTP/1.1\r\n" + head + "X-Space : x\r\n\r\n", 400, "", ""},
		{"no credential", "GET /v1/tenants HTTP/1.1\r\n" + host + "\r\n", 401, "credential_required", `WWW-Authenticate: Bearer realm="landlord"`},
		{"two credentials", "GET /v1/tenants HTTP/1.1\r\n" + head + auth + "\r\n", 401, "credential_required", ""},
		{"another scheme", "GET /v1/tenants HTTP/1.1\r\n" + host + "Authorization: Basic YTpi\r\n\r\n", 401, "credential_required", ""},
		{"a credential of 60 KB", "GET /v1/tenants HTTP/1.1\r\n" + host + "Authorization: Bearer " + strings.Repeat("x", 60<<10) + "\r\n\r\n", 401, "credential_invalid", ""},
		{"a credential that is no text", "GET /v1/tenants HTTP/1.1\r\n" + host + "Authorization: Bearer \xff\xfe\r\n\r\n", 401, "credential_invalid", ""},
		{"a request id of one's own", "GET /v1/whoami HTTP/1.1\r\n" + head + "X-Request-Id: mine-0001\r\n\r\n", 200, "", "X-Request-Id: mine-0001"},

		// The body.
		{"no Content-Type is JSON", sized("", tenant("no-type", "")), 201, "", "Location: /v1/tenants/"},
		{"another Content-Type", sized("Content-Type: text/xml\r\n", tenant("xml", "")), 415, "unsupported_media_type", ""},
		{"a charset", sized("Content-Type: application/json; charset=utf-8\r\n", tenant("charset", "")), 201, "", ""},
		{"no body", post(jsonType+"Content-Length: 0\r\n", ""), 400, "body_required", ""},
		{"chunked", post(jsonType+"Transfer-Encoding: chunked\r\n", chunked(tenant("chunked", ""))), 201, "", ""},
		{"chunked and too large", post(jsonType+"Transfer-Encoding: chunked\r\n", chunked(tenant("x", `,"metadata":{"a":"`+strings.Repeat("x", 2<<20)+`"}`))), 413, "body_too_large", ""},
		{"too large by its own word", post(jsonType+"Content-Length: 1000000000000\r\n", strings.Repeat("x", 2<<20)), 413, "body_too_large", ""},
		{"length and chunked: the chunks count (RFC 9112, 6.3)", post(jsonType+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked(tenant("smuggled", ""))), 201, "", ""},
		{"two lengths", post(jsonType+"Content-Length: 5\r\nContent-Length: 6\r\n", "12345"), 400, "", ""},
		{"a length below 0", post(jsonType+"Content-Length: -1\r\n", ""), 400, "", ""},
		{"a chunk that is none", post(jsonType+"Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), 400, "body_unreadable", ""},
		{"an unknown coding", post(jsonType+"Transfer-Encoding: gzip\r\n", "x"), 501, "", ""},
		{"compressed", sized(jsonType+"Content-Encoding: gzip\r\n", "\x1f\x8b\x08"), 400, "invalid_text", ""},
		{"nested deep", sized(jsonType, tenant("deep", `,"metadata":`+strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000))), 400, "json_too_deep", ""},
		{"nested as deep as may be", sized(jsonType, tenant("deep", `,"metadata":`+strings.Repeat(`{"a":`, 99)+"1"+strings.Repeat("}", 99))), 201, "", ""},
		{"a name twice", sized(jsonType, tenant("twice", `,"slug":"other"`)), 400, "json_duplicate_name", ""},
		{"a name twice, below", sized(jsonType, tenant("twice", `,"metadata":{"a":1,"a":2}`)), 400, "json_duplicate_name", ""},
		{"a name in capitals", sized(jsonType, tenant("capital", `,"NAME":"x"`)), 422, "invalid_request", ""},
		{"a number beyond all", sized(jsonType, tenant("number", `,"metadata":{"a":1e400}`)), 400, "number_out_of_range", ""},
		{"half a surrogate pair", sized(jsonType, tenant("half", `,"metadata":{"a":"\ud800"}`)), 400, "invalid_text", ""},
		{"a whole one", sized(jsonType, tenant("whole", `,"metadata":{"a":"\ud83d\ude00"}`)), 201, "", ""},
		{"two documents", sized(jsonType, tenant("two", "")+"{}"), 400, "json_malformed", ""},
		{"a byte order mark", sized(jsonType, "\ufeff"+tenant("bom", "")), 400, "json_malformed", ""},
		{"a body with GET", "GET /v1/tenants HTTP/1.1\r\n" + head + "Content-Length: 5\r\n\r\n12345", 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, body := s.raw(t, c.request)
			if resp.StatusCode != c.status {
				t.Fatalf("got %d %.300s", resp.StatusCode, body)
			}
			var p map[string]any
			if c.code != "" && c.request[:4] != "HEAD" {
				if err := json.Unmarshal(body, &p); err != nil || p["code"] != c.code || p["request_id"] == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("got %v %.300s", resp.Header, body)
				}
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && !strings.HasPrefix(resp.Header.Get(name), value) {
				t.Errorf("%s is %q, want %q", name, resp.Header.Get(name), value)
			}
			if strings.HasPrefix(c.request, "HEAD") && len(body) != 0 {
				t.Errorf("a body: %q", body)
			}
		})
	}
}

// chunked encodes a body in two chunks.
func chunked(body string) string {
	half := len(body) / 2
	return fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", half, body[:half], len(body)-half, body[half:])
}

// A client that promises more than it sends and closes its side: nothing is done.
func TestFault_bodyBreaksOff(t *testing.T) {
	t.Parallel()
	s := serve(t, app.Config{DatabaseURL: pgtest.CloneURLs(t).App})
	for _, kind := range []string{"", "Idempotency-Key: broken\r\n"} {
		c, err := net.Dial("tcp", s.public)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprintf(c, "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%sContent-Length: 100\r\n\r\n{\"name\":\"x\",\"slug\":\"broken\"}", s.owner, kind)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "body_unreadable") {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	}
	resp, body := s.raw(t, "GET /v1/tenants/slug:broken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.owner+"\r\n\r\n")
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

// Expect: 100-continue is answered when the body is wanted, and not before the
// credential was looked at.
func TestFault_expectContinue(t *testing.T) {
	t.Parallel()
	s := serve(t, app.Config{DatabaseURL: pgtest.CloneURLs(t).App})
	for token, want := range map[string]int{s.owner: http.StatusContinue, "llop_wrong": http.StatusUnauthorized} {
		c, err := net.Dial("tcp", s.public)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		body := `{"name":"x","slug":"expect"}`
		_, _ = fmt.Fprintf(c, "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", token, len(body))
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("got %v %v, want %d", resp, err, want)
		}
		if want != http.StatusContinue {
			_ = resp.Body.Close()
			continue
		}
		_, _ = io.WriteString(c, body)
		if resp, err = http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("got %v %v", resp, err)
		}
		_ = resp.Body.Close()
	}
}

// A client that sends its headers byte by byte does not keep its connection.
func TestFault_slowHeaders(t *testing.T) {
	if os.Getenv("LANDLORD_TEST_LONG") == "" {
		t.Skip("takes 10 s; LANDLORD_TEST_LONG=1 runs it")
	}
	t.Parallel()
	s := serve(t, app.Config{DatabaseURL: pgtest.CloneURLs(t).App})
	c, err := net.Dial("tcp", s.public)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /v1/tenants HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	go func() {
		for range tick.C {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
		}
	}()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open: %q", b)
	}
}
