package app_test

import (
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

const noProject = "project_00000000000000000000000001"

// newProject makes a project and returns its path.
func (w *world) newProject(t *testing.T) string {
	t.Helper()
	path := w.freshTenant(t, "contract") + "/projects"
	return path + "/" + w.must(t, "POST", path, map[string]any{"name": "One"})["id"].(string)
}

func projectContracts() map[string]contract {
	request := func(method, suffix string, body any, before ...string) func(*testing.T, *world) apptest.Request {
		return func(t *testing.T, w *world) apptest.Request {
			path := w.newProject(t)
			for _, action := range before {
				w.must(t, "POST", path+"/"+action, nil)
			}
			return apptest.Request{Method: method, Path: path + suffix, Body: body}
		}
	}
	gone := []bad{
		{"absent", func(r *apptest.Request) { r.Path = replaceID(r.Path, noProject) }, 404, "project_not_found"},
		{"an absent slug", func(r *apptest.Request) { r.Path = replaceID(r.Path, "slug:nope") }, 404, "project_not_found"},
		{"not an id", func(r *apptest.Request) { r.Path = replaceID(r.Path, "x") }, 422, "id_malformed"},
		{"another kind's id", func(r *apptest.Request) { r.Path = replaceID(r.Path, noTenant) }, 422, "id_malformed"},
	}
	fields := []bad{
		{"a long name", set("name", long(201)), 422, "too_long"},
		{"a blank name", set("name", " "), 422, "required"},
		{"a control character", set("name", "a\u0007b"), 422, "invalid_text"},
		{"a name that is no text", set("name", 7), 422, "wrong_type"},
		{"a slug in capitals", set("slug", "ABC"), 422, "slug_malformed"},
		{"the default's slug", set("slug", "default"), 422, "slug_reserved"},
		{"metadata that is a list", set("metadata", []any{}), 422, "wrong_type"},
		{"a metadata key", set("metadata", map[string]any{"a b": 1}), 422, "key_malformed"},
	}
	change := append(append([]bad{}, gone...), badIfMatch...)
	return map[string]contract{
		"create-project": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.freshTenant(t, "contract") + "/projects", Body: map[string]any{
					"name": "Two", "slug": "two", "description": "the second", "metadata": map[string]any{"cost_center": "7"},
				}}
			},
			status: 201, writes: true, foreign: 404,
			bad: append(append([]bad{{"no name", unset("name"), 422, "required"}}, fields...), badTenants...),
		},
		"list-projects": {
			good: func(t *testing.T, w *world) apptest.Request {
				path := w.newProject(t)
				return apptest.Request{Method: "GET", Path: path[:strings.LastIndexByte(path, '/')]}
			},
			status: 200, foreign: 404, bad: append([]bad{{"no such status", query("status=gone"), 422, "not_one_of"}}, badTenants...),
		},
		"get-project": {good: request("GET", "", nil), status: 200, foreign: 404, bad: gone},
		"update-project": {
			good:   request("PATCH", "", map[string]any{"name": "Uno", "description": nil, "metadata": map[string]any{"a": 1}}),
			status: 200, writes: true, foreign: 404,
			bad: append(append([]bad{{"no name at all", set("name", nil), 422, "required"}}, fields...), change...),
		},
		"archive-project": {good: request("POST", "/archive", nil), status: 200, writes: true, foreign: 404, bad: change},
		"restore-project": {good: request("POST", "/restore", nil, "archive"), status: 200, writes: true, foreign: 404, bad: change},
	}
}
