package webhook_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/webhook"
)

// delivery writes a row of the log as the engine does.
func (d *desk) delivery(endpoint id.Webhook, event, state string, at time.Time) id.Delivery {
	d.t.Helper()
	delivery := id.New[id.Delivery]()
	d.exec(`INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state, next_retry_at, delivered_at, claimed_until, expires_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, CASE $6 WHEN 'pending' THEN NOW() END, CASE $6 WHEN 'delivered' THEN NOW() END, NULL, NOW(), $7)`,
		delivery, d.tenant, endpoint, id.New[id.Event](), event, state, at)
	return delivery
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e, other := d.create(), d.create()
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := d.delivery(e.ID, "render.completed", "delivered", now.Add(-3*time.Minute))
	b := d.delivery(e.ID, "render.failed", "failed", now.Add(-2*time.Minute))
	c := d.delivery(e.ID, "renderer.made", "pending", now.Add(-time.Minute))
	c2 := d.delivery(e.ID, "a.b", "skipped", now.Add(-time.Minute)) // of the same instant
	d.delivery(other.ID, "render.completed", "delivered", now)
	if string(c2[:]) > string(c[:]) {
		c, c2 = c2, c
	}
	ids := func(f webhook.DeliveryFilter) (out []id.Delivery) {
		t.Helper()
		f.TenantID, f.EndpointID = d.tenant, e.ID
		for {
			p, err := d.s.Deliveries(d.ctx(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range p.Data {
				out = append(out, x.ID)
			}
			if p.Next == "" {
				return out
			}
			f.Page.Cursor = p.Next
		}
	}
	since, until := now.Add(-2*time.Minute), now.Add(-time.Minute)
	for name, tc := range map[string]struct {
		f    webhook.DeliveryFilter
		want []id.Delivery
	}{
		"all":              {webhook.DeliveryFilter{}, []id.Delivery{c, c2, b, a}},
		"a page at a time": {webhook.DeliveryFilter{Page: page.Request{Limit: 1}}, []id.Delivery{c, c2, b, a}},
		"a state":          {webhook.DeliveryFilter{State: webhook.Failed}, []id.Delivery{b}},
		"a type":           {webhook.DeliveryFilter{Type: "render.failed"}, []id.Delivery{b}},
		"a prefix":         {webhook.DeliveryFilter{Type: "render.*"}, []id.Delivery{b, a}},
		"every type":       {webhook.DeliveryFilter{Type: "*"}, []id.Delivery{c, c2, b, a}},
		"since":            {webhook.DeliveryFilter{Since: &since}, []id.Delivery{c, c2, b}},
		"until":            {webhook.DeliveryFilter{Until: &until}, []id.Delivery{b, a}},
		"both, in pages":   {webhook.DeliveryFilter{Since: &since, Until: &until, Page: page.Request{Limit: 1}}, []id.Delivery{b}},
	} {
		if diff := cmp.Diff(tc.want, ids(tc.f)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for code, f := range map[string]webhook.DeliveryFilter{
		"not_one_of":        {State: "gone"},
		"pattern_malformed": {Type: "render*"},
		"out_of_range":      {Since: &until, Until: &since},
		"webhook_not_found": {EndpointID: id.New[id.Webhook]()},
		"cursor_malformed":  {Page: page.Request{Cursor: "x"}},
	} {
		if f.EndpointID.IsZero() {
			f.EndpointID = e.ID
		}
		f.TenantID = d.tenant
		_, err := d.s.Deliveries(d.ctx(), f)
		wantCode(t, err, code)
	}
	// What an endpoint was sent can be read when it is gone.
	if err := d.s.Delete(d.ctx(), d.tenant, e.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := ids(webhook.DeliveryFilter{}); len(got) != 4 {
		t.Error(got)
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := d.create()
	at := time.Now().UTC().Truncate(time.Microsecond)
	delivery := d.delivery(e.ID, "render.completed", "delivered", at)
	d.exec(`INSERT INTO tenant_events (id, tenant_id, type, payload, created_at)
		SELECT event_id, tenant_id, event_type, '{"job": 7}', created_at FROM tenant_webhook_deliveries WHERE id = $1`, delivery)
	d.exec(`INSERT INTO tenant_webhook_attempts (tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers, response_status, response_body,
			duration_ms, error_class, error_message, created_at)
		VALUES ($1, $2, $3, 1, FALSE, 'https://example.com/hook', '{"Webhook-Id": "x"}', 503, 'busy', 12, 'status', 'answered 503', $4),
			($1, $2, $3, 2, TRUE, 'https://example.com/hook', '{}', 204, NULL, 3, NULL, NULL, $4::timestamptz + '5 s'::interval)`, d.tenant, e.ID, delivery, at)
	got, err := d.s.Delivery(d.ctx(), d.tenant, e.ID, delivery)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != webhook.Delivered || !json.Valid(got.Payload) || string(got.Payload) != `{"job": 7}` || len(got.Attempts) != 2 {
		t.Fatalf("%+v", got)
	}
	first, second := got.Attempts[0], got.Attempts[1]
	if first.Attempt != 1 || *first.ResponseStatus != 503 || *first.ResponseBody != "busy" || first.ErrorClass != "status" || first.RequestHeaders["Webhook-Id"] != "x" ||
		second.Attempt != 2 || !second.Succeeded || second.ResponseBody != nil || second.DNSMicros != nil {
		t.Errorf("%+v", got.Attempts)
	}
	_, err = d.s.Delivery(d.ctx(), d.tenant, id.New[id.Webhook](), delivery)
	wantCode(t, err, "delivery_not_found")
	d.exec(`DELETE FROM tenant_webhook_attempts WHERE tenant_id = $1`, d.tenant)
	d.exec(`UPDATE tenant_webhook_deliveries SET event_id = gen_random_uuid() WHERE id = $1`, delivery) // the event was erased
	if got, err = d.s.Delivery(d.ctx(), d.tenant, e.ID, delivery); err != nil || got.Payload != nil || len(got.Attempts) != 0 {
		t.Errorf("%v %+v", err, got)
	}
}
