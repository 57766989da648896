package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// eventsCmd is the command group of what happened.
type eventsCmd struct {
	List eventListCmd `cmd:"" help:"Read events in their order, the oldest first." aliases:"ls"`
	Tail eventTailCmd `cmd:"" help:"Print events as they happen, from now on, until ctrl-c."`
	Get  eventGetCmd  `cmd:"" help:"Show one event."`

	Erase     eventEraseCmd     `cmd:"" help:"Delete events of a tenant for good."`
	Retention eventRetentionCmd `cmd:"" help:"Show what is kept, month by month, and when it is dropped."`

	Publish eventPublishCmd `cmd:"" help:"Publish an event, or several from a file."`

	Types eventTypesCmd `cmd:"" help:"List event types, landlord's own among them; with a name, show its schema."`
}

// eventFilter are the flags that choose events.
type eventFilter struct {
	Tenant  string `help:"Only this tenant's: an id, a UUID or slug:NAME. Without it, the whole platform's." placeholder:"TENANT"`
	Type    string `help:"Exactly this type, or with .* those that begin so: render.completed, render.*" placeholder:"TYPE"`
	Project string `help:"Only this project's." placeholder:"ID"`
}

func (f eventFilter) filter() client.EventFilter {
	return client.EventFilter{Tenant: f.Tenant, Type: f.Type, ProjectID: f.Project}
}

type eventListCmd struct {
	eventFilter
	listFlags

	Since  instant `help:"Written at this time or later: RFC 3339, a date, or an age such as 24h or 7d." placeholder:"TIME"`
	Latest bool    `help:"Begin with what comes from now on: prints the cursor to read on from."`
	Wait   ttl     `help:"How long to wait for an event when there is none, at most 20s." placeholder:"DURATION"`
}

// Run implements the command.
func (c *eventListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	f := c.filter()
	f.ListOptions, f.Since, f.Latest, f.Wait = c.options(), time.Time(c.Since), c.Latest, time.Duration(c.Wait)
	p, err := api.Events.List(ctx, f)
	if err != nil {
		return err
	}
	if done, err := g.json(p); done {
		return err
	}
	rows := &client.Page[client.Event]{Data: p.Data}
	if p.HasMore {
		rows.NextCursor = p.NextCursor
	}
	err = table(g, rows, []string{"WRITTEN", "TYPE", "TENANT", "PROJECT", "ACTOR", "ID"}, func(e client.Event) []any {
		return []any{e.CreatedAt, e.Type, e.TenantID, e.ProjectID, eventActor(e), e.ID}
	})
	if err == nil && !p.HasMore {
		g.done("To read on later: --cursor %s", p.NextCursor)
	}
	return err
}

func eventActor(e client.Event) string {
	if e.Actor == nil {
		return ""
	}
	return either(e.Actor.ID, e.Actor.Type)
}

type eventTailCmd struct {
	eventFilter

	Since  instant `help:"Begin with what was written since: RFC 3339, a date, or an age such as 1h." placeholder:"TIME"`
	Cursor string  `help:"Go on where an earlier tail or list ended." placeholder:"CURSOR"`
}

// Run implements the command.
func (c *eventTailCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	f := c.filter()
	f.Since, f.Cursor = time.Time(c.Since), c.Cursor
	cursor, err := follow(ctx, g, api, f, func(e client.Event) error { return printEvent(g, e) })
	if cursor != "" {
		g.done("To go on: --cursor %s", cursor)
	}
	return err
}

// printEvent prints one line.
func printEvent(g *Globals, e client.Event) error {
	if g.Output == "json" {
		line := json.NewEncoder(g.out)
		line.SetEscapeHTML(false)
		return line.Encode(e)
	}
	_, err := fmt.Fprintf(g.out, "%s  %s  %s  %s  %s\n", text(e.CreatedAt), e.Type, e.TenantID, e.ID, e.Payload)
	return err
}

// follow hands each event to fn as it comes, from now on unless the filter begins
// elsewhere, until ctx ends. It outlives a server that is away for a while, and
// returns where to go on: behind the last event that fn has taken, at the latest.
func follow(ctx context.Context, g *Globals, api *client.Client, f client.EventFilter, fn func(client.Event) error) (cursor string, err error) {
	f.Latest = f.Cursor == "" && f.Since.IsZero()
	cursor = f.Cursor
	away := false
	for p, err := range api.Events.Follow(ctx, f) {
		if err != nil {
			if !passing(err) {
				return cursor, err
			}
			if !away {
				g.done("The server can't be reached; trying on: %v", err)
			}
			away = true
			continue
		}
		if away {
			g.done("The server answers again.")
			away = false
		}
		for _, e := range p.Data {
			if err := fn(e); err != nil {
				return cursor, err
			}
		}
		cursor = p.NextCursor
	}
	return cursor, nil
}

// passing reports whether an error may pass by itself: nobody answered, or 429 or
// 5xx was answered.
func passing(err error) bool {
	code := client.Status(err)
	return code == 0 || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
}

type eventGetCmd struct {
	Tenant string `arg:"" help:"Whose event: an id, a UUID or slug:NAME."`
	ID     string `arg:"" name:"event" help:"Id of the event."`
}

// Run implements the command.
func (c *eventGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	e, err := api.Events.Get(ctx, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	return g.show(e,
		pair{"id", e.ID}, pair{"type", e.Type}, pair{"occurred", e.OccurredAt}, pair{"written", e.CreatedAt},
		pair{"tenant", e.TenantID}, pair{"project", e.ProjectID}, pair{"actor", eventActor(*e)}, pair{"request", e.RequestID},
		pair{"payload", string(e.Payload)},
	)
}

type eventPublishCmd struct {
	Tenant string `arg:"" help:"Whom it concerns: an id, a UUID or slug:NAME."`
	Type   string `arg:"" optional:"" help:"A type of the catalogue, such as render.completed."`

	Payload  string    `help:"What there is to say about it, a JSON object, or @FILE; @- reads standard input." placeholder:"JSON"`
	ID       string    `help:"Your name for the event, an event_… or a UUID: published again, it is stored once." name:"id" placeholder:"ID"`
	Project  string    `help:"A project of the tenant." placeholder:"ID"`
	Occurred time.Time `help:"When it happened, such as 2026-12-31T00:00:00Z." placeholder:"TIME"`
	File     string    `help:"Publish the events of this file instead, one JSON object a line, with id, type, payload, project_id and occurred_at; - reads standard input." short:"f" placeholder:"FILE"`
}

// maxPublish is how many events a call takes.
const maxPublish = 500

// Run implements the command.
func (c *eventPublishCmd) Run(ctx context.Context, g *Globals) error {
	if (c.File == "") == (c.Type == "") {
		return errors.New("give a TYPE, or --file for several events")
	}
	if c.File != "" && (c.Payload != "" || c.ID != "" || c.Project != "" || !c.Occurred.IsZero()) {
		return errors.New("with --file, the file says all of each event")
	}
	api, err := g.client()
	if err != nil {
		return err
	}
	events, err := c.events(g)
	if err != nil {
		return err
	}
	all := client.PublishedEvents{}
	for batch := range slices.Chunk(events, maxPublish) {
		p, err := api.Events.Publish(ctx, c.Tenant, batch...)
		if err != nil {
			if len(all.Results) > 0 {
				err = fmt.Errorf("after %s were dealt with: %w", plural(len(all.Results), "event"), err)
			}
			return err
		}
		all.Published += p.Published
		all.Duplicates += p.Duplicates
		all.Refused += p.Refused
		all.Results = append(all.Results, p.Results...)
	}
	if done, err := g.json(all); done {
		return errors.Join(err, refusedEvents(all))
	}
	for _, r := range all.Results {
		_, _ = fmt.Fprintf(g.out, "%s  %s\n", r.Outcome, r.ID)
		for _, f := range r.Errors {
			_, _ = fmt.Fprintf(g.out, "  %s: %s (%s)\n", f.Field, f.Message, f.Code)
		}
	}
	return refusedEvents(all)
}

func refusedEvents(p client.PublishedEvents) error {
	if p.Refused == 0 {
		return nil
	}
	return fmt.Errorf("%s refused", plural(p.Refused, "event"))
}

// events are those of the command line, or of the file.
func (c *eventPublishCmd) events(g *Globals) ([]client.NewEvent, error) {
	if c.File == "" {
		e := client.NewEvent{ID: c.ID, Type: c.Type, ProjectID: c.Project, OccurredAt: c.Occurred}
		payload := []byte(c.Payload)
		if name, isFile := strings.CutPrefix(c.Payload, "@"); isFile {
			var err error
			if payload, err = readInput(g, name); err != nil {
				return nil, err
			}
		}
		if len(payload) > 0 {
			if !json.Valid(payload) {
				return nil, errors.New("--payload is no JSON")
			}
			e.Payload = json.RawMessage(payload)
		}
		return []client.NewEvent{e}, nil
	}
	text, err := readInput(g, c.File)
	if err != nil {
		return nil, err
	}
	var events []client.NewEvent
	for n, line := range bytes.Split(text, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e struct {
			client.NewEvent
			Payload json.RawMessage `json:"payload"`
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil || d.More() {
			return nil, fmt.Errorf("%s:%d is no event: %w", c.File, n+1, cmp.Or(err, errors.New("there is more than one on the line")))
		}
		if e.Payload != nil {
			e.NewEvent.Payload = e.Payload
		}
		events = append(events, e.NewEvent)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%s holds no event", c.File)
	}
	return events, nil
}

// readInput reads a file, or with - standard input.
func readInput(g *Globals, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(g.in)
	}
	return os.ReadFile(filepath.Clean(name))
}

type eventEraseCmd struct {
	Tenant string  `arg:"" help:"Whose events: an id, a UUID or slug:NAME."`
	Before instant `help:"Those written before this time: RFC 3339, a date, or an age such as 30d. Without it, all there are." placeholder:"TIME"`
	Reason string  `help:"For the audit log." placeholder:"TEXT"`
	DryRun bool    `help:"Only tell how many there are." name:"dry-run"`
	Yes    bool    `help:"Do not ask." short:"y"`
}

// Run implements the command. What was deleted before ctrl-c stays deleted, and
// running it again goes on.
func (c *eventEraseCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.EraseEvents{Before: time.Time(c.Before), Reason: c.Reason, DryRun: true}
	there, err := api.Events.Erase(ctx, c.Tenant, in)
	if err != nil {
		return err
	}
	found := plural(int(there.Events), "event")
	if there.HasMore {
		found += " or more"
	}
	if c.DryRun || there.Events == 0 {
		return g.show(there, pair{"to erase", found}, pair{"before", there.Before}, pair{"oldest", there.Oldest}, pair{"newest", there.Newest})
	}
	if err := g.confirm(c.Yes, "Erase %s of %s written before %s, for good?", found, c.Tenant, text(there.Before)); err != nil {
		return err
	}
	in.Before, in.DryRun = there.Before, false
	all := client.ErasedEvents{Before: there.Before, HasMore: true}
	for all.HasMore {
		some, err := api.Events.Erase(ctx, c.Tenant, in)
		if err != nil {
			return fmt.Errorf("after %s were erased: %w", plural(int(all.Events), "event"), err)
		}
		all.Events, all.HasMore = all.Events+some.Events, some.HasMore
		if all.HasMore {
			g.done("Erased %d of %s.", all.Events, found)
		}
	}
	return g.show(all, pair{"erased", all.Events}, pair{"before", all.Before})
}

type eventRetentionCmd struct{}

// Run implements the command.
func (c *eventRetentionCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	r, err := api.Events.Retention(ctx)
	if err != nil {
		return err
	}
	if done, err := g.json(r); done {
		return err
	}
	return table(g, &client.Page[client.KeptMonth]{Data: r.Months}, []string{"MONTH", "TABLE", "ROWS ABOUT", "MIB", "DROPPED"}, func(m client.KeptMonth) []any {
		dropped := "never"
		switch {
		case m.DropsAt == nil:
		case m.OnHold:
			dropped = "after a legal hold"
		case m.DropsAt.Before(time.Now()):
			dropped = "within the hour"
		default:
			dropped = text(m.DropsAt)
		}
		return []any{m.Month, m.Table, m.Rows, m.Bytes >> 20, dropped}
	})
}

type eventTypesCmd struct {
	listFlags

	Type string `arg:"" optional:"" help:"Name of the type."`
}

// Run implements the command.
func (c *eventTypesCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if c.Type != "" {
		return c.one(ctx, g, api)
	}
	p, err := api.Catalog.EventTypes(ctx, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"NAME", "BUILT IN", "DESCRIPTION"}, func(e client.EventType) []any {
		return []any{e.Name, e.BuiltIn, e.Description}
	})
}

func (c *eventTypesCmd) one(ctx context.Context, g *Globals, api *client.Client) error {
	for o := (client.ListOptions{Limit: 200}); ; {
		p, err := api.Catalog.EventTypes(ctx, o)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(p.Data, func(e client.EventType) bool { return e.Name == c.Type }); i >= 0 {
			e := p.Data[i]
			return g.show(e, pair{"name", e.Name}, pair{"built in", e.BuiltIn}, pair{"description", e.Description}, pair{"schema", e.Schema})
		}
		if o.Cursor = p.NextCursor; o.Cursor == "" {
			return fmt.Errorf("the catalogue has no event type %s", c.Type)
		}
	}
}
