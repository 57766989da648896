package main

import (
	"bufio"
	"context"
	"strings"

	"github.com/landlordhq/landlord/client"
)

type keyReportLeakCmd struct {
	Source string `help:"In what it was found: commit, paste, chat." placeholder:"TEXT"`
	URL    string `help:"Where." placeholder:"URL"`
}

// Help implements kong.HelpProvider.
func (c *keyReportLeakCmd) Help() string {
	return "Reads the token from standard input, where no other process sees it and no history keeps it. " +
		"The key is revoked, disabled or flagged, as the key policies that bind its tenant say."
}

// Run implements the command.
func (c *keyReportLeakCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	line, _ := bufio.NewReader(g.in).ReadString('\n')
	r, err := api.APIKeys.ReportLeak(ctx, client.ReportLeak{Token: strings.TrimSpace(line), Source: c.Source, URL: c.URL})
	if err != nil {
		return err
	}
	if !r.Known {
		g.done("This is no key that you reach: nothing was done.")
		return g.show(r, pair{"known", r.Known}, pair{"action", r.Action})
	}
	return showKey(g, r, *r.Key, pair{"action", r.Action})
}

type keyLeaksCmd struct {
	keyArg
	listFlags
}

// Run implements the command.
func (c *keyLeaksCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.APIKeys.Leaks(ctx, c.Tenant, c.Key, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"REPORTED", "BY", "SOURCE", "URL", "ACTION"}, func(l client.KeyLeak) []any {
		return []any{l.ReportedAt, l.ReportedBy, l.Source, l.URL, l.Action}
	})
}
