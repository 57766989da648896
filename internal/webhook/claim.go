package webhook

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// claimWidth is the most endpoints that one statement claims of.
	claimWidth = 64
	// asideSize is the most deliveries that one statement sets aside or lets go.
	asideSize = 500
)

// followLanes claims what is due, of the endpoints whose turn it is.
func (e *Engine) followLanes(ctx, send context.Context) {
	trouble := backoff{log: e.cfg.Log, what: "queue"}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.lanes.kick:
		case <-timer.C:
		}
		wait := time.Duration(-1)
		for ctx.Err() == nil {
			var picked []id.Webhook
			if picked, wait = e.lanes.pick(claimWidth); len(picked) == 0 {
				break
			}
			err := e.claimPicked(ctx, send, picked)
			if pause := trouble.after(ctx, err); !sleep(ctx, pause) {
				return
			}
		}
		if wait < 0 || wait > e.cfg.Poll {
			wait = e.cfg.Poll
		}
		timer.Reset(wait)
	}
}

// claimPicked claims what is due of some endpoints, and sets aside what is pending
// for those that are not sent to.
func (e *Engine) claimPicked(ctx, send context.Context, picked []id.Webhook) error {
	var r round
	err := e.db.AsOperator(ctx, func(tx pg.Tx) error {
		r.undo(e)
		r = round{}
		return e.claimIn(ctx, tx, picked, &r)
	})
	if err != nil {
		r.undo(e)
		for _, endpoint := range picked {
			e.lanes.rest(endpoint, ctx.Err() == nil)
		}
		return err
	}
	got := map[id.Webhook]int{}
	for _, j := range r.jobs {
		got[j.EndpointID]++
	}
	e.stats.claimed.Add(uint64(len(r.jobs)))
	for _, j := range r.jobs {
		e.launch(send, j)
	}
	for _, a := range r.asks {
		e.lanes.answer(a, got[a.endpoint])
	}
	for endpoint, again := range r.resting {
		e.lanes.rest(endpoint, again)
	}
	return nil
}

// round is a claim under way.
type round struct {
	asks    []ask
	jobs    []job
	resting map[id.Webhook]bool // nothing was asked of; whether they must come up again
}

// undo gives back the slots of a transaction that did not commit.
func (r *round) undo(e *Engine) {
	for _, a := range r.asks {
		e.lanes.unreserve(a.endpoint, a.most)
	}
	*r = round{}
}

func (e *Engine) claimIn(ctx context.Context, tx pg.Tx, picked []id.Webhook, r *round) error {
	targets, err := pg.Collect[target](ctx, tx, targetsByID, picked)
	if err != nil {
		return err
	}
	r.resting = make(map[id.Webhook]bool, len(picked))
	for _, endpoint := range picked {
		r.resting[endpoint] = false
	}
	var open []target
	deleted := r.gone(targets)
	for _, t := range targets {
		if state, why := t.standing(); state != Pending {
			n, err := setAsideOf(ctx, tx, t.ID, state, why, asideSize)
			if err != nil {
				return err
			}
			r.resting[t.ID] = n == asideSize
			continue
		}
		if a := e.lanes.admit(t); a.most > 0 {
			r.asks = append(r.asks, a)
			delete(r.resting, t.ID)
			open = append(open, t)
		} else {
			delete(r.resting, t.ID)
		}
	}
	for _, endpoint := range deleted {
		n, err := setAsideOf(ctx, tx, endpoint, Cancelled, WhyDeleted, asideSize)
		if err != nil {
			return err
		}
		r.resting[endpoint] = n == asideSize
	}
	if len(r.asks) == 0 {
		return nil
	}
	routes, err := e.routes.find(ctx, tx, open)
	if err != nil {
		return err
	}
	endpoints, most := make([]id.Webhook, len(r.asks)), make([]int, len(r.asks))
	for i, a := range r.asks {
		endpoints[i], most[i] = a.endpoint, a.most
	}
	claims, err := claimDueOf(ctx, tx, endpoints, most, e.clock.now(), e.cfg.Lease, e.window())
	if err != nil {
		return err
	}
	for _, c := range claims {
		r.jobs = append(r.jobs, job{claim: c, route: routes[c.EndpointID]})
	}
	return nil
}

// gone returns the endpoints that were picked and are no more.
func (r *round) gone(found []target) (gone []id.Webhook) {
	there := map[id.Webhook]bool{}
	for _, t := range found {
		there[t.ID] = true
	}
	for endpoint := range r.resting {
		if !there[endpoint] {
			gone = append(gone, endpoint)
		}
	}
	return gone
}
