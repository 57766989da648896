package webhook

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// program is a receiver of docs/receiving-webhooks.md: its name there, and how it is
// started once it lies in a file.
type program struct {
	name   string
	public bool // knows a public key, not the secret
	args   func(t *testing.T, file string) (args, env []string)
}

func programs() []program {
	golang := func(t *testing.T, file string) (args, env []string) {
		t.Helper()
		run(t, nil, "go", "build", "-o", file+".out", file) // from here, so that this module's requirements are met
		return []string{file + ".out"}, nil
	}
	node := func(t *testing.T, file string) (args, env []string) {
		t.Helper()
		folder := run(t, nil, "../../scripts/node-fixtures.sh", "testdata/node")
		return []string{"node", file}, []string{"NODE_PATH=" + filepath.Join(folder, "node_modules")}
	}
	python := func(_ *testing.T, file string) (args, env []string) { return []string{"python3", file}, nil }
	return []program{
		{"library.go", false, golang},
		{"library.cjs", false, node},
		{"hand.py", false, python},
		{"hand.go", false, golang},
		{"hand.go", true, golang},
		{"hand.cjs", false, node},
		{"hand.cjs", true, node},
	}
}

var programOnPage = regexp.MustCompile("(?s)<!-- program: (\\S+) -->\n```[a-z]+\n(.*?)\n```\n")

// Each receiver of the guide takes what the engine sends, while secrets overlap, does
// it once however often it comes, and refuses what was tampered with, is old, or is
// by nobody.
func TestGuide(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/receiving-webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, m := range programOnPage.FindAllStringSubmatch(string(page), -1) {
		sources[m[1]] = m[2]
	}
	if fences := strings.Count(string(page), "```go\n") + strings.Count(string(page), "```js\n") + strings.Count(string(page), "```python\n"); fences != len(sources) {
		t.Errorf("the page has %d programs, %d of them with a name", fences, len(sources))
	}
	w := newWorld(t)
	w.engine(nil)
	ran := map[string]bool{}
	for _, p := range programs() {
		ran[p.name] = true
		t.Run(fmt.Sprintf("%s, public key %t", p.name, p.public), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), p.name)
			if err := os.WriteFile(file, []byte(sources[p.name]), 0o600); err != nil {
				t.Fatal(err)
			}
			w.guide(t, p, file)
		})
	}
	for name := range sources {
		if !ran[name] {
			t.Errorf("nobody runs %s", name)
		}
	}
}

// guide tries one receiver.
func (w *world) guide(t *testing.T, p program, file string) {
	t.Helper()
	old, young, public, other := NewSecret(V1, time.Now()), NewSecret(V1, time.Now()), NewSecret(V1a, time.Now()), NewSecret(V1, time.Now())
	knows := young.Value.Reveal()
	if p.public {
		knows = public.PublicKey()
	}
	url, handled := startReceiver(t, p, file, knows)
	tenant := w.tenant()
	endpoint, _ := w.endpoint(tenant, url)
	box, err := sealSecrets(w.keys, endpoint, []Secret{old, young, public})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE tenant_webhooks SET secret_encrypted = $2, signatures = '{v1,v1a}' WHERE id = $1`, endpoint, box)
	first := w.publish(tenant, "render.completed")[0]
	w.wantStates("the engine's request is taken", tenant, map[string]int{"delivered ": 1})

	signs := func(secrets ...Secret) signer {
		s, err := newSigner(secrets, []Signature{V1, V1a})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	by, now, again := signs(old, young, public), time.Now(), first.String()
	body := message("render.completed", `2026-11-26T00:00:00.000000Z{"n": 7}`)
	for _, tc := range []struct {
		name          string
		id, timestamp string
		signature     string
		body          []byte
		taken         bool
	}{
		{"a duplicate", again, "", by.sign(again, now, body), body, true},
		{"another body", "a", "", by.sign("a", now, body), bytes.Replace(body, []byte("7"), []byte("8"), 1), false},
		{"another id", "b", "", by.sign("a", now, body), body, false},
		{"another time", "c", strconv.FormatInt(now.Unix()+1, 10), by.sign("c", now, body), body, false},
		{"an old one", "d", strconv.FormatInt(now.Unix()-301, 10), by.sign("d", now.Add(-301*time.Second), body), body, false},
		{"one of the future", "e", strconv.FormatInt(now.Unix()+600, 10), by.sign("e", now.Add(10*time.Minute), body), body, false},
		{"by nobody", "f", "", signs(other, NewSecret(V1a, now)).sign("f", now, body), body, false},
		{"unsigned", "g", "", "", body, false},
		{"signed with noise", "h", "", "v1,\xe9\xb2= v1a,AAAA v1 v1a , v2,x", body, false},
		{"at no time", "i", "\xb2", by.sign("i", now, body), body, false},
		{"too large", "j", "", by.sign("j", now, body), bytes.Repeat([]byte("x"), 2<<20), false},
	} {
		if tc.timestamp == "" {
			tc.timestamp = strconv.FormatInt(now.Unix(), 10)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Webhook-Id": {tc.id}, "Webhook-Timestamp": {tc.timestamp}, "Webhook-Signature": {tc.signature}}
		answer, err := http.DefaultClient.Do(r)
		if err != nil { // it may hang up on what is too large
			if tc.taken || tc.name != "too large" {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		_ = answer.Body.Close()
		if taken := answer.StatusCode/100 == 2; taken != tc.taken || answer.StatusCode >= 500 {
			t.Errorf("%s: %s", tc.name, answer.Status)
		}
	}
	last := w.publish(tenant, "render.failed")[0]
	w.wantStates("the next one is taken", tenant, map[string]int{"delivered ": 2})
	for _, want := range []id.Event{first, last} {
		if got := <-handled; !strings.HasPrefix(got, "handled "+want.String()) {
			t.Errorf("it printed %q, want that %s was handled", got, want)
		}
	}
}

// startReceiver starts a program that prints what it handles, and returns its URL and
// its lines.
func startReceiver(t *testing.T, p program, file, secret string) (url string, lines chan string) {
	t.Helper()
	args, env := p.args(t, file)
	port := freePort(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), append(env, "PORT="+port, "WEBHOOK_SECRET="+secret)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make deps installs what is missing)", err)
	}
	lines = make(chan string, 100)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		stop()
		<-read
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(errOut.String())
		}
	})
	for end := time.Now().Add(time.Minute); ; {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
			return "http://127.0.0.1:" + port + "/webhooks", lines
		}
		select {
		case <-read:
			t.Fatalf("%s has ended", p.name)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", p.name, err)
		}
		pass()
	}
}

// pass waits for a moment.
func pass() { <-time.After(20 * time.Millisecond) }

// freePort is one that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
