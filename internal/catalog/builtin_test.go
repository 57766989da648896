package catalog_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
)

var update = flag.Bool("update", false, "rewrite the list of event types in docs/events.md")

// docs/events.md ends with the list of landlord's own types.
func TestBuiltInEventTypes_doc(t *testing.T) {
	t.Parallel()
	const page = "../../docs/events.md"
	const head = "\n| type | |\n|---|---|\n"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, rows, found := strings.Cut(string(b), head)
	if !found {
		t.Fatalf("%s has no table that begins with %q", page, head)
	}
	want := ""
	for _, e := range catalog.BuiltInEventTypes() {
		want += fmt.Sprintf("| `%s` | %s |\n", e.Name, e.Description)
	}
	if *update {
		if err := os.WriteFile(page, []byte(text+head+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if rows != want {
		t.Errorf("%s does not end with the event types of builtin.go: run make goldens", page)
	}
}

func TestBuiltInEventTypes_schemas(t *testing.T) {
	t.Parallel()
	for _, e := range catalog.BuiltInEventTypes() {
		schema, err := catalog.CompileSchema(e.Schema)
		if err != nil || schema == nil || !e.BuiltIn {
			t.Errorf("%s: schema %v, built in %t, %v", e.Name, e.Schema, e.BuiltIn, err)
			continue
		}
		var broken fault.Fields
		if schema.Validate(&broken, "payload", map[string]any{}); len(broken) == 0 {
			t.Errorf("the schema of %s accepts a payload that says nothing", e.Name)
		}
	}
}
