package api

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestOpenAPI_golden holds the contract: whatever changes in it shows in a
// review. -update rewrites the file.
func TestOpenAPI_golden(t *testing.T) {
	t.Parallel()
	got, err := New(Services{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the API is no longer what openapi.json says: if that is meant, run go test ./internal/api -update and read the difference")
	}
}

// TestOpenAPI_parameters finds inputs whose parameters the framework did not see.
func TestOpenAPI_parameters(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct {
				Name, In string
			} `json:"parameters"`
		} `json:"paths"`
	}
	raw, err := New(Services{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for _, o := range methods {
			has := map[string]bool{}
			for _, p := range o.Parameters {
				has[p.In+"."+p.Name] = true
			}
			for part := range strings.SplitSeq(path, "/") {
				if name, ok := strings.CutPrefix(part, "{"); ok && !has["path."+strings.TrimSuffix(name, "}")] {
					t.Errorf("%s: %s is no parameter of %s", o.OperationID, part, path)
				}
			}
			if strings.HasPrefix(o.OperationID, "list-") && !has["query.cursor"] {
				t.Errorf("%s: a list without a cursor", o.OperationID)
			}
		}
	}
}
