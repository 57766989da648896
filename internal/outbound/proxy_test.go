package outbound

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// forwarder is a forward proxy: it connects CONNECTs to one receiver, whatever they ask for, and answers plain requests itself.
type forwarder struct {
	*httptest.Server

	mu     sync.Mutex
	asked  []string
	auth   string
	status int // of its refusal; 0 lets pass
}

func newForwarder(t testing.TB, to string, secure *tls.Config) *forwarder {
	t.Helper()
	f := &forwarder{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+r.Host)
		f.auth = r.Header.Get("Proxy-Authorization")
		status := f.status
		f.mu.Unlock()
		switch {
		case status != 0:
			w.WriteHeader(status)
		case r.Method != http.MethodConnect:
			_, _ = io.WriteString(w, "through the proxy: "+r.RequestURI)
		default:
			tunnel(w, to)
		}
	}))
	f.TLS = secure
	if secure != nil {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

func tunnel(w http.ResponseWriter, to string) {
	out, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	w.WriteHeader(http.StatusOK)
	in, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(in, out); in.Close() })
	_, _ = io.Copy(out, buffered)
	out.Close()
	back.Wait()
}

func (f *forwarder) saw() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.asked = nil }()
	return strings.Join(f.asked, ", ")
}

func TestProxy(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	var direct atomic.Int64
	s := secureReceiver(t, &tls.Config{Certificates: []tls.Certificate{cert}}, true, func(w http.ResponseWriter, r *http.Request) {
		direct.Add(1)
		_, _ = io.WriteString(w, r.Host)
	})
	for name, secure := range map[string]*tls.Config{"over http": nil, "over https": {Certificates: []tls.Certificate{cert}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForwarder(t, s.Listener.Addr().String(), secure)
			d := newDNS(t) // knows nobody: it is the proxy that resolves
			d.set("direct.example", "10.1.2.3")
			c := newClient(t, Config{
				Resolver: d.Resolver, Roots: ca.pem, AllowHTTP: true, Timeout: soon,
				Proxy: strings.Replace(f.URL, "://", "://user:pass@", 1), NoProxy: "direct.example,10.0.0.0/8",
			})
			res, err := c.Do(t.Context(), Request{Method: "POST", URL: "https://hooks.example/x", Body: []byte("x")})
			if err != nil || string(res.Body) != "hooks.example" || f.saw() != "CONNECT hooks.example:443" || res.Proto != "HTTP/2.0" {
				t.Errorf("got %+v, %v", res, err)
			}
			if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:pass")); f.auth != want {
				t.Errorf("authorized as %q", f.auth)
			}
			res, err = c.Do(t.Context(), Request{URL: "http://hooks.example/y"})
			if err != nil || string(res.Body) != "through the proxy: http://hooks.example/y" || f.saw() != "GET hooks.example" {
				t.Errorf("got %s, %v", res.Body, err)
			}
			for u, want := range map[string]Class{
				"https://127.0.0.1":        AddressNotAllowed,
				"https://169.254.169.254":  AddressNotAllowed,
				"https://[::1]":            AddressNotAllowed,
				"https://2130706433":       URLNotAllowed,
				"https://hooks.example:22": PortNotAllowed,
				"https://direct.example":   AddressNotAllowed, // not through the proxy, so through the guard
				"https://proxy":            AddressNotAllowed,
			} {
				if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != want || f.saw() != "" {
					t.Errorf("%s: got %v", u, err)
				}
			}
			f.mu.Lock()
			f.status = http.StatusProxyAuthRequired
			f.mu.Unlock()
			c.shared.closeIdle()
			if _, err := c.Do(t.Context(), Request{URL: "https://hooks.example"}); ClassOf(err) != ProxyFailed || !strings.Contains(detail(err), "407") {
				t.Errorf("got %v", err)
			}
			f.Close()
			c.shared.closeIdle()
			for _, u := range []string{"https://hooks.example", "http://hooks.example"} {
				if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != ProxyFailed || strings.Contains(detail(err), "127.0.0.1") {
					t.Errorf("%s: got %v (%s)", u, err, detail(err))
				}
			}
		})
	}
}

// The proxy is shown no client certificate of a tenant's.
func TestProxy_certificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var shown atomic.Int64
	server := ca.issue(t, nil)
	asks := func(seen *atomic.Int64) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert, VerifyConnection: func(s tls.ConnectionState) error {
			seen.Add(int64(len(s.PeerCertificates)))
			return nil
		}}
	}
	var atReceiver atomic.Int64
	s := secureReceiver(t, asks(&atReceiver), true, func(http.ResponseWriter, *http.Request) {})
	f := newForwarder(t, s.Listener.Addr().String(), asks(&shown))
	c := newClient(t, Config{Roots: ca.pem, Proxy: f.URL, Timeout: soon})
	cert := ca.issue(t, nil)
	if res, err := c.Do(t.Context(), Request{URL: "https://hooks.example", Key: "a", Certificate: &cert}); err != nil || res.Status != 200 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if shown.Load() != 0 || atReceiver.Load() != 1 {
		t.Errorf("the proxy was shown %d certificates, the receiver %d", shown.Load(), atReceiver.Load())
	}
}

// What the environment says about proxies is not for URLs of tenants.
func TestProxy_environment(t *testing.T) {
	f := newForwarder(t, "", nil)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, f.URL)
	}
	d := newDNS(t)
	d.set("hooks.example", "127.0.0.1")
	c := newClient(t, Config{Resolver: d.Resolver, AllowHTTP: true})
	for _, u := range []string{"http://hooks.example", "https://hooks.example"} {
		if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != AddressNotAllowed {
			t.Errorf("%s: got %v", u, err)
		}
	}
	if saw := f.saw(); saw != "" {
		t.Errorf("the proxy saw %s", saw)
	}
}
