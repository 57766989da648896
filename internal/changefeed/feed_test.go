//go:build unix

package changefeed_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/migrations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// cache is a subscriber that remembers what it was told, in order; "reset" is a reset.
type cache struct {
	mu   sync.Mutex
	told []string
	more chan struct{} // of one
}

func newCache() *cache { return &cache{more: make(chan struct{}, 1)} }

func (c *cache) add(s ...string) {
	c.mu.Lock()
	c.told = append(c.told, s...)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *cache) apply(changes []changefeed.Change) {
	for _, change := range changes {
		c.add(change.Kind + " " + change.ID)
	}
}

func (c *cache) reset() { c.add("reset") }

func (c *cache) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func (c *cache) has(s string) bool { return slices.Contains(c.all(), s) }

// follow starts a feed with a cache on the database.
func follow(t *testing.T, db *pg.DB) (*changefeed.Feed, *cache) {
	t.Helper()
	f, c := changefeed.New(db, logger(t)), newCache()
	f.Subscribe(c.apply, c.reset)
	f.Start(t.Context())
	t.Cleanup(f.Close)
	mustSync(t, f)
	return f, c
}

// logger shows with a failing test what the feed ran into.
func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func mustSync(t *testing.T, f *changefeed.Feed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, address string) *pg.DB {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func mustNote(t *testing.T, db *pg.DB, changes ...changefeed.Change) {
	t.Helper()
	if err := note(t.Context(), db, changes...); err != nil {
		t.Fatal(err)
	}
}

func note(ctx context.Context, db *pg.DB, changes ...changefeed.Change) error {
	return db.AsOperator(ctx, func(tx pg.Tx) error { return changefeed.Note(ctx, tx, changes...) })
}

func key(n int) changefeed.Change {
	return changefeed.Change{Kind: "api_key", ID: strconv.Itoa(n)}
}

// within waits for something that another process does.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// as runs one statement as a superuser and returns its first value.
func as[T any](t *testing.T, address, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

const listener = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = '` + changefeed.AppName + `'`

func TestFeed_deliversWhatCommits(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f, c := follow(t, db)
	tenant := id.New[id.Tenant]()
	var seen []changefeed.Change
	f2 := changefeed.New(db, logger(t))
	var lags []time.Duration
	f2.Observe(func(lag time.Duration) { lags = append(lags, lag) })
	f2.Subscribe(func(changes []changefeed.Change) { seen = append(seen, changes...) }, func() {})
	f2.Start(t.Context())
	defer f2.Close()
	mustSync(t, f2)

	want := []changefeed.Change{
		{Kind: "api_key", TenantID: tenant, ID: "1"},
		{Kind: "tenant", TenantID: tenant},
		{Kind: "api_key", TenantID: tenant, ID: "2"},
	}
	err := db.InTenant(t.Context(), tenant, func(tx pg.Tx) error {
		if err := changefeed.Note(t.Context(), tx); err != nil { // nothing at all is fine
			return err
		}
		return changefeed.Note(t.Context(), tx, want...)
	})
	if err != nil {
		t.Fatal(err)
	}
	rolledBack := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		if err := changefeed.Note(t.Context(), tx, key(99)); err != nil {
			return err
		}
		return context.Canceled
	})
	if rolledBack == nil {
		t.Fatal("it committed")
	}
	mustNote(t, db, changefeed.Change{Kind: "catalog"})
	mustSync(t, f)
	mustSync(t, f2)
	if diff := cmp.Diff([]string{"reset", "api_key 1", "tenant ", "api_key 2", "catalog "}, c.all()); diff != "" {
		t.Error(diff)
	}
	f2.Close()
	if diff := cmp.Diff(append(want, changefeed.Change{Kind: "catalog"}), seen); diff != "" {
		t.Error(diff)
	}
	if len(lags) != 4 || slices.Min(lags) < 0 || slices.Max(lags) > 30*time.Second {
		t.Errorf("lags %v", lags)
	}
	if s := f.Stats(time.Now()); s.Changes != 4 || s.Resets != 1 || s.Sessions != 1 || s.Age > changefeed.Lease {
		t.Errorf("%+v", s)
	}
}

func TestNote_staysInItsScope(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	tenant := id.New[id.Tenant]()
	for name, change := range map[string]changefeed.Change{
		"another tenant's":  {Kind: "api_key", TenantID: id.New[id.Tenant]()},
		"the platform's":    {Kind: "catalog"},
		"without a purpose": {TenantID: tenant},
	} {
		err := db.InTenant(t.Context(), tenant, func(tx pg.Tx) error { return changefeed.Note(t.Context(), tx, change) })
		if err == nil {
			t.Errorf("%s is noted", name)
		}
	}
}

// The interval between polls is 250 ms: 40 changes one after the other would take 10 s without NOTIFY.
func TestFeed_notifyWakes(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	_, c := follow(t, db)
	start := time.Now()
	for n := range 40 {
		mustNote(t, db, key(n))
		for !c.has("api_key " + strconv.Itoa(n)) {
			select {
			case <-c.more:
			case <-time.After(10 * time.Second):
				t.Fatalf("change %d doesn't come", n)
			}
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("40 changes took %v", took)
	}
}

// A transaction that noted first and commits last is neither skipped nor told twice; one that is still open holds nobody up.
func TestFeed_lateCommit(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f, c := follow(t, db)
	noted, commit := make(chan struct{}), make(chan struct{})
	var late sync.WaitGroup
	late.Go(func() {
		err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
			defer close(noted)
			if err := changefeed.Note(t.Context(), tx, key(1)); err != nil {
				return err
			}
			noted <- struct{}{}
			<-commit
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-noted
	for n := 2; n <= 5; n++ {
		mustNote(t, db, key(n))
		mustSync(t, f)
	}
	want := []string{"reset", "api_key 2", "api_key 3", "api_key 4", "api_key 5"}
	if diff := cmp.Diff(want, c.all()); diff != "" {
		t.Error(diff)
	}
	close(commit)
	late.Wait()
	mustSync(t, f)
	mustNote(t, db, key(6))
	mustSync(t, f)
	if diff := cmp.Diff(append(want, "api_key 1", "api_key 6"), c.all()); diff != "" {
		t.Error(diff)
	}
}

// Many writers with transactions of any length, savepoints and rollbacks: each committed change comes exactly once.
func TestFeed_exactlyOnceUnderLoad(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f, c := follow(t, db)
	var mu sync.Mutex
	var want []string
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for n := range 40 {
				change := key(w*1000 + n)
				keep := rand.IntN(4) > 0
				err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
					nested, err := tx.Begin(t.Context())
					if err != nil {
						return err
					}
					if err := changefeed.Note(t.Context(), nested, change); err != nil {
						return err
					}
					if err := nested.Commit(t.Context()); err != nil {
						return err
					}
					if _, err := tx.Exec(t.Context(), "SELECT pg_sleep($1)", rand.Float64()*0.02); err != nil {
						return err
					}
					if !keep {
						return context.Canceled
					}
					return nil
				})
				if keep != (err == nil) {
					t.Errorf("keep %v: %v", keep, err)
				}
				if keep {
					mu.Lock()
					want = append(want, "api_key "+change.ID)
					mu.Unlock()
				}
			}
		})
	}
	writers.Wait()
	mustSync(t, f)
	got := c.all()[1:]
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFeed_generationMovesFirst(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f := changefeed.New(db, logger(t))
	var told []uint64
	f.Subscribe(func([]changefeed.Change) { told = append(told, f.Generation()) }, func() { told = append(told, f.Generation()) })
	before := f.Generation()
	f.Start(t.Context())
	f.Start(t.Context()) // does nothing
	mustSync(t, f)
	mustSync(t, f)
	mustNote(t, db, key(1))
	mustSync(t, f)
	f.Close()
	if diff := cmp.Diff([]uint64{before + 1, before + 2}, told); diff != "" {
		t.Error(diff)
	}
}

func TestFeed_tooManyChangesAreAReset(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f, c := follow(t, db)
	many := make([]changefeed.Change, 6000)
	for i := range many {
		many[i] = key(i)
	}
	mustNote(t, db, many...)
	mustSync(t, f)
	mustNote(t, db, key(7000))
	mustSync(t, f)
	if diff := cmp.Diff([]string{"reset", "reset", "api_key 7000"}, c.all()); diff != "" {
		t.Error(diff)
	}
}

func TestFeed_panickingSubscriberIsReset(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	f, c := changefeed.New(db, logger(t)), newCache()
	var panicked atomic.Bool
	f.Subscribe(func([]changefeed.Change) {
		if panicked.CompareAndSwap(false, true) {
			panic("oh")
		}
	}, func() {})
	f.Subscribe(c.apply, c.reset)
	f.Start(t.Context())
	defer f.Close()
	mustSync(t, f)
	mustNote(t, db, key(1))
	mustSync(t, f)
	mustNote(t, db, key(2))
	mustSync(t, f)
	if diff := cmp.Diff([]string{"reset", "reset", "api_key 2"}, c.all()); diff != "" {
		t.Error(diff)
	}
}

func TestFeed_terminatedBackend(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	db := open(t, urls.App)
	f, c := follow(t, db)
	mustNote(t, db, key(1))
	mustSync(t, f)
	if !as[bool](t, urls.Super, "SELECT pg_terminate_backend(("+listener+"), 5000)") {
		t.Fatal("it wasn't terminated")
	}
	mustNote(t, db, key(2)) // while nobody listens
	within(t, 10*time.Second, "a new session", func() bool { return f.Stats(time.Now()).Sessions == 2 })
	mustSync(t, f)
	mustNote(t, db, key(3))
	mustSync(t, f)
	got := c.all()
	if !slices.Equal(got[:3], []string{"reset", "api_key 1", "reset"}) && !slices.Equal(got[:4], []string{"reset", "api_key 1", "api_key 2", "reset"}) {
		t.Errorf("got %v", got)
	}
	if got[len(got)-1] != "api_key 3" {
		t.Errorf("got %v", got)
	}
}

// neverStale fails when a replica claims to be fresh more than a lease after a change that it has not applied.
func neverStale(t *testing.T, f *changefeed.Feed, committed time.Time, applied func() bool) (done func()) {
	t.Helper()
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			now := time.Now()
			if f.Fresh(now) && now.Sub(committed) > changefeed.Lease && !applied() {
				t.Errorf("fresh %v after a change that it doesn't know", now.Sub(committed))
				return
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() { close(stop); watch.Wait() }
}

// A backend that hangs tells nobody: only the lease notices. It has nothing to do with the other sessions.
func TestFeed_stoppedBackend(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	db := open(t, urls.App)
	f, c := follow(t, db)
	if !f.Fresh(time.Now()) || f.Fresh(time.Now().Add(2*changefeed.Lease)) {
		t.Fatal("the lease is wrong")
	}
	pid := as[int](t, urls.Super, listener)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	mustNote(t, db, key(1))
	committed := time.Now()
	resets := f.Stats(committed).Resets
	done := neverStale(t, f, committed, func() bool { return c.has("api_key 1") || f.Stats(time.Now()).Resets > resets })
	defer done()
	within(t, changefeed.Lease+200*time.Millisecond, "the lease's end", func() bool { return !f.Fresh(time.Now()) })
	within(t, 15*time.Second, "a new session", func() bool { return f.Fresh(time.Now()) })
	mustNote(t, db, key(2))
	mustSync(t, f)
	if !c.has("api_key 2") || f.Stats(time.Now()).Resets < 2 {
		t.Errorf("got %v", c.all())
	}
}

// The database can't be reached for a while, and says nothing about it.
func TestFeed_cutWire(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	direct := open(t, urls.App)
	address, err := url.Parse(urls.App)
	if err != nil {
		t.Fatal(err)
	}
	w := pgtest.NewWire(t, address.Host)
	address.Host = w.Address()
	f, c := follow(t, open(t, address.String()))

	w.Sever()
	mustNote(t, direct, key(1))
	committed := time.Now()
	resets := f.Stats(committed).Resets
	done := neverStale(t, f, committed, func() bool { return c.has("api_key 1") || f.Stats(time.Now()).Resets > resets })
	defer done()
	within(t, changefeed.Lease+200*time.Millisecond, "the lease's end", func() bool { return !f.Fresh(time.Now()) })
	within(t, 20*time.Second, "giving the session up", func() bool { return f.Stats(time.Now()).Age > 4*time.Second })
	if f.Fresh(time.Now()) {
		t.Error("fresh without a database")
	}
	w.Mend()
	within(t, 15*time.Second, "a new session", func() bool { return f.Fresh(time.Now()) })
	mustNote(t, direct, key(2))
	mustSync(t, f)
	if !c.has("api_key 2") {
		t.Errorf("got %v", c.all())
	}
}

// The database is stopped and started again, with the feed begun before it was there at all.
func TestFeed_restartedDatabase(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	config := embeddedpg.Config{DataDir: t.TempDir(), FastUnsafe: true}
	server := mustStart(ctx, t, config)
	m, err := migrations.Open(ctx, migrations.Options{URL: server.OwnerURL(embeddedpg.Database)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.GrantApp(ctx); err != nil {
		t.Fatal(err)
	}
	config.Port = server.Port()
	db := open(t, server.AppURL(embeddedpg.Database))
	mustStop(t, server)

	f, c := changefeed.New(db, logger(t)), newCache()
	f.Subscribe(c.apply, c.reset)
	f.Start(t.Context())
	defer f.Close()
	short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	if err := f.Sync(short); err == nil {
		t.Error("in sync without a database")
	}
	stop()
	for n := range 2 {
		server = mustStart(ctx, t, config)
		within(t, 15*time.Second, "a session", func() bool { return f.Fresh(time.Now()) })
		within(t, 15*time.Second, "a change", func() bool { return note(ctx, db, key(n)) == nil })
		mustSync(t, f)
		mustStop(t, server)
		within(t, changefeed.Lease+200*time.Millisecond, "the lease's end", func() bool { return !f.Fresh(time.Now()) })
	}
	if diff := cmp.Diff([]string{"reset", "api_key 0", "reset", "api_key 1"}, c.all()); diff != "" {
		t.Error(diff)
	}
}

func mustStart(ctx context.Context, t *testing.T, c embeddedpg.Config) *embeddedpg.Server {
	t.Helper()
	s, err := embeddedpg.Start(ctx, c)
	if err != nil {
		t.Fatalf("this test needs PostgreSQL; get it with: make deps\n(%v)", err)
	}
	t.Cleanup(func() { mustStop(t, s) })
	return s
}

func mustStop(t *testing.T, s *embeddedpg.Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestFeed_closed(t *testing.T) {
	t.Parallel()
	f := changefeed.New(pgtest.New(t), logger(t))
	if f.Fresh(time.Now()) {
		t.Error("fresh before it started")
	}
	f.Close()
	f.Start(t.Context())
	f.Close()
	if err := f.Sync(t.Context()); err == nil || f.Fresh(time.Now()) {
		t.Error("a closed feed follows")
	}
}

func TestTrimBefore(t *testing.T) {
	t.Parallel()
	urls := pgtest.CloneURLs(t)
	db := open(t, urls.App)
	mustNote(t, db, key(1), key(2), key(3))
	as[int](t, urls.Super, `WITH old AS (UPDATE change_feed SET created_at = NOW() - INTERVAL '2 hours' WHERE ref <> '2' RETURNING 1) SELECT count(*) FROM old`)
	trim := func(age time.Duration) (n int64, err error) {
		err = db.AsOperator(t.Context(), func(tx pg.Tx) error {
			n, err = changefeed.TrimBefore(t.Context(), tx, age)
			return err
		})
		return n, err
	}
	for _, want := range []int64{2, 0} {
		if n, err := trim(time.Hour); err != nil || n != want {
			t.Errorf("%d, %v", n, err)
		}
	}
	if n := as[int](t, urls.Super, "SELECT count(*) FROM change_feed WHERE ref = '2'"); n != 1 {
		t.Error("a young one is gone")
	}
	if _, err := trim(time.Minute); err == nil {
		t.Error("it may be younger than a transaction")
	}
}
