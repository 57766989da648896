package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
)

// Event is something that happened.
type Event struct {
	ID         id.Event    `json:"id" example:"event_01jd3q8v6ze3nbq2m5xk7c9w4t" doc:"The same wherever the event turns up; a webhook carries it as webhook-id."`
	TenantID   id.Tenant   `json:"tenant_id" doc:"Whom it concerns; the internal tenant: the platform."`
	ProjectID  id.Project  `json:"project_id,omitzero"`
	Type       string      `json:"type" example:"render.completed" doc:"noun.verb in the past tense."`
	Payload    JSONObject  `json:"payload" doc:"What there is to say about it; the type's schema is in the catalogue."`
	Actor      *EventActor `json:"actor,omitempty" doc:"Who did it."`
	RequestID  string      `json:"request_id,omitempty" doc:"The request that it came with."`
	OccurredAt time.Time   `json:"occurred_at" doc:"When it happened, by its publisher."`
	CreatedAt  time.Time   `json:"created_at" doc:"When it was written."`
}

// EventActor is who did something.
type EventActor struct {
	Type string `json:"type" example:"user" doc:"user, service, api_key or system."`
	ID   string `json:"id,omitempty" example:"operator_01jd3q8v6ze3nbq2m5xk7c9w4t"`
}

// JSONObject is an object whose text is kept as it came, numbers of any size
// included.
type JSONObject json.RawMessage

// MarshalJSON implements json.Marshaler.
func (o JSONObject) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (o *JSONObject) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(o).UnmarshalJSON(b) }

// Schema implements huma.SchemaProvider.
func (JSONObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

func eventOf(e event.Event) Event {
	out := Event{
		ID: e.ID, TenantID: e.TenantID, ProjectID: e.ProjectID, Type: e.Type, Payload: JSONObject(e.Payload),
		RequestID: e.RequestID, OccurredAt: e.OccurredAt.UTC(), CreatedAt: e.CreatedAt.UTC(),
	}
	if e.ActorType != "" {
		out.Actor = &EventActor{Type: e.ActorType, ID: e.ActorID}
	}
	return out
}

// EventPage is a piece of the order of events.
type EventPage struct {
	Data       []Event `json:"data" doc:"In order, the oldest first; perhaps none."`
	NextCursor string  `json:"next_cursor" doc:"Where to read on. Always there, and to be used even when data is empty."`
	HasMore    bool    `json:"has_more" doc:"Whether there is more to read already; else what comes next has yet to happen."`
}

func eventPageOf(s event.Stream) *plain[EventPage] {
	out := EventPage{Data: make([]Event, len(s.Data)), NextCursor: s.Next, HasMore: s.More}
	for i, e := range s.Data {
		out.Data[i] = eventOf(e)
	}
	return &plain[EventPage]{out}
}

// EventQuery is embedded by the input of both lists.
type EventQuery struct {
	PageQuery
	Type      string     `query:"type" maxLength:"100" example:"render.*" doc:"Exactly this type, or, ending in .*, those that begin so."`
	ProjectID id.Project `query:"project_id"`
	Since     time.Time  `query:"since" doc:"Written at this instant or later. Without a cursor, reading begins there."`
	After     string     `query:"after" enum:"latest" doc:"latest: begin with what comes from now on, instead of with the oldest event that is kept."`
	Wait      int        `query:"wait" minimum:"0" maximum:"20" default:"0" doc:"Seconds to wait for an event when there is none. A server that stops, or that many wait on, answers sooner."`
}

func (q EventQuery) params() event.ReadParams {
	return event.ReadParams{
		Filter: event.Filter{Type: q.Type, ProjectID: q.ProjectID, Since: q.Since},
		Limit:  q.Limit, Cursor: q.Cursor, Latest: q.After == "latest", Wait: time.Duration(q.Wait) * time.Second,
	}
}

// maxPublishBody is the largest body of a publication.
const maxPublishBody = 8 << 20

func (a *API) eventRoutes() {
	const tag = "Events"
	const reading = "In the order of the transactions that wrote them, which is the same for every reader. Nothing is skipped: an event is shown once no earlier one " +
		"can still be written, mostly within milliseconds. Keep next_cursor, and nothing else, to read on after a restart; pages may be empty, when the filter leaves out " +
		"all that they went through. 409 cursor_expired when what lies behind the cursor is not kept any more."
	route(a, op{
		ID: "list-events", Method: "GET", Path: "/v1/events", Tag: tag, Summary: "Read what happened, across the platform", Wait: event.MaxWait,
		Description: reading + " Only for the platform's own credentials.", Errors: []int{409},
	}, a.listEvents)
	route(a, op{
		ID: "list-tenant-events", Method: "GET", Path: "/v1/tenants/{tenant}/events", Tag: tag, Summary: "Read what happened to a tenant", Wait: event.MaxWait,
		Description: reading + " The tenants below it have events of their own.", Errors: []int{409},
	}, a.listTenantEvents)
	route(a, op{
		ID: "publish-events", Method: "POST", Path: "/v1/tenants/{tenant}/events", Tag: tag, Creates: true, Uncached: true, MaxBody: maxPublishBody, Summary: "Publish events",
		Description: "What a product has to tell a tenant: 1 to 500 events, in one transaction and in their order; a body of at most 8 MiB. Each has a result of its own, " +
			"and those that are refused keep the others from nothing. An event with an id of yours is stored once, however often it is published: with the same content " +
			"it answers duplicate, with another one event_id_reused. Landlord's own types can't be published. A tenant that is frozen or suspended takes events of the platform's products only.",
	}, a.publishEvents)
	route(a, op{
		ID: "erase-events", Method: "POST", Path: "/v1/tenants/{tenant}/events/erase", Tag: tag, Summary: "Erase a tenant's events",
		Description: "Deletes them for good, the oldest first, 10,000 a call: repeat it, with the before of the answer, while has_more. With dry_run it only tells how many " +
			"there are. Webhooks that were still to tell of them give up; the audit log is not touched. 409 tenant_on_hold under legal hold. Only for the platform's own credentials.",
		Errors: []int{409},
	}, a.eraseEvents)
	route(a, op{
		ID: "get-event-retention", Method: "GET", Path: "/v1/events/retention", Tag: tag, Summary: "See what is kept of events, and until when",
		Description: "Events, the deliveries of webhooks and the tries of those are kept by month, and dropped by month when they are older than the server is told to keep them. " +
			"A month with something of a tenant under legal hold stays.",
	}, a.getEventRetention)
	route(a, op{ID: "get-tenant-event", Method: "GET", Path: "/v1/tenants/{tenant}/events/{event}", Tag: tag, Summary: "Get one event"}, a.getTenantEvent)
}

type listEventsInput struct{ EventQuery }

func (a *API) listEvents(ctx context.Context, in *listEventsInput) (*plain[EventPage], error) {
	s, err := a.s.Events.List(ctx, in.params())
	if err != nil {
		return nil, err
	}
	return eventPageOf(s), nil
}

type listTenantEventsInput struct {
	TenantPath
	EventQuery
}

func (a *API) listTenantEvents(ctx context.Context, in *listTenantEventsInput) (*plain[EventPage], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	s, err := a.s.Events.ListOf(ctx, tenant, in.params())
	if err != nil {
		return nil, err
	}
	return eventPageOf(s), nil
}

// NewEvent is an event that a product publishes.
type NewEvent struct {
	ID         id.Event   `json:"id,omitzero" doc:"Your name for this event, an event_… or a UUID: published again, it is stored once. Left out, each call makes another event."`
	Type       string     `json:"type" minLength:"1" maxLength:"100" example:"render.completed" doc:"A type of the catalogue."`
	Payload    JSONObject `json:"payload,omitempty" doc:"What there is to say about it, after the type's schema: at most 256 KiB."`
	ProjectID  id.Project `json:"project_id,omitzero" doc:"A project of the tenant."`
	OccurredAt time.Time  `json:"occurred_at,omitzero" doc:"When it happened; left out: now."`
}

// PublishEvents are the events of a call.
type PublishEvents struct {
	Events []NewEvent `json:"events" minItems:"1" maxItems:"500"`
}

// PublishedEvents is what became of the events of a call.
type PublishedEvents struct {
	Published  int              `json:"published" doc:"How many were stored."`
	Duplicates int              `json:"duplicates" doc:"How many were stored before, as they are."`
	Refused    int              `json:"refused" doc:"How many were not taken; errors says why. When all are, that is the answer: 422 or 409."`
	Results    []PublishedEvent `json:"results" doc:"One for each event, in their order."`
}

// PublishedEvent is what became of one event.
type PublishedEvent struct {
	ID        id.Event       `json:"id,omitzero" example:"event_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Outcome   string         `json:"outcome" enum:"published,duplicate,refused"`
	CreatedAt *time.Time     `json:"created_at,omitempty" doc:"When the stored event was written."`
	Errors    []ProblemField `json:"errors,omitempty" doc:"Why it was refused."`
}

func publishedOf(results []event.Result) PublishedEvents {
	var out PublishedEvents
	for _, r := range results {
		one := PublishedEvent{ID: r.ID, Outcome: string(r.Outcome)}
		switch r.Outcome {
		case event.Published:
			out.Published++
		case event.Duplicate:
			out.Duplicates++
		case event.Refused:
			out.Refused++
		}
		if !r.CreatedAt.IsZero() {
			one.CreatedAt = utc(&r.CreatedAt)
		}
		for _, f := range r.Fields {
			one.Errors = append(one.Errors, ProblemField{Field: f.Field, Code: f.Code, Message: f.Message})
		}
		out.Results = append(out.Results, one)
	}
	return out
}

type publishEventsInput struct {
	TenantPath
	Body PublishEvents
}

func (a *API) publishEvents(ctx context.Context, in *publishEventsInput) (*plain[PublishedEvents], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	drafts := make([]event.Draft, len(in.Body.Events))
	for i, e := range in.Body.Events {
		drafts[i] = event.Draft{ID: e.ID, ProjectID: e.ProjectID, Type: e.Type, Payload: json.RawMessage(e.Payload), OccurredAt: e.OccurredAt}
	}
	results, err := a.s.Events.Publish(ctx, tenant, drafts)
	if err != nil {
		return nil, err
	}
	return &plain[PublishedEvents]{publishedOf(results)}, nil
}

// EraseEvents says which events of a tenant to delete.
type EraseEvents struct {
	Before time.Time `json:"before,omitzero" doc:"Those written before this instant; left out: all there are."`
	Reason string    `json:"reason,omitempty" maxLength:"500" doc:"For the audit log."`
	DryRun bool      `json:"dry_run,omitempty" doc:"Only tell how many there are."`
}

// ErasedEvents is what an erasure deleted, or would.
type ErasedEvents struct {
	DryRun  bool       `json:"dry_run"`
	Before  time.Time  `json:"before" doc:"What was written before is meant: give it back while has_more."`
	Events  int64      `json:"events" doc:"Deleted by this call; of a dry run, those that there are: it counts up to 1,000,000."`
	HasMore bool       `json:"has_more" doc:"There may be more to delete: repeat the call. Of a dry run: than it counted."`
	Oldest  *time.Time `json:"oldest,omitempty" doc:"Of a dry run: when the oldest of those that it counted was written."`
	Newest  *time.Time `json:"newest,omitempty"`
}

type eraseEventsInput struct {
	TenantPath
	Body EraseEvents
}

func (a *API) eraseEvents(ctx context.Context, in *eraseEventsInput) (*plain[ErasedEvents], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.s.Events.Erase(ctx, tenant, event.EraseParams{Before: in.Body.Before, Reason: in.Body.Reason, DryRun: in.Body.DryRun})
	if err != nil {
		return nil, err
	}
	return &plain[ErasedEvents]{ErasedEvents{
		DryRun: in.Body.DryRun, Before: e.Before.UTC(), Events: e.Events, HasMore: e.More, Oldest: utc(e.Oldest), Newest: utc(e.Newest),
	}}, nil
}

// EventRetention is what is kept of events, month by month.
type EventRetention struct {
	Months []KeptMonth `json:"months" doc:"The oldest first."`
}

// KeptMonth is a month of a table that is kept for a time.
type KeptMonth struct {
	Table   string     `json:"table" example:"tenant_events"`
	Month   string     `json:"month" example:"2026-11"`
	Rows    int64      `json:"rows" doc:"About how many, as the database's statistics have it."`
	Bytes   int64      `json:"bytes" doc:"With its indexes."`
	DropsAt *time.Time `json:"drops_at,omitempty" doc:"When it is dropped; in the past: within the hour, unless on_hold. Absent: never."`
	OnHold  bool       `json:"on_hold" doc:"It stays longer, for a tenant under legal hold."`
}

type eventRetentionInput struct{}

func (a *API) getEventRetention(ctx context.Context, _ *eventRetentionInput) (*plain[EventRetention], error) {
	months, err := a.s.Events.Retention(ctx)
	if err != nil {
		return nil, err
	}
	out := EventRetention{Months: make([]KeptMonth, len(months))}
	for i, m := range months {
		out.Months[i] = KeptMonth{Table: m.Table, Month: m.Month.UTC().Format("2006-01"), Rows: m.Rows, Bytes: m.Bytes, OnHold: m.Held}
		if !m.DropsAt.IsZero() {
			out.Months[i].DropsAt = utc(&m.DropsAt)
		}
	}
	return &plain[EventRetention]{out}, nil
}

type getTenantEventInput struct {
	TenantPath
	Event id.Event `path:"event" maxLength:"64"`
}

func (a *API) getTenantEvent(ctx context.Context, in *getTenantEventInput) (*plain[Event], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.s.Events.Get(ctx, tenant, in.Event)
	if err != nil {
		return nil, err
	}
	return &plain[Event]{eventOf(e)}, nil
}
