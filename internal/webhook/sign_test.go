package webhook

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// The vectors that the official libraries and Svix's server test themselves with.
const (
	vectorID   = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorBody = `{"test": 2432232314}`
	vectorV1   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorV1a  = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)

var vectorAt = time.Unix(1614265330, 0)

func vector(t *testing.T, text string) Secret {
	t.Helper()
	s, err := ParseSecret(secret.NewText(text), vectorAt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signWith(t *testing.T, at time.Time, versions []Signature, secrets ...Secret) string {
	t.Helper()
	s, err := newSigner(secrets, versions)
	if err != nil {
		t.Fatal(err)
	}
	return s.sign(vectorID, at, []byte(vectorBody))
}

func TestSign_publishedVectors(t *testing.T) {
	t.Parallel()
	v1, v1a := vector(t, vectorV1), vector(t, vectorV1a)
	const (
		wantV1  = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		wantV1a = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	)
	for _, tc := range []struct {
		name     string
		versions []Signature
		want     string
	}{
		{"v1", []Signature{V1}, wantV1},
		{"v1a", []Signature{V1a}, wantV1a},
		{"both", []Signature{V1, V1a}, wantV1 + " " + wantV1a},
	} {
		if diff := cmp.Diff(tc.want, signWith(t, vectorAt, tc.versions, v1, v1a)); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
	}
	if got, want := v1a.PublicKey(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="; got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
	if got := v1.PublicKey(); got != "" {
		t.Errorf("a shared secret has the public key %q", got)
	}
}

// A secret signs until it ends, and not at the instant of its end.
func TestSign_overlap(t *testing.T) {
	t.Parallel()
	end := vectorAt.Add(time.Hour)
	old, young := NewSecret(V1, vectorAt), NewSecret(V1, vectorAt)
	old.ExpiresAt = &end
	for at, want := range map[time.Time]int{vectorAt: 2, end.Add(-time.Second): 2, end: 1, end.Add(time.Hour): 1} {
		if got := strings.Fields(signWith(t, at, []Signature{V1}, old, young)); len(got) != want {
			t.Errorf("at %v: %d signatures, want %d", at, len(got), want)
		}
	}
}

// The official Go library verifies what any of an endpoint's secrets signed, and
// nothing else.
func TestSign_verifiedByTheOfficialLibrary(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, young, other := NewSecret(V1, now), NewSecret(V1, now), NewSecret(V1, now)
	s, err := newSigner([]Secret{old, young, NewSecret(V1a, now)}, []Signature{V1, V1a})
	if err != nil {
		t.Fatal(err)
	}
	name := id.New[id.Event]().String()
	header := func(at time.Time) http.Header {
		return http.Header{
			"Webhook-Id": {name}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
			"Webhook-Signature": {s.sign(name, at, []byte(vectorBody))},
		}
	}
	verify := func(with Secret, h http.Header, body string) error {
		hook, err := standardwebhooks.NewWebhook(with.Value.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		return hook.Verify([]byte(body), h)
	}
	for _, one := range []Secret{old, young} {
		if err := verify(one, header(now), vectorBody); err != nil {
			t.Error(err)
		}
	}
	if verify(other, header(now), vectorBody) == nil {
		t.Error("a secret of nobody verifies it")
	}
	if verify(old, header(now), vectorBody+" ") == nil {
		t.Error("another body is verified")
	}
	if verify(old, header(now.Add(-time.Hour)), vectorBody) == nil {
		t.Error("an old request is verified")
	}
}

func TestSecret_new(t *testing.T) {
	t.Parallel()
	for _, v := range []Signature{V1, V1a} {
		s := NewSecret(v, vectorAt)
		parsed, err := ParseSecret(s.Value, vectorAt)
		if err != nil || parsed.Version != v {
			t.Errorf("%s: parsed as %s: %v", v, parsed.Version, err)
		}
		if s.Value.Equal(NewSecret(v, vectorAt).Value) {
			t.Errorf("%s: made twice", v)
		}
	}
	s := NewSecret(V1a, vectorAt)
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.PublicKey(), "whpk_"))
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(signWith(t, vectorAt, []Signature{V1a}, s), ",")
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(public, []byte(vectorID+".1614265330."+vectorBody), raw) {
		t.Errorf("the public key does not verify what the secret signed: %v", err)
	}
}

func TestParseSecret_refuses(t *testing.T) {
	t.Parallel()
	half := strings.Replace(vectorV1a, "6Xb", "6Xc", 1)
	for name, text := range map[string]string{
		"empty": "", "no prefix": strings.TrimPrefix(vectorV1, "whsec_"), "too short": "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)),
		"too long": "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)), "no base64": "whsec_!" + vectorV1[7:],
		"signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "public key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
		"seed only": "whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "halves of two keys": half,
	} {
		if _, err := ParseSecret(secret.NewText(text), vectorAt); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func keyring(t testing.TB) *secret.Keyring {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSeal(t *testing.T) {
	t.Parallel()
	keys := keyring(t)
	endpoint, other := id.New[id.Webhook](), id.New[id.Webhook]()
	end := vectorAt.Add(time.Hour).UTC()
	secrets := []Secret{NewSecret(V1, vectorAt.UTC()), NewSecret(V1a, vectorAt.UTC())}
	secrets[0].ExpiresAt = &end
	box, err := sealSecrets(keys, endpoint, secrets)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(box), "whs") {
		t.Error("a secret lies open")
	}
	got, err := openSecrets(keys, endpoint, box)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })
	if diff := cmp.Diff(secrets, got, same); diff != "" {
		t.Error(diff)
	}
	if _, err := openSecrets(keys, other, box); err == nil {
		t.Error("the box opens at another endpoint")
	}
	headers := map[string]string{"Authorization": "Bearer abc"}
	if box, err = sealHeaders(keys, endpoint, headers); err != nil {
		t.Fatal(err)
	}
	opened, err := openHeaders(keys, endpoint, box)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(headers, opened); diff != "" {
		t.Error(diff)
	}
	if _, err := openSecrets(keys, endpoint, box); err == nil {
		t.Error("the headers' box opens as the secrets'")
	}
	if box, err = sealHeaders(keys, endpoint, nil); box != nil || err != nil {
		t.Errorf("no headers made a box: %v", err)
	}
}
