package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/redistest"
)

// A key's limit holds over two replicas that share a Redis. When it is killed, callers notice nothing, and everybody
// else is told: /readyz, which doesn't fail, the metrics and the log.
func TestRateLimits_shared(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	shared := func(c *app.Config) { c.RedisURL, c.RedisTimeout = redis.URL(), 20*time.Second }
	urls, keys := pgtest.CloneURLs(t), apptest.NewKeys(t)
	one := apptest.On(t, urls.App, keys, shared)
	two := apptest.On(t, urls.App, keys, shared)
	r := one.Do(t, apptest.Request{Method: "POST", Path: "/v1/tenants", Token: one.Owner, Body: `{"slug":"acme","name":"Acme"}`})
	if r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	r = one.Do(t, apptest.Request{
		Method: "POST", Path: "/v1/tenants/slug:acme/api-keys", Token: one.Owner, Body: `{"name":"k","environment":"live","rate_limit_rpm":10}`,
	})
	var key struct{ Token string }
	if err := json.Unmarshal(r.Body, &key); err != nil || r.Status != http.StatusCreated {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	verify := func(w *apptest.World) string {
		t.Helper()
		r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: one.Owner, Body: `{"key":"` + key.Token + `"}`})
		var v struct{ Outcome string }
		if err := json.Unmarshal(r.Body, &v); err != nil || r.Status != http.StatusOK {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		return v.Outcome
	}
	begin := time.Now()
	valid := 0
	for range 10 {
		for _, w := range []*apptest.World{one, two} {
			if verify(w) == "VALID" {
				valid++
			}
		}
	}
	if most := 10 + int(time.Since(begin)/(6*time.Second)); valid < 10 || valid > most {
		t.Errorf("%d were valid, want 10", valid)
	}
	ready := func(w *apptest.World, limits string) {
		t.Helper()
		r := w.Do(t, apptest.Request{Method: "GET", Path: "/readyz"})
		if r.Status != http.StatusOK || !strings.Contains(string(r.Body), `"rate_limits":"`+limits+`"`) {
			t.Errorf("%d %s, want %s", r.Status, r.Body, limits)
		}
	}
	ready(one, "shared")
	metric(t, one, "landlord_rate_limit_shared", 1)
	metric(t, one, "landlord_rate_limit_local_decisions_total", 0)

	redis.Kill()
	for _, c := range faces(t, two, one.Owner) {
		if r := c.ask(t, key.Token); r.Status != http.StatusTooManyRequests && time.Since(begin) < 6*time.Second {
			t.Errorf("%s: %d %s without Redis", c.name, r.Status, r.Body)
		}
	}
	if o := verify(one); o != "RATE_LIMITED" && time.Since(begin) < 6*time.Second {
		t.Errorf("%s without Redis, want the bucket to go on as it was", o)
	}
	ready(one, "local, redis is away")
	ready(two, "local, redis is away")
	metric(t, one, "landlord_rate_limit_shared", 0)
	metric(t, one, "landlord_rate_limit_redis_failures_total", 1)
	if n := strings.Count(one.Log.String(), "redis is away"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	redis.Restart()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if strings.Contains(string(one.Do(t, apptest.Request{Method: "GET", Path: "/readyz"}).Body), `"rate_limits":"shared"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Redis was not found again")
		}
	}
	if o := verify(one); o != "VALID" {
		t.Errorf("%s, want the bucket of a Redis that has forgotten", o)
	}
}

func metric(t *testing.T, w *apptest.World, name string, want float64) {
	t.Helper()
	r, err := http.Get(w.Private + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), "\n"+name+" ")
	line, _, _ := strings.Cut(after, "\n")
	if got, err := strconv.ParseFloat(line, 64); !ok || err != nil || got != want {
		t.Errorf("%s is %q, want %v", name, line, want)
	}
}

// ask verifies a token with a product and says what came of it.
func ask(t *testing.T, w *apptest.World, owner, token, more string) (outcome string, left map[string]int64) {
	t.Helper()
	r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: owner, Body: `{"key":"` + token + `"` + more + `}`})
	var v struct {
		Outcome    string
		RateLimits []struct {
			Name      string
			Remaining int64
		} `json:"rate_limits"`
	}
	if err := json.Unmarshal(r.Body, &v); err != nil || r.Status != http.StatusOK {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	left = map[string]int64{}
	for _, l := range v.RateLimits {
		left[l.Name] = l.Remaining
	}
	return v.Outcome, left
}

// Three replicas share a Redis, and keys several limits: their own, the tenant's and
// the product's. Together they let through what the tightest allows, and a request
// that one of them refuses spends nothing of the others. Redis killed under load, each
// replica goes on by itself, visibly, and shares again when it is back.
func TestRateLimits_severalOverReplicas(t *testing.T) {
	t.Parallel()
	const perKey, everything, renders = 200, 400, 320
	redis := redistest.Start(t)
	shared := func(c *app.Config) { c.RedisURL, c.RedisTimeout = redis.URL(), 20*time.Second }
	urls, secrets := pgtest.CloneURLs(t), apptest.NewKeys(t)
	var replicas []*apptest.World
	for range 3 {
		replicas = append(replicas, apptest.On(t, urls.App, secrets, shared))
	}
	one := replicas[0]
	created := func(method, path string, body any) map[string]any {
		t.Helper()
		r := one.Do(t, apptest.Request{Method: method, Path: path, Token: one.Owner, Body: body})
		if r.Status >= 300 {
			t.Fatalf("%s: %d %s", path, r.Status, r.Body)
		}
		return r.JSON(t)
	}
	// In days, so that time gives nothing back while the test runs.
	created("POST", "/v1/catalog/apply", map[string]any{
		"products": []any{map[string]any{
			"name": "render", "title": "Render",
			"rate_limits": []any{map[string]any{"name": "renders", "limit": 1, "window": 1, "per": "tenant"}},
		}},
		"plans": []any{map[string]any{"name": "farm", "title": "Farm", "products": map[string]any{
			"render": map[string]any{"rate_limits": []any{map[string]any{"name": "renders", "limit": renders, "window": 2_678_400}}},
		}}},
	})
	// newTenant is a tenant with three keys.
	newTenant := func(slug string) (tokens []string) {
		t.Helper()
		tenant := created("POST", "/v1/tenants", map[string]any{"slug": slug, "name": slug, "plan": "farm"})["id"].(string)
		created("PUT", "/v1/tenants/"+tenant+"/rate-limits/everything", map[string]any{"limit": everything, "window": 2_678_400})
		for i := range 3 {
			tokens = append(tokens, created("POST", "/v1/tenants/"+tenant+"/api-keys", map[string]any{
				"name": fmt.Sprint(i), "rate_limit_rpm": 1_000_000,
				"rate_limits": []map[string]any{{"name": "mine", "limit": perKey, "window": 2_678_400}},
			})["token"].(string))
		}
		return tokens
	}
	// load asks every replica for every key, n times each, and counts what passed.
	load := func(tokens []string, n int, each func()) (passed int64) {
		var count atomic.Int64
		var all sync.WaitGroup
		for _, w := range replicas {
			for _, token := range tokens {
				all.Go(func() {
					for range n {
						if o, _ := ask(t, w, one.Owner, token, `,"product":"render"`); o == "VALID" {
							count.Add(1)
						} else if o != "RATE_LIMITED" {
							t.Errorf("%s", o)
						}
						each()
					}
				})
			}
		}
		all.Wait()
		return count.Load()
	}
	calm := func() {}

	tokens := newTenant("calm")
	if passed := load(tokens, 60, calm); passed < renders*95/100 || passed > renders { // 540 ask
		t.Errorf("%d passed, want %d", passed, renders)
	}
	var mine int64
	for _, token := range tokens {
		_, left := ask(t, replicas[1], one.Owner, token, `,"product":"render","cost":0`)
		if left["everything"] != everything-renders || left["renders"] != 0 {
			t.Errorf("left is %v: what was refused spent something", left)
		}
		mine += left["key.mine"]
	}
	if mine != 3*perKey-renders {
		t.Errorf("%d are left to the keys, want %d", mine, 3*perKey-renders)
	}

	tokens = newTenant("stormy")
	var asked atomic.Int64
	kill := sync.OnceFunc(redis.Kill)
	passed := load(tokens, 60, func() {
		if asked.Add(1) == 200 {
			kill()
		}
	})
	// Each replica that lost Redis grants what was left of it, as far as it had heard: at most all of it.
	if passed < renders*95/100 || passed > 3*renders {
		t.Errorf("%d passed with Redis killed, want from %d to %d", passed, renders, 3*renders)
	}
	for i, w := range replicas {
		metric(t, w, "landlord_rate_limit_shared", 0)
		r := w.Do(t, apptest.Request{Method: "GET", Path: "/readyz"})
		if r.Status != http.StatusOK || !strings.Contains(string(r.Body), `"rate_limits":"local, redis is away"`) {
			t.Errorf("replica %d: %d %s", i, r.Status, r.Body)
		}
		if n := strings.Count(w.Log.String(), "redis is away"); n != 1 {
			t.Errorf("replica %d logged %d times", i, n)
		}
	}
	redis.Restart()
	for _, w := range replicas {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if strings.Contains(string(w.Do(t, apptest.Request{Method: "GET", Path: "/readyz"}).Body), `"rate_limits":"shared"`) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("Redis was not found again")
			}
		}
	}
	tokens = newTenant("calm-again")
	if passed := load(tokens, 40, calm); passed < renders*95/100 || passed > renders { // 360 ask
		t.Errorf("%d passed once Redis was back, want %d", passed, renders)
	}
}

// A key that calls landlord's own API is told what its limits have left, and which of
// them refused.
func TestRateLimits_ofTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.must(t, "POST", "/v1/tenants/"+w.Tenant+"/api-keys", map[string]any{
		"name": w.unique("key"), "scopes": []string{"landlord:apikeys:read"}, "rate_limit_rpm": 5,
		"rate_limits": []map[string]any{{"name": "calls", "limit": 2, "window": 3600}},
	})
	read := func() apptest.Response {
		return w.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant + "/api-keys", Token: k["token"].(string)})
	}
	for left := 1; left >= 0; left-- {
		r := read()
		if r.Status != http.StatusOK || r.Header.Get("RateLimit-Policy") != `"key";q=5;w=60, "key.calls";q=2;w=3600` {
			t.Errorf("%d %v", r.Status, r.Header)
		}
		if got := r.Header.Get("RateLimit"); !strings.Contains(got, fmt.Sprintf(`"key.calls";r=%d;t=`, left)) {
			t.Errorf("%s, want %d left", got, left)
		}
	}
	r := read()
	after, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if r.Status != http.StatusTooManyRequests || r.Code() != "rate_limited" || err != nil || after < 1700 || after > 1800 ||
		!strings.Contains(string(r.Body), `"violated-policies":["key.calls"]`) || !strings.Contains(r.Header.Get("RateLimit"), `"key";r=3`) {
		t.Errorf("%d %v %s", r.Status, r.Header, r.Body)
	}
	// Who has no rate limit is told of none.
	if h := w.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant, Token: w.Owner}).Header; h.Get("RateLimit") != "" {
		t.Error(h)
	}
}
