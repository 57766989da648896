package webhook

import (
	"context"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Times are the database's, by which the engine decides what is due.

const lockDeliverySQL = selectDeliverySQL + `
FOR UPDATE`

func lockDelivery(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery) (Delivery, error) {
	return pg.One[Delivery](ctx, tx, lockDeliverySQL, tenant, endpoint, delivery)
}

const resendSQL = `
UPDATE tenant_webhook_deliveries
SET state = 'pending', reason = NULL, next_retry_at = statement_timestamp(), delivered_at = NULL, attempts_before = attempts,
	expires_at = statement_timestamp() + $4::interval
WHERE tenant_id = $1
	AND id = $2
	AND created_at = $3
RETURNING` + deliveryColumns

func resendDelivery(ctx context.Context, tx pg.Tx, d Delivery, ttl time.Duration) (Delivery, error) {
	return pg.One[Delivery](ctx, tx, resendSQL, d.TenantID, d.ID, d.CreatedAt, ttl)
}

const cancelOneSQL = `
UPDATE tenant_webhook_deliveries
SET state = 'cancelled', reason = 'cancelled', next_retry_at = NULL
WHERE tenant_id = $1
	AND id = $2
	AND created_at = $3
RETURNING` + deliveryColumns

func cancelDelivery(ctx context.Context, tx pg.Tx, d Delivery) (Delivery, error) {
	return pg.One[Delivery](ctx, tx, cancelOneSQL, d.TenantID, d.ID, d.CreatedAt)
}

// chosen are deliveries of an endpoint by their state, type and time, the oldest
// first. Whoever has one in hand is waited for, and it is looked at again.
const chosen = `
WHERE tenant_id = @tenant_id
	AND created_at >= @since
	AND created_at < @until
	AND id = ANY (ARRAY(
		SELECT q.id
		FROM tenant_webhook_deliveries AS q
		WHERE q.tenant_id = @tenant_id
			AND q.webhook_id = @webhook_id
			AND q.created_at >= @since
			AND q.created_at < @until
			AND q.state = ANY (@states)
			AND (@type = '' OR q.event_type = @type OR @prefix <> '' AND starts_with(q.event_type, @prefix))
		ORDER BY q.created_at
		LIMIT @most
		FOR UPDATE
	))
RETURNING created_at`

func (p Range) chosen(states []State, most int) pg.Named {
	since, until := p.bounds()
	exact, prefix := splitPattern(p.Type)
	return pg.Named{
		"tenant_id": p.TenantID, "webhook_id": p.EndpointID, "since": since, "until": until, "states": textsOf(states), "type": exact, "prefix": prefix, "most": most,
	}
}

// splitPattern is a pattern as it is asked for in a statement: two empty ones choose all.
func splitPattern(pattern string) (exact, prefix string) {
	if prefix, wild := strings.CutSuffix(pattern, Any); wild {
		return prefix, prefix // no type ends in a dot
	}
	return pattern, ""
}

func textsOf(states []State) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}

const recoverSQL = `
UPDATE tenant_webhook_deliveries
SET state = 'pending', reason = NULL, next_retry_at = statement_timestamp(), attempts_before = attempts,
	expires_at = statement_timestamp() + @ttl::interval` + chosen

func recoverDeliveries(ctx context.Context, tx pg.Tx, p RecoverParams, ttl time.Duration, most int) ([]time.Time, error) {
	args := p.chosen(p.States, most)
	args["ttl"] = ttl
	return pg.Scalars[time.Time](ctx, tx, recoverSQL, args)
}

const cancelSQL = `
UPDATE tenant_webhook_deliveries
SET state = 'cancelled', reason = 'cancelled', next_retry_at = NULL` + chosen

func cancelDeliveries(ctx context.Context, tx pg.Tx, p Range, most int) ([]time.Time, error) {
	return pg.Scalars[time.Time](ctx, tx, cancelSQL, p.chosen([]State{Pending, Held}, most))
}

// selectMissingSQL reads events that an endpoint wants and has no delivery of.
const selectMissingSQL = `
SELECT e.id, e.type, e.created_at, statement_timestamp() AS now
FROM tenant_events AS e
WHERE e.tenant_id = @tenant_id
	AND e.created_at >= @since
	AND e.created_at < @until
	AND (@project_id::uuid IS NULL OR e.project_id = @project_id)
	AND (e.type = ANY (@exact) OR EXISTS (SELECT FROM unnest(@prefixes::text[]) AS p (prefix) WHERE starts_with(e.type, p.prefix)))
	AND (@type = '' OR e.type = @type OR @prefix <> '' AND starts_with(e.type, @prefix))
	AND e.type <> '` + TypeTest + `'
	AND NOT EXISTS (
		SELECT
		FROM tenant_webhook_deliveries AS d
		WHERE d.tenant_id = e.tenant_id
			AND d.webhook_id = @webhook_id
			AND d.created_at = e.created_at
			AND d.event_id = e.id
	)
ORDER BY e.created_at, e.id
LIMIT @most`

func selectMissing(ctx context.Context, tx pg.Tx, p Range, e Endpoint, most int) ([]missing, error) {
	args := p.chosen(nil, most)
	delete(args, "states")
	exact, prefixes := []string{}, []string{}
	for _, pattern := range e.Events {
		if prefix, wild := strings.CutSuffix(pattern, Any); wild {
			prefixes = append(prefixes, prefix)
		} else {
			exact = append(exact, pattern)
		}
	}
	args["project_id"], args["exact"], args["prefixes"] = e.ProjectID, exact, prefixes
	return pg.Collect[missing](ctx, tx, selectMissingSQL, args)
}

// The event is of the same transaction; its time says which month it is in.
const insertTestSQL = `
INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, created_at, state, next_retry_at, expires_at)
SELECT $1, e.tenant_id, $3, e.id, e.type, e.created_at, 'pending', statement_timestamp(), statement_timestamp() + $5::interval
FROM tenant_events AS e
WHERE e.tenant_id = $2
	AND e.id = $4
	AND e.created_at >= transaction_timestamp()
RETURNING` + deliveryColumns

func insertTest(ctx context.Context, tx pg.Tx, delivery id.Delivery, tenant id.Tenant, endpoint id.Webhook, event id.Event, ttl time.Duration) (Delivery, error) {
	return pg.One[Delivery](ctx, tx, insertTestSQL, delivery, tenant, endpoint, event, ttl)
}
