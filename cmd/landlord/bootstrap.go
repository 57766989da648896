package main

import (
	"context"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/secret"
)

// bootstrapCmd makes the first owner of a new installation, on the database
// itself: before it, nobody has a credential for the API.
type bootstrapCmd struct {
	Email       string `help:"E-mail address of the owner." required:"" placeholder:"ADDRESS"`
	Name        string `help:"Name of the owner." required:"" placeholder:"NAME"`
	Recover     bool   `help:"Give a new token to an installation that has an owner: when every owner's credential is lost."`
	DatabaseURL string `help:"PostgreSQL, as the server connects." env:"LANDLORD_DATABASE_URL" required:"" placeholder:"URL"`
	SecretsFile string `help:"File with the peppers and encryption keys." env:"LANDLORD_SECRETS_FILE" required:"" type:"path" placeholder:"FILE"`
}

// Run implements the command.
func (c *bootstrapCmd) Run(ctx context.Context, g *Globals) error {
	keys, err := secret.Load(c.SecretsFile)
	if err != nil {
		return err
	}
	a, err := app.New(ctx, app.Config{DatabaseURL: c.DatabaseURL, Keys: keys, Version: release()})
	if err != nil {
		return err
	}
	defer a.Close(context.WithoutCancel(ctx))
	token, err := a.Bootstrap(ctx, c.Email, c.Name, c.Recover)
	if err != nil {
		return err
	}
	g.done("%s is an owner. This token is shown once:", c.Email)
	return g.show(map[string]string{"token": token}, pair{"token", token})
}
