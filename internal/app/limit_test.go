package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
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
