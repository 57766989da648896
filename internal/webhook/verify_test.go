package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/secret"
)

func verifyingKey(t testing.TB, text string) VerifyingKey {
	t.Helper()
	k, err := ParseVerifyingKey(secret.NewText(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The published vectors are valid at their time.
func TestVerify_publishedVectors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ key, signature string }{
		"v1":              {vectorV1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		"v1, as some say": {"v1," + vectorV1 + "\n", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		"v1a":             {"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
		"v1a, by whsk_":   {vectorV1a, "v2,what comes one day v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
	} {
		found := Verify(VerifyParams{
			Header: http.Header{"Webhook-Id": {vectorID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {tc.signature}},
			Body:   []byte(vectorBody), Keys: []VerifyingKey{verifyingKey(t, tc.key)}, Now: vectorAt.Add(time.Minute),
		})
		for _, f := range found {
			if !f.OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if len(found) != 4 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// What is wrong is said of the part that it is wrong with, and of no other.
func TestVerify_tellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	at := vectorAt
	old, young, other, public := NewSecret(V1, at), NewSecret(V1, at), NewSecret(V1, at), NewSecret(V1a, at)
	body, err := Body("render.completed", at, json.RawMessage(`{"id": "r-1", "tags": ["a", "<b>"], "n": {"x": 1, "long": 2.50}}`))
	if err != nil {
		t.Fatal(err)
	}
	by, err := newSigner([]Secret{old, young, public}, []Signature{V1, V1a})
	if err != nil {
		t.Fatal(err)
	}
	again := func(indent string) []byte {
		var v any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		out, err := json.MarshalIndent(v, "", indent) // names in another order, < escaped
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) func(*VerifyParams) {
		return func(p *VerifyParams) { p.Header.Set(name, value) }
	}
	key := func(text string) func(*VerifyParams) {
		return func(p *VerifyParams) { p.Keys = []VerifyingKey{verifyingKey(t, text)} }
	}
	is := func(b []byte) func(*VerifyParams) { return func(p *VerifyParams) { p.Body = b } }
	late := func(d time.Duration) func(*VerifyParams) { return func(p *VerifyParams) { p.Now = at.Add(d) } }
	for name, tc := range map[string]struct {
		change     func(*VerifyParams)
		part, says string // "": nothing is wrong
	}{
		"good":                 {func(*VerifyParams) {}, "", ""},
		"by the secret before": {key(old.Value.Reveal()), "", ""},
		"by the public key":    {key(public.PublicKey()), "", ""},
		"by one of several": {func(p *VerifyParams) {
			p.Keys = append([]VerifyingKey{verifyingKey(t, other.Value.Reveal())}, p.Keys...)
		}, "", ""},
		"at the tolerance":   {late(Tolerance), "", ""},
		"at the other end":   {late(-Tolerance), "", ""},
		"a longer tolerance": {func(p *VerifyParams) { p.Now, p.Tolerance = at.Add(time.Hour), time.Hour }, "", ""},
		"another order of names": {func(p *VerifyParams) {
			p.Header = http.Header{"Webhook-Id": {"a"}, "Webhook-Timestamp": p.Header["Webhook-Timestamp"], "Webhook-Signature": p.Header["Webhook-Signature"]}
		}, HeaderSignature, "None of 2 signatures is right"},

		"no id":              {func(p *VerifyParams) { p.Header.Del(HeaderID) }, HeaderID, "missing"},
		"no timestamp":       {func(p *VerifyParams) { p.Header.Del(HeaderTimestamp) }, HeaderTimestamp, "missing"},
		"no signature":       {func(p *VerifyParams) { p.Header.Del(HeaderSignature) }, HeaderSignature, "missing"},
		"two ids":            {func(p *VerifyParams) { p.Header.Add(HeaderID, "b") }, HeaderID, "2 times"},
		"an hour old":        {late(time.Hour), HeaderTimestamp, "1h0m0s ago, and receivers take 5m0s"},
		"a second too old":   {late(Tolerance + time.Second), HeaderTimestamp, "5m1s ago"},
		"from the future":    {late(-time.Hour), HeaderTimestamp, "1h0m0s from now"},
		"no time":            {set(HeaderTimestamp, "noon"), HeaderTimestamp, "no time"},
		"in milliseconds":    {set(HeaderTimestamp, "1614265330000"), HeaderTimestamp, "milliseconds"},
		"another secret":     {key(other.Value.Reveal()), HeaderSignature, "not one of this endpoint's"},
		"of no version":      {set(HeaderSignature, "K5oZfzN95Z9U"), HeaderSignature, "no signature of the versions"},
		"of another":         {set(HeaderSignature, "v1a,K5oZfzN95Z9U"), HeaderSignature, "v1a only"},
		"cut off":            {set(HeaderSignature, "v1,K5oZfzN95Z9"), HeaderSignature, "not base64"},
		"changed":            {is(bytes.Replace(body, []byte("r-1"), []byte("r-2"), 1)), HeaderSignature, "was changed"},
		"a break at its end": {is(append(bytes.Clone(body), '\n')), "body", "line break was added"},
		"a mark before it":   {is(append([]byte("\uFEFF"), body...)), "body", "byte order mark"},
		"compact":            {is(compact.Bytes()), "body", "parsed and written again"},
		"written again":      {is(again("")), "body", "parsed and written again"},
		"and indented":       {is(again("  ")), "body", "parsed and written again"},
		"no body":            {is(nil), HeaderSignature, "was changed"},
	} {
		p := VerifyParams{Body: body, Keys: []VerifyingKey{verifyingKey(t, young.Value.Reveal())}, Now: at.Add(time.Second), Header: http.Header{}}
		p.Header.Set(HeaderID, vectorID)
		p.Header.Set(HeaderTimestamp, "1614265330")
		p.Header.Set(HeaderSignature, by.sign(vectorID, at, body))
		tc.change(&p)
		told := false
		for _, f := range Verify(p) {
			switch {
			case f.OK:
			case f.Part == tc.part && strings.Contains(f.Detail, tc.says):
				told = true
			case f.Part == HeaderSignature && strings.Contains(f.Detail, "without the id and the timestamp"):
			case f.Part == HeaderSignature && tc.part == HeaderTimestamp: // a time that was changed
			default:
				t.Errorf("%s: says of %s: %s", name, f.Part, f.Detail)
			}
		}
		if told != (tc.part != "") {
			t.Errorf("%s: said %+v", name, Verify(p))
		}
	}
}

func TestParseVerifyingKey_refuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "whsec_", "whsec_abc", "whpk_abc", "whpk_" + strings.TrimPrefix(vectorV1, "whsec_"), "secret", strings.TrimPrefix(vectorV1, "whsec_")} {
		if _, err := ParseVerifyingKey(secret.NewText(text)); err == nil || strings.Contains(err.Error(), text) && text != "" && text != "whsec_" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever comes, there is an answer, and only what was signed is good.
func FuzzVerify(f *testing.F) {
	by := NewSecret(V1, vectorAt)
	k, err := ParseVerifyingKey(by.Value)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vectorID, "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(vectorBody))
	f.Add("a", "-1", "v1, v1a,= v2", []byte(`{"type":"{","timestamp":"{","data":{}}`))
	f.Fuzz(func(t *testing.T, event, at, signature string, body []byte) {
		good := true
		for _, one := range Verify(VerifyParams{
			Header: http.Header{"Webhook-Id": {event}, "Webhook-Timestamp": {at}, "Webhook-Signature": {signature}}, Body: body, Keys: []VerifyingKey{k}, Now: vectorAt,
		}) {
			good = good && one.OK
		}
		if good {
			t.Errorf("%q %q %q %q is taken for signed", event, at, signature, body)
		}
	})
}
