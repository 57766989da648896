package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// proxy is the operator's forward proxy. Its address is not a tenant's and passes no guard.
type proxy struct {
	url     *url.URL // for the transport: always http, as dialProxy does TLS itself
	address string
	tls     *tls.Config // nil for http
	choose  func(*url.URL) (*url.URL, error)
}

// newProxy reads the configuration; without a proxy it returns nil.
func newProxy(c Config, roots *x509.CertPool) (*proxy, error) {
	if c.Proxy == "" {
		if c.NoProxy != "" {
			return nil, errors.New("hosts that need no proxy, but no proxy")
		}
		return nil, nil //nolint:nilnil // no proxy is what most have
	}
	u, err := url.Parse(c.Proxy)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the proxy is http://[USER:PASSWORD@]HOST:PORT or https://…") // without the text: it may hold a password
	}
	port := u.Port()
	p := &proxy{url: &url.URL{Scheme: "http", User: u.User, Host: u.Host}}
	if u.Scheme == "https" {
		p.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: roots, NextProtos: []string{"http/1.1"}}
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	p.address = net.JoinHostPort(u.Hostname(), port)
	p.choose = (&httpproxy.Config{HTTPProxy: p.url.String(), HTTPSProxy: p.url.String(), NoProxy: c.NoProxy}).ProxyFunc()
	return p, nil
}

// covers reports whether a URL is reached through the proxy. Loopback never is.
func (p *proxy) covers(u *url.URL) bool {
	if p == nil {
		return false
	}
	via, err := p.choose(u)
	return err == nil && via != nil
}

func (p *proxy) handshake(ctx context.Context, conn net.Conn, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secure := tls.Client(conn, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// refused turns the proxy's answer to CONNECT into an error that is not the receiver's.
func refused(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &Error{
		Class: ProxyFailed, Detail: fmt.Sprintf("The proxy on the way out answered %d to CONNECT.", answer.StatusCode),
		Err: errors.New("proxy: " + answer.Status),
	}
}
