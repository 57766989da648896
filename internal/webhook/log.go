package webhook

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// States lists the states of a delivery.
func States() []State {
	return []State{Pending, Claimed, Held, Delivered, Failed, Skipped, Cancelled}
}

// DeliveryFilter narrows the log of an endpoint.
type DeliveryFilter struct {
	TenantID   id.Tenant
	EndpointID id.Webhook
	State      State      // "": any
	Type       string     // of the event: exact, render.* or "" for any
	Since      *time.Time // of the event, inclusive
	Until      *time.Time // exclusive
	Page       page.Request
}

func (p DeliveryFilter) validate() error {
	var f fault.Fields
	f.Check(p.State == "" || slices.Contains(States(), p.State), "state", "not_one_of",
		"state is pending, claimed, held, delivered, failed, skipped or cancelled.")
	f.Check(p.Type == "" || ValidPattern(p.Type), "type", "pattern_malformed", "type is a type (render.completed), or a prefix (render.*).")
	f.Check(p.Since == nil || p.Until == nil || p.Since.Before(*p.Until), "until", "out_of_range", "until is after since.")
	if err := f.Err(); err != nil {
		return err
	}
	return p.Page.Validate()
}

// place in the log, newest first.
type deliveryKey struct {
	At time.Time   `json:"t"`
	ID id.Delivery `json:"i"`
}

const deliveryList = "webhook_deliveries"

// Deliveries returns the log of an endpoint, the newest event first. Of an endpoint
// that was deleted it can still be read.
func (s *Service) Deliveries(ctx context.Context, f DeliveryFilter) (page.Page[Delivery], error) {
	var none page.Page[Delivery]
	if err := f.validate(); err != nil {
		return none, err
	}
	before, resumed, err := page.Decode[deliveryKey](deliveryList, f.Page.Cursor)
	if err != nil {
		return none, err
	}
	var rows []Delivery
	err = s.read(ctx, f.TenantID, func(tx pg.Tx) (err error) {
		if rows, err = listDeliveries(ctx, tx, f, before, resumed); err != nil || len(rows) > 0 {
			return err
		}
		_, err = selectStored(ctx, tx, f.TenantID, f.EndpointID) // none, or no such endpoint
		return found(err)
	})
	if err != nil {
		return none, err
	}
	return page.Of(deliveryList, f.Page, rows, func(d Delivery) deliveryKey { return deliveryKey{d.CreatedAt, d.ID} }), nil
}

// Entry is a delivery with what was sent and each try of it.
type Entry struct {
	Delivery

	Payload  json.RawMessage // the body of each try is made from it; nil when the event was erased
	Attempts []Attempt       // oldest first
}

// maxAttempts is how many tries of a delivery are shown: the latest.
const maxAttempts = 100

// Delivery returns an entry of the log of an endpoint.
func (s *Service) Delivery(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery) (Entry, error) {
	var e Entry
	err := s.read(ctx, tenant, func(tx pg.Tx) (err error) {
		if e.Delivery, err = selectDelivery(ctx, tx, tenant, endpoint, delivery); err != nil {
			return pg.Found(err, "delivery")
		}
		if e.Payload, err = selectPayload(ctx, tx, e.Delivery); err != nil && !pg.IsNoRows(err) {
			return err
		}
		e.Attempts, err = listAttempts(ctx, tx, tenant, delivery)
		return err
	})
	return e, err
}
