package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Body returns the body of a request that tells of an event, made from what the
// events API says of it: the same bytes that an engine sends.
func Body(eventType string, occurredAt time.Time, payload json.RawMessage) ([]byte, error) {
	data, err := written(payload)
	if err == nil && data[0] != '{' {
		err = errors.New("no object")
	}
	if err != nil {
		return nil, fmt.Errorf("payload of %s: %w", eventType, err)
	}
	return message(eventType, occurredAt.UTC().Format("2006-01-02T15:04:05.000000Z")+string(data)), nil
}

// SignedHeaders returns the headers of Standard Webhooks for a request.
func SignedHeaders(s Secret, event string, at time.Time, body []byte) (http.Header, error) {
	by, err := newSigner([]Secret{s}, []Signature{s.Version})
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set(HeaderID, event)
	h.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(HeaderSignature, by.sign(event, at, body))
	return h, nil
}

// written returns JSON as the database writes it, which is how it is sent: a space
// behind each colon and comma, shorter names first, and nothing escaped that need
// not be.
func written(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // numbers keep their digits
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return appendWritten(nil, v), nil
}

func appendWritten(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		names := slices.SortedFunc(maps.Keys(v), func(x, y string) int {
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			return strings.Compare(x, y)
		})
		b = append(b, '{')
		for i, name := range names {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendWrittenText(b, name), ": "...)
			b = appendWritten(b, v[name])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, one := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendWritten(b, one)
		}
		return append(b, ']')
	case string:
		return appendWrittenText(b, v)
	case json.Number:
		return append(b, v...)
	case bool:
		return strconv.AppendBool(b, v)
	default:
		return append(b, "null"...)
	}
}

func appendWrittenText(b []byte, s string) []byte {
	const short = "\"\"\\\\\bb\ff\nn\rr\tt" // each with the letter that stands for it
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		switch at := strings.IndexByte(short, c); {
		case c < ' ' && at < 0:
			b = fmt.Appendf(b, `\u%04x`, c)
		case c < ' ' || c == '"' || c == '\\':
			b = append(b, '\\', short[at+1])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
