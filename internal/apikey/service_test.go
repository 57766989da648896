package apikey_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/secret"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := w.clock.now().Add(time.Hour)
	k, token, err := w.keys.Create(w.ctx(), apikey.CreateParams{
		TenantID: w.tenant, ProjectID: w.project, Product: w.product, Environment: apikey.Test, Name: "  Production server ",
		Description: "line\nline", Scopes: []string{"renders:read", "renders:*", "renders:read"},
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/48"), netip.MustParsePrefix("::ffff:192.0.2.9/120")},
		ExpiresAt:  &ends, Metadata: map[string]any{"team": "core"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := token.Reveal()
	want := apikey.Key{
		ID: k.ID, TenantID: w.tenant, ProjectID: w.project, Product: w.product, Environment: apikey.Test, Name: "Production server",
		Description: "line\nline", Prefix: text[:12], Last4: text[len(text)-4:], Scopes: []string{"renders:*", "renders:read"},
		AllowedIPs:   []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48")},
		RateLimitRPM: 600, RateLimits: []ratelimit.Rule{}, IsActive: true, ExpiresAt: &ends, Generation: 1, Metadata: map[string]any{"team": "core"},
		CreatedBy: "user:operator_1",
		CreatedAt: k.CreatedAt, UpdatedAt: k.UpdatedAt,
	}
	if d := cmp.Diff(want, k, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if !strings.HasPrefix(text, "ll_test_") || k.Prefix != "ll_test_"+text[8:12] {
		t.Errorf("token %s, prefix %s", text, k.Prefix)
	}
	got, err := w.keys.Get(w.ctx(), w.tenant, k.ID)
	if d := cmp.Diff(k, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || d != "" {
		t.Error(err, d)
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'api_key.created' AND target_id = $2`,
		w.tenant, k.ID.String()); n != 1 {
		t.Errorf("%d audit records", n)
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM change_feed WHERE kind = 'api_key' AND ref = $1`, k.ID.UUID()); n != 1 {
		t.Errorf("%d changes noted", n)
	}
	// The token is nowhere in the database.
	for _, table := range []string{"api_keys", "audit_log", "tenant_events"} {
		if n := count[int](t, w.db, `SELECT count(*) FROM `+table+` x WHERE strpos(x::text, $1) > 0`, text[12:55]); n != 0 {
			t.Errorf("%s holds the token", table)
		}
	}
	if raw, err := json.Marshal(token); err != nil || strings.Contains(string(raw), text) {
		t.Errorf("the token marshals: %s", raw)
	}
}

func TestCreate_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	past := w.clock.now()
	archived := w.newProject(w.tenant)
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, archived)
	other := w.newProject(w.newTenant(id.Tenant{}))
	for name, tc := range map[string]struct {
		change func(*apikey.CreateParams)
		field  string
		code   string
	}{
		"no name":            {func(p *apikey.CreateParams) { p.Name = " " }, "name", "required"},
		"long name":          {func(p *apikey.CreateParams) { p.Name = strings.Repeat("ä", 101) }, "name", "too_long"},
		"name of two lines":  {func(p *apikey.CreateParams) { p.Name = "a\nb" }, "name", "invalid_text"},
		"name not UTF-8":     {func(p *apikey.CreateParams) { p.Name = "a\xff" }, "name", "invalid_text"},
		"NUL":                {func(p *apikey.CreateParams) { p.Description = "a\x00" }, "description", "invalid_text"},
		"no environment":     {func(p *apikey.CreateParams) { p.Environment = "" }, "environment", "not_one_of"},
		"bad scope":          {func(p *apikey.CreateParams) { p.Scopes = []string{"a b"} }, "scopes", "scope_malformed"},
		"all scopes":         {func(p *apikey.CreateParams) { p.Scopes = []string{"*"} }, "scopes", "scope_malformed"},
		"undeclared scope":   {func(p *apikey.CreateParams) { p.Product, p.Scopes = w.product, []string{"renders:erase"} }, "scopes", "scope_not_found"},
		"undeclared noun":    {func(p *apikey.CreateParams) { p.Product, p.Scopes = w.product, []string{"videos:*"} }, "scopes", "scope_not_found"},
		"platform's scope":   {func(p *apikey.CreateParams) { p.Scopes = []string{"landlord:operators:write"} }, "scopes", "scope_not_found"},
		"no such permission": {func(p *apikey.CreateParams) { p.Scopes = []string{"landlord:x:y"} }, "scopes", "scope_not_found"},
		"all permissions":    {func(p *apikey.CreateParams) { p.Scopes = []string{"landlord:*"} }, "scopes", "scope_not_found"},
		"test key manages": {func(p *apikey.CreateParams) {
			p.Environment, p.Scopes = apikey.Test, []string{"landlord:apikeys:read"}
		}, "scopes", "scope_not_allowed"},
		"project's key manages": {func(p *apikey.CreateParams) {
			p.ProjectID, p.Scopes = w.project, []string{"landlord:apikeys:read"}
		}, "scopes", "scope_not_allowed"},
		"bad network":      {func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{{}} }, "allowed_ips", "network_malformed"},
		"no requests":      {func(p *apikey.CreateParams) { p.RateLimitRPM = -1 }, "rate_limit_rpm", "out_of_range"},
		"too fast":         {func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM + 1 }, "rate_limit_rpm", "out_of_range"},
		"in the past":      {func(p *apikey.CreateParams) { p.ExpiresAt = &past }, "expires_at", "in_the_past"},
		"much metadata":    {func(p *apikey.CreateParams) { p.Metadata = map[string]any{"a": strings.Repeat("x", 8192)} }, "metadata", "too_large"},
		"unknown product":  {func(p *apikey.CreateParams) { p.Product = "nothing" }, "product", "product_not_found"},
		"unknown project":  {func(p *apikey.CreateParams) { p.ProjectID = id.New[id.Project]() }, "project_id", "project_not_found"},
		"other's project":  {func(p *apikey.CreateParams) { p.ProjectID = other }, "project_id", "project_not_found"},
		"archived project": {func(p *apikey.CreateParams) { p.ProjectID = archived }, "", "project_archived"},
		"unknown tenant":   {func(p *apikey.CreateParams) { p.TenantID = id.New[id.Tenant]() }, "", "tenant_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: name}
			tc.change(&p)
			_, _, err := w.keys.Create(w.ctx(), p)
			if tc.field == "" {
				wantCode(t, err, tc.code)
			} else {
				wantField(t, err, tc.field, tc.code)
			}
		})
	}
}

func TestCreate_nameIsUniqueAmongLiveKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := w.create(func(p *apikey.CreateParams) { p.Name = "server" })
	_, _, err := w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "server"})
	wantCode(t, err, "name_taken")
	other := w.newTenant(id.Tenant{})
	w.create(func(p *apikey.CreateParams) { p.TenantID, p.Name = other, "server" })
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, k.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.create(func(p *apikey.CreateParams) { p.Name = "server" })
}

func TestCreate_managementScopesMustBeHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as := func(perms ...access.Permission) context.Context {
		return access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_1", Tenant: w.tenant, Permissions: access.NewSet(perms...)})
	}
	p := apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "a", Scopes: []string{"landlord:tenants:write"}}
	_, _, err := w.keys.Create(as(access.APIKeysWrite), p)
	wantCode(t, err, "grant_exceeds_own")
	k, _, err := w.keys.Create(as(access.APIKeysWrite, access.TenantsWrite), p)
	if err != nil {
		t.Fatal(err)
	}
	// Rotating would show the weaker one a token with the stronger right.
	_, _, err = w.keys.Rotate(as(access.APIKeysWrite), apikey.RotateParams{TenantID: w.tenant, ID: k.ID})
	wantCode(t, err, "grant_exceeds_own")
	_, err = w.keys.Update(as(access.APIKeysWrite), apikey.UpdateParams{
		TenantID: w.tenant, ID: k.ID, Scopes: patch.Set([]string{"landlord:tenants:write", "landlord:apikeys:read"}),
	})
	wantCode(t, err, "grant_exceeds_own")
	// Keeping what it has, or taking it away, needs nothing more.
	for _, scopes := range [][]string{{"landlord:tenants:write", "renders:read"}, {}} {
		if _, err = w.keys.Update(as(access.APIKeysWrite), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Scopes: patch.Set(scopes)}); err != nil {
			t.Error(err)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	soon := w.clock.now().Add(time.Hour)
	live, _ := w.create()
	expiring, _ := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = &soon })
	test, _ := w.create(func(p *apikey.CreateParams) { p.Environment, p.Product = apikey.Test, w.product; p.Scopes = nil })
	project, _ := w.create(func(p *apikey.CreateParams) { p.ProjectID = w.project })
	revoked, _ := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	disabled, _ := w.create()
	if _, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: disabled.ID, IsActive: patch.Set(false)}); err != nil {
		t.Fatal(err)
	}
	rotated, _ := w.create()
	fresh, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: rotated.ID, Grace: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	list := func(f apikey.Filter) []id.APIKey {
		t.Helper()
		f.TenantID = w.tenant
		f.Page.Limit = 2
		var ids []id.APIKey
		for {
			p, err := w.keys.List(w.ctx(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range p.Data {
				ids = append(ids, k.ID)
			}
			if f.Page.Cursor = p.Next; p.Next == "" {
				return ids
			}
		}
	}
	for name, tc := range map[string]struct {
		filter apikey.Filter
		want   []id.APIKey
	}{
		"all":             {apikey.Filter{}, []id.APIKey{fresh.ID, rotated.ID, disabled.ID, revoked.ID, project.ID, test.ID, expiring.ID, live.ID}},
		"test":            {apikey.Filter{Environment: apikey.Test}, []id.APIKey{test.ID}},
		"product":         {apikey.Filter{Product: w.product}, []id.APIKey{test.ID}},
		"project":         {apikey.Filter{ProjectID: w.project}, []id.APIKey{project.ID}},
		"revoked":         {apikey.Filter{State: apikey.Revoked}, []id.APIKey{revoked.ID}},
		"disabled":        {apikey.Filter{State: apikey.Disabled}, []id.APIKey{disabled.ID}},
		"active":          {apikey.Filter{State: apikey.Active}, []id.APIKey{fresh.ID, rotated.ID, project.ID, test.ID, expiring.ID, live.ID}},
		"expired":         {apikey.Filter{State: apikey.Expired}, nil},
		"prefix, last4":   {apikey.Filter{Prefix: live.Prefix, Last4: live.Last4}, []id.APIKey{live.ID}},
		"prefix begins":   {apikey.Filter{Prefix: "ll_te"}, []id.APIKey{test.ID}},
		"expiring before": {apikey.Filter{ExpiringBefore: new(soon.Add(time.Second))}, []id.APIKey{rotated.ID, expiring.ID}},
	} {
		if got := list(tc.filter); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	w.clock.advance(time.Hour)
	if got := list(apikey.Filter{State: apikey.Expired}); !slices.Equal(got, []id.APIKey{rotated.ID, expiring.ID}) {
		t.Errorf("expired: %v", got)
	}
	got, err := w.keys.Get(w.ctx(), w.tenant, rotated.ID)
	if err != nil || got.StateAt(w.clock.now()) != apikey.Expired || got.RotatedTo != fresh.ID {
		t.Errorf("%+v, %v", got, err)
	}
	for code, f := range map[string]apikey.Filter{
		"cursor_malformed": {TenantID: w.tenant, Page: page.Request{Cursor: "x"}},
		"tenant_not_found": {TenantID: id.New[id.Tenant]()},
		"invalid_request":  {TenantID: w.tenant, State: "gone"},
	} {
		_, err := w.keys.List(w.ctx(), f)
		wantCode(t, err, code)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := w.create(func(p *apikey.CreateParams) {
		p.Metadata = map[string]any{"a": "1", "b": map[string]any{"c": "2", "d": "3"}}
	})
	ends := w.clock.now().Add(time.Hour)
	got, err := w.keys.Update(w.ctx(), apikey.UpdateParams{
		TenantID: w.tenant, ID: k.ID, Name: patch.Set("renamed"), Description: patch.Set("why"), Scopes: patch.Set([]string{"x:y"}),
		AllowedIPs: patch.Set([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}), RateLimitRPM: patch.Set(5),
		ExpiresAt: patch.Set(ends), IsActive: patch.Set(false),
		Metadata: patch.Set(map[string]any{"a": nil, "b": map[string]any{"c": nil, "e": "4"}}), IfMatch: k.UpdatedAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := k
	want.Name, want.Description, want.Scopes = "renamed", "why", []string{"x:y"}
	want.AllowedIPs, want.RateLimitRPM, want.ExpiresAt, want.IsActive = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, 5, &ends, false
	want.DisabledAt, want.Metadata, want.UpdatedAt = new(w.clock.now()), map[string]any{"b": map[string]any{"d": "3", "e": "4"}}, got.UpdatedAt
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(want, got, same); d != "" {
		t.Error(d)
	}
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Set("late"), IfMatch: k.UpdatedAt})
	wantCode(t, err, "stale_version")

	got, err = w.keys.Update(w.ctx(), apikey.UpdateParams{
		TenantID: w.tenant, ID: k.ID, Description: patch.Null[string](), Scopes: patch.Null[[]string](), AllowedIPs: patch.Null[[]netip.Prefix](),
		RateLimitRPM: patch.Null[int](), ExpiresAt: patch.Null[time.Time](), IsActive: patch.Set(true), Metadata: patch.Null[map[string]any](),
	})
	want.Description, want.Scopes, want.AllowedIPs, want.RateLimitRPM, want.ExpiresAt = "", []string{}, nil, 600, nil
	want.IsActive, want.DisabledAt, want.Metadata, want.UpdatedAt = true, nil, map[string]any{}, got.UpdatedAt
	if d := cmp.Diff(want, got, same); err != nil || d != "" {
		t.Error(err, d)
	}
	audits := func() int {
		return count[int](t, w.db, `SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'api_key.updated'`, w.tenant)
	}
	if n := audits(); n != 2 {
		t.Errorf("%d audit records", n)
	}
	// What changes nothing is no change.
	if again, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Set("renamed")}); err != nil ||
		!again.UpdatedAt.Equal(got.UpdatedAt) || audits() != 2 {
		t.Errorf("%v, %d records", err, audits())
	}
	taken, _ := w.create()
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Set(taken.Name)})
	wantCode(t, err, "name_taken")
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Null[string]()})
	wantField(t, err, "name", "required")
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, IsActive: patch.Null[bool]()})
	wantField(t, err, "is_active", "required")
	declared, _ := w.create(func(p *apikey.CreateParams) { p.Product, p.Scopes = w.product, []string{"renders:*"} })
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: declared.ID, Scopes: patch.Set([]string{"renders:*", "x:y"})})
	wantField(t, err, "scopes", "scope_not_found")
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	if o := w.outcome(token); o != apikey.Valid {
		t.Fatal(o)
	}
	got, err := w.keys.Revoke(w.ctx(), w.tenant, k.ID, " found in a log ")
	if err != nil || got.RevokedAt == nil || got.RevokedReason != "found in a log" || got.StateAt(w.clock.now()) != apikey.Revoked {
		t.Fatalf("%+v, %v", got, err)
	}
	if o := w.outcome(token); o != apikey.KeyRevoked { // at once, on this replica
		t.Error(o)
	}
	_, err = w.keys.Revoke(w.ctx(), w.tenant, k.ID, "again")
	wantCode(t, err, "api_key_revoked")
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Set("x")})
	wantCode(t, err, "api_key_revoked")
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID})
	wantCode(t, err, "api_key_revoked")
	_, err = w.keys.Revoke(w.ctx(), w.tenant, id.New[id.APIKey](), "")
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Revoke(w.ctx(), w.tenant, k.ID, strings.Repeat("x", 501))
	wantField(t, err, "reason", "too_long")
	// A leaked key can be stopped whatever the tenant's status is; nothing else can be done.
	leaked, _ := w.create()
	w.setStatus(w.tenant, "frozen")
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: leaked.ID, Name: patch.Set("x")})
	wantCode(t, err, "tenant_frozen")
	_, _, err = w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "x"})
	wantCode(t, err, "tenant_frozen")
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: leaked.ID})
	wantCode(t, err, "tenant_frozen")
	if _, err = w.keys.Revoke(w.ctx(), w.tenant, leaked.ID, ""); err != nil {
		t.Error(err)
	}
	child := w.newTenant(w.tenant)
	_, _, err = w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: child, Environment: apikey.Live, Name: "x"})
	wantCode(t, err, "tenant_frozen")
}

func TestRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := w.clock.now().Add(48 * time.Hour)
	old, oldToken := w.create(func(p *apikey.CreateParams) {
		p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		p.RateLimitRPM, p.ExpiresAt, p.Metadata, p.Description = 7, &ends, map[string]any{"a": "b"}, "d"
	})
	ip := netip.MustParseAddr("192.0.2.1")
	outcome := func(token string) apikey.Outcome { return w.check(apikey.VerifyParams{Token: token, IP: ip}).Outcome }
	if o := outcome(oldToken); o != apikey.Valid {
		t.Fatal(o)
	}
	fresh, text, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: old.ID, Grace: 90 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	want := old
	want.Generation, want.OriginID = 2, old.ID
	want.ID, want.RotatedFrom, want.Prefix, want.Last4, want.CreatedAt, want.UpdatedAt = fresh.ID, old.ID, fresh.Prefix, fresh.Last4, fresh.CreatedAt, fresh.UpdatedAt
	if d := cmp.Diff(want, fresh, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	got, err := w.keys.Get(w.ctx(), w.tenant, old.ID)
	if err != nil || got.RotatedTo != fresh.ID || got.GraceEndsAt == nil || !got.GraceEndsAt.Equal(w.clock.now().Add(90*time.Second)) {
		t.Errorf("%+v, %v", got, err)
	}
	if a, b := outcome(oldToken), outcome(text.Reveal()); a != apikey.Valid || b != apikey.Valid {
		t.Errorf("in grace: %s, %s", a, b)
	}
	w.clock.advance(90*time.Second - 1)
	if o := outcome(oldToken); o != apikey.Valid {
		t.Errorf("a nanosecond before: %s", o)
	}
	w.clock.advance(1)
	if o := outcome(oldToken); o != apikey.KeyExpired {
		t.Errorf("after grace: %s", o)
	}
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: old.ID})
	wantCode(t, err, "api_key_rotated")
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: old.ID, Name: patch.Set("x")})
	wantCode(t, err, "api_key_rotated")
	if _, err = w.keys.Revoke(w.ctx(), w.tenant, old.ID, ""); err != nil {
		t.Error(err)
	}

	// At once, with another end.
	newest, last, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: fresh.ID, ExpiresAt: patch.Null[time.Time]()})
	if err != nil || newest.ExpiresAt != nil {
		t.Fatalf("%+v, %v", newest, err)
	}
	if a, b := outcome(text.Reveal()), outcome(last.Reveal()); a != apikey.KeyExpired || b != apikey.Valid {
		t.Errorf("grace 0: %s, %s", a, b)
	}
	for _, grace := range []time.Duration{-1, apikey.MaxGrace + 1} {
		_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: newest.ID, Grace: grace})
		wantField(t, err, "grace", "out_of_range")
	}
	if _, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: newest.ID, IsActive: patch.Set(false)}); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: newest.ID})
	wantCode(t, err, "api_key_disabled")
	expired, _ := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(1)) })
	w.clock.advance(time.Second)
	_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: expired.ID})
	wantCode(t, err, "api_key_expired")
}

func TestRotate_concurrently(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		k, _ := w.create()
		const n = 8
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if i%2 == 0 {
					_, _, errs[i] = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID, Grace: time.Minute})
				} else {
					_, _, errs[i] = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID})
				}
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantCode(t, err, "api_key_rotated")
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
		if n := count[int](t, w.db, `SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND rotated_from = $2`, w.tenant, k.ID); n != 1 {
			t.Errorf("%d successors", n)
		}
	}
}

// Every operation refuses who has no permission, and knows nothing of another tenant's keys.
func TestAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	stranger := w.newTenant(id.Tenant{})
	ops := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, _, err := w.keys.Create(ctx, apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "x"})
			return err
		},
		"get": func(ctx context.Context) error { _, err := w.keys.Get(ctx, w.tenant, k.ID); return err },
		"list": func(ctx context.Context) error {
			_, err := w.keys.List(ctx, apikey.Filter{TenantID: w.tenant})
			return err
		},
		"generations": func(ctx context.Context) error {
			_, err := w.keys.Generations(ctx, w.tenant, k.ID, page.Request{})
			return err
		},
		"update": func(ctx context.Context) error {
			_, err := w.keys.Update(ctx, apikey.UpdateParams{TenantID: w.tenant, ID: k.ID})
			return err
		},
		"revoke": func(ctx context.Context) error { _, err := w.keys.Revoke(ctx, w.tenant, k.ID, ""); return err },
		"rotate": func(ctx context.Context) error {
			_, _, err := w.keys.Rotate(ctx, apikey.RotateParams{TenantID: w.tenant, ID: k.ID})
			return err
		},
	}
	everything := access.NewSet(access.All()...)
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantCode(t, op(t.Context()), "credential_required")
			wantCode(t, op(access.With(t.Context(), access.Principal{Type: access.User, Permissions: access.NewSet(access.TenantsRead)})), "permission_denied")
			wantCode(t, op(access.With(t.Context(), access.Principal{Type: access.APIKey, Tenant: stranger, Permissions: everything})), "tenant_not_found")
		})
	}
	// The right tenant with the wrong key.
	own := access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_x", Tenant: stranger, Permissions: everything})
	_, err := w.keys.Get(own, stranger, k.ID)
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Update(own, apikey.UpdateParams{TenantID: stranger, ID: k.ID, Name: patch.Set("x")})
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Revoke(own, stranger, k.ID, "")
	wantCode(t, err, "api_key_not_found")
	_, _, err = w.keys.Rotate(own, apikey.RotateParams{TenantID: stranger, ID: k.ID})
	wantCode(t, err, "api_key_not_found")
	if p, err := w.keys.List(own, apikey.Filter{TenantID: stranger}); err != nil || len(p.Data) != 0 {
		t.Errorf("%v, %v", p, err)
	}

	// Who is confined verifies only what is below his tenant.
	verify := func(tenant id.Tenant, perms access.Set) (apikey.Outcome, error) {
		v, err := w.keys.Verify(access.With(t.Context(), access.Principal{Type: access.Service, Tenant: tenant, Permissions: perms}),
			&apikey.VerifyParams{Token: token})
		return v.Outcome, err
	}
	can := access.NewSet(access.APIKeysVerify)
	for tenant, want := range map[id.Tenant]apikey.Outcome{{}: apikey.Valid, w.tenant: apikey.Valid, stranger: apikey.NotFound} {
		if o, err := verify(tenant, can); err != nil || o != want {
			t.Errorf("%s: %s, %v", tenant, o, err)
		}
	}
	_, err = verify(id.Tenant{}, access.NewSet(access.APIKeysRead))
	wantCode(t, err, "permission_denied")
	_, err = w.keys.Verify(t.Context(), &apikey.VerifyParams{Token: token})
	wantCode(t, err, "credential_required")
}

func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := w.create()
	stranger := w.newTenant(id.Tenant{})
	err := w.db.InTenant(t.Context(), stranger, func(tx pg.Tx) error {
		var n int
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM api_keys WHERE id = $1`, k.ID).Scan(&n); err != nil {
			return err
		}
		tag, err := tx.Exec(t.Context(), `UPDATE api_keys SET is_active = FALSE WHERE id = $1`, k.ID)
		if n != 0 || tag.RowsAffected() != 0 {
			t.Errorf("another tenant sees %d and changes %d", n, tag.RowsAffected())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	db, err := pg.Open(t.Context(), pg.Config{URL: "postgres://landlord@127.0.0.1:1/landlord?sslmode=disable"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	ring := parseRing(t, newSecrets(t))
	verifier := apikey.NewVerifier(db, ring, apikey.VerifierConfig{})
	t.Cleanup(func() { _ = verifier.Close(context.WithoutCancel(t.Context())) })
	keys, err := apikey.New(db, ring, apikey.Config{Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	ctx, tenant := operator(t.Context()), id.New[id.Tenant]()
	_, _, err = keys.Create(ctx, apikey.CreateParams{TenantID: tenant, Environment: apikey.Live, Name: "x"})
	wantCode(t, err, "database_unavailable")
	_, err = keys.Get(ctx, tenant, id.New[id.APIKey]())
	wantCode(t, err, "database_unavailable")
	_, err = keys.List(ctx, apikey.Filter{TenantID: tenant})
	wantCode(t, err, "database_unavailable")
	_, err = keys.Revoke(ctx, tenant, id.New[id.APIKey](), "")
	wantCode(t, err, "database_unavailable")
	_, err = keys.Verify(ctx, &apikey.VerifyParams{Token: goodToken})
	wantCode(t, err, "database_unavailable")
	_, err = verifier.Authenticate(ctx, goodToken)
	wantCode(t, err, "database_unavailable")
}

func TestNew_brand(t *testing.T) {
	t.Parallel()
	for brand, ok := range map[string]bool{"": true, "acme": true, "Acme": false, "a_b": false, strings.Repeat("a", 17): false} {
		_, err := apikey.New(&pg.DB{}, &secret.Keyring{}, apikey.Config{Brand: brand})
		if (err == nil) != ok {
			t.Errorf("%q: %v", brand, err)
		}
	}
}

func TestDisable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	w.setStatus(w.tenant, "frozen") // stopping is possible whatever the tenant's status is
	off, err := w.keys.Disable(w.ctx(), w.tenant, k.ID, " looked odd ")
	if err != nil {
		t.Fatal(err)
	}
	want := k
	want.IsActive, want.DisabledAt, want.DisabledReason, want.UpdatedAt = false, new(w.clock.now()), "looked odd", off.UpdatedAt
	if d := cmp.Diff(want, off); d != "" || !off.UpdatedAt.After(k.UpdatedAt) {
		t.Error(d)
	}
	if o := w.outcome(token); o != apikey.KeyDisabled {
		t.Error(o)
	}
	_, err = w.keys.Disable(w.ctx(), w.tenant, k.ID, "")
	wantCode(t, err, "api_key_disabled")
	own := access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_1", Tenant: w.tenant, Permissions: access.NewSet(access.APIKeysWrite)})
	_, err = w.keys.Enable(own, w.tenant, k.ID, "")
	wantCode(t, err, "tenant_frozen")
	w.setStatus(w.tenant, "active")
	on, err := w.keys.Enable(own, w.tenant, k.ID, "was me")
	if err != nil {
		t.Fatal(err)
	}
	want.IsActive, want.DisabledAt, want.DisabledReason, want.UpdatedAt = true, nil, "", on.UpdatedAt
	if d := cmp.Diff(want, on); d != "" {
		t.Error(d)
	}
	if o := w.outcome(token); o != apikey.Valid {
		t.Error(o)
	}
	_, err = w.keys.Enable(own, w.tenant, k.ID, "")
	wantCode(t, err, "api_key_enabled")
	// The switch of an update says when, too; one that was off stays off since then.
	if off, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, IsActive: patch.Set(false)}); err != nil || off.DisabledAt == nil {
		t.Errorf("%+v, %v", off, err)
	}
	w.clock.advance(time.Hour)
	again, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, IsActive: patch.Set(false), Description: patch.Set("x")})
	if err != nil || !again.DisabledAt.Equal(*off.DisabledAt) {
		t.Errorf("%v, %v", again.DisabledAt, err)
	}
	for action, reason := range map[string]string{"api_key.disabled": "looked odd", "api_key.enabled": "was me"} {
		if n := count[int](t, w.db, `SELECT count(*) FROM audit_log WHERE target_id = $1 AND action = $2 AND description = $3`, k.ID.String(), action, reason); n != 1 {
			t.Errorf("%d records of %s", n, action)
		}
	}
	revoked, _ := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	for code, act := range map[string]func() error{
		"api_key_revoked": func() error { _, err := w.keys.Disable(w.ctx(), w.tenant, revoked.ID, ""); return err },
		"api_key_not_found": func() error {
			_, err := w.keys.Enable(w.ctx(), w.tenant, id.New[id.APIKey](), "")
			return err
		},
		"invalid_request":  func() error { _, err := w.keys.Disable(w.ctx(), w.tenant, k.ID, strings.Repeat("x", 501)); return err },
		"tenant_not_found": func() error { _, err := w.keys.Disable(own, w.newTenant(id.Tenant{}), k.ID, ""); return err },
		"permission_denied": func() error {
			_, err := w.keys.Disable(access.With(own, access.Principal{Type: access.APIKey, Tenant: w.tenant}), w.tenant, k.ID, "")
			return err
		},
	} {
		wantCode(t, act(), code)
	}
}

// A search sees every tenant's keys, or those of a tenant and below it, newest first.
func TestSearch(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, pgtest.Clone(t)) // other tests' keys are all tenants' too
	child := w.newTenant(w.tenant)
	other := w.newTenant(id.Tenant{})
	in := func(tenant id.Tenant, change ...func(*apikey.CreateParams)) apikey.Key {
		k, _ := w.create(append(change, func(p *apikey.CreateParams) { p.TenantID = tenant })...)
		return k
	}
	mine, below, foreign := in(w.tenant), in(child), in(other)
	soon := in(child, func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(time.Hour)) })
	test := in(other, func(p *apikey.CreateParams) { p.Environment, p.Scopes = apikey.Test, nil })
	gone := in(w.tenant)
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	agent := access.With(t.Context(), access.Principal{
		Type: access.Service, ID: "service_1", Tenant: w.tenant, Permissions: access.NewSet(access.APIKeysRead, access.APIKeysWrite),
	})
	made, _, err := w.keys.Create(agent, apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "by an agent"})
	if err != nil {
		t.Fatal(err)
	}
	search := func(ctx context.Context, f apikey.Filter) []id.APIKey {
		t.Helper()
		f.Page.Limit = 2
		var ids []id.APIKey
		for {
			p, err := w.keys.Search(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range p.Data {
				ids = append(ids, k.ID)
				if k.TenantSlug != slugOf(k.TenantID) || k.TenantName != "Tenant" {
					t.Errorf("%+v", k)
				}
			}
			if f.Page.Cursor = p.Next; p.Next == "" {
				return ids
			}
		}
	}
	everyone := w.ctx()
	for name, tc := range map[string]struct {
		ctx    context.Context
		filter apikey.Filter
		want   []id.APIKey
	}{
		"all":                    {everyone, apikey.Filter{}, []id.APIKey{made.ID, gone.ID, test.ID, soon.ID, foreign.ID, below.ID, mine.ID}},
		"mine and below":         {agent, apikey.Filter{}, []id.APIKey{made.ID, gone.ID, soon.ID, below.ID, mine.ID}},
		"prefix and last4":       {everyone, apikey.Filter{Prefix: foreign.Prefix, Last4: foreign.Last4}, []id.APIKey{foreign.ID}},
		"of somebody else":       {agent, apikey.Filter{Prefix: foreign.Prefix, Last4: foreign.Last4}, nil},
		"below, by its prefix":   {agent, apikey.Filter{Prefix: below.Prefix, Last4: below.Last4}, []id.APIKey{below.ID}},
		"revoked":                {everyone, apikey.Filter{State: apikey.Revoked}, []id.APIKey{gone.ID}},
		"test":                   {everyone, apikey.Filter{Environment: apikey.Test}, []id.APIKey{test.ID}},
		"test, but not one's":    {agent, apikey.Filter{Environment: apikey.Test}, nil},
		"ending":                 {everyone, apikey.Filter{ExpiringBefore: new(w.clock.now().Add(2 * time.Hour))}, []id.APIKey{soon.ID}},
		"active and ending":      {everyone, apikey.Filter{State: apikey.Active, ExpiringBefore: new(w.clock.now().Add(2 * time.Hour))}, []id.APIKey{soon.ID}},
		"not ending that soon":   {everyone, apikey.Filter{ExpiringBefore: new(w.clock.now().Add(time.Minute))}, nil},
		"by the agent":           {everyone, apikey.Filter{CreatedBy: "service:service_1"}, []id.APIKey{made.ID}},
		"by somebody, and below": {agent, apikey.Filter{CreatedBy: "user:operator_1", State: apikey.Active}, []id.APIKey{soon.ID, below.ID, mine.ID}},
		"a prefix of nobody":     {everyone, apikey.Filter{Prefix: "zz_"}, nil},
		"no pattern":             {everyone, apikey.Filter{Prefix: "ll%"}, nil},
	} {
		if got := search(tc.ctx, tc.filter); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
	// Of a tenant alone, too.
	p, err := w.keys.List(w.ctx(), apikey.Filter{TenantID: w.tenant, CreatedBy: "service:service_1"})
	if err != nil || len(p.Data) != 1 || p.Data[0].ID != made.ID {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = w.keys.Search(access.With(t.Context(), access.Principal{Type: access.APIKey, Tenant: w.tenant}), apikey.Filter{})
	wantCode(t, err, "permission_denied")
	_, err = w.keys.Search(w.ctx(), apikey.Filter{Last4: "x"})
	wantCode(t, err, "invalid_request")
	_, err = w.keys.Search(w.ctx(), apikey.Filter{Page: page.Request{Cursor: "x"}})
	wantCode(t, err, "cursor_malformed")
}
