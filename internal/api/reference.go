package api

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed reference.html
var referenceHTML string

// reference is the browsable form of the OpenAPI document. It is made on the
// server and loads nothing from elsewhere, so that it works behind any wall.
type reference struct {
	Title, Description string
	Tags               []refTag
	Schemas            []refSchema
	Codes              []errorCode
	FieldCodes         []errorCode
}

type refTag struct {
	Name string
	Ops  []refOp
}

type refOp struct {
	ID, Method, Path, Summary, Description string
	Creates                                bool
	Params                                 []refField
	Body                                   []refField
	Success                                string
	Answer                                 string // name of the schema
	Errors                                 string
}

type refField struct {
	Name, In, Type, Doc, Rules, Ref string
	Required                        bool
}

type refSchema struct {
	Name, Doc string
	Fields    []refField
}

func (a *API) referenceRoutes() {
	page := template.Must(template.New("reference").Parse(referenceHTML))
	render := sync.OnceValues(func() ([]byte, error) {
		var b bytes.Buffer
		err := page.Execute(&b, a.reference())
		return b.Bytes(), err
	})
	serve := func(w http.ResponseWriter, r *http.Request) {
		body, err := render()
		if err != nil {
			writeProblem(w, r, a.answer(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		_, _ = w.Write(body) // the caller may be gone
	}
	a.mux.HandleFunc("GET /docs", serve)
	// A problem's type is /docs/errors#CODE; the page has the anchors.
	a.mux.HandleFunc("GET /docs/errors", serve)
}

func (a *API) reference() reference {
	doc := a.huma.OpenAPI()
	ref := reference{Title: doc.Info.Title, Description: doc.Info.Description, Codes: errorCodes, FieldCodes: fieldCodes}
	byTag := map[string][]refOp{}
	for path, item := range doc.Paths {
		for method, o := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if o != nil {
				byTag[o.Tags[0]] = append(byTag[o.Tags[0]], a.refOp(method, path, o))
			}
		}
	}
	for tag, ops := range byTag {
		slices.SortFunc(ops, func(x, y refOp) int {
			return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(methodOrder(x.Method), methodOrder(y.Method)))
		})
		ref.Tags = append(ref.Tags, refTag{tag, ops})
	}
	slices.SortFunc(ref.Tags, func(x, y refTag) int { return cmp.Compare(x.Name, y.Name) })
	for name, s := range doc.Components.Schemas.Map() {
		if s.Type == "object" {
			ref.Schemas = append(ref.Schemas, refSchema{Name: name, Doc: s.Description, Fields: fieldsOf(s)})
		}
	}
	slices.SortFunc(ref.Schemas, func(x, y refSchema) int { return cmp.Compare(x.Name, y.Name) })
	return ref
}

func methodOrder(m string) int {
	return slices.Index([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, m)
}

func (a *API) refOp(method, path string, o *huma.Operation) refOp {
	r := refOp{
		ID: o.OperationID, Method: method, Path: path, Summary: o.Summary, Description: o.Description,
		Creates: a.ops[method+" "+path].Creates,
	}
	for _, p := range o.Parameters {
		f := refField{Name: p.Name, In: p.In, Type: typeOf(p.Schema), Doc: p.Description, Rules: rulesOf(p.Schema), Required: p.Required}
		if f.Doc == "" && p.Schema != nil {
			f.Doc = p.Schema.Description
		}
		r.Params = append(r.Params, f)
	}
	if o.RequestBody != nil {
		for _, m := range o.RequestBody.Content {
			r.Body = fieldsOf(a.resolve(m.Schema))
			break
		}
	}
	var errs []string
	for status, resp := range o.Responses {
		if status[0] == '2' {
			r.Success = status
			for _, m := range resp.Content {
				r.Answer = refName(m.Schema)
			}
		} else {
			errs = append(errs, status)
		}
	}
	slices.Sort(errs)
	r.Errors = strings.Join(errs, ", ")
	return r
}

func (a *API) resolve(s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return a.huma.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

func fieldsOf(s *huma.Schema) []refField {
	if s == nil {
		return nil
	}
	var fields []refField
	for name, p := range s.Properties {
		fields = append(fields, refField{
			Name: name, Type: typeOf(p), Doc: p.Description, Rules: rulesOf(p), Ref: refName(p), Required: slices.Contains(s.Required, name),
		})
	}
	slices.SortFunc(fields, func(x, y refField) int {
		if x.Required != y.Required {
			if x.Required {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Name, y.Name)
	})
	return fields
}

func refName(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Items != nil:
		return refName(s.Items)
	default:
		return ""
	}
}

func typeOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return "any"
	case s.Ref != "":
		return refName(s)
	case s.Type == "array":
		return "array of " + typeOf(s.Items)
	case s.Type == "":
		return "any"
	case s.Format != "" && s.Format != "int64" && s.Format != "double":
		return s.Type + ", " + s.Format
	default:
		return s.Type
	}
}

func rulesOf(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	var rules []string
	add := func(format string, v any) { rules = append(rules, fmt.Sprintf(format, v)) }
	enum := s.Enum
	if s.Items != nil {
		enum = append(enum, s.Items.Enum...)
	}
	if len(enum) > 0 {
		var vs []string
		for _, v := range enum {
			vs = append(vs, fmt.Sprint(v))
		}
		add("one of %s", strings.Join(vs, ", "))
	}
	if s.Minimum != nil {
		add("≥ %s", strconv.FormatFloat(*s.Minimum, 'f', -1, 64))
	}
	if s.Maximum != nil {
		add("≤ %s", strconv.FormatFloat(*s.Maximum, 'f', -1, 64))
	}
	if s.MaxLength != nil {
		add("at most %d characters", *s.MaxLength)
	}
	if s.MaxItems != nil {
		add("at most %d", *s.MaxItems)
	}
	if s.Pattern != "" {
		add("matches %s", s.Pattern)
	}
	if s.Default != nil {
		add("default %v", s.Default)
	}
	if s.Nullable {
		rules = append(rules, "null clears it")
	}
	return strings.Join(rules, "; ")
}
