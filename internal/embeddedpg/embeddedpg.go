package embeddedpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Roles and database that every cluster has.
const (
	SuperRole = "postgres"
	OwnerRole = "landlord_owner"
	AppRole   = "landlord"
	Database  = "landlord"
)

// Config says where a server lives and how it runs.
type Config struct {
	DataDir    string       // made when missing; see the package comment for what it holds
	Port       int          // on 127.0.0.1; 0 picks a free one
	Install    bool         // when no server programs are found, install them if this system and user can
	FastUnsafe bool         // no fsync: for data that a crash of the machine may cost
	Logger     *slog.Logger // nil is silent

	programs *finder // nil: where this system keeps them
	closed   string  // where root keeps data when DataDir is closed to the unprivileged account; "" is closedBase
}

// Server is a running PostgreSQL that this process owns.
type Server struct {
	folder    *folder
	programs  Programs
	passwords passwords
	port      int
	log       *boundedLog
	logger    *slog.Logger
	fast      bool

	cmd  *exec.Cmd
	done chan struct{} // closed when the server process is gone
	err  error         // how it went, once done is closed

	stop    sync.Once
	stopErr error
}

// Start makes the cluster if there is none, starts a server on it and waits
// until it takes connections. When ctx ends first, nothing is left running; a
// cluster that was being made is discarded.
func Start(ctx context.Context, c Config) (*Server, error) {
	logger := c.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(c, logger)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, c, f, logger)
	if err != nil {
		f.close()
		return nil, err
	}
	return s, nil
}

func start(ctx context.Context, c Config, f *folder, logger *slog.Logger) (*Server, error) {
	programs, err := choosePrograms(ctx, c, f, logger)
	if err != nil {
		return nil, err
	}
	log, err := openLog(filepath.Join(f.dir, "postgres.log"), maxLog)
	if err != nil {
		return nil, err
	}
	s := &Server{folder: f, programs: programs, log: log, logger: logger, fast: c.FastUnsafe}
	if err := s.bringUp(ctx, c.Port); err != nil {
		log.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) bringUp(ctx context.Context, port int) (err error) {
	if err := s.stopPredecessor(ctx); err != nil {
		return err
	}
	if s.passwords, err = s.makeCluster(ctx); err != nil {
		return err
	}
	if err := s.launch(ctx, port); err != nil {
		return err
	}
	if err := setUp(ctx, s.SuperURL(SuperRole), s.passwords); err != nil {
		quit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.shutDown(quit)
		return fmt.Errorf("set up roles and database: %w", err)
	}
	s.logger.Info("postgresql started", "version", s.programs.Version, "port", s.port, "folder", s.folder.dir)
	return nil
}

// launch starts the server and waits for it. A port that another process took
// first is chosen anew, unless the caller insists on it.
func (s *Server) launch(ctx context.Context, port int) error {
	const busy = "could not bind"
	const orphans = "pre-existing shared memory block" // backends of a server that was killed are still leaving
	for try := 1; ; try++ {
		var err error
		if s.port, err = choosePort(port); err != nil {
			return err
		}
		if err = s.run(); err != nil {
			return fmt.Errorf("start postgres: %w", err)
		}
		if err = s.ready(ctx); err == nil {
			return nil
		}
		said := s.log.Tail()
		wait := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return err
		case strings.Contains(said, busy) && port == 0 && try < 5:
		case strings.Contains(said, orphans) && try < 40:
			wait = 250 * time.Millisecond
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// run starts the server process and a goroutine that waits for its end.
func (s *Server) run() error {
	s.log.Forget()
	cmd := exec.Command(filepath.Join(s.programs.Dir, "postgres"), s.settings()...)
	cmd.Dir = s.folder.pgdata()
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = s.folder.account.attributes()
	cmd.WaitDelay = 5 * time.Second
	s.cmd, s.done = cmd, make(chan struct{})
	started := make(chan error)
	go func() {
		// The signal that tells the child of our death comes when the thread
		// that made it ends, so the thread is kept for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			close(s.done)
		}
	}()
	return <-started
}

// ready waits until the server takes connections. If it does not, it is gone
// when ready returns.
func (s *Server) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx, s.SuperURL(SuperRole))
		if err == nil {
			return nil
		}
		if wrongPassword(err) {
			err = fmt.Errorf("the passwords in %s are not the cluster's: restore that file, or delete the folder to begin anew: %w",
				s.folder.pgpass(), err)
			_ = s.shutDown(context.WithoutCancel(ctx))
			return err
		}
		select {
		case <-s.done:
			cause := s.err
			if cause == nil {
				cause = errors.New("somebody stopped it")
			}
			return fmt.Errorf("postgres ended early: %w; it said:\n%s", cause, s.log.Tail())
		case <-ctx.Done():
			quit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = s.shutDown(quit)
			return fmt.Errorf("wait for postgres: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (s *Server) settings() []string {
	set := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=",
		"max_connections=200",
		"cluster_name=landlord",
		"password_encryption=scram-sha-256",
		"timezone=UTC",
		"log_timezone=UTC",
		"log_destination=stderr",
		"logging_collector=off",
		"log_line_prefix=%m [%p] %q%u@%d ",
	}
	if s.fast {
		set = append(set, "fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"wal_level=minimal", "max_wal_senders=0", "checkpoint_timeout=1h", "jit=off", "max_connections=400")
	}
	args := []string{"-D", s.folder.pgdata()}
	for _, v := range set {
		args = append(args, "-c", v)
	}
	return args
}

// Stop ends the server: sessions are cut and everything is written (fast
// shutdown). When ctx ends, or after ten seconds, it is stopped at once, and
// recovers at its next start. Stop may be called more than once.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.stopErr = s.shutDown(ctx)
		s.log.Close()
		s.folder.close()
		s.logger.Info("postgresql stopped")
	})
	return s.stopErr
}

func (s *Server) shutDown(ctx context.Context) error {
	hurry := ctx.Done()
	for _, step := range []struct {
		signal func(pid int) error
		wait   time.Duration
	}{{signalFast, 10 * time.Second}, {signalImmediate, 6 * time.Second}, {signalKill, 5 * time.Second}} {
		select {
		case <-s.done: // signalling a process that was waited for could hit another
			return nil
		default:
		}
		if err := step.signal(s.cmd.Process.Pid); err != nil {
			return fmt.Errorf("signal postgres: %w", err)
		}
		select {
		case <-s.done:
			return nil
		case <-hurry:
			hurry = nil // no more patience with the fast way; the next ones are short
		case <-time.After(step.wait):
		}
	}
	return errors.New("postgres does not stop")
}

// Done is closed when the server process has ended, asked or not.
func (s *Server) Done() <-chan struct{} { return s.done }

// Port is the server's port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// DataDir is the folder in use. It differs from the Config's when root runs
// the server and the unprivileged account can't enter that one.
func (s *Server) DataDir() string { return s.folder.dir }

// Version is the server's version, such as "15.6".
func (s *Server) Version() string { return s.programs.Version }

// SuperURL is a connection URL of the superuser, for the database db.
func (s *Server) SuperURL(db string) string { return s.url(SuperRole, db) }

// OwnerURL is a connection URL of the role that owns the database and migrates it.
func (s *Server) OwnerURL(db string) string { return s.url(OwnerRole, db) }

// AppURL is a connection URL of the application's unprivileged role.
func (s *Server) AppURL(db string) string { return s.url(AppRole, db) }

func (s *Server) url(role, db string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, s.passwords[role]),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + db,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// GrantApp makes the application's login role a member of landlord_app, the
// role that migrations create and grant to. It fails before they did.
func (s *Server) GrantApp(ctx context.Context) error {
	if err := grantApp(ctx, s.SuperURL(SuperRole)); err != nil {
		return fmt.Errorf("make %s a member of landlord_app: %w", AppRole, err)
	}
	return nil
}

// choosePort returns a port that is free at this moment, or says that the
// wanted one is not.
func choosePort(want int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(want)))
	if err != nil {
		return 0, fmt.Errorf("port %d for PostgreSQL is not free: %w", want, err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
