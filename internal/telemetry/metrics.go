package telemetry

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// durationBuckets are those of OpenTelemetry's http.server.request.duration, in seconds.
var durationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Metrics is the process's registry, and the few metrics that every part of landlord shares. Rooms know nothing of it:
// they count for themselves, and app registers a function that reads the count.
type Metrics struct {
	reg      *prometheus.Registry
	requests *prometheus.HistogramVec
	active   prometheus.Gauge
	loops    *prometheus.HistogramVec
	gateways *prometheus.HistogramVec
	changes  prometheus.Histogram
	egress   *prometheus.HistogramVec

	served series[answered]
	told   series[decided]
}

// NewMetrics returns a registry with the Go runtime's, the process's and the build's metrics.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{
		reg: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_server_request_duration_seconds", Help: "Duration of HTTP requests served.", Buckets: durationBuckets,
		}, []string{"method", "route", "status"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "http_server_active_requests", Help: "HTTP requests being served.",
		}),
		gateways: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "landlord_gateway_decision_duration_seconds", Help: "Duration of decisions for gateways, by gateway and outcome.",
			Buckets: []float64{0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 1},
		}, []string{"gateway", "outcome"}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "landlord_change_feed_lag_seconds", Help: "From the begin of a change's transaction until this replica heard of it, by the database's clock.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10},
		}),
		egress: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "landlord_egress_duration_seconds", Help: "Duration of requests to URLs of tenants, by outcome: answered, or why there was no answer.", Buckets: durationBuckets,
		}, []string{"outcome"}),
		loops: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "landlord_loop_duration_seconds", Help: "Duration of the ticks of background loops, by outcome (ok, error, skipped).",
			Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 5, 10, 30, 60},
		}, []string{"loop", "outcome"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "landlord_build_info", Help: "Always 1; its labels tell which program this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go_version": b.GoVersion},
	})
	build.Set(1)
	m.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.active, m.loops, m.gateways, m.changes, m.egress, build)
	return m
}

// Registry is for who brings a collector of its own, and for tests.
func (m *Metrics) Registry() *prometheus.Registry { return m.reg }

// Handler serves the metrics; it belongs on the private listener.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{Registry: m.reg})
}

// Gauge registers a value that fn reads at each scrape. It panics on a name that is taken or malformed, which is a
// defect that the first start shows.
func (m *Metrics) Gauge(name, help string, fn func() float64) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn))
}

// Counter registers a count that fn reads at each scrape, and that never falls. The name ends in _total. It panics as
// Gauge does.
func (m *Metrics) Counter(name, help string, fn func() float64) {
	m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, fn))
}

// ObserveLoop notes a tick of a background loop.
func (m *Metrics) ObserveLoop(loop, outcome string, took time.Duration) {
	m.loops.WithLabelValues(loop, outcome).Observe(took.Seconds())
}

// ObserveChange notes how long after the begin of its transaction a change was heard of.
func (m *Metrics) ObserveChange(lag time.Duration) { m.changes.Observe(lag.Seconds()) }

// ObserveEgress notes a request to a URL of a tenant's. The outcome is from a fixed list.
func (m *Metrics) ObserveEgress(outcome string, took time.Duration) {
	m.egress.WithLabelValues(outcome).Observe(took.Seconds())
}

// ObserveDecision notes what a gateway was told. Both labels are from fixed lists.
func (m *Metrics) ObserveDecision(gateway, outcome string, took time.Duration) {
	m.told.of(decided{gateway, outcome}, m.decisionsOf).Observe(took.Seconds())
}

// HTTP measures each request under the pattern of the route that served it.
//
// The mux writes the pattern into the request it was given, so HTTP must be given that very request: between it and the
// mux, nothing may copy it (Request.WithContext does). What changes the context goes outside.
func (m *Metrics) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		m.active.Inc()
		rec := &statusRecorder{ResponseWriter: w}
		status := http.StatusInternalServerError // of a handler that panics
		defer func() {
			m.active.Dec()
			m.served.of(answered{method(r.Method), r.Pattern, status}, m.requestsOf).Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(rec, r)
		status = rec.code()
	})
}

// answered is what requests are told apart by, as a request has it.
type answered struct {
	method, pattern string
	status          int
}

func (m *Metrics) requestsOf(by answered) prometheus.Observer {
	return m.requests.WithLabelValues(by.method, route(by.pattern), strconv.Itoa(by.status))
}

// decided is what decisions for gateways are told apart by.
type decided struct{ gateway, outcome string }

func (m *Metrics) decisionsOf(by decided) prometheus.Observer {
	return m.gateways.WithLabelValues(by.gateway, by.outcome)
}

// method keeps a caller from making labels: methods of one's own invention are one.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "_OTHER"
}

// route is the pattern without its method and host.
func route(pattern string) string {
	i := strings.IndexByte(pattern, '/')
	if i < 0 {
		return "unmatched"
	}
	return pattern[i:]
}

// statusRecorder notes the status of an answer. http.ResponseController finds flushing and deadlines through Unwrap.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter. Informational answers aren't the answer, except a switch of protocols.
func (w *statusRecorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusRecorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b) //nolint:wrapcheck // it is the writer itself
}

// Flush implements http.Flusher, for handlers that ask for it by type.
func (w *statusRecorder) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that can't flush flushes in its own time
}

// Unwrap is for http.ResponseController.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusRecorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
