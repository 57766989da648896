package main

import (
	"context"

	"github.com/landlordhq/landlord/client"
)

// operatorsCmd is the command group of the platform's people.
type operatorsCmd struct {
	Create  operatorCreateCmd  `cmd:"" help:"Add a person."`
	List    operatorListCmd    `cmd:"" help:"List people, newest first." aliases:"ls"`
	Get     operatorGetCmd     `cmd:"" help:"Show a person."`
	Update  operatorUpdateCmd  `cmd:"" help:"Change a person's name or role."`
	Disable operatorDisableCmd `cmd:"" help:"Stop a person from acting, until enabled."`
	Enable  operatorEnableCmd  `cmd:"" help:"Let a disabled person act again."`
	Delete  operatorDeleteCmd  `cmd:"" help:"Remove a person and the tokens." aliases:"rm"`
}

func showOperator(g *Globals, o *client.Operator) error {
	return g.show(o,
		pair{"id", o.ID}, pair{"email", o.Email}, pair{"name", o.Name}, pair{"role", o.Role}, pair{"enabled", o.Enabled},
		pair{"disabled at", o.DisabledAt}, pair{"oidc issuer", o.OIDCIssuer}, pair{"oidc subject", o.OIDCSubject},
		pair{"last seen", o.LastSeenAt}, pair{"created", o.CreatedAt},
	)
}

type operatorCreateCmd struct {
	Email       string `arg:"" help:"E-mail address."`
	Name        string `help:"Name." required:"" placeholder:"NAME"`
	Role        string `help:"Role: ${enum}." enum:"owner, admin, support, viewer" required:"" placeholder:"ROLE"`
	OIDCSubject string `help:"Subject at the OIDC issuer. Without it, the person is linked by the verified e-mail address." name:"oidc-subject" placeholder:"SUBJECT"`
}

// Run implements the command.
func (c *operatorCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	o, err := api.Operators.Create(ctx, client.CreateOperator{Email: c.Email, Name: c.Name, Role: c.Role, OIDCSubject: c.OIDCSubject})
	if err != nil {
		return err
	}
	return showOperator(g, o)
}

type operatorListCmd struct {
	listFlags

	Role    string `help:"Only with this role." placeholder:"ROLE"`
	Email   string `help:"Only with this e-mail address." placeholder:"ADDRESS"`
	Enabled *bool  `help:"Only those who may act, or with --no-enabled may not." negatable:""`
}

// Run implements the command.
func (c *operatorListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Operators.List(ctx, client.OperatorFilter{Role: c.Role, Email: c.Email, Enabled: c.Enabled, ListOptions: c.options()})
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "EMAIL", "NAME", "ROLE", "ENABLED", "LAST SEEN"}, func(o client.Operator) []any {
		return []any{o.ID, o.Email, o.Name, o.Role, o.Enabled, o.LastSeenAt}
	})
}

type operatorArg struct {
	Operator string `arg:"" help:"Id of the person."`
}

type operatorGetCmd struct{ operatorArg }

// Run implements the command.
func (c *operatorGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	o, err := api.Operators.Get(ctx, c.Operator)
	if err != nil {
		return err
	}
	return showOperator(g, o)
}

type operatorUpdateCmd struct {
	operatorArg

	Name *string `help:"New name." placeholder:"NAME"`
	Role *string `help:"New role: owner, admin, support or viewer." placeholder:"ROLE"`
}

// Run implements the command.
func (c *operatorUpdateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	o, err := api.Operators.Update(ctx, c.Operator, client.UpdateOperator{Name: optional(c.Name), Role: optional(c.Role)})
	if err != nil {
		return err
	}
	return showOperator(g, o)
}

// optional leaves a field out of an update unless its flag was given.
func optional[T any](flag *T) client.Patch[T] {
	if flag == nil {
		return client.Patch[T]{}
	}
	return client.Set(*flag)
}

type operatorDisableCmd struct {
	operatorArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

// Run implements the command.
func (c *operatorDisableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	o, err := api.Operators.Disable(ctx, c.Operator, c.Reason)
	if err != nil {
		return err
	}
	g.done("%s can no longer act.", o.Email)
	return showOperator(g, o)
}

type operatorEnableCmd struct{ operatorArg }

// Run implements the command.
func (c *operatorEnableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	o, err := api.Operators.Enable(ctx, c.Operator)
	if err != nil {
		return err
	}
	return showOperator(g, o)
}

type operatorDeleteCmd struct {
	operatorArg

	Yes bool `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *operatorDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Delete %s and the tokens?", c.Operator); err != nil {
		return err
	}
	if err := api.Operators.Delete(ctx, c.Operator); err != nil {
		return err
	}
	g.done("Deleted %s.", c.Operator)
	return nil
}

// whoamiCmd shows whom the credential stands for.
type whoamiCmd struct{}

// Run implements the command.
func (*whoamiCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return err
	}
	return g.show(me,
		pair{"type", me.Type}, pair{"id", me.ID}, pair{"name", me.Name}, pair{"confined to", me.TenantID}, pair{"permissions", me.Permissions})
}
