package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	many := func(last string) string {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `"%d":0,`, i)
		}
		return "{" + b.String() + last + ":0}"
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, want := range map[string]error{
		``:                        nil,
		`{`:                       nil, // the decoder's business, as all that is no JSON
		`]}`:                      nil,
		`{"a`:                     nil,
		`{"a\`:                    nil,
		`{"a\u00`:                 nil,
		`"\ud800\`:                errSurrogate,
		`{"a":"b"}`:               nil,
		"{\"a\":\"\xff\"}":        errBadUTF8,
		"{\"a\":\"\x00\"}":        errNUL,
		`{"a":"\u0000"}`:          errNUL,
		`{"\u0000":1}`:            errNUL,
		`{"a":"\\u0000"}`:         nil, // a backslash and u0000
		`{"a":"\\\u0000"}`:        errNUL,
		`{"a":"\"\\\\u0000"}`:     nil,
		`{"a":"\u00000","b":1}`:   errNUL,
		`{"a":"\ud83d\ude00"}`:    nil,
		`{"a":"\ud83d"}`:          errSurrogate,
		`{"a":"\ude00\ud83d"}`:    errSurrogate,
		`{"a":"\ud83dx\ude00"}`:   errSurrogate,
		`{"a":"\uD83D\u0041"}`:    errSurrogate,
		`{"a":"\\ud83d"}`:         nil,
		deep(maxDepth):            nil,
		deep(maxDepth + 1):        errDepth,
		`"` + deep(200) + `"`:     nil,
		strings.Repeat("[", 1e6):  errDepth,
		`{"a":1,"a":2}`:           errTwice,
		`{"a":1,"\u0061":2}`:      errTwice,
		`{"a":{"b":1,"b":2}}`:     errTwice,
		`{"a":{"b":1},"b":2}`:     nil,
		`[{"a":1},{"a":1}]`:       nil,
		`{"a":["a","a"],"b":"a"}`: nil,
		`{"a":[{"x":1}],"a":2}`:   errTwice,
		`{"":1,"":2}`:             errTwice,
		`{"a":1,"A":2}`:           nil, // two names
		many(`"x"`):               nil,
		many(`"7"`):               errTwice,
		many(`"99"`):              errTwice,
	} {
		if got := checkJSON([]byte(body)); !errors.Is(got, want) {
			t.Errorf("%.60q: got %v, want %v", body, got, want)
		}
	}
}

// What is let through is what the decoder makes of it: text that can be stored,
// no replaced characters, and no name that was overwritten.
func FuzzUnmarshalJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":"\u0000"}`, "{\"a\":\"\xff\"}", `{"a":1,"\u0061":[{"b":{}},"\ud83d\ude00"]}`, `[{"a":"\ud800"},{"":null,"a":{"":1}}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if err := unmarshalJSON(b, &v); err != nil {
			return
		}
		names, replaced := 0, bytes.Contains(b, []byte("�")) || bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`))
		text := func(s string) {
			if !storable(s) || !replaced && strings.Contains(s, "�") {
				t.Fatalf("%q let %q through", b, s)
			}
		}
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case string:
				text(v)
			case []any:
				for _, x := range v {
					walk(x)
				}
			case map[string]any:
				for k, x := range v {
					names++
					text(k)
					walk(x)
				}
			}
		}
		walk(v)
		if want := countNames(b); names != want {
			t.Fatalf("%q has %d names, %d were left", b, want, names)
		}
	})
}

// countNames counts the names of a document's objects by its tokens.
func countNames(b []byte) (n int) {
	d := json.NewDecoder(bytes.NewReader(b))
	type level struct {
		object bool
		tokens int
	}
	levels := []level{{}}
	for {
		token, err := d.Token()
		if err != nil {
			return n
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		top := &levels[len(levels)-1]
		if top.object && top.tokens%2 == 0 {
			n++
		}
		top.tokens++
		if delim, ok := token.(json.Delim); ok {
			levels = append(levels, level{object: delim == '{'})
		}
	}
}
