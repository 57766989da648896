package apikey_test

import (
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/patch"
)

const day = 24 * time.Hour

// plan puts the tenant of the world on a plan that says so much about keys.
func (w *world) plan(keys string) {
	w.t.Helper()
	name := "plan-" + strings.ToLower(rand.Text()[:10])
	w.exec(`INSERT INTO plans (name, title, api_keys) VALUES ($1, 'Plan', $2::text::jsonb)`, name, keys)
	w.exec(`UPDATE tenants SET plan = $2 WHERE id = $1`, w.tenant, name)
}

func (w *world) tryCreate(change func(*apikey.CreateParams)) (apikey.Key, error) {
	p := apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "key " + rand.Text()}
	change(&p)
	k, _, err := w.keys.Create(w.ctx(), p)
	return k, err
}

func wantEnd(t *testing.T, name string, k apikey.Key, want *time.Time) {
	t.Helper()
	switch {
	case want == nil && k.ExpiresAt != nil:
		t.Errorf("%s: ends %v, want never", name, k.ExpiresAt)
	case want != nil && (k.ExpiresAt == nil || k.ExpiresAt.Sub(*want).Abs() > time.Second):
		t.Errorf("%s: ends %v, want %v", name, k.ExpiresAt, want)
	}
}

// The longest life is the plan's or a policy's, whichever is shorter; what is left
// out gets it, and what is longer is refused.
func TestBounds_maxAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	child := w.newTenant(w.tenant)
	free, _ := w.create()
	wantEnd(t, "unbound", free, nil)
	now := w.clock.now()
	long, _ := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = new(now.Add(500 * day)) })
	for _, step := range []struct {
		name   string
		change func()
		days   int
	}{
		{"plan", func() { w.plan(`{"max_age_days": 90}`) }, 90},
		{"a policy that allows more", func() { w.putPolicy(apikey.PutPolicyParams{MaxAgeDays: 365}) }, 90},
		{"a policy that allows less", func() { w.putPolicy(apikey.PutPolicyParams{MaxAgeDays: 30}) }, 30},
		{"no plan's", func() { w.plan(`{}`) }, 30},
	} {
		step.change()
		latest := now.Add(time.Duration(step.days) * day)
		k, err := w.tryCreate(func(*apikey.CreateParams) {})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, step.name, k, &latest)
		if _, err = w.tryCreate(func(p *apikey.CreateParams) { p.ExpiresAt = &latest }); err != nil {
			t.Errorf("%s: exactly as long as may be: %v", step.name, err)
		}
		_, err = w.tryCreate(func(p *apikey.CreateParams) { p.ExpiresAt = new(latest.Add(time.Microsecond)) })
		wantField(t, err, "expires_at", "beyond_max_age")
	}
	latest := now.Add(30 * day)
	// The policy binds those below, too.
	below, err := w.tryCreate(func(p *apikey.CreateParams) { p.TenantID = child })
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, "below", below, &latest)
	// What was made before keeps its end, and gets a new one only within the bounds.
	for name, old := range map[string]apikey.Key{"without an end": free, "with a late one": long} {
		got, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: old.ID, Description: patch.Set("x")})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, name, got, old.ExpiresAt)
		_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: old.ID, ExpiresAt: patch.Set(old.CreatedAt.Add(31 * day))})
		wantField(t, err, "expires_at", "beyond_max_age")
		_, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: old.ID, ExpiresAt: patch.Set(latest.Add(day))})
		wantField(t, err, "expires_at", "beyond_max_age")
		next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: old.ID})
		if err != nil {
			t.Fatal(err)
		}
		wantEnd(t, "the successor of one "+name, next, &latest)
	}
	soon, err := w.tryCreate(func(p *apikey.CreateParams) { p.ExpiresAt = new(now.Add(day)) })
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: soon.ID})
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, "a successor takes its end over", next, soon.ExpiresAt)
	next, _, err = w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: next.ID, ExpiresAt: patch.Null[time.Time]()})
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, "a successor as late as may be", next, &latest)
}

// A key's life is counted from its issue: changing it again and again adds nothing.
func TestBounds_maxAgeFromIssue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.at.Store(time.Now().UnixNano()) // created_at is the database's
	w.plan(`{"max_age_days": 10}`)
	k, err := w.tryCreate(func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(day)) })
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(9 * day)
	got, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, ExpiresAt: patch.Null[time.Time]()})
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, "null", got, new(k.CreatedAt.Add(10*day)))
	w.clock.advance(2 * day)
	_, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, ExpiresAt: patch.Null[time.Time]()})
	wantField(t, err, "expires_at", "in_the_past")
}

func TestBounds_rateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan(`{"rate_limit_rpm": 42}`)
	k, err := w.tryCreate(func(*apikey.CreateParams) {})
	if err != nil || k.RateLimitRPM != 42 {
		t.Errorf("%d, %v", k.RateLimitRPM, err)
	}
	other, err := w.tryCreate(func(p *apikey.CreateParams) { p.RateLimitRPM = 1000 })
	if err != nil || other.RateLimitRPM != 1000 {
		t.Errorf("the plan's is a default, no bound: %d, %v", other.RateLimitRPM, err)
	}
	w.plan(`{"rate_limit_rpm": 7}`)
	if other, err = w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: other.ID, RateLimitRPM: patch.Null[int]()}); err != nil || other.RateLimitRPM != 7 {
		t.Errorf("%d, %v", other.RateLimitRPM, err)
	}
	if next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: k.ID}); err != nil || next.RateLimitRPM != 42 {
		t.Errorf("rotation keeps settings: %d, %v", next.RateLimitRPM, err)
	}
}

// No more keys than the plan allows, however many are asked for at once.
func TestBounds_maxKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan(`{"max_keys": 3}`)
	keys, errs := make([]apikey.Key, 8), make([]error, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], errs[i] = w.tryCreate(func(*apikey.CreateParams) {}) })
	}
	wg.Wait()
	var made []apikey.Key
	for i, err := range errs {
		if err == nil {
			made = append(made, keys[i])
		} else if fault.CodeOf(err) != "api_key_limit_reached" {
			t.Error(err)
		}
	}
	if len(made) != 3 {
		t.Fatalf("%d keys were made", len(made))
	}
	full := func(name string) {
		t.Helper()
		_, err := w.tryCreate(func(*apikey.CreateParams) {})
		if fault.CodeOf(err) != "api_key_limit_reached" {
			t.Errorf("%s: %v", name, err)
		}
	}
	room := func(name string, change func(*apikey.CreateParams)) apikey.Key {
		t.Helper()
		k, err := w.tryCreate(change)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return k
	}
	if _, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: made[0].ID, Grace: time.Hour}); err != nil {
		t.Errorf("a rotation replaces, it adds nothing: %v", err)
	}
	full("after a rotation")
	if _, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: made[1].ID, IsActive: patch.Set(false)}); err != nil {
		t.Fatal(err)
	}
	full("a disabled key comes back at any time")
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, made[1].ID, ""); err != nil {
		t.Fatal(err)
	}
	short := room("after a revocation", func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(time.Hour)) })
	full("again")
	w.clock.advance(time.Hour)
	room("after an end", func(*apikey.CreateParams) {})
	_, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: short.ID, ExpiresAt: patch.Null[time.Time]()})
	wantCode(t, err, "api_key_limit_reached")
	if _, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: short.ID, Description: patch.Set("x")}); err != nil {
		t.Error(err)
	}
	// Another tenant has a plan of its own.
	room("of another tenant", func(p *apikey.CreateParams) { p.TenantID = w.newTenant(w.tenant) })
}
