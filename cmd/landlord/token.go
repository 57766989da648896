package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// tokensCmd is the command group of access tokens.
type tokensCmd struct {
	Issue  tokenIssueCmd  `cmd:"" help:"Issue a token; the secret is printed once."`
	List   tokenListCmd   `cmd:"" help:"List tokens, newest first." aliases:"ls"`
	Get    tokenGetCmd    `cmd:"" help:"Show a token, without its secret."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token for good."`
}

// tokenOwner says whose tokens; without a flag, one's own.
type tokenOwner struct {
	Operator string `help:"Of this person." xor:"owner" placeholder:"ID"`
	Service  string `help:"Of this service account." xor:"owner" placeholder:"ID"`
}

// resolve fills in the caller himself.
func (o *tokenOwner) resolve(ctx context.Context, api *client.Client) error {
	if o.Operator != "" || o.Service != "" {
		return nil
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(me.ID, "operator_"):
		o.Operator = me.ID
	case strings.HasPrefix(me.ID, "service_"):
		o.Service = me.ID
	default:
		return errors.New("your credential has no access tokens of its own: say whose with --operator or --service")
	}
	return nil
}

func showToken(g *Globals, v any, t client.AccessToken, more ...pair) error {
	return g.show(v, append([]pair{
		{"id", t.ID},
		{"name", t.Name},
		{"operator", t.OperatorID},
		{"service", t.ServiceID},
		{"hint", t.Hint},
		{"state", t.State},
		{"expires", t.ExpiresAt},
		{"revoked", t.RevokedAt},
		{"reason", t.RevokedReason},
		{"last used", t.LastUsedAt},
		{"from", t.LastUsedIP},
		{"issued by", t.CreatedBy},
		{"created", t.CreatedAt},
	}, more...)...)
}

type tokenIssueCmd struct {
	tokenOwner

	Name string `arg:"" help:"What it is for."`
	TTL  ttl    `help:"How long it lives, such as 90d or 12h; at most a year unless the server is configured otherwise." default:"90d" placeholder:"DURATION"`
}

// Run implements the command.
func (c *tokenIssueCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := c.resolve(ctx, api); err != nil {
		return err
	}
	expires := time.Now().Add(time.Duration(c.TTL)).UTC().Truncate(time.Second)
	in := client.IssueToken{Name: c.Name, ExpiresAt: &expires}
	var t *client.IssuedToken
	if c.Operator != "" {
		t, err = api.Operators.IssueToken(ctx, c.Operator, in)
	} else {
		t, err = api.Services.IssueToken(ctx, c.Service, in)
	}
	if err != nil {
		return err
	}
	g.done("The token is shown this once:")
	return showToken(g, t, t.AccessToken, pair{"token", t.Token})
}

type tokenListCmd struct {
	tokenOwner
	listFlags

	Active bool `help:"Only those neither expired nor revoked."`
}

// Run implements the command.
func (c *tokenListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := c.resolve(ctx, api); err != nil {
		return err
	}
	f := client.TokenFilter{Active: c.Active, ListOptions: c.options()}
	var p *client.Page[client.AccessToken]
	if c.Operator != "" {
		p, err = api.Operators.Tokens(ctx, c.Operator, f)
	} else {
		p, err = api.Services.Tokens(ctx, c.Service, f)
	}
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "NAME", "HINT", "STATE", "EXPIRES", "LAST USED"}, func(t client.AccessToken) []any {
		return []any{t.ID, t.Name, t.Hint, t.State, t.ExpiresAt, t.LastUsedAt}
	})
}

type tokenArg struct {
	ID string `arg:"" name:"token" help:"Id of the token, not its secret."`
}

type tokenGetCmd struct{ tokenArg }

// Run implements the command.
func (c *tokenGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	t, err := api.Tokens.Get(ctx, c.ID)
	if err != nil {
		return err
	}
	return showToken(g, t, *t)
}

type tokenRevokeCmd struct {
	tokenArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

// Run implements the command.
func (c *tokenRevokeCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	t, err := api.Tokens.Revoke(ctx, c.ID, c.Reason)
	if err != nil {
		return err
	}
	g.done("Revoked %s.", t.ID)
	return showToken(g, t, *t)
}

// ttl is a duration that may be given in days.
type ttl time.Duration

// String is what UnmarshalText takes, at its shortest: 7d, 12h, 1h30m.
func (t ttl) String() string {
	const day = 24 * time.Hour
	d := time.Duration(t)
	if d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// UnmarshalText implements encoding.TextUnmarshaler for kong.
func (t *ttl) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return fmt.Errorf("%q is no number of days", s)
		}
		*t = ttl(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90d or 12h", s)
	}
	*t = ttl(d)
	return nil
}
