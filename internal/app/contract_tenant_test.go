package app_test

import (
	"maps"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
)

const noTenant = "tenant_00000000000000000000000002"

// newLife makes a tenant, takes it through actions and returns its path.
func (w *world) newLife(t *testing.T, start map[string]any, actions ...string) string {
	t.Helper()
	slug := w.unique("life")
	body := map[string]any{"name": slug, "slug": slug}
	maps.Copy(body, start)
	path := "/v1/tenants/" + w.must(t, "POST", "/v1/tenants", body)["id"].(string)
	for _, a := range actions {
		w.must(t, "POST", path+"/"+a, map[string]any{"reason": "test"})
	}
	return path
}

func tenantContracts() map[string]contract {
	trial := map[string]any{"trial_ends_at": time.Now().AddDate(0, 1, 0)}
	noReason := []bad{
		{"no reason", unset("reason"), 422, "required"},
		{"an empty reason", set("reason", ""), 422, "too_short"},
		{"a blank reason", set("reason", " "), 422, "required"},
		{"a long reason", set("reason", long(501)), 422, "too_long"},
	}
	gone := append(absent("tenant", noTenant), bad{"an absent slug", func(r *apptest.Request) { r.Path = replaceID(r.Path, "slug:no-such-slug") }, 404, "tenant_not_found"})
	// action is the row of an action that start and before make possible, and again does not.
	action := func(name string, start map[string]any, before []string, body map[string]any, more ...bad) contract {
		var b any // nil when there is no body, for the document says whether one is needed
		if body != nil {
			b = body
		}
		return contract{
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.newLife(t, start, before...) + "/" + name, Body: b}
			},
			status: 200, writes: true, foreign: 404, bad: append(more, gone...),
		}
	}
	why := map[string]any{"reason": "because"}
	illegal := bad{"the internal tenant", func(r *apptest.Request) {
		r.Path = replaceID(r.Path, "00000000-0000-0000-0000-000000000001")
	}, 409, "illegal_transition"}
	return map[string]contract{
		"create-tenant": {
			good: func(_ *testing.T, w *world) apptest.Request {
				slug := w.unique("made")
				return apptest.Request{Method: "POST", Path: "/v1/tenants", Body: map[string]any{
					"name": "Acme Corp", "slug": slug, "kind": "enterprise", "plan": "starter", "parent_id": w.Tenant, "status": "active",
					"external_id": slug, "erp_customer_id": slug, "stripe_cust_id": slug, "contact_name": "Ann", "contact_email": "ann@acme.example",
					"contact_phone": "+49 30 1", "billing_email": "bills@acme.example", "allowed_origins": []string{"https://app.acme.example"},
					"metadata": map[string]any{"tier": "gold"}, "contract_start": "2026-01-01", "contract_end": "2999-12-31", "sales_owner": "sam",
				}}
			},
			status: 201, writes: true, foreign: 404,
			bad: []bad{
				{"no name", unset("name"), 422, "required"},
				{"a blank name", set("name", " "), 422, "required"},
				{"a long name", set("name", long(201)), 422, "too_long"},
				{"a slug in capitals", set("slug", "ACME"), 422, "slug_malformed"},
				{"a short slug", set("slug", "ab"), 422, "slug_malformed"},
				{"a taken slug", set("slug", "internal"), 409, "slug_taken"},
				{"an unknown kind", set("kind", "friend"), 422, "not_one_of"},
				{"an unknown plan", set("plan", "no-such-plan"), 422, "plan_not_found"},
				{"an absent parent", set("parent_id", noTenant), 404, "parent_not_found"},
				{"a parent that is no id", set("parent_id", "acme"), 422, "id_malformed"},
				{"a status that none starts in", set("status", "frozen"), 422, "not_one_of"},
				{"a trial that is over", func(r *apptest.Request) {
					set("trial_ends_at", "2020-01-01T00:00:00Z")(r)
					unset("status")(r)
				}, 422, "in_the_past"},
				{"no time", set("trial_ends_at", "tomorrow"), 422, "wrong_format"},
				{"no date", set("contract_end", "2026-02-30"), 422, "wrong_format"},
				{"a contract in reverse", set("contract_end", "2025-01-01"), 422, "before_start"},
				{"no e-mail address", set("contact_email", "ann"), 422, "email_malformed"},
				{"no origin", set("allowed_origins", []string{"https://app.acme.example/path"}), 422, "origin_malformed"},
				{"metadata with a bad key", set("metadata", map[string]any{"a b": 1}), 422, "key_malformed"},
				{"too much metadata", set("metadata", map[string]any{"k": long(17 << 10)}), 422, "too_large"},
				{"metadata that is a list", set("metadata", []int{1}), 422, "wrong_type"},
			},
		},
		"list-tenants": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants?status=active&effective_status=active&kind=customer&plan=starter&metadata=tier=gold&q=acme"}
			},
			status: 200, foreign: 200, foreignWhy: "shows each caller his own tenants",
			bad: []bad{
				{"an unknown status", path("status=active", "status=gone"), 422, "not_one_of"},
				{"an unknown kind", path("kind=customer", "kind=x"), 422, "not_one_of"},
				{"metadata without a key", path("metadata=tier", "metadata="), 422, "key_malformed"},
				{"a parent that is no id", query("parent_id=acme"), 422, "id_malformed"},
				{"a long search", path("q=acme", "q="+long(101)), 422, "too_long"},
			},
		},
		"list-due-transitions": {
			good: func(*testing.T, *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/due?until=2999-01-01T00:00:00Z"}
			},
			status: 200, foreign: 200, foreignWhy: "shows each caller what happens to his own tenants",
			bad: []bad{{"no time", path("2999-01-01T00:00:00Z", "tomorrow"), 422, "wrong_format"}},
		},
		"get-tenant": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: w.newLife(t, nil)}
			},
			status: 200, foreign: 404, bad: gone,
		},
		"update-tenant": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "PATCH", Path: w.newLife(t, map[string]any{"contact_name": "Ann"}), Body: map[string]any{
					"name": "New", "contact_name": nil, "metadata": map[string]any{"a": 1, "b": nil}, "contract_end": "2999-12-31",
				}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"no name", set("name", nil), 422, "required"},
				{"a long name", set("name", long(201)), 422, "too_long"},
				{"a number for a name", set("name", 7), 422, "wrong_type"},
				{"a bad slug", set("slug", "-"), 422, "slug_malformed"},
				{"a taken slug", set("slug", "internal"), 409, "slug_taken"},
				{"an unknown plan", set("plan", "no-such-plan"), 422, "plan_not_found"},
				{"an unknown kind", set("kind", "x"), 422, "not_one_of"},
				{"into a demo tenant", set("kind", "demo"), 422, "immutable"},
				{"the end of a trial that is none", set("trial_ends_at", "2999-01-01T00:00:00Z"), 422, "not_in_trial"},
				{"no date", set("contract_end", "soon"), 422, "wrong_format"},
				{"an old version", func(r *apptest.Request) { withHeader(r, "If-Match", `"1"`) }, 412, "stale_version"},
				{"a malformed version", func(r *apptest.Request) { withHeader(r, "If-Match", "1") }, 400, "if_match_malformed"},
			}, gone...),
		},
		"delete-tenant": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "DELETE", Path: w.newLife(t, nil, "cancel", "archive")}
			},
			status: 204, writes: true, foreign: 404, bad: append([]bad{illegal}, gone...),
		},
		"list-subtree": {
			good: func(_ *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/subtree?levels=2"}
			},
			status: 200, foreign: 404, bad: append([]bad{{"levels", path("levels=2", "levels=6"), 422, "out_of_range"}}, gone...),
		},
		"move-tenant": {
			good: func(t *testing.T, w *world) apptest.Request {
				return apptest.Request{Method: "POST", Path: w.newLife(t, nil) + "/move", Body: map[string]any{"parent_id": w.Tenant}}
			},
			status: 200, writes: true, foreign: 404,
			bad: append([]bad{
				{"no parent", unset("parent_id"), 422, "required"},
				{"an absent parent", set("parent_id", noTenant), 404, "parent_not_found"},
				{"no id", set("parent_id", "x"), 422, "id_malformed"},
				{"below itself", func(r *apptest.Request) { set("parent_id", typeID.FindString(r.Path))(r) }, 409, "tenant_cycle"},
			}, gone...),
		},
		"activate-tenant": action("activate", trial, nil, map[string]any{"contract_end": "2999-12-31"}, illegal,
			bad{"a contract that is over", set("contract_end", "2020-01-01"), 422, "in_the_past"},
			bad{"no date", set("contract_end", "soon"), 422, "wrong_format"}),
		"freeze-tenant":     action("freeze", nil, nil, why, append(noReason, illegal)...),
		"cancel-tenant":     action("cancel", nil, nil, why, illegal, bad{"at an end that there is not", set("at_end", true), 422, "no_end"}),
		"reactivate-tenant": action("reactivate", nil, []string{"freeze"}, map[string]any{"contract_end": "2999-12-31"}, illegal, bad{"a contract that is over", set("contract_end", "2020-01-01"), 422, "in_the_past"}),
		"suspend-tenant":    action("suspend", nil, nil, why, append(noReason, illegal)...),
		"resume-tenant":     action("resume", nil, []string{"suspend"}, why, illegal, bad{"a long reason", set("reason", long(501)), 422, "too_long"}),
		"archive-tenant":    action("archive", nil, []string{"freeze"}, why, append(noReason, illegal)...),
		"restore-tenant":    action("restore", nil, []string{"freeze", "archive"}, why, illegal),
		"hold-tenant":       action("hold", nil, nil, why, append(noReason, illegal)...),
		"release-tenant":    action("release", nil, []string{"hold"}, why, illegal),
	}
}
