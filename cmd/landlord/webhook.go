package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// webhooksCmd is the command group of webhook endpoints.
type webhooksCmd struct {
	Create     webhookCreateCmd     `cmd:"" help:"Make an endpoint; its signing secret is printed once."`
	List       webhookListCmd       `cmd:"" help:"List a tenant's endpoints, newest first." aliases:"ls"`
	Get        webhookGetCmd        `cmd:"" help:"Show an endpoint."`
	Update     webhookUpdateCmd     `cmd:"" help:"Change an endpoint."`
	Pause      webhookPauseCmd      `cmd:"" help:"Stop sending for a while; what happens meanwhile can be recovered."`
	Disable    webhookDisableCmd    `cmd:"" help:"Stop sending until it is enabled."`
	Enable     webhookEnableCmd     `cmd:"" help:"Send again, from now on."`
	Delete     webhookDeleteCmd     `cmd:"" help:"Take an endpoint away for good."`
	Secrets    webhookSecretsCmd    `cmd:"" help:"List the secrets that sign, without their values."`
	Rotate     webhookRotateCmd     `cmd:"" help:"Add a signing secret and end the ones before it after an overlap."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"List what was sent to an endpoint, and what became of it."`
	Delivery   webhookDeliveryCmd   `cmd:"" help:"Show a delivery with each of its requests."`
	Resend     webhookResendCmd     `cmd:"" help:"Send a delivery again, now, whatever became of it."`
	Recover    webhookRecoverCmd    `cmd:"" help:"Send again what failed, or was skipped while the endpoint was not active."`
	Replay     webhookReplayCmd     `cmd:"" help:"Send what an endpoint was never sent although it wants it now."`
	Cancel     webhookCancelCmd     `cmd:"" help:"Give up what waits to be sent; it can be recovered."`
	Test       webhookTestCmd       `cmd:"" help:"Send a test event through everything, and show what becomes of it."`
	Stats      webhookStatsCmd      `cmd:"" help:"Show how an endpoint fares, by hours."`
	Listen     webhookListenCmd     `cmd:"" help:"Send a tenant's events to this machine, signed, without a public address."`
	Verify     webhookVerifyCmd     `cmd:"" help:"Verify a request that was received, and say what is wrong with it."`
}

func showWebhook(g *Globals, v any, w client.Webhook, more ...pair) error {
	limit := ""
	if w.RateLimit != nil {
		limit = fmt.Sprintf("%d a %s", *w.RateLimit, w.RatePeriod)
	}
	failures := ""
	if w.ConsecutiveFailures > 0 {
		failures = fmt.Sprintf("%d in a row, since %s", w.ConsecutiveFailures, text(w.FirstFailureAt))
	}
	return g.show(v, append([]pair{
		{"id", w.ID},
		{"name", w.Name},
		{"description", w.Description},
		{"tenant", w.TenantID},
		{"project", w.ProjectID},
		{"url", w.URL},
		{"events", w.Events},
		{"status", w.Status},
		{"reason", w.StatusReason},
		{"disabled", w.DisabledAt},
		{"headers", w.Headers},
		{"signatures", w.Signatures},
		{"rate limit", limit},
		{"in flight", w.MaxInFlight},
		{"failures", failures},
		{"last sent", w.LastTriggeredAt},
		{"answered", status(w.LastStatusCode)},
		{"metadata", w.Metadata},
		{"created", w.CreatedAt},
	}, more...)...)
}

// status is an HTTP status as a table shows it.
func status(code *int) string {
	if code == nil {
		return ""
	}
	return fmt.Sprint(*code)
}

type webhookArg struct {
	tenantArg

	Webhook string `arg:"" help:"Id of the endpoint."`
}

type webhookCreateCmd struct {
	tenantArg

	Name        string            `arg:"" help:"What it is for."`
	URL         string            `arg:"" name:"url" help:"Where to send to."`
	Event       []string          `help:"Event types it is told: exact, or a prefix such as render.*, or *; repeatable." short:"e" required:"" placeholder:"PATTERN"`
	Project     string            `help:"Only events of this project." placeholder:"ID"`
	Header      map[string]string `help:"Header to send along; stored encrypted. Repeatable." placeholder:"NAME=VALUE"`
	Signature   []string          `help:"Version of its signatures: v1, v1a; repeatable. Without: v1." placeholder:"VERSION"`
	Secret      string            `help:"A signing secret that the receiver has already." placeholder:"whsec_…"`
	Rate        string            `help:"Requests at most, such as 10/second or 100/minute." placeholder:"N/PERIOD"`
	InFlight    int               `help:"Requests under way at a time, 1 to 100." default:"10" placeholder:"N"`
	Description string            `help:"More about it." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Your own data; repeatable." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *webhookCreateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.CreateWebhook{
		Name: c.Name, URL: c.URL, Events: c.Event, ProjectID: c.Project, Headers: c.Header, Signatures: c.Signature, Secret: c.Secret,
		MaxInFlight: c.InFlight, Description: c.Description, Metadata: metadata(c.Metadata),
	}
	if c.Rate != "" {
		n, period, err := parseRate(c.Rate)
		if err != nil {
			return err
		}
		in.RateLimit, in.RatePeriod = &n, period
	}
	w, err := api.Webhooks.Create(ctx, c.Tenant, in)
	if err != nil {
		return err
	}
	g.done("What requests are signed with is shown this once:")
	return showWebhook(g, w, w.Webhook, secretPairs(w.Secrets...)...)
}

func secretPairs(secrets ...client.IssuedWebhookSecret) []pair {
	var out []pair
	for _, s := range secrets {
		out = append(out, pair{"secret " + s.Version, s.Secret})
		if s.PublicKey != "" {
			out = append(out, pair{"public key", s.PublicKey})
		}
	}
	return out
}

// parseRate reads N/second or N/minute.
func parseRate(s string) (n int, period string, err error) {
	number, period, _ := strings.Cut(s, "/")
	if _, err := fmt.Sscanf(number, "%d", &n); err != nil || period != "second" && period != "minute" {
		return 0, "", fmt.Errorf("%q is no rate: write N/second or N/minute", s)
	}
	return n, period, nil
}

type webhookListCmd struct {
	tenantArg
	listFlags

	Project string `help:"Only those of this project." placeholder:"ID"`
	Status  string `help:"Only those that are active, paused or disabled." placeholder:"STATUS"`
}

// Run implements the command.
func (c *webhookListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Webhooks.List(ctx, c.Tenant, client.WebhookFilter{ProjectID: c.Project, Status: c.Status, ListOptions: c.options()})
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "NAME", "URL", "EVENTS", "STATUS", "ANSWERED", "LAST SENT"}, func(w client.Webhook) []any {
		return []any{w.ID, w.Name, w.URL, w.Events, w.Status, status(w.LastStatusCode), w.LastTriggeredAt}
	})
}

type webhookGetCmd struct{ webhookArg }

// Run implements the command.
func (c *webhookGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	w, err := api.Webhooks.Get(ctx, c.Tenant, c.Webhook)
	if err != nil {
		return err
	}
	return showWebhook(g, w, *w)
}

type webhookUpdateCmd struct {
	webhookArg

	Name        *string           `help:"New name." placeholder:"NAME"`
	URL         *string           `name:"url" help:"New address." placeholder:"URL"`
	Event       []string          `help:"New event types, in place of all others; repeatable." short:"e" placeholder:"PATTERN"`
	Header      map[string]string `help:"Set a header; an empty value takes it away. Repeatable." placeholder:"NAME=VALUE"`
	Signature   []string          `help:"New versions of its signatures; repeatable." placeholder:"VERSION"`
	Rate        *string           `help:"Requests at most, such as 10/second." xor:"rate" placeholder:"N/PERIOD"`
	NoRate      bool              `help:"No limit but --in-flight." xor:"rate"`
	InFlight    *int              `help:"Requests under way at a time." placeholder:"N"`
	Description *string           `help:"New description." placeholder:"TEXT"`
	Metadata    map[string]string `help:"Set keys of the metadata; an empty value takes a key away. Repeatable." placeholder:"KEY=VALUE"`
}

// Run implements the command.
func (c *webhookUpdateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in := client.UpdateWebhook{
		Name: optional(c.Name), URL: optional(c.URL), Description: optional(c.Description), MaxInFlight: optional(c.InFlight),
	}
	if c.Event != nil {
		in.Events = client.Set(c.Event)
	}
	if c.Signature != nil {
		in.Signatures = client.Set(c.Signature)
	}
	if c.Header != nil {
		headers := map[string]*string{}
		for name, value := range c.Header {
			if headers[name] = &value; value == "" {
				headers[name] = nil
			}
		}
		in.Headers = client.Set(headers)
	}
	if c.Rate != nil {
		n, period, err := parseRate(*c.Rate)
		if err != nil {
			return err
		}
		in.RateLimit, in.RatePeriod = client.Set(n), client.Set(period)
	}
	if c.NoRate {
		in.RateLimit = client.Null[int]()
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
	w, err := api.Webhooks.Update(ctx, c.Tenant, c.Webhook, in)
	if err != nil {
		return err
	}
	return showWebhook(g, w, *w)
}

type reasonFlag struct {
	Reason string `help:"Why, for the audit log." placeholder:"TEXT"`
}

type webhookPauseCmd struct {
	webhookArg
	reasonFlag
}

// Run implements the command.
func (c *webhookPauseCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	w, err := api.Webhooks.Pause(ctx, c.Tenant, c.Webhook, c.Reason)
	if err != nil {
		return err
	}
	g.done("Nothing is sent to %s until it is enabled.", w.Name)
	return showWebhook(g, w, *w)
}

type webhookDisableCmd struct {
	webhookArg
	reasonFlag
}

// Run implements the command.
func (c *webhookDisableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	w, err := api.Webhooks.Disable(ctx, c.Tenant, c.Webhook, c.Reason)
	if err != nil {
		return err
	}
	g.done("Nothing is sent to %s until it is enabled.", w.Name)
	return showWebhook(g, w, *w)
}

type webhookEnableCmd struct {
	webhookArg
	reasonFlag
}

// Run implements the command.
func (c *webhookEnableCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	w, err := api.Webhooks.Enable(ctx, c.Tenant, c.Webhook, c.Reason)
	if err != nil {
		return err
	}
	return showWebhook(g, w, *w)
}

type webhookDeleteCmd struct {
	webhookArg

	Yes bool `help:"Don't ask." short:"y"`
}

// Run implements the command.
func (c *webhookDeleteCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	w, err := api.Webhooks.Get(ctx, c.Tenant, c.Webhook)
	if err != nil {
		return err
	}
	if err := g.confirm(c.Yes, "Delete %s (%s) with its secrets and headers, and cancel what waits for it?", w.Name, w.URL); err != nil {
		return err
	}
	if err := api.Webhooks.Delete(ctx, c.Tenant, c.Webhook); err != nil {
		return err
	}
	g.done("Deleted %s.", c.Webhook)
	return nil
}

type webhookSecretsCmd struct{ webhookArg }

// Run implements the command.
func (c *webhookSecretsCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	secrets, err := api.Webhooks.Secrets(ctx, c.Tenant, c.Webhook)
	if err != nil {
		return err
	}
	return table(g, &client.Page[client.WebhookSecret]{Data: secrets}, []string{"VERSION", "PUBLIC KEY", "CREATED", "SIGNS UNTIL"}, func(s client.WebhookSecret) []any {
		return []any{s.Version, s.PublicKey, s.CreatedAt, s.ExpiresAt}
	})
}

type webhookRotateCmd struct {
	webhookArg

	Overlap ttl    `help:"How long the secrets before it go on signing beside it, such as 24h; 0s ends them at once." default:"24h" placeholder:"DURATION"`
	Version string `help:"Version of the signature: v1 or v1a." placeholder:"VERSION"`
	Secret  string `help:"A secret that the receiver has already." placeholder:"whsec_…"`
}

// Run implements the command.
func (c *webhookRotateCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	overlap := int(time.Duration(c.Overlap) / time.Second)
	s, err := api.Webhooks.RotateSecret(ctx, c.Tenant, c.Webhook, client.RotateWebhookSecret{Version: c.Version, Secret: c.Secret, Overlap: &overlap})
	if err != nil {
		return err
	}
	if overlap == 0 {
		g.done("Only this one signs from now on. It is shown this once:")
	} else {
		g.done("Both this one and those before it sign for %s more. It is shown this once:", c.Overlap)
	}
	return g.show(s, append(secretPairs(*s), pair{"created", s.CreatedAt})...)
}

type webhookDeliveriesCmd struct {
	webhookArg
	listFlags

	State string `help:"Only those that are pending, claimed, held, delivered, failed, skipped or cancelled." placeholder:"STATE"`
	Type  string `help:"Only events of this type, or below this prefix: render.*." placeholder:"PATTERN"`
	Since *ttl   `help:"Only what happened within this time, such as 24h." placeholder:"DURATION"`
}

// Run implements the command.
func (c *webhookDeliveriesCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	f := client.WebhookDeliveryFilter{State: c.State, Type: c.Type, ListOptions: c.options()}
	if c.Since != nil {
		f.Since = time.Now().Add(-time.Duration(*c.Since))
	}
	p, err := api.Webhooks.Deliveries(ctx, c.Tenant, c.Webhook, f)
	if err != nil {
		return err
	}
	return table(g, p, []string{"ID", "EVENT", "STATE", "REASON", "TRIES", "ANSWERED", "NEXT", "HAPPENED"}, func(d client.WebhookDelivery) []any {
		return []any{d.ID, d.EventType, d.State, d.Reason, d.Attempts, status(d.LastStatus), d.NextAttemptAt, d.CreatedAt}
	})
}
