package apikey_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
)

func TestSelf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO products (name, title) VALUES ('other-' || $1::text, 'Other'), ('over-' || $1::text, 'Over'), ('off-' || $1::text, 'Off')`, w.product)
	w.entitle(w.tenant, "other-"+w.product)
	w.entitle(w.tenant, "over-"+w.product)
	w.entitle(w.tenant, "off-"+w.product)
	w.exec(`UPDATE tenant_products SET expires_at = $2 WHERE product = $1`, "over-"+w.product, w.clock.now())
	w.exec(`UPDATE tenant_products SET enabled = FALSE WHERE product = $1`, "off-"+w.product)
	child := w.newTenant(w.tenant)
	as := func(token string) context.Context {
		who, err := w.verifier.Authenticate(access.WithOrigin(t.Context(), access.Origin{SourceIP: home}), token)
		if err != nil {
			t.Fatal(err)
		}
		return access.With(t.Context(), who)
	}
	for name, tc := range map[string]struct {
		change   func(*apikey.CreateParams)
		status   string
		products []string
	}{
		"plain":       {func(*apikey.CreateParams) {}, "active", []string{"other-" + w.product, w.product}},
		"test":        {func(p *apikey.CreateParams) { p.Environment, p.Scopes = apikey.Test, nil }, "active", []string{"other-" + w.product, w.product}},
		"a project's": {func(p *apikey.CreateParams) { p.ProjectID = w.project }, "active", []string{"other-" + w.product, w.product}},
		"a product's": {func(p *apikey.CreateParams) { p.Product, p.Scopes = w.product, nil }, "active", []string{w.product}},
		"below":       {func(p *apikey.CreateParams) { p.TenantID = child }, "active", []string{}},
	} {
		k, token := w.create(tc.change)
		got, err := w.keys.Self(as(token))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := apikey.Self{Key: k, TenantSlug: slugOf(k.TenantID), TenantName: "Tenant", TenantStatus: tc.status, Products: tc.products}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	// The status is the effective one.
	_, token := w.create(func(p *apikey.CreateParams) { p.TenantID = child })
	w.setStatus(w.tenant, "frozen")
	w.verifier.Forget()
	if got, err := w.keys.Self(as(token)); err != nil || got.TenantStatus != "frozen" {
		t.Errorf("%q, %v", got.TenantStatus, err)
	}
	_, err := w.keys.Self(w.ctx())
	wantCode(t, err, "api_key_required")
	_, err = w.keys.RevokeSelf(w.ctx(), "")
	wantCode(t, err, "api_key_required")
	_, err = w.keys.Self(t.Context())
	wantCode(t, err, "api_key_required")
}

// Who holds a key can end it, in whatever state the key and its tenant are.
func TestRevokeSelf(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, k apikey.Key, token string){
		"active":           func(*world, apikey.Key, string) {},
		"disabled":         func(w *world, k apikey.Key, _ string) { _, _ = w.keys.Disable(w.ctx(), w.tenant, k.ID, "") },
		"expired":          func(w *world, _ apikey.Key, _ string) { w.clock.advance(2 * time.Hour) },
		"tenant frozen":    func(w *world, _ apikey.Key, _ string) { w.setStatus(w.tenant, "frozen") },
		"tenant suspended": func(w *world, _ apikey.Key, _ string) { w.setStatus(w.tenant, "suspended") },
		"tenant archived":  func(w *world, _ apikey.Key, _ string) { w.setStatus(w.tenant, "archived") },
		"project archived": func(w *world, _ apikey.Key, _ string) {
			w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
		},
		"over its limit": func(w *world, _ apikey.Key, token string) {
			for limited := false; !limited; {
				limited = w.check(apikey.VerifyParams{Token: token, IP: home}).Outcome == apikey.RateLimited
			}
		},
		"barred by a policy": func(w *world, _ apikey.Key, _ string) {
			w.putPolicy(apikey.PutPolicyParams{Environments: []apikey.Environment{apikey.Test}, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
		},
		"in its grace": func(w *world, k apikey.Key, _ string) {
			_, _, _ = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID, Grace: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k, token := w.create(func(p *apikey.CreateParams) {
				p.ProjectID, p.AllowedIPs, p.RateLimitRPM, p.ExpiresAt = w.project, homes, 3, new(w.clock.now().Add(time.Hour))
			})
			w.check(apikey.VerifyParams{Token: token, Peek: true, IP: home}) // it is in memory
			prepare(w, k, token)
			w.verifier.Forget()
			who, err := w.verifier.Holder(access.WithOrigin(t.Context(), access.Origin{SourceIP: away}), token)
			if err != nil {
				t.Fatal(err)
			}
			if len(who.Permissions) != 0 || who.Tenant != w.tenant {
				t.Errorf("%+v", who)
			}
			ctx := access.With(t.Context(), who)
			_, err = w.keys.Revoke(ctx, w.tenant, k.ID, "") // nothing but itself, and not by its id
			wantCode(t, err, "permission_denied")
			got, err := w.keys.RevokeSelf(ctx, "found in a repository")
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != k.ID || got.RevokedAt == nil || got.RevokedReason != "found in a repository" {
				t.Errorf("%+v", got)
			}
			if o := w.outcome(token); o != apikey.KeyRevoked {
				t.Error(o)
			}
			if n := count[int](t, w.db, `SELECT count(*) FROM audit_log WHERE target_id = $1 AND action = 'api_key.revoked' AND actor_type = 'api_key' AND actor_id = $1`,
				k.ID.String()); n != 1 {
				t.Errorf("%d audit records by the key itself", n)
			}
			_, err = w.keys.RevokeSelf(ctx, "")
			wantCode(t, err, "api_key_revoked")
		})
	}
}

func TestHolder_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range []string{goodToken, "", "x", "llop_0000000000000000000000000000000000000000000000000"} {
		_, err := w.verifier.Holder(t.Context(), s)
		wantCode(t, err, "credential_invalid")
	}
	k, token := w.create()
	who, err := w.verifier.Holder(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	ctx := access.With(t.Context(), who)
	for _, act := range []func() error{
		func() error { _, err := w.keys.Get(ctx, w.tenant, k.ID); return err },
		func() error {
			_, err := w.keys.Update(ctx, apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, Name: patch.Set("x")})
			return err
		},
		func() error { _, err := w.keys.Search(ctx, apikey.Filter{}); return err },
	} {
		wantCode(t, act(), "permission_denied")
	}
	if n := count[int64](t, w.db, `SELECT usage_count FROM api_keys WHERE id = $1`, k.ID); n != 0 {
		t.Errorf("counted as a use: %d", n)
	}
	_, err = w.keys.Get(ctx, w.newTenant(id.Tenant{}), k.ID)
	wantCode(t, err, "tenant_not_found")
}
