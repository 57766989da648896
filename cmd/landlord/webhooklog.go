package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/landlordhq/landlord/client"
)

type webhookDeliveryCmd struct{ webhookDeliveryArg }

// Run implements the command.
func (c *webhookDeliveryCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	d, err := api.Webhooks.Delivery(ctx, c.Tenant, c.Webhook, c.Delivery)
	if err != nil {
		return err
	}
	return showDetail(g, d)
}

func showDetail(g *Globals, d *client.WebhookDeliveryDetail) error {
	payload, err := json.Marshal(d.Payload)
	if err != nil {
		return err
	}
	pairs := []pair{
		{"id", d.ID},
		{"event", d.EventID},
		{"type", d.EventType},
		{"state", d.State},
		{"reason", d.Reason},
		{"tries", d.Attempts},
		{"next", d.NextAttemptAt},
		{"delivered", d.DeliveredAt},
		{"happened", d.CreatedAt},
		{"payload", string(payload)},
	}
	for _, a := range d.Log {
		line := fmt.Sprintf("%s  %s  %d ms", text(a.CreatedAt), status(a.ResponseStatus), a.DurationMS)
		if a.ErrorMessage != "" {
			line += "  " + a.ErrorMessage
		}
		pairs = append(pairs, pair{fmt.Sprintf("try %d", a.Attempt), line})
	}
	return g.show(d, pairs...)
}

type webhookDeliveryArg struct {
	webhookArg

	Delivery string `arg:"" help:"Id of the delivery."`
}

func showDelivery(g *Globals, d *client.WebhookDelivery) error {
	return g.show(d, pair{"id", d.ID}, pair{"event", d.EventID}, pair{"type", d.EventType}, pair{"state", d.State}, pair{"reason", d.Reason},
		pair{"tries", d.Attempts}, pair{"next", d.NextAttemptAt}, pair{"happened", d.CreatedAt})
}

type webhookResendCmd struct{ webhookDeliveryArg }

// Run implements the command.
func (c *webhookResendCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	d, err := api.Webhooks.Resend(ctx, c.Tenant, c.Webhook, c.Delivery)
	if err != nil {
		return err
	}
	g.done("It is sent again now.")
	return showDelivery(g, d)
}

type webhookTestCmd struct {
	webhookArg

	Wait time.Duration `help:"How long to wait for what becomes of it; 0s: not at all." default:"20s" placeholder:"DURATION"`
}

// Run implements the command. It fails when the test event does not arrive.
func (c *webhookTestCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	d, err := api.Webhooks.Test(ctx, c.Tenant, c.Webhook)
	if err != nil {
		return err
	}
	if c.Wait <= 0 {
		return showDelivery(g, d)
	}
	g.done("A webhook.test event is on its way.")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(c.Wait); ; {
		got, err := api.Webhooks.Delivery(ctx, c.Tenant, c.Webhook, d.ID)
		if err != nil {
			return err
		}
		waits := got.State == "claimed" || got.State == "pending" && got.Attempts == 0
		if !waits || time.Now().After(end) {
			return c.report(g, got)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (c *webhookTestCmd) report(g *Globals, d *client.WebhookDeliveryDetail) error {
	if err := showDetail(g, d); err != nil || d.State == "delivered" {
		return err
	}
	if len(d.Log) == 0 {
		return fmt.Errorf("nothing has been sent within %v: the delivery is %s", c.Wait, d.State)
	}
	return fmt.Errorf("it did not arrive: %s", d.Log[len(d.Log)-1].ErrorMessage)
}

// rangeFlags choose what happened in a time.
type rangeFlags struct {
	Type  string  `help:"Only events of this type, or below this prefix: render.*." placeholder:"PATTERN"`
	Until instant `help:"Only what happened before: RFC 3339, a date, or an age such as 1h. Without it, up to now." placeholder:"TIME"`
}

// pieces calls until there is nothing left, and says how far it is. What was done
// before ctrl-c stays done.
func pieces(ctx context.Context, g *Globals, done string, r client.WebhookRange, call func(client.WebhookRange) (*client.WebhookPiece, error)) error {
	total := client.WebhookPiece{}
	for {
		p, err := call(r)
		if err != nil {
			return fmt.Errorf("after %s: %w", plural(total.Deliveries, done), err)
		}
		total.Deliveries += p.Deliveries
		if p.Through != nil {
			total.Through, r.Since = p.Through, *p.Through
		}
		if !p.More {
			break
		}
		g.done("%s, up to %s.", plural(total.Deliveries, done), text(p.Through))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return g.show(total, pair{"deliveries", total.Deliveries}, pair{"through", total.Through})
}

type webhookRecoverCmd struct {
	webhookArg
	rangeFlags

	Since instant  `help:"What happened since: RFC 3339, a date, or an age such as 24h or 7d; at most 30 days." required:"" placeholder:"TIME"`
	State []string `help:"Those that are failed, skipped or cancelled; repeatable. Without: the first two." placeholder:"STATE"`
}

// Run implements the command.
func (c *webhookRecoverCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	r := client.WebhookRange{Since: time.Time(c.Since), Until: time.Time(c.Until), Type: c.Type, States: c.State}
	return pieces(ctx, g, "recovered delivery", r, func(r client.WebhookRange) (*client.WebhookPiece, error) {
		return api.Webhooks.Recover(ctx, c.Tenant, c.Webhook, r)
	})
}

type webhookReplayCmd struct {
	webhookArg
	rangeFlags

	Since instant `help:"What happened since: RFC 3339, a date, or an age such as 24h or 7d; at most 30 days." required:"" placeholder:"TIME"`
}

// Run implements the command.
func (c *webhookReplayCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	r := client.WebhookRange{Since: time.Time(c.Since), Until: time.Time(c.Until), Type: c.Type}
	return pieces(ctx, g, "replayed event", r, func(r client.WebhookRange) (*client.WebhookPiece, error) {
		return api.Webhooks.Replay(ctx, c.Tenant, c.Webhook, r)
	})
}

type webhookCancelCmd struct {
	webhookArg
	rangeFlags

	Delivery string  `arg:"" optional:"" help:"Id of the one delivery to cancel; without it, all that wait."`
	Since    instant `help:"Only what happened since: RFC 3339, a date, or an age such as 24h." placeholder:"TIME"`
}

// Run implements the command.
func (c *webhookCancelCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	if c.Delivery != "" {
		d, err := api.Webhooks.CancelDelivery(ctx, c.Tenant, c.Webhook, c.Delivery)
		if err != nil {
			return err
		}
		return showDelivery(g, d)
	}
	r := client.WebhookRange{Since: time.Time(c.Since), Until: time.Time(c.Until), Type: c.Type}
	return pieces(ctx, g, "cancelled delivery", r, func(r client.WebhookRange) (*client.WebhookPiece, error) {
		return api.Webhooks.Cancel(ctx, c.Tenant, c.Webhook, r)
	})
}

type webhookStatsCmd struct {
	webhookArg

	Since instant `help:"From when on: RFC 3339, a date, or an age such as 24h or 7d. Without it, the last day." placeholder:"TIME"`
}

// Run implements the command.
func (c *webhookStatsCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	s, err := api.Webhooks.Stats(ctx, c.Tenant, c.Webhook, time.Time(c.Since), time.Time{})
	if err != nil {
		return err
	}
	if done, err := g.json(s); done {
		return err
	}
	row := func(when string, f client.WebhookFare) []any {
		return []any{when, f.Attempts, f.Failures, fmt.Sprintf("%.2f %%", 100*f.SuccessRate), f.P50, f.P95, f.LastFailureAt, f.LastFailureClass}
	}
	rows := slices.Concat(s.Hours, []client.WebhookHour{{WebhookFare: s.Total}})
	return table(g, &client.Page[client.WebhookHour]{Data: rows}, []string{"HOUR", "TRIES", "FAILED", "SUCCEEDED", "P50 MS", "P95 MS", "LAST FAILURE", "WHY"}, func(h client.WebhookHour) []any {
		if h.Hour.IsZero() {
			return row("in all", h.WebhookFare)
		}
		return row(text(h.Hour), h.WebhookFare)
	})
}
