package webhook

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// MaxPiece is the most deliveries that one call recovers, replays or cancels, so that
// it stays short and can be stopped between two.
const MaxPiece = 5000

// Piece says how far a call came that works on many deliveries.
type Piece struct {
	Deliveries int
	// Through is the time of the last event that was looked at. While there are More,
	// call again with it as Since.
	Through time.Time
	More    bool
}

// Range chooses deliveries or events of an endpoint by the time of the event.
type Range struct {
	TenantID   id.Tenant
	EndpointID id.Webhook
	Since      time.Time // inclusive
	Until      time.Time // exclusive; zero: now
	Type       string    // of the event: exact, render.*, or "" for any
}

func (p *Range) validate(f *fault.Fields) {
	f.Check(p.Type == "" || ValidPattern(p.Type), "type", "pattern_malformed", "type is a type (render.completed), or a prefix (render.*).")
	f.Check(p.Until.IsZero() || p.Since.Before(p.Until), "until", "out_of_range", "until is after since.")
}

// back checks a beginning that can't lie too far back: what is older is not sent.
func (p *Range) back(f *fault.Fields, now time.Time) {
	f.Check(!p.Since.IsZero(), "since", "required", "Say since when.")
	f.Check(p.Since.IsZero() || !p.Since.Before(now.Add(-maxRecovery)), "since", "out_of_range", "since lies at most %d days back.", int(maxRecovery.Hours()/24))
}

// Recoverable lists the states that deliveries can be recovered from.
func Recoverable() []State { return []State{Failed, Skipped, Cancelled} }

// RecoverParams choose the deliveries to recover.
type RecoverParams struct {
	Range

	States []State // of Recoverable; none: Failed and Skipped
}

func (p *RecoverParams) validate(now time.Time) error {
	var f fault.Fields
	if len(p.States) == 0 {
		p.States = []State{Failed, Skipped}
	}
	for _, s := range p.States {
		f.Check(slices.Contains(Recoverable(), s), "states", "not_one_of", "states holds failed, skipped and cancelled.")
	}
	p.Range.validate(&f)
	p.back(&f, now)
	return f.Err()
}

// Recover sends again what failed or was skipped, the oldest first, at most MaxPiece
// of it. The schedule begins anew.
func (s *Service) Recover(ctx context.Context, p RecoverParams) (Piece, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Piece{}, err
	}
	if err := p.validate(s.now()); err != nil {
		return Piece{}, err
	}
	return s.inPieces(ctx, p.Range, "webhook.recovered", true, func(tx pg.Tx, _ stored) (Piece, error) {
		return pieceOf(recoverDeliveries(ctx, tx, p, s.ttl, MaxPiece))
	})
}

// Replay sends what an endpoint was never sent although it wants it now, the oldest
// first, at most MaxPiece of it: what happened before it was made, or before it wanted
// that type.
func (s *Service) Replay(ctx context.Context, p Range) (Piece, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Piece{}, err
	}
	var f fault.Fields
	p.validate(&f)
	p.back(&f, s.now())
	if err := f.Err(); err != nil {
		return Piece{}, err
	}
	return s.inPieces(ctx, p, "webhook.replayed", true, func(tx pg.Tx, e stored) (Piece, error) {
		missing, now, err := missingEvents(ctx, tx, p, e.Endpoint, MaxPiece)
		if err != nil || len(missing) == 0 {
			return Piece{}, err
		}
		drafts := make([]draft, len(missing))
		for i, m := range missing {
			drafts[i] = draft{
				id: deliveryID(m.ID, p.EndpointID), tenant: p.TenantID, endpoint: p.EndpointID, event: m.ID, eventType: m.Type, createdAt: m.CreatedAt, state: Pending,
			}
		}
		out := Piece{Through: missing[len(missing)-1].CreatedAt, More: len(missing) == MaxPiece}
		b := &pg.Batch{}
		queueDrafts(b, drafts, now, 0, s.ttl, func(inserted) { out.Deliveries++ }) // and not what another call, or the outbox, has made meanwhile
		err = pg.Send(ctx, tx, b)
		return out, err
	})
}

// Cancel gives up what waits to be sent, the oldest first, at most MaxPiece of it. A
// request that is under way is not cut.
func (s *Service) Cancel(ctx context.Context, p Range) (Piece, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Piece{}, err
	}
	var f fault.Fields
	p.validate(&f)
	if err := f.Err(); err != nil {
		return Piece{}, err
	}
	return s.inPieces(ctx, p, "webhook.cancelled", false, func(tx pg.Tx, _ stored) (Piece, error) {
		return pieceOf(cancelDeliveries(ctx, tx, p, MaxPiece))
	})
}

// pieceOf sums up the events of what a call changed.
func pieceOf(at []time.Time, err error) (Piece, error) {
	if err != nil || len(at) == 0 {
		return Piece{}, err
	}
	return Piece{Deliveries: len(at), Through: slices.MaxFunc(at, time.Time.Compare), More: len(at) == MaxPiece}, nil
}

// inPieces carries out one call that works on many deliveries, and records it if it
// did anything.
func (s *Service) inPieces(ctx context.Context, p Range, action string, sends bool, fn func(pg.Tx, stored) (Piece, error)) (Piece, error) {
	var out Piece
	err := s.writing(ctx, p.TenantID, p.EndpointID, keepStored, func(tx pg.Tx, e stored) (err error) {
		out = Piece{}
		if sends {
			if err := sendable(e.Endpoint); err != nil {
				return err
			}
		}
		if out, err = fn(tx, e); err != nil || out.Deliveries == 0 {
			return err
		}
		about := map[string]any{"deliveries": out.Deliveries, "since": p.Since, "through": out.Through}
		if p.Type != "" {
			about["type"] = p.Type
		}
		return s.record(ctx, tx, action, e.Endpoint, "", about)
	})
	return out, err
}

// sendable refuses to queue for an endpoint that is not sent to.
func sendable(e Endpoint) error {
	switch e.Status {
	case Paused:
		return fault.Conflict("webhook_paused", "The endpoint is paused: enable it first.")
	case Disabled:
		return fault.Conflict("webhook_disabled", "The endpoint is disabled: enable it first.")
	case Active:
	}
	return nil
}

// Resend sends one delivery again, now, whatever became of it. The schedule begins
// anew. One that waits for its next try is tried at once.
func (s *Service) Resend(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery) (Delivery, error) {
	return s.changeDelivery(ctx, tenant, endpoint, delivery, "webhook.resent", func(tx pg.Tx, e stored, d Delivery) (Delivery, error) {
		if err := sendable(e.Endpoint); err != nil {
			return d, err
		}
		switch {
		case d.State == Claimed:
			return d, fault.Conflict("delivery_under_way", "The delivery is being sent right now.")
		case d.CreatedAt.Before(s.now().Add(-maxRecovery)):
			return d, fault.Conflict("delivery_too_old", "It happened more than %d days ago, and is not sent any more.", int(maxRecovery.Hours()/24))
		}
		switch _, err := selectPayload(ctx, tx, d); {
		case pg.IsNoRows(err):
			return d, fault.Conflict("event_erased", "The event was erased: there is nothing to send.")
		case err != nil:
			return d, err
		}
		return resendDelivery(ctx, tx, d, s.ttl)
	})
}

// CancelOne gives up one delivery that waits to be sent.
func (s *Service) CancelOne(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery) (Delivery, error) {
	return s.changeDelivery(ctx, tenant, endpoint, delivery, "webhook.cancelled", func(tx pg.Tx, _ stored, d Delivery) (Delivery, error) {
		switch d.State {
		case Pending, Held:
			return cancelDelivery(ctx, tx, d)
		case Claimed:
			return d, fault.Conflict("delivery_under_way", "The delivery is being sent right now.")
		default:
			return d, fault.Conflict("delivery_settled", "The delivery does not wait: it is %s.", d.State)
		}
	})
}

// changeDelivery carries out one change of a delivery under its row's lock.
func (s *Service) changeDelivery(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery, action string,
	fn func(pg.Tx, stored, Delivery) (Delivery, error),
) (Delivery, error) {
	if err := access.Require(ctx, access.WebhooksWrite, tenant); err != nil {
		return Delivery{}, err
	}
	var out Delivery
	err := s.writing(ctx, tenant, endpoint, keepStored, func(tx pg.Tx, e stored) error {
		d, err := lockDelivery(ctx, tx, tenant, endpoint, delivery)
		if err != nil {
			return pg.Found(err, "delivery")
		}
		if out, err = fn(tx, e, d); err != nil {
			return err
		}
		return s.record(ctx, tx, action, e.Endpoint, "", map[string]any{
			"delivery": d.ID.String(), "event": d.EventID.String(), "type": d.EventType, "from": d.State,
		})
	})
	return out, err
}

// Test sends a test event to an endpoint, through everything that any other event goes
// through. No other endpoint is told of it.
func (s *Service) Test(ctx context.Context, tenant id.Tenant, endpoint id.Webhook) (Delivery, error) {
	if err := access.Require(ctx, access.WebhooksWrite, tenant); err != nil {
		return Delivery{}, err
	}
	var out Delivery
	err := s.writing(ctx, tenant, endpoint, keepStored, func(tx pg.Tx, e stored) error {
		if err := sendable(e.Endpoint); err != nil {
			return err
		}
		eventID := id.New[id.Event]()
		err := audit.Record(ctx, tx, audit.Event{
			ID: eventID, Action: TypeTest, TenantID: tenant, ProjectID: e.ProjectID,
			Target: audit.Target{Type: "webhook", ID: endpoint.String(), Name: e.Name},
			Data: map[string]any{
				"webhook": audit.Target{Type: "webhook", ID: endpoint.String(), Name: e.Name},
				"message": "It works: this is what events look like that are sent here.", "metadata": map[string]any{},
			},
		})
		if err != nil {
			return err
		}
		if out, err = insertTest(ctx, tx, deliveryID(eventID, endpoint), tenant, endpoint, eventID, s.ttl); err != nil {
			return err
		}
		return changefeed.Note(ctx, tx, changefeed.Change{Kind: feedKind, TenantID: tenant, ID: endpoint.UUID()})
	})
	return out, err
}

// feedKind is what the replicas are told by when an endpoint changed, or was given
// something to do.
const feedKind = "webhook"

// Apply hears what was committed, here and at other replicas: endpoints that may
// have something due. What it misses the sweep finds.
func (e *Engine) Apply(changes []changefeed.Change) {
	for _, c := range changes {
		if c.Kind != feedKind {
			continue
		}
		if endpoint, err := id.Parse[id.Webhook](c.ID); err == nil {
			e.lanes.due(endpoint, 0)
		}
	}
}

// missing is an event that an endpoint was never sent.
type missing struct {
	ID        id.Event  `db:"id"`
	Type      string    `db:"type"`
	CreatedAt time.Time `db:"created_at"`
	Now       time.Time `db:"now"`
}

// missingEvents returns what an endpoint wants and has no deliveries of, and what time
// it is.
func missingEvents(ctx context.Context, tx pg.Tx, p Range, e Endpoint, most int) (all []missing, now time.Time, err error) {
	all, err = selectMissing(ctx, tx, p, e, most)
	if len(all) > 0 {
		now = all[0].Now
	}
	return all, now, err
}

// bounds are the range's in the database, where an open end is far away.
func (p Range) bounds() (since, until time.Time) {
	return p.Since, cmp.Or(p.Until, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
}
