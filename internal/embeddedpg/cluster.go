package embeddedpg

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// passwords of the login roles, by role.
type passwords map[string]string

// makeCluster returns the passwords of the existing cluster, or makes one.
func (s *Server) makeCluster(ctx context.Context) (passwords, error) {
	f := s.folder
	leftovers, _ := filepath.Glob(f.pgdata() + ".new-*")
	for _, dir := range leftovers {
		_ = os.RemoveAll(dir) // of an initdb that was killed; it only costs room
	}
	if major, err := f.major(); err != nil {
		return nil, err
	} else if major > 0 {
		return readPasswords(f.pgpass())
	}
	s.logger.Info("making a postgresql cluster", "version", s.programs.Version, "folder", f.dir)
	pw := passwords{}
	for _, role := range []string{SuperRole, OwnerRole, AppRole} {
		var random [18]byte
		rand.Read(random[:]) // never fails
		pw[role] = hex.EncodeToString(random[:])
	}
	if err := pw.write(f.pgpass()); err != nil {
		return nil, err
	}
	var err error
	for _, locale := range []string{"C.UTF-8", "C"} { // not every system knows the first
		if err = s.initdb(ctx, locale, pw[SuperRole]); err == nil || !strings.Contains(err.Error(), "invalid locale") {
			break
		}
	}
	return pw, err
}

// initdb makes the cluster beside its place and renames it into it, so that a
// cluster is whole or absent whatever happens.
func (s *Server) initdb(ctx context.Context, locale, password string) error {
	f := s.folder
	tmp, err := os.MkdirTemp(f.dir, "pgdata.new-*")
	if err != nil {
		return fmt.Errorf("make cluster: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // nothing is left there after success
	secret, err := os.CreateTemp(f.dir, "pgdata.new-*")
	if err != nil {
		return fmt.Errorf("make cluster: %w", err)
	}
	defer func() { _ = os.Remove(secret.Name()) }()
	_, err = secret.WriteString(password + "\n")
	if err = errors.Join(err, secret.Close(), f.account.own(tmp), f.account.own(secret.Name())); err != nil {
		return fmt.Errorf("make cluster: %w", err)
	}

	args := []string{
		"-D", tmp, "-U", SuperRole, "--pwfile", secret.Name(), "--auth", "scram-sha-256",
		"-E", "UTF8", "--locale", locale, "--no-instructions",
	}
	if s.fast {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs.Dir, "initdb"), args...)
	cmd.Dir = tmp
	cmd.Env = environment()
	cmd.SysProcAttr = f.account.attributes()
	cmd.Cancel = func() error { return signalGroup(cmd.Process.Pid) }
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // see Server.run
	out, err := cmd.CombinedOutput()
	runtime.UnlockOSThread()
	if ctx.Err() != nil {
		return fmt.Errorf("make cluster: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("make cluster: initdb: %w; it said:\n%s", err, out)
	}
	if err := os.Rename(tmp, f.pgdata()); err != nil {
		return fmt.Errorf("make cluster: %w", err)
	}
	return nil
}

// stopPredecessor ends the server that a killed owner of this folder left
// running, and removes a postmaster.pid that names anything else: a recycled
// process id there would keep PostgreSQL from starting. PostgreSQL's own check
// of the folder's shared memory still holds.
func (s *Server) stopPredecessor(ctx context.Context) error {
	path := filepath.Join(s.folder.pgdata(), "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	pid := 0
	_, _ = fmt.Sscan(string(text), &pid) // unreadable means nobody
	ours := func() bool { return pid > 1 && serves(pid, s.folder.pgdata()) }
	if ours() {
		s.logger.Warn("stopping a postgresql that its owner left behind", "pid", pid, "folder", s.folder.dir)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, signal := range []func(int) error{signalFast, signalImmediate, signalKill} {
		if !ours() {
			break
		}
		if err := signal(pid); err != nil && ours() {
			return fmt.Errorf("stop the postgresql with process id %d that still runs in %s: %w", pid, s.folder.dir, err)
		}
		for patience := time.After(8 * time.Second); ours(); {
			select {
			case <-ctx.Done():
				return fmt.Errorf("stop the postgresql left in %s: %w", s.folder.dir, ctx.Err())
			case <-patience:
			case <-tick.C:
				continue
			}
			break
		}
	}
	if ours() {
		return fmt.Errorf("the postgresql with process id %d that still runs in %s does not stop", pid, s.folder.dir)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}

// write stores the passwords whole or not at all, in libpq's format.
func (p passwords) write(path string) error {
	var b strings.Builder
	for role, password := range p {
		fmt.Fprintf(&b, "127.0.0.1:*:*:%s:%s\n", role, password)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("store passwords: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("store passwords: %w", err)
	}
	return nil
}

func readPasswords(path string) (passwords, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's passwords (without them, delete the folder to begin anew): %w", err)
	}
	defer func() { _ = file.Close() }()
	p := passwords{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if parts := strings.Split(lines.Text(), ":"); len(parts) == 5 {
			p[parts[3]] = parts[4]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the cluster's passwords: %w", err)
	}
	for _, role := range []string{SuperRole, OwnerRole, AppRole} {
		if p[role] == "" {
			return nil, fmt.Errorf("%s has no password of %s; delete the folder to begin anew", path, role)
		}
	}
	return p, nil
}

// environment is what the server programs see of ours: never our secrets or
// PG* variables, and messages in English, which errors here are told by.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "NSS_WRAPPER_PASSWD", "NSS_WRAPPER_GROUP"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
