package outbound

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Config is what may be reached, through what, and the bounds. Its zero value is a client for public https URLs on port 443.
type Config struct {
	// Allow is what the operator opens in spite of the guard: internal identity providers, receivers on a developer's machine.
	Allow []Allow
	// Ports are open to every host, beside 443 and 80.
	Ports []uint16
	// AllowHTTP opens http:// to every host.
	AllowHTTP bool
	// Proxy is the only way out, for all but loopback and NoProxy: http://[USER:PASSWORD@]HOST:PORT, or https://.
	Proxy string
	// NoProxy lists what is reached directly, through the guard, in the form that NO_PROXY has everywhere: names with their
	// subdomains, addresses, networks, separated by commas.
	NoProxy string
	// Roots are certificate authorities (PEM) that are trusted beside the system's.
	Roots []byte
	// Resolver resolves names; nil is the system's, without cgo.
	Resolver *net.Resolver
	// Observe, when set, is told how each Do ended: by a class, or "answered", whatever the status; and how long it took.
	Observe func(outcome string, took time.Duration)
	// UserAgent is sent unless a request has its own; "" is "landlord".
	UserAgent string

	DialTimeout time.Duration // for DNS and all addresses of a host together; 0: 5 s
	TLSTimeout  time.Duration // for the handshake; 0: 5 s
	Timeout     time.Duration // for the exchange as a whole; 0: 15 s

	MaxHeader  int64 // bytes of an answer's headers, informational ones included; 0: 32 KiB
	MaxBody    int64 // bytes of an answer's body that are kept; 0: 8 KiB
	MaxPerKey  int   // exchanges at once for one Request.Key; 0: 64
	MaxPerHost int   // exchanges at once with one host and port; 0: 256
	MaxIdle    int   // idle connections in all; the longest idle is closed; 0: 512
}

func (c Config) withDefaults() Config {
	c.UserAgent = cmp.Or(c.UserAgent, "landlord")
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.TLSTimeout = cmp.Or(c.TLSTimeout, 5*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 15*time.Second)
	c.MaxHeader = cmp.Or(c.MaxHeader, 32<<10)
	c.MaxBody = cmp.Or(c.MaxBody, 8<<10)
	c.MaxPerKey = cmp.Or(c.MaxPerKey, 64)
	c.MaxPerHost = cmp.Or(c.MaxPerHost, 256)
	c.MaxIdle = cmp.Or(c.MaxIdle, 512)
	if c.Observe == nil {
		c.Observe = func(string, time.Duration) {}
	}
	if c.Resolver == nil {
		c.Resolver = &net.Resolver{PreferGo: true}
	}
	return c
}

const (
	idlePerHost  = 64               // idle connections to one host and port
	idleFor      = 60 * time.Second // how long a connection waits for its next use
	certificates = 128              // client certificates whose connections are kept
	sessions     = 1024             // TLS sessions kept for resumption
	// streamWindow and connWindow are what a receiver can make an HTTP/2 connection buffer, for a body that nobody reads. net/http's
	// own are 4 MiB a stream and 1 GiB a connection.
	streamWindow = 64 << 10
	connWindow   = 1 << 20
)

// Client sends requests to what tenants name. It is safe for concurrent use.
type Client struct {
	cfg        Config
	rule       *rule
	proxy      *proxy // nil without
	dialer     net.Dialer
	tlsTimeout time.Duration

	shared  transports // for requests without a client certificate
	private *pools     // for those with one
	roots   *x509.CertPool

	keys, hosts *slots
	closed      atomic.Bool
}

// transports are the two ways out; what tenants name is reached by one of them.
type transports struct{ direct, proxied *http.Transport }

func (t transports) closeIdle() {
	t.direct.CloseIdleConnections()
	if t.proxied != nil {
		t.proxied.CloseIdleConnections()
	}
}

// New returns a client. It fails on a proxy or authorities that it can't read.
func New(c Config) (*Client, error) {
	c = c.withDefaults()
	roots, err := rootsWith(c.Roots)
	if err != nil {
		return nil, err
	}
	p, err := newProxy(c, roots)
	if err != nil {
		return nil, err
	}
	client := &Client{
		cfg: c, rule: newRule(c), proxy: p, tlsTimeout: c.TLSTimeout, roots: roots,
		dialer: net.Dialer{Timeout: c.DialTimeout, KeepAlive: 15 * time.Second, Resolver: c.Resolver},
		keys:   newSlots(c.MaxPerKey), hosts: newSlots(c.MaxPerHost),
	}
	client.shared = client.newTransports(nil, c.MaxIdle)
	client.private = newPools(certificates, func(cert *tls.Certificate) transports { return client.newTransports(cert, 4) })
	return client, nil
}

func rootsWith(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil //nolint:nilnil // nil is the system's
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM form among the authorities")
	}
	return pool, nil
}

func (c *Client) newTransports(cert *tls.Certificate, idle int) transports {
	t := transports{direct: c.newTransport(cert, idle)}
	if c.proxy != nil {
		t.proxied = c.newTransport(cert, idle)
		t.proxied.DialContext = c.dialProxy
		t.proxied.Proxy = http.ProxyURL(c.proxy.url)
		t.proxied.OnProxyConnectResponse = refused
	}
	return t
}

func (c *Client) newTransport(cert *tls.Certificate, idle int) *http.Transport {
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots, ClientSessionCache: tls.NewLRUClientSessionCache(min(idle, sessions))}
	if cert != nil {
		secure.Certificates = []tls.Certificate{*cert}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    c.cfg.TLSTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    min(idle, idlePerHost),
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: c.cfg.MaxHeader,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connWindow,
			SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second, WriteByteTimeout: c.cfg.Timeout,
		},
	}
}

// via returns the transport for a URL.
func (c *Client) via(u *url.URL, key string, cert *tls.Certificate) *http.Transport {
	t := c.shared
	if cert != nil {
		t = c.private.of(key, cert)
	}
	if c.proxy.covers(u) {
		return t.proxied
	}
	return t.direct
}

// Close closes the connections that are idle and refuses what is asked for later. What is in flight ends first, by its own
// deadline: the caller waits for it.
func (c *Client) Close() {
	c.closed.Store(true)
	c.shared.closeIdle()
	c.private.closeIdle()
}
