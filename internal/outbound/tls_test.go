package outbound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{
		cert: must(x509.ParseCertificate(der)), key: key,
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}
}

func (a *authority) issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"hooks.example", "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureReceiver is a receiver with TLS; HTTP/2 when h2.
func secureReceiver(t testing.TB, c *tls.Config, h2 bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = c, h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	good := ca.issue(t, nil)
	d := newDNS(t)
	d.set("hooks.example", "127.0.0.1")
	d.set("other.example", "127.0.0.1")
	expired := ca.issue(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	})
	early := ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	forClients := ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	for name, tc := range map[string]struct {
		tls    *tls.Config
		host   string
		want   Class
		detail string
	}{
		"good":             {tls: &tls.Config{Certificates: []tls.Certificate{good}}},
		"good, by address": {tls: &tls.Config{Certificates: []tls.Certificate{good}}, host: "127.0.0.1"},
		"TLS 1.2":          {tls: &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}},
		"TLS 1.1":          {tls: &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, want: TLSFailed, detail: "1.2"},
		"expired":          {tls: &tls.Config{Certificates: []tls.Certificate{expired}}, want: TLSFailed, detail: "is valid from"},
		"not yet":          {tls: &tls.Config{Certificates: []tls.Certificate{early}}, want: TLSFailed, detail: "is valid from"},
		"for another host": {tls: &tls.Config{Certificates: []tls.Certificate{good}}, host: "other.example", want: TLSFailed, detail: "not for other.example"},
		"of a stranger":    {tls: &tls.Config{Certificates: []tls.Certificate{stranger.issue(t, nil)}}, want: TLSFailed, detail: "not trusted"},
		"for clients only": {tls: &tls.Config{Certificates: []tls.Certificate{forClients}}, want: TLSFailed, detail: "not valid"},
		"wants our own":    {tls: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, want: TLSFailed, detail: "broke off: handshake failure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sni atomic.Value
			tc.tls.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { sni.Store(h.ServerName); return nil, nil }
			s := secureReceiver(t, tc.tls, true, func(http.ResponseWriter, *http.Request) {})
			if tc.host == "" {
				tc.host = "hooks.example"
			}
			port := portOf(t, s.URL)
			c := newClient(t, Config{Resolver: d.Resolver, Roots: ca.pem, Timeout: soon, TLSTimeout: soon}, tc.host+":"+port)
			res, err := c.Do(t.Context(), Request{Method: "POST", URL: "https://" + tc.host + ":" + port, Body: []byte("x")})
			if ClassOf(err) != tc.want || !strings.Contains(detail(err), tc.detail) || (tc.want == "") != (res.Status == 200) {
				t.Errorf("got %+v, %v (%s)", res, err, detail(err))
			}
			if want := tc.host; want != "127.0.0.1" && sni.Load() != want {
				t.Errorf("asked for %v", sni.Load())
			}
			if tc.want == "" && (res.Timing.TLS <= 0 || res.Proto != "HTTP/2.0") {
				t.Errorf("got %s, %+v", res.Proto, res.Timing)
			}
		})
	}
}

// TLS 1.3 tells that it wants a certificate when we have begun to send: that is read, or the connection is gone before.
func TestTLS_certificateWanted(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for _, h2 := range []bool{true, false} {
		s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert}, h2, func(http.ResponseWriter, *http.Request) {})
		c := newClient(t, Config{Roots: ca.pem, Timeout: soon}, local)
		switch _, err := c.Do(t.Context(), Request{Method: http.MethodPost, URL: s.URL, Body: []byte("x")}); {
		case ClassOf(err) == TLSFailed && strings.Contains(detail(err), "certificate required"):
		case ClassOf(err) == Reset:
		default:
			t.Errorf("got %v", err)
		}
	}
}

func TestTLS_noTLS(t *testing.T) {
	t.Parallel()
	plain := receiver(t, func(http.ResponseWriter, *http.Request) {})
	silent := newRaw(t, func(_ *raw, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	gone := newRaw(t, func(_ *raw, conn net.Conn) { hearSome(conn) })
	c := newClient(t, Config{TLSTimeout: 200 * time.Millisecond}, local)
	for port, want := range map[string]string{portOf(t, plain.URL): "does not speak it", silent.port: "took too long", gone.port: "broke off"} {
		if _, err := c.Do(t.Context(), Request{URL: "https://127.0.0.1:" + port}); ClassOf(err) != TLSFailed || !strings.Contains(detail(err), want) {
			t.Errorf("want %q, got %v (%s)", want, err, detail(err))
		}
	}
}

func hearSome(conn net.Conn) { _, _ = conn.Read(make([]byte, 16<<10)) }

// A client certificate speaks for its owner only: no request without it, and none of another owner, gets its connection.
func TestCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}, true,
		func(w http.ResponseWriter, r *http.Request) {
			if certs := r.TLS.PeerCertificates; len(certs) > 0 {
				_, _ = io.WriteString(w, certs[0].Subject.CommonName)
			}
		})
	named := func(name string) *tls.Certificate {
		c := ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = name })
		return &c
	}
	anna, bert := named("anna"), named("bert")
	c := newClient(t, Config{Roots: ca.pem, Timeout: soon}, local)
	for i, tc := range []struct {
		key    string
		cert   *tls.Certificate
		want   string
		reused bool
	}{
		{"a", anna, "anna", false},
		{"a", anna, "anna", true},
		{"b", bert, "bert", false},
		{"c", anna, "anna", false}, // shows Anna's certificate, and has to prove it
		{"a", nil, "", false},
		{"z", nil, "", true},
		{"a", bert, "bert", false},
		{"a", anna, "anna", true},
	} {
		res, err := c.Do(t.Context(), Request{URL: s.URL, Key: tc.key, Certificate: tc.cert})
		if err != nil || string(res.Body) != tc.want || res.Reused != tc.reused {
			t.Errorf("%d: got %q, reused %v, %v", i, res.Body, res.Reused, err)
		}
	}
}

func TestCertificate_bounded(t *testing.T) {
	t.Parallel()
	made := 0
	p := newPools(3, func(*tls.Certificate) transports { made++; return transports{direct: &http.Transport{}} })
	for _, name := range []string{"a", "b", "c", "a", "d", "a", "b"} { // d forgets b, b forgets c
		p.of(name, &tls.Certificate{Certificate: [][]byte{{1}}})
	}
	if made != 5 || len(p.byKey) != 3 {
		t.Errorf("made %d, kept %d", made, len(p.byKey))
	}
	before := made
	p.of("a", &tls.Certificate{Certificate: [][]byte{{1}}})
	p.of("c", &tls.Certificate{Certificate: [][]byte{{1}}})
	if made != before+1 {
		t.Errorf("made %d more", made-before)
	}
}

// Of a body that nobody reads, HTTP/2 buffers what its windows say and no more.
func TestHTTP2_endlessBody(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var wrote atomic.Int64
	var ended sync.WaitGroup
	s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}, true, func(w http.ResponseWriter, r *http.Request) {
		defer ended.Done()
		b := make([]byte, 8<<10)
		for {
			n, err := w.Write(b)
			wrote.Add(int64(n))
			if err != nil || w.(http.Flusher) == nil {
				return
			}
		}
	})
	c := newClient(t, Config{Roots: ca.pem, Timeout: soon}, local)
	for range 3 {
		ended.Add(1)
		res, err := c.Do(t.Context(), Request{Method: "POST", URL: s.URL, Body: []byte("x")})
		if err != nil || res.Proto != "HTTP/2.0" || len(res.Body) != 8<<10 || !res.Truncated {
			t.Errorf("got %s, %d bytes, %v", res.Proto, len(res.Body), err)
		}
	}
	ended.Wait() // the streams were reset
	// What is kept, drained, in the window and in the server's own buffers, three times.
	if n := wrote.Load(); n > 3*(8<<10+drainBytes+streamWindow+64<<10) {
		t.Errorf("the receiver wrote %d bytes", n)
	}
}

func TestHTTP2_headersAndHints(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for name, h := range map[string]http.HandlerFunc{
		"headers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", strings.Repeat("x", 64<<10))
		},
		"many headers": func(w http.ResponseWriter, r *http.Request) {
			for range 64 {
				w.Header().Add("X-A", strings.Repeat("x", 1<<10))
			}
		},
		"early hints": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", strings.Repeat("x", 1<<10))
			for range 100 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}, true, h)
			c := newClient(t, Config{Roots: ca.pem, Timeout: soon}, local)
			if _, err := c.Do(t.Context(), Request{URL: s.URL}); ClassOf(err) != HeadersTooLarge {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHTTP2_broken(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}, true, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "beginning")
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	c := newClient(t, Config{Roots: ca.pem, Timeout: soon}, local)
	if res, err := c.Do(t.Context(), Request{URL: s.URL}); ClassOf(err) != Reset {
		t.Errorf("got %+v, %v", res, err)
	}
	if res, err := c.Do(t.Context(), Request{URL: s.URL + "/body"}); err != nil || res.Status != 200 || res.BodyError != Reset {
		t.Errorf("got %+v, %v", res, err)
	}
	if res, err := c.Do(t.Context(), Request{URL: s.URL + "/body", Whole: true}); ClassOf(err) != Reset || res.Status != 200 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"authorities":            {Roots: []byte("no PEM")},
		"a proxy without scheme": {Proxy: "proxy:3128"},
		"a SOCKS proxy":          {Proxy: "socks5://proxy:1080"},
		"a proxy with a path":    {Proxy: "http://proxy:3128/x"},
		"no proxy for what":      {NoProxy: "corp"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Config{Proxy: "http://user:hunter2@pro xy"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
