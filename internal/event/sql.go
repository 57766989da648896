package event

import (
	"context"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// created_at is the statement's clock, not the transaction's: a transaction that
// began before midnight of a month's end still writes into a partition that exists.
const insertEvent = `
INSERT INTO tenant_events (id, tenant_id, project_id, type, payload, actor_type, actor_id, request_id, created_at)
VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), NULLIF($7, ''), NULLIF($8, ''), clock_timestamp())`

// Queue adds the insertion of an event to a batch of the caller's transaction.
func Queue(b *pg.Batch, e Event) {
	b.Queue(insertEvent, e.ID, e.TenantID, e.ProjectID, e.Type, e.Payload, e.ActorType, e.ActorID, e.RequestID)
}

const byIDSQL = `
SELECT id, tenant_id, project_id, type, payload,
	COALESCE(actor_type, '') AS actor_type, COALESCE(actor_id, '') AS actor_id, COALESCE(request_id, '') AS request_id, created_at
FROM tenant_events
WHERE tenant_id = $1 AND id = $2`

// ByID returns one event of a tenant, or pg.ErrNoRows. An event has the id of the
// audit record beside it.
func ByID(ctx context.Context, tx pg.Tx, tenant id.Tenant, event id.Event) (Event, error) {
	return pg.One[Event](ctx, tx, byIDSQL, tenant, event)
}
