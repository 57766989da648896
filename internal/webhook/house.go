package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// sweepWidth is the most endpoints that one sweep walks over. It goes on from
	// there at the next, so a sweep is short however many there are.
	sweepWidth = 4000
	// senderGone is how long a replica may be silent before the others divide its
	// share of the limits among them.
	senderGone = 10 * time.Second
)

// keepHouse does what nobody waits for: it counts the replicas, gives back what dead
// ones had claimed, finds what is due that this replica does not know of, lets go
// what was held, and writes down how endpoints fared.
func (e *Engine) keepHouse(ctx context.Context) {
	trouble := backoff{log: e.cfg.Log, what: "sweep"}
	var from id.Webhook
	for {
		err := e.tidyUp(ctx, &from)
		if pause := trouble.after(ctx, err); !sleep(ctx, max(pause, e.cfg.Poll)) {
			return
		}
	}
}

func (e *Engine) tidyUp(ctx context.Context, from *id.Webhook) error {
	if err := e.signIn(ctx); err != nil {
		return err
	}
	if err := e.reap(ctx); err != nil {
		return err
	}
	if err := e.letGo(ctx); err != nil {
		return err
	}
	begun := e.clock.system()
	err := e.sweep(ctx, from)
	took := int64(e.clock.system().Sub(begun))
	e.stats.sweepLast.Store(took)
	if took > e.stats.sweepLongest.Load() {
		e.stats.sweepLongest.Store(took)
	}
	e.lanes.tidy()
	e.stats.sweeps.Add(1)
	return errors.Join(err, e.writeTally(ctx))
}

// signIn says that this replica sends, asks how many do, and what the time is.
func (e *Engine) signIn(ctx context.Context) error {
	asked := e.clock.system()
	var senders int
	var at time.Time
	err := e.db.AsOperator(ctx, func(tx pg.Tx) error {
		asked = e.clock.system()
		return tx.QueryRow(ctx, seeSender, e.id, senderGone).Scan(&senders, &at)
	})
	if err != nil {
		return err
	}
	e.clock.set(at, asked)
	e.lanes.share(senders)
	e.stats.senders.Store(int64(senders))
	return nil
}

// leave takes this replica off the list, for the others to take over its share.
func (e *Engine) leave(ctx context.Context) error {
	return e.db.AsOperator(ctx, func(tx pg.Tx) error {
		_, err := tx.Exec(ctx, forgetSender, e.id)
		return err
	})
}

// reap gives back what was claimed and not finished.
func (e *Engine) reap(ctx context.Context) error {
	for {
		var endpoints []id.Webhook
		err := e.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
			endpoints, err = pg.Scalars[id.Webhook](ctx, tx, reapExpired, e.clock.now(), asideSize)
			return err
		})
		if err != nil {
			return err
		}
		e.stats.reaped.Add(uint64(len(endpoints)))
		for _, endpoint := range endpoints {
			e.lanes.due(endpoint, 0)
		}
		if len(endpoints) < asideSize {
			return nil
		}
	}
}

// sweep finds endpoints with something pending.
func (e *Engine) sweep(ctx context.Context, from *id.Webhook) error {
	var found []waiting
	err := e.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		w := e.window()
		found, err = pg.Collect[waiting](ctx, tx, sweepPending, from.UUID(), sweepWidth, e.clock.now(), w.from, w.to)
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		e.lanes.due(f.Endpoint, f.DueIn)
	}
	*from = id.Webhook{}
	if len(found) == sweepWidth {
		*from = found[len(found)-1].Endpoint
	}
	return nil
}

// letGo lets deliveries go on whose tenant is not suspended any more, a piece of
// each tenant's at a time.
func (e *Engine) letGo(ctx context.Context) error {
	var held []heldTenant
	err := e.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		held, err = pg.Collect[heldTenant](ctx, tx, selectHeldTenants)
		return err
	})
	if err != nil {
		return err
	}
	for _, h := range held {
		state, why := Pending, ""
		switch h.Status {
		case "suspended":
			continue
		case "archived", "":
			state, why = Cancelled, WhyArchived
		}
		if err := e.letGoOf(ctx, h.TenantID, state, why); err != nil {
			return err
		}
	}
	return nil
}

// letGoPieces bounds what one round lets go of one tenant's.
const letGoPieces = 20

func (e *Engine) letGoOf(ctx context.Context, tenant id.Tenant, state State, why string) error {
	for range letGoPieces {
		var endpoints []id.Webhook
		err := e.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
			endpoints, err = pg.Scalars[id.Webhook](ctx, tx, releaseHeld, tenant, asideSize, string(state), why, e.clock.now())
			return err
		})
		if err != nil {
			return err
		}
		for _, endpoint := range endpoints {
			e.lanes.due(endpoint, 0)
		}
		if len(endpoints) < asideSize {
			return nil
		}
	}
	return nil
}
