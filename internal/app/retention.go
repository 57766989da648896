package app

import (
	"context"

	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// retention is what is kept for how long. A delivery is of no use without its
// event, so both go with the same month.
func (a *App) retention() []event.Keep {
	return []event.Keep{
		{Table: "tenant_events", For: a.cfg.KeepEvents},
		{Table: "tenant_webhook_deliveries", For: a.cfg.KeepEvents},
		{Table: "tenant_webhook_attempts", For: a.cfg.KeepWebhookAttempts},
		{Table: "tenant_webhook_stats", For: a.cfg.KeepWebhookAttempts},
	}
}

// recordErasure writes what was erased into the audit log, and into what is left
// of the tenant's events.
func recordErasure(ctx context.Context, tx pg.Tx, tenant id.Tenant, e event.Erased, reason string) error {
	return audit.Record(ctx, tx, audit.Event{
		Action: "event.erased", CRUD: "d", TenantID: tenant, Target: audit.Target{Type: "tenant", ID: tenant.String()}, Description: reason,
		Metadata: map[string]any{"before": e.Before, "events": e.Events},
	})
}
