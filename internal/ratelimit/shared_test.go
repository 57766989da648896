package ratelimit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is a key as callers have them: what belongs together, and a name.
type bucket struct{ tenant, name string }

func appendBucket(b []byte, k bucket) []byte {
	return append(append(append(append(b, '{'), k.tenant...), "}:"...), k.name...)
}

// patient is a timeout that only a Redis that is gone exceeds, however busy the machine is.
const patient = 20 * time.Second

func newShared(t testing.TB, url string, timeout time.Duration, log *slog.Logger) *Shared[bucket] {
	t.Helper()
	s, err := NewShared(SharedConfig[bucket]{URL: url, Timeout: timeout, Append: appendBucket, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func startShared(t testing.TB, url string) *Shared[bucket] {
	t.Helper()
	s := newShared(t, url, patient, nil)
	s.Start(t.Context())
	if st := s.Status(); !st.Shared {
		t.Fatal(st.Err)
	}
	return s
}

func client(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *Shared[K]) allow(t testing.TB, key K, limit Limit, cost int64) Decision {
	t.Helper()
	d := make([]Decision, 1)
	if ok := s.AllowAll(t.Context(), time.Now(), []Request[K]{{key, limit, cost}}, d); ok != d[0].Allowed {
		t.Errorf("returned %v: %+v", ok, d)
	}
	return d[0]
}

// until waits for something that other processes do.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// The same sequence of requests, with Redis's clock going ahead, standing and stepping back, limits changing under their
// keys, and keys that occur twice: every decision is that of the limiter in process.
func TestShared_sameAsInProcess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, server.URL())
	s := startShared(t, server.URL())
	// The script as it is, but its time is a list in Redis, and nothing expires by the server's own clock.
	script := strings.Replace(gcra, "redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)", 1)
	script = strings.Replace(script, "'PX', string.format('%.0f', math.floor((us - now) / 1000) + 1)", "'PX', '100000000'", 1)
	if strings.Contains(script, "TIME") || strings.Contains(script, "floor") {
		t.Fatal("the script has changed")
	}
	s.store.script = redis.NewScript(script)

	limits := rapid.Custom(func(t *rapid.T) Limit {
		if rapid.IntRange(0, 20).Draw(t, "invalid") == 0 {
			return Limit{Rate: rapid.Int64Range(-1, 1).Draw(t, "rate"), Burst: rapid.Int64Range(-1, 1).Draw(t, "burst")}
		}
		rate := rapid.Int64Range(1, 1000).Draw(t, "rate")
		longest := int64(maxFill) / 1000 // up to ten years to fill
		return Limit{Rate: rate, Period: time.Duration(rapid.Int64Range(rate, longest).Draw(t, "period")), Burst: rapid.Int64Range(0, 50).Draw(t, "burst")}
	})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		run++ // its keys are its own
		model := New[bucket](0)
		now := time.Now().Truncate(time.Microsecond)
		policies := rapid.SliceOfN(limits, 3, 3).Draw(t, "limits")
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			n := rapid.IntRange(0, 2).Draw(t, "changed")
			if rapid.IntRange(0, 9).Draw(t, "changes") == 0 {
				policies[n] = limits.Draw(t, "other")
			}
			step := policies[n].Period / time.Duration(max(policies[n].Rate, 1))
			now = now.Add(time.Duration(rapid.Int64Range(-int64(step)/4-1, int64(step)*2+1).Draw(t, "step"))).Truncate(time.Microsecond)
			pipe := c.Pipeline()
			pipe.Del(ctx, "clock")
			pipe.RPush(ctx, "clock", now.Unix(), now.Nanosecond()/1000)
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			var requests []Request[bucket]
			for range rapid.IntRange(1, 4).Draw(t, "requests") {
				n := rapid.IntRange(0, 2).Draw(t, "key")
				requests = append(requests, Request[bucket]{
					bucket{strconv.Itoa(run), strconv.Itoa(n)}, policies[n], rapid.Int64Range(-1, max(policies[n].size(), 0)+2).Draw(t, "cost"),
				})
				if rapid.Bool().Draw(t, "cheap") {
					requests[len(requests)-1].Cost = 1
				}
			}
			want, got := make([]Decision, len(requests)), make([]Decision, len(requests))
			peek := rapid.IntRange(0, 4).Draw(t, "peek") == 0
			wantOK, gotOK := model.all(now, requests, want, peek), s.all(ctx, now, requests, got, peek)
			if diff := cmp.Diff(want, got); wantOK != gotOK || diff != "" {
				t.Fatalf("%+v: %v, want %v\n%s", requests, gotOK, wantOK, diff)
			}
		}
		if n := s.Counts(); n.Failed > 0 || n.Local > 0 {
			t.Fatalf("not in Redis: %+v: %v", n, s.Status().Err)
		}
	})
}

// By Redis's own clock: what comes back comes back in time, and decisions tell when.
func TestShared_time(t *testing.T) {
	t.Parallel()
	s := startShared(t, redistest.Start(t).URL())
	limit := Limit{Rate: 10, Period: time.Second, Burst: 2}
	begin := time.Now()
	var allowed int64
	for time.Since(begin) < 500*time.Millisecond {
		if s.allow(t, bucket{"t", "k"}, limit, 1).Allowed {
			allowed++
		}
	}
	if took := time.Since(begin); allowed < 4 || float64(allowed) > 2+took.Seconds()*10 {
		t.Errorf("%d in %v", allowed, took)
	}
	d := s.allow(t, bucket{"t", "k"}, limit, 2)
	if d.Allowed || d.RetryAfter <= 0 || d.RetryAfter > 200*time.Millisecond {
		t.Errorf("%+v", d)
	}
	if d := s.allow(t, bucket{"t", "k"}, limit, 3); d.Allowed || d.RetryAfter != Never {
		t.Errorf("more than a full bucket: %+v", d)
	}
	if !s.AllowAll(t.Context(), time.Now(), nil, nil) || s.AllowAll(t.Context(), time.Now(), []Request[bucket]{{}}, make([]Decision, 1)) {
		t.Error("no limits must pass, and an unset limit nothing")
	}
}

// Limits hold over two replicas together, exactly: also all or nothing over two limits, in both orders.
func TestShared_twoReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	replicas := []*Shared[bucket]{startShared(t, server.URL()), startShared(t, server.URL())}
	tenant, key := bucket{"t", "tenant"}, bucket{"t", "key"}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			requests := []Request[bucket]{{tenant, Limit{Rate: 100, Period: time.Hour}, 1}, {key, Limit{Rate: 60, Period: time.Hour}, 1}}
			if i%4 < 2 {
				requests[0], requests[1] = requests[1], requests[0]
			}
			decisions := make([]Decision, 2)
			for range 20 {
				if replicas[i%2].AllowAll(t.Context(), time.Now(), requests, decisions) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	left := make([]Decision, 2)
	replicas[0].PeekAll(t.Context(), time.Now(), []Request[bucket]{
		{tenant, Limit{Rate: 100, Period: time.Hour}, 1}, {key, Limit{Rate: 60, Period: time.Hour}, 1},
	}, left)
	if passed.Load() != 60 || left[0].Remaining != 40 || left[1].Remaining != 0 || left[1].Allowed {
		t.Errorf("passed %d, left %+v", passed.Load(), left)
	}
	for _, s := range replicas {
		if n := s.Counts(); n.Local > 0 {
			t.Errorf("not in Redis: %+v: %v", n, s.Status().Err)
		}
	}
}

// Redis keeps a bucket as long as it isn't full, and no longer.
func TestShared_memoryIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, s := client(t, server.URL()), startShared(t, server.URL())
	limit := Limit{Rate: 10, Period: 5 * time.Second}
	for i := range 50 {
		s.allow(t, bucket{strconv.Itoa(i), "k"}, limit, 1)
		s.allow(t, bucket{strconv.Itoa(i), "free"}, limit, 0)
		s.allow(t, bucket{strconv.Itoa(i), "denied"}, limit, 11)
	}
	keys, err := c.Keys(t.Context(), keyPrefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		// -2: gone meanwhile. -1 would be for ever.
		if ttl, err := c.PTTL(t.Context(), key).Result(); err != nil || ttl == -1 || ttl > 501*time.Millisecond {
			t.Errorf("%s lives for %v (%v)", key, ttl, err)
		}
		if !strings.HasSuffix(key, ":k") && !strings.HasSuffix(key, probeSuffix) {
			t.Errorf("%s holds what nobody spent", key)
		}
	}
	until(t, "an empty Redis", func() bool { return c.DBSize(t.Context()).Val() == 0 })
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// Killed, and back: callers never notice, the buckets go on, and each change is told once.
func TestShared_redisKilled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var log lines
	s := newShared(t, server.URL(), patient, slog.New(slog.NewTextHandler(&log, nil)))
	s.Start(t.Context())
	k, limit := bucket{"t", "k"}, Limit{Rate: 5, Period: time.Hour}
	for left := int64(4); left >= 2; left-- {
		if d := s.allow(t, k, limit, 1); d.Remaining != left {
			t.Errorf("%+v, want %d left", d, left)
		}
	}
	server.Kill()
	var wg sync.WaitGroup
	var passed atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 10 {
				d := make([]Decision, 1)
				if s.AllowAll(t.Context(), time.Now(), []Request[bucket]{{k, limit, 1}}, d) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 2 {
		t.Errorf("%d passed, want the 2 that were left", passed.Load())
	}
	if st := s.Status(); st.Shared || st.Err == nil || st.Since.IsZero() {
		t.Errorf("%+v", st)
	}
	if n := s.Counts(); n.Local != 80 || n.Failed == 0 || n.Failed > 80 {
		t.Errorf("%+v", n)
	}
	server.Restart()
	until(t, "back", func() bool { return s.Status().Shared })
	before := s.Counts()
	if d := s.allow(t, k, limit, 1); !d.Allowed || d.Remaining != 4 {
		t.Errorf("%+v, want it from Redis, which has forgotten", d)
	}
	if n := s.Counts(); n.Shared != before.Shared+1 || n.Local != before.Local {
		t.Errorf("%+v after %+v", n, before)
	}
	if away, back := log.count("redis is away"), log.count("shared through redis"); away != 1 || back != 2 {
		t.Errorf("logged %d times away and %d times shared:\n%s", away, back, log.b.String())
	}
}

// Hung with its connections open: the first to ask wait for the timeout, everybody else for nothing.
func TestShared_redisPaused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const timeout = 100 * time.Millisecond
	s := newShared(t, server.URL(), timeout, nil)
	s.Start(t.Context())
	k, limit := bucket{"t", "k"}, Limit{Rate: 1000, Period: time.Hour}
	until(t, "shared", func() bool { return s.Status().Shared })
	s.allow(t, k, limit, 1)
	server.Pause()
	begin := time.Now()
	for range 500 {
		if d := s.allow(t, k, limit, 1); !d.Allowed {
			t.Fatalf("%+v", d)
		}
	}
	if took, n := time.Since(begin), s.Counts(); took > 20*timeout || n.Failed > 3 {
		t.Errorf("500 decisions took %v: %+v", took, n)
	}
	server.Continue()
	until(t, "back", func() bool { return s.Status().Shared })
}

// Redis is there, but takes nothing: full, or a replica. The probe notices, since it writes.
func TestShared_redisRefuses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, server.URL())
	s := startShared(t, server.URL())
	k, limit := bucket{"t", "k"}, Limit{Rate: 1000, Period: time.Hour}
	for name, change := range map[string][2][]any{
		"full":      {{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "SET", "maxmemory", "0"}},
		"a replica": {{"REPLICAOF", "127.0.0.1", "1"}, {"REPLICAOF", "NO", "ONE"}},
	} {
		if err := c.Do(t.Context(), change[0]...).Err(); err != nil {
			t.Fatal(err)
		}
		if d := s.allow(t, k, limit, 1); !d.Allowed || s.Status().Shared {
			t.Errorf("%s: %+v, %+v", name, d, s.Status())
		}
		time.Sleep(2 * probeFirst) // two probes, by which nothing must change
		if s.Status().Shared {
			t.Errorf("%s: shared", name)
		}
		if err := c.Do(t.Context(), change[1]...).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "back", func() bool { return s.Status().Shared })
	}
	// A script that Redis has forgotten is no failure; a value that isn't ours is one.
	before := s.Counts()
	if err := c.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.allow(t, k, limit, 1)
	if n := s.Counts(); n.Failed != before.Failed || n.Shared != before.Shared+1 {
		t.Errorf("%+v after %+v: %v", n, before, s.Status().Err)
	}
	if err := c.Set(t.Context(), string(appendBucket([]byte(keyPrefix), k)), "not ours", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if d := s.allow(t, k, limit, 1); !d.Allowed || s.Counts().Failed != before.Failed+1 {
		t.Errorf("%+v, %+v", d, s.Counts())
	}
}

// Nothing is asked before Start, and a Redis that isn't there doesn't keep anybody from starting.
func TestShared_starting(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	s := newShared(t, server.URL(), patient, nil)
	k, limit := bucket{"t", "k"}, PerMinute(10)
	if d := s.allow(t, k, limit, 1); !d.Allowed || s.Counts() != (Counts{Local: 1}) {
		t.Errorf("%+v, %+v", d, s.Counts())
	}
	s.Start(t.Context())
	if d := s.allow(t, k, limit, 1); d.Remaining != 8 || s.Status().Shared {
		t.Errorf("%+v, %+v", d, s.Status())
	}
	server.Restart()
	until(t, "found", func() bool { return s.Status().Shared })
}

// The permissions that docs/install.md names are enough.
func TestShared_permissions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := client(t, server.URL())
	err := c.Do(t.Context(), "ACL", "SETUSER", "landlord", "on", ">secret", "+eval", "+evalsha", "+time", "+mget", "+set", "~landlord:limit:*").Err()
	if err != nil {
		t.Fatal(err)
	}
	s := startShared(t, strings.Replace(server.URL(), "unix://", "unix://landlord:secret@", 1))
	if s.allow(t, bucket{"t", "k"}, PerMinute(1), 1); s.Counts() != (Counts{Shared: 1}) {
		t.Errorf("%+v: %v", s.Counts(), s.Status().Err)
	}
}

// In a cluster, what belongs together is on one node.
func TestShared_cluster(t *testing.T) {
	t.Parallel()
	port, bus := freePort(t), freePort(t)
	server := redistest.Start(t, "--bind", "127.0.0.1", "--port", port, "--cluster-enabled", "yes", "--cluster-port", bus)
	c := client(t, server.URL())
	if err := c.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "a whole cluster", func() bool {
		return strings.Contains(c.Do(t.Context(), "CLUSTER", "INFO").String(), "cluster_state:ok")
	})
	s := startShared(t, "redis-cluster://127.0.0.1:"+port)
	limit := PerMinute(10)
	for i := range 20 {
		tenant := fmt.Sprintf("tenant%d", i)
		requests := []Request[bucket]{{bucket{tenant, "key"}, limit, 1}, {bucket{tenant, "tenant"}, limit, 1}, {bucket{tenant, "product"}, limit, 1}}
		if d := make([]Decision, 3); !s.AllowAll(t.Context(), time.Now(), requests, d) || d[2].Remaining != 9 {
			t.Errorf("%+v", d)
		}
	}
	if n := s.Counts(); n != (Counts{Shared: 20}) {
		t.Errorf("%+v: %v", n, s.Status().Err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestNewShared_url(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "localhost:6379", "http://localhost", "redis://:hunter2@host:port", "redis-cluster://:hunter2@host:port", "redis://host/db", "redis://host?nonsense=1", "redis://a b"} {
		s, err := NewShared(SharedConfig[bucket]{URL: u, Append: appendBucket})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", u, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(int64(1), int64(1_790_000_000_000_000), "1790000000000000123", true)
	f.Add(int64(0), int64(0), "", false)
	f.Fuzz(func(t *testing.T, spent, now int64, value string, stored bool) {
		reply := []any{spent, now, nil}
		if stored {
			reply[2] = value
		}
		a, err := parseAnswer(reply, 1)
		if err != nil {
			return
		}
		if len(a.tats) != 1 || a.now != now*1000 || !stored && a.tats[0] != a.now {
			t.Errorf("%+v", a)
		}
		_, err = parseAnswer(reply[:2], 1)
		if err == nil {
			t.Error("too short")
		}
	})
}

func BenchmarkShared(b *testing.B) {
	s := startShared(b, redistest.Start(b).URL())
	for n := range 3 {
		requests := make([]Request[bucket], n+1)
		for i := range requests {
			requests[i] = Request[bucket]{bucket{"tenant_01h455vb4pex5vsknk084sn02q", strconv.Itoa(i)}, PerMinute(1e9), 1}
		}
		b.Run(fmt.Sprintf("limits=%d", n+1), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				decisions := make([]Decision, len(requests))
				for pb.Next() {
					s.AllowAll(b.Context(), time.Now(), requests, decisions)
				}
			})
		})
	}
	if n := s.Counts(); n.Local > 0 {
		b.Errorf("not in Redis: %+v", n)
	}
}
