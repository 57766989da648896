package main

import (
	"context"
	"errors"
	"time"

	"github.com/landlordhq/landlord/client"
)

// entitlementsCmd is the command group of what tenants may use.
type entitlementsCmd struct {
	List      entitlementListCmd   `cmd:"" help:"List what a tenant has." aliases:"ls"`
	Get       entitlementGetCmd    `cmd:"" help:"Show what a tenant has of a product."`
	Put       entitlementPutCmd    `cmd:"" help:"Give a tenant a product, or change what it has of it."`
	Delete    entitlementDeleteCmd `cmd:"" help:"Take a tenant's own entitlement away; what its plan gives is back." aliases:"rm"`
	Check     entitlementCheckCmd  `cmd:"" help:"Ask whether a tenant may use a product now; exits with 1 when not."`
	ApplyPlan applyPlanCmd         `cmd:"" help:"Bring a tenant in line with its plan as the catalogue now has it."`
}

func showEntitlement(g *Globals, e *client.Entitlement) error {
	return g.show(e,
		pair{"tenant", e.TenantID}, pair{"product", e.Product}, pair{"state", e.State}, pair{"enabled", e.Enabled}, pair{"source", e.Source},
		pair{"expires", e.ExpiresAt}, pair{"config", e.Config}, pair{"in force", e.EffectiveConfig}, pair{"updated", e.UpdatedAt},
	)
}

type entitlementListCmd struct {
	tenantArg
	listFlags
}

// Run implements the command.
func (c *entitlementListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Entitlements.List(ctx, c.Tenant, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"PRODUCT", "STATE", "SOURCE", "EXPIRES", "IN FORCE"}, func(e client.Entitlement) []any {
		return []any{e.Product, e.State, e.Source, e.ExpiresAt, e.EffectiveConfig}
	})
}

type entitlementArgs struct {
	tenantArg
	productArg
}

type entitlementGetCmd struct{ entitlementArgs }

// Run implements the command.
func (c *entitlementGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	e, err := api.Entitlements.Get(ctx, c.Tenant, c.Product)
	if err != nil {
		return err
	}
	return showEntitlement(g, e)
}

type entitlementPutCmd struct {
	entitlementArgs

	Config  jsonFlag   `help:"The tenant's own configuration, as JSON; left out, the product's defaults." placeholder:"JSON"`
	Expires *time.Time `help:"When it ends, such as 2026-12-31T00:00:00Z." placeholder:"TIME"`
	Trial   bool       `help:"A trial: ends, and gives way to a plan that has the product."`
	Enabled bool       `help:"With --no-enabled: withhold the product, whatever the plan says." negatable:"" default:"true"`
}

// Run implements the command.
func (c *entitlementPutCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.PutEntitlement{Enabled: &c.Enabled, Config: c.Config, ExpiresAt: c.Expires}
	if c.Trial {
		in.Source = "trial"
	}
	e, err := api.Entitlements.Put(ctx, c.Tenant, c.Product, in)
	if err != nil {
		return err
	}
	return showEntitlement(g, e)
}

type entitlementDeleteCmd struct{ entitlementArgs }

// Run implements the command.
func (c *entitlementDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := api.Entitlements.Delete(ctx, c.Tenant, c.Product, ""); err != nil {
		return err
	}
	g.done("%s has no %s of its own any more.", c.Tenant, c.Product)
	return nil
}

type entitlementCheckCmd struct{ entitlementArgs }

// Run implements the command.
func (c *entitlementCheckCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	d, err := api.Entitlements.Check(ctx, c.Tenant, c.Product)
	if err != nil {
		return err
	}
	err = g.show(d,
		pair{"entitled", d.Entitled}, pair{"reason", d.Reason}, pair{"read only", d.ReadOnly},
		pair{"expires", d.ExpiresAt}, pair{"in force", d.Config}, pair{"checked", d.CheckedAt},
	)
	if err == nil && !d.Entitled {
		return errors.New("not entitled: " + d.Reason)
	}
	return err
}

type applyPlanCmd struct{ tenantArg }

// Run implements the command.
func (c *applyPlanCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Entitlements.ApplyPlan(ctx, c.Tenant)
	if err != nil {
		return err
	}
	return g.show(p, pair{"plan", p.Plan}, pair{"changed", p.Changed})
}
