package app_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The load that benchmarks put on servers: raw connections that only write and
// count bytes, for a client that did more would hide what it is to measure.

// asker sends its questions over a connection of its own, waits for the answers
// and keeps nothing of them.
type asker interface {
	ask() error
	atOnce() int // how many questions that are
}

func dial(b *testing.B, address string) (net.Conn, *bufio.Reader) {
	b.Helper()
	c, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReaderSize(c, 16<<10)
}

func several(n int, dial func() asker) []asker {
	all := make([]asker, n)
	for i := range all {
		all[i] = dial()
	}
	return all
}

// round has each ask n times, and waits for the answers.
func round(b *testing.B, all []asker, n int) time.Duration {
	b.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for range n {
				if err := c.ask(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// paced asks n times, once every so often by whoever's turn it is, and returns how long after that moment each was
// answered: a server that is slow is asked no less, and what waits for it counts.
func paced(b *testing.B, all []asker, n int, every time.Duration) []time.Duration {
	b.Helper()
	late := make([]time.Duration, n)
	began := time.Now().Add(10 * time.Millisecond)
	var wg sync.WaitGroup
	for first, c := range all {
		wg.Go(func() {
			for i := first; i < n; i += len(all) {
				due := began.Add(time.Duration(i) * every)
				<-time.After(time.Until(due))
				if err := c.ask(); err != nil {
					b.Error(err)
					return
				}
				late[i] = time.Since(due)
			}
		})
	}
	wg.Wait()
	return late
}

// cpuTime is what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func percentile(v []time.Duration, p int) time.Duration {
	slices.Sort(v)
	return v[len(v)*p/100]
}

// httpAsker asks one question after the other.
type httpAsker struct {
	net.Conn

	r       *bufio.Reader
	request string
}

func (c *httpAsker) atOnce() int { return 1 }

func (c *httpAsker) ask() error {
	if _, err := io.WriteString(c.Conn, c.request); err != nil {
		return err
	}
	return skipAnswer(c.r)
}

// skipAnswer reads one answer and keeps nothing of it.
func skipAnswer(r *bufio.Reader) error {
	length, first := 0, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 20")) {
			return fmt.Errorf("answered %q", line)
		}
		first = false
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if _, err := fmt.Sscanf(string(v), "%d", &length); err != nil {
				return err
			}
		}
	}
	_, err := r.Discard(length)
	return err
}
