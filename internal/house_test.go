// Package internal_test holds the house's own rules: which room may import which, and which library
// lives where ("Import directions" in docs/architecture.md). depguard, in .golangci.yml, says a part of
// it earlier, in the editor.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/landlordhq/landlord"

// layer is a floor of the house. A room imports rooms of lower floors only; what it may import of its
// own floor, allowed says.
type layer int

const (
	outside    layer = iota + 1 // client and examples: import nothing of ours
	ground                      // knows no noun of ours
	capability                  // types, rules, operations and SQL of one noun
	face                        // a wire format
	root                        // app, the composition root
	command                     // programs
	testHelper                  // imported by _test files only
)

// rooms is the plan of the house, by folder (below internal/ unless it says otherwise). A folder that
// isn't here fails TestHouse_rooms: add it with its layer, and to docs/architecture.md with its purpose.
var rooms = map[string]layer{
	"app": root,

	"api":     face,
	"gateway": face,

	"apikey":      capability,
	"audit":       capability,
	"catalog":     capability,
	"entitlement": capability,
	"event":       capability,
	"operator":    capability,
	"project":     capability,
	"tenant":      capability,
	"webhook":     capability,

	"access":      ground,
	"changefeed":  ground,
	"embeddedpg":  ground,
	"fault":       ground,
	"id":          ground,
	"idempotency": ground,
	"outbound":    ground,
	"page":        ground,
	"patch":       ground,
	"pg":          ground,
	"ratelimit":   ground,
	"scanning":    ground,
	"secret":      ground,
	"telemetry":   ground,
	"worker":      ground,

	"apptest":   testHelper,
	"pgtest":    testHelper,
	"redistest": testHelper,

	"/client":     outside,
	"/examples":   outside,
	"/migrations": ground,

	"/cmd/landlord": command,
	"/cmd/migrate":  command,
}

// arrows are the imports between capabilities, each with its reason. A new one needs a line in
// docs/architecture.md too. "*" is every other capability.
var arrows = []struct{ from, to, because string }{
	{"*", "audit", "a mutation and its audit record commit together"},
	{"*", "event", "a mutation and its outbox event commit together"},
	{"entitlement", "catalog", "a product's manifest says what an entitlement's config may hold"},
}

// forbiddenNames say nothing about what is inside.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "base", "core", "shared"}

// libraries that one place of the house keeps to itself. Only non-test files are held to it: a test
// may look at the world with what it likes.
var libraries = []struct {
	prefix  string
	allowed func(file goFile) bool
	rule    string
}{
	{
		"github.com/danielgtaylor/huma",
		func(f goFile) bool { return f.room == "api" },
		"only api imports the OpenAPI framework",
	},
	{
		"github.com/alecthomas/kong",
		func(f goFile) bool { return rooms[f.room] == command },
		"only cmd imports the CLI library",
	},
	{
		"github.com/jackc/pgx",
		func(f goFile) bool {
			return path.Base(f.path) == "sql.go" ||
				slices.Contains([]string{"pg", "changefeed", "pgtest", "embeddedpg", "/migrations", "/cmd/migrate"}, f.room)
		},
		"only pg, changefeed, the database's helpers, sql.go files and the migrator import the driver",
	},
	{
		"github.com/redis/go-redis",
		func(f goFile) bool { return f.room == "ratelimit" },
		"only ratelimit imports Redis's client",
	},
	{
		"golang.org/x/crypto",
		func(f goFile) bool { return f.room == "secret" },
		"only secret makes and checks digests",
	},
	{
		"code.dny.dev/ssrf",
		func(f goFile) bool { return f.room == "outbound" },
		"only outbound imports the egress guard: it is the one client for URLs of tenants",
	},
	{
		"google.golang.org/grpc",
		func(f goFile) bool { return f.room == "gateway" },
		"only gateway imports gRPC",
	},
	{
		"github.com/envoyproxy/go-control-plane",
		func(f goFile) bool { return f.room == "gateway" },
		"only gateway imports Envoy's protos",
	},
	{
		"google.golang.org/protobuf",
		func(f goFile) bool { return f.room == "gateway" },
		"only gateway imports protobuf",
	},
	{
		"html/template",
		func(f goFile) bool { return rooms[f.room] != capability && rooms[f.room] != ground },
		"templates are a face's",
	},
	{
		"text/template",
		func(f goFile) bool { return rooms[f.room] != capability && rooms[f.room] != ground },
		"templates are a face's",
	},
}

// allowed tells whether a non-test file of one room may import another room.
func allowed(from, to string) bool {
	if from == to {
		return true
	}
	switch rooms[from] {
	case outside:
		return false
	case ground:
		return rooms[to] == ground
	case capability:
		return rooms[to] == ground || slices.ContainsFunc(arrows, func(a struct{ from, to, because string }) bool {
			return a.to == to && (a.from == from || a.from == "*")
		})
	case face:
		return rooms[to] == ground || rooms[to] == capability
	case root:
		return rooms[to] == ground || rooms[to] == capability || rooms[to] == face || to == "/examples"
	case command:
		return rooms[to] != face && rooms[to] != testHelper && rooms[to] != command
	case testHelper:
		return rooms[to] != command
	}
	return false
}

// roomOf names the room of a folder, given from the module's root: "apikey", or "/cmd/landlord".
func roomOf(folder string) string {
	if rest, ok := strings.CutPrefix(folder, "internal/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	if rest, ok := strings.CutPrefix(folder, "cmd/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return "/cmd/" + name
	}
	name, _, _ := strings.Cut(folder, "/")
	return "/" + name
}

func TestHouse_rooms(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.room == "/internal" {
			continue // this file
		}
		if rooms[f.room] == 0 {
			t.Errorf("%s: the house has no room %q; add it to rooms in internal/house_test.go and to docs/architecture.md", f.path, f.room)
		}
		for _, name := range append(strings.Split(path.Dir(f.path), "/"), f.pkg) {
			if slices.Contains(forbiddenNames, name) {
				t.Errorf("%s: nothing is named %q; name it after what it holds", f.path, name)
			}
		}
	}
}

func TestHouse_imports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.room()
		for _, imported := range p.Imports {
			to, ours := roomOfImport(imported)
			if ours && !allowed(from, to) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, "see \"Import directions\" in docs/architecture.md")
			}
		}
	}
}

// What a package links in, however deep: a path through a third room is an import too.
func TestHouse_dependencies(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := p.room()
		for _, dep := range p.Deps {
			to, ours := roomOfImport(dep)
			if !ours || to == from {
				continue
			}
			below := true
			switch rooms[from] {
			case outside:
				below = false
			case ground:
				below = rooms[to] == ground
			case capability:
				below = rooms[to] == ground || rooms[to] == capability
			case face:
				below = rooms[to] == ground || rooms[to] == capability
			case root, command:
				below = rooms[to] != testHelper
			case testHelper:
			}
			if !below {
				t.Errorf("%s depends on %s, through what it imports", p.ImportPath, dep)
			}
		}
	}
}

func TestHouse_libraries(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for _, imported := range f.imports {
			for _, lib := range libraries {
				if (imported == lib.prefix || strings.HasPrefix(imported, lib.prefix+"/")) && !lib.allowed(f) {
					t.Errorf("%s imports %s: %s", f.path, imported, lib.rule)
				}
			}
		}
	}
}

// A capability takes the time from the `now` it was given, or a test can't tell it what day it is.
func TestHouse_clock(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test || rooms[f.room] != capability {
			continue
		}
		for _, line := range callsToTimeNow(t, f.path) {
			t.Errorf("%s:%d calls time.Now; use the service's now", f.path, line)
		}
	}
}

// A room that outgrows the others is two rooms.
func TestHouse_size(t *testing.T) {
	t.Parallel()
	const small = 16000 // below it the first rooms to land outweigh those that will
	lines, total := map[string]int{}, 0
	for _, f := range files(t) {
		if !f.test {
			lines[f.room] += f.lines
			total += f.lines
		}
	}
	if total <= small {
		return
	}
	for room, n := range lines {
		if n*5 > total {
			t.Errorf("%s holds %d of the house's %d lines, more than a fifth", room, n, total)
		}
	}
}

// listed is what `go list` tells about one of our packages.
type listed struct {
	ImportPath    string
	Imports, Deps []string
}

func (p listed) room() string {
	room, _ := roomOfImport(p.ImportPath)
	return room
}

func roomOfImport(imported string) (room string, ours bool) {
	folder, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return "", false
	}
	return roomOf(folder), true
}

// packages asks the go command for our packages and what they import, tests left out. (The test cache
// doesn't see what a child process reads; that files reads every source itself keeps it honest.)
func packages(t *testing.T) []listed {
	t.Helper()
	files(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if _, ours := roomOfImport(p.ImportPath); ours && p.ImportPath != module+"/internal" {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		t.Fatal("go list named none of our packages")
	}
	return all
}

// goFile is a source file: its path from the module's root, and what of it the rules look at.
type goFile struct {
	path    string
	room    string
	pkg     string
	imports []string
	lines   int
	test    bool
}

func files(t *testing.T) []goFile {
	t.Helper()
	var all []goFile
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, ".."), string(filepath.Separator)))
		if d.IsDir() {
			if rel != "" && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "tools"}, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := goFile{
			path:  rel,
			room:  roomOf(path.Dir(rel)),
			pkg:   parsed.Name.Name,
			lines: bytes.Count(src, []byte("\n")),
			test:  strings.HasSuffix(rel, "_test.go"),
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// callsToTimeNow returns the lines that call it; naming it as the default of a `now` field is no call.
func callsToTimeNow(t *testing.T, file string) []int {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, filepath.Join("..", filepath.FromSlash(file)), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Now" {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
			lines = append(lines, set.Position(call.Pos()).Line)
		}
		return true
	})
	return lines
}
