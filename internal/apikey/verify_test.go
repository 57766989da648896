package apikey_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

var (
	home  = netip.MustParseAddr("192.0.2.7")
	away  = netip.MustParseAddr("198.51.100.1")
	homes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
)

func TestCheck_valid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends, until := w.clock.now().Add(time.Hour), w.clock.now().Add(30*time.Minute)
	w.exec(`UPDATE tenant_products SET expires_at = $2 WHERE tenant_id = $1`, w.tenant, until)
	k, token := w.create(func(p *apikey.CreateParams) {
		p.ExpiresAt, p.Metadata, p.AllowedIPs, p.RateLimitRPM = &ends, map[string]any{"a": "b"}, homes, 60
	})
	got := w.check(apikey.VerifyParams{
		Token: token, Product: w.product, Project: w.project, Environment: apikey.Live, Scopes: []string{"renders:create", "projects:read"},
		IP: netip.MustParseAddr("::ffff:192.0.2.7"), Cost: 10,
	})
	want := apikey.Verification{
		Outcome: apikey.Valid, KeyID: k.ID, KeyName: k.Name, TenantID: w.tenant, TenantSlug: w.slug, ProjectID: w.project,
		Product: w.product, Environment: apikey.Live, Scopes: []string{"projects:read", "renders:*"}, Metadata: []byte(`{"a":"b"}`),
		ExpiresAt: ends, Config: []byte(`{"queue":{"size":12345678901234567890},"seats":3}`), EntitledUntil: until,
		Limit: ratelimit.Decision{Allowed: true, Limit: ratelimit.PerMinute(60), Remaining: 50, ResetAfter: 10 * time.Second},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// deny is one way to be denied: what it does to the world or the question.
type deny struct {
	outcome apikey.Outcome
	world   func(w *world, key id.APIKey)
	ask     func(w *world, p *apikey.VerifyParams)
}

// denials are in the order of the checks.
var denials = []deny{
	{apikey.Malformed, nil, func(_ *world, p *apikey.VerifyParams) { p.Token = strings.ToUpper(p.Token) }},
	{apikey.NotFound, nil, func(_ *world, p *apikey.VerifyParams) { p.Token = goodToken }},
	{apikey.KeyRevoked, func(w *world, k id.APIKey) { w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k) }, nil},
	{apikey.KeyDisabled, func(w *world, k id.APIKey) { w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, k) }, nil},
	{apikey.KeyExpired, func(w *world, k id.APIKey) {
		w.exec(`UPDATE api_keys SET expires_at = $2 WHERE id = $1`, k, w.clock.now())
	}, nil},
	{apikey.TenantArchived, func(w *world, _ id.APIKey) { w.setStatus(w.tenant, "archived") }, nil},
	{apikey.TenantSuspended, func(w *world, _ id.APIKey) { w.setStatus(w.tenant, "suspended") }, nil},
	{apikey.TenantFrozen, func(w *world, _ id.APIKey) { w.setStatus(w.tenant, "frozen") }, nil},
	{apikey.ProjectArchived, func(w *world, _ id.APIKey) {
		w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
	}, nil},
	{apikey.EnvironmentMismatch, nil, func(_ *world, p *apikey.VerifyParams) { p.Environment = apikey.Test }},
	{apikey.IPNotAllowed, nil, func(_ *world, p *apikey.VerifyParams) { p.IP = away }},
	{apikey.NotEntitled, func(w *world, _ id.APIKey) {
		w.exec(`UPDATE tenant_products SET expires_at = $2 WHERE tenant_id = $1`, w.tenant, w.clock.now())
	}, nil},
	{apikey.InsufficientScope, nil, func(_ *world, p *apikey.VerifyParams) { p.Scopes = append(p.Scopes, "other:create") }},
	{apikey.RateLimited, nil, func(_ *world, p *apikey.VerifyParams) { p.Cost = 11 }},
	{apikey.LimitExceeded, nil, func(_ *world, p *apikey.VerifyParams) { p.Cost = 7 }},
}

// plentiful is a key of 10 requests a minute, of a project, from home, and a question it answers.
func (w *world) plentiful() (apikey.Key, apikey.VerifyParams) {
	k, token := w.create(func(p *apikey.CreateParams) {
		p.ProjectID, p.AllowedIPs, p.RateLimitRPM = w.project, homes, 10
	})
	return k, apikey.VerifyParams{
		Token: token, Product: w.product, Project: w.project, Environment: apikey.Live, Scopes: []string{"renders:create"}, IP: home,
	}
}

// usageOfSeven is a usage limit that refuses to spend seven at once.
func usageOfSeven(asked *int) func(*apikey.VerifierConfig) {
	var mu sync.Mutex
	return func(c *apikey.VerifierConfig) {
		c.UsageLimit = func(_ context.Context, v *apikey.Verification, cost int64) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			*asked++
			if v.TenantID.IsZero() {
				return false, errors.New("no tenant")
			}
			return cost != 7, nil
		}
	}
}

// Each pair of reasons to deny answers with the earlier one, and a denial spends
// nothing of what comes later: neither rate nor usage.
func TestCheck_order(t *testing.T) {
	t.Parallel()
	var all []apikey.Outcome
	for i, first := range denials {
		all = append(all, first.outcome)
		t.Run(string(first.outcome), func(t *testing.T) {
			t.Parallel()
			for j := i; j < len(denials); j++ {
				second := denials[j]
				// The tenant has one status, the token one form and the cost one value.
				if i != j && (strings.HasPrefix(string(first.outcome), "TENANT_") && strings.HasPrefix(string(second.outcome), "TENANT_") ||
					first.outcome == apikey.Malformed && second.outcome == apikey.NotFound || first.outcome == apikey.RateLimited) {
					continue
				}
				asked := 0
				w := newWorld(t, usageOfSeven(&asked))
				k, p := w.plentiful()
				good := p
				for _, d := range []deny{second, first} {
					if d.world != nil {
						d.world(w, k.ID)
					}
					if d.ask != nil {
						d.ask(w, &p)
					}
				}
				times := 3
				if first.outcome == apikey.LimitExceeded {
					times = 1 // the last check: the rate is spent by then
				}
				for range times {
					if got := w.check(p); got.Outcome != first.outcome {
						t.Fatalf("with %s: got %s", second.outcome, got.Outcome)
					}
				}
				if first.outcome == apikey.LimitExceeded {
					break
				}
				if asked != 0 {
					t.Errorf("with %s: usage asked", second.outcome)
				}
				// All of the rate is still there once nothing is in the way.
				w.exec(`UPDATE api_keys SET revoked_at = NULL, is_active = TRUE, expires_at = NULL WHERE id = $1`, k.ID)
				w.setStatus(w.tenant, "active")
				w.exec(`UPDATE tenant_projects SET status = 'active', archived_at = NULL WHERE id = $1`, w.project)
				w.exec(`UPDATE tenant_products SET expires_at = NULL WHERE tenant_id = $1`, w.tenant)
				w.verifier.Forget()
				good.Cost = 10
				if got := w.check(good); got.Outcome != apikey.Valid || got.Limit.Remaining != 0 {
					t.Errorf("with %s: afterwards %s, %d left", second.outcome, got.Outcome, got.Limit.Remaining)
				}
			}
		})
	}
	if !slices.Equal(append(all, apikey.Valid), apikey.Outcomes()) {
		t.Errorf("outcomes without a test: %v", apikey.Outcomes())
	}
}

func TestCheck_details(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := "q" + w.product
	w.exec(`INSERT INTO products (name, title) VALUES ($1, 'Other')`, other)
	w.entitle(w.tenant, other)
	sibling, stranger := w.newProject(w.tenant), w.newProject(w.newTenant(id.Tenant{}))
	gone := w.newProject(w.tenant)
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, gone)
	_, plain := w.create()
	_, product := w.create(func(p *apikey.CreateParams) { p.Product, p.Scopes = w.product, []string{"renders:read"} })
	_, project := w.create(func(p *apikey.CreateParams) { p.ProjectID = w.project })
	_, test := w.create(func(p *apikey.CreateParams) { p.Environment = apikey.Test })
	many := make([]netip.Prefix, 20)
	for i := range many {
		many[i] = netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i))
	}
	_, routed := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = slices.Concat(many, homes) })
	for name, tc := range map[string]struct {
		p    apikey.VerifyParams
		want apikey.Outcome
	}{
		"nothing asked":               {apikey.VerifyParams{Token: plain}, apikey.Valid},
		"no product, wrong scope":     {apikey.VerifyParams{Token: plain, Scopes: []string{"other:x"}}, apikey.InsufficientScope},
		"noun without its verb":       {apikey.VerifyParams{Token: plain, Scopes: []string{"renders"}}, apikey.InsufficientScope},
		"noun with a longer name":     {apikey.VerifyParams{Token: plain, Scopes: []string{"rendersx:y"}}, apikey.InsufficientScope},
		"below the noun":              {apikey.VerifyParams{Token: plain, Scopes: []string{"renders:a:b"}}, apikey.Valid},
		"one of two scopes":           {apikey.VerifyParams{Token: plain, Scopes: []string{"renders:x", "projects:write"}}, apikey.InsufficientScope},
		"entitled product":            {apikey.VerifyParams{Token: plain, Product: other}, apikey.Valid},
		"product that is not there":   {apikey.VerifyParams{Token: plain, Product: "nothing"}, apikey.NotEntitled},
		"key's product":               {apikey.VerifyParams{Token: product, Product: w.product}, apikey.Valid},
		"key's product unasked":       {apikey.VerifyParams{Token: product}, apikey.Valid},
		"other product than the key":  {apikey.VerifyParams{Token: product, Product: other}, apikey.NotEntitled},
		"key's project":               {apikey.VerifyParams{Token: project, Project: w.project}, apikey.Valid},
		"other project than the key":  {apikey.VerifyParams{Token: project, Project: sibling}, apikey.InsufficientScope},
		"tenant's project":            {apikey.VerifyParams{Token: plain, Project: sibling}, apikey.Valid},
		"archived project":            {apikey.VerifyParams{Token: plain, Project: gone}, apikey.ProjectArchived},
		"another tenant's project":    {apikey.VerifyParams{Token: plain, Project: stranger}, apikey.InsufficientScope},
		"no such project":             {apikey.VerifyParams{Token: plain, Project: id.New[id.Project]()}, apikey.InsufficientScope},
		"test key where live":         {apikey.VerifyParams{Token: test, Environment: apikey.Live}, apikey.EnvironmentMismatch},
		"test key where test":         {apikey.VerifyParams{Token: test, Environment: apikey.Test}, apikey.Valid},
		"address on a long list":      {apikey.VerifyParams{Token: routed, IP: netip.MustParseAddr("10.19.1.2")}, apikey.Valid},
		"v6 with zone on a long list": {apikey.VerifyParams{Token: routed, IP: netip.MustParseAddr("2001:db8::1%eth0")}, apikey.Valid},
		"address off a long list":     {apikey.VerifyParams{Token: routed, IP: away}, apikey.IPNotAllowed},
		"unknown address":             {apikey.VerifyParams{Token: routed}, apikey.IPNotAllowed},
		"unknown address, no list":    {apikey.VerifyParams{Token: plain}, apikey.Valid},
	} {
		if got := w.check(tc.p).Outcome; got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	for name, p := range map[string]apikey.VerifyParams{
		"scopes":      {Token: plain, Scopes: []string{"renders:*"}},
		"environment": {Token: plain, Environment: "prod"},
		"cost":        {Token: plain, Cost: -1},
	} {
		_, err := w.verifier.Check(t.Context(), &p)
		wantCode(t, err, "invalid_request")
		_ = name
	}
}

func TestCheck_frozen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := "q" + w.product
	w.exec(`INSERT INTO products (name, title) VALUES ($1, 'Other')`, other)
	w.entitle(w.tenant, other)
	_, token := w.create(func(p *apikey.CreateParams) { p.Scopes = []string{"renders:*", "stats:*", "projects:*"} })
	w.setStatus(w.tenant, "frozen")
	for name, tc := range map[string]struct {
		p    apikey.VerifyParams
		want apikey.Outcome
	}{
		"nothing asked":                      {apikey.VerifyParams{}, apikey.Valid},
		"a request that writes":              {apikey.VerifyParams{Write: true}, apikey.TenantFrozen},
		"declared as writing":                {apikey.VerifyParams{Product: w.product, Scopes: []string{"renders:create"}}, apikey.TenantFrozen},
		"declared as reading":                {apikey.VerifyParams{Product: w.product, Scopes: []string{"stats:query"}}, apikey.Valid},
		"declared by a product not asked":    {apikey.VerifyParams{Scopes: []string{"stats:query"}}, apikey.Valid},
		"another product declares it not":    {apikey.VerifyParams{Product: other, Scopes: []string{"stats:query"}}, apikey.TenantFrozen},
		"undeclared, reads by name":          {apikey.VerifyParams{Product: w.product, Scopes: []string{"projects:list"}}, apikey.Valid},
		"undeclared, may write by name":      {apikey.VerifyParams{Product: w.product, Scopes: []string{"projects:touch"}}, apikey.TenantFrozen},
		"one reads, one writes":              {apikey.VerifyParams{Product: w.product, Scopes: []string{"renders:read", "renders:create"}}, apikey.TenantFrozen},
		"writes come before a missing scope": {apikey.VerifyParams{Scopes: []string{"other:write"}}, apikey.TenantFrozen},
	} {
		tc.p.Token = token
		got := w.check(tc.p)
		if got.Outcome != tc.want || !got.ReadOnly {
			t.Errorf("%s: %s, read only %v", name, got.Outcome, got.ReadOnly)
		}
	}
}

func TestCheck_ancestors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.newTenant(w.tenant)
	grandchild := w.newTenant(child)
	_, token := w.create(func(p *apikey.CreateParams) { p.TenantID = grandchild })
	for status, want := range map[string]apikey.Outcome{
		"active": apikey.Valid, "trial": apikey.Valid, "demo": apikey.Valid, "frozen": apikey.TenantFrozen,
		"suspended": apikey.TenantSuspended, "archived": apikey.TenantArchived,
	} {
		w.setStatus(w.tenant, status)
		w.verifier.Apply([]changefeed.Change{{Kind: "tenant", TenantID: w.tenant, ID: w.tenant.UUID()}})
		if got := w.check(apikey.VerifyParams{Token: token, Write: true}).Outcome; got != want {
			t.Errorf("%s above: %s", status, got)
		}
	}
	// The strictest counts.
	w.setStatus(w.tenant, "frozen")
	w.setStatus(child, "suspended")
	w.verifier.Forget()
	if got := w.outcome(token); got != apikey.TenantSuspended {
		t.Error(got)
	}
	w.exec(`UPDATE tenants SET deleted_at = NOW() WHERE id = $1`, grandchild)
	w.verifier.Forget()
	if got := w.outcome(token); got != apikey.TenantArchived {
		t.Error(got)
	}
}

func TestCheck_rateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 3 })
	for i := range 3 {
		if v := w.check(apikey.VerifyParams{Token: token}); v.Outcome != apikey.Valid || v.Limit.Remaining != int64(2-i) {
			t.Fatalf("%d: %s, %d left", i, v.Outcome, v.Limit.Remaining)
		}
	}
	v := w.check(apikey.VerifyParams{Token: token})
	if v.Outcome != apikey.RateLimited || v.Limit.RetryAfter != 20*time.Second || v.Limit.RetryAfterSeconds() != 20 {
		t.Errorf("%s, %+v", v.Outcome, v.Limit)
	}
	// Neither forgetting the key nor rotating another one gives it a new bucket.
	w.verifier.Forget()
	if o := w.outcome(token); o != apikey.RateLimited {
		t.Error(o)
	}
	if v := w.check(apikey.VerifyParams{Token: token, Peek: true}); v.Outcome != apikey.RateLimited {
		t.Errorf("peek: %s", v.Outcome)
	}
	w.clock.advance(20 * time.Second)
	if v := w.check(apikey.VerifyParams{Token: token, Peek: true}); v.Outcome != apikey.Valid || v.Limit.Remaining != 1 {
		t.Errorf("peek: %s, %d left", v.Outcome, v.Limit.Remaining)
	}
	if o := w.outcome(token); o != apikey.Valid {
		t.Error(o)
	}
	// A larger limit counts at once, from an empty bucket.
	if _, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, RateLimitRPM: patch.Set(600)}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(100 * time.Millisecond)
	if v := w.check(apikey.VerifyParams{Token: token}); v.Outcome != apikey.Valid || v.Limit.Limit.Rate != 600 {
		t.Errorf("%s, %+v", v.Outcome, v.Limit)
	}
}

func TestCheck_usageLimitFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apikey.VerifierConfig) {
		c.UsageLimit = func(context.Context, *apikey.Verification, int64) (bool, error) { return false, errors.New("away") }
	})
	_, token := w.create()
	if _, err := w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: token}); err == nil {
		t.Error("an unknown limit passed")
	}
}

// A warm verification sends no statement, a miss sends one beside BEGIN and COMMIT.
func TestCheck_statements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p := w.plentiful()
	p.Peek = true
	ask := func(ctx context.Context) {
		if v, err := w.verifier.Check(ctx, &p); err != nil || v.Outcome != apikey.Valid {
			t.Error(v.Outcome, err)
		}
	}
	statements := func(fn func(ctx context.Context)) (n int) {
		for _, sql := range pgtest.Statements(t, fn) {
			if strings.Contains(sql, "FROM api_keys") {
				n++
			}
		}
		return n
	}
	if n := statements(ask); n != 1 {
		t.Errorf("a miss sends %d statements", n)
	}
	if all := pgtest.Statements(t, func(ctx context.Context) { ask(ctx); ask(ctx) }); len(all) != 0 {
		t.Errorf("a warm verification sends %q", all)
	}
	w.verifier.Forget()
	together := func(ctx context.Context) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { ask(ctx) })
		}
		wg.Wait()
	}
	if n := statements(together); n != 1 {
		t.Errorf("50 at once send %d statements", n)
	}
	unknown := p
	unknown.Token = goodToken
	if n := statements(func(ctx context.Context) {
		for range 10 {
			if v, err := w.verifier.Check(ctx, &unknown); err != nil || v.Outcome != apikey.NotFound {
				t.Error(v.Outcome, err)
			}
		}
	}); n != 1 {
		t.Errorf("an unknown token asked for 10 times sends %d statements", n)
	}
	w.fresh.Store(false)
	if n := statements(func(ctx context.Context) { ask(ctx); ask(ctx) }); n != 2 {
		t.Errorf("without a fresh feed two verifications send %d statements", n)
	}
	if n := statements(together); n < 1 || n > 25 { // those that come while one is under way share the next
		t.Errorf("without a fresh feed 50 at once send %d statements", n)
	}
}

func TestCheck_allocations(t *testing.T) {
	w := newWorld(t)
	_, p := w.plentiful()
	p.Peek = false
	w.exec(`UPDATE api_keys SET rate_limit_rpm = 1000000 WHERE tenant_id = $1`, w.tenant)
	w.check(p)
	n := testing.AllocsPerRun(1000, func() {
		if v, err := w.verifier.Check(t.Context(), &p); err != nil || v.Outcome != apikey.Valid {
			t.Fatal(v.Outcome, err)
		}
	})
	t.Logf("%v allocations", n)
	if n > 6 {
		t.Errorf("%v allocations, want at most 6", n)
	}
}

// What changes is seen as soon as the feed told it, whatever changed.
func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, p := w.plentiful()
	p.Peek = true
	free, unbound := w.create()
	_ = free
	tenant := func(kind, ref string) []changefeed.Change {
		return []changefeed.Change{{Kind: kind, TenantID: w.tenant, ID: ref}}
	}
	for name, tc := range map[string]struct {
		do   func()
		told []changefeed.Change
		undo string
		want apikey.Outcome
	}{
		"key": {
			func() { w.exec(`UPDATE api_keys SET scopes = '{}' WHERE id = $1`, k.ID) }, tenant("api_key", k.ID.UUID()),
			`UPDATE api_keys SET scopes = '{renders:*}'`, apikey.InsufficientScope,
		},
		"key, by its type id": {
			func() { w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, k.ID) }, tenant("api_key", k.ID.String()),
			`UPDATE api_keys SET is_active = TRUE`, apikey.KeyDisabled,
		},
		"all keys of the tenant": {
			func() { w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, k.ID) }, tenant("api_key", ""),
			`UPDATE api_keys SET is_active = TRUE`, apikey.KeyDisabled,
		},
		"tenant": {
			func() { w.setStatus(w.tenant, "suspended") }, tenant("tenant", w.tenant.UUID()),
			`UPDATE tenants SET status = 'active'`, apikey.TenantSuspended,
		},
		"project": {func() {
			w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
		}, tenant("project", w.project.UUID()), `UPDATE tenant_projects SET status = 'active', archived_at = NULL`, apikey.ProjectArchived},
		"entitlement": {
			func() { w.exec(`UPDATE tenant_products SET enabled = FALSE WHERE tenant_id = $1`, w.tenant) },
			tenant("entitlement", w.product), `UPDATE tenant_products SET enabled = TRUE`, apikey.NotEntitled,
		},
		"catalogue": {
			func() { w.exec(`UPDATE tenant_products SET enabled = FALSE WHERE tenant_id = $1`, w.tenant) },
			[]changefeed.Change{{Kind: "catalog"}},
			`UPDATE tenant_products SET enabled = TRUE`, apikey.NotEntitled,
		},
		"everything of a kind": {
			func() { w.setStatus(w.tenant, "suspended") },
			[]changefeed.Change{{Kind: "tenant"}},
			`UPDATE tenants SET status = 'active'`, apikey.TenantSuspended,
		},
	} {
		if o := w.check(p).Outcome; o != apikey.Valid {
			t.Fatalf("%s: before: %s", name, o)
		}
		tc.do()
		w.verifier.Apply([]changefeed.Change{{Kind: "setting", TenantID: w.tenant}, {Kind: "api_key", ID: id.New[id.APIKey]().UUID()}})
		if o := w.check(p).Outcome; o != apikey.Valid {
			t.Errorf("%s: not told yet, but %s", name, o)
		}
		w.verifier.Apply(tc.told)
		if o := w.check(p).Outcome; o != tc.want {
			t.Errorf("%s: %s, want %s", name, o, tc.want)
		}
		column := "tenant_id"
		if strings.HasPrefix(tc.undo, "UPDATE tenants") {
			column = "id"
		}
		w.exec(tc.undo+` WHERE `+column+` = $1`, w.tenant)
		w.verifier.Apply(tc.told)
	}
	// A project that a request names, of a key for all projects.
	ask := apikey.VerifyParams{Token: unbound, Project: w.project}
	if o := w.check(ask).Outcome; o != apikey.Valid {
		t.Fatal(o)
	}
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
	w.verifier.Apply(tenant("project", w.project.UUID()))
	if o := w.check(ask).Outcome; o != apikey.ProjectArchived {
		t.Error(o)
	}
}

// Without a fresh feed nothing is answered from memory; without a database then
// there is no answer.
func TestCheck_lease(t *testing.T) {
	t.Parallel()
	db, err := pg.Open(t.Context(), pg.Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldIn(t, db)
	k, token := w.create()
	if o := w.outcome(token); o != apikey.Valid {
		t.Fatal(o)
	}
	w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k.ID) // by another replica, untold
	if o := w.outcome(token); o != apikey.Valid {
		t.Errorf("within the lease: %s", o)
	}
	if n := w.verifier.Stats().Late; n != 0 {
		t.Errorf("%d look-ups for want of the lease", n)
	}
	w.fresh.Store(false)
	if o := w.outcome(token); o != apikey.KeyRevoked {
		t.Errorf("without the lease: %s", o)
	}
	if n := w.verifier.Stats().Late; n != 1 {
		t.Errorf("%d look-ups for want of the lease", n)
	}
	_, second := w.create()
	w.fresh.Store(true)
	if o := w.outcome(second); o != apikey.Valid {
		t.Fatal(o)
	}
	if err := w.verifier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if o := w.check(apikey.VerifyParams{Token: second, Peek: true}).Outcome; o != apikey.Valid {
		t.Errorf("warm, fresh, database gone: %s", o)
	}
	w.fresh.Store(false)
	_, err = w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: second})
	wantCode(t, err, "database_unavailable")
	_, err = w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: second[:8] + second[8:], Project: w.project})
	wantCode(t, err, "database_unavailable")
}

// Revoking while verifications are in flight: none that begins after the change
// was applied may pass, whichever load was under way.
func TestApply_racesWithLoads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rounds := 30
	for range rounds {
		k, token := w.create()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						w.verifier.Forget() // loads all the time
						_, _ = w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: token, Peek: true})
					}
				}
			})
		}
		w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k.ID)
		w.verifier.Apply([]changefeed.Change{{Kind: "api_key", TenantID: w.tenant, ID: k.ID.UUID()}})
		for range 20 {
			if o := w.check(apikey.VerifyParams{Token: token, Peek: true}).Outcome; o != apikey.KeyRevoked {
				t.Errorf("a revoked key answers %s", o)
			}
		}
		close(stop)
		wg.Wait()
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM })
	idle, _ := w.create()
	ask := func(ip netip.Addr) { w.check(apikey.VerifyParams{Token: token, IP: ip}) }
	read := func() (n int64, at *time.Time, ip *netip.Addr) {
		got, err := w.keys.Get(w.ctx(), w.tenant, k.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !got.UpdatedAt.Equal(k.UpdatedAt) {
			t.Error("use of a key moves its version")
		}
		return got.UsageCount, got.LastUsedAt, got.LastUsedIP
	}
	flush := func() {
		t.Helper()
		if err := w.verifier.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if all := pgtest.Statements(t, func(ctx context.Context) {
		if err := w.verifier.Flush(ctx); err != nil {
			t.Error(err)
		}
	}); len(all) != 0 {
		t.Errorf("a flush of nothing sends %q", all)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				ask(home)
				if i%10 == 0 {
					w.verifier.Forget() // each entry has a count of its own
					flush()
				}
			}
		})
	}
	wg.Wait()
	flush()
	if n, at, ip := read(); n != 400 || at == nil || !at.Equal(w.clock.now()) || ip == nil || *ip != home {
		t.Errorf("%d, %v, %v", n, at, ip)
	}
	first := w.clock.now()
	w.clock.advance(-time.Millisecond) // another replica's clock
	ask(away)
	flush()
	if n, at, ip := read(); n != 401 || !at.Equal(first) || *ip != home {
		t.Errorf("late news: %d, %v, %v", n, at, ip)
	}
	w.clock.advance(2 * time.Minute)
	ask(netip.Addr{})
	flush()
	if n, at, ip := read(); n != 402 || !at.Equal(w.clock.now()) || *ip != home {
		t.Errorf("unknown address: %d, %v, %v", n, at, ip)
	}
	w.check(apikey.VerifyParams{Token: token, Scopes: []string{"no:no"}})
	w.check(apikey.VerifyParams{Token: token, Peek: true})
	flush()
	if n, _, _ := read(); n != 402 {
		t.Errorf("a denial or a peek counts: %d", n)
	}
	// What can't be written now is written later, and on Close.
	ask(home)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.verifier.Flush(over); err == nil {
		t.Error("flushed without a context")
	}
	ask(away)
	if err := w.verifier.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _, ip := read(); n != 404 || *ip != away {
		t.Errorf("after close: %d, %v", n, ip)
	}
	if got, err := w.keys.Get(w.ctx(), w.tenant, idle.ID); err != nil || got.UsageCount != 0 || got.LastUsedAt != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// Keys of a retired pepper are found, and move to the current one.
func TestPepperRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create()
	hash := func() string { return count[string](t, w.db, `SELECT hash FROM api_keys WHERE id = $1`, k.ID) }
	old := hash()
	ring := parseRing(t, "pepper v2 "+base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))+"\n"+w.secrets)
	verifier := apikey.NewVerifier(w.db, ring, apikey.VerifierConfig{Fresh: w.fresh.Load, Now: w.clock.now})
	if v, err := verifier.Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || v.Outcome != apikey.Valid {
		t.Fatal(v.Outcome, err)
	}
	if err := verifier.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := hash(); h == old || !ring.IsCurrent(h) {
		t.Errorf("stored as %s", h)
	}
	if got, err := w.keys.Get(w.ctx(), w.tenant, k.ID); err != nil || !got.UpdatedAt.Equal(k.UpdatedAt) {
		t.Errorf("the digest moves the version: %v", err)
	}
	again := apikey.NewVerifier(w.db, ring, apikey.VerifierConfig{Now: w.clock.now})
	if v, err := again.Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || v.Outcome != apikey.Valid {
		t.Error(v.Outcome, err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apikey.VerifierConfig) {
		c.Within = func(_ context.Context, a, b id.Tenant) (bool, error) { return a == b, nil }
	})
	auth := func(token string, ip netip.Addr) (access.Principal, error) {
		return w.verifier.Authenticate(access.WithOrigin(t.Context(), access.Origin{SourceIP: ip}), token)
	}
	k, token := w.create(func(p *apikey.CreateParams) {
		p.Scopes, p.AllowedIPs, p.RateLimitRPM = []string{"landlord:apikeys:read", "landlord:projects:write", "renders:create"}, homes, 5
	})
	who, err := auth(token, home)
	if err != nil {
		t.Fatal(err)
	}
	if who.Type != access.APIKey || who.ID != k.ID.String() || who.Name != k.Name || who.Tenant != w.tenant ||
		!slices.Equal(who.Permissions.List(), []access.Permission{access.APIKeysRead, access.ProjectsWrite}) {
		t.Errorf("%+v", who)
	}
	if in, err := who.Reaches(t.Context(), w.newTenant(id.Tenant{})); in || err != nil {
		t.Error("reaches a stranger")
	}
	if _, err := w.keys.Get(access.With(t.Context(), who), w.tenant, k.ID); err != nil {
		t.Error(err)
	}
	_, err = w.keys.Revoke(access.With(t.Context(), who), w.tenant, k.ID, "")
	wantCode(t, err, "permission_denied")
	for _, ip := range []netip.Addr{away, {}} {
		_, err = auth(token, ip)
		wantCode(t, err, "ip_not_allowed")
	}
	for range 4 {
		if _, err = auth(token, home); err != nil {
			t.Fatal(err)
		}
	}
	_, err = auth(token, home)
	wantCode(t, err, "rate_limited")
	w.clock.advance(time.Minute)
	for status, code := range map[string]string{"suspended": "tenant_suspended", "archived": "tenant_archived"} {
		w.setStatus(w.tenant, status)
		w.verifier.Forget()
		_, err = auth(token, home)
		wantCode(t, err, code)
	}
	w.setStatus(w.tenant, "frozen")
	w.verifier.Forget()
	if _, err = auth(token, home); err != nil {
		t.Errorf("frozen: %v", err)
	}
	w.setStatus(w.tenant, "active")
	w.verifier.Forget()

	_, plain := w.create()
	if who, err := auth(plain, away); err != nil || len(who.Permissions) != 0 {
		t.Errorf("%+v, %v", who, err)
	}
	// Whatever is wrong with the key is the same to a stranger.
	for name, sql := range map[string]string{
		"revoked": `revoked_at = NOW()`, "disabled": `revoked_at = NULL, is_active = FALSE`, "expired": `is_active = TRUE, expires_at = created_at - INTERVAL '10 years'`,
	} {
		bad, token := w.create()
		w.exec(`UPDATE api_keys SET `+sql+` WHERE id = $1`, bad.ID)
		_, err := auth(token, home)
		wantCode(t, err, "credential_invalid")
		_ = name
	}
	for _, s := range []string{goodToken, "", "x", "Bearer"} {
		_, err := auth(s, home)
		wantCode(t, err, "credential_invalid")
	}
}

// What is remembered of tokens that don't exist is bounded and apart: a flood of
// them leaves known keys where they are.
func TestCheck_flood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create()
	if o := w.outcome(token); o != apikey.Valid {
		t.Fatal(o)
	}
	for i := range 200 {
		body := fmt.Sprintf("%043d", i)
		if o := w.outcome(withChecksum("ll_live_" + body)); o != apikey.NotFound {
			t.Fatal(o)
		}
	}
	if all := pgtest.Statements(t, func(ctx context.Context) {
		if _, err := w.verifier.Check(ctx, &apikey.VerifyParams{Token: token}); err != nil {
			t.Error(err)
		}
	}); len(all) != 0 {
		t.Errorf("sent %q", all)
	}
	runtime.KeepAlive(w)
}

func FuzzCheck(f *testing.F) {
	if testing.Short() {
		f.Skip("needs a database")
	}
	w := newWorld(f)
	_, token := w.create()
	f.Add(token, "p", "live", "renders:create", "192.0.2.1", int64(1))
	f.Add(goodToken, "", "", "", "", int64(-1))
	f.Fuzz(func(t *testing.T, tok, product, environment, scope, ip string, cost int64) {
		p := apikey.VerifyParams{Token: tok, Product: product, Environment: apikey.Environment(environment), Cost: cost, Peek: true}
		if scope != "" {
			p.Scopes = strings.Split(scope, " ")
		}
		p.IP, _ = netip.ParseAddr(ip)
		v, err := w.verifier.Check(t.Context(), &p)
		switch {
		case err != nil:
			if p.Validate() == nil {
				t.Errorf("%+v: %v", p, err)
			}
		case v.Outcome == apikey.Valid && tok != token:
			t.Errorf("%q is valid", tok)
		case !slices.Contains(apikey.Outcomes(), v.Outcome):
			t.Errorf("outcome %q", v.Outcome)
		}
	})
}
