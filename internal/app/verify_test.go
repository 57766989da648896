package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// The question of every request is read by hand when it is plain, and by the
// framework when it is not: the answers must be the same, and so the refusals.
func TestVerify_bothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.newKey(t)
	for name, q := range map[string]string{
		"valid":       `{"key":"` + token + `","scopes":["renders:create"],"ip":"192.0.2.1","cost":0}`,
		"denied":      `{"key":"` + token + `","environment":"test","cost":0}`,
		"unknown":     `{"key":"ll_live_x","cost":0}`,
		"unknown key": `{"key":"ll_live_x","scopes":["a:*"]}`,
		"a limit":     `{"key":"` + token + `","limits":[{"name":"key","cost":1000}],"cost":0}`,
		"no limit":    `{"key":"` + token + `","limits":[{"name":"renders"}],"cost":0}`,
	} {
		plain := apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: w.Owner, Body: q}
		other := plain
		other.Body = strings.Replace(q, `"key":"ll`, `"key":"\u006cl`, 1)
		a, b := w.Do(t, plain), w.Do(t, other)
		if a.Status != b.Status || a.Status == http.StatusOK && string(a.Body) != string(b.Body) || a.Code() != b.Code() ||
			a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
			t.Errorf("%s:\n%d %v %s\n%d %v %s", name, a.Status, a.Header, a.Body, b.Status, b.Header, b.Body)
		}
	}
	// Neither way is for who has no permission.
	r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: w.Foreign, Body: `{"key":"x"}`})
	if r.Status != http.StatusForbidden || r.Code() != "permission_denied" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// Each item of a batch is answered in its place, as it would be alone or with what
// is wrong with it, whichever way it is read.
func TestVerifyKeys_items(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.newKey(t)
	items := []struct{ raw, code, field string }{
		{`{"key":"` + token + `","scopes":["renders:create"],"ip":"192.0.2.1","cost":0}`, "", ""},
		{`{"key":7}`, "wrong_type", "key"},
		{`{"key":"` + token + `","environment":"test","cost":0}`, "", ""},
		{`{"key":"\u006cl_live_x"}`, "", ""},
		{`{"key":"x","secret":"y"}`, "unknown_field", "secret"},
		{`{"scopes":["renders:create"]}`, "required", ""},
		{`{"key":"x","cost":-1}`, "out_of_range", "cost"},
		{`"x"`, "wrong_type", ""},
		{`null`, "wrong_type", ""},
		{`{"key":"` + token + `","product":"nothing","cost":0}`, "", ""},
	}
	raw := make([]json.RawMessage, len(items))
	for i, x := range items {
		raw[i] = json.RawMessage(x.raw)
	}
	r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify/batch", Token: w.Owner, Body: map[string]any{"items": raw}})
	var got struct {
		Results []struct {
			Verification json.RawMessage
			Error        *struct {
				Code   string
				Errors []struct{ Field, Code string }
			}
		}
	}
	if err := json.Unmarshal(r.Body, &got); err != nil || r.Status != http.StatusOK || len(got.Results) != len(items) {
		t.Fatalf("%d %v %s", r.Status, err, r.Body)
	}
	for i, x := range items {
		is := got.Results[i]
		alone := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: w.Owner, Body: x.raw})
		switch {
		case x.code == "":
			if is.Error != nil || alone.Status != http.StatusOK || strings.TrimSpace(string(alone.Body)) != string(is.Verification) {
				t.Errorf("item %d: %s, alone %d %s", i, is.Verification, alone.Status, alone.Body)
			}
		case alone.Status == http.StatusOK || is.Verification != nil || is.Error == nil || len(is.Error.Errors) == 0:
			t.Errorf("item %d: %+v, alone %d", i, is, alone.Status)
		case is.Error.Errors[0].Code != x.code || is.Error.Errors[0].Field != x.field:
			t.Errorf("item %d: %+v", i, is.Error)
		}
	}
}

// What one replica changes, the others see within a second: a revoked key, a
// suspended tenant.
func TestVerify_acrossReplicas(t *testing.T) {
	t.Parallel()
	urls, keys := pgtest.CloneURLs(t), apptest.NewKeys(t)
	a := &world{World: apptest.On(t, urls.App, keys)}
	b := &world{World: apptest.On(t, urls.App, keys)}
	a.Tenant, _ = a.newTenant(t)
	outcome := func(token string) string {
		t.Helper()
		r := b.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: a.Owner, Body: map[string]any{"key": token, "cost": 0}})
		var v struct{ Outcome string }
		if err := json.Unmarshal(r.Body, &v); err != nil || r.Status != http.StatusOK {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		return v.Outcome
	}
	within := func(what, token, want string) {
		t.Helper()
		for changed := time.Now(); ; {
			asked := time.Since(changed) // however long the answer takes
			got := outcome(token)
			if got == want {
				t.Logf("%s: %s", what, time.Since(changed))
				return
			}
			if asked > time.Second {
				t.Fatalf("%s: still %s when asked after %s", what, got, asked)
			}
		}
	}
	for range 5 {
		path, token := a.newKey(t)
		if o := outcome(token); o != "VALID" {
			t.Fatal(o)
		}
		a.must(t, "POST", path+"/revoke", nil)
		within("revoked", token, "REVOKED")
	}
	_, token := a.newKey(t)
	if o := outcome(token); o != "VALID" {
		t.Fatal(o)
	}
	a.must(t, "POST", "/v1/tenants/"+a.Tenant+"/suspend", map[string]any{"reason": "test"})
	within("suspended", token, "TENANT_SUSPENDED")
	a.must(t, "POST", "/v1/tenants/"+a.Tenant+"/resume", nil)
	within("resumed", token, "VALID")
}

// A verification that was answered is no line of the log, only of the metrics; a request that was refused is one.
func TestVerify_log(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(token string) {
		w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: token, Body: `{"key":"x"}`})
	}
	lines := func(level string) (n int) {
		for line := range strings.Lines(w.Log.String()) {
			if strings.Contains(line, `"msg":"request"`) && strings.Contains(line, `"route":"POST /v1/keys/verify"`) && strings.Contains(line, `"level":"`+level+`"`) {
				n++
			}
		}
		return n
	}
	ask(w.Owner)
	if lines("INFO") != 0 || lines("DEBUG") != 1 {
		t.Error(w.Log)
	}
	ask(w.Foreign)
	ask("nobody")
	if lines("INFO") != 2 || lines("DEBUG") != 1 {
		t.Error(w.Log)
	}
}
