package scanning_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/scanning"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What GitHub's own guide for partners shows: a request, and the public key of its signature.
const (
	githubName      = "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d"
	githubSignature = "MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY="
	githubBody      = `[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]`
	githubKey       = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP\n" +
		"HzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==\n" +
		"-----END PUBLIC KEY-----\n"
)

// pair is a name and a key in a list.
type pair struct {
	Name    string `json:"key_identifier"`
	Key     string `json:"key"`
	Current bool   `json:"is_current"`
}

func listOf(pairs ...pair) []byte {
	raw, err := json.Marshal(map[string]any{"public_keys": pairs})
	if err != nil {
		panic(err)
	}
	return raw
}

func newSigner(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func sign(t testing.TB, k *ecdsa.PrivateKey, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	der, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// keyServer answers as GitHub's does, with what a test puts in.
type keyServer struct {
	*httptest.Server

	list    atomic.Pointer[[]byte] // nil: 503
	fetches atomic.Int64
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fetches.Add(1)
		list := s.list.Load()
		if list == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(*list)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) put(list []byte) { s.list.Store(&list) }

// verifierOf returns a verifier that may reach the server.
func (s *keyServer) verifierOf(t *testing.T, now func() time.Time) *scanning.Verifier {
	t.Helper()
	allow, err := outbound.ParseAllow(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Allow: []outbound.Allow{allow}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	v, err := scanning.New(t.Context(), scanning.Config{Keys: s.URL + "/meta/public_keys/secret_scanning", Client: client, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantCode(t testing.TB, what string, err error, code string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err == nil || fault.CodeOf(err) != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

func TestVerify_pinned(t *testing.T) {
	t.Parallel()
	ours, small := newSigner(t, elliptic.P256()), newSigner(t, elliptic.P224())
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	list := listOf(
		pair{githubName, githubKey, true}, pair{"ours", publicPEM(t, &ours.PublicKey), true}, pair{"small", publicPEM(t, &small.PublicKey), true},
		pair{"rsa", publicPEM(t, &big.PublicKey), true}, pair{"broken", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", true}, pair{"none", "", true},
	)
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := scanning.New(t.Context(), scanning.Config{Keys: file})
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, ours, githubBody)
	der, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ key, signature, body, code string }{
		"GitHub's own example":    {githubName, githubSignature, githubBody, ""},
		"with a line's end":       {githubName, githubSignature, githubBody + "\n", "signature_invalid"},
		"ours":                    {"ours", good, githubBody, ""},
		"ours by another's name":  {githubName, good, githubBody, "signature_invalid"},
		"another body":            {"ours", good, strings.Replace(githubBody, "some_token", "some_tokem", 1), "signature_invalid"},
		"no body":                 {"ours", good, "", "signature_invalid"},
		"no base64":               {"ours", "!" + good, githubBody, "signature_invalid"},
		"more than a signature":   {"ours", base64.StdEncoding.EncodeToString(append(der, 0)), githubBody, "signature_invalid"},
		"less than a signature":   {"ours", base64.StdEncoding.EncodeToString(der[:len(der)-1]), githubBody, "signature_invalid"},
		"a long signature":        {"ours", strings.Repeat("A", 1000), githubBody, "signature_invalid"},
		"no signature":            {"ours", "", githubBody, "signature_required"},
		"no name":                 {"", good, githubBody, "signature_required"},
		"an unknown name":         {"theirs", good, githubBody, "signature_key_unknown"},
		"a long name":             {strings.Repeat("x", 1000), good, githubBody, "signature_invalid"},
		"a key of another curve":  {"small", sign(t, small, githubBody), githubBody, "signature_key_unknown"},
		"a key of another scheme": {"rsa", good, githubBody, "signature_key_unknown"},
		"a key that is none":      {"broken", good, githubBody, "signature_key_unknown"},
	} {
		wantCode(t, name, v.Verify(t.Context(), tc.key, tc.signature, []byte(tc.body)), tc.code)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	if v, err := scanning.New(t.Context(), scanning.Config{}); v != nil || err != nil {
		t.Errorf("nothing configured: %v, %v", v, err)
	}
	client, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	dir := t.TempDir()
	write := func(name string, raw []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	many := make([]pair, 65)
	for name, keys := range map[string]string{
		"plain http":       "http://example.com/keys",
		"an inner address": "https://127.0.0.1/keys",
		"another scheme":   "ftp://example.com/keys",
		"no such file":     filepath.Join(dir, "absent"),
		"no list":          write("text", []byte("keys")),
		"an empty list":    write("empty", listOf()),
		"no usable key":    write("useless", listOf(pair{Name: "x", Key: "y"})),
		"too many keys":    write("many", listOf(many...)),
	} {
		if v, err := scanning.New(t.Context(), scanning.Config{Keys: keys, Client: client}); v != nil || err == nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// The keys are read when they are needed first, kept for an hour, and used for a day while their URL is away.
func TestVerify_fetched(t *testing.T) {
	t.Parallel()
	s := newKeyServer(t)
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	v := s.verifierOf(t, func() time.Time { return now })
	old, next := newSigner(t, elliptic.P256()), newSigner(t, elliptic.P256())
	step := func(what string, after time.Duration, key string, by *ecdsa.PrivateKey, code string, fetches int64) {
		t.Helper()
		now = now.Add(after)
		wantCode(t, what, v.Verify(t.Context(), key, sign(t, by, githubBody), []byte(githubBody)), code)
		if n := s.fetches.Load(); n != fetches {
			t.Errorf("%s: %d fetches so far, want %d", what, n, fetches)
		}
	}
	step("the server is away", 0, "old", old, "signature_keys_unavailable", 1)
	s.put(listOf(pair{"old", publicPEM(t, &old.PublicKey), true}))
	step("and is not asked again at once", 59*time.Second, "old", old, "signature_keys_unavailable", 1)
	step("but a minute later", time.Second, "old", old, "", 2)
	step("the key is known", 59*time.Minute, "old", old, "", 2)
	step("and is read again after an hour", time.Minute+time.Second, "old", old, "", 3)

	step("an unknown name", 30*time.Second, "next", next, "signature_key_unknown", 3)
	s.put(listOf(pair{"old", publicPEM(t, &old.PublicKey), false}, pair{"next", publicPEM(t, &next.PublicKey), true}))
	step("is asked for, after a pause", 31*time.Second, "next", next, "", 4)
	step("the one before works on", 0, "old", old, "", 4)

	s.list.Store(nil)
	step("the server is away for long", 23*time.Hour, "next", next, "", 5)
	step("an unknown name now", time.Minute, "third", next, "signature_keys_unavailable", 6)
	step("for too long", time.Hour, "next", next, "signature_keys_unavailable", 7)

	s.put(listOf(pair{"next", publicPEM(t, &next.PublicKey), true}))
	step("it is back", time.Minute, "next", next, "", 8)
	step("a key that was withdrawn", time.Minute, "old", old, "signature_key_unknown", 9)

	s.put(bytes.Repeat([]byte(" "), 1<<20+1))
	step("too long an answer", 2*time.Hour, "next", next, "", 10)
	s.put([]byte(`{"public_keys": []}`))
	step("an answer without keys", time.Minute, "next", next, "", 11)
}

// However many strangers name whatever keys, the keys are asked for once a minute.
func TestVerify_flood(t *testing.T) {
	t.Parallel()
	s := newKeyServer(t)
	known := newSigner(t, elliptic.P256())
	s.put(listOf(pair{"known", publicPEM(t, &known.PublicKey), true}))
	v := s.verifierOf(t, time.Now)
	good := sign(t, known, githubBody)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 10 {
				wantCode(t, "known", v.Verify(t.Context(), "known", good, []byte(githubBody)), "")
				wantCode(t, "unknown", v.Verify(t.Context(), strings.Repeat("x", i+1), good, []byte(githubBody)), "signature_key_unknown")
			}
		})
	}
	wg.Wait()
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestParseMatches(t *testing.T) {
	t.Parallel()
	entry := `{"token":"t","type":"y","url":"u","source":"s"}`
	for name, tc := range map[string]struct {
		body, code string
		want       []scanning.Match
	}{
		"GitHub's own example": {githubBody, "", []scanning.Match{{Token: "some_token", Type: "some_type", URL: "some_url", Source: "some_source"}}},
		"a field of tomorrow":  {`[{"token":"t","later":{"a":1}}]`, "", []scanning.Match{{Token: "t"}}},
		"an empty list":        {` [] `, "", []scanning.Match{}},
		"nothing":              {"", "json_malformed", nil},
		"null":                 {"null", "invalid_request", nil},
		"an object":            {entry, "invalid_request", nil},
		"a list of text":       {`["t"]`, "invalid_request", nil},
		"a token that is none": {`[{"token":1}]`, "invalid_request", nil},
		"broken off":           {`[` + entry, "json_malformed", nil},
		"something after it":   {`[]x`, "json_malformed", nil},
		"too many":             {`[` + strings.Repeat(entry+",", scanning.MaxMatches) + entry + `]`, "invalid_request", nil},
	} {
		got, err := scanning.ParseMatches([]byte(tc.body))
		wantCode(t, name, err, tc.code)
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	full, err := scanning.ParseMatches([]byte(`[` + strings.Repeat(entry+",", scanning.MaxMatches-1) + entry + `]`))
	if err != nil || len(full) != scanning.MaxMatches {
		t.Errorf("%d, %v", len(full), err)
	}
}

// Whatever was signed is read as a bounded list, or refused with a fault of the caller's.
func FuzzParseMatches(f *testing.F) {
	for _, s := range []string{githubBody, "", "null", "[", "[]", "[null]", `[{"token":"\ud800"}]`, `[{"token":null,"url":[]}]`, "\ufeff[]", `{"token":"t"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := scanning.ParseMatches(body)
		switch {
		case err != nil && list != nil:
			t.Errorf("%d matches beside %v", len(list), err)
		case err != nil:
			if k := fault.As(err).Kind; k != fault.Malformed && k != fault.InvalidKind {
				t.Errorf("%q: %v", body, err)
			}
		case list == nil || len(list) > scanning.MaxMatches || !json.Valid(body):
			t.Errorf("%q: %d matches", body, len(list))
		}
	})
}
