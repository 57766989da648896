package app_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
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
	return map[string]contract{
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
