package main

import (
	"context"
	"strings"

	"github.com/landlordhq/landlord/client"
)

// keyPolicyCmd is the command group of a tenant's key policy.
type keyPolicyCmd struct {
	Get keyPolicyGetCmd `cmd:"" help:"Show a tenant's key policy, and what binds its keys."`
	Put keyPolicyPutCmd `cmd:"" help:"Replace a tenant's key policy: what is left out is back at its default."`
}

func showKeyPolicy(g *Globals, p *client.KeyPolicy) error {
	or := func(list []string, none string) []string {
		if len(list) == 0 {
			return []string{none}
		}
		return list
	}
	anyOf := func(n int) any {
		if n == 0 {
			return "any"
		}
		return n
	}
	lists := make([]string, len(p.InForce.AllowedIPs))
	for i, list := range p.InForce.AllowedIPs {
		lists[i] = "(" + strings.Join(list, ", ") + ")"
	}
	return g.show(p,
		pair{"tenant", p.TenantID},
		pair{"addresses", or(p.AllowedIPs, "any")},
		pair{"environments", p.Environments},
		pair{"days to live", anyOf(p.MaxAgeDays)},
		pair{"when leaked", p.LeakAction},
		pair{"updated", p.UpdatedAt},
		pair{"in force, with those above:", " "},
		pair{"addresses", or(lists, "any")},
		pair{"environments", or(p.InForce.Environments, "none")},
		pair{"days to live", anyOf(p.InForce.MaxAgeDays)},
		pair{"when leaked", p.InForce.LeakAction},
		pair{"requests/min", p.InForce.RateLimitRPM},
		pair{"keys", anyOf(p.InForce.MaxKeys)},
	)
}

type keyPolicyGetCmd struct{ tenantArg }

// Run implements the command.
func (c *keyPolicyGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.APIKeys.Policy(ctx, c.Tenant)
	if err != nil {
		return err
	}
	return showKeyPolicy(g, p)
}

type keyPolicyPutCmd struct {
	tenantArg

	IP      []string `name:"ip" help:"Address or CIDR that keys work from; repeatable. Without: from everywhere." placeholder:"CIDR"`
	Env     []string `help:"Environment whose keys work, live or test; repeatable. Without: both." placeholder:"ENV"`
	MaxAge  int      `help:"Longest life of a key, in days. Without: any." placeholder:"DAYS"`
	Leak    string   `help:"What a report that a key has leaked does to it: ${enum}." enum:"revoke, disable, flag" default:"revoke"`
	IfMatch string   `help:"Only if the policy still has this ETag." placeholder:"ETAG"`
}

// Run implements the command.
func (c *keyPolicyPutCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.APIKeys.PutPolicy(ctx, c.Tenant, client.PutKeyPolicy{
		AllowedIPs: c.IP, Environments: c.Env, MaxAgeDays: c.MaxAge, LeakAction: c.Leak, IfMatch: c.IfMatch,
	})
	if err != nil {
		return err
	}
	return showKeyPolicy(g, p)
}
