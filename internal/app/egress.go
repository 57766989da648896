package app

import (
	"context"
	"fmt"

	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/webhook"
)

// openEgress makes the client for URLs of tenants, and says what of the guard the operator has opened.
func (a *App) openEgress() error {
	c := a.cfg.Egress
	if c.UserAgent == "" {
		c.UserAgent = "landlord/" + a.cfg.Version
	}
	if c.MaxPerKey == 0 {
		c.MaxPerKey = webhook.MaxFlights // an endpoint's own limit is the one that counts
	}
	c.Observe = a.metrics.ObserveEgress
	client, err := outbound.New(c)
	if err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	a.outbound = client
	a.closers = append(a.closers, func(context.Context) { client.Close() })
	if len(c.Allow) > 0 || len(c.Ports) > 0 || c.AllowHTTP {
		a.log.Info("egress is opened", "allow", c.Allow, "ports", c.Ports, "http", c.AllowHTTP)
	}
	return nil
}
