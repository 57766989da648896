package app_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

// limitedTenant makes a tenant with a rate limit and returns the path of the limit.
func (w *world) limitedTenant(t *testing.T) string {
	t.Helper()
	path := w.freshTenant(t, "starter") + "/rate-limits/things"
	w.must(t, "PUT", path, map[string]any{"limit": 500, "window": 3600})
	return path
}

func rateLimitContracts() map[string]contract {
	absent := bad{"absent", path("/rate-limits/things", "/rate-limits/nothings"), 404, "rate_limit_not_found"}
	return map[string]contract{
		"list-rate-limits": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/rate-limits"}
			},
			status: 200, foreign: 404, bad: badTenants,
		},
		"get-rate-limit": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.limitedTenant(t)}
			},
			status: 200, foreign: 404, bad: append([]bad{absent, {"a long name", path("things", long(41)), 422, "too_long"}}, badTenants...),
		},
		"put-rate-limit": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "PUT", Path: w.freshTenant(t, "starter") + "/rate-limits/things", Body: map[string]any{
					"limit": 500, "window": 3600, "burst": 50, "named_only": true, "product": "contract",
				}}
			},
			status: 201, writes: true, foreign: 403, foreignWhy: "limits of tenants are the platform's to put",
			bad: append(append([]bad{
				{"no limit", unset("limit"), 422, "required"},
				{"no units", set("limit", 0), 422, "out_of_range"},
				{"too fast", set("window", 0), 422, "out_of_range"},
				{"a window of a year", set("window", 31_536_000), 422, "out_of_range"},
				{"a burst above the limit", set("burst", 501), 422, "out_of_range"},
				{"an unknown product", set("product", "nothing"), 422, "product_not_found"},
				{"a malformed name", path("things", "Things"), 422, "name_malformed"},
				{"the reserved name", path("things", "key"), 422, "name_reserved"},
			}, badIfMatch...), badTenants...),
		},
		"delete-rate-limit": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "DELETE", Path: w.limitedTenant(t)}
			},
			status: 204, writes: true, foreign: 403, foreignWhy: "limits of tenants are the platform's to put",
			bad: append(append([]bad{absent}, badIfMatch...), badTenants...),
		},
	}
}
