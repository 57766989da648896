//go:build unix

package pgtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

const (
	// supervisorEnv turns a test binary into the supervisor of the folder it names.
	supervisorEnv   = "LANDLORD_PGTEST_SUPERVISOR"
	supervisorReady = "ready"
)

// A test binary runs what its packages' init functions and TestMain say, and
// the latter is not ours: the supervisor can only begin here.
//
//nolint:gochecknoinits // see above
func init() {
	if dir := os.Getenv(supervisorEnv); dir != "" {
		if err := supervise(folder(dir), os.NewFile(3, "ready")); err != nil {
			slog.Error("supervisor ended", "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// supervise runs the server until nobody has used it for a while. It tells who
// started it through ready how starting went.
func supervise(f folder, ready *os.File) error {
	syscall.CloseOnExec(int(ready.Fd())) // or postgres would keep the other end waiting
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := newSupervisor(ctx, f)
	if err != nil {
		_, _ = io.WriteString(ready, err.Error())
		return errors.Join(err, ready.Close())
	}
	_, _ = io.WriteString(ready, supervisorReady)
	_ = ready.Close()
	return errors.Join(s.run(ctx), s.end())
}

type supervisor struct {
	folder folder
	idle   time.Duration // how long the server outlives its last user
	look   time.Duration // how often to look who lives
	lock   *os.File
	start  *os.File // locked while the server ends of idleness: nobody may join it then
	server *embeddedpg.Server
}

func newSupervisor(ctx context.Context, f folder) (*supervisor, error) {
	lock, err := f.lock("supervisor")
	if err != nil {
		return nil, err
	}
	if lock == nil {
		return nil, errors.New("there is a supervisor already")
	}
	if err := lock.Truncate(0); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(lock, os.Getpid()); err != nil { // for who wants to end it by hand
		return nil, err
	}
	_ = os.Remove(f.path("server.json")) // of one that was killed
	s := &supervisor{folder: f, lock: lock, idle: time.Minute, look: time.Second}
	base, err := f.dataFolder()
	if err != nil {
		return nil, err
	}
	// What a killed supervisor left is worth nothing: it was never synced. Its
	// server, if it still runs, ends when it finds its folder gone.
	old, _ := filepath.Glob(filepath.Join(base, "*"))
	for _, dir := range old {
		_ = os.RemoveAll(dir)
	}
	data := filepath.Join(base, strconv.Itoa(os.Getpid()))
	s.server, err = embeddedpg.Start(ctx, embeddedpg.Config{DataDir: data, FastUnsafe: true, Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(URLs{
		App: s.server.AppURL("postgres"), Owner: s.server.OwnerURL("postgres"), Super: s.server.SuperURL("postgres"),
	})
	if err == nil {
		err = errors.Join(os.WriteFile(f.path("server.json.new"), text, 0o600),
			os.Rename(f.path("server.json.new"), f.path("server.json"))) // whole, or not there
	}
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// run returns when the server is idle or gone, or ctx ends.
func (s *supervisor) run(ctx context.Context) error {
	used := time.Now()
	tick := time.NewTicker(s.look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.server.Done():
			return errors.New("the server ended by itself")
		case <-tick.C:
		}
		start, err := s.folder.lock("start")
		if err != nil {
			return err
		}
		if start == nil { // somebody is joining
			used = time.Now()
			continue
		}
		live, err := s.sweep(ctx)
		if err != nil {
			slog.Warn("sweep", "error", err)
		}
		if live > 0 {
			used = time.Now()
		}
		if time.Since(used) > s.idle {
			slog.Info("idle")
			s.start = start
			return nil
		}
		_ = start.Close()
	}
}

// sweep drops the databases of clients that are gone and counts the others.
func (s *supervisor) sweep(ctx context.Context) (live int, err error) {
	clients, err := s.folder.clients()
	if err != nil {
		return 0, err
	}
	for _, name := range clients {
		dead, err := s.folder.lock(name)
		if err != nil {
			return live, err
		}
		if dead == nil {
			live++
			continue
		}
		err = dropDatabases(ctx, s.server.SuperURL("postgres"), databasePrefix(name))
		if err == nil {
			err = os.Remove(s.folder.path(name))
		}
		_ = dead.Close()
		if err != nil {
			return live, fmt.Errorf("clean up after %s: %w", name, err)
		}
	}
	return live, nil
}

// end stops the server and removes its data.
func (s *supervisor) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = os.Remove(s.folder.path("server.json"))
	data := s.server.DataDir()
	err := errors.Join(s.server.Stop(ctx), os.RemoveAll(data), s.lock.Close())
	_ = os.Remove(filepath.Dir(data)) // the next one makes it anew
	if s.start != nil {
		err = errors.Join(err, s.start.Close())
	}
	return err
}
