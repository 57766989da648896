package app_test

import (
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
)

// freshTenant makes a tenant on a plan and returns its path.
func (w *world) freshTenant(t *testing.T, plan string) string {
	t.Helper()
	slug := w.unique("fresh")
	v := w.must(t, "POST", "/v1/tenants", map[string]any{"name": slug, "slug": slug, "plan": plan, "status": "active"})
	return "/v1/tenants/" + v["id"].(string)
}

// entitled makes a tenant that has the product contract by itself, and returns
// the path of the entitlement.
func (w *world) entitled(t *testing.T) string {
	t.Helper()
	path := w.freshTenant(t, "starter") + "/products/contract"
	w.must(t, "PUT", path, map[string]any{})
	return path
}

var badIfMatch = []bad{
	{"no ETag", func(r *apptest.Request) { withHeader(r, "If-Match", "7") }, 400, "if_match_malformed"},
	{"a stale ETag", func(r *apptest.Request) { withHeader(r, "If-Match", `"1"`) }, 412, "stale_version"},
}

// badTenants are the ways to name a tenant wrongly.
var badTenants = []bad{
	{"an absent tenant", func(r *apptest.Request) { r.Path = replaceID(r.Path, noTenant) }, 404, "tenant_not_found"},
	{"no tenant's id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, 422, "id_malformed"},
}

func entitlementContracts() map[string]contract {
	get := func(suffix string) func(t *testing.T, w *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			return apptest.Request{Method: "GET", Path: w.entitled(t) + suffix}
		}
	}
	noProduct := bad{"an absent product", path("/products/contract", "/products/nope"), 404, "product_not_found"}
	noEntitlement := bad{"a product that the tenant has not", path("/products/contract", "/products/extra"), 404, "entitlement_not_found"}
	return map[string]contract{
		"put-entitlement": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "PUT", Path: w.freshTenant(t, "starter") + "/products/contract", Body: map[string]any{
					"enabled": true, "config": map[string]any{"seats": 7, "url": "https://example.com"}, "source": "trial",
					"expires_at": time.Now().AddDate(0, 1, 0).UTC(),
				}}
			},
			status: 201, writes: true, foreign: 404,
			bad: append(append([]bad{
				noProduct,
				{"a field of config that is wrong", set("config", map[string]any{"seats": "many"}), 422, "wrong_type"},
				{"a number out of range", set("config", map[string]any{"seats": 0}), 422, "out_of_range"},
				{"an unknown field of config", set("config", map[string]any{"chairs": 1}), 422, "unknown_field"},
				{"config in another format", set("config", map[string]any{"url": "not a url"}), 422, "wrong_format"},
				{"config that is a list", set("config", []any{}), 422, "wrong_type"},
				{"enabled that is neither", set("enabled", "yes"), 422, "wrong_type"},
				{"the plan as source", set("source", "plan"), 422, "not_one_of"},
				{"a trial without end", unset("expires_at"), 422, "required"},
				{"no time", set("expires_at", "tomorrow"), 422, "wrong_format"},
			}, badIfMatch...), badTenants...),
		},
		"get-entitlement": {
			good: get(""), status: 200, foreign: 404, bad: append([]bad{noEntitlement}, badTenants...),
		},
		"list-entitlements": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.freshTenant(t, "contract") + "/products"}
			},
			status: 200, foreign: 404, bad: badTenants,
		},
		"delete-entitlement": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "DELETE", Path: w.entitled(t)}
			},
			status: 204, writes: true, foreign: 404,
			bad: append(append([]bad{noEntitlement}, badIfMatch...), badTenants...),
		},
		"check-entitlement": {
			good: get("/check"), status: 200, foreign: 404, bad: append([]bad{noProduct}, badTenants...),
		},
		"apply-plan": {
			good: func(t *testing.T, w *world) apptest.Request {
				// A tenant whose plan is applied has something to gain by it.
				path := w.entitled(t)
				tenant := path[:len(path)-len("/products/contract")]
				w.must(t, "DELETE", path, nil)
				w.must(t, "PATCH", tenant, map[string]any{"plan": "contract"})
				w.must(t, "PUT", path, map[string]any{"source": "trial", "expires_at": time.Now().AddDate(0, 1, 0)})
				return apptest.Request{Method: "POST", Path: tenant + "/products/apply-plan"}
			},
			status: 200, writes: true, foreign: 404, bad: badTenants,
		},
		"list-product-tenants": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/products/contract/tenants"}
			},
			status: 200, foreign: 403, bad: []bad{noProduct},
		},
	}
}
