package gateway_test

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The gateways are the real programs, run with the configuration of the examples,
// in which only addresses are replaced.

// find returns a program of this system; daemons are where an ordinary user's
// PATH doesn't lead.
func find(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/", "/opt/homebrew/bin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs %s; get it with: make deps", name)
	return ""
}

// built returns a program that is built from a Go module, in the version that
// tools/NAME/go.mod pins.
func built(t *testing.T, name, module string) string {
	t.Helper()
	file := filepath.Join("..", "..", "tools", name, "go.mod")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pin := regexp.MustCompile(`(?m)^(?:require)?\s` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(raw)
	if pin == nil {
		t.Fatalf("%s does not require %s", file, module)
	}
	want := string(pin[1])
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	have := "not there"
	if info, err := buildinfo.ReadFile(program); err == nil {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module {
				have = m.Version
			}
		}
	}
	if have != want {
		t.Fatalf("this test needs bin/%s of %s %s, which is %s; get it with: make gateways", name, module, want, have)
	}
	return program
}

// example returns a configuration of the examples with some of its text replaced:
// what is to be replaced, and by what, in turns.
func example(t *testing.T, name string, change ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "gateway", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(text, change[i]) {
			t.Fatalf("%s has no %q", name, change[i])
		}
		text = strings.ReplaceAll(text, change[i], change[i+1])
	}
	return text
}

// folder returns a folder of a program's own, with files in it. (t.TempDir's
// parent is closed to other users.)
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "landlord-gateway") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run starts a program in its folder and waits until it listens. It ends with the
// test, which shows its output when it failed.
func run(t *testing.T, cmd *exec.Cmd, dir, listens string) {
	t.Helper()
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	said := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return string(raw)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s\n%s", cmd.Path, said("output"), said("access.log"))
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second) // takes a moment; machines are shared
	for {
		if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listens); err == nil {
			_ = c.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", cmd.Path, err, said("output"))
		case <-deadline:
			t.Fatalf("%s does not listen\n%s", cmd.Path, said("output"))
		case <-tick.C:
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve runs a handler on loopback and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}
