package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}
	const examples = "../../examples"

	out, said, code := s.run("", "apply", "-f", examples+"/media-reseller", "--dry-run")
	if code != exitOK || !strings.Contains(out, "+ product render\n") || !strings.Contains(out, "~ plan starter\n") ||
		said != "Dry run: 32 to create, 1 to update, 0 to remove; nothing was changed.\n" {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	s.ok("apply", "-f", examples+"/media-reseller")
	if out, said, code := s.run("", "apply", "-f", examples+"/media-reseller"); code != exitOK || out != "" || said != "Nothing to do: the catalogue is so already (version 1).\n" {
		t.Errorf("the second apply: exit %d\n%s%s", code, out, said)
	}

	// What show prints is the catalogue.
	shown := filepath.Join(t.TempDir(), "catalog.yaml")
	writeFile(t, shown, s.ok("catalog", "show"))
	if out, said, code := s.run("", "apply", "-f", shown); code != exitOK || out != "" {
		t.Errorf("what show printed: exit %d\n%s%s", code, out, said)
	}

	// Two folders are one catalogue; without one of them its things go.
	s.ok("apply", "-f", examples+"/media-reseller", "-f", examples+"/ai-platform")
	out, said, _ = s.run("", "apply", "-f", examples+"/media-reseller")
	if want := "- product ai-gateway\n- product ai-workspace\n- meter llm_requests\n- meter llm_tokens\n- meter seats_used\n- plan company\n- plan demo\n- plan team\n"; out != want {
		t.Errorf("got\n%s%s", out, said)
	}

	// What is in use stays, and a dry run says so.
	s.ok("tenants", "create", "Acme", "--plan", "enterprise")
	small := filepath.Join(t.TempDir(), "small.yaml")
	writeFile(t, small, "products:\n  - {name: render, title: Render}\n")
	out, said, code = s.run("", "apply", "-f", small, "--dry-run")
	if code != exitError || !strings.Contains(out, "! plan enterprise: 1 tenant on it: acme.\n") || !strings.Contains(said, "the apply would be refused") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	if _, said, code = s.run("", "apply", "-f", small); code != exitError || !strings.Contains(said, "plan.enterprise: 1 tenant on it: acme. (in_use)") {
		t.Errorf("exit %d\n%s", code, said)
	}

	// Mistakes are found before anything is sent.
	writeFile(t, small, "plans:\n  - name: gold\n    titel: Gold\n    trial_days: x\n")
	_, said, code = s.run("", "apply", "-f", small)
	if want := "landlord: the catalogue has 2 mistakes, nothing was sent:\n" + small + ":3: plans[0].titel: There is no field titel here.\n" +
		small + ":4: plans[0].trial_days: This is a whole number, not text.\n"; code != exitError || said != want {
		t.Errorf("exit %d\n%s", code, said)
	}
	if _, said, code = s.run("", "apply", "-f", "no-such-folder"); code != exitError || !strings.Contains(said, "no-such-folder") {
		t.Errorf("exit %d\n%s", code, said)
	}

	if got := s.ok("products", "list"); !strings.Contains(got, "renders:create") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("products", "tenants", "render"); !strings.Contains(got, "acme") {
		t.Errorf("got\n%s", got)
	}
	if got := s.ok("plans", "get", "enterprise"); !strings.Contains(got, "limit max_users           unlimited\n") {
		t.Errorf("got\n%s", got)
	}
	for _, list := range [][]string{{"plans", "list"}, {"catalog", "meters"}, {"catalog", "settings"}, {"catalog", "event-types"}, {"products", "get", "render"}} {
		if got := s.ok(list...); len(strings.Split(got, "\n")) < 4 {
			t.Errorf("%v: got\n%s", list, got)
		}
	}
}

func TestEntitlements_commands(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}
	s.ok("apply", "-f", "../../examples")
	s.ok("tenants", "create", "Acme", "--plan", "starter")

	if got := s.ok("entitlements", "list", "slug:acme"); !strings.Contains(got, "render") || !strings.Contains(got, "plan") {
		t.Errorf("got\n%s", got)
	}
	_, said, code := s.run("", "entitlements", "check", "slug:acme", "ai-workspace")
	if code != exitError || said != "landlord: not entitled: not_entitled\n" {
		t.Errorf("exit %d %s", code, said)
	}
	e := into[client.Entitlement](s, "entitlements", "put", "slug:acme", "ai-workspace", "--config", `{"max_seats": 10}`, "--trial", "--expires", "2999-01-01T00:00:00Z")
	if d := cmp.Diff(map[string]any{"max_seats": 10.0, "modules_enabled": []any{"chat"}}, e.EffectiveConfig); d != "" || e.Source != "trial" {
		t.Errorf("%+v %s", e, d)
	}
	s.ok("entitlements", "check", "slug:acme", "ai-workspace")
	if e := into[client.Entitlement](s, "entitlements", "get", "slug:acme", "ai-workspace"); e.State != "ok" || e.ExpiresAt == nil {
		t.Errorf("%+v", e)
	}
	if _, said, code := s.run("", "entitlements", "put", "slug:acme", "ai-workspace", "--config", `{"max_seats": "x"}`); code != exitError || !strings.Contains(said, "config.max_seats") {
		t.Errorf("exit %d %s", code, said)
	}
	s.ok("entitlements", "put", "slug:acme", "ai-workspace", "--no-enabled")
	if _, said, _ := s.run("", "entitlements", "check", "slug:acme", "ai-workspace"); said != "landlord: not entitled: disabled\n" {
		t.Error(said)
	}
	s.ok("entitlements", "delete", "slug:acme", "ai-workspace")
	if p := into[client.PlanApplied](s, "entitlements", "apply-plan", "slug:acme"); p.Plan != "starter" || p.Changed {
		t.Errorf("%+v", p)
	}
	n := 0
	for h, err := range w.Client.Catalog.AllProductTenants(t.Context(), "render") {
		if n++; err != nil || h.TenantSlug != "acme" {
			t.Errorf("%+v %v", h, err)
		}
	}
	if n != 1 {
		t.Errorf("%d tenants have render", n)
	}
}

func TestProjects_commands(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}
	s.ok("apply", "-f", "../../examples")
	s.ok("tenants", "create", "Acme")

	p := into[client.Project](s, "projects", "create", "slug:acme", "Spring campaign", "--metadata", "cost_center=7")
	if p.Slug != "spring-campaign" || p.Metadata["cost_center"] != "7" {
		t.Errorf("%+v", p)
	}
	q := into[client.Project](s, "projects", "update", "slug:acme", p.ID, "--name", "Spring", "--description", "of this year")
	if q.Name != "Spring" || q.Description != "of this year" || q.Slug != p.Slug {
		t.Errorf("%+v", q)
	}
	s.ok("projects", "archive", "slug:acme", "slug:spring-campaign")
	if got := s.ok("projects", "list", "slug:acme", "--status", "active"); strings.Contains(got, "spring") {
		t.Errorf("got\n%s", got)
	}
	s.ok("projects", "restore", "slug:acme", "slug:spring-campaign")
	if got := s.ok("projects", "get", "slug:acme", "slug:spring-campaign"); !strings.Contains(got, "active") {
		t.Errorf("got\n%s", got)
	}
	n := 0
	for v, err := range w.Client.Projects.All(t.Context(), "slug:acme", client.ProjectFilter{}) {
		if n++; err != nil || v.ID != p.ID {
			t.Errorf("%+v %v", v, err)
		}
	}
	if n != 1 {
		t.Errorf("%d projects", n)
	}
	if _, said, code := s.run("", "projects", "create", "slug:acme", "Default"); code != exitError || !strings.Contains(said, "slug: The default project") {
		t.Errorf("exit %d %s", code, said)
	}
}
