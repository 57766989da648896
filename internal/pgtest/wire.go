//go:build unix

package pgtest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Wire is a TCP proxy that counts round trips and can be cut: nothing passes then
// and nothing is refused, as a network does it.
type Wire struct {
	listener net.Listener
	target   string
	turns    atomic.Int64
	conns    sync.WaitGroup

	mu    sync.Mutex
	whole chan struct{} // closed when nothing is cut
}

// NewWire lays a wire to an address.
func NewWire(t testing.TB, target string) *Wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, target: target, whole: make(chan struct{})}
	close(w.whole)
	w.conns.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			w.conns.Go(func() { w.join(near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.Mend()
		w.conns.Wait()
	})
	return w
}

// Address is the near end.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// RoundTrips is how often the far end answered what the near end had said.
func (w *Wire) RoundTrips() int64 { return w.turns.Load() }

// Sever cuts the wire.
func (w *Wire) Sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = make(chan struct{})
}

// Mend lets pass what waited, and all that comes.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.whole:
	default:
		close(w.whole)
	}
}

func (w *Wire) join(near net.Conn) {
	defer func() { _ = near.Close() }()   // gone is gone
	far, err := net.Dial("tcp", w.target) //nolint:noctx // ends with the near end
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	var asked atomic.Bool
	var both sync.WaitGroup
	both.Go(func() { w.pass(near, far, func() { asked.Store(true) }) })
	both.Go(func() {
		w.pass(far, near, func() {
			if asked.Swap(false) {
				w.turns.Add(1)
			}
		})
	})
	both.Wait()
}

// pass carries what comes from one end to the other, until either is gone.
func (w *Wire) pass(from, to net.Conn, before func()) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		whole := w.whole
		w.mu.Unlock()
		<-whole
		if n > 0 {
			before()
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
