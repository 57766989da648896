package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
)

// nowhere is an answer that nobody reads.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }

// again is a body that is sent again and again.
type again struct{ bytes.Reader }

func (*again) Close() error { return nil }

// BenchmarkVerify_handler is our part of an HTTP verification, without net/http's.
func BenchmarkVerify_handler(b *testing.B) {
	w, token := benchWorld(b)
	body, err := json.Marshal(map[string]any{"key": token, "environment": "live", "scopes": []string{"renders:create"}, "ip": "192.0.2.1"})
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/keys/verify", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Authorization", "Bearer "+w.service(b, "apikeys:verify"))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	reader := &again{}
	r.Body = reader
	rec := nowhere{h: http.Header{}}
	h := w.App.Public()
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = reader
		clear(rec.h)
		h.ServeHTTP(rec, r)
	}
}
