package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
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
