package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
)

// The pages are run as a newcomer pastes them: README.md and the guides, from top
// to bottom, one after the other, in the world that `landlord dev` makes. A block
// that can't be run there says why in a comment right above it, and one that is
// refused on purpose names a word of the refusal:
//
//	<!-- not run: needs a DBA -->
//	<!-- refused: stale_version -->

const repository = "../.."

// TestMain lets the test binary be the program, under its name: what the pages
// call is what is tested, and nothing is built twice.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "landlord" {
		main()
		return
	}
	os.Exit(m.Run())
}

// block is a piece of shell on a page.
type block struct {
	line    int // of its first command
	text    string
	notRun  string // why, "" when it is run
	refused string // what the refusal says, "" when it must succeed
}

var remark = regexp.MustCompile(`^<!-- (not run|refused): (.+) -->$`)

// shellBlocks finds the blocks of a page.
func shellBlocks(page string) (blocks []block) {
	lines := strings.Split(page, "\n")
	closed := func(i int) bool { return i >= len(lines) || strings.TrimSpace(lines[i]) == "```" }
	for i := 0; i < len(lines); i++ {
		fence := strings.TrimSpace(lines[i])
		if !strings.HasPrefix(fence, "```") {
			continue
		}
		b := block{line: i + 2}
		if i > 0 {
			if m := remark.FindStringSubmatch(lines[i-1]); m != nil && m[1] == "refused" {
				b.refused = m[2]
			} else if m != nil {
				b.notRun = m[2]
			}
		}
		for i++; !closed(i); i++ {
			b.text += lines[i] + "\n"
		}
		if fence == "```sh" {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// pages are the Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(repository, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != repository && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin"):
			return fs.SkipDir
		case strings.HasSuffix(file, ".md"):
			name, err := filepath.Rel(repository, file)
			all = append(all, filepath.ToSlash(name))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %v", all)
	}
	return all
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocs_commandsRun(t *testing.T) {
	t.Parallel()
	w := newDevWorld(t)
	if made := shellBlocks("```sh\n" + w.printed + "```"); !t.Run("what landlord dev prints", func(t *testing.T) { w.runBlocks(t, "printed", made) }) {
		t.Log(w.printed)
	}
	ran, left := 0, 0
	for _, page := range pages(t) {
		blocks := shellBlocks(readPage(t, page))
		runs := slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return b.notRun != "" })
		ran, left = ran+len(runs), left+len(blocks)-len(runs)
		if len(runs) > 0 {
			t.Run(page, func(t *testing.T) {
				w.calls.reset()
				w.runBlocks(t, page, runs)
				if page == "docs/api.md" && !t.Failed() {
					w.calls.covers(t, operations(t))
				}
			})
		}
	}
	t.Logf("ran %d blocks of commands, left %d out", ran, left)
}

// devWorld is what `landlord dev` makes, on the tests' PostgreSQL.
type devWorld struct {
	dir             string // where a reader stands: bin/landlord, .landlord, examples
	public, private string
	printed         string // commands to try
	calls           *calls
}

func newDevWorld(t *testing.T) *devWorld {
	t.Helper()
	egress, err := devEgress()
	if err != nil {
		t.Fatal(err)
	}
	replica := apptest.New(t, func(c *app.Config) {
		c.TrustedProxies, c.Egress = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, egress
	})
	w := &devWorld{dir: t.TempDir(), private: replica.Private, calls: &calls{}}
	server := httptest.NewServer(w.calls.record(replica.App.Public()))
	t.Cleanup(server.Close)
	w.public = server.URL

	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs(filepath.Join(repository, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", ".landlord"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin/landlord": program, "examples": examples} {
		if err := os.Symlink(target, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}

	private, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(replica.Private, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	dev := devCmd{Data: filepath.Join(w.dir, ".landlord"), Demo: true}
	if err := dev.world(t.Context(), &Globals{out: &out, errOut: &errOut}, replica.App, dev.Data, server.Listener.Addr(), private, time.Now()); err != nil {
		t.Fatalf("%v\n%s", err, &errOut)
	}
	// What it prints for trying begins after this line; commands are indented.
	_, try, found := strings.Cut(out.String(), "Try, in another terminal:\n")
	if !found {
		t.Fatalf("landlord dev printed\n%s", &out)
	}
	for line := range strings.Lines(try) {
		if strings.HasPrefix(line, "  ") {
			w.printed += strings.ReplaceAll(line, os.Args[0], "bin/landlord")
		}
	}
	return w
}

// prelude makes a pasted line that fails end the page, and curl fail on a refusal.
const prelude = `set -Eeuo pipefail
shopt -s inherit_errexit
curl() { command curl --fail-with-body --show-error --max-time 30 "$@"; }
failed() { echo "FAILED: $page, in the block at line $line: $BASH_COMMAND"; }
trap failed ERR
`

// runBlocks runs the blocks of a page in one shell.
func (w *devWorld) runBlocks(t *testing.T, page string, blocks []block) {
	t.Helper()
	script := prelude + fmt.Sprintf("page=%q\n", page)
	for _, b := range blocks {
		script += fmt.Sprintf("line=%d\n", b.line)
		if b.refused == "" {
			script += b.text
			continue
		}
		script += fmt.Sprintf("trap - ERR; set +e; said=$( (set -e\n%s) 2>&1); status=$?; set -e; trap failed ERR; echo \"$said\"\n"+
			"[[ $status != 0 && $said == *%q* ]]\n", b.text, b.refused)
	}
	script = strings.NewReplacer("http://127.0.0.1:8080", w.public, "http://127.0.0.1:8081", w.private).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // takes a second or two; machines are shared
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=" + filepath.Join(w.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + t.TempDir(),
		"LANDLORD_SERVER=" + w.public,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what a page that failed left running in the background
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// operation is one of openapi.json.
type operation struct {
	ID, Method, Path string
}

func operations(t *testing.T) (all []operation) {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(readPage(t, "internal/api/openapi.json")), &document); err != nil {
		t.Fatal(err)
	}
	for pattern, methods := range document.Paths {
		for method, o := range methods {
			all = append(all, operation{ID: o.OperationID, Method: strings.ToUpper(method), Path: pattern})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// calls are the requests that curl made and that succeeded.
type calls struct {
	mu   sync.Mutex
	made []*http.Request
}

func (c *calls) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = nil
}

func (c *calls) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen := r.Clone(context.WithoutCancel(r.Context()))
		rec := &statusRecorder{ResponseWriter: rw}
		next.ServeHTTP(rec, r)
		if rec.status < 300 && strings.HasPrefix(r.UserAgent(), "curl/") {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.made = append(c.made, seen)
		}
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// covers fails for every operation that no request was for.
func (c *calls) covers(t *testing.T, operations []operation) {
	t.Helper()
	mux := http.NewServeMux() // knows which path is whose, as the server does
	for _, o := range operations {
		mux.Handle(o.Method+" "+o.Path, http.NotFoundHandler())
	}
	called := map[string]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.made {
		_, pattern := mux.Handler(r)
		called[pattern] = true
	}
	for _, o := range operations {
		if !called[o.Method+" "+o.Path] {
			t.Errorf("no curl of the page carried out %s: %s %s", o.ID, o.Method, o.Path)
		}
	}
}

// Every operation has a place in docs/api.md, and what has one exists.
func TestDocs_apiIsComplete(t *testing.T) {
	t.Parallel()
	page := readPage(t, "docs/api.md")
	heading := regexp.MustCompile("(?m)^`([A-Z]+) (/v1/[^ `]*)` · `([a-z-]+)`")
	told := map[operation]int{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		told[operation{ID: m[3], Method: m[1], Path: m[2]}]++
	}
	for _, o := range operations(t) {
		if told[o] != 1 {
			t.Errorf("docs/api.md has %d times the line, wanted once: `%s %s` · `%s`", told[o], o.Method, o.Path, o.ID)
		}
		delete(told, o)
	}
	for o := range told {
		t.Errorf("docs/api.md tells of what isn't there: `%s %s` · `%s`", o.Method, o.Path, o.ID)
	}
}

var (
	fences   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline   = regexp.MustCompile("`[^`\n]*`")
	links    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notWord  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names of a page's headings, as a link writes them.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range headings.FindAllStringSubmatch(fences.ReplaceAllString(page, ""), -1) {
		all[strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// The index of the decisions names all of them.
func TestDocs_decisions(t *testing.T) {
	t.Parallel()
	const index = "docs/adr/README.md"
	title := regexp.MustCompile(`^# ([0-9]{4})\. (.*)\n`)
	intro, _, _ := strings.Cut(readPage(t, index), "| | |\n")
	rows := ""
	for _, page := range pages(t) { // in the order of their numbers, which their names begin with
		if dir, file := path.Split(page); dir == "docs/adr/" && page != index {
			m := title.FindStringSubmatch(readPage(t, page))
			if m == nil || !strings.HasPrefix(file, m[1]) {
				t.Errorf("%s begins with no heading such as %q", page, "# "+file[:4]+". Title")
				continue
			}
			rows += fmt.Sprintf("| [%s](%s) | %s |\n", m[1], file, m[2])
		}
	}
	golden(t, filepath.Join(repository, index), intro+"| | |\n|---|---|\n"+rows)
}

// Links between the pages lead somewhere, and to every page.
func TestDocs_linksResolve(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{"README.md": true}
	for _, page := range pages(t) {
		text := readPage(t, page)
		for _, m := range links.FindAllStringSubmatch(inline.ReplaceAllString(fences.ReplaceAllString(text, ""), ""), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") || strings.HasPrefix(file, "mailto:") {
				continue
			}
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
				linked[filepath.ToSlash(target)] = true
			}
			if _, err := os.Stat(filepath.Join(repository, target)); err != nil {
				t.Errorf("%s: nothing is at %s", page, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(readPage(t, target))[anchor] {
				t.Errorf("%s: no heading is at %s", page, m[1])
			}
		}
	}
	for _, page := range pages(t) {
		if !linked[page] {
			t.Errorf("%s: no page links to it", page)
		}
	}
}
