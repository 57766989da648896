package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Target is what an action was done to.
type Target struct {
	Type string // the noun: "tenant", "api_key"
	ID   string // its id as the API shows it
	Name string
}

// Event is one action to be recorded.
type Event struct {
	ID        id.Event   // of the record and of the outbox event; zero: a new one
	Action    string     // noun.verb in the past: "api_key.created"; also the type of the outbox event
	TenantID  id.Tenant  // zero: the platform itself
	ProjectID id.Project // zero: the tenant as a whole
	Target    Target
	Product   string // the product that did it; "" for landlord
	CRUD      string // "c", "r", "u" or "d"; "" derives it from Action
	// Description is a sentence for people, such as the reason given.
	Description string
	// Metadata is kept with the record: what changed, from what to what. It never
	// holds a secret.
	Metadata map[string]any
	// Data is the event's payload for webhooks and the events API; nil sends the
	// target and the metadata.
	Data any
}

// Record writes the audit record and the outbox event of a change, in the
// change's own transaction. Actor, source address and request come from the
// principal of ctx; without one it fails, because nothing is done by nobody.
func Record(ctx context.Context, tx pg.Tx, e Event) error { return RecordAll(ctx, tx, []Event{e}) }

// RecordAll is Record for several changes of one transaction, in one round trip.
func RecordAll(ctx context.Context, tx pg.Tx, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	b := &pg.Batch{}
	for _, e := range events {
		if err := queue(ctx, b, e); err != nil {
			return fmt.Errorf("record %s: %w", e.Action, err)
		}
	}
	if err := pg.Send(ctx, tx, b); err != nil {
		return fmt.Errorf("record %s: %w", events[0].Action, err)
	}
	pg.Mark(tx, event.Committed)
	return nil
}

// queue adds the record and the event of a change to a batch.
func queue(ctx context.Context, b *pg.Batch, e Event) error {
	who, ok := access.From(ctx)
	if !ok {
		return errors.New("no principal in the context")
	}
	if e.CRUD == "" {
		e.CRUD = crudOf(e.Action)
	}
	if e.Metadata == nil {
		e.Metadata = map[string]any{}
	}
	if e.Data == nil {
		e.Data = map[string]any{e.Target.Type: e.Target, "metadata": e.Metadata}
	}
	payload, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("encode payload: %w", err)
	}
	// What concerns no tenant is filed under the platform's own in the outbox,
	// whose key needs one; the audit log says NULL.
	owner := e.TenantID
	if owner.IsZero() {
		owner = id.InternalTenant
	}
	eventID := e.ID
	if eventID.IsZero() {
		eventID = id.New[id.Event]()
	}
	queueRecord(b, id.AuditEvent(eventID), e, who)
	event.Queue(b, event.Event{
		ID: eventID, TenantID: owner, ProjectID: e.ProjectID, Type: e.Action, Payload: payload,
		ActorType: string(who.Type), ActorID: who.ID, RequestID: who.RequestID,
	})
	return nil
}

// MarshalJSON gives a target in an event's payload.
func (t Target) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"id": t.ID, "name": t.Name, "type": t.Type})
}

func crudOf(action string) string {
	_, verb, _ := strings.Cut(action, ".")
	switch verb {
	case "created", "issued", "imported", "registered":
		return "c"
	case "deleted", "removed", "revoked", "purged":
		return "d"
	case "read", "viewed", "exported":
		return "r"
	default:
		return "u"
	}
}
