package main

import (
	"context"

	"github.com/landlordhq/landlord/client"
)

// servicesCmd is the command group of service accounts.
type servicesCmd struct {
	Create  serviceCreateCmd  `cmd:"" help:"Add a service account."`
	List    serviceListCmd    `cmd:"" help:"List service accounts, newest first." aliases:"ls"`
	Get     serviceGetCmd     `cmd:"" help:"Show a service account."`
	Update  serviceUpdateCmd  `cmd:"" help:"Change a service account."`
	Disable serviceDisableCmd `cmd:"" help:"Stop an account's tokens from working, until enabled."`
	Enable  serviceEnableCmd  `cmd:"" help:"Let a disabled account's tokens work again."`
	Delete  serviceDeleteCmd  `cmd:"" help:"Remove a service account and its tokens." aliases:"rm"`
}

func showService(g *Globals, s *client.ServiceAccount) error {
	return g.show(s,
		pair{"id", s.ID}, pair{"name", s.Name}, pair{"description", s.Description}, pair{"permissions", s.Permissions},
		pair{"confined to", s.TenantID}, pair{"enabled", s.Enabled}, pair{"disabled at", s.DisabledAt}, pair{"created", s.CreatedAt},
	)
}

type serviceCreateCmd struct {
	Name        string   `arg:"" help:"Name; unique."`
	Description string   `help:"What it is for." placeholder:"TEXT"`
	Permissions []string `help:"What its tokens may do, such as apikeys:verify,tenants:read." required:"" placeholder:"PERMISSION,…"`
	Tenant      string   `help:"Tenant to confine it to, with those below it: id or slug:NAME. It can't be changed later." placeholder:"TENANT"`
}

// Run implements the command.
func (c *serviceCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	tenant, err := tenantID(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	s, err := api.Services.Create(ctx, client.CreateService{
		Name: c.Name, Description: c.Description, Permissions: c.Permissions, TenantID: tenant,
	})
	if err != nil {
		return err
	}
	g.done("Now give it a token: landlord tokens issue NAME --service %s", s.ID)
	return showService(g, s)
}

type serviceListCmd struct {
	listFlags

	Tenant  string `help:"Only those confined to this tenant: id or slug:NAME." placeholder:"TENANT"`
	Enabled *bool  `help:"Only those whose tokens work, or with --no-enabled don't." negatable:""`
}

// Run implements the command.
func (c *serviceListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	tenant, err := tenantID(ctx, api, c.Tenant)
	if err != nil {
		return err
	}
	p, err := api.Services.List(ctx, client.ServiceFilter{TenantID: tenant, Enabled: c.Enabled, ListOptions: c.options()})
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "NAME", "PERMISSIONS", "CONFINED TO", "ENABLED"}, func(s client.ServiceAccount) []any {
		return []any{s.ID, s.Name, s.Permissions, s.TenantID, s.Enabled}
	})
}

type serviceArg struct {
	Service string `arg:"" help:"Id of the service account."`
}

type serviceGetCmd struct{ serviceArg }

// Run implements the command.
func (c *serviceGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	s, err := api.Services.Get(ctx, c.Service)
	if err != nil {
		return err
	}
	return showService(g, s)
}

type serviceUpdateCmd struct {
	serviceArg

	Name        *string   `help:"New name." placeholder:"NAME"`
	Description *string   `help:"What it is for." placeholder:"TEXT"`
	Permissions *[]string `help:"All permissions from now on." placeholder:"PERMISSION,…"`
}

// Run implements the command.
func (c *serviceUpdateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	s, err := api.Services.Update(ctx, c.Service, client.UpdateService{
		Name: optional(c.Name), Description: optional(c.Description), Permissions: optional(c.Permissions),
	})
	if err != nil {
		return err
	}
	return showService(g, s)
}

type serviceDisableCmd struct {
	serviceArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

// Run implements the command.
func (c *serviceDisableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	s, err := api.Services.Disable(ctx, c.Service, c.Reason)
	if err != nil {
		return err
	}
	g.done("The tokens of %s no longer work.", s.Name)
	return showService(g, s)
}

type serviceEnableCmd struct{ serviceArg }

// Run implements the command.
func (c *serviceEnableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	s, err := api.Services.Enable(ctx, c.Service)
	if err != nil {
		return err
	}
	return showService(g, s)
}

type serviceDeleteCmd struct {
	serviceArg

	Yes bool `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *serviceDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Delete %s and its tokens?", c.Service); err != nil {
		return err
	}
	if err := api.Services.Delete(ctx, c.Service); err != nil {
		return err
	}
	g.done("Deleted %s.", c.Service)
	return nil
}
