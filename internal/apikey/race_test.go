package apikey_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// gate is a tracer that holds look-ups of keys and projects after the database has answered them and before anybody hears it:
// the widest that the window between a read and its use can be.
type gate struct {
	pgtest.Log

	mu      sync.Mutex
	closed  chan struct{} // nil: look-ups pass
	arrived chan struct{} // one for each that is held
	held    atomic.Int64
}

func newGate() *gate { return &gate{arrived: make(chan struct{}, 1000)} }

type lookupKey struct{}

func (g *gate) TraceBatchStart(ctx context.Context, c *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	lookup := slices.ContainsFunc(d.Batch.QueuedQueries, func(q *pgx.QueuedQuery) bool {
		return strings.Contains(q.SQL, "FROM api_keys k\nJOIN tenants") || strings.Contains(q.SQL, "FROM tenant_projects\nWHERE id = $1")
	})
	return context.WithValue(g.Log.TraceBatchStart(ctx, c, d), lookupKey{}, lookup)
}

func (g *gate) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if lookup, _ := ctx.Value(lookupKey{}).(bool); !lookup || closed == nil {
		return
	}
	g.held.Add(1)
	g.arrived <- struct{}{}
	<-closed
	g.held.Add(-1)
}

// shut holds look-ups from now on, until open is called.
func (g *gate) shut() (open func()) {
	closed := make(chan struct{})
	g.mu.Lock()
	g.closed = closed
	g.mu.Unlock()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.closed = nil
		g.mu.Unlock()
		close(closed)
	})
}

// await waits until n look-ups are held.
func (g *gate) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-g.arrived:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d look-ups are held, want %d", g.held.Load(), n)
		}
	}
}

// lookups counts the statements that look for a key.
func (g *gate) lookups() (n int) {
	for _, sql := range g.Statements() {
		if strings.Contains(sql, "FROM api_keys k\nJOIN tenants") {
			n++
		}
	}
	return n
}

// newGatedWorld is a world on a pool of four connections behind a gate.
func newGatedWorld(t *testing.T, change ...func(*apikey.VerifierConfig)) (*world, *gate) {
	t.Helper()
	g := newGate()
	db, err := pg.Open(t.Context(), pg.Config{URL: pgtest.URL(t), MaxConns: 4, Tracer: g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return newWorldIn(t, db, change...), g
}

// ask verifies beside the test.
func (w *world) ask(p apikey.VerifyParams) <-chan apikey.Outcome {
	out := make(chan apikey.Outcome, 1)
	ctx := w.t.Context()
	go func() {
		v, err := w.verifier.Check(ctx, &p)
		if err != nil {
			v.Outcome = apikey.Outcome(err.Error())
		}
		out <- v.Outcome
	}()
	return out
}

func mustAnswer(t *testing.T, who string, got <-chan apikey.Outcome, want apikey.Outcome) {
	t.Helper()
	select {
	case o := <-got:
		if o != want {
			t.Errorf("%s is told %s, want %s", who, o, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s gets no answer", who)
	}
}

// A look-up has read the old state; the change commits and is applied; only then does the look-up end. What it read must
// neither stay in memory nor be told to anybody who asked after the change, though they wait for the same look-up.
func TestRace_loadEndsAfterTheChange(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(w *world, k apikey.Key) []changefeed.Change
		ask    func(w *world, p *apikey.VerifyParams)
		want   apikey.Outcome
	}{
		"key revoked": {
			change: func(w *world, k apikey.Key) []changefeed.Change {
				w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k.ID)
				return []changefeed.Change{{Kind: "api_key", TenantID: w.tenant, ID: k.ID.UUID()}}
			},
			want: apikey.KeyRevoked,
		},
		"tenant suspended": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.setStatus(w.tenant, "suspended")
				return []changefeed.Change{{Kind: "tenant", TenantID: w.tenant, ID: w.tenant.UUID()}}
			},
			want: apikey.TenantSuspended,
		},
		"entitlement ended": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.exec(`DELETE FROM tenant_products WHERE tenant_id = $1`, w.tenant)
				return []changefeed.Change{{Kind: "entitlement", TenantID: w.tenant}}
			},
			want: apikey.NotEntitled,
		},
		"key policy put": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.exec(`INSERT INTO tenant_key_policies (tenant_id, environments) VALUES ($1, '{test}')`, w.tenant)
				return []changefeed.Change{{Kind: "key_policy", TenantID: w.tenant, ID: w.tenant.UUID()}}
			},
			want: apikey.EnvironmentMismatch,
		},
		"rate limit put": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.exec(`INSERT INTO tenant_rate_limits (tenant_id, name, limit_value, window_secs) VALUES ($1, 'everything', 1, 60)`, w.tenant)
				return []changefeed.Change{{Kind: "rate_limit", TenantID: w.tenant, ID: w.tenant.UUID()}}
			},
			ask:  func(_ *world, p *apikey.VerifyParams) { p.Cost = 2 },
			want: apikey.RateLimited,
		},
		"catalogue changed": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.exec(`UPDATE tenant_products SET enabled = FALSE WHERE tenant_id = $1`, w.tenant)
				return []changefeed.Change{{Kind: "catalog"}}
			},
			want: apikey.NotEntitled,
		},
		"changes were missed": {
			change: func(w *world, k apikey.Key) []changefeed.Change {
				w.exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1`, k.ID)
				w.verifier.Forget()
				return nil
			},
			want: apikey.KeyDisabled,
		},
		"project archived that the request names": {
			change: func(w *world, _ apikey.Key) []changefeed.Change {
				w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, w.project)
				return []changefeed.Change{{Kind: "project", TenantID: w.tenant, ID: w.project.UUID()}}
			},
			ask: func(w *world, p *apikey.VerifyParams) {
				if o := w.outcome(p.Token); o != apikey.Valid { // so that only the project is looked for
					w.t.Error(o)
				}
				p.Project = w.project
			},
			want: apikey.ProjectArchived,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, g := newGatedWorld(t)
			k, token := w.create()
			p := apikey.VerifyParams{Token: token, Product: w.product, Peek: true}
			if tc.ask != nil {
				tc.ask(w, &p)
			}
			open := g.shut()
			defer open()
			before := w.ask(p)
			g.await(t, 1)
			w.verifier.Apply(tc.change(w, k))
			after := w.ask(p) // joins the look-up that is held
			open()
			mustAnswer(t, "who asked before", before, apikey.Valid)
			mustAnswer(t, "who asked after", after, tc.want)
			for range 3 {
				if o := w.check(p).Outcome; o != tc.want {
					t.Errorf("later: %s, want %s", o, tc.want)
				}
			}
			g.Reset()
			if w.check(p); len(g.Statements()) != 0 {
				t.Errorf("what was read after the change isn't kept: %q", g.Statements())
			}
		})
	}
}

// The lease ends while a look-up is under way that read the old state: who asks then must not get it, applied or not.
func TestRace_leaseEndsDuringALoad(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	k, token := w.create()
	p := apikey.VerifyParams{Token: token, Peek: true}
	open := g.shut()
	defer open()
	before := w.ask(p)
	g.await(t, 1)
	w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k.ID) // and nobody tells
	w.fresh.Store(false)
	after := w.ask(p)
	open()
	mustAnswer(t, "who asked before", before, apikey.Valid)
	mustAnswer(t, "who asked without the lease", after, apikey.KeyRevoked)
}

// randomToken is well-formed, with the right checksum, as anybody can make one.
func randomToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	body := strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(b))
	return withChecksum("ll_live_" + body)
}

// A flood of tokens that don't exist costs one statement a token, however often it is asked for, of a bounded number at a
// time, and takes neither good keys out of memory nor the database from others. What isn't even a token costs nothing.
func TestFlood(t *testing.T) {
	t.Parallel()
	const good, random, bound = 50, 1500, 200
	w, g := newGatedWorld(t, func(c *apikey.VerifierConfig) {
		c.AbsentKeys = bound
		c.CacheBytes = good * 2048 // little more than the good ones need
	})
	var tokens []string
	for range good {
		_, token := w.create()
		tokens = append(tokens, token)
	}
	warm := func() {
		t.Helper()
		for _, token := range tokens {
			if o := w.check(apikey.VerifyParams{Token: token, Peek: true}).Outcome; o != apikey.Valid {
				t.Errorf("a good key answers %s", o)
			}
		}
	}
	warm()
	g.Reset()

	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for range random / 8 {
				token := randomToken()
				var same sync.WaitGroup
				for range 3 {
					same.Go(func() {
						if v, err := w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || v.Outcome != apikey.NotFound {
							t.Error(v.Outcome, err)
						}
					})
				}
				same.Wait()
			}
		})
	}
	flood.Wait()
	// One each; a few more where what was just remembered had to make room before the last of the three asked.
	lookups := g.lookups()
	if want := random / 8 * 8; lookups < want || lookups > want+want/4 {
		t.Errorf("%d unknown tokens, asked for three times each, cost %d statements", want, lookups)
	}
	if s := w.verifier.Stats(); s.Absent > 2*bound || s.Entries != good || s.Hits != 0 { // eviction is a little behind
		t.Errorf("%+v", s)
	}

	g.Reset()
	for i := range 1000 {
		bad := randomToken()
		switch i % 4 {
		case 0: // a typing error
			c := byte('0')
			if bad[20] == c {
				c++
			}
			bad = bad[:20] + string(c) + bad[21:]
		case 1:
			bad = bad[:len(bad)-1]
		case 2:
			bad = strings.Replace(bad, "live", "prod", 1)
		case 3:
			bad += "x"
		}
		if o := w.outcome(bad); o != apikey.Malformed {
			t.Fatalf("%q answers %s", bad, o)
		}
	}
	warm()
	if sent := g.Statements(); len(sent) != 0 {
		t.Errorf("malformed tokens and good keys after a flood cost %d statements: %q", len(sent), sent[0])
	}
	if s := w.verifier.Stats(); s.Hits != good || s.Statements != good+uint64(lookups) {
		t.Errorf("%+v", s)
	}

	// The database is slow: the flood waits for itself, and not everybody for the flood.
	open := g.shut()
	defer open()
	const more, most = 30, 3 // of four connections
	var answers []<-chan apikey.Outcome
	for range more {
		answers = append(answers, w.ask(apikey.VerifyParams{Token: randomToken()}))
	}
	g.await(t, most)
	warm()
	w.create() // by somebody at the registry
	if n := g.held.Load(); n != most {
		t.Errorf("the flood holds %d connections, want %d", n, most)
	}
	open()
	for i, a := range answers {
		mustAnswer(t, fmt.Sprintf("unknown token %d", i), a, apikey.NotFound)
	}
}

// Everybody asks for one key at the same moment, cold: one statement, whoever comes a little later.
func TestStampede(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	_, token := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM })
	for range 20 {
		w.verifier.Forget()
		g.Reset()
		start := make(chan struct{})
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				<-start
				time.Sleep(time.Duration(i) * 20 * time.Microsecond)
				if v, err := w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || v.Outcome != apikey.Valid {
					t.Error(v.Outcome, err)
				}
			})
		}
		close(start)
		all.Wait()
		if n := g.lookups(); n != 1 {
			t.Fatalf("%d statements: %q", n, slices.Compact(g.Statements()))
		}
	}
}
