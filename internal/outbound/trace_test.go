package outbound

import (
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"testing"
	"time"
)

// A dial that a pooled connection overtook goes on, and tells the trace about itself when the exchange has another connection.
func TestTrace_lateDial(t *testing.T) {
	t.Parallel()
	tr := newTrace()
	hooks := httptrace.ContextClientTrace(tr.watch(t.Context()))
	conn, other := net.Pipe()
	defer conn.Close()
	defer other.Close()
	hooks.DNSStart(httptrace.DNSStartInfo{})
	hooks.GotConn(httptrace.GotConnInfo{Conn: conn, Reused: true})
	hooks.DNSDone(httptrace.DNSDoneInfo{})
	hooks.ConnectStart("tcp", "192.0.2.1:443")
	hooks.ConnectDone("tcp", "192.0.2.1:443", nil)
	hooks.TLSHandshakeDone(tls.ConnectionState{}, nil)
	if tm := tr.timing(); tm.DNS != 0 || tm.Connect != 0 || tm.TLS != 0 || tm.Total <= 0 || tm.Total > time.Hour {
		t.Errorf("got %+v", tm)
	}
}
