package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// auditCmd is the command group of the audit log.
type auditCmd struct {
	List auditListCmd `cmd:"" help:"List what was done, newest first." aliases:"ls"`
	Get  auditGetCmd  `cmd:"" help:"Show one record."`
}

type auditListCmd struct {
	listFlags

	Tenant     string  `help:"Only this tenant's log: an id, a UUID or slug:NAME. Without it, the whole platform's." placeholder:"TENANT"`
	Action     string  `help:"Exactly this action, or with .* those of a noun: api_key.created, api_key.*" placeholder:"ACTION"`
	Actor      string  `help:"Id of who did it." placeholder:"ID"`
	ActorType  string  `help:"user, service, api_key or system." placeholder:"TYPE"`
	Target     string  `help:"Id of what it was done to." placeholder:"ID"`
	TargetType string  `help:"Noun of what it was done to, such as api_key." placeholder:"TYPE"`
	Project    string  `help:"Only this project." placeholder:"ID"`
	Product    string  `help:"Only what this product reported." placeholder:"NAME"`
	CRUD       string  `help:"c, r, u or d." name:"crud" placeholder:"LETTER"`
	Request    string  `help:"Only what this request did, by its X-Request-Id." placeholder:"ID"`
	Since      instant `help:"From this time on: RFC 3339, a date, or an age such as 24h or 7d." placeholder:"TIME"`
	Until      instant `help:"Before this time." placeholder:"TIME"`
}

// Run implements the command.
func (c *auditListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.AuditLog.List(ctx, client.AuditFilter{
		Tenant: c.Tenant, Action: c.Action, ActorID: c.Actor, ActorType: c.ActorType, TargetID: c.Target, TargetType: c.TargetType,
		ProjectID: c.Project, Product: c.Product, CRUD: c.CRUD, RequestID: c.Request,
		Since: time.Time(c.Since), Until: time.Time(c.Until), ListOptions: c.options(),
	})
	if err != nil {
		return err
	}
	return table(g, p, []string{"TIME", "ACTION", "ACTOR", "TARGET", "TENANT", "FROM", "ID"}, func(e client.AuditEvent) []any {
		return []any{e.CreatedAt, e.Action, either(e.Actor.Name, e.Actor.ID), auditTarget(e), e.TenantID, e.SourceIP, e.ID}
	})
}

func auditTarget(e client.AuditEvent) string {
	if e.Target == nil {
		return ""
	}
	return either(e.Target.Name, e.Target.ID)
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type auditGetCmd struct {
	ID     string `arg:"" name:"record" help:"Id of the record."`
	Tenant string `help:"Through this tenant's log." placeholder:"TENANT"`
}

// Run implements the command.
func (c *auditGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	var e *client.AuditEvent
	if c.Tenant != "" {
		e, err = api.AuditLog.GetOf(ctx, c.Tenant, c.ID)
	} else {
		e, err = api.AuditLog.Get(ctx, c.ID)
	}
	if err != nil {
		return err
	}
	target := client.AuditTarget{}
	if e.Target != nil {
		target = *e.Target
	}
	return g.show(e,
		pair{"id", e.ID}, pair{"time", e.CreatedAt}, pair{"action", e.Action}, pair{"description", e.Description},
		pair{"actor", strings.TrimSpace(e.Actor.Type + " " + e.Actor.ID)}, pair{"actor name", e.Actor.Name},
		pair{"target", strings.TrimSpace(target.Type + " " + target.ID)}, pair{"target name", target.Name},
		pair{"tenant", e.TenantID}, pair{"project", e.ProjectID}, pair{"product", e.Product},
		pair{"source ip", e.SourceIP}, pair{"user agent", e.UserAgent}, pair{"request", e.RequestID}, pair{"metadata", e.Metadata},
	)
}

// instant is a time, a date, or an age.
type instant time.Time

// UnmarshalText implements encoding.TextUnmarshaler for kong.
func (i *instant) UnmarshalText(b []byte) error {
	s := string(b)
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			*i = instant(t)
			return nil
		}
	}
	var age ttl
	if err := age.UnmarshalText(b); err != nil {
		return fmt.Errorf("%q is no time: give RFC 3339, a date, or an age such as 24h or 7d", s)
	}
	*i = instant(time.Now().Add(-time.Duration(age)))
	return nil
}
