package apikey

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const keyColumns = `
	id, tenant_id, project_id, COALESCE(product, '') AS product, environment::text AS environment, name, description,
	prefix, last4, scopes, allowed_ips, rate_limit_rpm, is_active, expires_at, revoked_at,
	COALESCE(revoked_reason, '') AS revoked_reason, rotated_from, rotated_to, grace_ends_at, last_used_at, last_used_ip,
	usage_count, metadata, COALESCE(created_by, '') AS created_by, created_at, updated_at`

const insertKeySQL = `
INSERT INTO api_keys (
	id, tenant_id, project_id, product, environment, name, description, prefix, last4, hash, scopes, allowed_ips,
	rate_limit_rpm, expires_at, rotated_from, metadata, created_by)
VALUES (
	@id, @tenant_id, @project_id, NULLIF(@product, ''), @environment::text::api_key_environment, @name, @description, @prefix,
	@last4, @hash, @scopes, @allowed_ips, @rate_limit_rpm, @expires_at, @rotated_from, @metadata, NULLIF(@created_by, ''))
RETURNING` + keyColumns

func insertKey(ctx context.Context, tx pg.Tx, k *Key, hash string) (Key, error) {
	return pg.One[Key](ctx, tx, insertKeySQL, pg.Named{
		"id": k.ID, "tenant_id": k.TenantID, "project_id": k.ProjectID, "product": k.Product, "environment": string(k.Environment),
		"name": k.Name, "description": k.Description, "prefix": k.Prefix, "last4": k.Last4, "hash": hash, "scopes": k.Scopes,
		"allowed_ips": orNull(k.AllowedIPs), "rate_limit_rpm": k.RateLimitRPM, "expires_at": k.ExpiresAt,
		"rotated_from": k.RotatedFrom, "metadata": k.Metadata, "created_by": k.CreatedBy,
	})
}

// orNull stores an allow-list without networks as NULL, which allows all.
func orNull(list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	return list
}

const selectKeySQL = `
SELECT` + keyColumns + `
FROM api_keys
WHERE tenant_id = $1
	AND id = $2`

func selectKey(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey) (Key, error) {
	return pg.One[Key](ctx, tx, selectKeySQL, tenant, key)
}

const lockKeySQL = selectKeySQL + `
FOR UPDATE`

// lockKey reads a key that is about to change; two that change it take turns.
func lockKey(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey) (Key, error) {
	return pg.One[Key](ctx, tx, lockKeySQL, tenant, key)
}

// State is computed as Key.StateAt does.
const listKeysSQL = `
SELECT` + keyColumns + `
FROM api_keys
WHERE tenant_id = @tenant_id
	AND (@project_id::uuid IS NULL OR project_id = @project_id)
	AND (@product = '' OR product = @product)
	AND (@environment = '' OR environment::text = @environment)
	AND (@prefix = '' OR starts_with(prefix, @prefix))
	AND (@last4 = '' OR last4 = @last4)
	AND (@expiring_before::timestamptz IS NULL OR revoked_at IS NULL AND LEAST(expires_at, grace_ends_at) < @expiring_before)
	AND (@state = '' OR @state = CASE
		WHEN revoked_at IS NOT NULL THEN 'revoked'
		WHEN NOT is_active THEN 'disabled'
		WHEN LEAST(expires_at, grace_ends_at) <= @now THEN 'expired'
		ELSE 'active'
	END)
	AND (@after::uuid IS NULL OR id < @after)
ORDER BY id DESC
LIMIT @limit`

func listKeys(ctx context.Context, tx pg.Tx, f Filter, after id.APIKey, now time.Time) ([]Key, error) {
	return pg.Collect[Key](ctx, tx, listKeysSQL, pg.Named{
		"tenant_id": f.TenantID, "project_id": f.ProjectID, "product": f.Product, "environment": string(f.Environment),
		"prefix": f.Prefix, "last4": f.Last4, "expiring_before": f.ExpiringBefore, "state": string(f.State), "now": now,
		"after": after, "limit": f.Page.Size() + 1,
	})
}

const updateKeySQL = `
UPDATE api_keys
SET name = @name,
	description = @description,
	scopes = @scopes,
	allowed_ips = @allowed_ips,
	rate_limit_rpm = @rate_limit_rpm,
	expires_at = @expires_at,
	is_active = @is_active,
	metadata = @metadata
WHERE tenant_id = @tenant_id
	AND id = @id
RETURNING` + keyColumns

func updateKey(ctx context.Context, tx pg.Tx, k *Key) (Key, error) {
	return pg.One[Key](ctx, tx, updateKeySQL, pg.Named{
		"tenant_id": k.TenantID, "id": k.ID, "name": k.Name, "description": k.Description, "scopes": k.Scopes,
		"allowed_ips": orNull(k.AllowedIPs), "rate_limit_rpm": k.RateLimitRPM, "expires_at": k.ExpiresAt, "is_active": k.IsActive,
		"metadata": k.Metadata,
	})
}

const revokeKeySQL = `
UPDATE api_keys
SET revoked_at = @now,
	revoked_reason = NULLIF(@reason, '')
WHERE tenant_id = @tenant_id
	AND id = @id
	AND revoked_at IS NULL
RETURNING` + keyColumns

func revokeKey(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey, reason string, now time.Time) (Key, error) {
	return pg.One[Key](ctx, tx, revokeKeySQL, pg.Named{"tenant_id": tenant, "id": key, "reason": reason, "now": now})
}

const retireKeySQL = `
UPDATE api_keys
SET rotated_to = @successor,
	grace_ends_at = @grace_ends_at
WHERE tenant_id = @tenant_id
	AND id = @id
	AND rotated_to IS NULL
	AND revoked_at IS NULL
RETURNING` + keyColumns

func retireKey(ctx context.Context, tx pg.Tx, tenant id.Tenant, key, successor id.APIKey, graceEndsAt time.Time) (Key, error) {
	return pg.One[Key](ctx, tx, retireKeySQL, pg.Named{
		"tenant_id": tenant, "id": key, "successor": successor, "grace_ends_at": graceEndsAt,
	})
}

const selectTenantStatusSQL = `
SELECT COALESCE(landlord_effective_status($1)::text, '')`

// selectTenantStatus reads the effective status of a tenant; "" is no such tenant.
func selectTenantStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant) (status string, err error) {
	err = tx.QueryRow(ctx, selectTenantStatusSQL, tenant).Scan(&status)
	return status, err
}

const policyColumns = `
	tenant_id, allowed_ips, environments::text[] AS environments, COALESCE(max_age_days, 0) AS max_age_days, leak_action, created_at,
	updated_at`

const selectPoliciesSQL = `
SELECT` + policyColumns + `
FROM landlord_key_policies($1)`

// selectPolicies reads the policies that bind a tenant, from the root down to its own.
func selectPolicies(ctx context.Context, tx pg.Tx, tenant id.Tenant) ([]Policy, error) {
	return pg.Collect[Policy](ctx, tx, selectPoliciesSQL, tenant)
}

const selectPlanKeysSQL = `
SELECT p.api_keys
FROM tenants t
JOIN plans p ON p.name = t.plan
WHERE t.id = $1`

// selectPlanKeys reads what the plan of a tenant says about its keys.
func selectPlanKeys(ctx context.Context, tx pg.Tx, tenant id.Tenant) (k planKeys, err error) {
	err = tx.QueryRow(ctx, selectPlanKeysSQL, tenant).Scan(&k)
	return k, err
}

const lockTenantSQL = `
SELECT 1
FROM tenants
WHERE id = $1
FOR NO KEY UPDATE`

// lockTenant makes those take turns that must not do a thing to a tenant's keys at
// the same time, where there is no row yet that could stand for it.
func lockTenant(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	_, err := tx.Exec(ctx, lockTenantSQL, tenant)
	return err
}

const countKeysSQL = `
SELECT count(*)
FROM (
	SELECT
	FROM api_keys
	WHERE tenant_id = $1
		AND revoked_at IS NULL
		AND grace_ends_at IS NULL
		AND (expires_at IS NULL OR expires_at > $2)
	LIMIT $3
) k`

// countKeys counts the keys of a tenant that are not on their way out, up to a number.
func countKeys(ctx context.Context, tx pg.Tx, tenant id.Tenant, now time.Time, most int) (n int, err error) {
	err = tx.QueryRow(ctx, countKeysSQL, tenant, now, most).Scan(&n)
	return n, err
}

const selectPolicySQL = `
SELECT` + policyColumns + `
FROM tenant_key_policies
WHERE tenant_id = $1`

// lockPolicy reads a tenant's own policy, which is about to change.
func lockPolicy(ctx context.Context, tx pg.Tx, tenant id.Tenant) (Policy, error) {
	if err := lockTenant(ctx, tx, tenant); err != nil {
		return Policy{}, err
	}
	p, err := pg.One[Policy](ctx, tx, selectPolicySQL, tenant)
	if pg.IsNoRows(err) {
		return noPolicy(tenant), nil
	}
	return p, err
}

const upsertPolicySQL = `
INSERT INTO tenant_key_policies (tenant_id, allowed_ips, environments, max_age_days, leak_action)
VALUES (@tenant_id, @allowed_ips, @environments::text[]::api_key_environment[], NULLIF(@max_age_days, 0), @leak_action)
ON CONFLICT (tenant_id) DO UPDATE
SET allowed_ips = EXCLUDED.allowed_ips,
	environments = EXCLUDED.environments,
	max_age_days = EXCLUDED.max_age_days,
	leak_action = EXCLUDED.leak_action`

func upsertPolicy(ctx context.Context, tx pg.Tx, p *Policy) error {
	environments := make([]string, len(p.Environments))
	for i, e := range p.Environments {
		environments[i] = string(e)
	}
	_, err := tx.Exec(ctx, upsertPolicySQL, pg.Named{
		"tenant_id": p.TenantID, "allowed_ips": orNull(p.AllowedIPs), "environments": environments, "max_age_days": p.MaxAgeDays,
		"leak_action": string(p.LeakAction),
	})
	return err
}

const selectScopesSQL = `
SELECT scopes
FROM products
WHERE name = $1`

// selectScopes reads the names of the scopes that a product declares.
func selectScopes(ctx context.Context, tx pg.Tx, product string) ([]string, error) {
	var raw json.RawMessage
	if err := tx.QueryRow(ctx, selectScopesSQL, product).Scan(&raw); err != nil {
		return nil, err
	}
	var declared []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(raw, &declared); err != nil {
		return nil, err
	}
	names := make([]string, len(declared))
	for i, d := range declared {
		names[i] = d.Name
	}
	return names, nil
}

const selectProjectStatusSQL = `
SELECT status = 'archived'
FROM tenant_projects
WHERE tenant_id = $1
	AND id = $2`

// selectProjectArchived reads whether a tenant's project is archived.
func selectProjectArchived(ctx context.Context, tx pg.Tx, tenant id.Tenant, project id.Project) (archived bool, err error) {
	err = tx.QueryRow(ctx, selectProjectStatusSQL, tenant, project).Scan(&archived)
	return archived, err
}

// All that a verification depends on, in one statement. The declared scopes
// matter only to tell reading from writing, which only a frozen tenant asks.
const selectVerificationSQL = `
SELECT k.id, k.tenant_id, k.project_id, COALESCE(k.product, '') AS product, k.environment::text AS environment, k.scopes,
	k.allowed_ips, k.rate_limit_rpm, k.is_active, k.revoked_at IS NOT NULL AS revoked, k.expires_at, k.grace_ends_at,
	k.metadata, k.name, k.hash, t.slug AS tenant_slug, t.ancestors, s.status::text AS tenant_status,
	COALESCE(p.status = 'archived', FALSE) AS project_archived,
	y.policy_networks, y.policy_allows,
	e.products, e.products_until, e.products_config, e.products_default,
	d.scope_products, d.scope_names, d.scope_writes
FROM api_keys k
JOIN tenants t ON t.id = k.tenant_id
LEFT JOIN tenant_projects p ON p.tenant_id = k.tenant_id AND p.id = k.project_id
CROSS JOIN LATERAL (
	SELECT CASE WHEN t.deleted_at IS NULL THEN max(a.status) ELSE 'archived' END AS status
	FROM tenants a
	WHERE a.id = ANY (t.ancestors || t.id)
) s
CROSS JOIN LATERAL (
	SELECT array_agg(array_to_string(y.allowed_ips, ' ')) FILTER (WHERE y.allowed_ips IS NOT NULL) AS policy_networks,
		COALESCE(bool_and(k.environment = ANY (y.environments)), TRUE) AS policy_allows
	FROM tenant_key_policies y
	WHERE y.tenant_id = ANY (t.ancestors || t.id)
) y
CROSS JOIN LATERAL (
	SELECT array_agg(x.product ORDER BY x.product) AS products,
		array_agg(x.expires_at ORDER BY x.product) AS products_until,
		array_agg(x.config::text ORDER BY x.product) AS products_config,
		array_agg(r.default_config::text ORDER BY x.product) AS products_default
	FROM tenant_products x
	JOIN products r ON r.name = x.product
	WHERE x.tenant_id = k.tenant_id
		AND x.enabled
) e
CROSS JOIN LATERAL (
	SELECT array_agg(r.name ORDER BY r.name, c.n) AS scope_products,
		array_agg(c.scope ->> 'name' ORDER BY r.name, c.n) AS scope_names,
		array_agg(COALESCE(c.scope ->> 'access' <> 'read', TRUE) ORDER BY r.name, c.n) AS scope_writes
	FROM tenant_products x
	JOIN products r ON r.name = x.product
	CROSS JOIN jsonb_array_elements(r.scopes) WITH ORDINALITY AS c (scope, n)
	WHERE s.status = 'frozen'
		AND x.tenant_id = k.tenant_id
		AND x.enabled
) d
WHERE k.hash = ANY ($1::text[])`

func selectVerification(ctx context.Context, db *pg.DB, hashes []string) (*row, error) {
	r, err := pg.Lookup[row](ctx, db, selectVerificationSQL, hashes)
	return &r, err
}

const selectProjectSQL = `
SELECT tenant_id, status = 'archived' AS archived
FROM tenant_projects
WHERE id = $1`

// projectRow is whose a project is.
type projectRow struct {
	Tenant   id.Tenant `db:"tenant_id"`
	Archived bool      `db:"archived"`
}

func selectProject(ctx context.Context, db *pg.DB, project id.Project) (projectRow, error) {
	return pg.Lookup[projectRow](ctx, db, selectProjectSQL, project)
}

// Rows are locked in the order of their ids, so that replicas that flush at the
// same time don't deadlock. No trigger fires and no index changes. A batch that
// was written already finds its number taken, and writes nothing.
const addUsageSQL = `
WITH flush AS (
	INSERT INTO api_key_flushes AS f (replica, number)
	VALUES (@replica, @number)
	ON CONFLICT (replica) DO UPDATE
	SET number = EXCLUDED.number,
		flushed_at = NOW()
	WHERE f.number < EXCLUDED.number
	RETURNING f.number
), used AS (
	SELECT u.id, u.tenant_id, u.count, u.last, u.ip
	FROM flush
	CROSS JOIN unnest(@keys::uuid[], @tenants::uuid[], @counts::bigint[], @lasts::timestamptz[], @ips::inet[])
		AS u (id, tenant_id, count, last, ip)
), locked AS (
	SELECT k.id
	FROM api_keys k
	JOIN used u ON u.id = k.id AND u.tenant_id = k.tenant_id
	ORDER BY k.id
	FOR NO KEY UPDATE OF k
)
UPDATE api_keys k
SET usage_count = k.usage_count + u.count,
	last_used_at = GREATEST(k.last_used_at, u.last),
	last_used_ip = CASE WHEN k.last_used_at IS NULL OR k.last_used_at <= u.last THEN COALESCE(u.ip, k.last_used_ip) ELSE k.last_used_ip END
FROM used u
JOIN locked l ON l.id = u.id
WHERE k.id = u.id
	AND k.tenant_id = u.tenant_id`

// addUsage writes a replica's batch of that number, unless it was written before.
func addUsage(ctx context.Context, tx pg.Tx, replica uuid.UUID, number int64, batch []used) error {
	keys, tenants := make([]id.APIKey, len(batch)), make([]id.Tenant, len(batch))
	counts, lasts, ips := make([]int64, len(batch)), make([]time.Time, len(batch)), make([]*netip.Addr, len(batch))
	for i, u := range batch {
		keys[i], tenants[i], counts[i], lasts[i] = u.key, u.tenant, u.count, u.last
		if u.ip.IsValid() {
			ip := u.ip.Unmap().WithZone("")
			ips[i] = &ip
		}
	}
	_, err := tx.Exec(ctx, addUsageSQL, pg.Named{
		"replica": replica, "number": number, "keys": keys, "tenants": tenants, "counts": counts, "lasts": lasts, "ips": ips,
	})
	return err
}

const trimFlushesSQL = `
DELETE FROM api_key_flushes
WHERE flushed_at < NOW() - $1::interval`

func trimFlushes(ctx context.Context, tx pg.Tx, age time.Duration) error {
	_, err := tx.Exec(ctx, trimFlushesSQL, age)
	return err
}

const updateHashesSQL = `
UPDATE api_keys k
SET hash = h.hash
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS h (id, tenant_id, hash)
WHERE k.id = h.id
	AND k.tenant_id = h.tenant_id`

// updateHashes moves keys from a retired pepper to the current one.
func updateHashes(ctx context.Context, tx pg.Tx, batch []rehash) error {
	keys, tenants, hashes := make([]id.APIKey, len(batch)), make([]id.Tenant, len(batch)), make([]string, len(batch))
	for i, h := range batch {
		keys[i], tenants[i], hashes[i] = h.key, h.tenant, h.hash
	}
	_, err := tx.Exec(ctx, updateHashesSQL, keys, tenants, hashes)
	return err
}
