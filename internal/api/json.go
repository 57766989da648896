package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of a body may nest. Whoever needs
// more is attacking a parser: ours, PostgreSQL's, or that of who reads it back.
const maxDepth = 100

var (
	errBadUTF8   = errors.New("the body is not valid UTF-8")
	errNUL       = errors.New("the body holds a NUL character")
	errSurrogate = errors.New("the body holds half of a surrogate pair")
	errDepth     = errors.New("the body nests too deep")
	errTwice     = errors.New("the body has a name twice")
)

func marshalJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// unmarshalJSON refuses what PostgreSQL could not store, and what two parsers
// would understand differently, before anything acts on it. The framework calls
// it twice for a body, first with an *any to validate.
func unmarshalJSON(b []byte, v any) error {
	if _, first := v.(*any); first {
		if err := checkJSON(b); err != nil {
			return err
		}
	}
	return json.Unmarshal(b, v)
}

// checkJSON looks for what encoding/json takes, or quietly alters: text that is
// no text, half surrogate pairs, depths of thousands, and a name twice in an
// object. Of such a name the last value would be validated, but an object merged
// from both be acted on. What is no JSON at all is left to the decoder.
func checkJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errBadUTF8
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	var open []names // one for each object or array that i is in
	atName := false
	for i := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			if len(open) == maxDepth {
				return errDepth
			}
			atName = b[i] == '{'
			open = append(open, names{object: atName})
		case '}', ']':
			if len(open) == 0 {
				return nil
			}
			open = open[:len(open)-1]
			atName = false
		case ',':
			atName = len(open) > 0 && open[len(open)-1].object
		case '"':
			end, escaped, err := scanString(b, i)
			if err != nil {
				return err
			}
			if atName && !open[len(open)-1].add(b[i:end], escaped) {
				return errTwice
			}
			atName = false
			i = end
			continue
		}
		i++
	}
	return nil
}

// names are those of an object that were met.
type names struct {
	object bool
	few    [][]byte
	many   map[string]bool // instead of few
}

// add reports whether the name, in its quotes, is new.
func (n *names) add(quoted []byte, escaped bool) bool {
	name := quoted[1:max(1, len(quoted)-1)]
	if escaped { // "\u0061" is "a"
		var s string
		if json.Unmarshal(quoted, &s) != nil {
			return true // no JSON, as the decoder will say
		}
		name = []byte(s)
	}
	switch {
	case n.many != nil:
		if n.many[string(name)] {
			return false
		}
		n.many[string(name)] = true
	case slices.ContainsFunc(n.few, func(other []byte) bool { return bytes.Equal(other, name) }):
		return false
	case len(n.few) < 16:
		if n.few == nil {
			n.few = make([][]byte, 0, 8)
		}
		n.few = append(n.few, name)
	default:
		n.many = map[string]bool{string(name): true}
		for _, other := range n.few {
			n.many[string(other)] = true
		}
	}
	return true
}

// scanString returns where the string that begins at i ends, after its closing quote.
func scanString(b []byte, i int) (end int, escaped bool, err error) {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1, escaped, nil
		case '\\':
			escaped = true
			i++
			r, ok := hex4(b, i)
			switch {
			case !ok:
			case r == 0:
				return 0, false, errNUL
			case utf16.IsSurrogate(r):
				low := rune(-1)
				if i+5 < len(b) && b[i+5] == '\\' {
					low, _ = hex4(b, i+6)
				}
				if utf16.DecodeRune(r, low) == utf8.RuneError {
					return 0, false, errSurrogate
				}
				i += 10
			default:
				i += 4
			}
		}
	}
	return len(b), escaped, nil
}

// hex4 reads the uXXXX of an escape.
func hex4(b []byte, i int) (rune, bool) {
	if i+5 > len(b) || b[i] != 'u' {
		return -1, false
	}
	n, err := strconv.ParseUint(string(b[i+1:i+5]), 16, 16)
	return rune(n), err == nil
}
