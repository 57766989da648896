package tenant_test

import (
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/tenant"
)

func TestByClaim(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.New(t))
	name := strings.ReplaceAll(id.New[id.Tenant]().UUID(), "-", "")
	bySlug, err := h.Create(h.ctx, tenant.CreateParams{Name: "By slug", Slug: "s" + name})
	if err != nil {
		t.Fatal(err)
	}
	byExternal, err := h.Create(h.ctx, tenant.CreateParams{Name: "By external id", Slug: "e" + name, ExternalID: "org-" + name})
	if err != nil {
		t.Fatal(err)
	}
	// One whose external id is another's slug: what the platform set wins.
	shadow, err := h.Create(h.ctx, tenant.CreateParams{Name: "Shadow", Slug: "x" + name, ExternalID: "e" + name})
	if err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]id.Tenant{
		bySlug.Slug: bySlug.ID, bySlug.ID.String(): bySlug.ID, bySlug.ID.UUID(): bySlug.ID,
		"org-" + name: byExternal.ID, "e" + name: shadow.ID,
	} {
		got, err := h.ByClaim(h.ctx, claim)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", claim, got, err, want)
		}
	}
	for _, claim := range []string{"", "nobody-" + name, id.New[id.Tenant]().String()} {
		if _, err := h.ByClaim(h.ctx, claim); fault.CodeOf(err) != "tenant_not_found" {
			t.Errorf("%q: %v", claim, err)
		}
	}
}
