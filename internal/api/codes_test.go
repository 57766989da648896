package api

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// codesInUse walks the house and collects every code that is written as a
// literal in a call or composite that makes a fault or a problem.
func codesInUse(t *testing.T) (whole, fields map[string]string) {
	t.Helper()
	whole, fields = map[string]string{}, map[string]string{}
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasSuffix(path, "test") || d.Name() == "testdata") && path != root {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := callee(n.Fun)
				switch name {
				case "fault.New", "problem":
					note(whole, fset, n, 1)
				case "fault.Conflict":
					note(whole, fset, n, 0)
				case "fault.NotFound":
					if s, ok := literal(n.Args, 0); ok {
						whole[s+"_not_found"] = fset.Position(n.Pos()).String()
					}
				case "pg.Found":
					if s, ok := literal(n.Args, 1); ok {
						whole[s+"_not_found"] = fset.Position(n.Pos()).String()
					}
				case "fault.InvalidField":
					note(fields, fset, n, 1)
				default:
					if strings.HasSuffix(name, ".Add") && len(n.Args) >= 3 {
						note(fields, fset, n, 1)
					}
					if strings.HasSuffix(name, ".Check") && len(n.Args) >= 4 {
						note(fields, fset, n, 2)
					}
				}
			case *ast.CompositeLit:
				typ := callee(n.Type)
				for _, e := range n.Elts {
					kv, ok := e.(*ast.KeyValueExpr)
					if !ok || callee(kv.Key) != "Code" {
						continue
					}
					if s, ok := literal([]ast.Expr{kv.Value}, 0); ok {
						switch typ {
						case "fault.Error":
							whole[s] = fset.Position(n.Pos()).String()
						case "fault.Field":
							fields[s] = fset.Position(n.Pos()).String()
						}
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codes {
		fields[c.code] = "problem.go"
	}
	fields["invalid"], fields["id_malformed"] = "problem.go", "problem.go"
	whole["internal"], whole["invalid_request"], whole["stale_version"] = "fault", "fault", "fault"
	return whole, fields
}

func callee(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return callee(e.X) + "." + e.Sel.Name
	default:
		return ""
	}
}

func literal(args []ast.Expr, i int) (string, bool) {
	if i >= len(args) {
		return "", false
	}
	l, ok := args[i].(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

func note(into map[string]string, fset *token.FileSet, n *ast.CallExpr, arg int) {
	if s, ok := literal(n.Args, arg); ok {
		into[s] = fset.Position(n.Pos()).String()
	}
}

// TestCodes_areListed holds the tables of codes.go to what the house uses.
func TestCodes_areListed(t *testing.T) {
	t.Parallel()
	whole, fields := codesInUse(t)
	for what, tc := range map[string]struct {
		used   map[string]string
		listed []errorCode
	}{"errorCodes": {whole, errorCodes}, "fieldCodes": {fields, fieldCodes}} {
		if !slices.IsSortedFunc(tc.listed, func(a, b errorCode) int { return strings.Compare(a.Code, b.Code) }) {
			t.Errorf("%s is not in alphabetical order", what)
		}
		listed := map[string]bool{}
		for _, c := range tc.listed {
			listed[c.Code] = true
			if _, ok := tc.used[c.Code]; !ok {
				t.Errorf("%s lists %s, which nothing uses", what, c.Code)
			}
		}
		for code, where := range tc.used {
			if !listed[code] {
				t.Errorf("%s: %s is missing in %s of codes.go", where, code, what)
			}
		}
	}
}

// TestCodes_doc holds docs/errors.md to the tables; -update rewrites it.
func TestCodes_doc(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Errors\n\nEvery error is an RFC 9457 problem document (`application/problem+json`) with a stable `code`; the same list is served at `/docs/errors`.\n" +
		"This page is made from `internal/api/codes.go` (`make goldens`).\n\n" +
		"```json\n{\"type\":\"/docs/errors#slug_taken\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"…\",\"instance\":\"/v1/tenants\",\"code\":\"slug_taken\",\n \"errors\":[{\"field\":\"slug\",\"code\":\"slug_taken\",\"message\":\"…\"}],\"request_id\":\"req_…\"}\n```\n\n" +
		"| code | status | meaning and what to do |\n|---|---|---|\n")
	for _, c := range errorCodes {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", c.Code, c.Status, c.Meaning)
	}
	b.WriteString("\n## Codes of single fields\n\nIn `errors[].code`.\n\n| code | meaning |\n|---|---|\n")
	for _, c := range fieldCodes {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.Code, c.Meaning)
	}
	golden := filepath.Join("..", "..", "docs", "errors.md")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Error("docs/errors.md is not what codes.go says: run go test ./internal/api -update")
	}
}
