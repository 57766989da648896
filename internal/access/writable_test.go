package access_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

func TestCheckWritable(t *testing.T) {
	t.Parallel()
	platform, tenant := access.Principal{}, access.Principal{Tenant: id.New[id.Tenant]()}
	for status, want := range map[string][2]string{ // platform, tenant
		"demo": {}, "trial": {}, "active": {},
		"frozen":    {"tenant_frozen", "tenant_frozen"},
		"suspended": {"", "tenant_suspended"},
		"archived":  {"", "tenant_archived"},
	} {
		for i, p := range []access.Principal{platform, tenant} {
			err := access.CheckWritable(status, p)
			if (err == nil) != (want[i] == "") || err != nil && fault.CodeOf(err) != want[i] {
				t.Errorf("%s, platform %v: got %v, want %q", status, p.Platform(), err, want[i])
			}
		}
	}
}
