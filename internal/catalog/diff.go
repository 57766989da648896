package catalog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Op is what an apply does with an object.
type Op string

// The operations of an apply.
const (
	Create Op = "create"
	Update Op = "update"
	Remove Op = "remove"
)

// Change is what an apply does with one object of the catalogue.
type Change struct {
	Op     Op
	Kind   string // "product", "plan", "meter", "setting", "event_type"
	Name   string
	Fields []FieldChange // of an update, by path
}

// FieldChange is one field that an update changes, with its values as JSON. A side
// that has no such field is nil, which is not the same as null.
type FieldChange struct {
	Field    string // "config_schema.properties.seats.maximum", "scopes[renders:create].access"
	From, To json.RawMessage
}

// kinds lists the kinds of object in the order in which they are applied: what
// is referred to comes first.
var kinds = []string{"product", "meter", "setting", "event_type", "plan"}

// Diff returns what leads from one catalogue to another, in the order of kinds
// and names. The same catalogue in another order is no difference.
func Diff(from, to Document) []Change {
	before, after := from.objects(), to.objects()
	var out []Change
	for _, kind := range kinds {
		was, is := before[kind], after[kind]
		names := make([]string, 0, len(was)+len(is))
		for n := range was {
			names = append(names, n)
		}
		for n := range is {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range slices.Compact(names) {
			a, had := was[n]
			b, has := is[n]
			switch {
			case !had:
				out = append(out, Change{Op: Create, Kind: kind, Name: n})
			case !has:
				out = append(out, Change{Op: Remove, Kind: kind, Name: n})
			default:
				if fields := compare(nil, "", a, b); len(fields) > 0 {
					out = append(out, Change{Op: Update, Kind: kind, Name: n, Fields: fields})
				}
			}
		}
	}
	return out
}

// objects returns every object as plain JSON, by kind and name.
func (d Document) objects() map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, kind := range kinds {
		out[kind] = map[string]any{}
	}
	for _, v := range d.Products {
		out["product"][v.Name] = generic(v)
	}
	for _, v := range d.Meters {
		// No scale and a scale of one are the same.
		v.Limits = slices.Clone(v.Limits)
		for i := range v.Limits {
			v.Limits[i].Scale = v.Limits[i].scale()
		}
		out["meter"][v.Name] = generic(v)
	}
	for _, v := range d.Settings {
		out["setting"][v.Name] = generic(v)
	}
	for _, v := range d.EventTypes {
		out["event_type"][v.Name] = generic(v)
	}
	for _, v := range d.Plans {
		out["plan"][v.Name] = generic(v)
	}
	return out
}

func generic(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("catalog: %T is not JSON: %v", v, err)) // it came from JSON
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		panic(fmt.Sprintf("catalog: %T: %v", v, err))
	}
	return out
}

// absent stands for a field that a side does not have.
type absent struct{}

func compare(out []FieldChange, path string, a, b any) []FieldChange {
	if reflect.DeepEqual(a, b) {
		return out
	}
	x, y, both := asMaps(a, b)
	if !both {
		return append(out, FieldChange{path, rawJSON(a), rawJSON(b)})
	}
	keys := sortedKeys(x)
	for k := range y {
		if _, ok := x[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		at := k
		switch {
		case strings.HasPrefix(k, "["):
			at = path + k
		case path != "":
			at = path + "." + k
		}
		out = compare(out, at, member(x, k), member(y, k))
	}
	return out
}

func member(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return absent{}
}

func rawJSON(v any) json.RawMessage {
	if v == (absent{}) {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("catalog: %T is not JSON: %v", v, err)) // it came from JSON
	}
	return b
}

// asMaps lets two values be compared part by part: mappings, and lists whose
// members have names.
func asMaps(a, b any) (x, y map[string]any, ok bool) {
	x, okX := a.(map[string]any)
	y, okY := b.(map[string]any)
	if okX && okY {
		return x, y, true
	}
	x, okX = byName(a)
	y, okY = byName(b)
	return x, y, okX && okY
}

func byName(v any) (map[string]any, bool) {
	list, ok := v.([]any)
	if _, none := v.(absent); !ok && !none {
		return nil, false
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		name, named := m["name"].(string)
		if !ok || !named {
			return nil, false
		}
		out["["+name+"]"] = m
	}
	return out, true
}
