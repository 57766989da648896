package patch_test

import (
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
