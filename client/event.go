package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// Event is something that happened.
type Event struct {
	ID         string          `json:"id"`         // the same wherever the event turns up: a webhook's webhook-id
	TenantID   string          `json:"tenant_id"`  // the internal tenant: the platform
	ProjectID  string          `json:"project_id"` // "": the tenant as a whole
	Type       string          `json:"type"`       // noun.verb: "render.completed"
	Payload    json.RawMessage `json:"payload"`    // an object
	Actor      *EventActor     `json:"actor"`
	RequestID  string          `json:"request_id"`
	OccurredAt time.Time       `json:"occurred_at"` // by its publisher
	CreatedAt  time.Time       `json:"created_at"`  // when it was written
}

// EventActor is who did something.
type EventActor struct {
	Type string `json:"type"` // user, service, api_key or system
	ID   string `json:"id"`
}

// EventPage is a piece of the order of events.
type EventPage struct {
	Data []Event `json:"data"`
	// NextCursor is where to read on. It is always there, and moves on even when
	// Data is empty: keep it.
	NextCursor string `json:"next_cursor"`
	HasMore    bool   `json:"has_more"` // whether there is more to read already
}

// EventFilter chooses events; zero fields choose any.
type EventFilter struct {
	Tenant    string // id, UUID or slug:NAME: this tenant's; "": the whole platform's
	Type      string // exact, or a prefix that ends in ".*": "render.*"
	ProjectID string
	Since     time.Time     // written at this instant or later; without a Cursor, reading begins there
	Latest    bool          // begin with what comes from now on, instead of a Cursor
	Wait      time.Duration // how long to wait for an event when there is none; whole seconds, at most 20
	ListOptions
}

// Events are the operations on what happened.
type Events struct{ c *Client }

// List returns the events that follow the filter's Cursor, in the order that all
// readers share. An error with the code cursor_expired says that some of them are
// not kept any more.
func (s *Events) List(ctx context.Context, f EventFilter) (*EventPage, error) {
	q := f.query()
	set(q, "type", f.Type)
	set(q, "project_id", f.ProjectID)
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Latest {
		q.Set("after", "latest")
	}
	if f.Wait > 0 {
		q.Set("wait", strconv.Itoa(int(f.Wait.Seconds())))
	}
	p := &EventPage{}
	return result(p, s.c.do(ctx, request{method: http.MethodGet, path: eventsPath(f.Tenant), query: q, out: p}))
}

// All walks the events that there are; it ends where List says that there is no
// more. See Follow for those that are to come.
func (s *Events) All(ctx context.Context, f EventFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			p, err := s.List(ctx, f)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range p.Data {
				if !yield(e, nil) {
					return
				}
			}
			if f.Cursor, f.Latest = p.NextCursor, false; !p.HasMore {
				return
			}
		}
	}
}

// Follow walks the pages of events for ever: those that there are, and then those
// that come, as they come. Keep a page's NextCursor once its events are dealt with,
// and give it back as the filter's Cursor to go on after a restart.
//
// An error does not end it: who goes on has the call repeated after a second, which
// helps while the server is away and not when the code is cursor_expired. It ends
// with ctx.
func (s *Events) Follow(ctx context.Context, f EventFilter) iter.Seq2[*EventPage, error] {
	return func(yield func(*EventPage, error) bool) {
		if f.Wait == 0 {
			f.Wait = 20 * time.Second
		}
		for {
			asked := time.Now()
			p, err := s.List(ctx, f)
			if ctx.Err() != nil || !yield(result(p, err)) {
				return
			}
			if err == nil {
				f.Cursor, f.Latest = p.NextCursor, false
				if len(p.Data) > 0 || p.HasMore || time.Since(asked) > time.Second {
					continue
				}
			}
			// A server that is away, or lets nobody wait, is not to be asked all the time.
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// NewEvent is an event to publish. Only Type is required.
type NewEvent struct {
	// ID is your name for the event: an event_… or a UUID. Published again, it is
	// stored once. Publish makes one where there is none.
	ID         string    `json:"id,omitempty"`
	Type       string    `json:"type"`              // of the catalogue
	Payload    any       `json:"payload,omitempty"` // an object, after the type's schema: at most 256 KiB
	ProjectID  string    `json:"project_id,omitempty"`
	OccurredAt time.Time `json:"occurred_at,omitzero"` // zero: now
}

// PublishedEvents is what became of the events of a call.
type PublishedEvents struct {
	Published  int              `json:"published"`
	Duplicates int              `json:"duplicates"` // stored before, as they are
	Refused    int              `json:"refused"`
	Results    []PublishedEvent `json:"results"` // one for each event, in their order
}

// PublishedEvent is what became of one event.
type PublishedEvent struct {
	ID        string       `json:"id"`
	Outcome   string       `json:"outcome"`    // published, duplicate or refused
	CreatedAt *time.Time   `json:"created_at"` // when the stored event was written
	Errors    []FieldError `json:"errors"`     // why it was refused
}

// Publish stores 1 to 500 events of a tenant, in one transaction and in their
// order. Look at Refused: one that is refused keeps the others from nothing, and
// only when all are is that an error. Events without an ID are given one, in place,
// so that the call can be repeated, by the client and by you.
func (s *Events) Publish(ctx context.Context, tenant string, events ...NewEvent) (*PublishedEvents, error) {
	for i := range events {
		if events[i].ID == "" {
			events[i].ID = newUUID()
		}
	}
	out := &PublishedEvents{}
	body := struct {
		Events []NewEvent `json:"events"`
	}{events}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: eventsPath(tenant), body: body, out: out, repeats: true}))
}

// EraseEvents says which events of a tenant to delete.
type EraseEvents struct {
	Before time.Time `json:"before,omitzero"` // written before; zero: all there are
	Reason string    `json:"reason,omitempty"`
	DryRun bool      `json:"dry_run,omitempty"` // only tell
}

// ErasedEvents is what an erasure deleted, or would.
type ErasedEvents struct {
	DryRun  bool       `json:"dry_run"`
	Before  time.Time  `json:"before"`   // what was written before is meant
	Events  int64      `json:"events"`   // deleted by this call; of a dry run, those there are, up to 1,000,000
	HasMore bool       `json:"has_more"` // there may be more
	Oldest  *time.Time `json:"oldest"`   // of those that a dry run counted, the oldest there are
	Newest  *time.Time `json:"newest"`
}

// Erase deletes events of a tenant for good, the oldest first, 10,000 a call.
// While the answer has more, call again with its Before.
func (s *Events) Erase(ctx context.Context, tenant string, in EraseEvents) (*ErasedEvents, error) {
	out := &ErasedEvents{}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: path("tenants", tenant, "events", "erase"), body: in, out: out}))
}

// EventRetention is what is kept of events, month by month, the oldest first.
type EventRetention struct {
	Months []KeptMonth `json:"months"`
}

// KeptMonth is a month of a table that is kept for a time.
type KeptMonth struct {
	Table   string     `json:"table"`
	Month   string     `json:"month"` // 2026-11
	Rows    int64      `json:"rows"`  // about
	Bytes   int64      `json:"bytes"`
	DropsAt *time.Time `json:"drops_at"` // nil: never
	OnHold  bool       `json:"on_hold"`  // stays longer, for a tenant under legal hold
}

// Retention tells what is kept, and when it is dropped.
func (s *Events) Retention(ctx context.Context) (*EventRetention, error) {
	out := &EventRetention{}
	return result(out, s.c.do(ctx, request{method: http.MethodGet, path: path("events", "retention"), out: out}))
}

// newUUID makes a random UUID (RFC 9562, version 7: ids that are made one after
// the other lie beside each other in an index).
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	ms := time.Now().UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Get returns one event of a tenant.
func (s *Events) Get(ctx context.Context, tenant, id string) (*Event, error) {
	e := &Event{}
	return result(e, s.c.do(ctx, request{method: http.MethodGet, path: path("tenants", tenant, "events", id), out: e}))
}

// eventsPath is where a tenant's events are, or everybody's.
func eventsPath(tenant string) string {
	if tenant == "" {
		return path("events")
	}
	return path("tenants", tenant, "events")
}
