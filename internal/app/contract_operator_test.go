package app_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

const (
	noOperator = "operator_00000000000000000000000001"
	noService  = "service_00000000000000000000000001"
	noToken    = "token_00000000000000000000000001"
)

// newOperator makes a person and returns the path.
func (w *world) newOperator(t *testing.T) string {
	t.Helper()
	o := w.must(t, "POST", "/v1/operators", map[string]any{"email": w.unique("ada") + "@example.com", "name": "Ada", "role": "viewer"})
	return "/v1/operators/" + o["id"].(string)
}

// newService makes a service account and returns the path.
func (w *world) newService(t *testing.T) string {
	t.Helper()
	s := w.must(t, "POST", "/v1/services", map[string]any{"name": w.unique("service"), "permissions": []string{"tenants:read"}})
	return "/v1/services/" + s["id"].(string)
}

// newToken issues a token of a person or account and returns its path.
func (w *world) newToken(t *testing.T, owner string) string {
	t.Helper()
	return "/v1/tokens/" + w.must(t, "POST", owner+"/tokens", map[string]any{"name": "laptop"})["id"].(string)
}

// absent are the ways to name a thing wrongly.
func absent(noun, noID string) []bad {
	return []bad{
		{"absent", func(r *apptest.Request) { r.Path = replaceID(r.Path, noID) }, http.StatusNotFound, noun + "_not_found"},
		{"not an id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, http.StatusUnprocessableEntity, "id_malformed"},
		{"another kind's id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "key_00000000000000000000000001") }, http.StatusUnprocessableEntity, "id_malformed"},
	}
}

var typeID = regexp.MustCompile(`[a-z]+_[0-9a-hjkmnp-tv-z]{26}`)

// replaceID puts another id in the place of the path's last.
func replaceID(path, with string) string {
	all := typeID.FindAllStringIndex(path, -1)
	last := all[len(all)-1]
	return path[:last[0]] + with + path[last[1]:]
}

// long returns a text of n characters.
func long(n int) string { return strings.Repeat("x", n) }

var badReason = bad{"a long reason", func(r *apptest.Request) { r.Body = map[string]any{"reason": long(501)} }, 422, "too_long"}

func operatorContracts() map[string]contract {
	request := func(method, suffix string, body any) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			return apptest.Request{Method: method, Path: w.newOperator(t) + suffix, Body: body}
		}
	}
	gone := absent("operator", noOperator)
	return map[string]contract{
		"create-operator": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: "/v1/operators", Body: map[string]any{
					"email": w.unique("new") + "@example.com", "name": "Ada", "role": "support",
				}}
			},
			status: 201, writes: true, foreign: 403,
			bad: []bad{
				{"no address", unset("email"), 422, "required"},
				{"no such address", set("email", "ada"), 422, "wrong_format"},
				{"a taken address", set("email", "owner@example.com"), 409, "email_taken"},
				{"no name", set("name", ""), 422, "too_short"},
				{"a long name", set("name", long(201)), 422, "too_long"},
				{"an unknown role", set("role", "root"), 422, "not_one_of"},
				{"a number for a name", set("name", 7), 422, "wrong_type"},
			},
		},
		"list-operators": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/operators?role=owner&enabled=true"}
			},
			status: 200, foreign: 403,
			bad: []bad{{"an unknown role", path("role=owner", "role=root"), 422, "not_one_of"}},
		},
		"get-operator": {good: request("GET", "", nil), status: 200, foreign: 403, bad: gone},
		"update-operator": {
			good: request("PATCH", "", map[string]any{"name": "Grace", "role": "admin"}), status: 200, writes: true, foreign: 403,
			bad: append([]bad{
				{"no name", set("name", nil), 422, "required"},
				{"a blank name", set("name", " "), 422, "required"},
				{"an unknown role", set("role", "root"), 422, "not_one_of"},
				{"an old version", func(r *apptest.Request) { withHeader(r, "If-Match", `"1"`) }, 412, "stale_version"},
				{"a malformed version", func(r *apptest.Request) { withHeader(r, "If-Match", "1") }, 400, "if_match_malformed"},
			}, gone...),
		},
		"disable-operator": {
			good: request("POST", "/disable", map[string]any{"reason": "left"}), status: 200, writes: true, foreign: 403,
			bad: append([]bad{badReason}, gone...),
		},
		"enable-operator": {
			good: func(t *testing.T, w *world) apptest.Request {
				o := w.newOperator(t)
				w.must(t, "POST", o+"/disable", nil)
				return apptest.Request{Method: "POST", Path: o + "/enable"}
			},
			status: 200, writes: true, foreign: 403, bad: gone,
		},
		"delete-operator": {good: request("DELETE", "", nil), status: 204, writes: true, foreign: 403, bad: gone},
		"whoami": {
			good:   func(*testing.T, *world) apptest.Request { return apptest.Request{Method: "GET", Path: "/v1/whoami"} },
			status: 200, foreign: 200, foreignWhy: "tells each caller about himself",
		},
	}
}

func serviceContracts() map[string]contract {
	request := func(method, suffix string, body any) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			return apptest.Request{Method: method, Path: w.newService(t) + suffix, Body: body}
		}
	}
	gone := absent("service", noService)
	return map[string]contract{
		"create-service": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: "/v1/services", Body: map[string]any{
					"name": w.unique("new"), "description": "renders", "permissions": []string{"tenants:read"}, "tenant_id": w.Tenant,
				}}
			},
			status: 201, writes: true, foreign: 403,
			bad: []bad{
				{"no name", unset("name"), 422, "required"},
				{"a long description", set("description", long(1001)), 422, "too_long"},
				{"an unknown permission", set("permissions", []string{"tenants:fly"}), 422, "not_one_of"},
				{"a permission that tenants can't have", set("permissions", []string{"operators:read"}), 422, "not_tenant_grantable"},
				{"an absent tenant", set("tenant_id", "tenant_00000000000000000000000002"), 404, "tenant_not_found"},
				{"no id of a tenant", set("tenant_id", "acme"), 422, "id_malformed"},
			},
		},
		"list-services": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/services?enabled=true"}
			},
			status: 200, foreign: 403,
			bad: []bad{{"neither true nor false", path("enabled=true", "enabled=maybe"), 422, "not_one_of"}},
		},
		"get-service": {good: request("GET", "", nil), status: 200, foreign: 403, bad: gone},
		"update-service": {
			good:   request("PATCH", "", map[string]any{"description": "verifies", "permissions": []string{"apikeys:verify"}}),
			status: 200, writes: true, foreign: 403,
			bad: append([]bad{
				{"an unknown permission", set("permissions", []string{"x"}), 422, "not_one_of"},
				{"a blank name", set("name", " "), 422, "required"},
				{"an old version", func(r *apptest.Request) { withHeader(r, "If-Match", `"1"`) }, 412, "stale_version"},
			}, gone...),
		},
		"disable-service": {
			good: request("POST", "/disable", map[string]any{"reason": "leaked"}), status: 200, writes: true, foreign: 403,
			bad: append([]bad{badReason}, gone...),
		},
		"enable-service": {
			good: func(t *testing.T, w *world) apptest.Request {
				s := w.newService(t)
				w.must(t, "POST", s+"/disable", nil)
				return apptest.Request{Method: "POST", Path: s + "/enable"}
			},
			status: 200, writes: true, foreign: 403, bad: gone,
		},
		"delete-service": {good: request("DELETE", "", nil), status: 204, writes: true, foreign: 403, bad: gone},
	}
}

func tokenContracts() map[string]contract {
	issue := func(owner func(*world, *testing.T) string) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			return apptest.Request{Method: "POST", Path: owner(w, t) + "/tokens", Body: map[string]any{"name": "laptop"}}
		}
	}
	list := func(owner func(*world, *testing.T) string) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			o := owner(w, t)
			w.newToken(t, o)
			return apptest.Request{Method: "GET", Path: o + "/tokens"}
		}
	}
	operator := func(w *world, t *testing.T) string { t.Helper(); return w.newOperator(t) }
	service := func(w *world, t *testing.T) string { t.Helper(); return w.newService(t) }
	badIssue := []bad{
		{"no name", unset("name"), 422, "required"},
		{"an expiry in the past", set("expires_at", "2020-01-01T00:00:00Z"), 422, "out_of_range"},
		{"an expiry far away", set("expires_at", "2999-01-01T00:00:00Z"), 422, "out_of_range"},
		{"no time", set("expires_at", "tomorrow"), 422, "wrong_format"},
	}
	gone := absent("token", noToken)
	return map[string]contract{
		"issue-operator-token": {
			good: issue(operator), status: 201, writes: true, foreign: 403,
			bad: append(absent("operator", noOperator), badIssue...),
		},
		"issue-service-token": {
			good: issue(service), status: 201, writes: true, foreign: 403,
			bad: append(absent("service", noService), badIssue...),
		},
		"list-operator-tokens": {good: list(operator), status: 200, foreign: 403, bad: absent("operator", noOperator)},
		"list-service-tokens":  {good: list(service), status: 200, foreign: 403, bad: absent("service", noService)},
		"get-token": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.newToken(t, w.newOperator(t))}
			},
			status: 200, foreign: 404, bad: gone,
		},
		"revoke-token": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.newToken(t, w.newService(t)) + "/revoke", Body: map[string]any{"reason": "lost"}}
			},
			status: 200, writes: true, foreign: 404, bad: append([]bad{badReason}, gone...),
		},
	}
}
