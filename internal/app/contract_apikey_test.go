package app_test

import (
	"crypto/rand"
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

const noKey = "key_00000000000000000000000001"

// newKey issues a key of the world's tenant and returns its path and token.
func (w *world) newKey(t *testing.T) (path, token string) {
	t.Helper()
	keys := "/v1/tenants/" + w.Tenant + "/api-keys"
	k := w.must(t, "POST", keys, map[string]any{"name": w.unique("key"), "scopes": []string{"renders:*"}})
	return keys + "/" + k["id"].(string), k["token"].(string)
}

func apiKeyContracts() map[string]contract {
	request := func(method, suffix string, body any) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			path, _ := w.newKey(t)
			return apptest.Request{Method: method, Path: path + suffix, Body: body}
		}
	}
	gone := []bad{
		{"absent", func(r *apptest.Request) { r.Path = replaceID(r.Path, noKey) }, 404, "api_key_not_found"},
		{"not an id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, 422, "id_malformed"},
		{"another kind's id", func(r *apptest.Request) { r.Path = replaceID(r.Path, noToken) }, 422, "id_malformed"},
	}
	return map[string]contract{
		"create-api-key": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: "/v1/tenants/" + w.Tenant + "/api-keys", Body: map[string]any{
					"name": w.unique("key"), "environment": "test", "scopes": []string{"renders:*"}, "allowed_ips": []string{"192.0.2.7", "2001:db8::/32"},
					"rate_limit_rpm": 60, "rate_limits": []map[string]any{{"name": "renders", "limit": 100, "window": 60, "burst": 10, "named_only": true}}, "expires_at": "2999-01-01T00:00:00Z", "metadata": map[string]any{"team": "core"},
				}}
			},
			status: 201, writes: true, foreign: 404,
			bad: []bad{
				{"no name", unset("name"), 422, "required"},
				{"a long name", set("name", long(101)), 422, "too_long"},
				{"a name of blanks", set("name", "  "), 422, "required"},
				{"an unknown environment", set("environment", "prod"), 422, "not_one_of"},
				{"a malformed scope", set("scopes", []string{"renders create"}), 422, "scope_malformed"},
				{"a platform's permission", set("scopes", []string{"landlord:operators:write"}), 422, "scope_not_found"},
				{"a test key that manages", set("scopes", []string{"landlord:apikeys:read"}), 422, "scope_not_allowed"},
				{"a malformed network", set("allowed_ips", []string{"192.0.2.0/24", "192.0.2.0/33"}), 422, "network_malformed"},
				{"no requests", set("rate_limit_rpm", 0), 422, "out_of_range"},
				{"a limit without a name", set("rate_limits", []map[string]any{{"limit": 1, "window": 1}}), 422, "required"},
				{"a limit's name", set("rate_limits", []map[string]any{{"name": "A b", "limit": 1, "window": 1}}), 422, "name_malformed"},
				{"the reserved name", set("rate_limits", []map[string]any{{"name": "key", "limit": 1, "window": 1}}), 422, "name_reserved"},
				{"a limit twice", set("rate_limits", []map[string]any{{"name": "a", "limit": 1, "window": 1}, {"name": "a", "limit": 2, "window": 1}}), 422, "duplicate"},
				{"a limit too fast", set("rate_limits", []map[string]any{{"name": "a", "limit": 1_000_001, "window": 1}}), 422, "out_of_range"},
				{"a burst above the limit", set("rate_limits", []map[string]any{{"name": "a", "limit": 1, "window": 1, "burst": 2}}), 422, "out_of_range"},
				{"a limit of a year", set("rate_limits", []map[string]any{{"name": "a", "limit": 1, "window": 31536000}}), 422, "out_of_range"},
				{"an end in the past", set("expires_at", "2020-01-01T00:00:00Z"), 422, "in_the_past"},
				{"no time", set("expires_at", "tomorrow"), 422, "wrong_format"},
				{"an unknown product", set("product", "nothing"), 422, "product_not_found"},
				{"an unknown project", set("project_id", "project_00000000000000000000000001"), 422, "project_not_found"},
				{"metadata that is no object", set("metadata", "x"), 422, "wrong_type"},
				{"an absent tenant", path("tenant_", "tenant_0"), 422, "id_malformed"},
			},
		},
		"import-api-keys": {
			good: func(_ *testing.T, w *world) apptest.Request {
				name := w.unique("brought")
				return apptest.Request{Method: "POST", Path: "/v1/tenants/" + w.Tenant + "/api-keys/import", Body: map[string]any{
					"items": []any{
						map[string]any{
							"name": name, "token": "old_" + rand.Text(), "scopes": []string{"renders:*"}, "allowed_ips": []string{"192.0.2.7"},
							"created_at": "2020-01-01T00:00:00Z", "usage_count": 7,
						},
						map[string]any{"name": name, "token": "short"}, // refused, and spoils nothing
					},
				}}
			},
			status: 200, writes: true, foreign: 404,
			bad: []bad{
				{"nothing", set("items", []any{}), 422, "too_few"},
				{"too much", set("items", make([]any, 1001)), 422, "too_many"},
				{"no list", set("items", "x"), 422, "wrong_type"},
				{"no items", unset("items"), 422, "required"},
				{"an absent tenant", path("tenant_", "tenant_0"), 422, "id_malformed"},
			},
		},
		"list-api-keys": {
			good: func(t *testing.T, w *world) apptest.Request {
				w.newKey(t)
				return apptest.Request{
					Method: "GET",
					Path:   "/v1/tenants/" + w.Tenant + "/api-keys?environment=live&state=active&prefix=ll_live_&leaked=false",
				}
			},
			status: 200, foreign: 404,
			bad: []bad{
				{"an unknown state", path("state=active", "state=asleep"), 422, "not_one_of"},
				{"three last characters", query("last4=abc"), 422, "too_short"},
				{"no time", query("expiring_before=soon"), 422, "wrong_format"},
				{"leaked that is neither", path("leaked=false", "leaked=perhaps"), 422, "wrong_type"},
			},
		},
		"get-api-key": {good: request("GET", "", nil), status: 200, foreign: 404, bad: gone},
		"update-api-key": {
			good: request("PATCH", "", map[string]any{
				"description": "changed", "scopes": []string{"renders:read"}, "allowed_ips": []string{"192.0.2.0/24"}, "rate_limit_rpm": nil,
				"rate_limits": []map[string]any{{"name": "renders", "limit": 100, "window": 60}},
				"expires_at":  nil, "is_active": false, "metadata": map[string]any{"a": "b"},
			}),
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"no name", set("name", nil), 422, "required"},
				{"a blank name", set("name", " "), 422, "required"},
				{"a malformed scope", set("scopes", []string{"*"}), 422, "scope_malformed"},
				{"a malformed network", set("allowed_ips", []string{"here"}), 422, "network_malformed"},
				{"a limit's name", set("rate_limits", []map[string]any{{"name": "A b", "limit": 1, "window": 1}}), 422, "name_malformed"},
				{"neither on nor off", set("is_active", nil), 422, "required"},
				{"an old version", func(r *apptest.Request) { withHeader(r, "If-Match", `"1"`) }, 412, "stale_version"},
				{"a malformed version", func(r *apptest.Request) { withHeader(r, "If-Match", "1") }, 400, "if_match_malformed"},
			}, gone...),
		},
		"revoke-api-key": {
			good: request("POST", "/revoke", map[string]any{"reason": "leaked"}), status: 200, writes: true, foreign: 404,
			bad: append([]bad{badReason}, gone...),
		},
		"disable-api-key": {
			good: request("POST", "/disable", map[string]any{"reason": "looked odd"}), status: 200, writes: true, foreign: 404,
			bad: append([]bad{badReason}, gone...),
		},
		"enable-api-key": {
			good: func(t *testing.T, w *world) apptest.Request {
				path, _ := w.newKey(t)
				w.must(t, "POST", path+"/disable", nil)
				return apptest.Request{Method: "POST", Path: path + "/enable", Body: map[string]any{"reason": "was us"}}
			},
			status: 200, writes: true, foreign: 404, bad: append([]bad{badReason}, gone...),
		},
		"search-api-keys": {
			good: func(t *testing.T, w *world) apptest.Request {
				w.newKey(t)
				return apptest.Request{Method: "GET", Path: "/v1/api-keys?environment=live&state=active&prefix=ll_live_"}
			},
			status: 200, foreign: 200, foreignWhy: "it finds each caller's own keys only",
			bad: []bad{
				{"an unknown state", path("state=active", "state=asleep"), 422, "not_one_of"},
				{"three last characters", query("last4=abc"), 422, "too_short"},
				{"no time", query("expiring_before=soon"), 422, "wrong_format"},
				{"a long name of an actor", query("created_by=" + long(201)), 422, "too_long"},
			},
		},
		"rotate-api-key": {
			good: request("POST", "/rotate", map[string]any{"grace": 3600}), status: 201, writes: true, foreign: 404,
			bad: append([]bad{
				{"no grace", unset("grace"), 422, "required"},
				{"a long grace", set("grace", 2592001), 422, "out_of_range"},
				{"a negative grace", set("grace", -1), 422, "out_of_range"},
				{"an end in the past", set("expires_at", "2020-01-01T00:00:00Z"), 422, "in_the_past"},
			}, gone...),
		},
		"list-api-key-generations": {
			good: func(t *testing.T, w *world) apptest.Request {
				path, _ := w.newKey(t)
				w.must(t, "POST", path+"/rotate", map[string]any{"grace": 0})
				return apptest.Request{Method: "GET", Path: path + "/generations"}
			},
			status: 200, foreign: 404, bad: gone,
		},
		"get-api-key-self": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, token := w.newKey(t)
				return apptest.Request{Method: "GET", Path: "/v1/keys/self", Token: token}
			},
			status: 200, self: true,
		},
		"revoke-api-key-self": {
			good: func(t *testing.T, w *world) apptest.Request {
				path, token := w.newKey(t)
				w.must(t, "POST", path+"/disable", nil)
				return apptest.Request{Method: "POST", Path: "/v1/keys/self/revoke", Token: token, Body: map[string]any{"reason": "leaked"}}
			},
			status: 200, writes: true, self: true, bad: []bad{badReason},
		},
		"get-key-policy": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/key-policy"}
			},
			status: 200, foreign: 404, bad: badTenants,
		},
		"put-key-policy": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "PUT", Path: w.freshTenant(t, "starter") + "/key-policy", Body: map[string]any{
					"allowed_ips": []string{"192.0.2.7", "2001:db8::/32"}, "environments": []string{"test"}, "max_age_days": 365, "leak_action": "flag",
				}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append(append([]bad{
				{"a malformed network", set("allowed_ips", []string{"here"}), 422, "network_malformed"},
				{"an unknown environment", set("environments", []string{"prod"}), 422, "not_one_of"},
				{"no days", set("max_age_days", 0), 422, "out_of_range"},
				{"more days than a policy takes", set("max_age_days", 3651), 422, "out_of_range"},
				{"an unknown action", set("leak_action", "shrug"), 422, "not_one_of"},
			}, badIfMatch...), badTenants...),
		},
		"verify-keys": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, token := w.newKey(t)
				return apptest.Request{Method: "POST", Path: "/v1/keys/verify/batch", Body: map[string]any{"items": []any{
					map[string]any{"key": token, "scopes": []string{"renders:create"}, "ip": "192.0.2.1"}, map[string]any{"key": "x"}, map[string]any{"key": 7}, "x",
				}}}
			},
			status: 200, foreign: 403, foreignWhy: "a tenant's credential can't hold apikeys:verify",
			bad: []bad{
				{"no items", unset("items"), 422, "required"},
				{"nothing to verify", set("items", []any{}), 422, "too_few"},
				{"more than a batch takes", set("items", make([]string, 1001)), 422, "too_many"},
				{"items that are no list", set("items", "x"), 422, "wrong_type"},
			},
		},
		"report-leaked-key": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, token := w.newKey(t)
				return apptest.Request{Method: "POST", Path: "/v1/keys/report-leak", Body: map[string]any{
					"token": token, "source": "commit", "url": "https://example.com/commit/1",
				}}
			},
			status: 200, writes: true, foreign: 200, foreignWhy: "to another tenant's credential the token is not known, and nothing is done",
			bad: []bad{
				{"no token", unset("token"), 422, "required"},
				{"an empty token", set("token", ""), 422, "too_short"},
				{"a long token", set("token", long(256)), 422, "too_long"},
				{"a long source", set("source", long(101)), 422, "too_long"},
				{"a URL that is no page", set("url", "javascript:alert(1)"), 422, "wrong_format"},
			},
		},
		"list-key-leaks": {
			good:   request("GET", "/leaks", nil),
			status: 200, foreign: 404,
			bad: gone,
		},
		"verify-key": {
			good: func(t *testing.T, w *world) apptest.Request {
				_, token := w.newKey(t)
				return apptest.Request{Method: "POST", Path: "/v1/keys/verify", Body: map[string]any{
					"key": token, "environment": "live", "scopes": []string{"renders:create"}, "ip": "192.0.2.1", "cost": 2,
					"limits": []map[string]any{{"name": "key", "cost": 3}},
				}}
			},
			status: 200, foreign: 403, foreignWhy: "a tenant's credential can't hold apikeys:verify",
			bad: []bad{
				{"no key", unset("key"), 422, "required"},
				{"a wildcard", set("scopes", []string{"renders:*"}), 422, "scope_malformed"},
				{"an unknown environment", set("environment", "prod"), 422, "not_one_of"},
				{"no address", set("ip", "here"), 422, "wrong_format"},
				{"no project", set("project", "x"), 422, "id_malformed"},
				{"a negative cost", set("cost", -1), 422, "out_of_range"},
				{"an unknown limit", set("limits", []map[string]any{{"name": "renders"}}), 422, "rate_limit_not_found"},
				{"a limit's name", set("limits", []map[string]any{{"name": "Renders!"}}), 422, "name_malformed"},
				{"a limit twice", set("limits", []map[string]any{{"name": "key"}, {"name": "key"}}), 422, "duplicate"},
				{"a limit's negative cost", set("limits", []map[string]any{{"name": "key", "cost": -1}}), 422, "out_of_range"},
			},
		},
	}
}
