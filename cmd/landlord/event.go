package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/landlordhq/landlord/client"
)

// eventsCmd is the command group of what happened.
type eventsCmd struct {
	List  eventListCmd  `cmd:"" help:"Read events in their order, the oldest first." aliases:"ls"`
	Tail  eventTailCmd  `cmd:"" help:"Print events as they happen, from now on, until ctrl-c."`
	Get   eventGetCmd   `cmd:"" help:"Show one event."`
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
