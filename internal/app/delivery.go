package app

import (
	"context"
	"fmt"

	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/webhook"
)

// deliveryConns are the engine's own connections: the outbox, the queue, what is
// due and two writers. Whatever it does, requests have the others.
const deliveryConns = 5

// openDeliveries makes the engine that sends webhooks, over a pool of its own.
func (a *App) openDeliveries() error {
	db, err := pg.Open(context.Background(), pg.Config{
		URL: a.cfg.DatabaseURL, MaxConns: deliveryConns, AppName: "landlord-webhooks", Session: webhook.Session(),
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, func(context.Context) { db.Close() })
	c := a.cfg.Webhooks
	c.Keys, c.Send, c.Log, c.Timeout = a.cfg.Keys, a.outbound.Do, a.log, a.cfg.Egress.Timeout
	c.UserAgent = "landlord/" + a.cfg.Version
	if a.deliveries, err = webhook.NewEngine(db, c); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	return nil
}

// stopDeliveries lets requests under way end within the time that there is for that.
func (a *App) stopDeliveries(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ShutdownTimeout)
	defer cancel()
	a.deliveries.Stop(ctx)
}

func (a *App) deliveryMetrics() {
	counter := func(name, help string, of func(webhook.Stats) uint64) {
		a.metrics.Counter("landlord_webhook_"+name+"_total", help, func() float64 { return float64(of(a.deliveries.Stats())) })
	}
	gauge := func(name, help string, of func(webhook.Stats) float64) {
		a.metrics.Gauge("landlord_webhook_"+name, help, func() float64 { return of(a.deliveries.Stats()) })
	}
	counter("events", "Events read from the outbox.", func(s webhook.Stats) uint64 { return s.Events })
	counter("deliveries", "Deliveries made of them.", func(s webhook.Stats) uint64 { return s.Deliveries })
	counter("skipped", "Deliveries for endpoints that were not active.", func(s webhook.Stats) uint64 { return s.Skipped })
	counter("held", "Deliveries held because their tenant was suspended.", func(s webhook.Stats) uint64 { return s.Held })
	counter("claimed", "Deliveries taken from the queue; the others were sent as they were made.", func(s webhook.Stats) uint64 { return s.Claimed })
	counter("delivered", "Deliveries that arrived.", func(s webhook.Stats) uint64 { return s.Delivered })
	counter("failures", "Requests that failed.", func(s webhook.Stats) uint64 { return s.Failed })
	counter("given_up", "Deliveries that are not tried again.", func(s webhook.Stats) uint64 { return s.GaveUp })
	counter("disabled", "Endpoints that were disabled for failing.", func(s webhook.Stats) uint64 { return s.Disabled })
	counter("reaped", "Claims of replicas that died or were cut off.", func(s webhook.Stats) uint64 { return s.Reaped })
	counter("sweeps", "Looks for what is due.", func(s webhook.Stats) uint64 { return s.Sweeps })
	gauge("in_flight", "Requests under way.", func(s webhook.Stats) float64 { return float64(s.InFlight) })
	gauge("ready", "Endpoints with something due that wait for their turn.", func(s webhook.Stats) float64 { return float64(s.Ready) })
	gauge("senders", "Replicas that send.", func(s webhook.Stats) float64 { return float64(s.Senders) })
	gauge("sweep_seconds", "How long the last look for what is due took.", func(s webhook.Stats) float64 { return s.SweepLast.Seconds() })
	gauge("sweep_longest_seconds", "How long the longest took.", func(s webhook.Stats) float64 { return s.SweepLongest.Seconds() })
}
