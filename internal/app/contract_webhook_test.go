package app_test

import (
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	noWebhook  = "webhook_00000000000000000000000001"
	noDelivery = "delivery_00000000000000000000000001"
)

// newWebhook makes an endpoint of a tenant of its own and returns its path.
func (w *world) newWebhook(t *testing.T) string {
	t.Helper()
	return w.webhookOf(t, w.freshTenant(t, "contract"))
}

func (w *world) webhookOf(t *testing.T, tenant string) string {
	t.Helper()
	hooks := tenant + "/webhooks"
	made := w.must(t, "POST", hooks, map[string]any{"name": "One", "url": "https://example.com/hook", "events": []string{"render.*"}})
	return hooks + "/" + made["id"].(string)
}

// newDelivery writes an event of before there was an endpoint, and a delivery of it
// in a state, "" for none, and returns the paths of both. A pending one is not due for long.
func (w *world) newDelivery(t *testing.T, state string) (hook, delivery string) {
	t.Helper()
	path := w.freshTenant(t, "contract")
	tenant := id.MustParse[id.Tenant](w.must(t, "GET", path, nil)["id"].(string))
	event := id.New[id.Event]()
	past := func() (is bool) {
		err := w.DB.ReadOperator(t.Context(), func(tx pg.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT pg_visible_in_snapshot(e.xid, o.done) FROM tenant_events AS e, webhook_outbox AS o WHERE e.tenant_id = $1 AND e.id = $2`,
				tenant, event).Scan(&is)
		})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	exec := func(sql string, args ...any) {
		err := w.DB.AsOperator(t.Context(), func(tx pg.Tx) error {
			_, err := tx.Exec(t.Context(), sql, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO tenant_events (id, tenant_id, type, payload, created_at) VALUES ($1, $2, 'render.completed', '{"job": 1}', NOW())`, event, tenant)
	for deadline := time.Now().Add(time.Minute); !past(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sender does not get past the event")
		}
	}
	path = w.webhookOf(t, path)
	deliveryID := id.New[id.Delivery]()
	if state != "" {
		exec(`INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state, next_retry_at, expires_at, created_at)
			SELECT $1, tenant_id, $4, id, type, $5, CASE $5 WHEN 'pending' THEN NOW() + INTERVAL '1 hour' END, NOW() + INTERVAL '2 hours', created_at
			FROM tenant_events WHERE tenant_id = $2 AND id = $3`,
			deliveryID, tenant, event, id.MustParse[id.Webhook](w.must(t, "GET", path, nil)["id"].(string)), state)
	}
	return path, path + "/deliveries/" + deliveryID.String()
}

func webhookContracts() map[string]contract {
	request := func(method, suffix string, body any, before ...string) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			path := w.newWebhook(t)
			for _, action := range before {
				w.must(t, "POST", path+"/"+action, nil)
			}
			return apptest.Request{Method: method, Path: path + suffix, Body: body}
		}
	}
	gone := []bad{
		{"absent", func(r *apptest.Request) { r.Path = replaceID(r.Path, noWebhook) }, 404, "webhook_not_found"},
		{"not an id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, 422, "id_malformed"},
		{"another kind's id", func(r *apptest.Request) { r.Path = replaceID(r.Path, noKey) }, 422, "id_malformed"},
	}
	fields := []bad{
		{"a long name", set("name", long(201)), 422, "too_long"},
		{"a blank name", set("name", " "), 422, "required"},
		{"no URL", set("url", "example.com/hook"), 422, "scheme_not_allowed"},
		{"an address inside", set("url", "https://169.254.169.254/latest"), 422, "address_not_allowed"},
		{"no events", set("events", []string{}), 422, "required"},
		{"no pattern", set("events", []string{"render*"}), 422, "pattern_malformed"},
		{"a version of signatures", set("signatures", []string{"v2"}), 422, "not_one_of"},
		{"a header of ours", set("headers", map[string]string{"Webhook-Id": "x"}), 422, "header_reserved"},
		{"a header in two lines", set("headers", map[string]string{"X-A": "b\nc"}), 422, "header_malformed"},
		{"no requests", set("rate_limit", 0), 422, "out_of_range"},
		{"a period", set("rate_period", "day"), 422, "not_one_of"},
		{"too many at a time", set("max_in_flight", 101), 422, "out_of_range"},
		{"metadata that is a list", set("metadata", []any{}), 422, "wrong_type"},
	}
	noDeliveries := []bad{
		{"absent", func(r *apptest.Request) { r.Path = replaceID(r.Path, noDelivery) }, 404, "delivery_not_found"},
		{"not an id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, 422, "id_malformed"},
	}
	ranges := append([]bad{
		{"no begin", unset("since"), 422, "required"},
		{"long ago", set("since", "2020-01-01T00:00:00Z"), 422, "out_of_range"},
		{"an end before the begin", set("until", "2026-01-01T00:00:00Z"), 422, "out_of_range"},
		{"no pattern", set("type", "render*"), 422, "pattern_malformed"},
	}, gone...)
	change := append(append([]bad{}, gone...), badIfMatch...)
	turn := append([]bad{badReason}, change...)
	return map[string]contract{
		"create-webhook": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.freshTenant(t, "contract") + "/webhooks", Body: map[string]any{
					"name": "Two", "url": "https://example.com/hook", "events": []string{"render.*", "api_key.revoked"}, "description": "the second",
					"metadata": map[string]any{"team": "a"}, "headers": map[string]string{"Authorization": "Basic eHg="}, "signatures": []string{"v1", "v1a"},
					"rate_limit": 5, "rate_period": "minute", "max_in_flight": 2, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
				}}
			},
			status: 201, writes: true, foreign: 404,
			bad: append(append([]bad{
				{"no name", unset("name"), 422, "required"},
				{"no URL at all", unset("url"), 422, "required"},
				{"no secret's form", set("secret", "hunter2"), 422, "secret_malformed"},
				{"an unknown project", set("project_id", noProject), 422, "project_not_found"},
			}, fields...), badTenants...),
		},
		"list-webhooks": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.freshTenant(t, "contract") + "/webhooks?status=active"}
			},
			status: 200, foreign: 404, bad: append([]bad{{"no such status", path("status=active", "status=gone"), 422, "not_one_of"}}, badTenants...),
		},
		"get-webhook": {good: request("GET", "", nil), status: 200, foreign: 404, bad: gone},
		"update-webhook": {
			good: request("PATCH", "", map[string]any{
				"name": "Uno", "url": "https://example.com/other", "events": []string{"*"}, "description": nil, "metadata": map[string]any{"a": 1},
				"headers": map[string]any{"X-A": "b"}, "rate_limit": 7, "rate_period": "second", "max_in_flight": nil,
			}),
			status: 200, writes: true, foreign: 404,
			bad: append(append([]bad{
				{"no name at all", set("name", nil), 422, "required"},
				{"a signature without a secret", set("signatures", []string{"v1a"}), 422, "secret_missing"},
			}, fields...), change...),
		},
		"delete-webhook":  {good: request("DELETE", "", nil), status: 204, writes: true, foreign: 404, bad: change},
		"pause-webhook":   {good: request("POST", "/pause", map[string]any{"reason": "maintenance"}), status: 200, writes: true, foreign: 404, bad: turn},
		"disable-webhook": {good: request("POST", "/disable", map[string]any{"reason": "moved"}), status: 200, writes: true, foreign: 404, bad: turn},
		"enable-webhook":  {good: request("POST", "/enable", map[string]any{"reason": "fixed"}, "pause"), status: 200, writes: true, foreign: 404, bad: turn},
		"get-webhook-secrets": {
			good: request("GET", "/secrets", nil), status: 200, foreign: 404, bad: gone,
		},
		"rotate-webhook-secret": {
			good: request("POST", "/secrets/rotate", map[string]any{"overlap": 3600, "version": "v1a"}), status: 201, writes: true, foreign: 404,
			bad: append([]bad{
				{"a long overlap", set("overlap", 2592001), 422, "out_of_range"},
				{"an unknown version", set("version", "v2"), 422, "not_one_of"},
				{"a secret of another version", set("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 422, "secret_malformed"},
			}, gone...),
		},
		"list-webhook-deliveries": {
			good: request("GET", "/deliveries?state=failed&type=render.*&since=2026-01-01T00:00:00Z", nil), status: 200, foreign: 404,
			bad: append([]bad{
				{"no such state", path("state=failed", "state=gone"), 422, "not_one_of"},
				{"no pattern", path("type=render.*", "type=render*"), 422, "pattern_malformed"},
				{"no time", path("since=2026-01-01T00:00:00Z", "since=yesterday"), 422, "wrong_format"},
			}, gone...),
		},
		"get-webhook-delivery": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, delivery := w.newDelivery(t, "failed")
				return apptest.Request{Method: "GET", Path: delivery}
			},
			status: 200, foreign: 404, bad: noDeliveries,
		},
		"resend-webhook-delivery": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, delivery := w.newDelivery(t, "failed")
				return apptest.Request{Method: "POST", Path: delivery + "/resend"}
			},
			status: 200, writes: true, foreign: 404, bad: noDeliveries,
		},
		"cancel-webhook-delivery": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, delivery := w.newDelivery(t, "pending")
				return apptest.Request{Method: "POST", Path: delivery + "/cancel"}
			},
			status: 200, writes: true, foreign: 404, bad: noDeliveries,
		},
		"recover-webhook": {
			good: func(t *testing.T, w *world) apptest.Request {
				hook, _ := w.newDelivery(t, "failed")
				return apptest.Request{Method: "POST", Path: hook + "/recover", Body: map[string]any{
					"since": time.Now().Add(-time.Hour), "until": time.Now().Add(time.Hour), "type": "render.*", "states": []string{"failed"},
				}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"another state", set("states", []string{"delivered"}), 422, "not_one_of"},
			}, ranges...),
		},
		"replay-webhook": {
			good: func(t *testing.T, w *world) apptest.Request {
				hook, _ := w.newDelivery(t, "")
				return apptest.Request{Method: "POST", Path: hook + "/replay", Body: map[string]any{"since": time.Now().Add(-time.Hour), "until": time.Now().Add(time.Hour), "type": "render.*"}}
			},
			status: 200, writes: true, foreign: 404, bad: ranges,
		},
		"cancel-webhook": {
			good: func(t *testing.T, w *world) apptest.Request {
				hook, _ := w.newDelivery(t, "pending")
				return apptest.Request{Method: "POST", Path: hook + "/cancel", Body: map[string]any{"since": time.Now().Add(-time.Hour), "until": time.Now().Add(time.Hour), "type": "render.*"}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"no pattern", set("type", "render*"), 422, "pattern_malformed"},
				{"an end before the begin", set("until", "2026-01-01T00:00:00Z"), 422, "out_of_range"},
			}, gone...),
		},
		"test-webhook": {good: request("POST", "/test", nil), status: 200, writes: true, foreign: 404, bad: gone},
		"get-webhook-stats": {
			good: request("GET", "/stats?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z", nil), status: 200, foreign: 404,
			bad: append([]bad{
				{"too long", path("until=2026-01-02T00:00:00Z", "until=2026-03-02T00:00:00Z"), 422, "out_of_range"},
				{"no time", path("since=2026-01-01T00:00:00Z", "since=yesterday"), 422, "wrong_format"},
			}, gone...),
		},
	}
}
