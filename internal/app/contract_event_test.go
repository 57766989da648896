package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/id"
)

const noEvent = "event_00000000000000000000000001"

// newestEvent returns the path of an event of a tenant of its own.
func (w *world) newestEvent(t *testing.T) string {
	t.Helper()
	path := w.freshTenant(t, "contract") + "/events"
	for {
		p := w.must(t, "GET", path+"?wait=5", nil)
		if data := p["data"].([]any); len(data) > 0 {
			return path + "/" + data[0].(map[string]any)["id"].(string)
		}
	}
}

func eventContracts() map[string]contract {
	filters := []bad{
		{"a type that is no name", query("type=render%25"), 422, "wrong_format"},
		{"a long type", query("type=a." + long(100)), 422, "too_long"},
		{"no time", query("since=yesterday"), 422, "wrong_format"},
		{"no project's id", query("project_id=x"), 422, "id_malformed"},
		{"a long wait", query("wait=21"), 422, "out_of_range"},
		{"after what", query("after=tomorrow"), 422, "not_one_of"},
		{"after two things", query("after=latest&cursor=eyJsIjoiZXZlbnRzIiwiayI6eyJ4IjoxLCJzIjoxfX0"), 422, "not_applicable"},
		{"a cursor ahead of the database", query("cursor=eyJsIjoiZXZlbnRzIiwiayI6eyJ4Ijo5MDAwMDAwMDAwMDAwMDAwLCJzIjoxfX0"), 409, "cursor_expired"},
	}
	event := func(field string, value any) func(*apptest.Request) {
		return func(r *apptest.Request) {
			one := r.Body.(map[string]any)["events"].([]any)[0].(map[string]any)
			one[field] = value
		}
	}
	return map[string]contract{
		"publish-events": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.freshTenant(t, "starter") + "/events", Body: map[string]any{"events": []any{
					map[string]any{"id": id.New[id.Event](), "type": "contract.signed", "payload": map[string]any{"by": "Ada"}, "occurred_at": "2026-01-02T03:04:05Z"},
				}}}
			},
			status: 201, publishes: true, foreign: 404,
			bad: append([]bad{
				{"no events", set("events", []any{}), 422, "too_few"},
				{"no list", unset("events"), 422, "required"},
				{"too many", set("events", slices.Repeat([]any{map[string]any{"type": "contract.signed"}}, 501)), 422, "too_many"},
				{"no id", event("id", "x"), 422, "id_malformed"},
				{"another kind's id", event("id", noTenant), 422, "id_malformed"},
				{"a type that nobody knows", event("type", "contract.torn"), 422, "event_type_not_found"},
				{"a type of landlord's", event("type", "tenant.suspended"), 422, "event_reserved"},
				{"a long type", event("type", "a."+long(100)), 422, "too_long"},
				{"a payload that is a list", event("payload", []any{}), 422, "wrong_type"},
				{"a large payload", event("payload", map[string]any{"x": long(256 << 10)}), 422, "too_large"},
				{"an unknown field inside", event("colour", "red"), 422, "unknown_field"},
				{"another tenant's project", event("project_id", noProject), 422, "project_not_found"},
				{"the future", event("occurred_at", "2999-01-01T00:00:00Z"), 422, "out_of_range"},
				{"no time", event("occurred_at", "noon"), 422, "wrong_format"},
			}, badTenants...),
		},
		"erase-events": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.freshTenant(t, "starter") + "/events/erase", Body: map[string]any{"before": time.Now().UTC(), "reason": "asked to"}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"the future", set("before", "2999-01-01T00:00:00Z"), 422, "out_of_range"},
				{"no time", set("before", "noon"), 422, "wrong_format"},
				{"a long reason", set("reason", long(501)), 422, "too_long"},
				{"a control character", set("reason", "a\u0007b"), 422, "invalid_text"},
			}, badTenants...),
		},
		"get-event-retention": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/events/retention"}
			},
			status: 200, foreign: 403,
		},
		"list-events": {
			good:   func(*testing.T, *world) apptest.Request { return apptest.Request{Method: "GET", Path: "/v1/events"} },
			status: 200, foreign: 403, bad: filters,
		},
		"list-tenant-events": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/events"}
			},
			status: 200, foreign: 404, bad: append(filters, badTenants...),
		},
		"get-tenant-event": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.newestEvent(t)}
			},
			status: 200, foreign: 404, bad: absent("event", noEvent),
		},
	}
}
