package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
)

// edge is a face with one operation of the test's own.
type edge struct {
	*API
	log bytes.Buffer
}

type edgeInput struct {
	Body struct {
		Text   string `json:"text"`
		Number int64  `json:"number,omitempty"`
	}
}

func newEdge(t *testing.T, h func(ctx context.Context, text string) error) *edge {
	t.Helper()
	e := &edge{}
	e.API = New(Services{
		Authenticate: func(context.Context, string) (access.Principal, error) { return access.Principal{ID: "someone"}, nil },
		Logger:       slog.New(slog.NewJSONHandler(&e.log, nil)),
	})
	route(e.API, op{ID: "test", Method: "POST", Path: "/v1/test"}, func(ctx context.Context, in *edgeInput) (*empty, error) {
		return &empty{}, h(ctx, in.Body.Text)
	})
	return e
}

// do sends a request and returns the status, the problem and the log's last line.
func (e *edge) do(t *testing.T, r *http.Request) (int, Problem, map[string]any) {
	t.Helper()
	r.Header.Set("Authorization", "Bearer x")
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, r)
	var p Problem
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
			t.Fatalf("%d %q: %v", rec.Code, rec.Body, err)
		}
		if p.RequestID == "" || p.Instance == "" || p.Status != rec.Code || rec.Header().Get("X-Request-Id") != p.RequestID {
			t.Errorf("the problem is not whole: %+v", p)
		}
	}
	lines := strings.Split(strings.TrimSpace(e.log.String()), "\n")
	var said map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		t.Fatal(err)
	}
	return rec.Code, p, said
}

func TestEdge_panic(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ context.Context, text string) error {
		if text == "panic" {
			panic("the reason")
		}
		return nil
	})
	status, p, said := e.do(t, httptest.NewRequest(http.MethodPost, "/v1/test", strings.NewReader(`{"text":"panic"}`)))
	if status != 500 || p.Code != "internal" || said["level"] != "ERROR" || said["status"] != 500.0 {
		t.Errorf("got %d %+v %v", status, p, said)
	}
	if log := e.log.String(); !strings.Contains(log, "the reason") || !strings.Contains(log, "middleware_test.go") || strings.Contains(p.Detail, "reason") {
		t.Errorf("got %s", log)
	}
	if status, _, _ := e.do(t, httptest.NewRequest(http.MethodPost, "/v1/test", strings.NewReader(`{"text":"again"}`))); status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestEdge_callerGone(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]func(context.Context) error{
		"told so": context.Context.Err,
		"as an outage": func(ctx context.Context) error {
			return &fault.Error{Kind: fault.Unavailable, Code: "database_busy", Err: ctx.Err()}
		},
		"as a broken wire": func(context.Context) error { return errors.New("conn closed") },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		e := newEdge(t, func(ctx context.Context, _ string) error {
			cancel()
			<-ctx.Done()
			return h(ctx)
		})
		status, _, said := e.do(t, httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/test", strings.NewReader(`{"text":""}`)))
		if status != 499 || said["level"] != "INFO" || said["status"] != 499.0 {
			t.Errorf("%s: got %d %v", name, status, said)
		}
		cancel()
	}
}

func TestEdge_operationHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return &fault.Error{Kind: fault.Unavailable, Code: "database_busy", Err: ctx.Err(), RetryAfter: time.Second}
		})
		began := time.Now()
		status, p, _ := e.do(t, httptest.NewRequest(http.MethodPost, "/v1/test", strings.NewReader(`{"text":""}`)))
		if took := time.Since(began); status != 503 || p.Code != "database_busy" || took != requestTimeout {
			t.Errorf("got %d %+v after %v", status, p, took)
		}
	})
}

func TestEdge_body(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(context.Context, string) error { return nil })
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		status int
		code   string
	}{
		"good":                   {strings.NewReader(`{"text":"x"}`), 12, 200, ""},
		"as large as may be":     {strings.NewReader(`{"text":"` + strings.Repeat("x", MaxBody-11) + `"}`), -1, 200, ""},
		"too large":              {strings.NewReader(`{"text":"` + strings.Repeat("x", MaxBody-10) + `"}`), -1, 413, "body_too_large"},
		"breaks off":             {io.MultiReader(strings.NewReader(`{"te`), iotest.ErrReader(io.ErrUnexpectedEOF)), 12, 400, "body_unreadable"},
		"never comes":            {iotest.ErrReader(iotest.ErrTimeout), 12, 400, "body_unreadable"},
		"empty":                  {http.NoBody, 0, 400, "body_required"},
		"deep":                   {strings.NewReader(strings.Repeat(`{"text":`, 1e4)), -1, 400, "json_too_deep"},
		"a name twice":           {strings.NewReader(`{"text":"x","text":"y"}`), -1, 400, "json_duplicate_name"},
		"another case":           {strings.NewReader(`{"text":"x","TEXT":7}`), -1, 422, "invalid_request"},
		"half a surrogate":       {strings.NewReader(`{"text":"\ud800"}`), -1, 400, "invalid_text"},
		"a number like no other": {strings.NewReader(`{"text":"x","number":1e400}`), -1, 400, "number_out_of_range"},
		"no 64-bit integer":      {strings.NewReader(`{"text":"x","number":9223372036854775808}`), -1, 422, "invalid_request"},
		"an integer, by value":   {strings.NewReader(`{"text":"x","number":1e3}`), -1, 422, "invalid_request"},
		"a fraction":             {strings.NewReader(`{"text":"x","number":1.5}`), -1, 422, "invalid_request"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/test", c.body)
		r.ContentLength = c.length
		status, p, _ := e.do(t, r)
		if status != c.status || p.Code != c.code {
			t.Errorf("%s: got %d %+v", name, status, p)
		}
		if status == 422 && name != "another case" && (len(p.Errors) != 1 || p.Errors[0].Field != "number") {
			t.Errorf("%s: got %+v", name, p.Errors)
		}
	}
}

// A connection that breaks while the answer is written is no defect of ours.
func TestEdge_answerBreaksOff(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(context.Context, string) error { return fault.NotFound("tenant") })
	r := httptest.NewRequest(http.MethodPost, "/v1/test", strings.NewReader(`{"text":""}`))
	r.Header.Set("Authorization", "Bearer x")
	e.ServeHTTP(&broken{header: http.Header{}}, r)
	if log := e.log.String(); strings.Contains(log, "panic") || !strings.Contains(log, `"status":404`) {
		t.Errorf("got %s", log)
	}
}

type broken struct{ header http.Header }

func (b *broken) Header() http.Header         { return b.header }
func (b *broken) WriteHeader(int)             {}
func (b *broken) Write(p []byte) (int, error) { return 0, io.ErrClosedPipe }

// A deadline for reading the body must not outlive the reading: the server ends
// the request's context when it passes.
func TestEdge_operationOutlivesBodyTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	e := newEdge(t, func(ctx context.Context, _ string) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * timeout):
			return nil
		}
	})
	s := httptest.NewUnstartedServer(e)
	s.Config.ReadTimeout = timeout
	s.Start()
	defer s.Close()
	send := func(body io.Reader) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/test", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer x")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := send(strings.NewReader(`{"text":""}`)); got != http.StatusOK {
		t.Errorf("an operation that takes its time: %d", got)
	}
	slow, begun := io.Pipe()
	defer begun.Close()
	go func() { _, _ = io.WriteString(begun, `{"te`) }()
	if got := send(slow); got != http.StatusRequestTimeout {
		t.Errorf("a body that does not arrive: %d", got)
	}
}

func TestIsClean(t *testing.T) {
	t.Parallel()
	for p, want := range map[string]bool{
		"/": true, "*": true, "/v1/tenants": true, "/v1/tenants/": true, "/v1/a.b": true,
		"": false, "//": false, "/v1//tenants": false, "/v1/tenants//": false, "/v1/./x": false, "/v1/../x": false, "/..": false,
	} {
		if got := IsClean(p); got != want {
			t.Errorf("%q: got %v", p, got)
		}
	}
}
