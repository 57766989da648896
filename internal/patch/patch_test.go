package patch_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/landlordhq/landlord/internal/patch"
)

func TestField(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		f       patch.Field[string]
		want    string
		present bool
	}{
		"absent": {patch.Field[string]{}, "before", false},
		"null":   {patch.Null[string](), "", true},
		"value":  {patch.Set("after"), "after", true},
	} {
		got := "before"
		if present := tc.f.Apply(&got); got != tc.want || present != tc.present {
			t.Errorf("%s: got %q, %v", name, got, present)
		}
		before := "before"
		ptr := &before
		tc.f.ApplyPtr(&ptr)
		if (ptr == nil) != (name == "null") {
			t.Errorf("%s: pointer is %v", name, ptr)
		}
	}
}

// The examples of RFC 7396, appendix A, whose target and patch are objects.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ to, by, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`null`, `{"a":1}`, `{"a":1}`},
	} {
		object := func(text string) (m map[string]any) {
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			return m
		}
		to := object(tc.to)
		if got, want := patch.Merge(to, object(tc.by)), object(tc.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s by %s: %v, want %v", tc.to, tc.by, got, want)
		}
		if !reflect.DeepEqual(to, object(tc.to)) {
			t.Errorf("%s by %s changed what it was given: %v", tc.to, tc.by, to)
		}
	}
}
