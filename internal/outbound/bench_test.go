package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkDo is a delivery over a pooled connection, by turns with the same by net/http's own client: what the rule, the slots and
// the clock cost.
func BenchmarkDo(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 660)
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	})
	ca := newAuthority(b)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, kind := range []struct {
		name string
		s    *httptest.Server
	}{
		{"http1", receiver(b, serve)},
		{"tls-http2", secureReceiver(b, &tls.Config{Certificates: []tls.Certificate{ca.issue(b, nil)}}, true, serve)},
	} {
		b.Run(kind.name, func(b *testing.B) {
			t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: idlePerHost}
			defer t.CloseIdleConnections()
			client := &http.Client{Transport: t}
			c := newClient(b, Config{Roots: ca.pem}, local)
			defer c.Close()
			header := http.Header{"Content-Type": {"application/json"}}
			bare := func() {
				req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, kind.s.URL, bytes.NewReader(body))
				req.Header = header.Clone()
				res, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			ours := func() {
				if _, err := c.Do(b.Context(), Request{Method: http.MethodPost, URL: kind.s.URL, Header: header, Body: body, Key: "ep", Repeatable: true}); err != nil {
					b.Fatal(err)
				}
			}
			// By turns, so that a busy machine is busy for both.
			var bareTook, oursTook time.Duration
			n := 0
			for b.Loop() {
				n++
				began := time.Now()
				bare()
				between := time.Now()
				ours()
				bareTook, oursTook = bareTook+between.Sub(began), oursTook+time.Since(between)
			}
			b.ReportMetric(float64(bareTook.Nanoseconds())/float64(n), "bare-ns")
			b.ReportMetric(float64(oursTook.Nanoseconds())/float64(n), "outbound-ns")
			b.ReportMetric(float64(bareTook)/float64(oursTook), "of-bare-throughput")
		})
	}
}

func BenchmarkTarget(b *testing.B) {
	c := newClient(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, bad := c.rule.target("https://hooks.example.com/webhooks/landlord?tenant=1"); bad != nil {
			b.Fatal(bad.Message)
		}
	}
}
