package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

// The program as a process: what it refuses to start on, how it ends when it is
// told to, and what is left when it is killed.

// installation is a database with an owner, without a server.
type installation struct {
	urls    pgtest.URLs
	secrets string // file
	owner   string // token
}

func newInstallation(t *testing.T) installation {
	t.Helper()
	i := installation{urls: pgtest.CloneURLs(t), secrets: newSecrets(t)}
	var out, errOut bytes.Buffer
	args := []string{
		"bootstrap", "--email", "owner@example.com", "--name", "Olivia", "--database-url", i.urls.App, "--secrets-file", i.secrets, "--output", "json",
	}
	if code := run(t.Context(), args, nil, &out, &errOut); code != exitOK {
		t.Fatalf("exit %d\n%s", code, errOut.String())
	}
	var said map[string]string
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	i.owner = said["token"]
	return i
}

func newSecrets(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secrets")
	if err := secret.Create(file, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return file
}

// process is a running landlord serve.
type process struct {
	cmd             *exec.Cmd
	public, private string // URLs
	ended           chan struct{}
	mu              sync.Mutex
	said            bytes.Buffer
}

var servesOn = regexp.MustCompile(`serves on (http://\S+) \(public\) and (http://\S+) \(private\)`)

func (i installation) serve(t *testing.T, flags ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{
		"serve", "--database-url", i.urls.App, "--secrets-file", i.secrets, "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0",
	}, flags...)...)
	p.cmd.Args[0] = "landlord" // see TestMain
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	up := make(chan []string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			if m := servesOn.FindStringSubmatch(lines.Text()); m != nil {
				up <- m[1:]
			}
			p.mu.Lock()
			p.said.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // the state tells
	}()
	select {
	case addresses := <-up:
		p.public, p.private = addresses[0], addresses[1]
	case <-p.ended:
		t.Fatalf("did not start:\n%s", p.log())
	case <-time.After(30 * time.Second):
		t.Fatalf("is not up:\n%s", p.log())
	}
	return p
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// terminate asks the process to end; await returns its exit code.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func (p *process) await(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Fatalf("still runs after %v:\n%s", within, p.log())
	}
	return p.cmd.ProcessState.ExitCode()
}

// send makes one request; err is of the connection.
func send(ctx context.Context, method, url, token, idempotencyKey string, body any) (status int, answer []byte, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	if idempotencyKey != "" {
		r.Header.Set("Idempotency-Key", idempotencyKey)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// create makes a thing and returns its answer.
func (i installation) create(t *testing.T, p *process, path string, body any) map[string]any {
	t.Helper()
	status, answer, err := send(t.Context(), "POST", p.public+path, i.owner, "", body)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("%s: %d %s %v", path, status, answer, err)
	}
	var m map[string]any
	if err := json.Unmarshal(answer, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func (i installation) super(t *testing.T) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), i.urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// The server is killed again and again while things are made. Each request is
// then repeated with its key: everything exists once, and who got an answer gets
// the same one.
func TestServe_killed(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	rounds := 4
	if os.Getenv("LANDLORD_TEST_LONG") != "" {
		rounds = 40
	}
	p := i.serve(t)
	account := i.create(t, p, "/v1/services", map[string]any{"name": "account", "permissions": []string{"tenants:read"}})["id"].(string)
	tokens := "/v1/services/" + account + "/tokens" // tokens of one name may be many: nothing but the key keeps a second away

	type attempt struct {
		key    string
		answer []byte // nil when none came
	}
	var mu sync.Mutex
	var attempts []attempt
	for round := range rounds {
		var wg sync.WaitGroup
		for worker := range 6 {
			wg.Go(func() {
				for n := 0; ; n++ {
					key := fmt.Sprintf("%d-%d-%d", round, worker, n)
					status, answer, err := send(t.Context(), "POST", p.public+tokens, i.owner, key, map[string]any{"name": key})
					if err == nil && status != http.StatusCreated {
						t.Errorf("got %d %s", status, answer)
					}
					if err != nil {
						answer = nil
					}
					mu.Lock()
					attempts = append(attempts, attempt{key, answer})
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		<-time.After(100*time.Millisecond + time.Duration(mathrand.IntN(100_000))*time.Microsecond) // no point in time is safer than another
		p.kill()
		wg.Wait()
		p = i.serve(t)
	}

	super := i.super(t)
	// The claims of the dead run out; nobody wants to wait for that.
	if _, err := super.Exec(t.Context(), `UPDATE idempotency_keys SET locked_until = NOW() - INTERVAL '1 second'`); err != nil {
		t.Fatal(err)
	}
	fresh, replayed, lost := 0, 0, 0
	for _, a := range attempts {
		status, answer, err := send(t.Context(), "POST", p.public+tokens, i.owner, a.key, map[string]any{"name": a.key})
		switch {
		case err != nil:
			t.Fatal(err)
		case a.answer != nil && (status != http.StatusCreated || !bytes.Equal(answer, a.answer)):
			t.Errorf("%s was answered and now is: %d %s", a.key, status, answer)
		case a.answer != nil:
			replayed++
		case status == http.StatusCreated:
			fresh++
		case status == http.StatusConflict && bytes.Contains(answer, []byte("idempotency_answer_lost")):
			lost++
		default:
			t.Errorf("%s: %d %s", a.key, status, answer)
		}
	}
	t.Logf("%d keys: %d with the answer again, %d anew, %d whose answer was lost", len(attempts), replayed, fresh, lost)
	var things, names int
	if err := super.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT name) FROM access_tokens WHERE service_account_id IS NOT NULL`).Scan(&things, &names); err != nil {
		t.Fatal(err)
	}
	if things != len(attempts) || names != len(attempts) {
		t.Errorf("%d tokens of %d names for %d keys", things, names, len(attempts))
	}
}

// A server is killed while it verifies: who is not answered finds the connection broken, what was revoked stays so, and of
// the uses that were answered at most the last flush interval's are not counted.
func TestServe_killedVerifying(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	p := i.serve(t)
	tenant := i.create(t, p, "/v1/tenants", map[string]any{"name": "Busy", "slug": "busy", "status": "active"})["id"].(string)
	keys := "/v1/tenants/" + tenant + "/api-keys"
	key := i.create(t, p, keys, map[string]any{"name": "busy", "rate_limit_rpm": 1_000_000})
	gone := i.create(t, p, keys, map[string]any{"name": "revoked"})
	if status, answer, err := send(t.Context(), "POST", p.public+keys+"/"+gone["id"].(string)+"/revoke", i.owner, "", map[string]any{"reason": "leaked"}); err != nil || status != http.StatusOK {
		t.Fatal(status, string(answer), err)
	}
	verify := func(token any) (outcome string, err error) {
		status, answer, err := send(t.Context(), "POST", p.public+"/v1/keys/verify", i.owner, "", map[string]any{"key": token})
		if err != nil {
			return "", err
		}
		var v struct{ Outcome string }
		if err := json.Unmarshal(answer, &v); err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("got %d %s", status, answer)
		}
		return v.Outcome, nil
	}
	pass := func(token any) (outcome string, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.private+"/gateway/nginx", nil)
		if err != nil {
			return "", err
		}
		r.Header.Set("X-Api-Key", token.(string))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		outcome = resp.Header.Get("X-Landlord-Outcome")
		if resp.StatusCode >= http.StatusInternalServerError && resp.StatusCode != http.StatusServiceUnavailable || (resp.StatusCode == http.StatusNoContent) != (outcome == "VALID") {
			t.Errorf("got %d %s", resp.StatusCode, outcome)
		}
		return outcome, nil
	}
	faces := []func(token any) (outcome string, err error){verify, pass}
	const workers = 4
	asked, settled, answered := 0, 0, 0 // settled: answered longer before the kill than a flush may take
	for range 3 {
		var mu sync.Mutex
		var times []time.Time
		var load sync.WaitGroup
		for n := range workers {
			load.Go(func() {
				for {
					outcome, err := faces[n%len(faces)](key["token"])
					mu.Lock()
					asked++
					if outcome == "VALID" {
						times = append(times, time.Now())
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		<-time.After(2500*time.Millisecond + time.Duration(mathrand.IntN(1_000_000))*time.Microsecond) // no point in time is safer than another
		killed := time.Now()
		p.kill()
		load.Wait()
		for _, at := range times {
			if killed.Sub(at) > 2*time.Second { // an interval of one, and as much for a flush on a busy machine
				settled++
			}
		}
		answered += len(times)
		p = i.serve(t)
		for _, ask := range faces {
			if outcome, err := ask(gone["token"]); outcome != "REVOKED" {
				t.Errorf("got %s, %v", outcome, err)
			}
		}
	}
	var counted int
	if err := i.super(t).QueryRow(t.Context(), `SELECT usage_count FROM api_keys WHERE name = 'busy'`).Scan(&counted); err != nil {
		t.Fatal(err)
	}
	t.Logf("asked %d times, answered %d, of which %d counted", asked, answered, counted)
	if settled == 0 || counted < settled || counted > asked {
		t.Errorf("%d uses were counted: %d were answered early enough, %d were asked for", counted, settled, asked)
	}
}

// blockedRequest is a creation that waits in the database until release.
func (i installation) blockedRequest(t *testing.T, p *process) (answer chan error, release func()) {
	t.Helper()
	tx, err := i.super(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE tenants IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	answer = make(chan error, 1)
	go func() {
		status, body, err := send(t.Context(), "POST", p.public+"/v1/tenants", i.owner, "", map[string]any{"name": "late", "slug": "late"})
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("%d %s", status, body)
		}
		answer <- err
	}()
	observer := i.super(t)
	eventually(t, 10*time.Second, "a request that waits", func() bool {
		var waiting int
		if err := observer.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'landlord' AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting == 1
	})
	return answer, func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }
}

func TestServe_terminated(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	p := i.serve(t)
	tenant := i.create(t, p, "/v1/tenants", map[string]any{"name": "N", "slug": "early", "plan": "starter", "status": "active"})["id"].(string)
	key := i.create(t, p, "/v1/tenants/"+tenant+"/api-keys", map[string]any{"name": "key"})["token"].(string)
	answer, release := i.blockedRequest(t, p)
	const uses = 20
	for range uses {
		if status, _, err := send(t.Context(), "GET", p.private+"/gateway/nginx", key, "", nil); err != nil || status != http.StatusNoContent {
			t.Fatal(status, err)
		}
	}

	p.terminate(t)
	eventually(t, 10*time.Second, "nobody listens", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(p.public, "http://"), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	release()
	if err := <-answer; err != nil {
		t.Errorf("the open request: %v", err)
	}
	if code := p.await(t, 20*time.Second); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.log())
	}
	var counted int
	if err := i.super(t).QueryRow(t.Context(), `SELECT usage_count FROM api_keys WHERE name = 'key'`).Scan(&counted); err != nil || counted != uses {
		t.Errorf("%d uses were counted, want %d (%v)", counted, uses, err)
	}
	if strings.Contains(p.log(), `"level":"ERROR"`) {
		t.Errorf("the log cries:\n%s", p.log())
	}
}

// A server that is killed loses the uses since its last flush and no others:
// flushes begin an interval after the last one ended.
func TestServe_killedLosesOneInterval(t *testing.T) {
	t.Parallel()
	const (
		interval = time.Second
		flush    = time.Second // what one may take on a machine that does a lot else
		workers  = 3
	)
	i := newInstallation(t)
	rounds := 2
	if os.Getenv("LANDLORD_TEST_LONG") != "" {
		rounds = 20
	}
	p := i.serve(t)
	tenant := i.create(t, p, "/v1/tenants", map[string]any{"name": "N", "slug": "killed", "plan": "starter", "status": "active"})["id"].(string)
	key := i.create(t, p, "/v1/tenants/"+tenant+"/api-keys", map[string]any{"name": "key", "rate_limit_rpm": 1_000_000})["token"].(string)
	counted := func() (n int) {
		t.Helper()
		if err := i.super(t).QueryRow(t.Context(), `SELECT usage_count FROM api_keys WHERE name = 'key'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range rounds {
		before := counted()
		var mu sync.Mutex
		var answered []time.Time
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for {
					status, _, err := send(t.Context(), "GET", p.private+"/gateway/nginx", key, "", nil)
					if err != nil {
						return // the end
					}
					if status != http.StatusNoContent {
						t.Errorf("got %d", status)
						return
					}
					mu.Lock()
					answered = append(answered, time.Now())
					mu.Unlock()
					<-time.After(5 * time.Millisecond)
				}
			})
		}
		<-time.After(interval + flush + time.Duration(mathrand.Int64N(int64(2*interval)))) // no point in time is safer than another
		killed := time.Now()
		p.kill()
		all.Wait()
		safe := 0
		for _, at := range answered {
			if killed.Sub(at) > interval+flush {
				safe++
			}
		}
		p = i.serve(t)
		got := counted() - before
		t.Logf("%d answers, %d of them older than an interval, %d counted", len(answered), safe, got)
		if got < safe || got > len(answered)+workers {
			t.Errorf("%d uses are counted of %d, of which %d are older than an interval", got, len(answered), safe)
		}
	}
}

// A request that does not end is cut off, and the process ends.
func TestServe_terminatedWithAStuckRequest(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	p := i.serve(t, "--shutdown-timeout", "300ms")
	answer, release := i.blockedRequest(t, p)
	defer release()
	p.terminate(t)
	if code := p.await(t, 20*time.Second); code != exitError || !strings.Contains(p.log(), "cut off") {
		t.Errorf("exit %d\n%s", code, p.log())
	}
	if err := <-answer; err == nil {
		t.Error("a request that was cut off succeeded")
	}
}

// What serve refuses to start on, why, and with which exit code.
func TestServe_refuses(t *testing.T) {
	t.Parallel()
	urls, secrets := pgtest.CloneURLs(t), newSecrets(t)
	super, err := pgx.Connect(t.Context(), urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.Background())
	login := func(attributes, member string) string {
		name := "serve_refuses_" + strings.ToLower(rand.Text()[:8])
		sql := fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD 'x' %s`, name, attributes)
		if member != "" {
			sql += fmt.Sprintf(`; GRANT %s TO %s`, member, name)
		}
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c, err := pgx.Connect(context.Background(), pgtest.SuperURL(t))
			if err == nil {
				_, err = c.Exec(context.Background(), `DROP ROLE `+name)
				_ = c.Close(context.Background())
			}
			if err != nil {
				t.Error(err)
			}
		})
		c, err := pgx.ParseConfig(urls.App)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("postgres://%s:x@%s/%s?sslmode=disable", name, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database)
	}
	dirty := pgtest.CloneURLs(t)
	mark, err := pgx.Connect(t.Context(), dirty.Super)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mark.Exec(t.Context(), `UPDATE schema_migrations SET dirty = TRUE`); err != nil {
		t.Fatal(err)
	}
	_ = mark.Close(t.Context())
	file := func(text string, mode os.FileMode) string {
		name := filepath.Join(t.TempDir(), "secrets")
		writeFile(t, name, text)
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	with := func(url, secrets string, more ...string) []string {
		return append([]string{"--database-url", url, "--secrets-file", secrets}, more...)
	}
	for name, c := range map[string]struct {
		flags []string
		code  int
		says  string
	}{
		"a superuser":              {with(urls.Super, secrets), exitError, "is a superuser or has BYPASSRLS, so tenants would not be isolated"},
		"BYPASSRLS":                {with(login("BYPASSRLS", "landlord_app"), secrets), exitError, "is a superuser or has BYPASSRLS"},
		"no member":                {with(login("", ""), secrets), exitError, "is not a member of landlord_app: GRANT landlord_app TO serve_refuses_"},
		"no schema":                {with(pgtest.Empty(t).App, secrets), exitError, "the schema is at version 0, this program needs"},
		"half a schema":            {with(dirty.App, secrets), exitError, "half migrated"},
		"no database":              {with("postgres://x@127.0.0.1:1/x", secrets), exitError, "can't be reached"},
		"a wrong password":         {with(strings.Replace(urls.App, "landlord:", "landlord:x", 1), secrets), exitError, "password authentication failed"},
		"a URL of something else":  {with("http://x", secrets), exitError, "parse database url"},
		"no secrets":               {with(urls.App, filepath.Join(t.TempDir(), "absent")), exitError, "no such file"},
		"secrets that all can see": {with(urls.App, file(good, 0o644)), exitError, "others may read or change it; run chmod 600"},
		"secrets that are none":    {with(urls.App, file("pepper v1 abc\n", 0o600)), exitError, "line 1: pepper v1: the key has 2 bytes, want 32"},
		"an empty file of secrets": {with(urls.App, file("", 0o600)), exitError, "no pepper"},
		"a folder of secrets":      {with(urls.App, t.TempDir()), exitError, "is a directory"},
		"one connection":           {with(urls.App, secrets, "--max-conns", "1"), exitError, "too few"},
		"an address that is taken": {with(urls.App, secrets, "--listen", taken.Addr().String()), exitError, "address already in use"},
		"the other one taken":      {with(urls.App, secrets, "--listen", "127.0.0.1:0", "--private-listen", taken.Addr().String()), exitError, "address already in use"},
		"no address":               {with(urls.App, secrets, "--listen", "nowhere"), exitError, "listen on nowhere"},
		"no CIDR":                  {with(urls.App, secrets, "--trusted-proxies", "10.0.0.0/33"), exitError, "neither an address nor a CIDR"},
		"an issuer alone":          {with(urls.App, secrets, "--oidc-issuer", "https://id.example.com"), exitError, "--oidc-issuer, --oidc-audience"},
		"too wide a network":       {with(urls.App, secrets, "--egress-allow", "10.0.0.0/8,0.0.0.0/0"), exitError, "--egress-allow: \"0.0.0.0/0\" is wider than /8"},
		"no port":                  {with(urls.App, secrets, "--egress-ports", "70000"), exitUsage, "--egress-ports"},
		"no authorities":           {with(urls.App, secrets, "--egress-ca", filepath.Join(t.TempDir(), "absent")), exitError, "--egress-ca: open"},
		"authorities that aren't":  {with(urls.App, secrets, "--egress-ca", secrets), exitError, "egress: no certificate in PEM form"},
		"a proxy that is none":     {with(urls.App, secrets, "--egress-proxy", "socks5://landlord:x@proxy"), exitError, "egress: the proxy is http://"},
		"no time":                  {with(urls.App, secrets, "--egress-timeout", "0s"), exitError, "--egress-timeout"},
		"a brand that is none":     {with(urls.App, secrets, "--key-brand", "a b"), exitError, "brand"},
		"no flags":                 {nil, exitUsage, "missing flags: --database-url=URL, --secrets-file=FILE"},
		"an unknown flag":          {with(urls.App, secrets, "--frobnicate"), exitUsage, "unknown flag --frobnicate"},
		"a level that is none":     {with(urls.App, secrets, "--log-level", "loud"), exitUsage, "--log-level"},
		"a duration that is none":  {with(urls.App, secrets, "--shutdown-timeout", "soon"), exitUsage, "--shutdown-timeout"},
		"a number that is none":    {with(urls.App, secrets, "--max-conns", "many"), exitUsage, "--max-conns"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // should it start after all
			defer cancel()
			var out, errOut bytes.Buffer
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"}, c.flags...)
			code := run(ctx, args, nil, &out, &errOut)
			if said := errOut.String(); code != c.code || !strings.Contains(said, c.says) || !strings.Contains(said, "landlord: ") {
				t.Errorf("exit %d, want %d and %q:\n%s", code, c.code, c.says, said)
			}
			if strings.Contains(errOut.String(), "serves on") || ctx.Err() != nil {
				t.Error("it started")
			}
			if strings.Contains(errOut.String(), "landlord:x") {
				t.Errorf("a password is shown:\n%s", errOut.String())
			}
		})
	}
}
