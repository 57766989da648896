package app_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

const noAuditEvent = "audit_00000000000000000000000001"

// newestRecord returns the id of a record about the world's tenant.
func (w *world) newestRecord(t *testing.T) string {
	t.Helper()
	p := w.must(t, "GET", "/v1/tenants/"+w.Tenant+"/audit-log?limit=1", nil)
	return p["data"].([]any)[0].(map[string]any)["id"].(string)
}

func auditContracts() map[string]contract {
	filters := []bad{
		{"an action that is no name", query("action=api%25"), 422, "wrong_format"},
		{"an unknown crud", query("crud=x"), 422, "not_one_of"},
		{"no time", query("since=yesterday"), 422, "wrong_format"},
		{"an interval that ends before it begins", query("since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z"), 422, "out_of_range"},
		{"no project's id", query("project_id=x"), 422, "id_malformed"},
	}
	gone := absent("audit_event", noAuditEvent)
	return map[string]contract{
		"list-audit-log": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/audit-log?actor_type=user"}
			},
			status: 200, foreign: 403, bad: filters,
		},
		"get-audit-event": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/audit-log/" + w.newestRecord(t)}
			},
			status: 200, foreign: 404, bad: gone,
		},
		"list-tenant-audit-log": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/audit-log"}
			},
			status: 200, foreign: 404, bad: filters,
		},
		"get-tenant-audit-event": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/audit-log/" + w.newestRecord(t)}
			},
			status: 200, foreign: 404, bad: gone,
		},
	}
}
