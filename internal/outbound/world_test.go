package outbound

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient makes a client that trusts the test's receivers and, for a test on a busy machine, has patience.
func newClient(t testing.TB, c Config, open ...string) *Client {
	t.Helper()
	for _, s := range open {
		a, err := ParseAllow(s)
		if err != nil {
			t.Fatal(err)
		}
		c.Allow = append(c.Allow, a)
	}
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

const local = "http://127.0.0.1:*" // what most tests open: httptest listens there

// receiver is a server of a tenant's.
func receiver(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// raw is a receiver that speaks for itself. What it writes is counted.
type raw struct {
	url   string
	port  string
	wrote atomic.Int64
	conns atomic.Int64
}

func newRaw(t testing.TB, serve func(r *raw, conn net.Conn)) *raw {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := &raw{url: "http://" + l.Addr().String(), port: port}
	var open sync.Map
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			open.Store(conn, true)
			all.Go(func() {
				defer conn.Close()
				serve(r, conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		all.Wait()
	})
	return r
}

// say writes until the client has had enough.
func (r *raw) say(conn net.Conn, text string) bool {
	n, err := conn.Write([]byte(text))
	r.wrote.Add(int64(n))
	return err == nil
}

// hear reads the head of a request.
func hear(conn net.Conn) bool {
	var seen strings.Builder
	b := make([]byte, 1024)
	for !strings.Contains(seen.String(), "\r\n\r\n") {
		n, err := conn.Read(b)
		if err != nil {
			return false
		}
		seen.Write(b[:n])
	}
	return true
}

// dns is a name server that answers what the test says at that moment.
type dns struct {
	*net.Resolver

	mu    sync.Mutex
	hosts map[string]func() []string // of the name with its dot; nil is silence
	asked []string
}

func newDNS(t testing.TB) *dns {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{hosts: map[string]func() []string{}}
	var asking sync.Map // a resolver goes on asking for a while after nobody waits for it any more
	d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := t.Context().Err(); err != nil {
			return nil, err
		}
		query, err := (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
		if err == nil {
			asking.Store(query, true)
		}
		return query, err
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := d.answer(b[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { // the test's context is over by now
		asking.Range(func(query, _ any) bool { query.(net.Conn).Close(); return true })
		conn.Close()
		<-done
	})
	return d
}

func (d *dns) set(name string, addrs ...string) { d.setFunc(name, func() []string { return addrs }) }

func (d *dns) setFunc(name string, addrs func() []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[name+"."] = addrs
}

// answer makes the message for a query (RFC 1035, section 4): header, question, addresses.
func (d *dns) answer(query []byte) []byte {
	name, end := "", 12
	for query[end] != 0 {
		n := int(query[end])
		name += strings.ToLower(string(query[end+1:end+1+n])) + "."
		end += n + 1
	}
	end++
	kind := binary.BigEndian.Uint16(query[end:])
	d.mu.Lock()
	d.asked = append(d.asked, name)
	addrs, known := d.hosts[name]
	d.mu.Unlock()
	if known && addrs == nil {
		return nil
	}
	out := append(append([]byte{}, query[:2]...), 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	if !known {
		out[3] |= 3 // NXDOMAIN
		return append(out, query[12:end+4]...)
	}
	out = append(out, query[12:end+4]...)
	for _, s := range addrs() {
		ip := netip.MustParseAddr(s)
		if (kind == 1) != ip.Is4() {
			continue
		}
		out[7]++
		out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
		out = append(out, ip.AsSlice()...)
	}
	return out
}

func (d *dns) queries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.asked...)
}

// detail is what the tenant reads of an error.
func detail(err error) string {
	e, _ := errors.AsType[*Error](err)
	if e == nil {
		return ""
	}
	return e.Detail
}

func portOf(t testing.TB, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

const soon = 10 * time.Second // for what comes at once, unless the machine is very busy
