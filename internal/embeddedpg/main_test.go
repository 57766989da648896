//go:build unix

package embeddedpg

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// holdEnv turns the test binary into an owner of the folder it names, for the
// tests that kill one.
const holdEnv = "LANDLORD_TEST_HOLD_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		os.Exit(hold(dir))
	}
	goleak.VerifyTestMain(m)
}

func hold(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := Start(ctx, Config{DataDir: dir, FastUnsafe: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("holding", s.cmd.Process.Pid)
	<-ctx.Done()
	if err := s.Stop(context.Background()); err != nil {
		return 1
	}
	return 0
}

func integration(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	t.Parallel()
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// openTemp is a temporary folder that any account may enter, which
// t.TempDir is not.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "landlord-embeddedpg-*") //nolint:usetesting // t.TempDir is closed to other accounts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustStart starts a server and stops it with the test.
func mustStart(t *testing.T, c Config) *Server {
	t.Helper()
	c.FastUnsafe = true
	s, err := Start(deadline(t), c)
	if err != nil {
		t.Fatalf("start (without the server programs: make deps): %v", err)
	}
	t.Cleanup(func() { mustStop(t, s) })
	return s
}

func mustStop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
}
