package main

import (
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

func TestTenants_commands(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	s := shell{t: t, url: w.URL, token: w.Owner}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, errOut, code := s.run("", args...); code == exitOK || !strings.Contains(errOut, want) {
			t.Errorf("landlord %s: exit %d, want %s\n%s", strings.Join(args, " "), code, want, errOut)
		}
	}
	shows := func(want string, args ...string) {
		t.Helper()
		if got := s.ok(args...); !strings.Contains(got, want) {
			t.Errorf("landlord %s: want %q in\n%s", strings.Join(args, " "), want, got)
		}
	}

	reseller := into[client.Tenant](s, "tenants", "create", "Reseller One", "--kind", "reseller")
	if reseller.Slug != "reseller-one" || reseller.Status != "active" {
		t.Errorf("got %+v", reseller)
	}
	trial := time.Now().AddDate(0, 0, 10).UTC().Format(time.RFC3339)
	acme := into[client.Tenant](s, "tenants", "create", "Acme", "--slug", "acme", "--parent", "slug:reseller-one", "--trial-ends-at", trial,
		"--contact-email", "ann@acme.example", "--origin", "https://a.example,https://b.example", "--metadata", "tier=gold", "--external-id", "crm-7")
	if acme.ParentID != reseller.ID || acme.Status != "trial" || len(acme.AllowedOrigins) != 2 || acme.Metadata["tier"] != "gold" {
		t.Errorf("got %+v", acme)
	}
	shows("acme", "tenants", "list", "--status", "trial", "--parent", "slug:reseller-one", "--metadata", "tier=gold", "-q", "acm", "--external-id", "crm-7")
	shows("ann@acme.example", "tenants", "get", "slug:acme")
	shows("  acme", "tenants", "tree", reseller.ID)
	shows("freeze", "tenants", "due")
	fails("slug_taken", "tenants", "create", "Acme", "--slug", "acme")
	fails("tenant_not_found", "tenants", "get", "slug:nobody")
	fails("slug:NAME", "tenants", "get", "nobody")

	updated := into[client.Tenant](s, "tenants", "update", "slug:acme", "--name", "Acme Inc", "--clear", "contact-email,external_id",
		"--metadata", "seats=5", "--remove-metadata", "tier", "--contract-end", "2999-12-31")
	if updated.Name != "Acme Inc" || updated.ContactEmail != "" || updated.ExternalID != "" || updated.Metadata["seats"] != "5" || len(updated.Metadata) != 1 || updated.ContractEnd != "2999-12-31" {
		t.Errorf("got %+v", updated)
	}
	fails("no field", "tenants", "update", "slug:acme", "--clear", "shoe-size")
	fails("stale_version", "tenants", "update", "slug:acme", "--name", "x", "--if-match", `"1"`)

	for _, step := range [][]string{
		{"active", "activate", "slug:acme", "--contract-end", "2999-12-31"},
		{"active", "cancel", "slug:acme", "--at-end", "--reason", "too dear"},
		{"active", "reactivate", "slug:acme"},
		{"suspended", "suspend", "slug:acme", "--reason", "abuse"},
		{"active", "resume", "slug:acme"},
		{"frozen", "freeze", "slug:acme", "--reason", "unpaid"},
		{"archived", "archive", "slug:acme", "--reason", "over"},
		{"archived", "hold", "slug:acme", "--reason", "case 7"},
	} {
		if got := into[client.Tenant](s, append([]string{"tenants"}, step[1:]...)...); got.Status != step[0] {
			t.Errorf("%v: got %s", step, got.Status)
		}
	}
	fails("legal hold", "tenants", "delete", "slug:acme", "--yes")
	s.ok("tenants", "release", "slug:acme")
	fails("nothing was changed", "tenants", "delete", "slug:acme")
	s.ok("tenants", "delete", "slug:acme", "--yes")
	shows("acme", "tenants", "list", "--deleted")
	shows("frozen", "tenants", "restore", "slug:acme")
	shows("active", "tenants", "reactivate", "slug:acme")
	fails("illegal_transition", "tenants", "resume", "slug:acme")
	fails("--reason", "tenants", "suspend", "slug:acme")
	if got := into[client.Tenant](s, "tenants", "move", "slug:acme", "--root"); got.ParentID != "" {
		t.Errorf("got %+v", got)
	}
	if got := into[client.Tenant](s, "tenants", "move", "slug:acme", "--parent", "slug:reseller-one"); got.ParentID != reseller.ID {
		t.Errorf("got %+v", got)
	}
	fails("--parent", "tenants", "move", "slug:acme")
}
