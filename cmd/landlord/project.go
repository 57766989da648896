package main

import (
	"context"

	"github.com/landlordhq/landlord/client"
)

// projectsCmd is the command group of projects.
type projectsCmd struct {
	Create  projectCreateCmd  `cmd:"" help:"Create a project of a tenant."`
	List    projectListCmd    `cmd:"" help:"List a tenant's projects, newest first." aliases:"ls"`
	Get     projectGetCmd     `cmd:"" help:"Show a project."`
	Update  projectUpdateCmd  `cmd:"" help:"Change a project."`
	Archive projectArchiveCmd `cmd:"" help:"Stop a project: its keys do not work until it is restored."`
	Restore projectRestoreCmd `cmd:"" help:"Make an archived project work again."`
}

func showProject(g *Globals, p *client.Project) error {
	return g.show(p,
		pair{"id", p.ID}, pair{"tenant", p.TenantID}, pair{"slug", p.Slug}, pair{"name", p.Name}, pair{"description", p.Description},
		pair{"status", p.Status}, pair{"metadata", p.Metadata}, pair{"archived", p.ArchivedAt}, pair{"created", p.CreatedAt},
	)
}

type projectCreateCmd struct {
	tenantArg

	Name        string            `arg:"" help:"Name, such as \"Spring campaign\"."`
	Slug        string            `help:"Name in URLs; made from the name when left out." placeholder:"SLUG"`
	Description string            `help:"What it is for." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Your own data." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *projectCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Projects.Create(ctx, c.Tenant, client.CreateProject{
		Name: c.Name, Slug: c.Slug, Description: c.Description, Metadata: metadata(c.Metadata),
	})
	if err != nil {
		return err
	}
	return showProject(g, p)
}

type projectListCmd struct {
	tenantArg
	listFlags

	Status string `help:"Only in this status: active or archived." placeholder:"STATUS"`
}

// Run implements the command.
func (c *projectListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Projects.List(ctx, c.Tenant, client.ProjectFilter{Status: c.Status, ListOptions: c.options()})
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "SLUG", "NAME", "STATUS", "CREATED"}, func(p client.Project) []any {
		return []any{p.ID, p.Slug, p.Name, p.Status, p.CreatedAt}
	})
}

type projectArgs struct {
	tenantArg

	Project string `arg:"" help:"Id, UUID or slug:NAME of the project."`
}

type projectGetCmd struct{ projectArgs }

// Run implements the command.
func (c *projectGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Projects.Get(ctx, c.Tenant, c.Project)
	if err != nil {
		return err
	}
	return showProject(g, p)
}

type projectUpdateCmd struct {
	projectArgs

	Name        *string           `help:"New name." placeholder:"NAME"`
	Slug        *string           `help:"New name in URLs." placeholder:"SLUG"`
	Description *string           `help:"New description." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Your own data, merged into what is there." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *projectUpdateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.UpdateProject{Name: optional(c.Name), Slug: optional(c.Slug), Description: optional(c.Description)}
	if c.Metadata != nil {
		in.Metadata = client.Set(metadata(c.Metadata))
	}
	p, err := api.Projects.Update(ctx, c.Tenant, c.Project, in)
	if err != nil {
		return err
	}
	return showProject(g, p)
}

type projectArchiveCmd struct{ projectArgs }

// Run implements the command.
func (c *projectArchiveCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Projects.Archive(ctx, c.Tenant, c.Project)
	if err != nil {
		return err
	}
	g.done("The keys of %s do not work any more.", p.Slug)
	return showProject(g, p)
}

type projectRestoreCmd struct{ projectArgs }

// Run implements the command.
func (c *projectRestoreCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Projects.Restore(ctx, c.Tenant, c.Project)
	if err != nil {
		return err
	}
	return showProject(g, p)
}
