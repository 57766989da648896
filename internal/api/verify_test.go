package api

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

var plainQuestions = []string{
	`{"key":"ll_live_x"}`,
	` { "key" : "a" , "scopes" : [ "a:b" , "c" ] , "cost" : 0 } ` + "\r\n\t",
	`{"key":"a","product":"render","project":"project_01jd3q8v6ze3nbq2m5xk7c9w4t","environment":"test","scopes":[],"write":true,"ip":"2001:db8::1","cost":1000000}`,
	`{"write":false,"key":"","ip":"192.0.2.1"}`,
	`{"key":"a","limits":[]}`,
	`{"key":"a", "limits" : [ { "name" : "renders" } , {"cost":0,"name":"key"}, {"name":"heavy","cost":1000000} ] , "cost":2}`,
}

// What is read by hand is what encoding/json reads; what is not plain is left to it.
func checkPlain(t *testing.T, question []byte) (ok bool) {
	t.Helper()
	got, ok := parsePlain(string(question))
	if !ok {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(question))
	d.DisallowUnknownFields()
	var b VerifyKey
	if err := d.Decode(&b); err != nil {
		t.Fatalf("%s: read by hand, but %v", question, err)
	}
	want := paramsOf(b)
	if len(want.Scopes) == 0 {
		want.Scopes, got.Scopes = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: read as %+v, want %+v", question, got, want)
	}
	if len(b.Key) > 255 || len(b.Product) > 100 || len(b.Scopes) > 50 || b.Cost != nil && *b.Cost > 1_000_000 {
		t.Fatalf("%s: beyond what the operation takes", question)
	}
	return true
}

func TestParsePlain(t *testing.T) {
	t.Parallel()
	for _, q := range plainQuestions {
		if !checkPlain(t, []byte(q)) {
			t.Errorf("%s is not read by hand", q)
		}
	}
	for _, q := range []string{
		``, `{`, `{}`, `[]`, `null`, `{"key":"a"`, `{"key":"a"}x`, `{"key":"a",}`, `{"key":1}`, `{"key":null}`, `{"key":"a\u0041"}`, `{"key":"ä"}`,
		`{"key":"a","key":"b"}`, `{"Key":"a"}`, `{"key":"a","more":1}`, `{"product":"a"}`, `{"key":"a","scopes":["a:*"]}`, `{"key":"a","scopes":"a"}`,
		`{"key":"a","scopes":["a",]}`, `{"key":"a","environment":"prod"}`, `{"key":"a","environment":""}`, `{"key":"a","cost":-1}`, `{"key":"a","cost":01}`,
		`{"key":"a","cost":1.5}`, `{"key":"a","cost":1e3}`, `{"key":"a","cost":1000001}`, `{"key":"a","cost":99999999}`, `{"key":"a","cost":}`, `{"key":"a","write":1}`,
		`{"key":"a","ip":"here"}`, `{"key":"a","ip":""}`, `{"key":"a","project":"x"}`, `{"key":"a","project":""}`, "{\"key\":\"a\x00\"}",
		`{"key":"` + strings.Repeat("a", 256) + `"}`, `{"key":"a","product":"` + strings.Repeat("a", 101) + `"}`,
		`{"key":"a","limits":{}}`, `{"key":"a","limits":[{}]}`, `{"key":"a","limits":[{"cost":1}]}`, `{"key":"a","limits":["a"]}`, `{"key":"a","limits":[{"name":"a"},]}`,
		`{"key":"a","limits":[{"name":"a","name":"b"}]}`, `{"key":"a","limits":[{"name":"a","more":1}]}`, `{"key":"a","limits":[{"name":"A"}]}`,
		`{"key":"a","limits":[{"name":"a"},{"name":"a"}]}`, `{"key":"a","limits":[{"name":"a","cost":1000001}]}`, `{"key":"a","limits":[{"name":"a","cost":-1}]}`,
		`{"key":"a","limits":[{"name":"a"}`, `{"key":"a","limits":null}`,
		`{"key":"a","scopes":[` + strings.Repeat(`"a",`, 50) + `"a"]}`,
	} {
		if _, ok := parsePlain(q); ok {
			t.Errorf("%s is read by hand", q)
		}
	}
}

func FuzzParsePlain(f *testing.F) {
	for _, q := range plainQuestions {
		f.Add([]byte(q))
	}
	f.Fuzz(func(t *testing.T, question []byte) { checkPlain(t, question) })
}

// What is written by hand is what encoding/json writes.
func checkAnswer(t *testing.T, v *apikey.Verification) {
	t.Helper()
	var want bytes.Buffer
	if err := marshalJSON(&want, verificationOf(v)); err != nil {
		t.Fatal(err)
	}
	if got := appendVerification(nil, v); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("written by hand as\n%swant\n%s", got, want.Bytes())
	}
}

func TestAppendVerification(t *testing.T) {
	t.Parallel()
	whole := apikey.Verification{
		Outcome: apikey.Valid, KeyID: id.New[id.APIKey](), KeyName: "Production <server> & \"more\" ä\u2028\n", TenantID: id.New[id.Tenant](), TenantSlug: "acme",
		ProjectID: id.New[id.Project](), Product: "render", Environment: apikey.Live, Scopes: []string{"a:b", "c"}, Metadata: []byte(`{"a":"ä"}`), ReadOnly: true,
		ExpiresAt: time.Date(2027, 1, 2, 3, 4, 5, 600, time.UTC), Config: []byte(`{}`), EntitledUntil: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		Limit: ratelimit.Decision{Allowed: true, Limit: ratelimit.PerMinute(600), Remaining: 599, ResetAfter: 100 * time.Millisecond},
	}
	checkAnswer(t, &whole)
	limited := whole
	limited.Outcome, limited.Limit.Allowed, limited.Limit.RetryAfter = apikey.RateLimited, false, 1500*time.Millisecond
	checkAnswer(t, &limited)
	limited.Limits = []ratelimit.Named{{Name: "key", Decision: limited.Limit}, {Name: "renders", Decision: whole.Limit}}
	checkAnswer(t, &limited)
	limited.Limits[1].Decision = ratelimit.Decision{Limit: ratelimit.Limit{Rate: 5, Period: time.Hour, Burst: 2}, RetryAfter: ratelimit.Never, ResetAfter: time.Minute}
	checkAnswer(t, &limited)
	for _, o := range apikey.Outcomes() {
		checkAnswer(t, &apikey.Verification{Outcome: o, Metadata: []byte(`{}`), Scopes: []string{}})
		checkAnswer(t, &apikey.Verification{Outcome: o, KeyID: id.New[id.APIKey](), Scopes: []string{"x"}, Config: []byte(`{"a":1}`)})
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\x00\xff<>&\u2028\"\\")
	f.Fuzz(func(t *testing.T, s string) { checkAnswer(t, &apikey.Verification{Outcome: apikey.Valid, KeyName: s}) })
}

func TestParsePlain_allocations(t *testing.T) {
	question := `{"key":"ll_live_0123456789012345678901234567890123456789012345678","environment":"live","scopes":["renders:create"],"ip":"192.0.2.1"}`
	var v apikey.VerifyParams
	if n := testing.AllocsPerRun(100, func() { v, _ = parsePlain(question) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
	if v.IP != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%+v", v)
	}
}
