package webhook

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const endpointColumns = `
	id, tenant_id, project_id, name, url, events, description, metadata, signatures, rate_limit, rate_period, max_in_flight, status,
	status_reason, disabled_at, last_triggered_at, last_status_code, consecutive_failures, first_failure_at, warned_percent, created_at,
	updated_at, headers_encrypted, secret_encrypted`

// stored is an endpoint with its boxes.
type stored struct {
	Endpoint

	HeadersBox []byte `db:"headers_encrypted"`
	SecretsBox []byte `db:"secret_encrypted"`
}

const insertEndpointSQL = `
INSERT INTO tenant_webhooks (
	id, tenant_id, project_id, name, url, events, description, metadata, headers_encrypted, secret_encrypted, signatures, rate_limit,
	rate_period, max_in_flight)
VALUES (
	@id, @tenant_id, @project_id, @name, @url, @events, @description, @metadata, @headers, @secrets, @signatures, @rate_limit,
	@rate_period, @max_in_flight)
RETURNING` + endpointColumns

// insertEndpoint stores an endpoint, and its headers and secrets in their boxes.
func insertEndpoint(ctx context.Context, tx pg.Tx, e *Endpoint, headers, secrets []byte) (stored, error) {
	return pg.One[stored](ctx, tx, insertEndpointSQL, pg.Named{
		"id": e.ID, "tenant_id": e.TenantID, "project_id": e.ProjectID, "name": e.Name, "url": e.URL, "events": e.Events,
		"description": e.Description, "metadata": e.Metadata, "headers": headers, "secrets": secrets, "signatures": e.Signatures,
		"rate_limit": e.RateLimit, "rate_period": string(e.RatePeriod), "max_in_flight": e.MaxInFlight,
	})
}

const selectStoredSQL = `
SELECT` + endpointColumns + `
FROM tenant_webhooks
WHERE tenant_id = $1
	AND id = $2`

func selectStored(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook) (stored, error) {
	return pg.One[stored](ctx, tx, selectStoredSQL, tenant, endpoint)
}

const lockStoredSQL = selectStoredSQL + `
FOR NO KEY UPDATE`

// lockStored reads an endpoint that is about to change; two that change it take turns.
func lockStored(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook) (stored, error) {
	return pg.One[stored](ctx, tx, lockStoredSQL, tenant, endpoint)
}

const keepStoredSQL = selectStoredSQL + `
FOR KEY SHARE`

// keepStored reads an endpoint that must stay while its deliveries change. It waits
// for nobody who writes down how the endpoint fares, and nobody waits for it: who does
// that holds deliveries already, and would wait in a circle.
func keepStored(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook) (stored, error) {
	return pg.One[stored](ctx, tx, keepStoredSQL, tenant, endpoint)
}

// Newest first: ids grow with time.
const listEndpointsSQL = `
SELECT` + endpointColumns + `
FROM tenant_webhooks
WHERE tenant_id = @tenant_id
	AND (@project_id::uuid IS NULL OR project_id = @project_id)
	AND (@status = '' OR status = @status)
	AND (@before::uuid IS NULL OR id < @before)
ORDER BY id DESC
LIMIT @limit`

func listEndpoints(ctx context.Context, tx pg.Tx, f Filter, before id.Webhook) ([]stored, error) {
	return pg.Collect[stored](ctx, tx, listEndpointsSQL, pg.Named{
		"tenant_id": f.TenantID, "project_id": f.ProjectID, "status": string(f.Status), "before": before, "limit": f.Page.Size() + 1,
	})
}

// A change of what an endpoint is told begins it anew only where the status says so:
// failures are the receiver's until it is enabled again.
const updateEndpointSQL = `
UPDATE tenant_webhooks
SET name = @name, url = @url, events = @events, description = @description, metadata = @metadata, headers_encrypted = @headers,
	signatures = @signatures, rate_limit = @rate_limit, rate_period = @rate_period, max_in_flight = @max_in_flight
WHERE tenant_id = @tenant_id
	AND id = @id
RETURNING` + endpointColumns

func updateEndpoint(ctx context.Context, tx pg.Tx, e *Endpoint, headers []byte) (stored, error) {
	return pg.One[stored](ctx, tx, updateEndpointSQL, pg.Named{
		"tenant_id": e.TenantID, "id": e.ID, "name": e.Name, "url": e.URL, "events": e.Events, "description": e.Description,
		"metadata": e.Metadata, "headers": headers, "signatures": e.Signatures, "rate_limit": e.RateLimit,
		"rate_period": string(e.RatePeriod), "max_in_flight": e.MaxInFlight,
	})
}

const updateSecretsSQL = `
UPDATE tenant_webhooks
SET secret_encrypted = $3
WHERE tenant_id = $1
	AND id = $2
RETURNING` + endpointColumns

func updateSecrets(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook, secrets []byte) (stored, error) {
	return pg.One[stored](ctx, tx, updateSecretsSQL, tenant, endpoint, secrets)
}

// An endpoint that is enabled starts with a clean slate.
const updateStatusSQL = `
UPDATE tenant_webhooks
SET status = @status,
	status_reason = @reason,
	disabled_at = CASE @status WHEN 'disabled' THEN @now::timestamptz END,
	consecutive_failures = CASE @status WHEN 'active' THEN 0 ELSE consecutive_failures END,
	first_failure_at = CASE @status WHEN 'active' THEN NULL ELSE first_failure_at END,
	warned_percent = CASE @status WHEN 'active' THEN 0 ELSE warned_percent END
WHERE tenant_id = @tenant_id
	AND id = @id
RETURNING` + endpointColumns

func updateStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook, status Status, reason string, now time.Time) (stored, error) {
	return pg.One[stored](ctx, tx, updateStatusSQL, pg.Named{
		"tenant_id": tenant, "id": endpoint, "status": string(status), "reason": reason, "now": now,
	})
}

const deleteEndpointSQL = `
DELETE FROM tenant_webhooks
WHERE tenant_id = $1
	AND id = $2`

func deleteEndpoint(ctx context.Context, tx pg.Tx, tenant id.Tenant, endpoint id.Webhook) error {
	_, err := tx.Exec(ctx, deleteEndpointSQL, tenant, endpoint)
	return err
}

const countEndpointsSQL = `
SELECT count(*)
FROM tenant_webhooks
WHERE tenant_id = $1`

func countEndpoints(ctx context.Context, tx pg.Tx, tenant id.Tenant) (n int, err error) {
	err = tx.QueryRow(ctx, countEndpointsSQL, tenant).Scan(&n)
	return n, err
}

const planEndpointsSQL = `
SELECT COALESCE((p.webhooks->>'max_endpoints')::int, 0)
FROM tenants AS t
JOIN plans AS p ON p.name = t.plan
WHERE t.id = $1`

// planEndpoints reads how many endpoints a tenant may have by its plan; 0 when that does
// not say.
func planEndpoints(ctx context.Context, tx pg.Tx, tenant id.Tenant) (n int, err error) {
	err = tx.QueryRow(ctx, planEndpointsSQL, tenant).Scan(&n)
	if pg.IsNoRows(err) {
		return 0, nil
	}
	return n, err
}

// Two endpoints that are made at the same time are counted one after the other.
const lockTenantSQL = `
SELECT landlord_effective_status(id)::text
FROM tenants
WHERE id = $1
FOR NO KEY UPDATE`

// lockTenant returns a tenant's effective status and makes others wait that would
// count its endpoints.
func lockTenant(ctx context.Context, tx pg.Tx, tenant id.Tenant) (status string, err error) {
	err = tx.QueryRow(ctx, lockTenantSQL, tenant).Scan(&status)
	return status, pg.Found(err, "tenant")
}

const selectStatusSQL = `
SELECT COALESCE(landlord_effective_status($1)::text, '')`

// effectiveStatus reads the effective status of a tenant; "" is no such tenant.
func effectiveStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant) (status string, err error) {
	err = tx.QueryRow(ctx, selectStatusSQL, tenant).Scan(&status)
	return status, err
}
