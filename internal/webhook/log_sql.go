package webhook

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const deliveryColumns = `
	id, tenant_id, webhook_id, event_id, event_type, state, COALESCE(reason, '') AS reason, attempts, next_retry_at, claimed_until,
	expires_at, last_status, delivered_at, created_at`

// The cursor's time is a bound of its own, so that the index leads to the page.
const listDeliveriesSQL = `
SELECT` + deliveryColumns + `
FROM tenant_webhook_deliveries
WHERE tenant_id = @tenant_id
	AND webhook_id = @webhook_id
	AND (@state = '' OR state = @state)
	AND (@type = '' OR event_type = @type OR @prefix <> '' AND starts_with(event_type, @prefix))
	AND created_at >= @since
	AND created_at < @until
	AND created_at <= @before_at
	AND (NOT @resumed OR (created_at, id) < (@before_at, @before_id))
ORDER BY created_at DESC, id DESC
LIMIT @limit`

func listDeliveries(ctx context.Context, tx pg.Tx, f DeliveryFilter, before deliveryKey, resumed bool) ([]Delivery, error) {
	since, until := time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if f.Since != nil {
		since = *f.Since
	}
	if f.Until != nil {
		until = *f.Until
	}
	if !resumed {
		before.At = until
	}
	prefix, wild := strings.CutSuffix(f.Type, Any)
	if !wild {
		prefix = ""
	}
	exact := f.Type
	if f.Type == Any {
		exact = ""
	}
	return pg.Collect[Delivery](ctx, tx, listDeliveriesSQL, pg.Named{
		"tenant_id": f.TenantID, "webhook_id": f.EndpointID, "state": string(f.State), "type": exact, "prefix": prefix,
		"since": since, "until": until, "before_at": before.At, "before_id": before.ID, "resumed": resumed, "limit": f.Page.Size() + 1,
	})
}

const selectDeliverySQL = `
SELECT` + deliveryColumns + `
FROM tenant_webhook_deliveries
WHERE tenant_id = $1
	AND webhook_id = $2
	AND id = $3`

func selectDelivery(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook, delivery id.Delivery) (Delivery, error) {
	return pg.One[Delivery](ctx, tx, selectDeliverySQL, tenant, endpoint, delivery)
}

const selectPayloadSQL = `
SELECT payload
FROM tenant_events
WHERE tenant_id = $1
	AND id = $2
	AND created_at = $3`

func selectPayload(ctx context.Context, tx pg.Tx, d Delivery) (payload json.RawMessage, err error) {
	err = tx.QueryRow(ctx, selectPayloadSQL, d.TenantID, d.EventID, d.CreatedAt).Scan(&payload)
	return payload, err
}

// The latest, newest first.
const listAttemptsSQL = `
SELECT id, tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers, response_status,
	COALESCE(response_headers, '{}') AS response_headers, response_body, COALESCE(duration_ms, 0) AS duration_ms, dns_us, connect_us, tls_us,
	first_byte_us, COALESCE(error_class, '') AS error_class, COALESCE(error_message, '') AS error_message, created_at
FROM tenant_webhook_attempts
WHERE tenant_id = $1
	AND delivery_id = $2
ORDER BY created_at DESC, id DESC
LIMIT $3`

func listAttempts(ctx context.Context, tx pg.Tx, tenant id.Tenant, delivery id.Delivery) ([]Attempt, error) {
	attempts, err := pg.Collect[Attempt](ctx, tx, listAttemptsSQL, tenant, delivery, maxAttempts)
	slices.Reverse(attempts)
	return attempts, err
}
