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

func TestHasNUL(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"a":"b"}`:             false,
		"{\"a\":\"\x00\"}":      true,
		`{"a":"\u0000"}`:        true,
		`{"a":"\\u0000"}`:       false, // a backslash and u0000
		`{"a":"\\\u0000"}`:      true,
		`{"a":"\"\\\\u0000"}`:   false,
		`{"a":"\u00000","b":1}`: true,
	} {
		if got := hasNUL([]byte(body)); got != want {
			t.Errorf("%q: got %v", body, got)
		}
	}
}

func FuzzUnmarshalJSON(f *testing.F) {
	f.Add([]byte(`{"a":"\u0000"}`))
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if err := unmarshalJSON(b, &v); err != nil {
			return
		}
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case string:
				if !storable(v) {
					t.Fatalf("%q let %q through", b, v)
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			case map[string]any:
				for k, x := range v {
					walk(k)
					walk(x)
				}
			}
		}
		walk(v)
	})
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
