package apikey_test

import (
	"context"
	"crypto/rand"
	"fmt"
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
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func leakOf(token, url string) apikey.ReportParams {
	return apikey.ReportParams{Token: secret.NewText(token), Source: "commit", URL: url}
}

func (w *world) report(token, url string) apikey.Reported {
	w.t.Helper()
	r, err := w.keys.ReportLeak(w.ctx(), leakOf(token, url))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// told is how many records, events and changes say that a key leaked.
func (w *world) told(key id.APIKey) [3]int {
	w.t.Helper()
	return [3]int{
		count[int](w.t, w.db, `SELECT count(*) FROM audit_log WHERE action = 'api_key.leaked' AND target_id = $1`, key.String()),
		count[int](w.t, w.db, `SELECT count(*) FROM tenant_events WHERE type = 'api_key.leaked' AND payload -> 'api_key' ->> 'id' = $1`, key.String()),
		count[int](w.t, w.db, `SELECT count(*) FROM change_feed WHERE kind = 'api_key' AND ref = $1`, key.UUID()) - 1, // it was made
	}
}

// What a report does, the strictest of the policies from the root down says.
func TestReportLeak_policy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		above, own apikey.LeakAction // "": no policy
		action     apikey.LeakAction
		outcome    apikey.Outcome
	}{
		"no policy":                        {"", "", apikey.LeakRevoke, apikey.KeyRevoked},
		"revoke":                           {"", apikey.LeakRevoke, apikey.LeakRevoke, apikey.KeyRevoked},
		"disable":                          {"", apikey.LeakDisable, apikey.LeakDisable, apikey.KeyDisabled},
		"flag":                             {"", apikey.LeakFlag, apikey.LeakFlag, apikey.Valid},
		"disable, inherited":               {apikey.LeakDisable, "", apikey.LeakDisable, apikey.KeyDisabled},
		"flag, inherited":                  {apikey.LeakFlag, "", apikey.LeakFlag, apikey.Valid},
		"stricter above":                   {apikey.LeakDisable, apikey.LeakFlag, apikey.LeakDisable, apikey.KeyDisabled},
		"stricter below":                   {apikey.LeakFlag, apikey.LeakDisable, apikey.LeakDisable, apikey.KeyDisabled},
		"a policy that leaves it open":     {apikey.LeakFlag, apikey.LeakRevoke, apikey.LeakRevoke, apikey.KeyRevoked},
		"a policy above that is strictest": {apikey.LeakRevoke, apikey.LeakFlag, apikey.LeakRevoke, apikey.KeyRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			child := w.newTenant(w.tenant)
			if tc.above != "" {
				w.putPolicy(apikey.PutPolicyParams{LeakAction: tc.above})
			}
			if tc.own != "" {
				w.putPolicy(apikey.PutPolicyParams{TenantID: child, LeakAction: tc.own})
			}
			k, token := w.create(func(p *apikey.CreateParams) { p.TenantID = child })
			if o := w.outcome(token); o != apikey.Valid {
				t.Fatal(o)
			}
			r := w.report(token, "https://example.com/1")
			if !r.Known || r.Action != tc.action || r.Key.ID != k.ID || r.Key.LeakedAt == nil || !r.Key.LeakedAt.Equal(w.clock.now()) {
				t.Errorf("%+v", r)
			}
			if o := w.outcome(token); o != tc.outcome {
				t.Errorf("it answers %s, want %s", o, tc.outcome)
			}
			got, err := w.keys.Get(w.ctx(), child, k.ID)
			if d := cmp.Diff(r.Key, got); err != nil || d != "" {
				t.Errorf("%v %s", err, d)
			}
			if reason := map[apikey.Outcome]string{apikey.KeyRevoked: got.RevokedReason, apikey.KeyDisabled: got.DisabledReason, apikey.Valid: "leaked"}[tc.outcome]; reason != "leaked" {
				t.Errorf("the reason is %q", reason)
			}
			if n := w.told(k.ID); n != [3]int{1, 1, 1} {
				t.Errorf("%v records, events, changes", n)
			}
			// The other replicas hear of it.
			if o := outcomeOf(t, w.verifier, token); o != tc.outcome {
				t.Error(o)
			}
			// Once more says nothing new, at whatever time.
			w.clock.advance(time.Hour)
			again := w.report(token, "https://example.com/1")
			if d := cmp.Diff(apikey.Reported{Known: true, Key: got, Action: "none"}, again); d != "" {
				t.Error(d)
			}
			if n := w.told(k.ID); n != [3]int{1, 1, 1} {
				t.Errorf("again: %v records, events, changes", n)
			}
		})
	}
}

// A key is reported whatever its state and its tenant's are; of one that is stopped already only the place is kept.
func TestReportLeak_states(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(w *world, k apikey.Key)
		policy  apikey.LeakAction
		action  apikey.LeakAction
		state   apikey.State
	}{
		"revoked": {func(w *world, k apikey.Key) { _, _ = w.keys.Revoke(w.ctx(), w.tenant, k.ID, "before") }, apikey.LeakRevoke, "none", apikey.Revoked},
		"revoked, to disable": {
			func(w *world, k apikey.Key) { _, _ = w.keys.Revoke(w.ctx(), w.tenant, k.ID, "before") }, apikey.LeakDisable, "none", apikey.Revoked,
		},
		"disabled": {func(w *world, k apikey.Key) { _, _ = w.keys.Disable(w.ctx(), w.tenant, k.ID, "before") }, apikey.LeakDisable, "none", apikey.Disabled},
		"disabled, to revoke": {
			func(w *world, k apikey.Key) { _, _ = w.keys.Disable(w.ctx(), w.tenant, k.ID, "before") }, apikey.LeakRevoke, apikey.LeakRevoke, apikey.Revoked,
		},
		"expired": {func(w *world, _ apikey.Key) { w.clock.advance(2 * time.Hour) }, apikey.LeakRevoke, apikey.LeakRevoke, apikey.Revoked},
		"in its grace": {func(w *world, k apikey.Key) {
			_, _, _ = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID, Grace: time.Hour})
		}, apikey.LeakRevoke, apikey.LeakRevoke, apikey.Revoked},
		"tenant frozen":    {func(w *world, _ apikey.Key) { w.setStatus(w.tenant, "frozen") }, apikey.LeakRevoke, apikey.LeakRevoke, apikey.Revoked},
		"tenant suspended": {func(w *world, _ apikey.Key) { w.setStatus(w.tenant, "suspended") }, apikey.LeakDisable, apikey.LeakDisable, apikey.Disabled},
		"tenant archived":  {func(w *world, _ apikey.Key) { w.setStatus(w.tenant, "archived") }, apikey.LeakRevoke, apikey.LeakRevoke, apikey.Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.putPolicy(apikey.PutPolicyParams{LeakAction: tc.policy})
			k, token := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(time.Hour)) })
			tc.prepare(w, k)
			w.verifier.Forget()
			r := w.report(token, "https://example.com/1")
			if !r.Known || r.Action != tc.action || w.keys.StateOf(r.Key) != tc.state {
				t.Errorf("%s, %s", r.Action, w.keys.StateOf(r.Key))
			}
			if tc.action == "none" && r.Key.RevokedReason+r.Key.DisabledReason != "before" {
				t.Errorf("the reason from before is lost: %+v", r.Key)
			}
			if n := w.told(k.ID); n[0] != 1 || n[1] != 1 {
				t.Errorf("%v records, events, changes", n)
			}
			if p, err := w.keys.Leaks(w.ctx(), w.tenant, k.ID, page.Request{}); err != nil || len(p.Data) != 1 || p.Data[0].Action != tc.action {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// Who enabled a key again knew of the place; another place is news.
func TestReportLeak_enabledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putPolicy(apikey.PutPolicyParams{LeakAction: apikey.LeakDisable})
	k, token := w.create()
	w.report(token, "https://example.com/1")
	if _, err := w.keys.Enable(w.ctx(), w.tenant, k.ID, "a key of an example"); err != nil {
		t.Fatal(err)
	}
	if r := w.report(token, "https://example.com/1"); r.Action != "none" || w.outcome(token) != apikey.Valid {
		t.Errorf("the same place: %s, %s", r.Action, w.outcome(token))
	}
	if r := w.report(token, "https://example.com/2"); r.Action != apikey.LeakDisable || w.outcome(token) != apikey.KeyDisabled {
		t.Errorf("another place: %s, %s", r.Action, w.outcome(token))
	}
}

func TestReportLeak_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child, stranger := w.newTenant(w.tenant), w.newTenant(id.Tenant{})
	k, token := w.create()
	_, theirs := w.create(func(p *apikey.CreateParams) { p.TenantID = stranger })
	_, below := w.create(func(p *apikey.CreateParams) { p.TenantID = child })
	within := func(_ context.Context, t id.Tenant) (bool, error) { return t == child, nil }
	as := func(tenant id.Tenant, perms ...access.Permission) context.Context {
		return access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_1", Tenant: tenant, Within: within, Permissions: access.NewSet(perms...)})
	}
	_, err := w.keys.ReportLeak(t.Context(), leakOf(token, ""))
	wantCode(t, err, "credential_required")
	_, err = w.keys.ReportLeak(as(w.tenant, access.APIKeysRead), leakOf(token, ""))
	wantCode(t, err, "permission_denied")
	_, err = w.keys.ReportLeak(w.ctx(), apikey.ReportParams{})
	wantField(t, err, "token", "required")
	for _, url := range []string{"x", "ftp://example.com", "https://", "javascript:alert(1)", "https://example.com/\x00", "https://example.com/" + strings.Repeat("x", 2048)} {
		_, err = w.keys.ReportLeak(w.ctx(), leakOf(token, url))
		wantField(t, err, "url", "wrong_format")
	}
	_, err = w.keys.ReportLeak(w.ctx(), apikey.ReportParams{Token: secret.NewText(token), Source: strings.Repeat("x", 101)})
	wantField(t, err, "source", "too_long")

	// Another tenant's key is as unknown as one that does not exist.
	mine := as(w.tenant, access.APIKeysWrite)
	for name, unknown := range map[string]string{
		"another tenant's": theirs, "well-formed": randomToken(), "a typing error": token[:len(token)-1] + "~", "no token": "x", "a long one": strings.Repeat("x", 5000),
	} {
		r, err := w.keys.ReportLeak(mine, leakOf(unknown, ""))
		if d := cmp.Diff(apikey.Reported{Action: "none"}, r); err != nil || d != "" {
			t.Errorf("%s: %v %s", name, err, d)
		}
	}
	if w.outcome(theirs) != apikey.Valid || w.outcome(token) != apikey.Valid {
		t.Error("a key was stopped by who may not")
	}
	if r, err := w.keys.ReportLeak(mine, leakOf(below, "")); err != nil || !r.Known || w.outcome(below) != apikey.KeyRevoked {
		t.Errorf("of a tenant below: %+v, %v", r, err)
	}
	if n := w.told(k.ID); n != [3]int{} {
		t.Errorf("%v records, events, changes", n)
	}
}

// A scanner's text is stored as far as it can be, and the report is landlord's own, from where it came.
func TestReportScanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	ctx := access.WithOrigin(t.Context(), access.Origin{SourceIP: home, RequestID: "req_1", UserAgent: "scanner"})
	for i, tc := range []struct{ source, url, wantSource, wantURL string }{
		{"commit", "https://example.com/1", "commit", "https://example.com/1"},
		{"a\x00b\ufffd" + strings.Repeat("c", 200), "not a url", "ab" + strings.Repeat("c", 98), ""},
		{"", "https://example.com/" + strings.Repeat("x", 3000), "", ""},
	} {
		r, err := w.keys.ReportScanned(ctx, "github", apikey.ReportParams{Token: secret.NewText(token), Source: tc.source, URL: tc.url})
		if err != nil || !r.Known {
			t.Fatal(r, err)
		}
		p, err := w.keys.Leaks(w.ctx(), w.tenant, k.ID, page.Request{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		l := p.Data[0]
		l.ID = id.KeyLeak{}
		want := apikey.Leak{
			TenantID: w.tenant, KeyID: k.ID, Source: tc.wantSource, URL: tc.wantURL, ReportedBy: "system:secret-scanning:github", Action: "none",
			CreatedAt: w.clock.now(),
		}
		if i == 0 {
			want.Action = apikey.LeakRevoke
		}
		if d := cmp.Diff(want, l); d != "" {
			t.Errorf("%d: %s", i, d)
		}
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM audit_log WHERE target_id = $1 AND actor_type = 'system' AND actor_id = 'secret-scanning:github'
		AND request_id = 'req_1' AND source_ip = $2`, k.ID.String(), home); n != 3 {
		t.Errorf("%d audit records", n)
	}
	r, err := w.keys.ReportScanned(ctx, "github", apikey.ReportParams{Token: secret.NewText(randomToken())})
	if d := cmp.Diff(apikey.Reported{Action: "none"}, r); err != nil || d != "" {
		t.Errorf("an unknown one: %v %s", err, d)
	}
}

// What can't be a token costs no statement, whoever sends it how often.
func TestReportScanned_shieldsTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create()
	sent := pgtest.Statements(t, func(ctx context.Context) {
		for i := range 500 {
			for _, bad := range []string{rand.Text(), token[:len(token)-1] + "~", strings.Repeat("x", i), token + "x", "ll_live_", ""} {
				r, err := w.keys.ReportScanned(ctx, "github", leakOf(bad, ""))
				if err != nil || r.Known {
					t.Fatal(bad, r, err)
				}
			}
		}
	})
	if len(sent) != 0 {
		t.Errorf("%d statements: %q", len(sent), sent[0])
	}
	sent = pgtest.Statements(t, func(ctx context.Context) {
		unknown := randomToken() // a checksum is no secret
		for range 100 {
			if r, err := w.keys.ReportScanned(ctx, "github", leakOf(unknown, "")); err != nil || r.Known {
				t.Fatal(r, err)
			}
		}
	})
	if n := len(slices.DeleteFunc(sent, func(sql string) bool { return !strings.Contains(sql, "FROM api_keys") })); n != 1 {
		t.Errorf("%d look-ups of one unknown token", n)
	}
}

// Two replicas are told of the same place at once: it is told on once.
func TestReportLeak_atOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	var wg sync.WaitGroup
	var mu sync.Mutex
	actions := map[apikey.LeakAction]int{}
	for range 8 {
		wg.Go(func() {
			r, err := w.keys.ReportLeak(w.ctx(), leakOf(token, "https://example.com/1"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			actions[r.Action]++
		})
	}
	wg.Wait()
	if d := cmp.Diff(map[apikey.LeakAction]int{apikey.LeakRevoke: 1, "none": 7}, actions); d != "" {
		t.Error(d)
	}
	if n := w.told(k.ID); n != [3]int{1, 1, 1} {
		t.Errorf("%v records, events, changes", n)
	}
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putPolicy(apikey.PutPolicyParams{LeakAction: apikey.LeakFlag})
	k, token := w.create()
	other, _ := w.create()
	for i := range 105 { // a hundred are kept
		w.report(token, fmt.Sprintf("https://example.com/%d", i))
	}
	var urls []string
	r := page.Request{Limit: 40}
	for {
		p, err := w.keys.Leaks(w.ctx(), w.tenant, k.ID, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.Data {
			urls = append(urls, l.URL)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if len(urls) != 100 || urls[0] != "https://example.com/99" || urls[99] != "https://example.com/0" {
		t.Errorf("%d places: %q", len(urls), urls)
	}
	if n := w.told(k.ID); n != [3]int{100, 100, 100} {
		t.Errorf("%v records, events, changes", n)
	}
	// A key whose list is full is stopped all the same, when the policy comes to say so.
	w.putPolicy(apikey.PutPolicyParams{LeakAction: apikey.LeakRevoke})
	if r := w.report(token, "https://example.com/new"); r.Action != apikey.LeakRevoke || w.outcome(token) != apikey.KeyRevoked {
		t.Errorf("%s, %s", r.Action, w.outcome(token))
	}
	if n := w.told(k.ID); n != [3]int{101, 101, 101} {
		t.Errorf("%v records, events, changes", n)
	}

	found, err := w.keys.List(w.ctx(), apikey.Filter{TenantID: w.tenant, Leaked: true})
	if err != nil || len(found.Data) != 1 || found.Data[0].ID != k.ID {
		t.Errorf("%+v, %v", found, err)
	}
	mine := access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_1", Tenant: w.tenant, Permissions: access.NewSet(access.APIKeysRead)})
	across, err := w.keys.Search(mine, apikey.Filter{Leaked: true})
	if err != nil || len(across.Data) != 1 || across.Data[0].ID != k.ID {
		t.Errorf("%+v, %v", across, err)
	}

	if p, err := w.keys.Leaks(w.ctx(), w.tenant, other.ID, page.Request{}); err != nil || len(p.Data) != 0 {
		t.Errorf("of a key that never leaked: %+v, %v", p, err)
	}
	_, err = w.keys.Leaks(w.ctx(), w.tenant, id.New[id.APIKey](), page.Request{})
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Leaks(w.ctx(), w.newTenant(id.Tenant{}), k.ID, page.Request{})
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Leaks(w.ctx(), w.tenant, k.ID, page.Request{Cursor: "x"})
	wantCode(t, err, "cursor_malformed")
	_, err = w.keys.Leaks(t.Context(), w.tenant, k.ID, page.Request{})
	wantCode(t, err, "credential_required")
}
