package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/telemetry"
)

func TestNewLogger_redactsAndNamesTheRequest(t *testing.T) {
	t.Parallel()
	ctx := telemetry.WithRequestID(t.Context(), "req-12345")
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, telemetry.LogConfig{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		authorization, apiKey := "Authorization", "X-API-Key" // as they come in headers
		log.With(authorization, "Bearer hunter2").WithGroup("headers").InfoContext(ctx, "hello",
			apiKey, "hunter2", "token", []byte("hunter2"), slog.Group("inner", "client_secret", "hunter2"),
			"wrapped", secret.NewText("hunter2"), "password", "", "name", "acme")
		log.Debug("below the level")
		line := out.String()
		if strings.Contains(line, "hunter2") || strings.Contains(line, "aHVudGVyMg") {
			t.Errorf("%s shows a secret: %s", format, line)
		}
		if !strings.Contains(line, "req-12345") || !strings.Contains(line, "acme") || strings.Contains(line, "below") {
			t.Errorf("%s: %s", format, line)
		}
		if n := strings.Count(line, secret.Redacted); n != 5 {
			t.Errorf("%s: %d are redacted, want 5: %s", format, n, line)
		}
	}
}

func TestNewLogger_refuses(t *testing.T) {
	t.Parallel()
	for _, c := range []telemetry.LogConfig{{Format: "xml"}, {Level: "loud"}} {
		if _, err := telemetry.NewLogger(io.Discard, c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	var seen string
	h := telemetry.RequestIDs(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = telemetry.RequestID(r.Context())
	}))
	for inbound, kept := range map[string]bool{
		"":                                     false,
		"short":                                false,
		"0190b5b0-7e1c-7c7c-8a3e-6c0b2f8f2f11": true,
		"1-67891233-abcdef012345678912345678":  true,
		"line\nbreak-line":                     false,
		"with space in it":                     false,
		"quote\"quote\"":                       false,
		strings.Repeat("x", 129):               false,
		strings.Repeat("x", 128):               true,
		"ünïcödé-ünïcödé":                      false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(telemetry.RequestIDHeader, inbound)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get(telemetry.RequestIDHeader); got != seen || (got == inbound) != kept || len(got) < 8 {
			t.Errorf("%q: answered %q, context has %q", inbound, got, seen)
		}
	}
}

func TestMetrics_HTTP(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Build{Version: "v1.2.3"})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/tenants/{tenant}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("tenant") == "none" {
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusOK) // comes too late
		}
	})
	mux.HandleFunc("POST /early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
	})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("oh") })
	h := m.HTTP(mux)
	for _, r := range []struct{ method, path string }{
		{"GET", "/v1/tenants/a"},
		{"GET", "/v1/tenants/b"},
		{"GET", "/v1/tenants/none"},
		{"POST", "/early"},
		{"GET", "/nowhere"},
		{"BREW", "/nowhere"},
		{"GET", "/panic"},
	} {
		func() {
			defer func() { _ = recover() }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(r.method, r.path, nil))
		}()
	}
	want := map[string]uint64{
		"GET /v1/tenants/{tenant} 200": 2,
		"GET /v1/tenants/{tenant} 404": 1,
		"POST /early 200":              1,
		"GET unmatched 404":            1,
		"_OTHER unmatched 404":         1,
		"GET /panic 500":               1,
	}
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, f := range families {
		switch f.GetName() {
		case "http_server_request_duration_seconds":
			for _, s := range f.GetMetric() {
				labels := map[string]string{}
				for _, l := range s.GetLabel() {
					labels[l.GetName()] = l.GetValue()
				}
				got[labels["method"]+" "+labels["route"]+" "+labels["status"]] = s.GetHistogram().GetSampleCount()
				if len(labels) != 3 || len(s.GetHistogram().GetBucket()) != 14 {
					t.Errorf("labels %v, %d buckets", labels, len(s.GetHistogram().GetBucket()))
				}
			}
		case "http_server_active_requests":
			if v := f.GetMetric()[0].GetGauge().GetValue(); v != 0 {
				t.Errorf("%v requests are still active", v)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMetrics_Handler(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.ReadBuild("v1.2.3"))
	m.Gauge("landlord_x", "X.", func() float64 { return 7 })
	m.Counter("landlord_y_total", "Y.", func() float64 { return 8 })
	m.ObserveLoop("partition_ensure", "ok", time.Second)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		"landlord_x 7\n", "landlord_y_total 8\n", `landlord_loop_duration_seconds_sum{loop="partition_ensure",outcome="ok"} 1`,
		`landlord_build_info{go_version="` + runtime.Version() + `",revision="`, `version="v1.2.3"} 1`, "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(w.Body.String(), want) && (want != "process_open_fds" || runtime.GOOS == "linux") {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestReadBuild(t *testing.T) {
	t.Parallel()
	b := telemetry.ReadBuild("")
	if b.Version == "" || b.GoVersion != runtime.Version() {
		t.Errorf("%+v", b)
	}
	b = telemetry.Build{Version: "v1.0.0", Revision: "abc-dirty", GoVersion: "go1"}
	if got := b.String(); got != "landlord v1.0.0 (abc-dirty) go1" {
		t.Error(got)
	}
	if js, err := json.Marshal(b); err != nil || string(js) != `{"version":"v1.0.0","revision":"abc-dirty","go_version":"go1"}` {
		t.Errorf("%s, %v", js, err)
	}
}
