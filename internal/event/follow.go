package event

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

const (
	// followEvery is how often the order is looked at while somebody waits, and
	// followSoon how soon after a commit of this process.
	followEvery = 100 * time.Millisecond
	followSoon  = 5 * time.Millisecond
	// followRetry is how long a look that failed is not repeated.
	followRetry = time.Second
	// followBatch is the most events of one look.
	followBatch = 5000
	// maxWaiting bounds how many may wait on a replica; maxWaitingOf how many for
	// one tenant. Who comes beyond gets his empty page at once.
	maxWaiting   = 2000
	maxWaitingOf = 50
)

// follower wakes readers who wait for events. While anybody waits, one goroutine
// reads whose events have settled, for all of them: a thousand that wait cost the
// database what one does.
type follower struct {
	look      func(ctx context.Context, after Position, limit int) ([]arrival, error)
	log       *slog.Logger
	committed chan struct{} // of one

	mu      sync.Mutex
	waiting map[id.Tenant]map[chan struct{}]struct{} // the zero tenant: who waits for anybody's
	count   int
	at      Position // looked up to; what lies behind wakes its waiters
	stop    context.CancelFunc
	closed  bool
	wg      sync.WaitGroup
}

func newFollower(look func(context.Context, Position, int) ([]arrival, error), log *slog.Logger) *follower {
	return &follower{look: look, log: log, committed: make(chan struct{}, 1), waiting: map[id.Tenant]map[chan struct{}]struct{}{}}
}

// wait returns true when there may be something behind a place that was read up
// to, and false when ctx is over or there is nobody to wait with.
func (f *follower) wait(ctx context.Context, tenant id.Tenant, from Position) bool {
	woken, ok := f.join(ctx, tenant, from)
	if !ok {
		return false
	}
	if woken == nil {
		return ctx.Err() == nil
	}
	select {
	case <-woken:
		return ctx.Err() == nil && !f.isClosed()
	case <-ctx.Done():
		f.leave(tenant, woken)
		return false
	}
}

// join adds a waiter. A nil channel says that others have looked further than he
// has read, so that he has to look again himself.
func (f *follower) join(ctx context.Context, tenant id.Tenant, from Position) (woken chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed || f.count >= maxWaiting || len(f.waiting[tenant]) >= maxWaitingOf:
		return nil, false
	case f.stop == nil:
		f.at = from
		// The waiter starts it; it ends when nobody waits, or with Close.
		run, stop := context.WithCancel(context.WithoutCancel(ctx))
		f.stop = stop
		f.wg.Go(func() { f.run(run) })
	case from.Before(f.at):
		return nil, true
	}
	woken = make(chan struct{})
	if f.waiting[tenant] == nil {
		f.waiting[tenant] = map[chan struct{}]struct{}{}
	}
	f.waiting[tenant][woken] = struct{}{}
	f.count++
	return woken, true
}

func (f *follower) leave(tenant id.Tenant, woken chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.waiting[tenant][woken]; !there {
		return // woken at the last moment
	}
	delete(f.waiting[tenant], woken)
	if len(f.waiting[tenant]) == 0 {
		delete(f.waiting, tenant)
	}
	f.count--
}

// wake wakes those who wait for events of a tenant. f.mu is held.
func (f *follower) wake(tenant id.Tenant) {
	for woken := range f.waiting[tenant] {
		close(woken)
		f.count--
	}
	delete(f.waiting, tenant)
}

// run looks until nobody waits.
func (f *follower) run(ctx context.Context) {
	timer := time.NewTimer(followEvery)
	defer timer.Stop()
	for failures, soon := 0, false; ; {
		select {
		case <-ctx.Done():
			return
		case <-f.committed:
			if !soon && failures == 0 { // many that come together are one look
				soon = true
				timer.Reset(followSoon)
			}
			continue
		case <-timer.C:
			soon = false
		}
		from, idle := f.place()
		if idle {
			return
		}
		pause := followEvery
		found, err := f.look(ctx, from, followBatch)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures++; failures == 1 { // once an outage, not once a look
				f.log.Warn("waiting for events failed", "error", err)
			}
			pause = followRetry
		default:
			failures = 0
			f.tell(found)
			if len(found) == followBatch {
				pause = 0
			}
		}
		timer.Reset(pause)
	}
}

// nudge says that this process committed events. It never blocks.
func (f *follower) nudge() {
	select {
	case f.committed <- struct{}{}:
	default:
	}
}

// place returns where to look on, or ends the following when nobody waits.
func (f *follower) place() (from Position, idle bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		f.stop()
		f.stop = nil
		return from, true
	}
	return f.at, false
}

func (f *follower) tell(found []arrival) {
	if len(found) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range found {
		f.wake(a.TenantID)
	}
	f.wake(id.Tenant{})
	f.at = found[len(found)-1].Position
}

func (f *follower) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// release lets all go who wait, and nobody wait any more.
func (f *follower) release() {
	f.mu.Lock()
	if f.stop != nil {
		f.stop()
	}
	f.closed = true
	for tenant := range f.waiting {
		f.wake(tenant)
	}
	f.mu.Unlock()
	f.wg.Wait()
}
