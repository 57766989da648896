package app_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

// contractCatalog is the catalogue of the world, with one event type more.
func contractCatalog(event string) map[string]any {
	types := []any{map[string]any{"name": "contract.signed"}}
	if event != "" {
		types = append(types, map[string]any{"name": event})
	}
	return map[string]any{
		"products": []any{
			map[string]any{
				"name": "contract", "title": "Contract", "supports_projects": true,
				"config_schema": map[string]any{
					"type": "object", "additionalProperties": false,
					"properties": map[string]any{"seats": map[string]any{"type": "integer", "minimum": 1}, "url": map[string]any{"type": "string", "format": "uri"}},
				},
				"default_config": map[string]any{"seats": 5},
				"scopes":         []any{map[string]any{"name": "things:read", "access": "read"}, map[string]any{"name": "things:create", "access": "write"}},
				"rate_limits":    []any{map[string]any{"name": "things", "limit": 100, "window": 60, "burst": 10, "named_only": true, "per": "tenant"}},
			},
			map[string]any{"name": "extra", "title": "Extra"},
		},
		"plans": []any{
			map[string]any{"name": "contract", "title": "Contract", "products": map[string]any{"contract": map[string]any{
				"rate_limits": []any{map[string]any{"name": "things", "limit": 1000, "window": 60}},
			}}, "limits": map[string]any{"max_things": 5, "things_a_day": nil}},
		},
		"meters": []any{map[string]any{
			"name": "things", "title": "Things", "unit": "thing", "aggregation": "sum",
			"limits": []any{map[string]any{"name": "max_things", "period": "total"}, map[string]any{"name": "things_a_day", "period": "day"}},
		}},
		"settings":    []any{map[string]any{"name": "dark", "title": "Dark", "schema": map[string]any{"type": "boolean"}, "default": false}},
		"event_types": types,
	}
}

// part returns an edit that gives a field of the first object of a section
// another value.
func part(section, field string, value any) func(*apptest.Request) {
	return func(r *apptest.Request) {
		list := r.Body.(map[string]any)[section].([]any)
		list[0].(map[string]any)[field] = value
	}
}

func catalogContracts() map[string]contract {
	const everybody = "the catalogue is for every credential with catalog:read"
	get := func(path string, wrong ...bad) contract {
		return contract{
			good:   func(*testing.T, *world) apptest.Request { return apptest.Request{Method: "GET", Path: path} },
			status: 200, foreign: 200, foreignWhy: everybody, bad: wrong,
		}
	}
	return map[string]contract{
		"apply-catalog": {
			good: func(t *testing.T, w *world) apptest.Request {
				w.entitled(t) // so that the catalogue is in use, whoever runs first
				return apptest.Request{Method: "POST", Path: "/v1/catalog/apply", Body: contractCatalog("contract." + letters(w.unique("e")))}
			},
			status: 200, writes: true, foreign: 403,
			bad: []bad{
				{"no such flag", query("dry_run=perhaps"), 422, "wrong_type"},
				{"no name", part("products", "name", ""), 422, "required"},
				{"no such name", part("plans", "name", "Gold Plan"), 422, "name_malformed"},
				{"a long name", part("meters", "name", long(64)), 422, "too_long"},
				{"a name twice", func(r *apptest.Request) {
					body := r.Body.(map[string]any)
					body["plans"] = append(body["plans"].([]any), body["plans"].([]any)[0])
				}, 422, "duplicate"},
				{"no title", part("products", "title", " "), 422, "required"},
				{"no access", part("products", "scopes", []any{map[string]any{"name": "a:b", "access": "execute"}}), 422, "not_one_of"},
				{"a reserved scope", part("products", "scopes", []any{map[string]any{"name": "tenants:write", "access": "write"}}), 422, "scope_reserved"},
				{"no schema", part("products", "config_schema", map[string]any{"type": 7}), 422, "schema_malformed"},
				{"a schema from elsewhere", part("products", "config_schema", map[string]any{"$ref": "http://127.0.0.1:1/x"}), 422, "schema_malformed"},
				{"defaults that break the schema", part("products", "default_config", map[string]any{"seats": 0}), 422, "out_of_range"},
				{"a rate limit of nobody", part("products", "rate_limits", []any{map[string]any{"name": "things", "limit": 1, "window": 1}}), 422, "required"},
				{"a rate limit of everybody", part("products", "rate_limits", []any{map[string]any{"name": "things", "limit": 1, "window": 1, "per": "world"}}), 422, "not_one_of"},
				{"a rate limit by the reserved name", part("products", "rate_limits", []any{map[string]any{"name": "key", "limit": 1, "window": 1, "per": "key"}}), 422, "name_reserved"},
				{"a rate limit too fast", part("products", "rate_limits", []any{map[string]any{"name": "things", "limit": 1_000_001, "window": 1, "per": "key"}}), 422, "out_of_range"},
				{"a plan's rate limit that nothing declares", part("plans", "products", map[string]any{
					"contract": map[string]any{"rate_limits": []any{map[string]any{"name": "nothings", "limit": 1, "window": 1}}},
				}), 422, "rate_limit_not_found"},
				{"a plan's rate limit of no units", part("plans", "products", map[string]any{
					"contract": map[string]any{"rate_limits": []any{map[string]any{"name": "things", "limit": 0, "window": 1}}},
				}), 422, "out_of_range"},
				{"a plan of an unknown product", part("plans", "products", map[string]any{"nope": map[string]any{}}), 422, "product_not_found"},
				{"a plan's config that breaks the schema", part("plans", "products", map[string]any{"contract": map[string]any{"config": map[string]any{"chairs": 1}}}), 422, "unknown_field"},
				{"an unknown limit", part("plans", "limits", map[string]any{"nope": 1}), 422, "limit_not_found"},
				{"a limit below 0", part("plans", "limits", map[string]any{"max_things": -1}), 422, "out_of_range"},
				{"a limit that is no number", part("plans", "limits", map[string]any{"max_things": "many"}), 422, "wrong_type"},
				{"an unknown setting", part("plans", "settings", map[string]any{"nope": 1}), 422, "setting_not_found"},
				{"a long trial", part("plans", "trial_days", 9999), 422, "out_of_range"},
				{"keys of no age", part("plans", "api_keys", map[string]any{"max_age_days": 0}), 422, "out_of_range"},
				{"more keys than there can be", part("plans", "api_keys", map[string]any{"max_keys": 1_000_001}), 422, "out_of_range"},
				{"no aggregation", part("meters", "aggregation", "mean"), 422, "not_one_of"},
				{"a default that breaks the schema", part("settings", "default", "night"), 422, "wrong_type"},
				{"landlord's own event", part("event_types", "name", "tenant.created"), 422, "event_reserved"},
				{"an unknown field inside", part("meters", "colour", "red"), 422, "unknown_field"},
				{"the world's product gone", set("products", []any{}), 422, "product_not_found"},
				{"what is in use gone", func(r *apptest.Request) { r.Body = map[string]any{} }, 409, "catalog_in_use"},
			},
		},
		"get-catalog":              get("/v1/catalog"),
		"list-products":            get("/v1/products"),
		"get-product":              get("/v1/products/contract", bad{"absent", path("contract", "nope"), 404, "product_not_found"}, bad{"a long name", path("contract", long(64)), 422, "too_long"}),
		"list-plans":               get("/v1/plans"),
		"get-plan":                 get("/v1/plans/contract", bad{"absent", path("contract", "nope"), 404, "plan_not_found"}),
		"list-meters":              get("/v1/meters"),
		"list-setting-definitions": get("/v1/setting-definitions"),
		"list-event-types":         get("/v1/event-types"),
	}
}

// letters turns the digits of a unique name into letters.
func letters(s string) string {
	out := []byte{}
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' {
			c += 'a' - '0'
		}
		if c >= 'a' && c <= 'z' {
			out = append(out, c)
		}
	}
	return string(out)
}
