package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"
)

// Timing splits the time of an exchange. A connection that is used again has no DNS, Connect and TLS; through a proxy, DNS and Connect
// are the proxy's.
type Timing struct {
	DNS       time.Duration
	Connect   time.Duration
	TLS       time.Duration
	FirstByte time.Duration // from the request sent to the first byte of the answer
	Total     time.Duration // all, until the body was read
}

// trace notes how far an exchange has come. Dials may outlive it, so that hooks run when nobody looks any more.
type trace struct {
	mu      sync.Mutex
	begin   time.Time
	dns     span
	connect span
	tls     span
	tlsErr  error
	got     bool
	reused  bool
	remote  netip.AddrPort
	wrote   time.Time
	first   time.Time
}

// span is a phase; its end is zero while it lasts.
type span struct{ begin, end time.Time }

func (s span) took() time.Duration {
	if s.begin.IsZero() || s.end.IsZero() { // a dial that came too late for its exchange ends without a begin
		return 0
	}
	return s.end.Sub(s.begin)
}

func newTrace() *trace { return &trace{begin: time.Now()} }

func (t *trace) note(fn func(now time.Time)) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(now)
}

// watch returns a context whose exchange is noted.
func (t *trace) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { t.note(func(now time.Time) { t.dns = span{begin: now} }) },
		DNSDone:  func(httptrace.DNSDoneInfo) { t.note(func(now time.Time) { t.dns.end = now }) },
		ConnectStart: func(_, _ string) {
			t.note(func(now time.Time) {
				if t.connect.begin.IsZero() { // of several addresses the first
					t.connect.begin = now
				}
			})
		},
		ConnectDone: func(_, _ string, err error) {
			t.note(func(now time.Time) {
				if err == nil {
					t.connect.end = now
				}
			})
		},
		TLSHandshakeStart: func() { t.note(func(now time.Time) { t.tls = span{begin: now} }) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			t.note(func(now time.Time) { t.tls.end, t.tlsErr = now, err })
		},
		GotConn: func(info httptrace.GotConnInfo) {
			t.note(func(time.Time) {
				t.got, t.reused, t.remote = true, info.Reused, addrPort(info.Conn)
				if info.Reused { // what was begun for this exchange came too late for it
					t.dns, t.connect, t.tls, t.tlsErr = span{}, span{}, span{}, nil
				}
			})
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { t.note(func(now time.Time) { t.wrote = now }) },
		GotFirstResponseByte: func() { t.note(func(now time.Time) { t.first = now }) },
	})
}

func addrPort(c net.Conn) netip.AddrPort {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

func (t *trace) timing() Timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	tm := Timing{Total: time.Since(t.begin)}
	if !t.reused { // or they are of a dial that was begun for this exchange and came too late for it
		tm.DNS, tm.Connect, tm.TLS = t.dns.took(), t.connect.took(), t.tls.took()
	}
	if !t.first.IsZero() && !t.wrote.IsZero() {
		tm.FirstByte = max(0, t.first.Sub(t.wrote))
	}
	return tm
}

// peer is whom the exchange was with, and over a connection from before or a fresh one.
func (t *trace) peer() (remote netip.AddrPort, reused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.remote, t.reused
}

func (t *trace) resolving() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.got && !t.dns.begin.IsZero() && t.dns.end.IsZero()
}

func (t *trace) connected() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got || !t.connect.end.IsZero()
}

// securing reports whether the exchange ended in the handshake of TLS.
func (t *trace) securing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.got && !t.tls.begin.IsZero() && (t.tls.end.IsZero() || t.tlsErr != nil)
}
