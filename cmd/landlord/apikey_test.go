package main

import (
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

func TestKeys_commands(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}
	tenant := id.New[id.Tenant]()
	if err := w.DB.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO tenants (id, slug, name, status) VALUES ($1, 'acme', 'Acme', 'active')`, tenant)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	acme := tenant.String()

	key := into[client.IssuedAPIKey](s, "keys", "create", acme, "server", "-s", "renders:*", "--ip", "192.0.2.7", "--rpm", "60", "--ttl", "90d", "--metadata", "team=core")
	if d := time.Until(*key.ExpiresAt); d < 89*24*time.Hour || d > 90*24*time.Hour || key.Metadata["team"] != "core" || key.AllowedIPs[0] != "192.0.2.7/32" {
		t.Errorf("%+v", key)
	}
	if got := s.ok("keys", "list", acme, "--state", "active", "--expiring", "91d"); !strings.Contains(got, key.ID) || !strings.Contains(got, key.Last4) || strings.Contains(got, key.Token) {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("keys", "list", acme, "--expiring", "30d"); strings.Contains(got, key.ID) {
		t.Errorf("got\n%s", got)
	}
	out, errOut, code := s.run(key.Token+"\n", "keys", "verify", "-", "-s", "renders:create", "--ip", "192.0.2.7")
	if code != exitOK || !strings.Contains(out, "VALID") || !strings.Contains(out, "59 of 60 left") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	out, errOut, code = s.run("", "keys", "verify", key.Token, "--ip", "198.51.100.1")
	if code != exitError || !strings.Contains(out, "IP_NOT_ALLOWED") || !strings.Contains(errOut, "not valid for this") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if got := s.ok("keys", "update", acme, key.ID, "--any-ip", "--no-expiry", "--no-scopes", "--metadata", "team="); strings.Contains(got, "expires") || strings.Contains(got, "core") || !strings.Contains(got, "any") {
		t.Errorf("got\n%s", got)
	}
	fresh := into[client.IssuedAPIKey](s, "keys", "rotate", acme, key.ID, "--grace", "1h")
	if fresh.RotatedFrom != key.ID || fresh.Token == key.Token {
		t.Errorf("%+v", fresh)
	}
	if got := s.ok("keys", "get", acme, key.ID); !strings.Contains(got, fresh.ID) || !strings.Contains(got, "works until") {
		t.Errorf("got\n%s", got)
	}
	if _, errOut, code := s.run("", "keys", "rotate", acme, fresh.ID); code != exitUsage || !strings.Contains(errOut, "--grace") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if got := s.ok("keys", "update", acme, fresh.ID, "--disable"); !strings.Contains(got, "disabled") {
		t.Errorf("got\n%s", got)
	}
	if _, errOut, code := s.run("n\n", "keys", "revoke", acme, fresh.ID); code != exitError || !strings.Contains(errOut, "not confirmed") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if got := s.ok("keys", "revoke", acme, fresh.ID, "--yes", "--reason", "leaked"); !strings.Contains(got, "revoked") || !strings.Contains(got, "leaked") {
		t.Errorf("got\n%s", got)
	}
	if _, errOut, code := s.run("", "keys", "revoke", acme, fresh.ID, "--yes"); code != exitError || !strings.Contains(errOut, "api_key_revoked") {
		t.Errorf("exit %d\n%s", code, errOut)
	}

	// A key that manages keys, of its own tenant only.
	manager := into[client.IssuedAPIKey](s, "keys", "create", acme, "manager", "-s", "landlord:apikeys:read")
	own := shell{t: t, url: w.URL, token: manager.Token}
	if got := own.ok("keys", "get", acme, key.ID); !strings.Contains(got, key.ID) {
		t.Errorf("got\n%s", got)
	}
	if _, errOut, code := own.run("", "keys", "create", acme, "more"); code != exitError || !strings.Contains(errOut, "permission_denied") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
}
