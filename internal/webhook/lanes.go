package webhook

import (
	"container/heap"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// lanes is what a replica knows of the endpoints it has to do with: how many
// requests to each are under way, and which have something due. It decides whose
// turn it is; the database decides what is sent.
//
//	resting ──due──▶ ready ──its turn──▶ asked ──as much as asked for──▶ ready, at the end of the line
//	   ▲               ▲                    │
//	   │               └── a slot is free ── waiting ◀── no slot is free
//	   └────────── less than asked for ─────┘
//
// Nothing in here must survive: what it forgets the sweep finds again.
type lanes struct {
	limits limits
	now    func() time.Time

	mu      sync.Mutex
	senders int // replicas that share an endpoint's limits
	all     map[id.Webhook]*lane
	tenants map[id.Tenant]*crowd
	flying  int           // requests under way
	slow    crowd         // of endpoints that were slow the last time
	ready   []*lane       // in turn
	later   laneHeap      // resting, by when they are due
	kick    chan struct{} // of one: there is something to ask for
}

// limits are a replica's.
type limits struct {
	all    int // requests under way
	tenant int // to endpoints of one tenant
	slow   int // to endpoints that were slow the last time: the rest is for the others
}

// crowd is lanes that share a limit: how many requests they have under way, and who
// waits for a slot.
type crowd struct {
	lanes   int // that belong to it
	flying  int
	waiting []*lane
}

const (
	// slowAfter is how long a request takes that makes its endpoint slow.
	slowAfter = time.Second
	// horizon is how far ahead lanes remember what is due. The sweep comes round sooner.
	horizon = 5 * time.Minute
	// noteEvery is how often the good health of an endpoint is written down.
	noteEvery = time.Second
)

// lane is one endpoint.
type lane struct {
	id     id.Webhook
	tenant id.Tenant
	of     *crowd // its tenant's
	cap    int    // requests under way at most; 0 while nothing is known of it
	flying int
	slow   bool
	place  spot
	again  bool      // something became due while it was asked for
	dueAt  time.Time // when it has a place in later
	at     int       // that place, or -1
	hold   time.Time // not asked for before: the receiver wants a pause
	rate   rate
	noted  time.Time // when its good health was last written down; zero while it is not known to be good
}

// spot says where a lane is, besides later.
type spot uint8

const (
	resting spot = iota
	inLine       // in ready
	asked        // the database is being asked
	waits        // for a slot: of its own, of its tenant's or of the slow ones'
)

func newLanes(l limits, now func() time.Time) *lanes {
	return &lanes{
		limits: l, now: now, senders: 1, kick: make(chan struct{}, 1),
		all: map[id.Webhook]*lane{}, tenants: map[id.Tenant]*crowd{},
	}
}

// of returns an endpoint's lane. l.mu is held, by those that call it and below.
func (l *lanes) of(endpoint id.Webhook) *lane {
	la := l.all[endpoint]
	if la == nil {
		la = &lane{id: endpoint, at: -1}
		l.all[endpoint] = la
	}
	return la
}

// learn takes over what the database says of an endpoint. Replicas divide its
// limits by their number.
func (l *lanes) learn(t target) *lane {
	la := l.of(t.ID)
	la.cap = max(1, t.MaxInFlight/l.senders)
	la.rate.set(t.RateLimit, t.RatePeriod, l.senders)
	if la.of == nil {
		la.tenant, la.of = t.TenantID, l.tenants[t.TenantID]
		if la.of == nil {
			la.of = &crowd{}
			l.tenants[t.TenantID] = la.of
		}
		la.of.lanes++
	}
	return la
}

// begin counts n requests as under way, or so many fewer again. The lane is known.
func (l *lanes) begin(la *lane, n int) {
	la.flying += n
	l.flying += n
	la.of.flying += n
	if la.slow {
		l.slow.flying += n
	}
}

// free returns how many requests to an endpoint may be begun, and whose limit it is
// that lets none through; nil is the lane's own.
func (l *lanes) free(la *lane) (n int, by *crowd) {
	own, tenant := la.cap-la.flying, l.limits.tenant-la.of.flying
	n = min(l.limits.all-l.flying, own, tenant)
	if own > 0 && tenant <= 0 {
		by = la.of
	}
	if la.slow {
		slow := l.limits.slow - l.slow.flying
		if n = min(n, slow); own > 0 && tenant > 0 && slow <= 0 {
			by = &l.slow
		}
	}
	return max(0, n), by
}

// reserve takes a slot for an event that just happened, unless older ones of the
// endpoint wait.
func (l *lanes) reserve(t target) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	la, now := l.learn(t), l.now()
	if la.place != resting || la.hold.After(now) || la.at >= 0 && !la.dueAt.After(now) {
		return false
	}
	if n, _ := l.free(la); n == 0 || la.rate.upTo(now, 1) == 0 {
		return false
	}
	la.rate.spend(now, 1)
	l.begin(la, 1)
	return true
}

// unreserve gives slots back that were not used.
func (l *lanes) unreserve(endpoint id.Webhook, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	la := l.of(endpoint)
	l.begin(la, -n)
	l.freed(la)
}

// due says that an endpoint has something to be sent, now or in a while.
func (l *lanes) due(endpoint id.Webhook, in time.Duration) {
	if in > horizon {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	la, now := l.of(endpoint), l.now()
	switch at := now.Add(max(0, in)); {
	case la.hold.After(at):
		l.remember(la, la.hold)
	case in > 0:
		l.remember(la, at)
	default:
		l.line(la)
	}
}

// line puts a lane at the end of the line, unless it is in it or waits for a slot.
func (l *lanes) line(la *lane) {
	switch la.place {
	case resting:
		la.place = inLine
		l.ready = append(l.ready, la)
		l.rouse()
	case asked:
		la.again = true
	case inLine, waits:
	}
}

// remember lets a lane come up at a time, or at an earlier one that it has already.
func (l *lanes) remember(la *lane, at time.Time) {
	switch {
	case la.at < 0:
		la.dueAt = at
		heap.Push(&l.later, la)
	case at.Before(la.dueAt):
		la.dueAt = at
		heap.Fix(&l.later, la.at)
	default:
		return
	}
	if la.at == 0 {
		l.rouse()
	}
}

func (l *lanes) rouse() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// pick takes the next lanes out of the line, to be asked for. wait is how long until
// a lane comes up by itself; negative when none will.
func (l *lanes) pick(most int) (picked []id.Webhook, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for len(l.later) > 0 && !l.later[0].dueAt.After(now) {
		la, _ := heap.Pop(&l.later).(*lane)
		l.line(la)
	}
	for len(picked) < most && len(l.ready) > 0 && l.flying < l.limits.all {
		la := l.ready[0]
		l.ready[0] = nil
		l.ready = l.ready[1:]
		la.place = resting
		if l.mayAsk(la, now) {
			la.place = asked
			picked = append(picked, la.id)
		}
	}
	wait = -1
	if len(l.later) > 0 {
		wait = l.later[0].dueAt.Sub(now)
	}
	return picked, wait
}

// mayAsk reports whether a lane whose turn it is could use an answer, and otherwise
// sees to it that it comes up again when it can. Of a lane that nothing is known of
// yet the database tells.
func (l *lanes) mayAsk(la *lane, now time.Time) bool {
	if la.cap == 0 {
		return true
	}
	n, by := l.free(la)
	switch {
	case la.hold.After(now):
		l.remember(la, la.hold)
	case n == 0 && l.flying >= l.limits.all:
		l.line(la)
	case n == 0:
		la.place = waits
		if by != nil {
			by.waiting = append(by.waiting, la)
		}
	case la.rate.upTo(now, 1) == 0:
		l.remember(la, la.rate.next(now))
	default:
		return true
	}
	return false
}

// ask is a question to the database: what is due of an endpoint, so much at most.
type ask struct {
	endpoint id.Webhook
	most     int
}

// admit takes slots for a lane that was picked; most is 0 when there is none now.
func (l *lanes) admit(t target) (a ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	la, now := l.learn(t), l.now()
	a.endpoint = t.ID
	if !l.mayAsk(la, now) {
		l.unasked(la)
		return a
	}
	n, _ := l.free(la)
	a.most = la.rate.upTo(now, n)
	l.begin(la, a.most)
	la.rate.spend(now, a.most)
	return a
}

// answer says how many an ask has brought. As many as were asked for means that
// there may be more.
func (l *lanes) answer(a ask, got int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	la := l.of(a.endpoint)
	if got < a.most {
		l.begin(la, got-a.most)
		la.rate.spend(l.now(), got-a.most)
	}
	la.again = la.again || got == a.most
	l.unasked(la)
}

// unasked ends a lane's being asked for.
func (l *lanes) unasked(la *lane) {
	if la.place == asked {
		la.place = resting
		if la.again {
			l.line(la)
		}
	}
	la.again = false
}

// rest lets a lane that was picked go without an ask, or puts it in line again.
func (l *lanes) rest(endpoint id.Webhook, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	la := l.of(endpoint)
	la.again = la.again || again
	l.unasked(la)
}

// finished says that a request ended, how long it took, and for how long the
// receiver wants a pause.
func (l *lanes) finished(endpoint id.Webhook, took, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	la := l.of(endpoint)
	l.begin(la, -1)
	if slow := took >= slowAfter; slow != la.slow {
		la.slow = slow
		if slow {
			l.slow.flying += la.flying
		} else {
			l.slow.flying -= la.flying
		}
	}
	if pause > 0 {
		la.hold = l.now().Add(pause)
	}
	l.freed(la)
}

// freed lets those come up who wait for a slot that a lane gave back.
func (l *lanes) freed(la *lane) {
	if la.place == waits {
		la.place = resting
		l.line(la)
	}
	for _, c := range []*crowd{la.of, &l.slow} {
		for len(c.waiting) > 0 {
			next := c.waiting[0]
			c.waiting[0] = nil
			c.waiting = c.waiting[1:]
			if next.place == waits { // not one that its own slot has let go
				next.place = resting
				l.line(next)
				break
			}
		}
	}
	if len(l.ready) > 0 {
		l.rouse()
	}
}

// wellNoted reports whether an endpoint's success needs no writing down: that was
// done just now, and nothing failed since.
func (l *lanes) wellNoted(endpoint id.Webhook) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(endpoint).noted.After(l.now().Add(-noteEvery))
}

// note says whether an endpoint's good health was written down just now.
func (l *lanes) note(endpoint id.Webhook, well bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if la := l.of(endpoint); well {
		la.noted = l.now()
	} else {
		la.noted = time.Time{}
	}
}

// share sets how many replicas there are.
func (l *lanes) share(senders int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.senders = max(1, senders)
}

// tidy forgets the lanes that have nothing to remember.
func (l *lanes) tidy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for endpoint, la := range l.all {
		if la.place == resting && la.flying == 0 && la.at < 0 && !la.hold.After(now) && la.rate.rested(now) &&
			la.noted.Before(now.Add(-noteEvery)) {
			delete(l.all, endpoint)
			if la.of != nil {
				if la.of.lanes--; la.of.lanes == 0 {
					delete(l.tenants, la.tenant)
				}
			}
		}
	}
}

// counts are for metrics.
func (l *lanes) counts() (flying, ready, known int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flying, len(l.ready), len(l.all)
}

// laneHeap orders lanes by when they come up.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].dueAt.Before(h[j].dueAt) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *laneHeap) Push(x any) {
	la, _ := x.(*lane)
	la.at = len(*h)
	*h = append(*h, la)
}

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	old := *h
	la := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	la.at = -1
	return la
}
