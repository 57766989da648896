package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

// importShell is a shell with a tenant.
func importShell(t *testing.T) (s shell, tenant string) {
	t.Helper()
	w := apptest.New(t)
	s = shell{t: t, url: w.URL, token: w.Owner}
	made := into[client.Tenant](s, "tenants", "create", "Acme", "--slug", "acme", "--status", "active")
	return s, made.ID
}

func oldToken() string { return "old_" + rand.Text() }

// keyFile writes n keys and returns their tokens.
func keyFile(t *testing.T, path string, n int) []string {
	t.Helper()
	var b bytes.Buffer
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = oldToken()
		fmt.Fprintf(&b, `{"name": "key %d", "token": %q, "scopes": ["renders:*"]}`+"\n", i, tokens[i])
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestKeysImport(t *testing.T) {
	t.Parallel()
	s, tenant := importShell(t)
	file := filepath.Join(t.TempDir(), "keys.jsonl")
	tokens := keyFile(t, file, 2300)

	got := into[importReport](s, "keys", "import", tenant, file)
	if d := cmp.Diff(importReport{Imported: 2300, Failures: []importFailure{}}, got); d != "" {
		t.Fatal(d)
	}
	for _, token := range []string{tokens[0], tokens[999], tokens[1000], tokens[2299]} {
		if out := s.ok("keys", "verify", token, "-s", "renders:create"); !strings.Contains(out, "VALID") {
			t.Errorf("got\n%s", out)
		}
	}
	// Once more: nothing is made twice, and nothing has failed.
	got = into[importReport](s, "keys", "import", tenant, file)
	if d := cmp.Diff(importReport{There: 2300, Failures: []importFailure{}}, got); d != "" {
		t.Error(d)
	}
}

func TestKeysImport_failures(t *testing.T) {
	t.Parallel()
	s, tenant := importShell(t)
	token := oldToken()
	sum := sha256.Sum256([]byte(oldToken()))
	lines := strings.Join([]string{
		"\ufeff" + `{"name": "one", "token": "` + token + `"}`,
		``,
		`{"name": "two", "token": "short"}`,
		`{"name": "three", "tokn": "x"}`,
		`{"name": "four"`,
		`{"name": "one", "token": "` + oldToken() + `"}`,
		`{"name": "five", "hash": {"algorithm": "sha256", "value": "` + hex.EncodeToString(sum[:]) + `"}, "prefix": "old_"}`,
		`{"name": "six", "token": "` + oldToken() + `"} {}`,
	}, "\n")
	out, errOut, code := s.run(lines, "keys", "import", tenant)
	if code != exitError || !strings.Contains(errOut, "5 lines not imported") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	for _, want := range []string{
		"line 3: two: token: A token has 16 to 255", "[token_malformed]", `line 4: json: unknown field "tokn" [unreadable]`, "line 5: unexpected EOF",
		"line 6: one: name: An earlier item of this call has the name. [duplicate]", "line 8: more than one object",
	} {
		if !strings.Contains(errOut, want) {
			t.Errorf("no %q in\n%s", want, errOut)
		}
	}
	if !strings.Contains(out, "imported       2") || !strings.Contains(out, "failed         5") {
		t.Errorf("got\n%s", out)
	}
	// What another key has is passed over on request.
	out, errOut, code = s.run(`{"name": "one", "token": "`+oldToken()+`"}`, "keys", "import", tenant, "--on-conflict", "skip")
	if code != exitOK || !strings.Contains(out, "skipped        1") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if _, errOut, code := s.run(`{"name": "one", "token": "`+oldToken()+`"}`, "keys", "import", tenant, "-"); code != exitError || !strings.Contains(errOut, "name_taken") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if _, errOut, code := s.run("", "keys", "import", tenant, "/no/such/file"); code != exitError || !strings.Contains(errOut, "open the file of keys") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if _, errOut, code := s.run(strings.Repeat("x", maxKeyLine+1), "keys", "import", tenant); code != exitError || !strings.Contains(errOut, "line 1 is longer") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if _, errOut, code := s.run(`{"name": "x", "token": "`+oldToken()+`"}`, "keys", "import", "slug:nobody"); code != exitError || !strings.Contains(errOut, "stopped after line 0") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
}

func TestKeysImport_csv(t *testing.T) {
	t.Parallel()
	s, tenant := importShell(t)
	token, hashed := oldToken(), oldToken()
	sum := sha256.Sum256([]byte(hashed))
	file := filepath.Join(t.TempDir(), "keys.CSV")
	content := "\ufeffName,Token,hash,algorithm,scopes,allowed_ips,rate_limit_rpm,expires_at,created_at,usage_count,metadata\n" +
		"plain," + token + ",,,renders:* projects:read,192.0.2.0/24 2001:db8::/32,60,2999-01-01T00:00:00Z,2020-02-29T12:00:00+01:00,12,\"{\"\"team\"\": \"\"a, b\"\"}\"\n" +
		"hashed,," + hex.EncodeToString(sum[:]) + ",sha256,,,,,,,\n" +
		"bad," + oldToken() + ",,,,,many,,,,\n" +
		"short," + oldToken() + "\n" +
		"late," + oldToken() + ",,,,,,tomorrow,,,\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := s.run("", "keys", "import", tenant, file, "-o", "json")
	var got importReport
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitError || got.Imported != 2 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, errOut)
	}
	lines := make([]int, 0, len(got.Failures))
	for _, f := range got.Failures {
		lines = append(lines, f.Line)
	}
	if !slices.Equal(lines, []int{4, 5, 6}) {
		t.Errorf("%+v", got.Failures)
	}
	v := into[client.KeyVerification](s, "keys", "verify", token, "--ip", "192.0.2.1", "-s", "projects:read")
	k := into[client.APIKey](s, "keys", "get", tenant, v.KeyID)
	if k.Name != "plain" || k.Metadata["team"] != "a, b" || k.RateLimitRPM != 60 || k.UsageCount < 12 || k.CreatedAt.Year() != 2020 || k.ExpiresAt.Year() != 2999 || len(k.AllowedIPs) != 2 {
		t.Errorf("%+v", k)
	}
	if out := s.ok("keys", "verify", hashed); !strings.Contains(out, "VALID") {
		t.Errorf("got\n%s", out)
	}
	for content, want := range map[string]string{
		"":                     "read the column names",
		"token\nx\n":           "a column name is needed",
		"name,colour\nx,red\n": `there is no column "colour"`,
		"name,token,Name\n":    "the column name is there twice",
	} {
		if _, errOut, code := s.run(content, "keys", "import", tenant, "--format", "csv"); code != exitError || !strings.Contains(errOut, want) {
			t.Errorf("%q: exit %d\n%s", content, code, errOut)
		}
	}
}

// Stopped in the middle, it says how far it came, and goes on from there when it is run again.
func TestKeysImport_stopped(t *testing.T) {
	t.Parallel()
	s, tenant := importShell(t)
	file := filepath.Join(t.TempDir(), "keys.jsonl")
	keyFile(t, file, 2500)
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	proxy := httputil.NewSingleHostReverseProxy(target)
	requests := 0
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 2 { // it was carried out, and the answer is lost
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			again, _ := http.NewRequestWithContext(t.Context(), r.Method, s.url+r.URL.Path, bytes.NewReader(b))
			again.Header = r.Header.Clone()
			answer, err := http.DefaultClient.Do(again)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			stop()
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer between.Close()
	var out, errOut bytes.Buffer
	code := run(ctx, []string{"--server", between.URL, "--token", s.token, "keys", "import", tenant, file}, strings.NewReader(""), &out, &errOut)
	if code != exitError || !strings.Contains(errOut.String(), "stopped after line 1000: run it again to go on") || !strings.Contains(out.String(), "imported       1000") {
		t.Errorf("exit %d\n%s%s", code, &out, &errOut)
	}
	got := into[importReport](s, "keys", "import", tenant, file)
	if d := cmp.Diff(importReport{Imported: 500, There: 2000, Failures: []importFailure{}}, got); d != "" {
		t.Error(d)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	known, unknown := progress{total: 1000}, progress{}
	for want, got := range map[string]string{
		"[###############...............]  50 %  7 done": known.line(500, 7),
		"[##############################] 100 %  9 done": known.line(2000, 9),
		"9 done": unknown.line(500, 9),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	silent := newProgress(&bytes.Buffer{}, 10)
	silent.at(5, 5)
	silent.end()
	if silent.w != nil {
		t.Error("a bar that nobody sees")
	}
}

// Whatever a file holds, reading it ends, each line is told apart, and what is read can be sent.
func FuzzReadKeys(f *testing.F) {
	f.Add([]byte(`{"name":"a","token":"b"}`+"\n\n"+`{"name":"c","hash":{"algorithm":"sha256","value":"00"}}`), false)
	f.Add([]byte("name,token,scopes,expires_at\na,b,c d,2026-01-01T00:00:00Z\n\"a\nb\",c\n"), true)
	f.Add([]byte("name,name\n"), true)
	f.Add([]byte("name\n\"\n"), true)
	f.Fuzz(func(t *testing.T, content []byte, isCSV bool) {
		read := readKeysJSON(bytes.NewReader(content))
		if isCSV {
			var err error
			if read, err = readKeysCSV(bytes.NewReader(content)); err != nil {
				return
			}
		}
		last := 0
		for range len(content) + 2 {
			k, err := read()
			line := k.line
			if bad, ok := errors.AsType[*lineError](err); ok {
				line = bad.line
			} else if err != nil {
				return
			}
			if line <= last {
				t.Fatalf("line %d after line %d", line, last)
			}
			last = line
			if _, err := json.Marshal(k.key); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("there is no end to it")
	})
}
