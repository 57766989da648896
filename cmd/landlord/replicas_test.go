//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/migrations"
)

// cluster is what runs in production: the program, several times, before one PostgreSQL, which a test may stop, freeze
// and start again. The last replica reaches the database over a wire that can be cut.
type cluster struct {
	t        testing.TB
	config   embeddedpg.Config
	server   *embeddedpg.Server
	wire     *pgtest.Wire
	replicas []*replica
	owner    string           // token of an owner
	clients  []*client.Client // of the owner, by replica
	http     *http.Client
}

// replica is one process.
type replica struct {
	name            string
	cmd             *exec.Cmd
	public, private string // URLs
	log             *logFile
	done            chan struct{}
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	return newClusterWith(t, n, false)
}

// newClusterWith makes one whose PostgreSQL syncs to disk if it is durable, and whose
// replicas have more in their environment.
func newClusterWith(t testing.TB, n int, durable bool, more ...string) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "landlord")
	built := make(chan error, 1)
	go func() {
		out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
		built <- err
	}()
	c := &cluster{
		t: t, config: embeddedpg.Config{DataDir: filepath.Join(dir, "pg"), FastUnsafe: !durable},
		http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
	}
	c.server = c.startServer()
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := c.server.Stop(context.Background()); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	c.config.Port = c.server.Port()
	m, err := migrations.Open(t.Context(), migrations.Options{URL: c.server.OwnerURL(embeddedpg.Database)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Up(t.Context())
	if err = errors.Join(err, m.Close(), c.server.GrantApp(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := <-built; err != nil {
		t.Fatal(err)
	}

	direct := c.server.AppURL(embeddedpg.Database)
	far, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	c.wire = pgtest.NewWire(t, far.Host)
	far.Host = c.wire.Address()
	secrets := filepath.Join(dir, "secrets")
	environment := func(database string) []string {
		return append([]string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANDLORD_DATABASE_URL=" + database, "LANDLORD_SECRETS_FILE=" + secrets,
			"LANDLORD_LISTEN=127.0.0.1:0", "LANDLORD_PRIVATE_LISTEN=127.0.0.1:0", "LANDLORD_TRUSTED_PROXIES=127.0.0.1",
			"LANDLORD_MAX_CONNS=6", "LANDLORD_LOG_LEVEL=warn",
		}, more...)
	}
	runOnce := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = environment(direct)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("landlord %s: %v\n%s", args[0], err, &said)
		}
		return out
	}
	runOnce("secrets", secrets)
	var first struct {
		Token string `json:"token"`
	}
	out := runOnce("bootstrap", "--email", "owner@example.com", "--name", "Olivia Owner", "--output", "json")
	if err := json.Unmarshal(out, &first); err != nil || first.Token == "" {
		t.Fatalf("bootstrap printed %q: %v", out, err)
	}
	c.owner = first.Token
	for i := range n {
		database := direct
		if i == n-1 {
			database = far.String()
		}
		r := startReplica(t, fmt.Sprintf("replica %d", i+1), program, environment(database))
		api, err := client.New(r.public, c.owner, client.WithRetries(0), client.WithHTTPClient(c.http))
		if err != nil {
			t.Fatal(err)
		}
		c.replicas, c.clients = append(c.replicas, r), append(c.clients, api)
	}
	c.ready()
	return c
}

func (c *cluster) startServer() *embeddedpg.Server {
	c.t.Helper()
	s, err := embeddedpg.Start(c.t.Context(), c.config)
	if err != nil {
		c.t.Fatalf("this test needs PostgreSQL; get it with: make deps\n(%v)", err)
	}
	return s
}

// restart stops PostgreSQL, every session with it, and starts it on the same port.
func (c *cluster) restart() {
	c.t.Helper()
	if err := c.server.Stop(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.server = c.startServer()
}

// ready waits until every replica says that it is.
func (c *cluster) ready() {
	c.t.Helper()
	for _, r := range c.replicas {
		eventually(c.t, 30*time.Second, r.name+" is ready", func() bool {
			status, _ := c.get(r.private + "/readyz")
			return status == http.StatusOK
		})
	}
}

func (c *cluster) get(url string) (status int, body string) {
	resp, err := c.http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close() // only read from
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// metric reads one unlabelled metric of a replica.
func (c *cluster) metric(r *replica, name string) (v float64) {
	c.t.Helper()
	_, text := c.get(r.private + "/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &v); err != nil {
				c.t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	c.t.Fatalf("no metric %s in:\n%s", name, text)
	return 0
}

// superuser runs fn with a superuser's connection.
func (c *cluster) superuser(fn func(ctx context.Context, conn *pgx.Conn) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.server.SuperURL(embeddedpg.Database))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(fn(ctx, conn), conn.Close(ctx)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) exec(sql string) {
	c.t.Helper()
	c.superuser(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

const feeds = `FROM pg_stat_activity WHERE application_name = '` + changefeed.AppName + `'`

// pids returns the processes of backends.
func (c *cluster) pids(sql string) (out []int) {
	c.t.Helper()
	c.superuser(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return out
}

// postmaster is the process id of the whole server's parent.
func (c *cluster) postmaster() (pid int) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.server.DataDir(), "pgdata", "postmaster.pid"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return pid
}

// freeze stops processes where they are, and returns what lets them go on.
func (c *cluster) freeze(pids ...int) (thaw func()) {
	c.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			c.t.Errorf("stop %d: %v", pid, err)
		}
	}
	return sync.OnceFunc(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may be gone
		}
	})
}

// database opens a pool as the application has it.
func (c *cluster) database() *pg.DB {
	c.t.Helper()
	db, err := pg.Open(c.t.Context(), pg.Config{URL: c.server.AppURL(embeddedpg.Database)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(db.Close)
	return db
}

var serves = regexp.MustCompile(`serves on (http://\S+) \(public\) and (http://\S+) \(private\)`)

func startReplica(t testing.TB, name, program string, environment []string) *replica {
	t.Helper()
	r := &replica{name: name, cmd: exec.Command(program, "serve"), log: &logFile{}, done: make(chan struct{})}
	r.cmd.Env = environment
	errOut, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addresses := make(chan []string, 1)
	go func() {
		defer close(r.done)
		lines := bufio.NewScanner(errOut)
		for lines.Scan() {
			if m := serves.FindStringSubmatch(lines.Text()); m != nil {
				addresses <- m
			}
			_, _ = fmt.Fprintln(r.log, lines.Text())
		}
	}()
	t.Cleanup(func() { r.stop(t) })
	select {
	case m := <-addresses:
		r.public, r.private = m[1], m[2]
	case <-r.done:
		t.Fatalf("%s ended:\n%s", name, r.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("%s doesn't serve:\n%s", name, r.log)
	}
	return r
}

// stop ends a replica as a supervisor does.
func (r *replica) stop(t testing.TB) {
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.done:
	case <-time.After(25 * time.Second):
		t.Errorf("%s doesn't stop", r.name)
		_ = r.cmd.Process.Kill()
		<-r.done
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", r.name, err)
	}
	if strings.Contains(r.log.String(), `"panic"`) {
		t.Errorf("%s panicked", r.name)
	}
	if t.Failed() {
		t.Logf("%s said:\n%s", r.name, r.log)
	}
}

// logFile keeps the end of what a process says.
type logFile struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 1<<20 {
		l.buf.Reset()
	}
	return l.buf.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 8 << 10
	b := l.buf.Bytes()
	return string(b[max(0, len(b)-enough):])
}

// eventually waits for what another process does.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}
