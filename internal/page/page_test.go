package page_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/page"
)

type key struct {
	Name string
	N    int
}

func TestCursor_roundTrip(t *testing.T) {
	t.Parallel()
	in := key{"a\"b", 7}
	got, ok, err := page.Decode[key]("tenants", page.Encode("tenants", in))
	if err != nil || !ok || got != in {
		t.Errorf("got %v, %v, %v", got, ok, err)
	}
}

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]string{
		"not base64":   "!!!",
		"not JSON":     "bm8",
		"another list": page.Encode("keys", key{"a", 1}),
		"wrong type":   page.Encode("tenants", []int{1}),
	} {
		if _, _, err := page.Decode[key]("tenants", c); fault.CodeOf(err) != "cursor_malformed" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	ident := func(n int) int { return n }
	for name, tc := range map[string]struct {
		rows []int
		want page.Page[int]
	}{
		"none":      {nil, page.Page[int]{Data: []int{}}},
		"just full": {[]int{1, 2}, page.Page[int]{Data: []int{1, 2}}},
		"one more":  {[]int{1, 2, 3}, page.Page[int]{Data: []int{1, 2}, Next: page.Encode("n", 2)}},
	} {
		if d := cmp.Diff(tc.want, page.Of("n", page.Request{Limit: 2}, tc.rows, ident)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(page.Encode("tenants", key{"a", 1}))
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, err := page.Decode[key]("tenants", s); err != nil && fault.CodeOf(err) != "cursor_malformed" {
			t.Fatal(err)
		}
	})
}
