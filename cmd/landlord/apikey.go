package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// keysCmd is the command group of tenants' API keys.
type keysCmd struct {
	Create      keyCreateCmd      `cmd:"" help:"Issue a key; the token is printed once." aliases:"issue"`
	List        keyListCmd        `cmd:"" help:"List a tenant's keys, newest first." aliases:"ls"`
	Get         keyGetCmd         `cmd:"" help:"Show a key, without its token."`
	Update      keyUpdateCmd      `cmd:"" help:"Change a key."`
	Search      keySearchCmd      `cmd:"" help:"Find keys of all tenants, newest first."`
	Disable     keyDisableCmd     `cmd:"" help:"Stop a key until it is enabled again."`
	Enable      keyEnableCmd      `cmd:"" help:"Let a disabled key work again."`
	Rotate      keyRotateCmd      `cmd:"" help:"Replace a key by a new one with the same settings."`
	Generations keyGenerationsCmd `cmd:"" help:"List the keys that came before and after a key by rotation, newest first."`
	Revoke      keyRevokeCmd      `cmd:"" help:"End a key for good."`
	Import      keyImportCmd      `cmd:"" help:"Bring keys that were issued elsewhere; they go on working."`
	Self        keySelfCmd        `cmd:"" help:"Show the key that is the credential (--token)."`
	RevokeSelf  keyRevokeSelfCmd  `cmd:"" help:"End the key that is the credential (--token), for good."`
	ReportLeak  keyReportLeakCmd  `cmd:"" help:"Tell that a token was found where it must not be."`
	Leaks       keyLeaksCmd       `cmd:"" help:"List where a key was found, the newest report first."`
	Verify      keyVerifyCmd      `cmd:"" help:"Ask whether a token may do something; fails unless it is VALID."`
	VerifyAll   keyVerifyAllCmd   `cmd:"" help:"Ask that about up to 1000 tokens, a line of standard input each; fails unless all are VALID."`
	Policy      keyPolicyCmd      `cmd:"" help:"What a tenant demands of its keys and of those below it."`
}

func showKey(g *Globals, v any, k client.APIKey, more ...pair) error {
	shown := k.Prefix + "…" + k.Last4
	ips := k.AllowedIPs
	if len(ips) == 0 {
		ips = []string{"any"}
	}
	return g.show(v, append([]pair{
		{"id", k.ID},
		{"name", k.Name},
		{"description", k.Description},
		{"tenant", k.TenantID},
		{"project", k.ProjectID},
		{"product", k.Product},
		{"environment", k.Environment},
		{"token is", shown},
		{"state", k.State},
		{"disabled", k.DisabledAt},
		{"why", k.DisabledReason},
		{"scopes", k.Scopes},
		{"addresses", ips},
		{"requests/min", k.RateLimitRPM},
		{"rate limits", rateTexts(k.RateLimits)},
		{"expires", k.ExpiresAt},
		{"revoked", k.RevokedAt},
		{"reason", k.RevokedReason},
		{"rotated from", k.RotatedFrom},
		{"rotated to", k.RotatedTo},
		{"works until", k.GraceEndsAt},
		{"generation", k.Generation},
		{"uses", k.UsageCount},
		{"last used", k.LastUsedAt},
		{"from", k.LastUsedIP},
		{"metadata", k.Metadata},
		{"issued by", k.CreatedBy},
		{"imported", k.ImportedAt},
		{"leaked", k.LeakedAt},
		{"created", k.CreatedAt},
	}, more...)...)
}

type keyArg struct {
	tenantArg

	Key string `arg:"" help:"Id of the key, not its token."`
}

type keyCreateCmd struct {
	tenantArg

	Name        string            `arg:"" help:"What it is for; unique among the tenant's keys that are not revoked."`
	Scope       []string          `help:"What it may do: exact (renders:create) or noun:*; repeatable." short:"s" placeholder:"SCOPE"`
	Env         string            `help:"Environment: ${enum}." enum:"live, test" default:"live"`
	Product     string            `help:"Confine it to a product." placeholder:"NAME"`
	Project     string            `help:"Confine it to a project." placeholder:"ID"`
	IP          []string          `name:"ip" help:"Address or CIDR that it works from; repeatable. Without: from everywhere." placeholder:"CIDR"`
	RPM         int               `name:"rpm" help:"Requests a minute. Without: what the tenant's plan says, else 600." placeholder:"N"`
	Limit       []rateLimitFlag   `help:"Rate limit beside that one, NAME=LIMIT/WINDOW[,burst=N][,named-only], such as renders=100/60s; repeatable." sep:"none" placeholder:"LIMIT"`
	TTL         *ttl              `help:"How long it lives, such as 90d or 12h. Without: until revoked, or as long as the tenant may let it." placeholder:"DURATION"`
	Description string            `help:"More about it." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Yours; a verification returns it. Repeatable." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *keyCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.CreateAPIKey{
		Name: c.Name, Description: c.Description, Environment: c.Env, Product: c.Product, ProjectID: c.Project, Scopes: c.Scope,
		AllowedIPs: c.IP, RateLimitRPM: c.RPM, RateLimits: rateLimits(c.Limit), Metadata: metadata(c.Metadata),
	}
	if c.TTL != nil {
		in.ExpiresAt = c.TTL.from(time.Now())
	}
	k, err := api.APIKeys.Create(ctx, c.Tenant, in)
	if err != nil {
		return err
	}
	g.done("The token is shown this once:")
	return showKey(g, k, k.APIKey, pair{"token", k.Token})
}

// from returns the end of a life that begins at t.
func (t ttl) from(at time.Time) *time.Time {
	end := at.Add(time.Duration(t)).UTC().Truncate(time.Second)
	return &end
}

// keyFlags choose keys of a list.
type keyFlags struct {
	Env       string `help:"Only of this environment: live or test." placeholder:"ENV"`
	Product   string `help:"Only those confined to this product." placeholder:"NAME"`
	State     string `help:"Only those that are active, disabled, expired or revoked now." placeholder:"STATE"`
	Prefix    string `help:"Only those whose token begins so." placeholder:"TEXT"`
	Last4     string `name:"last4" help:"Only those whose token ends so." placeholder:"TEXT"`
	CreatedBy string `help:"Only those that this one issued: type and id." placeholder:"TYPE:ID"`
	Leaked    bool   `help:"Only those that were reported as leaked."`
	Expiring  *ttl   `help:"Only those that end within this time, such as 30d." placeholder:"DURATION"`
}

func (f keyFlags) filter(page client.ListOptions) client.APIKeyFilter {
	out := client.APIKeyFilter{
		Environment: f.Env, Product: f.Product, State: f.State, Prefix: f.Prefix, Last4: f.Last4, CreatedBy: f.CreatedBy, Leaked: f.Leaked,
		ListOptions: page,
	}
	if f.Expiring != nil {
		out.ExpiringBefore = *f.Expiring.from(time.Now())
	}
	return out
}

type keyListCmd struct {
	tenantArg
	listFlags
	keyFlags

	Project string `help:"Only those confined to this project." placeholder:"ID"`
}

// Run implements the command.
func (c *keyListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	f := c.filter(c.options())
	f.ProjectID = c.Project
	p, err := api.APIKeys.List(ctx, c.Tenant, f)
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "NAME", "TOKEN", "ENV", "STATE", "SCOPES", "EXPIRES", "LAST USED"}, func(k client.APIKey) []any {
		return []any{k.ID, k.Name, k.Prefix + "…" + k.Last4, k.Environment, k.State, k.Scopes, ends(k), k.LastUsedAt}
	})
}

// ends is when a key stops working by itself, nil for never.
func ends(k client.APIKey) *time.Time {
	if k.GraceEndsAt != nil && (k.ExpiresAt == nil || k.GraceEndsAt.Before(*k.ExpiresAt)) {
		return k.GraceEndsAt
	}
	return k.ExpiresAt
}

type keySearchCmd struct {
	listFlags
	keyFlags
}

// Run implements the command.
func (c *keySearchCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.APIKeys.Search(ctx, c.filter(c.options()))
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "TENANT", "NAME", "TOKEN", "ENV", "STATE", "EXPIRES", "ISSUED BY"}, func(k client.TenantAPIKey) []any {
		return []any{k.ID, k.TenantSlug, k.Name, k.Prefix + "…" + k.Last4, k.Environment, k.State, ends(k.APIKey), k.CreatedBy}
	})
}

type keyGetCmd struct{ keyArg }

// Run implements the command.
func (c *keyGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	k, err := api.APIKeys.Get(ctx, c.Tenant, c.Key)
	if err != nil {
		return err
	}
	return showKey(g, k, *k)
}

type keyUpdateCmd struct {
	keyArg

	Name        *string           `help:"New name." placeholder:"NAME"`
	Description *string           `help:"New description." placeholder:"TEXT"`
	Scope       []string          `help:"New scopes, in place of all others; repeatable." short:"s" xor:"scopes" placeholder:"SCOPE"`
	NoScopes    bool              `help:"Take all scopes away." xor:"scopes"`
	IP          []string          `name:"ip" help:"New addresses and CIDRs, in place of all others; repeatable." xor:"ips" placeholder:"CIDR"`
	AnyIP       bool              `name:"any-ip" help:"Let it work from everywhere." xor:"ips"`
	RPM         *int              `name:"rpm" help:"New number of requests a minute." placeholder:"N"`
	Limit       []rateLimitFlag   `help:"New rate limits beside that one, in place of all others: NAME=LIMIT/WINDOW[,burst=N][,named-only]; repeatable." sep:"none" xor:"limits" placeholder:"LIMIT"`
	NoLimits    bool              `help:"Take away all rate limits but the number of requests a minute." xor:"limits"`
	TTL         *ttl              `help:"End it this long from now." xor:"expiry" placeholder:"DURATION"`
	NoExpiry    bool              `help:"Let it live until revoked, or as long as the tenant may let it." xor:"expiry"`
	Enable      bool              `help:"Let it work again." xor:"active"`
	Disable     bool              `help:"Stop it until it is enabled." xor:"active"`
	Metadata    map[string]string `help:"Set keys of the metadata; an empty value takes a key away. Repeatable." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *keyUpdateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.UpdateAPIKey{Name: optional(c.Name), Description: optional(c.Description), RateLimitRPM: optional(c.RPM)}
	if c.Scope != nil || c.NoScopes {
		in.Scopes = client.Set(append([]string{}, c.Scope...))
	}
	if c.IP != nil || c.AnyIP {
		in.AllowedIPs = client.Set(append([]string{}, c.IP...))
	}
	if c.Limit != nil || c.NoLimits {
		in.RateLimits = client.Set(rateLimits(c.Limit))
	}
	if c.TTL != nil {
		in.ExpiresAt = client.Set(*c.TTL.from(time.Now()))
	}
	if c.NoExpiry {
		in.ExpiresAt = client.Null[time.Time]()
	}
	if c.Enable || c.Disable {
		in.IsActive = client.Set(c.Enable)
	}
	if c.Metadata != nil {
		m := metadata(c.Metadata)
		for k, v := range m {
			if v == "" {
				m[k] = nil
			}
		}
		in.Metadata = client.Set(m)
	}
	k, err := api.APIKeys.Update(ctx, c.Tenant, c.Key, in)
	if err != nil {
		return err
	}
	return showKey(g, k, *k)
}

type keyRotateCmd struct {
	keyArg

	Grace    ttl  `help:"How long the old key goes on working, such as 24h or 7d; 0s ends it at once." required:"" placeholder:"DURATION"`
	TTL      *ttl `help:"How long the new key lives. Without: as long as the old one would have." xor:"expiry" placeholder:"DURATION"`
	NoExpiry bool `help:"Let the new key live until revoked, or as long as the tenant may let it." xor:"expiry"`
}

// Run implements the command.
func (c *keyRotateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.RotateAPIKey{Grace: int(time.Duration(c.Grace) / time.Second)}
	if c.TTL != nil {
		in.ExpiresAt = client.Set(*c.TTL.from(time.Now()))
	}
	if c.NoExpiry {
		in.ExpiresAt = client.Null[time.Time]()
	}
	k, err := api.APIKeys.Rotate(ctx, c.Tenant, c.Key, in)
	if err != nil {
		return err
	}
	if c.Grace == 0 {
		g.done("%s works no more. The new key's token is shown this once:", c.Key)
	} else {
		g.done("%s works for %s more. The new key's token is shown this once:", c.Key, c.Grace)
	}
	return showKey(g, k, k.APIKey, pair{"token", k.Token})
}

type keyGenerationsCmd struct {
	keyArg
	listFlags
}

// Run implements the command.
func (c *keyGenerationsCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.APIKeys.Generations(ctx, c.Tenant, c.Key, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"GENERATION", "ID", "TOKEN", "STATE", "ISSUED", "EXPIRES", "LAST USED"}, func(k client.APIKey) []any {
		return []any{k.Generation, k.ID, k.Prefix + "…" + k.Last4, k.State, k.CreatedAt, ends(k), k.LastUsedAt}
	})
}

type keyRevokeCmd struct {
	keyArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
	Yes    bool   `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *keyRevokeCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Revoke %s for good?", c.Key); err != nil {
		return err
	}
	k, err := api.APIKeys.Revoke(ctx, c.Tenant, c.Key, c.Reason)
	if err != nil {
		return err
	}
	g.done("Revoked %s.", k.ID)
	return showKey(g, k, *k)
}

type keySelfCmd struct{}

// Run implements the command.
func (c *keySelfCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	k, err := api.APIKeys.Self(ctx)
	if err != nil {
		return err
	}
	return showKey(g, k, k.APIKey, pair{"slug", k.TenantSlug}, pair{"tenant is", k.TenantStatus}, pair{"products", k.Products})
}

type keyRevokeSelfCmd struct {
	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
	Yes    bool   `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *keyRevokeSelfCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Revoke the key that is the credential for good?"); err != nil {
		return err
	}
	k, err := api.APIKeys.RevokeSelf(ctx, c.Reason)
	if err != nil {
		return err
	}
	g.done("Revoked %s.", k.ID)
	return showKey(g, k, *k)
}

type keyDisableCmd struct {
	keyArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

// Run implements the command.
func (c *keyDisableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	k, err := api.APIKeys.Disable(ctx, c.Tenant, c.Key, c.Reason)
	if err != nil {
		return err
	}
	return showKey(g, k, *k)
}

type keyEnableCmd struct {
	keyArg

	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

// Run implements the command.
func (c *keyEnableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	k, err := api.APIKeys.Enable(ctx, c.Tenant, c.Key, c.Reason)
	if err != nil {
		return err
	}
	return showKey(g, k, *k)
}

// askFlags are what is asked about a token.
type askFlags struct {
	Product string      `help:"Product that the tenant must be entitled to." placeholder:"NAME"`
	Project string      `help:"Project that the key must reach." placeholder:"ID"`
	Env     string      `help:"Environment that the key must be of: live or test." placeholder:"ENV"`
	Scope   []string    `help:"Scope that the key must hold; repeatable." short:"s" placeholder:"SCOPE"`
	Write   bool        `help:"Ask for a request that changes something."`
	IP      string      `name:"ip" help:"Address of the end caller." placeholder:"ADDR"`
	Cost    *int64      `help:"What to spend of each rate limit; 0 neither spends nor counts." placeholder:"N"`
	Limit   []limitCost `help:"What to spend of the rate limits of a name, NAME:COST, or NAME for 1; repeatable." sep:"none" placeholder:"NAME"`
}

func (f askFlags) about(token string) client.VerifyKey {
	q := client.VerifyKey{
		Key: token, Product: f.Product, Project: f.Project, Environment: f.Env, Scopes: f.Scope, Write: f.Write, IP: f.IP, Cost: f.Cost,
	}
	for _, l := range f.Limit {
		q.Limits = append(q.Limits, client.RateLimitCost(l))
	}
	return q
}

type keyVerifyAllCmd struct{ askFlags }

// Run implements the command.
func (c *keyVerifyAllCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	var in []client.VerifyKey
	for lines := bufio.NewScanner(g.in); lines.Scan(); {
		if token := strings.TrimSpace(lines.Text()); token != "" {
			in = append(in, c.about(token))
		}
	}
	results, err := api.APIKeys.VerifyAll(ctx, in)
	if err != nil {
		return err
	}
	valid := 0
	for _, r := range results {
		if r.Verification != nil && r.Verification.Valid {
			valid++
		}
	}
	err = table(g, &client.Page[client.VerifyResult]{Data: results}, []string{"OUTCOME", "KEY", "NAME", "TENANT"}, func(r client.VerifyResult) []any {
		if r.Error != nil {
			return []any{r.Error.Code, "", "", ""}
		}
		return []any{r.Verification.Outcome, r.Verification.KeyID, r.Verification.KeyName, r.Verification.TenantSlug}
	})
	if err == nil && valid < len(results) {
		err = fmt.Errorf("%d of %d keys are not valid for this", len(results)-valid, len(results))
	}
	return err
}

type keyVerifyCmd struct {
	Key string `arg:"" help:"The token; - reads it from standard input, where no other process sees it."`
	askFlags
}

// Run implements the command.
func (c *keyVerifyCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if c.Key == "-" {
		line, _ := bufio.NewReader(g.in).ReadString('\n')
		c.Key = strings.TrimSpace(line)
	}
	v, err := api.APIKeys.Verify(ctx, c.about(c.Key))
	if err != nil {
		return err
	}
	pairs := []pair{
		{"outcome", v.Outcome},
		{"key", v.KeyID},
		{"name", v.KeyName},
		{"tenant", v.TenantID},
		{"slug", v.TenantSlug},
		{"project", v.ProjectID},
		{"product", v.Product},
		{"environment", v.Environment},
		{"scopes", v.Scopes},
		{"metadata", v.Metadata},
		{"expires", v.ExpiresAt},
	}
	if v.ReadOnly {
		pairs = append(pairs, pair{"read only", v.ReadOnly})
	}
	if v.Entitlement != nil {
		pairs = append(pairs, pair{"config", v.Entitlement.Config}, pair{"entitled until", v.Entitlement.ExpiresAt})
	}
	if r := v.RateLimit; r != nil {
		pairs = append(pairs, pair{"rate limit", leftText(r.Remaining, r.Limit, r.Reset, r.RetryAfter)})
	}
	for _, r := range v.RateLimits {
		if r.Name != "key" { // said already
			pairs = append(pairs, pair{r.Name, leftText(r.Remaining, r.Limit, r.Reset, r.RetryAfter)})
		}
	}
	if err := g.show(v, pairs...); err != nil {
		return err
	}
	if !v.Valid {
		return fmt.Errorf("the key is not valid for this: %s", v.Outcome)
	}
	return nil
}
