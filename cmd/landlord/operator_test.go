package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

// shell runs commands against a replica.
type shell struct {
	t     *testing.T
	url   string
	token string
}

// run runs a command and returns what it printed and its exit code.
func (s shell) run(in string, args ...string) (out, errOut string, code int) {
	s.t.Helper()
	var o, e bytes.Buffer
	code = run(s.t.Context(), append([]string{"--server", s.url, "--token", s.token}, args...), strings.NewReader(in), &o, &e)
	return o.String(), e.String(), code
}

// ok runs a command that must succeed and returns what it printed.
func (s shell) ok(args ...string) string {
	s.t.Helper()
	out, errOut, code := s.run("", args...)
	if code != exitOK {
		s.t.Fatalf("landlord %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// into runs a command with --output json and decodes what it printed.
func into[T any](s shell, args ...string) T {
	s.t.Helper()
	var v T
	if err := json.Unmarshal([]byte(s.ok(append(args, "--output", "json")...)), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func TestOperators_commands(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}

	ada := into[client.Operator](s, "operators", "create", "ada@example.com", "--name", "Ada", "--role", "viewer")
	if got := s.ok("operators", "list", "--role", "viewer", "--enabled"); !strings.Contains(got, "ada@example.com") || !strings.HasPrefix(got, "ID") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("operators", "list", "--no-enabled"); strings.Contains(got, "ada@example.com") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("operators", "update", ada.ID, "--role", "support"); !strings.Contains(got, "support") || !strings.Contains(got, "Ada") {
		t.Errorf("got\n%s", got)
	}
	if _, errOut, code := s.run("", "operators", "create", "eve@example.com", "--name", "Eve", "--role", "root"); code != exitUsage || !strings.Contains(errOut, "--role") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if _, errOut, code := s.run("", "operators", "get", "operator_00000000000000000000000001"); code != exitError || !strings.Contains(errOut, "operator_not_found") {
		t.Errorf("exit %d\n%s", code, errOut)
	}

	token := into[client.IssuedToken](s, "tokens", "issue", "laptop", "--operator", ada.ID, "--ttl", "7d")
	if d := time.Until(*token.ExpiresAt); d < 6*24*time.Hour || d > 7*24*time.Hour {
		t.Errorf("it lives for %s", d)
	}
	hers := shell{t: t, url: w.URL, token: token.Token}
	if got := hers.ok("whoami"); !strings.Contains(got, ada.ID) || !strings.Contains(got, "tenants:lifecycle") {
		t.Errorf("got\n%s", got)
	}
	second := into[client.IssuedToken](hers, "tokens", "issue", "second") // her own
	if got := hers.ok("tokens", "list", "--active"); !strings.Contains(got, second.ID) || strings.Contains(got, second.Token) {
		t.Errorf("got\n%s", got)
	}
	if got := hers.ok("tokens", "revoke", second.ID, "--reason", "tidy"); !strings.Contains(got, "revoked") || !strings.Contains(got, "tidy") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("tokens", "get", second.ID); !strings.Contains(got, "tidy") {
		t.Errorf("got\n%s", got)
	}

	account := into[client.ServiceAccount](s, "services", "create", "gateway", "--permissions", "apikeys:verify,tenants:read")
	if len(account.Permissions) != 2 {
		t.Errorf("got %+v", account)
	}
	account = into[client.ServiceAccount](s, "services", "update", account.ID, "--permissions", "tenants:read", "--description", "edge")
	if len(account.Permissions) != 1 || account.Description != "edge" || account.Name != "gateway" {
		t.Errorf("got %+v", account)
	}
	s.ok("services", "disable", account.ID, "--reason", "leaked")
	s.ok("services", "enable", account.ID)
	s.ok("services", "get", account.ID)
	if got := s.ok("services", "list"); !strings.Contains(got, "gateway") {
		t.Errorf("got\n%s", got)
	}
	s.ok("services", "delete", account.ID, "--yes")

	s.ok("operators", "disable", ada.ID, "--reason", "left")
	s.ok("operators", "enable", ada.ID)
	if _, errOut, code := s.run("n\n", "operators", "delete", ada.ID); code != exitError || !strings.Contains(errOut, "nothing was changed") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if _, errOut, code := s.run("y\n", "operators", "delete", ada.ID); code != exitOK {
		t.Errorf("exit %d\n%s", code, errOut)
	}

	list := into[client.Page[client.AuditEvent]](s, "audit", "list", "--action", "operator.*", "--target", ada.ID, "--since", "1h")
	if len(list.Data) != 5 || !strings.HasPrefix(list.Data[0].UserAgent, "landlord-cli/") {
		t.Errorf("got %+v", list.Data)
	}
	if got := s.ok("audit", "get", list.Data[2].ID); !strings.Contains(got, "operator.disabled") || !strings.Contains(got, "left") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("audit", "list", "--limit", "2"); len(strings.Split(strings.TrimSpace(got), "\n")) != 3 {
		t.Errorf("got\n%s", got)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "12h": 12 * time.Hour, "0d": 0} {
		var got ttl
		if err := got.UnmarshalText([]byte(in)); err != nil || time.Duration(got) != want {
			t.Errorf("%s: got %s, %v", in, time.Duration(got), err)
		}
	}
	for in, want := range map[string]string{"7d": "7d", "48h": "2d", "36h": "36h", "90m": "1h30m", "30s": "30s", "10m": "10m", "0s": "0s"} {
		var got ttl
		if err := got.UnmarshalText([]byte(in)); err != nil || got.String() != want {
			t.Errorf("%s: got %s, want %s, %v", in, got, want, err)
		}
	}
	for _, in := range []string{"", "d", "-1d", "9999999d", "soon"} {
		if err := new(ttl).UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
