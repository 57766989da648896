package app_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
)

// wallClock is what the replica believes the time to be.
type wallClock struct{ off atomic.Int64 }

func (c *wallClock) now() time.Time       { return time.Now().Round(0).Add(time.Duration(c.off.Load())) }
func (c *wallClock) step(d time.Duration) { c.off.Add(int64(d)) }
func (c *wallClock) in(d time.Duration) *time.Time {
	t := c.now().Add(d).UTC().Truncate(time.Second)
	return &t
}

// A wall clock that steps, as of a host that slept or whose NTP was wrong: what
// has an end is judged by it, both ways, at the instant; the freshness of caches
// and the rate limits are not.
func TestFault_clockSteps(t *testing.T) {
	t.Parallel()
	clock := &wallClock{}
	w := &world{World: apptest.New(t, func(c *app.Config) { c.Now = clock.now })}
	w.Tenant, _ = w.newTenant(t)
	ctx := t.Context()

	keys := "/v1/tenants/" + w.Tenant + "/api-keys"
	key := w.must(t, "POST", keys, map[string]any{"name": "key", "expires_at": clock.in(time.Hour), "rate_limit_rpm": 600})["token"].(string)
	me := do(w.Client.Whoami(ctx))
	token := w.As(t, do(w.Client.Operators.IssueToken(ctx, me.ID, client.IssueToken{Name: "t", ExpiresAt: clock.in(time.Hour)})).Token)
	w.must(t, "POST", "/v1/catalog/apply", contractCatalog(""))
	w.must(t, "PUT", "/v1/tenants/"+w.Tenant+"/products/contract", map[string]any{"expires_at": clock.in(time.Hour)})

	verify := func(product string) string {
		body := map[string]any{"key": key}
		if product != "" {
			body["product"] = product
		}
		return w.must(t, "POST", "/v1/keys/verify", body)["outcome"].(string)
	}
	all := faces(t, w.World, w.Owner)
	check := func(when, outcome, entitled, tokenCode string) {
		t.Helper()
		for _, c := range all {
			if r := c.ask(t, key); (r.Status == http.StatusNoContent) != (outcome == "VALID") || r.Status >= http.StatusInternalServerError {
				t.Errorf("%s: %s is told %d %s, want %s", when, c.name, r.Status, r.Body, outcome)
			}
		}
		if got := verify(""); got != outcome {
			t.Errorf("%s: the key is %s, want %s", when, got, outcome)
		}
		if got := verify("contract"); got != entitled {
			t.Errorf("%s: the entitlement is %s, want %s", when, got, entitled)
		}
		if _, err := token.Whoami(ctx); client.Code(err) != tokenCode {
			t.Errorf("%s: the token: %v, want %q", when, err, tokenCode)
		}
		if r := get(t, w.Private+"/readyz", nil); r.Status != http.StatusOK {
			t.Errorf("%s: not ready: %s", when, r.Body)
		}
	}
	check("on time", "VALID", "VALID", "")
	clock.step(time.Hour)
	check("an hour later", "EXPIRED", "EXPIRED", "credential_expired")
	clock.step(-time.Hour)
	check("back again", "VALID", "VALID", "")
	clock.step(-365 * 24 * time.Hour)
	if got := verify(""); got != "RATE_LIMITED" { // a bucket of the future counts as empty; a system's clock is monotonic to it
		t.Errorf("got %s", got)
	}
	clock.step(time.Minute)
	check("a year ago", "VALID", "VALID", "")
	clock.step(365*24*time.Hour - time.Minute)
	check("now", "VALID", "VALID", "")
}

// A clock that steps back must not lock a key out, and one that steps to and fro
// must not give away what was spent.
func TestFault_clockStepsUnderRateLimit(t *testing.T) {
	t.Parallel()
	clock := &wallClock{}
	w := &world{World: apptest.New(t, func(c *app.Config) { c.Now = clock.now })}
	w.Tenant, _ = w.newTenant(t)
	key := w.must(t, "POST", "/v1/tenants/"+w.Tenant+"/api-keys", map[string]any{"name": "key", "rate_limit_rpm": 10})["token"].(string)
	allowed := func(n int) (yes int) {
		for range n {
			if w.must(t, "POST", "/v1/keys/verify", map[string]any{"key": key})["valid"].(bool) {
				yes++
			}
		}
		return yes
	}
	if got := allowed(30); got < 10 || got > 12 { // one comes back every 6 s
		t.Errorf("%d of a bucket of 10", got)
	}
	clock.step(-24 * time.Hour)
	if got := allowed(30); got > 2 {
		t.Errorf("%d for stepping back", got)
	}
	clock.step(time.Minute) // of waiting, by the same clock
	if got := allowed(30); got < 10 || got > 12 {
		t.Errorf("%d a minute after it stepped back: the key is locked out", got)
	}
}
