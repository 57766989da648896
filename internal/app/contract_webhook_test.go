package app_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

const noWebhook = "webhook_00000000000000000000000001"

// newWebhook makes an endpoint of a tenant of its own and returns its path.
func (w *world) newWebhook(t *testing.T) string {
	t.Helper()
	hooks := w.freshTenant(t, "contract") + "/webhooks"
	made := w.must(t, "POST", hooks, map[string]any{"name": "One", "url": "https://example.com/hook", "events": []string{"render.*"}})
	return hooks + "/" + made["id"].(string)
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
	}
}
