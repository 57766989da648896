package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// What was committed arrives, signed, once, and is written down.
func TestEngine_delivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Answer", "yes")
		fmt.Fprint(rw, "thanks")
	})
	tenant, other := w.tenant(), w.tenant()
	_, signedWith := w.endpoint(tenant, r.URL+"/hook?x=1")
	w.engine(nil)
	events := w.publish(tenant, "render.completed", "render.failed")
	w.publish(other, "render.completed")
	w.wantStates("both are delivered", tenant, map[string]int{"delivered ": 2})
	want := []string{events[0].String(), events[1].String()}
	slices.Sort(want)
	if diff := cmp.Diff(want, r.ids()); diff != "" {
		t.Error(diff)
	}
	hook, err := standardwebhooks.NewWebhook(signedWith.Value.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.requests() {
		if err := hook.Verify([]byte(g.body), g.header); err != nil {
			t.Error(err)
		}
		var body struct {
			Type, Timestamp string
			Data            map[string]int
		}
		if err := json.Unmarshal([]byte(g.body), &body); err != nil || body.Type == "" || body.Timestamp == "" || body.Data == nil {
			t.Errorf("body %s: %v", g.body, err)
		}
	}
	attempts := w.attempts(tenant)
	if len(attempts) != 2 {
		t.Fatalf("%d attempts", len(attempts))
	}
	for _, a := range attempts {
		if !a.Succeeded || *a.ResponseStatus != 200 || *a.ResponseBody != "thanks" || a.ResponseHeaders["x-answer"] != "yes" ||
			a.RequestURL != r.URL+"/hook?x=1" || a.RequestHeaders[HeaderSignature] != Redacted || a.RequestHeaders[HeaderID] == "" || a.Attempt != 1 {
			t.Errorf("attempt %+v", a)
		}
	}
}
