package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDo(t *testing.T) {
	t.Parallel()
	type got struct {
		Method, URI, Agent, Type, Body string
		Keyed, Encoding                bool
	}
	var seen got
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, keyed := r.Header["Idempotency-Key"]
		_, encoding := r.Header["Accept-Encoding"]
		seen = got{r.Method, r.RequestURI, r.UserAgent(), r.Header.Get("Content-Type"), string(b), keyed, encoding}
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "taken")
	})
	c := newClient(t, Config{UserAgent: "landlord/1"}, local)
	res, err := c.Do(t.Context(), Request{
		Method: "POST", URL: s.URL + "/a%2Fb?x=1", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"n":1}`), Key: "ep", Repeatable: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := got{Method: "POST", URI: "/a%2Fb?x=1", Agent: "landlord/1", Type: "application/json", Body: `{"n":1}`}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("the receiver's view (-want +got):\n%s", diff)
	}
	if res.Status != 202 || string(res.Body) != "taken" || res.Truncated || res.Header.Get("X-Answer") != "yes" || res.Proto != "HTTP/1.1" ||
		res.Remote.String() != strings.TrimPrefix(s.URL, "http://") || res.Reused {
		t.Errorf("got %+v", res)
	}
	if tm := res.Timing; tm.Connect <= 0 || tm.FirstByte <= 0 || tm.Total < tm.Connect+tm.FirstByte || tm.DNS != 0 || tm.TLS != 0 {
		t.Errorf("got %+v", tm)
	}
	res, err = c.Do(t.Context(), Request{URL: s.URL, Key: "ep"})
	if err != nil || !res.Reused || res.Timing.Connect != 0 || seen.Method != http.MethodGet {
		t.Errorf("got %+v, %v", res, err)
	}
}

// Each Do is observed once, under a name from the list.
func TestDo_observed(t *testing.T) {
	t.Parallel()
	var seen []string
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	c := newClient(t, Config{Observe: func(outcome string, took time.Duration) {
		if took <= 0 {
			t.Errorf("%s took %s", outcome, took)
		}
		seen = append(seen, outcome)
	}}, local)
	for _, u := range []string{s.URL, "https://10.0.0.1", "https://x.example:22", "nothing"} {
		_, _ = c.Do(t.Context(), Request{URL: u})
	}
	if diff := cmp.Diff([]string{"answered", "address_not_allowed", "port_not_allowed", "url_not_allowed"}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// 3xx is an answer, and nothing more.
func TestDo_redirects(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	inside := receiver(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		s := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", inside.URL)
			w.Header().Set("Refresh", "0; url="+inside.URL)
			w.WriteHeader(status)
		})
		c := newClient(t, Config{}, local)
		res, err := c.Do(t.Context(), Request{Method: "POST", URL: s.URL, Body: []byte("x")})
		if err != nil || res.Status != status {
			t.Errorf("%d: got %+v, %v", status, res, err)
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestDo_reservedHeaders(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{}, local)
	for _, name := range []string{"host", "Content-Length", "transfer-encoding", "Connection", "Proxy-Authorization", "TE", "Upgrade", "Expect"} {
		_, err := c.Do(t.Context(), Request{URL: "http://127.0.0.1:1", Header: http.Header{name: {"x"}}})
		if ClassOf(err) != RequestInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, h := range []http.Header{{"X-A": {"a\r\nB: c"}}, {"X A": {"x"}}} {
		if _, err := c.Do(t.Context(), Request{URL: "http://127.0.0.1:1", Header: h}); ClassOf(err) != RequestInvalid {
			t.Errorf("%v: got %v", h, err)
		}
	}
	if _, err := c.Do(t.Context(), Request{URL: "http://127.0.0.1:1", Method: "P OST"}); ClassOf(err) != RequestInvalid {
		t.Errorf("got %v", err)
	}
}

// Receivers that keep us waiting, and where each ends.
func TestDo_slow(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Timeout: 300 * time.Millisecond}, local)
	hold := func(r *raw, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for name, tc := range map[string]struct {
		serve  func(*raw, net.Conn)
		whole  bool
		want   Class
		status int
		body   Class
	}{
		"says nothing": {serve: hold, want: Timeout},
		"slow headers": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\n")
			for r.say(conn, "X-A: b\r\n") {
				pause(10 * time.Millisecond)
			}
		}, want: Timeout},
		"slow body": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			for r.say(conn, "b") {
				pause(10 * time.Millisecond)
			}
		}, status: 200, body: Timeout},
		"slow body, all of it wanted": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nb")
			hold(r, conn)
		}, whole: true, want: Timeout, status: 200, body: Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRaw(t, tc.serve)
			began := time.Now()
			res, err := c.Do(t.Context(), Request{Method: "POST", URL: r.url, Body: []byte("x"), Whole: tc.whole})
			if ClassOf(err) != tc.want || res.Status != tc.status || res.BodyError != tc.body {
				t.Errorf("got %+v, %v", res, err)
			}
			if took := time.Since(began); took > soon {
				t.Errorf("took %s", took)
			}
		})
	}
}

func pause(d time.Duration) { <-time.After(d) }

// Receivers that want to fill our memory: what they managed to write bounds what we can have kept.
func TestDo_endless(t *testing.T) {
	t.Parallel()
	const kernel = 16 << 20 // what two sockets' buffers may swallow
	big := strings.Repeat("x", 32<<10)
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	for range 1 << 9 { // 16 MiB in 20 KiB
		_, _ = io.WriteString(z, strings.Repeat("\x00", 32<<10))
	}
	_ = z.Close()
	for name, tc := range map[string]struct {
		serve  func(*raw, net.Conn)
		want   Class
		status int
		body   int
	}{
		"body": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\n\r\n")
			for r.say(conn, big) {
			}
		}, status: 200, body: 8 << 10},
		"chunks": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
			for r.say(conn, fmt.Sprintf("%x\r\n%s\r\n", len(big), big)) {
			}
		}, status: 500, body: 8 << 10},
		"chunk extensions": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for r.say(conn, "1;"+strings.Repeat("e", 2000)+"\r\nx\r\n") {
			}
		}, status: 200, body: -1},
		"headers": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\n")
			for r.say(conn, "X-A: "+big+"\r\n") {
			}
		}, want: HeadersTooLarge},
		"one header": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nX-A: ")
			for r.say(conn, big) {
			}
		}, want: HeadersTooLarge},
		"status line": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 ")
			for r.say(conn, big) {
			}
		}, want: HeadersTooLarge},
		"early hints": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			for r.say(conn, "HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n") {
			}
		}, want: HeadersTooLarge},
		"continues": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			for r.say(conn, "HTTP/1.1 100 Continue\r\n\r\n") {
			}
		}, want: HeadersTooLarge},
		"trailers": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
			for r.say(conn, "X-A: "+big+"\r\n") {
			}
		}, status: 200, body: 2},
		"gzip bomb": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()))
			r.say(conn, bomb.String())
		}, status: 200, body: 8 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRaw(t, tc.serve)
			c := newClient(t, Config{}, local)
			res, err := c.Do(t.Context(), Request{Method: "POST", URL: r.url, Body: []byte("x")})
			if ClassOf(err) != tc.want || res.Status != tc.status || (tc.body >= 0 && len(res.Body) != tc.body) || len(res.Body) > 8<<10 {
				t.Errorf("got status %d, %d bytes, %s, %v", res.Status, len(res.Body), res.BodyError, err)
			}
			if n := r.wrote.Load(); n > kernel {
				t.Errorf("the receiver wrote %d bytes", n)
			}
		})
	}
}

func TestDo_whole(t *testing.T) {
	t.Parallel()
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1000)) })
	c := newClient(t, Config{}, local)
	for limit, want := range map[int64]Class{999: ResponseTooLarge, 1000: "", 1001: ""} {
		res, err := c.Do(t.Context(), Request{URL: s.URL, Whole: true, MaxBody: limit})
		if ClassOf(err) != want || res.Status != 200 || int64(len(res.Body)) != min(limit, 1000) || res.Truncated != (want != "") {
			t.Errorf("%d: got %d bytes, %v, %v", limit, len(res.Body), res.Truncated, err)
		}
	}
}

// Receivers that break off, each at another place.
func TestDo_broken(t *testing.T) {
	t.Parallel()
	abort := func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) } // Close sends RST
	for name, tc := range map[string]struct {
		serve  func(*raw, net.Conn)
		want   Class
		status int
		body   Class
	}{
		"at once":              {serve: func(r *raw, conn net.Conn) { abort(conn) }, want: Reset},
		"after the request":    {serve: func(r *raw, conn net.Conn) { hear(conn); abort(conn) }, want: Reset},
		"an end for an answer": {serve: func(r *raw, conn net.Conn) { hear(conn) }, want: Reset},
		"in the headers":       {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/1.1 200 OK\r\nX-A: b\r\n") }, want: Reset},
		"in the body":          {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab") }, status: 200, body: Reset},
		"not HTTP":             {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "220 mail.example ESMTP\r\n") }, want: ResponseMalformed},
		"HTTP/9":               {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/9.1.1 200 OK\r\n\r\n") }, want: ResponseMalformed},
		"no such status":       {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/1.1 OK\r\n\r\n") }, want: ResponseMalformed},
		"two lengths": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
		}, want: ResponseMalformed},
		"no length": {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n") }, want: ResponseMalformed},
		"odd transfer encoding": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")
		}, want: ResponseMalformed},
		"malformed header": {serve: func(r *raw, conn net.Conn) { hear(conn); r.say(conn, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n") }, want: ResponseMalformed},
		"malformed chunk": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, status: 200, body: ResponseMalformed},
		"protocols are switched": {serve: func(r *raw, conn net.Conn) {
			hear(conn)
			r.say(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
		}, status: 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRaw(t, tc.serve)
			c := newClient(t, Config{Timeout: soon}, local)
			res, err := c.Do(t.Context(), Request{Method: "POST", URL: r.url, Body: []byte("x")})
			if ClassOf(err) != tc.want || res.Status != tc.status || res.BodyError != tc.body {
				t.Errorf("got %+v, %v", res, err)
			}
			if n := r.conns.Load(); n != 1 {
				t.Errorf("%d connections: what failed on a fresh one is not repeated", n)
			}
		})
	}
}

// A pooled connection that the receiver has closed costs no failed attempt, when the request may be repeated.
func TestDo_stalePooledConnection(t *testing.T) {
	t.Parallel()
	r := newRaw(t, func(r *raw, conn net.Conn) { // answers once, reads the second request and hangs up
		hear(conn)
		r.say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		hear(conn)
	})
	c := newClient(t, Config{Timeout: soon}, local)
	post := func(repeatable bool) (Response, error) {
		return c.Do(t.Context(), Request{Method: "POST", URL: r.url, Body: []byte("x"), Repeatable: repeatable})
	}
	if _, err := post(true); err != nil {
		t.Fatal(err)
	}
	if res, err := post(true); err != nil || res.Status != 200 || res.Reused {
		t.Errorf("repeatable: got %+v, %v", res, err)
	}
	if _, err := post(false); ClassOf(err) != Reset {
		t.Errorf("not repeatable: got %v", err)
	}
}

func TestDo_noConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := newDNS(t)
	d.setFunc("silent.example", nil)
	d.set("empty.example")
	c := newClient(t, Config{Resolver: d.Resolver, DialTimeout: 200 * time.Millisecond}, local)
	for u, want := range map[string]Class{
		"http://" + address:      ConnectionRefused,
		"https://nx.example":     DNSFailed,
		"https://empty.example":  DNSFailed,
		"https://silent.example": DNSFailed,
	} {
		res, err := c.Do(t.Context(), Request{URL: u})
		if ClassOf(err) != want || res.Status != 0 || res.Timing.Total <= 0 {
			t.Errorf("%s: got %+v, %v", u, res, err)
		}
		if d := detail(err); strings.Contains(d, "127.0.0.1") || d == "" {
			t.Errorf("%s: detail %q", u, d)
		}
	}
}

func TestDo_cancelled(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	r := newRaw(t, func(r *raw, conn net.Conn) { hear(conn); close(heard); hear(conn) })
	c := newClient(t, Config{}, local)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-heard; cancel() }()
	if _, err := c.Do(ctx, Request{URL: r.url}); ClassOf(err) != Cancelled {
		t.Errorf("got %v", err)
	}
	c.Close()
	if _, err := c.Do(t.Context(), Request{URL: r.url}); ClassOf(err) != Cancelled {
		t.Errorf("after Close: got %v", err)
	}
}

// What is in flight is bounded by key and by host; what is over is refused at once, and slots are given back.
func TestDo_busy(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			arrived <- struct{}{}
			<-release
		}
	})
	c := newClient(t, Config{MaxPerKey: 2, MaxPerHost: 3, Timeout: time.Minute}, local)
	var all sync.WaitGroup
	hold := func(key string) {
		all.Go(func() {
			if _, err := c.Do(t.Context(), Request{URL: s.URL + "/hold", Key: key}); err != nil {
				t.Error(err)
			}
		})
		<-arrived
	}
	hold("a")
	hold("a")
	if _, err := c.Do(t.Context(), Request{URL: s.URL, Key: "a"}); ClassOf(err) != Busy {
		t.Errorf("a third of a key: got %v", err)
	}
	if _, err := c.Do(t.Context(), Request{URL: s.URL, Key: "b"}); err != nil {
		t.Errorf("another key: got %v", err)
	}
	hold("b")
	if _, err := c.Do(t.Context(), Request{URL: s.URL, Key: "c"}); ClassOf(err) != Busy {
		t.Errorf("a fourth of a host: got %v", err)
	}
	close(release)
	all.Wait()
	if n := len(c.keys.taken) + len(c.hosts.taken); n != 0 {
		t.Errorf("%d slots were not given back", n)
	}
}

// Idle connections are bounded in all, however many receivers there are, and Close closes them.
func TestDo_idleConnections(t *testing.T) {
	t.Parallel()
	const most = 4
	var open atomic.Int64
	opened := func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		default:
		}
	}
	c := newClient(t, Config{MaxIdle: most}, local)
	for range 5 * most {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Config.ConnState = opened
		s.Start()
		t.Cleanup(s.Close)
		if _, err := c.Do(t.Context(), Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
	}
	for open.Load() > most { // closing is told by the receivers
		pause(time.Millisecond)
	}
	if n := open.Load(); n != most {
		t.Errorf("%d connections are open, want %d", n, most)
	}
	c.Close()
	for open.Load() > 0 {
		pause(time.Millisecond)
	}
}
