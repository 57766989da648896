package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/landlordhq/landlord/internal/fault"
)

// Schema is a compiled JSON Schema (draft 2020-12, formats asserted). The nil
// Schema accepts everything. It refers to nothing outside of itself: a $ref to
// another document would let a catalogue make the server fetch.
type Schema struct{ compiled *jsonschema.Schema }

// schemaURL is the base of every schema; it only has to be absolute.
const schemaURL = "urn:landlord:schema"

var errRemoteRef = errors.New("a $ref must stay within the schema")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errRemoteRef }

// CompileSchema reads a schema. An empty one is the nil Schema.
func CompileSchema(doc map[string]any) (*Schema, error) {
	if len(doc) == 0 {
		return nil, nil //nolint:nilnil // the nil Schema accepts everything
	}
	value, err := plain(doc)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	if err := c.AddResource(schemaURL, value); err != nil {
		return nil, err
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		return nil, errors.New(schemaProblem(err))
	}
	return &Schema{s}, nil
}

// schemaProblem says in one line why a schema does not compile.
func schemaProblem(err error) string {
	if strings.Contains(err.Error(), errRemoteRef.Error()) { // its error type does not unwrap
		return errRemoteRef.Error()
	}
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			var all fault.Fields
			collect(&all, "", v)
			if len(all) > 0 {
				return "at " + strings.TrimPrefix(all[0].Field, ".") + ": " + strings.TrimSuffix(all[0].Message, ".")
			}
		}
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// Validate checks a value and adds a complaint for each rule that it breaks, with
// the path of the value below prefix: "config.seats[2]".
func (s *Schema) Validate(all *fault.Fields, prefix string, value any) {
	if s == nil {
		return
	}
	v, err := plain(value)
	if err != nil {
		all.Add(prefix, "wrong_type", "%v", err)
		return
	}
	var broken *jsonschema.ValidationError
	if err := s.compiled.Validate(v); errors.As(err, &broken) {
		var found fault.Fields
		collect(&found, prefix, broken)
		// The library goes through objects in no order.
		slices.SortStableFunc(found, func(a, b fault.Field) int { return strings.Compare(a.Field, b.Field) })
		*all = append(*all, found...)
	}
}

var english = message.NewPrinter(language.English)

// collect flattens the tree of complaints to its leaves. Of alternatives
// (anyOf, oneOf) it reports only that none fits: each alternative's reasons
// would contradict one another.
func collect(all *fault.Fields, prefix string, e *jsonschema.ValidationError) {
	at := prefix + fieldPath(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			all.Add(join(at, name), "required", "%s is required.", name)
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			all.Add(join(at, name), "unknown_field", "There is no field %s.", name)
		}
		return
	case *kind.AnyOf, *kind.OneOf:
		all.Add(at, "schema_violation", "The value fits none of the schema's alternatives, or more than it may.")
		return
	}
	if len(e.Causes) == 0 {
		all.Add(at, codeOf(e.ErrorKind), "%s.", e.ErrorKind.LocalizedString(english))
		return
	}
	for _, cause := range e.Causes {
		collect(all, prefix, cause)
	}
}

func codeOf(k jsonschema.ErrorKind) string {
	switch k.(type) {
	case *kind.Type:
		return "wrong_type"
	case *kind.Enum, *kind.Const:
		return "not_one_of"
	case *kind.Format, *kind.Pattern:
		return "wrong_format"
	case *kind.MinLength:
		return "too_short"
	case *kind.MaxLength:
		return "too_long"
	case *kind.MinItems, *kind.MinProperties:
		return "too_few"
	case *kind.MaxItems, *kind.MaxProperties:
		return "too_many"
	case *kind.UniqueItems:
		return "duplicate"
	case *kind.Minimum, *kind.Maximum, *kind.ExclusiveMinimum, *kind.ExclusiveMaximum, *kind.MultipleOf:
		return "out_of_range"
	case *kind.FalseSchema:
		return "unknown_field"
	default:
		return "schema_violation"
	}
}

func fieldPath(location []string) string {
	var b strings.Builder
	for _, part := range location {
		if _, err := strconv.ParseUint(part, 10, 32); err == nil {
			fmt.Fprintf(&b, "[%s]", part)
			continue
		}
		b.WriteByte('.')
		b.WriteString(part)
	}
	return b.String()
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// plain turns a value into what the schema library reads: JSON's types, with
// exact numbers.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

// Merge lays own over defaults, object by object, and returns a new map: what is
// in force where a tenant says nothing. A null in own takes the default away
// (RFC 7396).
func Merge(defaults, own map[string]any) map[string]any {
	out := make(map[string]any, len(defaults)+len(own))
	maps.Copy(out, defaults)
	for k, v := range own {
		if v == nil {
			delete(out, k)
			continue
		}
		child, isMap := v.(map[string]any)
		if base, both := out[k].(map[string]any); isMap && both {
			out[k] = Merge(base, child)
			continue
		}
		if isMap {
			out[k] = Merge(nil, child)
			continue
		}
		out[k] = v
	}
	return out
}
