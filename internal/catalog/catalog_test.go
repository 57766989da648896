package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/examples"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
)

// load reads YAML text as one file, catalog.yaml.
func load(text string) (catalog.Document, error) {
	return catalog.Load(fstest.MapFS{"catalog.yaml": {Data: []byte(text)}}, "catalog.yaml")
}

// example reads an example catalogue, or with "." all of them as one.
func example(t *testing.T, name string) catalog.Document {
	t.Helper()
	files, err := catalog.Files(examples.Catalogs, name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := catalog.Load(examples.Catalogs, files...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every complaint about a file comes with its line, and all at once.
func TestLoad_complains(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"not YAML":       {"products:\n  - name: x\n - title: y\n", []string{"catalog.yaml:3: value is not allowed in this context"}},
		"duplicate key":  {"products: []\nproducts: []\n", []string{`catalog.yaml:2: mapping key "products" already defined at [1:1]`}},
		"a list":         {"- 1\n", []string{"catalog.yaml: This is a mapping of fields, not a list."}},
		"unknown fields": {"product: []\nmeters:\n  - {name: calls, title: Calls, unit: call, aggregation: sum,\n     size: 3}\n", []string{"catalog.yaml:1: product: There is no field product here.", "catalog.yaml:4: meters[0].size: There is no field size here."}},
		"wrong types": {"plans:\n  - name: pro\n    title: 7\n    trial_days: soon\n    products: [x]\n", []string{
			"catalog.yaml:3: plans[0].title: This is text, not a number: put it in quotes.",
			"catalog.yaml:4: plans[0].trial_days: This is a whole number, not text.",
			"catalog.yaml:5: plans[0].products: This is a mapping, not a list.",
		}},
		"a plan of nothing": {"plans:\n  - name: pro\n    title: Pro\n    products: {render: {}}\n    limits: {seats: 1}\n    settings: {dark: true}\n", []string{
			"catalog.yaml:4: plans[0].products.render: The catalogue has no product render.",
			"catalog.yaml:5: plans[0].limits.seats: No meter declares a limit seats.",
			"catalog.yaml:6: plans[0].settings.dark: The catalogue has no setting dark.",
		}},
		"a plan's keys": {"plans:\n  - name: pro\n    title: Pro\n    api_keys:\n      max_age_days: 3651\n      rate_limit_rpm: -1\n      max_keys: many\n", []string{
			"catalog.yaml:7: plans[0].api_keys.max_keys: This is a whole number, not text.",
		}},
		"a plan's keys out of bounds": {"plans:\n  - name: pro\n    title: Pro\n    api_keys:\n      max_age_days: 3651\n      rate_limit_rpm: -1\n", []string{
			"catalog.yaml:5: plans[0].api_keys.max_age_days: max_age_days is from 1 to 3650.",
			"catalog.yaml:6: plans[0].api_keys.rate_limit_rpm: rate_limit_rpm is from 1 to 1000000.",
		}},
		"names": {"meters:\n  - {name: Calls, title: Calls, unit: call, aggregation: mean}\nevent_types:\n  - name: done\n  - name: catalog.applied\n", []string{
			`catalog.yaml:2: meters[0].name: "Calls" is no such name: write it like render_seconds.`,
			"catalog.yaml:2: meters[0].aggregation: aggregation is sum, max, last or unique.",
			`catalog.yaml:4: event_types[0].name: "done" is no such name: write it like render.completed.`,
			"catalog.yaml:5: event_types[1].name: Events of catalog are landlord's own.",
		}},
		"config": {"products:\n  - name: render\n    title: Render\n    config_schema: {properties: {n: {type: integer}}, additionalProperties: false, required: [n]}\nplans:\n  - name: pro\n    title: Pro\n    products:\n      render:\n        config:\n          m: 1\n          n: x\n", []string{
			"catalog.yaml:11: plans[0].products.render.config.m: There is no field m.",
			"catalog.yaml:12: plans[0].products.render.config.n: got string, want integer.",
		}},
		"config required": {"products:\n  - name: render\n    title: Render\n    config_schema: {required: [n]}\nplans:\n  - name: pro\n    title: Pro\n    products:\n      render: {}\n", []string{
			"catalog.yaml:9: plans[0].products.render.config.n: n is required.",
		}},
		"schema": {"settings:\n  - {name: a, title: A, schema: {type: [enum]}, default: 1}\n  - name: b\n    title: B\n    schema: {$ref: 'https://example.com/x.json'}\n    default: 1\n", []string{
			"catalog.yaml:2: settings[0].schema: This is no JSON Schema (2020-12): at type: The value fits none of the schema's alternatives, or more than it may.",
			"catalog.yaml:5: settings[1].schema: This is no JSON Schema (2020-12): a $ref must stay within the schema.",
		}},
		"scopes": {"products:\n  - name: one\n    title: One\n    scopes: [{name: 'a:b', access: read}, {name: 'a:b', access: read}, {name: 'tenants:write', access: write}, {name: 'projects:read', access: read}]\n  - name: two\n    title: Two\n    scopes: [{name: 'a:b', access: write}, {name: 'c:*', access: read}]\n", []string{
			"catalog.yaml:4: products[0].scopes[1].name: The scope a:b is declared twice.",
			"catalog.yaml:4: products[0].scopes[2].name: tenants:write is a permission of landlord itself: a product's scope may share the name of one only when both just read.",
			"catalog.yaml:7: products[1].scopes[0].access: Another product declares a:b with the access read.",
			`catalog.yaml:7: products[1].scopes[1].name: "c:*" is no such name: write it like renders:create.`,
		}},
		"rate limits": {"products:\n  - name: render\n    title: Render\n    rate_limits:\n      - {name: renders, limit: 100, window: 60, per: tenant}\n      - {name: renders, limit: 100, window: 60}\n      - {name: key, limit: 0, window: 60, per: key}\nplans:\n  - name: pro\n    title: Pro\n    products:\n      render:\n        rate_limits:\n          - {name: renders, limit: 1000, window: 60, burst: 1001}\n          - {name: frames, limit: 1, window: 1}\n", []string{
			`catalog.yaml:6: products[0].rate_limits[1].name: The rate limit "renders" is there twice.`,
			"catalog.yaml:6: products[0].rate_limits[1].per: per is tenant or key.",
			`catalog.yaml:7: products[0].rate_limits[2].name: "key" is the limit that a key's rate_limit_rpm says.`,
			"catalog.yaml:7: products[0].rate_limits[2].limit: limit is a whole number from 1 to 1000000000, and at most 1000000 for each second of the window.",
			"catalog.yaml:14: plans[0].products.render.rate_limits[0].burst: burst is a whole number from 1 to the limit; left out, it is the limit.",
			`catalog.yaml:15: plans[0].products.render.rate_limits[1].name: The product render declares no rate limit "frames".`,
		}},
		"a section without anything": {"products:\nplans:\n", nil},
		"two documents":              {"meters: [{name: calls, title: C, unit: call, aggregation: sum}]\n---\nmeters: [{name: calls, title: C, unit: call, aggregation: sum}]\n", []string{"catalog.yaml:3: meters[1].name: calls is already defined, as meters[0]."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(tc.text)
			var got []string
			if ps := catalog.Problems(nil); errors.As(err, &ps) {
				got = strings.Split(ps.Error(), "\n")
			} else if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoad_severalFiles(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{
		"c/a.yaml":     {Data: []byte("meters:\n  - {name: calls, title: Calls, unit: call, aggregation: sum}\n")},
		"c/d/b.yml":    {Data: []byte("# more\nmeters:\n  - {name: users, title: Users, unit: user, aggregation: last}\n  - {name: calls, title: Again, unit: call, aggregation: sum}\n")},
		"c/README.txt": {Data: []byte("not for us")},
	}
	files, err := catalog.Files(fsys, "c")
	if d := cmp.Diff([]string{"c/a.yaml", "c/d/b.yml"}, files); err != nil || d != "" {
		t.Fatal(err, d)
	}
	_, err = catalog.Load(fsys, files...)
	if want := "c/d/b.yml:4: meters[2].name: calls is already defined, as meters[0]."; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	from, err := load(`
products:
  - {name: gone, title: Gone}
  - {name: kept, title: Kept, scopes: [{name: "a:read", access: read}, {name: "b:read", access: read}], default_config: {n: 1, list: [1, 2]}}
meters:
  - {name: calls, title: Calls, unit: call, aggregation: sum, limits: [{name: max_calls, period: day}]}
plans:
  - {name: pro, title: Pro, limits: {max_calls: 5}}
`)
	if err != nil {
		t.Fatal(err)
	}
	to, err := load(`
plans:
  - {name: pro, title: Pro, limits: {max_calls: null}, products: {new: {}}}
meters:
  - {name: calls, title: Calls, unit: call, aggregation: sum, limits: [{name: max_calls, period: day, scale: 1}]}
products:
  - {name: kept, title: Kept, scopes: [{name: "b:read", access: write}, {name: "c:read", access: read}], default_config: {n: 2, list: [1]}}
  - {name: new, title: New}
`)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(s string) []byte { return []byte(s) }
	want := []catalog.Change{
		{Op: catalog.Remove, Kind: "product", Name: "gone"},
		{Op: catalog.Update, Kind: "product", Name: "kept", Fields: []catalog.FieldChange{
			{Field: "default_config.list", From: raw("[1,2]"), To: raw("[1]")},
			{Field: "default_config.n", From: raw("1"), To: raw("2")},
			{Field: "scopes[a:read]", From: raw(`{"access":"read","name":"a:read"}`)},
			{Field: "scopes[b:read].access", From: raw(`"read"`), To: raw(`"write"`)},
			{Field: "scopes[c:read]", To: raw(`{"access":"read","name":"c:read"}`)},
		}},
		{Op: catalog.Create, Kind: "product", Name: "new"},
		{Op: catalog.Update, Kind: "plan", Name: "pro", Fields: []catalog.FieldChange{
			{Field: "limits.max_calls", From: raw("5"), To: raw("null")},
			{Field: "products", To: raw(`{"new":{}}`)},
		}},
	}
	if d := cmp.Diff(want, catalog.Diff(from, to)); d != "" {
		t.Error(d)
	}
	if same := catalog.Diff(to, to); len(same) > 0 {
		t.Errorf("a catalogue differs from itself: %v", same)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	defaults := map[string]any{"a": 1, "b": map[string]any{"c": 1, "d": 2}, "e": []any{1}}
	own := map[string]any{"a": nil, "b": map[string]any{"d": 3}, "e": []any{2, 3}, "f": map[string]any{"g": nil, "h": 1}}
	want := map[string]any{"b": map[string]any{"c": 1, "d": 3}, "e": []any{2, 3}, "f": map[string]any{"h": 1}}
	if d := cmp.Diff(want, catalog.Merge(defaults, own)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"a": 1, "b": map[string]any{"c": 1, "d": 2}, "e": []any{1}}, defaults); d != "" {
		t.Errorf("the defaults have changed: %s", d)
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	d := example(t, "ai-platform")
	for _, tc := range []struct {
		product string
		config  map[string]any
		want    []string // field code
	}{
		{"ai-workspace", map[string]any{"max_seats": 10}, nil},
		{"ai-workspace", map[string]any{"max_seats": "10", "theme": "dark"}, []string{"config.theme unknown_field", "config.max_seats wrong_type"}},
		{"ai-workspace", map[string]any{"max_seats": 0, "modules_enabled": []any{"chat", "games", "chat"}}, []string{"config.max_seats out_of_range", "config.modules_enabled duplicate", "config.modules_enabled[1] not_one_of"}},
		{"ai-gateway", map[string]any{"litellm_url": nil}, []string{"config.litellm_url required"}},
		{"ai-gateway", map[string]any{"litellm_url": "not a url"}, []string{"config.litellm_url wrong_format"}},
	} {
		for _, p := range d.Products {
			if p.Name != tc.product {
				continue
			}
			var f fault.Fields
			if err := p.CheckConfig(&f, "config", tc.config); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range f {
				got = append(got, c.Field+" "+c.Code)
			}
			less := func(a, b string) bool { return a < b }
			if d := cmp.Diff(sorted(tc.want, less), sorted(got, less)); d != "" {
				t.Errorf("%s %v: %s", tc.product, tc.config, d)
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range []string{"media-reseller/products.yaml", "media-reseller/events.yaml", "ai-platform/plans.yaml"} {
		b, err := examples.Catalogs.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("a: &a [*a]\n")
	f.Add("<<: {products: []}\n? [x]\n: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := load(text)
		if err != nil {
			return
		}
		if again := catalog.Diff(d, d); len(again) > 0 {
			t.Fatalf("a catalogue differs from itself: %v", again)
		}
	})
}

// The built-in event types are the actions that the sources record, no more and
// no less.
func TestBuiltInEventTypes(t *testing.T) {
	t.Parallel()
	var nouns []string
	listed := map[string]bool{}
	for _, e := range catalog.BuiltInEventTypes() {
		listed[e.Name] = false
		noun, _, _ := strings.Cut(e.Name, ".")
		if !slices.Contains(nouns, noun) {
			nouns = append(nouns, noun)
		}
	}
	action := regexp.MustCompile(`"((?:` + strings.Join(nouns, "|") + `)\.[a-z_]+)"`)
	sources, err := filepath.Glob("../*/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	for _, name := range sources {
		room := filepath.Base(filepath.Dir(name))
		if strings.HasSuffix(name, "_test.go") || room == "api" || filepath.Base(name) == "builtin.go" {
			continue // faces name actions as examples
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range action.FindAllStringSubmatch(string(text), -1) {
			if _, ok := listed[m[1]]; !ok {
				t.Errorf("%s records %s, which builtin.go does not list", name, m[1])
			}
			listed[m[1]] = true
		}
	}
	for name, used := range listed {
		if !used {
			t.Errorf("builtin.go lists %s, which nothing records", name)
		}
	}
}
