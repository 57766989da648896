package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/outbound"
)

// scanner is GitHub's secret scanning: it signs, and its key can be fetched.
type scanner struct {
	*httptest.Server

	key *ecdsa.PrivateKey
}

func newScanner(t *testing.T) *scanner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"public_keys": []any{map[string]any{
		"key_identifier": "current", "key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "is_current": true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &scanner{key: key, Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))}
	t.Cleanup(s.Close)
	return s
}

// configure makes a replica listen to the scanner.
func (s *scanner) configure(t *testing.T) apptest.Option {
	t.Helper()
	allow, err := outbound.ParseAllow(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *app.Config) {
		c.GitHubScanningKeys = s.URL + "/meta/public_keys/secret_scanning"
		c.Egress.Allow = append(c.Egress.Allow, allow)
	}
}

// request is one that tells of matches.
func (s *scanner) request(t *testing.T, matches ...map[string]string) apptest.Request {
	t.Helper()
	body, err := json.Marshal(matches)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	der, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return apptest.Request{Method: "POST", Path: "/v1/secret-scanning/github", Body: body, Header: map[string]string{
		"Github-Public-Key-Identifier": "current", "Github-Public-Key-Signature": base64.StdEncoding.EncodeToString(der),
	}}
}

func match(token, url string) map[string]string {
	return map[string]string{"token": token, "type": "acme_api_key", "url": url, "source": "content"}
}

// GitHub tells of tokens; those that are keys are stopped on every replica, and GitHub is told which they were.
func TestSecretScanning(t *testing.T) {
	t.Parallel()
	s := newScanner(t)
	w := &world{World: apptest.New(t, s.configure(t))}
	w.Tenant, _ = w.newTenant(t)
	path, token := w.newKey(t)
	_, flagged := w.newKey(t)
	unknown := token[:len(token)-1] + "~"
	verify := func(token string) any {
		t.Helper()
		return w.must(t, "POST", "/v1/keys/verify", map[string]any{"key": token})["outcome"]
	}
	if o := verify(token); o != "VALID" {
		t.Fatal(o)
	}
	good := s.request(t, match(token, "https://example.com/1"), match(unknown, "https://example.com/2"), match("", ""))
	withHeader(&good, "X-Request-Id", "scanning-1")
	verdict := func(token, label string) map[string]string {
		sum := sha256.Sum256([]byte(token))
		return map[string]string{"token_hash": hex.EncodeToString(sum[:]), "token_type": "acme_api_key", "label": label}
	}
	want := []map[string]string{verdict(token, "true_positive"), verdict(unknown, "false_positive"), verdict("", "false_positive")}
	for range 3 { // whoever saw the request can send it again
		r := w.Do(t, good)
		var got []map[string]string
		if err := json.Unmarshal(r.Body, &got); err != nil || r.Status != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if o := verify(token); o != "REVOKED" {
			t.Error(o)
		}
		records, events := w.written(t, "scanning-1")
		if records != 1 || len(events) != 1 || events[0].Type != "api_key.leaked" {
			t.Errorf("%d records, %v", records, events)
		}
		for _, e := range events {
			checkPayload(t, e)
			if !strings.Contains(string(e.Payload), `"https://example.com/1"`) {
				t.Errorf("the event does not say where: %s", e.Payload)
			}
		}
	}
	k := w.must(t, "GET", path, nil)
	if k["state"] != "revoked" || k["revoked_reason"] != "leaked" || k["leaked_at"] == nil {
		t.Errorf("%v", k)
	}
	leaks := w.must(t, "GET", path+"/leaks", nil)["data"].([]any)
	if len(leaks) != 1 {
		t.Fatalf("%v", leaks)
	}
	leak := leaks[0].(map[string]any)
	if leak["url"] != "https://example.com/1" || leak["source"] != "content" || leak["action"] != "revoke" || leak["reported_by"] != "system:secret-scanning:github" {
		t.Errorf("%v", leak)
	}

	// The policy says to tell only.
	w.must(t, "PUT", "/v1/tenants/"+w.Tenant+"/key-policy", map[string]any{"leak_action": "flag"})
	if r := w.Do(t, s.request(t, match(flagged, ""))); r.Status != http.StatusOK || !strings.Contains(string(r.Body), "true_positive") || verify(flagged) != "VALID" {
		t.Errorf("%d %s, %v", r.Status, r.Body, verify(flagged))
	}
	if found := w.must(t, "GET", "/v1/api-keys?leaked=true", nil)["data"].([]any); len(found) != 2 {
		t.Errorf("%d keys are said to have leaked", len(found))
	}

	for _, secret := range []string{token, flagged, unknown} {
		if strings.Contains(w.Log.String(), secret) {
			t.Error("a token is in the log")
		}
	}
}

// Nothing of a request is believed that GitHub did not sign.
func TestSecretScanning_refuses(t *testing.T) {
	t.Parallel()
	s, stranger := newScanner(t), newScanner(t)
	w := &world{World: apptest.New(t, s.configure(t))}
	w.Tenant, _ = w.newTenant(t)
	_, token := w.newKey(t)
	for name, tc := range map[string]struct {
		by     *scanner
		edit   func(r *apptest.Request)
		status int
		code   string
	}{
		"another's signature": {stranger, func(*apptest.Request) {}, 403, "signature_invalid"},
		"another body":        {s, func(r *apptest.Request) { r.Body = append(r.Body.([]byte), ' ') }, 403, "signature_invalid"},
		"no body":             {s, func(r *apptest.Request) { r.Body = nil }, 403, "signature_invalid"},
		"no signature":        {s, func(r *apptest.Request) { delete(r.Header, "Github-Public-Key-Signature") }, 403, "signature_required"},
		"no key's name":       {s, func(r *apptest.Request) { delete(r.Header, "Github-Public-Key-Identifier") }, 403, "signature_required"},
		"an unknown key":      {s, func(r *apptest.Request) { withHeader(r, "Github-Public-Key-Identifier", "next") }, 403, "signature_key_unknown"},
		"an owner's token":    {stranger, func(r *apptest.Request) { r.Token = w.Owner }, 403, "signature_invalid"},
		"too large":           {s, func(r *apptest.Request) { r.Body = make([]byte, 1<<20+1) }, 413, "body_too_large"},
		"another method":      {s, func(r *apptest.Request) { r.Method = "PUT" }, 405, "method_not_allowed"},
	} {
		r := tc.by.request(t, match(token, "https://example.com/1"))
		tc.edit(&r)
		if got := w.Do(t, r); got.Status != tc.status || !hasCode(t, got, tc.code) {
			t.Errorf("%s: %d %s, want %d %s", name, got.Status, clip(got.Body), tc.status, tc.code)
		}
	}
	sign := func(body string) apptest.Request {
		sum := sha256.Sum256([]byte(body))
		der, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		r := s.request(t)
		r.Body = body
		withHeader(&r, "Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(der))
		return r
	}
	for body, code := range map[string]string{`[`: "json_malformed", `{}`: "wrong_type", `[1]`: "wrong_type", "[" + strings.Repeat("{},", 1000) + "{}]": "too_many"} {
		if got := w.Do(t, sign(body)); !hasCode(t, got, code) {
			t.Errorf("%.20s: %d %s, want %s", body, got.Status, clip(got.Body), code)
		}
	}
	if o := w.must(t, "POST", "/v1/keys/verify", map[string]any{"key": token})["outcome"]; o != "VALID" {
		t.Errorf("the key answers %v", o)
	}

	// The keys can't be had: nothing can be said, and the caller is to come again.
	s.Close()
	away := newScanner(t)
	w = &world{World: apptest.New(t, away.configure(t))}
	r := away.request(t, match(token, ""))
	away.Close()
	if got := w.Do(t, r); got.Status != 503 || !hasCode(t, got, "signature_keys_unavailable") || got.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	// Nobody configured it.
	w = &world{World: apptest.New(t)}
	if got := w.Do(t, r); got.Status != 404 || !hasCode(t, got, "secret_scanning_off") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
