package operator

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/fault"
)

const audience = "landlord-api"

// fakeIssuer is an OIDC issuer on loopback with a discovery document, keys that
// can be rotated, and a switch that takes it down.
type fakeIssuer struct {
	*httptest.Server
	t       testing.TB
	mu      sync.Mutex
	keys    map[string]crypto.Signer // published, by kid
	calls   map[string]string        // what it says about itself, overriding
	down    atomic.Bool
	fetches atomic.Int32 // of the key set
}

func newFakeIssuer(t testing.TB) *fakeIssuer {
	t.Helper()
	f := &fakeIssuer{t: t, keys: map[string]crypto.Signer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		doc := map[string]string{"issuer": f.URL, "jwks_uri": f.URL + "/keys"}
		f.mu.Lock()
		maps.Copy(doc, f.calls)
		f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(doc)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		f.fetches.Add(1)
		set := jose.JSONWebKeySet{}
		f.mu.Lock()
		defer f.mu.Unlock()
		for kid, k := range f.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	f.publish("k1", rsaKey())
	return f
}

var rsaKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (f *fakeIssuer) publish(kid string, k crypto.Signer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[kid] = k
}

func (f *fakeIssuer) withdraw(kid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, kid)
}

// claims of a valid token, changed by over; a nil value removes.
func (f *fakeIssuer) claims(now time.Time, over map[string]any) map[string]any {
	c := map[string]any{
		"iss": f.URL, "aud": audience, "sub": "u1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	for k, v := range over {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// token signs claims with the published key kid.
func (f *fakeIssuer) token(kid string, now time.Time, over map[string]any) string {
	f.t.Helper()
	f.mu.Lock()
	k := f.keys[kid]
	f.mu.Unlock()
	alg := jose.RS256
	switch k.(type) {
	case *ecdsa.PrivateKey:
		alg = jose.ES256
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	}
	return sign(f.t, k, alg, kid, "JWT", f.claims(now, over))
}

func sign(t testing.TB, key any, alg jose.SignatureAlgorithm, kid, typ string, claims any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	if kid != "" {
		o = o.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func verifier(t testing.TB, f *fakeIssuer) (*issuer, *clock) {
	t.Helper()
	c := &clock{t: time.Now()}
	return newIssuer(OIDC{Issuer: f.URL, Audience: audience}, c.now, slog.New(slog.DiscardHandler)), c
}

// codeOf returns the code that a verification ends with, "" for success.
func codeOf(err error) string {
	var no *refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &no) && no.expired:
		return "credential_expired"
	case errors.As(err, &no):
		return "credential_invalid"
	default:
		return fault.CodeOf(err)
	}
}

func TestIssuer_accepts(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	now := c.now()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.publish("ec", ecKey(t))
	f.publish("ed", ed)
	for name, raw := range map[string]string{
		"RS256":                       f.token("k1", now, nil),
		"ES256":                       f.token("ec", now, nil),
		"EdDSA":                       f.token("ed", now, nil),
		"PS256":                       sign(t, rsaKey(), jose.PS256, "k1", "JWT", f.claims(now, nil)),
		"no kid":                      sign(t, rsaKey(), jose.RS256, "", "JWT", f.claims(now, nil)),
		"access token type":           sign(t, rsaKey(), jose.RS256, "k1", "at+jwt", f.claims(now, nil)),
		"one of several audiences":    f.token("k1", now, map[string]any{"aud": []string{"other", audience}}),
		"expired within the skew":     f.token("k1", now, map[string]any{"exp": now.Add(-30 * time.Second).Unix()}),
		"not yet valid by less":       f.token("k1", now, map[string]any{"nbf": now.Add(30 * time.Second).Unix()}),
		"without nbf and iat":         f.token("k1", now, map[string]any{"nbf": nil, "iat": nil}),
		"unverified address is empty": f.token("k1", now, map[string]any{"email": "a@example.com"}),
	} {
		got, err := i.verify(t.Context(), raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.Subject != "u1" || got.Email != "" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if n := f.fetches.Load(); n > 2 {
		t.Errorf("the key set was fetched %d times", n)
	}
}

func TestIssuer_readsClaims(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	got, err := i.verify(t.Context(), f.token("k1", c.now(), map[string]any{
		"email": "Ada@Example.com", "email_verified": "true", "name": "Ada", "org_id": "acme",
		"scope": "openid tenants:read", "permissions": []string{"projects:write"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Email != "ada@example.com" || got.Name != "Ada" || string(got.Organization) != `"acme"` ||
		strings.Join(got.Scopes, " ") != "projects:write openid tenants:read" {
		t.Errorf("got %+v", got)
	}
}

func TestIssuer_refuses(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	now := c.now()
	public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	stranger := ecKey(t)
	good := f.token("k1", now, nil)
	parts := strings.Split(good, ".")
	unsigned := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","typ":"JWT","kid":"k1"}`)) + "." + parts[1] + "."
	}
	admin, _ := json.Marshal(f.claims(now, map[string]any{"sub": "somebody else"}))
	for name, tc := range map[string]struct{ raw, code string }{
		"expired":                   {f.token("k1", now, map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "credential_expired"},
		"no exp":                    {f.token("k1", now, map[string]any{"exp": nil}), "credential_invalid"},
		"no sub":                    {f.token("k1", now, map[string]any{"sub": nil}), "credential_invalid"},
		"not yet valid":             {f.token("k1", now, map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), "credential_invalid"},
		"issued in the future":      {f.token("k1", now, map[string]any{"iat": now.Add(2 * time.Minute).Unix()}), "credential_invalid"},
		"other audience":            {f.token("k1", now, map[string]any{"aud": "other"}), "credential_invalid"},
		"no audience":               {f.token("k1", now, map[string]any{"aud": nil}), "credential_invalid"},
		"other issuer":              {f.token("k1", now, map[string]any{"iss": "https://other.example"}), "credential_invalid"},
		"alg none":                  {unsigned("none"), "credential_invalid"},
		"alg None":                  {unsigned("None"), "credential_invalid"},
		"empty signature":           {unsigned("RS256"), "credential_invalid"},
		"public key as HMAC secret": {sign(t, public, jose.HS256, "k1", "JWT", f.claims(now, nil)), "credential_invalid"},
		"RS512":                     {sign(t, rsaKey(), jose.RS512, "k1", "JWT", f.claims(now, nil)), "credential_invalid"},
		"a stranger's key":          {sign(t, stranger, jose.ES256, "k1", "JWT", f.claims(now, nil)), "credential_invalid"},
		"a stranger's kid":          {sign(t, stranger, jose.ES256, "k9", "JWT", f.claims(now, nil)), "credential_invalid"},
		"logout token":              {sign(t, rsaKey(), jose.RS256, "k1", "logout+jwt", f.claims(now, nil)), "credential_invalid"},
		"changed payload":           {parts[0] + "." + base64.RawURLEncoding.EncodeToString(admin) + "." + parts[2], "credential_invalid"},
		"garbage":                   {"eyJ.x.y", "credential_invalid"},
		"too long":                  {"ey" + strings.Repeat("a", maxJWT) + ".b.c", "credential_invalid"},
	} {
		_, err := i.verify(t.Context(), tc.raw)
		if got := codeOf(err); got != tc.code {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, tc.code)
		}
	}
	if n := f.fetches.Load(); n > 2 {
		t.Errorf("strangers' tokens made us fetch the key set %d times", n)
	}
}

func TestIssuer_keyRotation(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	old := f.token("k1", c.now(), map[string]any{"exp": c.now().Add(time.Hour).Unix()})
	if _, err := i.verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	f.publish("k2", ecKey(t))
	f.withdraw("k1")
	c.advance(keysPause)
	if _, err := i.verify(t.Context(), f.token("k2", c.now(), nil)); err != nil {
		t.Fatalf("new key: %v", err)
	}
	c.advance(keysPause)
	if _, err := i.verify(t.Context(), old); codeOf(err) != "credential_invalid" {
		t.Fatalf("withdrawn key: %v", err)
	}
}

func TestIssuer_down(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	raw := f.token("k1", c.now(), map[string]any{"exp": c.now().Add(3 * time.Hour).Unix()})
	unknown := sign(t, ecKey(t), jose.ES256, "k9", "JWT", f.claims(c.now(), nil))
	f.down.Store(true)
	if _, err := i.verify(t.Context(), raw); codeOf(err) != "issuer_unavailable" || fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("never reached: %v", err)
	}
	f.down.Store(false)
	if _, err := i.verify(t.Context(), raw); codeOf(err) != "issuer_unavailable" {
		t.Fatalf("within the pause nobody is asked again: %v", err)
	}
	c.advance(keysPause)
	if _, err := i.verify(t.Context(), raw); err != nil {
		t.Fatalf("back: %v", err)
	}
	f.down.Store(true)
	c.advance(keysFresh + time.Minute)
	if _, err := i.verify(t.Context(), raw); err != nil {
		t.Fatalf("down, keys a little old: %v", err)
	}
	if _, err := i.verify(t.Context(), raw); err != nil {
		t.Fatalf("down, within the pause: %v", err)
	}
	if _, err := i.verify(t.Context(), unknown); codeOf(err) != "issuer_unavailable" {
		t.Fatalf("down, unknown key: %v", err)
	}
	c.advance(keysUsable)
	if _, err := i.verify(t.Context(), raw); codeOf(err) != "issuer_unavailable" {
		t.Fatalf("down for too long: %v", err)
	}
}

func TestIssuer_callerLeaves(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.verify(ctx, f.token("k1", c.now(), nil)); err != nil && codeOf(err) != "issuer_unavailable" {
		t.Fatal(err)
	}
}

func TestIssuer_discoveryLies(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string]map[string]string{
		"another issuer":  {"issuer": "https://other.example"},
		"keys elsewhere":  {"jwks_uri": "file:///etc/passwd"},
		"no keys address": {"jwks_uri": ""},
	} {
		f := newFakeIssuer(t)
		f.calls = calls
		i, c := verifier(t, f)
		if _, err := i.verify(t.Context(), f.token("k1", c.now(), nil)); codeOf(err) != "issuer_unavailable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"acme"`:                       "acme",
		`["acme"]`:                     "acme",
		`{"acme":{"id":"42"}}`:         "acme",
		`{"acme":{}}`:                  "acme",
		`""`:                           "",
		`[]`:                           "",
		`{}`:                           "",
		`["a","b"]`:                    "",
		`{"a":{"id":"1"},"b":{}}`:      "",
		`7`:                            "",
		`{"acme":["not","an object"]}`: "",
	} {
		got, err := organization(json.RawMessage(raw))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", raw, got, err, want)
		}
	}
}

func TestOIDC_validate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o  OIDC
		ok bool
	}{
		{OIDC{Issuer: "https://id.example.com/realms/x", Audience: "a"}, true},
		{OIDC{Issuer: "http://127.0.0.1:8080", Audience: "a"}, true},
		{OIDC{Issuer: "http://id.example.com", Audience: "a"}, false},
		{OIDC{Issuer: "https://id.example.com"}, false},
		{OIDC{Issuer: "https://id.example.com/?x=1", Audience: "a"}, false},
		{OIDC{Issuer: "id.example.com", Audience: "a"}, false},
	} {
		if err := c.o.Validate(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.e30.x")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := readHeader(raw)
		if err == nil && h.Algorithm == "" {
			t.Errorf("%q: accepted without an algorithm", raw)
		}
	})
}

// A fetch outlives the caller who began it, for the others who wait for it, but
// not for long. Not parallel: it looks at all goroutines.
func TestIssuer_leavesNothingRunning(t *testing.T) { //nolint:paralleltest // see above
	before := goleak.IgnoreCurrent()
	f := newFakeIssuer(t)
	i, c := verifier(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	raw := f.token("k1", c.now(), nil)
	_, _ = i.verify(ctx, raw)
	if _, err := i.verify(t.Context(), raw); err != nil {
		t.Error(err)
	}
	f.Close()
	goleak.VerifyNone(t, before)
}
