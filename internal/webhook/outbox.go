package webhook

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// pageSize is the most events that one transaction turns into deliveries.
	pageSize = 200
	// pageSpacing is the least time between two pages, so that under load a page
	// holds several events and its cost is shared: eventSpacing for each event of the
	// last page, from pageSpacing to maxSpacing. At 200 events a second it is the
	// least, from 500 on it grows to the most.
	pageSpacing  = 4 * time.Millisecond
	eventSpacing = 2 * time.Millisecond
	maxSpacing   = 20 * time.Millisecond
)

// TypeTest is the type of a test event. It goes to the endpoint it was made for and
// to no other, whatever that wants.
const TypeTest = "webhook.test"

// followOutbox turns events into deliveries, and sends those at once that may be.
func (e *Engine) followOutbox(ctx, send context.Context) {
	trouble := backoff{log: e.cfg.Log, what: "outbox"}
	for err := e.beginOutbox(ctx); err != nil; err = e.beginOutbox(ctx) {
		if !sleep(ctx, trouble.after(ctx, err)) {
			return
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		begun := e.clock.now()
		n, more, err := e.turnPage(ctx, send)
		if wait := trouble.after(ctx, err); wait > 0 {
			if !sleep(ctx, wait) {
				return
			}
			more = true
		}
		next := e.cfg.Poll
		if more {
			next = 0
		} else if !sleep(ctx, spacing(n)-e.clock.now().Sub(begun)) {
			return
		}
		timer.Reset(next)
	}
}

// spacing is the time from the begin of a page of n events to that of the next.
func spacing(n int) time.Duration {
	return min(max(pageSpacing, time.Duration(n)*eventSpacing), maxSpacing)
}

// beginOutbox makes sure that the place in the outbox is one of this server's.
func (e *Engine) beginOutbox(ctx context.Context) error {
	restored := false
	err := e.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		restored, err = restart(ctx, tx)
		return err
	})
	if restored {
		e.cfg.Log.WarnContext(ctx, "the database was restored from another server's: webhooks go on from the present")
	}
	return err
}

// turnPage turns the next n events of the outbox into deliveries; more says that there
// may be more. What may be sent at once is inserted as claimed, which spares the queue
// two writes and the receiver a wait.
func (e *Engine) turnPage(ctx, send context.Context) (n int, more bool, err error) {
	var t turn
	err = e.db.AsOperator(ctx, func(tx pg.Tx) error {
		t.undo(e)
		t = turn{}
		return e.turnIn(ctx, tx, &t)
	})
	if err != nil {
		t.undo(e)
		return 0, false, err
	}
	t.settle(e)
	for _, j := range t.jobs {
		e.launch(send, j)
	}
	for endpoint := range t.queued {
		e.lanes.due(endpoint, 0)
	}
	n = len(t.piece.events)
	e.stats.events.Add(uint64(n))
	if t.elsewhere && !sleep(ctx, pageSpacing) { // who turns a page may not have seen what this replica was woken for
		return 0, false, nil
	}
	return n, t.elsewhere || n == pageSize, nil
}

// turn is a page on its way into deliveries.
type turn struct {
	piece     piece
	elsewhere bool // another replica is at it
	drafts    []draft
	jobs      []job
	reserved  map[id.Webhook]int // slots taken and not used yet
	queued    map[id.Webhook]bool
}

// undo gives back the slots of a transaction that did not commit.
func (t *turn) undo(e *Engine) {
	for endpoint, n := range t.reserved {
		e.lanes.unreserve(endpoint, n)
	}
	*t = turn{}
}

// settle counts, and gives back the slots of what turned out to be there already.
func (t *turn) settle(e *Engine) {
	for _, j := range t.jobs {
		t.reserved[j.EndpointID]--
	}
	for endpoint, n := range t.reserved {
		if n > 0 {
			e.lanes.unreserve(endpoint, n)
		}
	}
	e.stats.deliveries.Add(uint64(len(t.drafts)))
	for _, d := range t.drafts {
		switch d.state {
		case Skipped:
			e.stats.skipped.Add(1)
		case Held:
			e.stats.held.Add(1)
		default:
		}
	}
}

func (e *Engine) turnIn(ctx context.Context, tx pg.Tx, t *turn) (err error) {
	var mine bool
	if t.piece, mine, err = nextPage(ctx, tx, pageSize, e.window()); err != nil {
		return err
	}
	if !mine || len(t.piece.events) == 0 && !t.piece.midway {
		t.piece.events, t.elsewhere = nil, !mine
		return nil
	}
	targets, err := e.targetsOf(ctx, tx, t.piece.events)
	if err != nil {
		return err
	}
	t.reserved, t.queued = map[id.Webhook]int{}, map[id.Webhook]bool{}
	byID := map[id.Delivery]int{}
	for i, h := range t.piece.events {
		for _, to := range targets[h.TenantID] {
			d, ok := e.draftFor(h, to)
			if !ok {
				continue
			}
			switch d.state {
			case Claimed:
				t.reserved[to.ID]++
				byID[d.id] = i
			case Pending:
				t.queued[to.ID] = true
			default:
			}
			t.drafts = append(t.drafts, d)
		}
	}
	routes, err := e.routesOf(ctx, tx, targets, t.reserved)
	if err != nil {
		return err
	}
	now := e.clock.now()
	b := &pg.Batch{}
	if len(t.drafts) > 0 {
		endpoints := map[id.Delivery]id.Webhook{}
		for _, d := range t.drafts {
			endpoints[d.id] = d.endpoint
		}
		queueDrafts(b, t.drafts, now, e.cfg.Lease, e.cfg.TTL, func(r inserted) {
			if r.ClaimedUntil == nil {
				return
			}
			h := t.piece.events[byID[r.ID]]
			t.jobs = append(t.jobs, job{
				claim: claim{
					ID: r.ID, TenantID: h.TenantID, EndpointID: endpoints[r.ID], EventID: h.ID, EventType: h.Type,
					ClaimedUntil: *r.ClaimedUntil, ExpiresAt: r.ExpiresAt, CreatedAt: h.CreatedAt, Payload: h.Payload,
				},
				route: routes[endpoints[r.ID]],
			})
		})
	}
	queueAdvance(b, t.piece, pageSize)
	return pg.Send(ctx, tx, b)
}

// draftFor says what becomes of an event at an endpoint; ok is false for nothing.
func (e *Engine) draftFor(h happening, to target) (d draft, ok bool) {
	if h.Type == TypeTest || !to.ProjectID.IsZero() && to.ProjectID != h.ProjectID || !Match(to.Events, h.Type) {
		return d, false
	}
	d = draft{
		id: deliveryID(h.ID, to.ID), tenant: h.TenantID, endpoint: to.ID, event: h.ID, eventType: h.Type, createdAt: h.CreatedAt,
	}
	switch standing, why := to.standing(); {
	case standing == Cancelled:
		return d, false
	case standing != Pending:
		d.state, d.reason = standing, why
	case e.lanes.reserve(to):
		d.state = Claimed
	default:
		d.state = Pending
	}
	return d, true
}

// standing says what becomes of deliveries to an endpoint now: Pending when they may
// be sent, else where they are put, and why.
func (t target) standing() (State, string) {
	switch {
	case t.TenantStatus == "archived" || t.TenantStatus == "":
		return Cancelled, WhyArchived
	case t.Status == Paused:
		return Skipped, WhyPaused
	case t.Status == Disabled:
		return Skipped, WhyDisabled
	case t.TenantStatus == "suspended":
		return Held, WhySuspended
	default:
		return Pending, ""
	}
}

// targetsOf reads the endpoints of those tenants of a page that have any.
func (e *Engine) targetsOf(ctx context.Context, tx pg.Tx, events []happening) (map[id.Tenant][]target, error) {
	var tenants []id.Tenant
	seen := map[id.Tenant]bool{}
	for _, h := range events {
		if h.Payload != nil && !seen[h.TenantID] {
			seen[h.TenantID] = true
			tenants = append(tenants, h.TenantID)
		}
	}
	if len(tenants) == 0 {
		return nil, nil
	}
	all, err := pg.Collect[target](ctx, tx, targetsOfTenants, tenants)
	if err != nil {
		return nil, err
	}
	by := make(map[id.Tenant][]target, len(tenants))
	for _, t := range all {
		by[t.TenantID] = append(by[t.TenantID], t)
	}
	return by, nil
}

// routesOf finds how the endpoints with a reserved slot are sent to.
func (e *Engine) routesOf(ctx context.Context, tx pg.Tx, targets map[id.Tenant][]target, reserved map[id.Webhook]int) (map[id.Webhook]*route, error) {
	var wanted []target
	for _, of := range targets {
		for _, t := range of {
			if reserved[t.ID] > 0 {
				wanted = append(wanted, t)
			}
		}
	}
	return e.routes.find(ctx, tx, wanted)
}

// mixed makes an id of two: its time is the event's, so that ids grow, and the rest
// is a digest of both, so that the same two give the same id (UUIDv8).
func mixed(e id.Event, endpoint id.Webhook) (d id.Delivery) {
	sum := sha256.Sum256(slices.Concat(e[:], endpoint[:]))
	copy(d[:6], e[:6])
	copy(d[6:], sum[:10])
	d[6] = d[6]&0x0f | 0x80
	d[8] = d[8]&0x3f | 0x80
	return d
}
