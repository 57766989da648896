package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/outbound"
)

// hostile is a receiver that means ill.
type hostile struct {
	url      string
	class    string // of its attempts; "" when it is taken for a success
	longBody bool   // what is kept of its answer is as much as is kept of any
}

// rawReceiver serves connections by hand, until the test ends.
func (w *world) rawReceiver(serve func(net.Conn)) (url string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var all sync.WaitGroup
	var open sync.Map
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, true)
			all.Go(func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				if _, err := conn.Read(buf); err == nil { // the request, or enough of it
					serve(conn)
				}
			})
		}
	})
	w.t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

// forever writes until nobody takes it any more.
func forever(conn net.Conn, head, piece string) {
	if _, err := io.WriteString(conn, head); err != nil {
		return
	}
	for {
		if _, err := io.WriteString(conn, piece); err != nil {
			return
		}
	}
}

// bomb is ten megabytes of nothing, in a few kilobytes.
func bomb(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, 10<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Receivers that mean ill get what they deserve in the log, neither much of this
// process's memory nor a place of the others': while one holds every request that it
// was sent, all that another tenant is to be told arrives.
func TestHostile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	var loopback atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { loopback.Add(1) }))
	t.Cleanup(inside.Close)
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	untrusted.Config.ErrorLog = nil
	zipped := bomb(t)
	kinds := map[string]hostile{
		"no answer": {url: w.rawReceiver(func(net.Conn) { <-released }), class: string(outbound.Timeout)},
		"slow headers": {url: w.rawReceiver(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(conn, "X-Slow: 1\r\n"); err != nil {
					tick.Stop()
					return
				}
			}
		}), class: string(outbound.Timeout)},
		"endless headers": {url: w.rawReceiver(func(conn net.Conn) {
			forever(conn, "HTTP/1.1 200 OK\r\n", "X-More: "+strings.Repeat("x", 1000)+"\r\n")
		}), class: string(outbound.HeadersTooLarge)},
		"endless body": {url: w.rawReceiver(func(conn net.Conn) {
			forever(conn, "HTTP/1.1 500 No\r\nContent-Length: 1000000000000\r\n\r\n", strings.Repeat("x", 64<<10))
		}), class: ClassStatus, longBody: true},
		"gzip bomb": {url: w.newReceiver(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			rw.WriteHeader(http.StatusBadGateway)
			_, _ = rw.Write(zipped)
		}).URL, class: ClassStatus, longBody: true},
		"reset": {url: w.rawReceiver(func(conn net.Conn) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}), class: string(outbound.Reset)},
		"no HTTP": {url: w.rawReceiver(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
		}), class: string(outbound.ResponseMalformed)},
		"bad TLS": {url: untrusted.URL, class: string(outbound.TLSFailed)},
		"redirect to loopback": {url: w.newReceiver(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, inside.URL, http.StatusTemporaryRedirect)
		}).URL, class: ClassRedirect},
		"an address inside": {url: "http://169.254.169.254/latest/meta-data", class: string(outbound.AddressNotAllowed)},
	}
	const each = 6
	good := w.newReceiver(nil)
	healthy := w.tenant()
	w.endpoint(healthy, good.URL)
	ill, names := w.tenant(), map[id.Webhook]string{}
	for name, k := range kinds {
		endpoint, _ := w.endpoint(ill, k.url)
		names[endpoint] = name
	}
	client := hostileClient(t)
	base, peak := heapBytes(), uint64(0)
	watching, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			peak = max(peak, heapBytes())
			<-time.After(10 * time.Millisecond)
		}
	})
	w.engine(func(c *EngineConfig) {
		c.Send, c.Timeout, c.Schedule = client.Do, 3*time.Second, Schedule{Gaps: []time.Duration{0}}
		c.DisableMinimum, c.InFlight = time.Hour, 40
	})
	for range each {
		w.publish(ill, "render.completed")
	}
	for range 30 {
		w.publish(healthy, "render.completed")
	}
	w.wantStates("the healthy tenant's arrive", healthy, map[string]int{"delivered ": 30})
	w.eventually("all of the others' have failed", func() bool { return w.states(ill)["failed exhausted"] == each*len(kinds) })
	stop()
	watch.Wait()
	release()

	got, want := map[string]int{}, map[string]int{}
	for _, a := range w.attempts(ill) {
		name := names[a.EndpointID]
		got[name+": "+a.ErrorClass]++
		kept := ""
		if a.ResponseBody != nil {
			kept = *a.ResponseBody
		}
		if len([]rune(kept)) > keptBody || kinds[name].longBody && len(kept) < keptBody/2 {
			t.Errorf("%s: %d bytes of the answer are kept", name, len(kept))
		}
		if a.ErrorMessage == "" {
			t.Errorf("%s: no message", name)
		}
	}
	for name, k := range kinds {
		want[fmt.Sprintf("%s: %s", name, k.class)] = each
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := loopback.Load(); n != 0 {
		t.Errorf("%d requests followed the redirect", n)
	}
	if grown := int64(peak) - int64(base); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// hostileClient lets webhooks go to this machine, with TLS too, and trusts nobody.
func hostileClient(t testing.TB) *outbound.Client {
	t.Helper()
	var open []outbound.Allow
	for _, s := range []string{"http://127.0.0.1:*", "127.0.0.1:*"} {
		a, err := outbound.ParseAllow(s)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
	}
	client, err := outbound.New(outbound.Config{Allow: open, AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// heapBytes is how much memory objects take, dead ones included until the next collection.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
