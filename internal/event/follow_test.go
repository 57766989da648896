package event

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// order is what a follower looks at.
type order struct {
	mu    sync.Mutex
	all   []arrival
	looks int
	err   error
}

func (o *order) add(tenant id.Tenant) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, arrival{tenant, o.end()})
}

// end is the place that the next event gets.
func (o *order) end() Position { return Position{XID: uint64(len(o.all)) + 10, Seq: 1} }

func (o *order) look(_ context.Context, after Position, limit int) ([]arrival, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	i := slices.IndexFunc(o.all, func(a arrival) bool { return after.Before(a.Position) })
	if i < 0 || o.err != nil {
		return nil, o.err
	}
	return o.all[i:min(i+limit, len(o.all))], nil
}

func (o *order) looked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.looks
}

func bubble(t *testing.T, test func(t *testing.T, f *follower, o *order)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &order{}
		f := newFollower(o.look, slog.New(slog.DiscardHandler))
		defer f.release()
		test(t, f, o)
	})
}

func TestFollower_wakesWhoWaits(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *follower, o *order) {
		a, b := id.New[id.Tenant](), id.New[id.Tenant]()
		o.add(a)
		from := Position{XID: 11} // behind it
		type result struct {
			of   id.Tenant
			news bool
			took time.Duration
		}
		results := make(chan result)
		began := time.Now()
		for _, tenant := range []id.Tenant{a, a, b, {}} {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), MaxWait)
				defer cancel()
				results <- result{tenant, f.wait(ctx, tenant, from), time.Since(began)}
			}()
		}
		pass(time.Second)
		if n := o.looked(); n > 11 {
			t.Errorf("%d looks in a second for four who wait", n)
		}
		o.add(a)
		for range 4 {
			r := <-results
			if want := r.of != b; r.news != want || want && r.took > time.Second+2*followEvery || !want && r.took != MaxWait {
				t.Errorf("waiter of %q: news %t after %v", r.of, r.news, r.took)
			}
		}
		synctest.Wait()
		before := o.looked()
		pass(time.Minute)
		if n := o.looked() - before; n > 1 {
			t.Errorf("%d looks while nobody waited", n)
		}
		// It begins anew with the next who waits.
		go func() { results <- result{news: f.wait(t.Context(), b, Position{XID: 12})} }()
		pass(time.Second)
		o.add(b)
		if r := <-results; !r.news {
			t.Error("the second following saw nothing")
		}
	})
}

// What this process commits is looked for at once, and many commits once.
func TestFollower_commit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *follower, o *order) {
		a := id.New[id.Tenant]()
		woken := make(chan bool)
		go func() { woken <- f.wait(t.Context(), a, Position{XID: 100}) }()
		pass(2*followEvery + followEvery/2) // between two looks
		before := o.looked()
		for range 50 {
			f.nudge()
			synctest.Wait()
		}
		pass(2 * followSoon)
		if n := o.looked() - before; n != 1 {
			t.Errorf("%d looks for 50 commits at once", n)
		}
		o.mu.Lock()
		o.all = append(o.all, arrival{a, Position{XID: 101}})
		o.mu.Unlock()
		began := time.Now()
		f.nudge()
		if ok := <-woken; !ok || time.Since(began) > followSoon {
			t.Errorf("woken: %t, after %v", ok, time.Since(began))
		}
	})
}

// Who has read less far than others have looked might wait for what has already
// been: he is sent to look again.
func TestFollower_lateJoiner(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *follower, o *order) {
		a, b := id.New[id.Tenant](), id.New[id.Tenant]()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { f.wait(ctx, b, Position{}) })
		synctest.Wait()
		o.add(a)
		pass(time.Second)
		if !f.wait(t.Context(), a, Position{}) {
			t.Error("was not sent to look again")
		}
		wg.Wait()
	})
}

func TestFollower_bounds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *follower, _ *order) {
		a := id.New[id.Tenant]()
		var wg sync.WaitGroup
		for range maxWaitingOf {
			wg.Go(func() { f.wait(t.Context(), a, Position{}) })
		}
		synctest.Wait()
		began := time.Now()
		if f.wait(t.Context(), a, Position{}) || time.Since(began) > 0 {
			t.Error("one more waited")
		}
		for range maxWaiting - maxWaitingOf {
			wg.Go(func() { f.wait(t.Context(), id.New[id.Tenant](), Position{}) })
		}
		synctest.Wait()
		if f.wait(t.Context(), id.New[id.Tenant](), Position{}) || time.Since(began) > 0 {
			t.Error("one more of another tenant waited")
		}
		f.release()
		wg.Wait()
		if f.wait(t.Context(), a, Position{}) || time.Since(began) > 0 {
			t.Error("waited after the release")
		}
	})
}

func TestFollower_databaseAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, f *follower, o *order) {
		a := id.New[id.Tenant]()
		o.mu.Lock()
		o.err = errors.New("away")
		o.mu.Unlock()
		news := make(chan bool)
		go func() { news <- f.wait(t.Context(), a, Position{}) }()
		pass(10 * time.Second)
		if n := o.looked(); n > 11 {
			t.Errorf("%d looks at a database that is away", n)
		}
		o.mu.Lock()
		o.err = nil
		o.mu.Unlock()
		o.add(a)
		if !<-news {
			t.Error("saw nothing when it was back")
		}
	})
}
