package webhook

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// What is made from an event that was read is what an engine sends, to the byte,
// whatever the payload holds and however it was written in between.
func TestBody_asSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	w.endpoint(tenant, r.URL)
	w.engine(nil)
	const odd = `{"zz":[],"b":{},"a":[1,2.50,-1e3,12345678901234567890.123456789],"long name":{"é":"ü €","x":null},
		"t":"quotes \" and \\ and / and <b>&amp;</b>, tab\t, break\r\n, form\f, back\b, \u0001\u001f\u007f \u2028 \ud83d\ude00, a: b, [c], {d}","yes":true,"no":false}`
	e := id.New[id.Event]()
	err := w.db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		b := &pg.Batch{}
		event.Queue(b, event.Event{ID: e, TenantID: tenant, Type: "render.completed", Payload: json.RawMessage(odd)})
		pg.Mark(tx, event.Committed)
		return pg.Send(t.Context(), tx, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("it arrives", func() bool { return len(r.requests()) == 1 })
	sent := r.requests()[0]
	var read event.Event
	err = w.db.ReadTenant(t.Context(), tenant, func(tx pg.Tx) (err error) {
		read, err = event.ByID(t.Context(), tx, tenant, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, read.Payload); err != nil {
		t.Fatal(err)
	}
	json.HTMLEscape(&escaped, read.Payload)
	for name, payload := range map[string][]byte{"as it is stored": read.Payload, "compact": compact.Bytes(), "escaped": escaped.Bytes()} {
		body, err := Body(read.Type, read.OccurredAt.In(time.FixedZone("", 7200)), payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sent.body, string(body)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, payload := range []string{"", "{", "[]", "null"} {
		if _, err := Body("a.b", time.Now(), json.RawMessage(payload)); err == nil {
			t.Errorf("%q is taken for a payload", payload)
		}
	}
}
