// Package redistest gives a test a Redis of its own: the real server, on a socket in a temporary folder, empty and without
// persistence, that ends with the test and with the process. A machine without it fails the test and names the command that
// installs it; it never skips.
package redistest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a running redis-server, until it is killed.
type Server struct {
	tb      testing.TB
	program string
	socket  string
	args    []string

	pid   int
	stdin io.Closer // closing it ends the server
	cmd   *exec.Cmd
}

// Start starts a server with more arguments ("--maxmemory", "1mb").
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs Redis") // -short leaves the integration tests out on purpose
	}
	program, err := find()
	if err != nil {
		tb.Fatal("no redis-server: install it with scripts/deps.sh test")
	}
	dir, err := os.MkdirTemp("", "redistest") //nolint:usetesting // tb.TempDir may be too long for a socket's path
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, program: program, socket: filepath.Join(dir, "redis.sock"), args: args}
	tb.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	s.Restart()
	return s
}

func find() (string, error) {
	if program, err := exec.LookPath("redis-server"); err == nil {
		return program, nil
	}
	return exec.LookPath("/usr/sbin/redis-server")
}

// URL is what clients connect to.
func (s *Server) URL() string { return (&url.URL{Scheme: "unix", Path: s.socket}).String() }

// Restart starts the server, empty, when it was killed.
func (s *Server) Restart() {
	s.tb.Helper()
	args := append([]string{
		"-c", `"$@" >"$LOG" 2>&1 & echo $!; read _; kill -9 $!`, "sh", s.program, "--port", "0", "--unixsocket", s.socket,
		"--save", "", "--appendonly", "no", "--dir", filepath.Dir(s.socket),
	}, s.args...)
	// The shell waits for its input to end, which it also does when this process is killed.
	cmd := exec.CommandContext(context.WithoutCancel(s.tb.Context()), "sh", args...)
	log := filepath.Join(filepath.Dir(s.socket), "log")
	cmd.Env = append(os.Environ(), "LOG="+log)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.tb.Fatal(err)
	}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		s.tb.Fatal(err)
	}
	s.stdin, s.cmd = stdin, cmd
	for deadline := time.Now().Add(20 * time.Second); !s.answers(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log)
			s.tb.Fatalf("redis-server does not answer:\n%s", said)
		}
	}
}

func (s *Server) answers() bool {
	c, err := (&net.Dialer{}).DialContext(s.tb.Context(), "unix", s.socket)
	if err != nil {
		return false
	}
	defer c.Close() //nolint:errcheck // it was only asked
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "+PONG")
}

// Kill ends the server at once, without a word to anybody (SIGKILL).
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
	s.cmd, s.pid = nil, 0
	_ = os.Remove(s.socket)
}

// Pause stops the server with its connections open (SIGSTOP), as a hung machine would.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue undoes Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		s.tb.Fatal(err)
	}
}
