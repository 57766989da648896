package access_test

import (
	"context"
	"errors"
	"testing"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

func TestRequire(t *testing.T) {
	t.Parallel()
	mine, child, other := id.New[id.Tenant](), id.New[id.Tenant](), id.New[id.Tenant]()
	within := func(_ context.Context, x id.Tenant) (bool, error) { return x == child, nil }
	perms := access.NewSet(access.TenantsRead)
	platform := &access.Principal{Type: access.User, Permissions: perms}
	reseller := &access.Principal{Type: access.APIKey, Tenant: mine, Within: within, Permissions: perms}
	for name, tc := range map[string]struct {
		who    *access.Principal
		perm   access.Permission
		tenant id.Tenant
		code   string
	}{
		"nobody":                       {nil, access.TenantsRead, mine, "credential_required"},
		"platform, any tenant":         {platform, access.TenantsRead, other, ""},
		"platform without permission":  {platform, access.TenantsWrite, other, "permission_denied"},
		"own tenant":                   {reseller, access.TenantsRead, mine, ""},
		"child":                        {reseller, access.TenantsRead, child, ""},
		"stranger's tenant":            {reseller, access.TenantsRead, other, "tenant_not_found"},
		"stranger's before permission": {reseller, access.TenantsWrite, other, "tenant_not_found"},
		"child without permission":     {reseller, access.TenantsWrite, child, "permission_denied"},
		"no tenant at all":             {reseller, access.TenantsRead, id.Tenant{}, "tenant_not_found"},
	} {
		ctx := t.Context()
		if tc.who != nil {
			ctx = access.With(ctx, *tc.who)
		}
		err := access.Require(ctx, tc.perm, tc.tenant)
		if (err == nil) != (tc.code == "") || err != nil && fault.CodeOf(err) != tc.code {
			t.Errorf("%s: got %v, want %q", name, err, tc.code)
		}
	}
	ctx := access.With(t.Context(), *reseller)
	if err := access.RequirePlatform(ctx, access.TenantsRead); fault.CodeOf(err) != "platform_only" {
		t.Errorf("a tenant's credential is not the platform's: %v", err)
	}
}

func TestRequire_askingFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("database gone")
	ctx := access.With(t.Context(), access.Principal{
		Tenant: id.New[id.Tenant](), Permissions: access.Owner.Permissions(),
		Within: func(context.Context, id.Tenant) (bool, error) { return true, boom },
	})
	if err := access.Require(ctx, access.TenantsRead, id.New[id.Tenant]()); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, r := range access.Roles() {
		if !r.Permissions().Has(access.TenantsRead) {
			t.Errorf("%s can't read tenants", r)
		}
	}
	if access.Admin.Permissions().Has(access.OperatorsWrite) || access.Viewer.Permissions().Has(access.TenantsWrite) {
		t.Error("a role is too strong")
	}
	if access.OperatorsWrite.TenantGrantable() || !access.APIKeysWrite.TenantGrantable() || access.Permission("x:y").TenantGrantable() {
		t.Error("what a tenant may grant is wrong")
	}
}
