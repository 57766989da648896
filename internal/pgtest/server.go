//go:build unix

package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

// folder is where the test binaries of a user meet:
//
//	start         flock of who starts or stops the server, builds a template, or joins
//	supervisor    flock of the supervisor, for life
//	clients/      one flocked file a live test binary
//	server.json   the server's URLs, while there is a supervisor
//	log           what the supervisor says
type folder string

// rootFolder makes the folder. Its version is that of what is agreed on here.
func rootFolder() (folder, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("landlord-pgtest-%d-v1", os.Geteuid()))
	return folder(dir), ownFolder(dir)
}

// ownFolder makes a folder in a place that all users write to, and refuses one
// that another user made first.
func ownFolder(dir string) error {
	const passable = 0o711 // root's postgres, which isn't root, has its data below
	switch err := os.Mkdir(dir, passable); {
	case err == nil:
		if err := os.Chmod(dir, passable); err != nil { // whatever the umask
			return err
		}
	case !errors.Is(err, os.ErrExist):
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder of this user alone: remove it", dir)
	}
	return nil
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// lock opens a lock file and takes its lock if it is free; otherwise file is nil.
func (f folder) lock(name string) (file *os.File, err error) {
	file, err = os.OpenFile(f.path(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	free, err := embeddedpg.TryLock(file)
	if err != nil || !free {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// await takes a lock, however long it takes within ctx.
func (f folder) await(ctx context.Context, name string) (*os.File, error) {
	for {
		file, err := f.lock(name)
		if file != nil || err != nil {
			return file, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock %s: %w", f.path(name), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// join returns the server with a template of our schema, starting and building
// what is missing. The client file stays open and locked while we use it.
func (f folder) join(ctx context.Context) (server URLs, client *os.File, err error) {
	start, err := f.await(ctx, "start")
	if err != nil {
		return URLs{}, nil, err
	}
	defer func() { _ = start.Close() }()
	if err := os.MkdirAll(f.path("clients"), 0o700); err != nil {
		return URLs{}, nil, err
	}
	client, err = f.lock(fmt.Sprintf("clients/%d-%d", os.Getpid(), time.Now().Unix()))
	if err == nil && client == nil {
		err = errors.New("another process has our process id")
	}
	if err != nil {
		return URLs{}, nil, err
	}
	if server, err = f.server(ctx); err == nil {
		err = ensureTemplate(ctx, server)
	}
	if err != nil {
		_ = client.Close()
		return URLs{}, nil, err
	}
	return server, client, nil
}

// databasePrefix is what the names of a client's databases begin with.
func databasePrefix(client string) string {
	return "clone_" + strings.ReplaceAll(filepath.Base(client), "-", "_") + "_"
}

// server returns the running server's URLs, or starts one. A supervisor that
// has no server yet (who started it was killed) or none any more is waited for.
func (f folder) server(ctx context.Context) (URLs, error) {
	for {
		idle, err := f.lock("supervisor")
		if err != nil {
			return URLs{}, err
		}
		if idle != nil { // nobody supervises
			_ = idle.Close()
			if _, err := embeddedpg.Find(ctx); err != nil {
				return URLs{}, err
			}
			if err := f.startSupervisor(ctx); err != nil {
				return URLs{}, fmt.Errorf("start the test server: %w", err)
			}
		}
		text, err := os.ReadFile(f.path("server.json"))
		if err == nil {
			var u URLs
			if err := json.Unmarshal(text, &u); err != nil {
				return URLs{}, fmt.Errorf("read server.json: %w", err)
			}
			return u, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return URLs{}, err
		}
		select {
		case <-ctx.Done():
			return URLs{}, fmt.Errorf("wait for the supervisor, see %s: %w", f.path("log"), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// startSupervisor starts this very program again, as the supervisor, and waits
// until it has a server.
func (f folder) startSupervisor(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(f.path("log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(program)
	cmd.Dir = "/" // ours may go
	cmd.Env = append(os.Environ(), supervisorEnv+"="+string(f))
	cmd.Stdout, cmd.Stderr = log, log // never ours: `go test` would wait for their end
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return err
	}
	_ = cmd.Process.Release() // it outlives us; a goroutine that waits would be a leak to goleak

	if end, ok := ctx.Deadline(); ok {
		_ = read.SetReadDeadline(end)
	}
	said, err := io.ReadAll(read)
	switch {
	case err != nil:
		return fmt.Errorf("no word from the supervisor, see %s: %w", f.path("log"), err)
	case string(said) == supervisorReady:
		return nil
	case len(said) == 0:
		return fmt.Errorf("the supervisor ended, see %s", f.path("log"))
	default:
		return errors.New(string(said))
	}
}

// dataFolder returns where the server's data goes: memory when there is plenty.
func (f folder) dataFolder() (string, error) {
	const plenty = 2 << 30
	const memory = "/dev/shm"
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) == nil && fs.Bavail*uint64(fs.Bsize) >= plenty {
		sum := sha256.Sum256([]byte(f)) // a server is one folder's: another TMPDIR has another
		dir := filepath.Join(memory, fmt.Sprintf("landlord-pgtest-%x", sum[:6]))
		if ownFolder(dir) == nil {
			return dir, nil
		}
	}
	dir := f.path("data")
	return dir, ownFolder(dir)
}

// clients lists the client files.
func (f folder) clients() ([]string, error) {
	entries, err := os.ReadDir(f.path("clients"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		pid, _, _ := strings.Cut(e.Name(), "-")
		if _, err := strconv.Atoi(pid); err == nil {
			names = append(names, "clients/"+e.Name())
		}
	}
	return names, nil
}
