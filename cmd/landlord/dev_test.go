//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A folder that only its owner may enter, as mktemp makes them: whoever clones into
// one finds the token where the pages say that it is, also as root, whose PostgreSQL
// runs under an account that can't enter; and again after a restart.
func TestDev_closedFolder(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, data := filepath.Join(home, "landlord"), filepath.Join(home, ".landlord")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if at, err := filepath.EvalSymlinks(data); err == nil && at != data {
			_ = os.RemoveAll(at) // the one that it leads to
		}
	})
	var tokens [2][]byte
	for i := range tokens {
		said := &logFile{}
		cmd := exec.Command(program, "dev", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0")
		cmd.Dir, cmd.Env = home, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
		eventually(t, 2*time.Minute, "landlord dev is up", func() bool { return strings.Contains(said.String(), "Ctrl-C stops everything") })
		if !strings.Contains(said.String(), "LANDLORD_TOKEN_FILE=.landlord/owner.token") {
			t.Errorf("it says\n%s", said)
		}
		if tokens[i], err = os.ReadFile(filepath.Join(data, "owner.token")); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	if len(tokens[0]) == 0 || !bytes.Equal(tokens[0], tokens[1]) {
		t.Error("after a restart it is another world")
	}
}
