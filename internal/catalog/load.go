package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/landlordhq/landlord/internal/fault"
)

// Problem is a complaint about a place in a catalogue's files.
type Problem struct {
	File    string
	Line    int // 1 is the first; 0: the file as a whole
	Field   string
	Code    string
	Message string
}

// String gives file:line: field: message.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where += ":" + strconv.Itoa(p.Line)
	}
	if p.Field == "" {
		return where + ": " + p.Message
	}
	return where + ": " + p.Field + ": " + p.Message
}

// Problems is everything that is wrong with a catalogue's files.
type Problems []Problem

// Error implements error, with one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxFile bounds what a catalogue's file may hold.
const maxFile = 1 << 20

// Files lists the catalogue's files of fsys, sorted: those named, and of a folder
// (with those below it) every *.yaml and *.yml.
func Files(fsys fs.FS, name string) ([]string, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var out []string
	err = fs.WalkDir(fsys, name, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (path.Ext(p) == ".yaml" || path.Ext(p) == ".yml") {
			out = append(out, p)
		}
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s holds no *.yaml or *.yml file", name)
	}
	return out, err
}

// Load reads files of fsys as one catalogue and validates it. What is wrong with
// their content is returned as Problems: all of it, each with its file and line.
func Load(fsys fs.FS, names ...string) (Document, error) {
	l := loader{places: map[string]place{}}
	for _, name := range names {
		raw, err := read(fsys, name)
		if err != nil {
			return Document{}, err
		}
		l.file(name, raw)
	}
	// What a document means is only worth saying once it can be read.
	if len(l.problems) == 0 {
		err := l.doc.Validate()
		if f := (*fault.Error)(nil); errors.As(err, &f) {
			for _, c := range f.Fields {
				l.complain(c)
			}
		} else if err != nil {
			return Document{}, err
		}
	}
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int {
			if c := strings.Compare(a.File, b.File); c != 0 {
				return c
			}
			return a.Line - b.Line
		})
		return Document{}, l.problems
	}
	return l.doc, nil
}

func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return raw, err
}

// place is where a field of the document stands.
type place struct {
	file string
	line int
}

type loader struct {
	doc      Document
	places   map[string]place // by the path that Document.Validate reports
	problems Problems
	current  string // the file that is being read
}

// file reads the YAML documents of one file and appends them to the catalogue.
func (l *loader) file(name string, raw []byte) {
	l.current = name
	parsed, err := parser.ParseBytes(raw, 0)
	if err != nil {
		l.syntax(err)
		return
	}
	values := yaml.NewDecoder(bytes.NewReader(raw))
	for _, d := range parsed.Docs {
		var value any
		if err := values.Decode(&value); err != nil {
			if !errors.Is(err, io.EOF) {
				l.syntax(err)
			}
			return
		}
		if d.Body == nil || value == nil {
			continue
		}
		l.document(d.Body, value)
	}
}

func (l *loader) syntax(err error) {
	p := Problem{File: l.current, Code: "yaml_malformed", Message: err.Error()}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		p.Message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			p.Line = t.Position.Line
		}
	}
	l.problems = append(l.problems, p)
}

func (l *loader) document(body ast.Node, value any) {
	// The sections of this document follow those read before it, so its paths
	// start at their ends.
	offset := map[string]int{
		"products": len(l.doc.Products), "plans": len(l.doc.Plans), "meters": len(l.doc.Meters),
		"settings": len(l.doc.Settings), "event_types": len(l.doc.EventTypes),
	}
	shift := func(path string) string {
		section, rest, ok := strings.Cut(path, "[")
		if n := offset[section]; ok && n > 0 {
			if i, tail, ok := strings.Cut(rest, "]"); ok {
				if k, err := strconv.Atoi(i); err == nil {
					return fmt.Sprintf("%s[%d]%s", section, k+n, tail)
				}
			}
		}
		return path
	}
	l.places[""] = place{l.current, 0}
	index(body, "", func(path string, line int) { l.places[shift(path)] = place{l.current, line} })
	var wrong fault.Fields
	shape(&wrong, "", value, reflect.TypeFor[Document]())
	for _, f := range wrong {
		f.Field = shift(f.Field)
		l.complain(f)
	}
	if len(wrong) > 0 {
		return
	}
	raw, err := json.Marshal(value)
	if err == nil {
		var d Document
		if err = json.Unmarshal(raw, &d); err == nil {
			l.doc.Products = append(l.doc.Products, d.Products...)
			l.doc.Plans = append(l.doc.Plans, d.Plans...)
			l.doc.Meters = append(l.doc.Meters, d.Meters...)
			l.doc.Settings = append(l.doc.Settings, d.Settings...)
			l.doc.EventTypes = append(l.doc.EventTypes, d.EventTypes...)
		}
	}
	if err != nil {
		l.problems = append(l.problems, Problem{File: l.current, Code: "wrong_type", Message: err.Error()})
	}
}

// complain gives a field its place: its own, or that of what encloses it.
func (l *loader) complain(f fault.Field) {
	for at := f.Field; ; {
		if p, ok := l.places[at]; ok {
			l.problems = append(l.problems, Problem{File: p.file, Line: p.line, Field: f.Field, Code: f.Code, Message: f.Message})
			return
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
}

// index tells the line of every field below a node.
func index(n ast.Node, path string, at func(path string, line int)) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			index(v, path, at)
		}
	case *ast.MappingValueNode:
		key := join(path, n.Key.GetToken().Value)
		at(key, n.Key.GetToken().Position.Line)
		index(n.Value, key, at)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			item := fmt.Sprintf("%s[%d]", path, i)
			at(item, v.GetToken().Position.Line)
			index(v, item, at)
		}
	case *ast.AnchorNode:
		index(n.Value, path, at)
	case *ast.TagNode:
		index(n.Value, path, at)
	}
}

// shape compares a value that was read with the type it is meant for and reports
// every unknown field and wrong type, which a decoder would do one at a time.
func shape(all *fault.Fields, path string, value any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		if value == nil {
			return
		}
		t = t.Elem()
	}
	if k := t.Kind(); value == nil && (k == reflect.Struct || k == reflect.Slice || k == reflect.Map) {
		return // "products:" with nothing behind it
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that a document has; anything else is any value
	case reflect.Struct:
		m, ok := value.(map[string]any)
		if !ok {
			all.Add(path, "wrong_type", "This is a mapping of fields, not %s.", kindName(value))
			return
		}
		fields := fieldTypes(t)
		for _, name := range sortedKeys(m) {
			if ft, known := fields[name]; known {
				shape(all, join(path, name), m[name], ft)
				continue
			}
			all.Add(join(path, name), "unknown_field", "There is no field %s here.", name)
		}
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			all.Add(path, "wrong_type", "This is a list, not %s.", kindName(value))
			return
		}
		for i, v := range list {
			shape(all, fmt.Sprintf("%s[%d]", path, i), v, t.Elem())
		}
	case reflect.Map:
		m, ok := value.(map[string]any)
		if !ok {
			all.Add(path, "wrong_type", "This is a mapping, not %s.", kindName(value))
			return
		}
		for _, name := range sortedKeys(m) {
			shape(all, join(path, name), m[name], t.Elem())
		}
	case reflect.String:
		if _, ok := value.(string); !ok {
			all.Add(path, "wrong_type", "This is text, not %s: put it in quotes.", kindName(value))
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			all.Add(path, "wrong_type", "This is true or false, not %s.", kindName(value))
		}
	case reflect.Int, reflect.Int64:
		switch value.(type) {
		case int, int64, uint64:
		default:
			all.Add(path, "wrong_type", "This is a whole number, not %s.", kindName(value))
		}
	}
}

// fieldTypes gives the fields of a struct by their JSON names.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func kindName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		return "text"
	case bool:
		return "true or false"
	default:
		return "a number"
	}
}

// YAML writes a document as a file that Load reads.
func (d Document) YAML() ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(raw)
}
