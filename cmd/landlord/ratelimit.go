package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// rateLimitsCmd is the command group of what all keys of a tenant share.
type rateLimitsCmd struct {
	List   rateLimitListCmd   `cmd:"" help:"List a tenant's rate limits." aliases:"ls"`
	Get    rateLimitGetCmd    `cmd:"" help:"Show a tenant's rate limit."`
	Put    rateLimitPutCmd    `cmd:"" help:"Give a tenant a rate limit, in place of the one of its name that a product declares."`
	Delete rateLimitDeleteCmd `cmd:"" help:"Take a rate limit away from a tenant; that of a product is back." aliases:"rm"`
}

func showRateLimit(g *Globals, l *client.TenantRateLimit) error {
	return g.show(l,
		pair{"tenant", l.TenantID}, pair{"name", l.Name}, pair{"rate", rateOf(l.RateLimit)}, pair{"at once", l.Burst},
		pair{"only where named", l.NamedOnly}, pair{"product", l.Product}, pair{"updated", l.UpdatedAt},
	)
}

type rateLimitListCmd struct {
	tenantArg
	listFlags
}

// Run implements the command.
func (c *rateLimitListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.RateLimits.List(ctx, c.Tenant, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"LIMIT", "PRODUCT", "UPDATED"}, func(l client.TenantRateLimit) []any {
		return []any{rateText(l.RateLimit), l.Product, l.UpdatedAt}
	})
}

type rateLimitArgs struct {
	tenantArg

	Name string `arg:"" help:"Name of the rate limit."`
}

type rateLimitGetCmd struct{ rateLimitArgs }

// Run implements the command.
func (c *rateLimitGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	l, err := api.RateLimits.Get(ctx, c.Tenant, c.Name)
	if err != nil {
		return err
	}
	return showRateLimit(g, l)
}

type rateLimitPutCmd struct {
	tenantArg

	Limit   rateLimitFlag `arg:"" help:"NAME=LIMIT/WINDOW[,burst=N][,named-only], such as renders=100/60s."`
	Product string        `help:"Only where this product is used. Without: always." placeholder:"NAME"`
	IfMatch string        `help:"Only if the limit still has this ETag." placeholder:"ETAG"`
}

// Run implements the command.
func (c *rateLimitPutCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	l, err := api.RateLimits.Put(ctx, c.Tenant, c.Limit.Name, client.PutRateLimit{
		Limit: c.Limit.Limit, Window: c.Limit.Window, Burst: c.Limit.Burst, NamedOnly: c.Limit.NamedOnly, Product: c.Product, IfMatch: c.IfMatch,
	})
	if err != nil {
		return err
	}
	return showRateLimit(g, l)
}

type rateLimitDeleteCmd struct{ rateLimitArgs }

// Run implements the command.
func (c *rateLimitDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := api.RateLimits.Delete(ctx, c.Tenant, c.Name, ""); err != nil {
		return err
	}
	g.done("%s has no rate limit %s of its own any more.", c.Tenant, c.Name)
	return nil
}

// rateLimitFlag is a rate limit as people write it: renders=100/60s, or with
// more, renders=1000/1h,burst=50,named-only.
type rateLimitFlag client.RateLimit

// UnmarshalText implements encoding.TextUnmarshaler for kong.
func (f *rateLimitFlag) UnmarshalText(b []byte) error {
	name, rest, ok := strings.Cut(string(b), "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is no rate limit: write NAME=LIMIT/WINDOW, such as renders=100/60s", b)
	}
	rate, options, _ := strings.Cut(rest, ",")
	*f = rateLimitFlag{Name: name}
	var err error
	if f.Limit, f.Window, err = parseLimit(rate); err != nil {
		return err
	}
	for option := range strings.SplitSeq(options, ",") {
		switch key, value, _ := strings.Cut(option, "="); {
		case option == "" && options == "":
		case option == "named-only":
			f.NamedOnly = true
		case key == "burst":
			if f.Burst, err = strconv.ParseInt(value, 10, 64); err != nil || f.Burst < 1 {
				return fmt.Errorf("%q is no burst: write burst=N", option)
			}
		default:
			return fmt.Errorf("%q is neither burst=N nor named-only", option)
		}
	}
	return nil
}

// parseLimit reads LIMIT/WINDOW: 100/60s, 1000/1h, 5/1d.
func parseLimit(s string) (limit, window int64, err error) {
	left, right, _ := strings.Cut(s, "/")
	limit, err = strconv.ParseInt(left, 10, 64)
	var w ttl
	if err != nil || w.UnmarshalText([]byte(right)) != nil || time.Duration(w)%time.Second != 0 || w == 0 {
		return 0, 0, fmt.Errorf("%q is no rate: write LIMIT/WINDOW, such as 100/60s, 1000/1h or 5/1d", s)
	}
	return limit, int64(time.Duration(w) / time.Second), nil
}

// limitCost is what to spend of the rate limits of a name: renders:5, or renders
// for 1.
type limitCost client.RateLimitCost

// UnmarshalText implements encoding.TextUnmarshaler for kong.
func (c *limitCost) UnmarshalText(b []byte) error {
	name, cost, more := strings.Cut(string(b), ":")
	*c = limitCost{Name: name}
	if !more {
		return nil
	}
	n, err := strconv.ParseInt(cost, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not NAME:COST", b)
	}
	c.Cost = &n
	return nil
}

// rateText is a rate limit as the flag takes it.
func rateText(l client.RateLimit) string {
	s := l.Name + "=" + rateOf(l)
	if l.Burst > 0 {
		s += ",burst=" + strconv.FormatInt(l.Burst, 10)
	}
	if l.NamedOnly {
		s += ",named-only"
	}
	return s
}

func rateOf(l client.RateLimit) string {
	return strconv.FormatInt(l.Limit, 10) + "/" + ttl(time.Duration(l.Window)*time.Second).String()
}

func rateTexts(list []client.RateLimit) []string {
	out := make([]string, len(list))
	for i, l := range list {
		out[i] = rateText(l)
	}
	return out
}

func rateLimits(list []rateLimitFlag) []client.RateLimit {
	out := make([]client.RateLimit, len(list))
	for i, l := range list {
		out[i] = client.RateLimit(l)
	}
	return out
}

// leftText says what is left of a rate limit.
func leftText(remaining, limit, reset, retryAfter int64) string {
	s := fmt.Sprintf("%d of %d left, full in %ds", remaining, limit, reset)
	if retryAfter > 0 {
		s += fmt.Sprintf("; used up, try again in %ds", retryAfter)
	}
	return s
}
