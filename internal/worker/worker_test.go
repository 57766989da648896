package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/worker"
)

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// cluster is a lock as PostgreSQL gives it: one holder for each key.
type cluster struct {
	mu   sync.Mutex
	held map[int64]bool
}

func (c *cluster) lock(ctx context.Context, key int64, fn func(context.Context) error) (bool, error) {
	c.mu.Lock()
	if c.held[key] {
		c.mu.Unlock()
		return false, nil
	}
	if c.held == nil {
		c.held = map[int64]bool{}
	}
	c.held[key] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.held, key)
		c.mu.Unlock()
	}()
	return true, fn(ctx)
}

// record notes when things happened, since the test's start.
type record struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (r *record) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%v %s", time.Since(r.start), what))
}

func (r *record) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func group(t *testing.T, cfg worker.Config, loops ...worker.Loop) *worker.Group {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g, err := worker.New(cfg, loops...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNew_refuses(t *testing.T) {
	t.Parallel()
	run := func(context.Context) error { return nil }
	for name, loops := range map[string][]worker.Loop{
		"no name":     {{Every: 1, Run: run, PerReplica: true}},
		"no period":   {{Name: "a", Run: run, PerReplica: true}},
		"no function": {{Name: "a", Every: 1, PerReplica: true}},
		"twice":       {{Name: "a", Every: 1, Run: run, PerReplica: true}, {Name: "a", Every: 1, Run: run, PerReplica: true}},
		"no lock":     {{Name: "a", Every: 1, Run: run}},
	} {
		if _, err := worker.New(worker.Config{}, loops...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGroup_ticksAtOnceThenEveryPeriodAfterTheLastEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{start: time.Now()}
		g := group(t, worker.Config{}, worker.Loop{
			Name: "a", Every: 10 * time.Second, PerReplica: true,
			Run: func(context.Context) error {
				r.add("tick")
				pass(3 * time.Second)
				return nil
			},
		})
		g.Start(t.Context())
		g.Start(t.Context()) // does nothing
		pass(30 * time.Second)
		g.Close()
		if diff := cmp.Diff([]string{"0s tick", "13s tick", "26s tick"}, r.take()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGroup_jitterSpreadsTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		g := group(t, worker.Config{}, worker.Loop{
			Name: "a", Every: 10 * time.Second, Jitter: 4 * time.Second, PerReplica: true,
			Run: func(context.Context) error {
				at = append(at, time.Since(start))
				return nil
			},
		})
		g.Start(t.Context())
		pass(time.Hour)
		g.Close()
		if len(at) < 200 || at[0] >= 4*time.Second {
			t.Fatalf("%d ticks, the first after %v", len(at), at[0])
		}
		for i := 1; i < len(at); i++ {
			if d := at[i] - at[i-1]; d < 10*time.Second || d >= 14*time.Second {
				t.Errorf("%v between two ticks", d)
			}
		}
	})
}

func TestGroup_wake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{start: time.Now()}
		g := group(t, worker.Config{}, worker.Loop{
			Name: "a", Every: time.Minute, PerReplica: true,
			Run: func(context.Context) error {
				r.add("tick")
				pass(time.Second)
				return nil
			},
		})
		g.Wake("a")
		g.Wake("unknown")
		g.Start(t.Context())
		pass(5 * time.Second) // the wake before the start is the first tick
		for range 10 {
			g.Wake("a") // at 5 s: once at once …
		}
		pass(500 * time.Millisecond)
		g.Wake("a") // … and once more when that ended
		g.Wake("a")
		pass(70 * time.Second)
		g.Close()
		g.Wake("a")
		g.Start(t.Context())
		if diff := cmp.Diff([]string{"0s tick", "5s tick", "6s tick", "1m7s tick"}, r.take()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGroup_failuresBackOffAndRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := &record{start: time.Now()}
		n := 0
		var g *worker.Group
		cfg := worker.Config{
			Log: slog.New(slog.NewTextHandler(&log, nil)),
			Observe: func(tick worker.Tick) {
				r.add(string(tick.Outcome))
				g.Wake("a") // shortens no backoff, but follows the success
			},
		}
		g = group(t, cfg, worker.Loop{
			Name: "a", Every: 10 * time.Second, PerReplica: true,
			Run: func(context.Context) error {
				switch n++; n {
				case 2:
					panic("oh")
				case 6:
					return nil
				}
				return errors.New("no")
			},
		})
		g.Start(t.Context())
		pass(221 * time.Second)
		want := []string{"0s error", "20s error", "1m0s error", "2m0s error", "3m0s error"}
		if diff := cmp.Diff(want, r.take()); diff != "" {
			t.Error(diff)
		}
		pass(20 * time.Second)
		if diff := cmp.Diff([]string{"4m0s ok", "4m0s error"}, r.take()); diff != "" {
			t.Error(diff)
		}
		g.Close()
		for _, want := range []string{"panic: oh", "worker_test.go", "failures=5", "background loop recovered"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

func TestGroup_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{start: time.Now()}
		g := group(t, worker.Config{Observe: func(tick worker.Tick) { r.add(fmt.Sprint(tick.Took, tick.Err)) }}, worker.Loop{
			Name: "a", Every: time.Hour, Timeout: 5 * time.Second, PerReplica: true,
			Run: func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			},
		})
		g.Start(t.Context())
		pass(time.Minute)
		g.Close()
		if diff := cmp.Diff([]string{"5s 5s context deadline exceeded"}, r.take()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestGroup_oneReplicaAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		var mu sync.Mutex
		running, most, ran, skipped := 0, 0, 0, 0
		loops := []worker.Loop{{
			Name: "a", Every: 5 * time.Second, Jitter: time.Second,
			Run: func(context.Context) error {
				mu.Lock()
				running++
				ran++
				most = max(most, running)
				mu.Unlock()
				pass(2 * time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			},
		}}
		cfg := worker.Config{Lock: c.lock, Observe: func(tick worker.Tick) {
			mu.Lock()
			defer mu.Unlock()
			if tick.Outcome == worker.Skipped {
				skipped++
			}
		}}
		var groups []*worker.Group
		for range 5 {
			g := group(t, cfg, loops...)
			g.Start(t.Context())
			groups = append(groups, g)
		}
		pass(10 * time.Minute)
		for _, g := range groups {
			g.Close()
		}
		if most != 1 || ran < 100 || skipped < 100 {
			t.Errorf("%d at once, %d ran, %d skipped", most, ran, skipped)
		}
	})
}

func TestGroup_lockFailsOrPanicsAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		var up atomic.Bool
		r := &record{start: time.Now()}
		cfg := worker.Config{
			Lock: func(ctx context.Context, key int64, fn func(context.Context) error) (bool, error) {
				if !up.Load() {
					return false, errors.New("no database")
				}
				return c.lock(ctx, key, fn)
			},
			Observe: func(tick worker.Tick) { r.add(fmt.Sprint(tick.Outcome, " ", tick.Err)) },
		}
		g := group(t, cfg, worker.Loop{Name: "a", Every: 40 * time.Second, Run: func(context.Context) error { panic("oh") }})
		g.Start(t.Context())
		pass(time.Second)
		up.Store(true)
		pass(2 * time.Minute)
		g.Close()
		if diff := cmp.Diff([]string{"0s error no database", "1m0s error panic: oh", "2m0s error panic: oh"}, r.take()); diff != "" {
			t.Error(diff)
		}
		if len(c.held) != 0 {
			t.Error("the panic kept the lock")
		}
	})
}

func TestGroup_closeCancelsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var observed []worker.Tick
		ended := false
		g := group(t, worker.Config{Observe: func(tick worker.Tick) { observed = append(observed, tick) }}, worker.Loop{
			Name: "a", Every: time.Second, PerReplica: true,
			Run: func(ctx context.Context) error {
				<-ctx.Done()
				pass(time.Second) // what it takes to end
				ended = true
				return ctx.Err()
			},
		})
		g.Start(t.Context())
		pass(10 * time.Second)
		g.Close()
		g.Close()
		if !ended {
			t.Error("Close didn't wait")
		}
		if slices.ContainsFunc(observed, func(tick worker.Tick) bool { return tick.Outcome == worker.Failed }) {
			t.Errorf("being closed counts as a failure: %+v", observed)
		}
	})
}

func TestGroup_closedBeforeItStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group(t, worker.Config{}, worker.Loop{
			Name: "a", Every: time.Second, PerReplica: true,
			Run: func(context.Context) error {
				t.Error("it ran")
				return nil
			},
		})
		g.Close()
		g.Start(t.Context())
		pass(time.Minute)
	})
}
