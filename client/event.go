package client

import (
	"context"
	"encoding/json"
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
