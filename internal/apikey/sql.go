package apikey

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

const keyColumns = `
	id, tenant_id, project_id, COALESCE(product, '') AS product, environment::text AS environment, name, description,
	prefix, last4, scopes, allowed_ips, rate_limit_rpm, rate_limits, is_active, disabled_at, COALESCE(disabled_reason, '') AS disabled_reason,
	expires_at, revoked_at, COALESCE(revoked_reason, '') AS revoked_reason, rotated_from, rotated_to, grace_ends_at, generation, origin_id,
	last_used_at, last_used_ip, usage_count, metadata, imported_at, leaked_at, COALESCE(created_by, '') AS created_by, created_at, updated_at`

const insertKeySQL = `
INSERT INTO api_keys (
	id, tenant_id, project_id, product, environment, name, description, prefix, last4, hash, scopes, allowed_ips,
	rate_limit_rpm, rate_limits, expires_at, rotated_from, generation, origin_id, expiry_told, metadata, created_by)
VALUES (
	@id, @tenant_id, @project_id, NULLIF(@product, ''), @environment::text::api_key_environment, @name, @description, @prefix,
	@last4, @hash, @scopes, @allowed_ips, @rate_limit_rpm, @rate_limits, @expires_at, @rotated_from, @generation, @origin_id, @expiry_told, @metadata, NULLIF(@created_by, ''))
RETURNING` + keyColumns

func insertKey(ctx context.Context, tx pg.Tx, k *Key, hash string, told int32) (Key, error) {
	return pg.One[Key](ctx, tx, insertKeySQL, pg.Named{
		"id": k.ID, "tenant_id": k.TenantID, "project_id": k.ProjectID, "product": k.Product, "environment": string(k.Environment),
		"name": k.Name, "description": k.Description, "prefix": k.Prefix, "last4": k.Last4, "hash": hash, "scopes": k.Scopes,
		"allowed_ips": orNull(k.AllowedIPs), "rate_limit_rpm": k.RateLimitRPM, "rate_limits": orEmpty(k.RateLimits), "expires_at": k.ExpiresAt,
		"rotated_from": k.RotatedFrom, "generation": k.Generation, "origin_id": k.OriginID, "expiry_told": told, "metadata": k.Metadata,
		"created_by": k.CreatedBy,
	})
}

// Names and tokens that are taken are left out. The order keeps two imports that
// meet from waiting for each other.
const insertKeysSQL = `
INSERT INTO api_keys (
	id, tenant_id, project_id, product, environment, name, description, prefix, last4, hash, scopes, allowed_ips,
	rate_limit_rpm, rate_limits, expires_at, expiry_told, metadata, created_by, created_at, last_used_at, usage_count, imported_at)
SELECT k.id, k.tenant_id, k.project_id, k.product, k.environment::api_key_environment, k.name, k.description, k.prefix, k.last4,
	k.hash, k.scopes, k.allowed_ips, k.rate_limit_rpm, k.rate_limits, k.expires_at, k.expiry_told, k.metadata, k.created_by, k.created_at, k.last_used_at,
	k.usage_count, NOW()
FROM jsonb_to_recordset($1) AS k (
	id UUID, tenant_id UUID, project_id UUID, product TEXT, environment TEXT, name TEXT, description TEXT, prefix TEXT,
	last4 TEXT, hash TEXT, scopes TEXT[], allowed_ips CIDR[], rate_limit_rpm INT, rate_limits JSONB, expires_at TIMESTAMPTZ, expiry_told INT, metadata JSONB,
	created_by TEXT, created_at TIMESTAMPTZ, last_used_at TIMESTAMPTZ, usage_count BIGINT)
ORDER BY k.name
ON CONFLICT DO NOTHING
RETURNING id`

// keyRecord is a key as insertKeysSQL takes it.
type keyRecord struct {
	ID           string           `json:"id"`
	TenantID     string           `json:"tenant_id"`
	ProjectID    *string          `json:"project_id"`
	Product      *string          `json:"product"`
	Environment  Environment      `json:"environment"`
	Name         string           `json:"name"`
	Description  string           `json:"description"`
	Prefix       string           `json:"prefix"`
	Last4        string           `json:"last4"`
	Hash         string           `json:"hash"`
	Scopes       []string         `json:"scopes"`
	AllowedIPs   []netip.Prefix   `json:"allowed_ips"`
	RateLimitRPM int              `json:"rate_limit_rpm"`
	RateLimits   []ratelimit.Rule `json:"rate_limits"`
	ExpiresAt    *time.Time       `json:"expires_at"`
	ExpiryTold   int32            `json:"expiry_told"`
	Metadata     map[string]any   `json:"metadata"`
	CreatedBy    string           `json:"created_by"`
	CreatedAt    time.Time        `json:"created_at"`
	LastUsedAt   *time.Time       `json:"last_used_at"`
	UsageCount   int64            `json:"usage_count"`
}

// insertKeys makes keys and returns the ids of those that were made.
func insertKeys(ctx context.Context, tx pg.Tx, batch []*importing) (map[id.APIKey]bool, error) {
	records := make([]keyRecord, len(batch))
	for i, x := range batch {
		k := x.key
		records[i] = keyRecord{
			ID: k.ID.UUID(), TenantID: k.TenantID.UUID(), Environment: k.Environment, Name: k.Name, Description: k.Description,
			Prefix: k.Prefix, Last4: k.Last4, Hash: x.hashes[0], Scopes: k.Scopes, AllowedIPs: orNull(k.AllowedIPs), RateLimitRPM: k.RateLimitRPM,
			RateLimits: orEmpty(k.RateLimits), ExpiresAt: k.ExpiresAt, ExpiryTold: x.told, Metadata: k.Metadata, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt,
			UsageCount: k.UsageCount,
		}
		if !k.ProjectID.IsZero() {
			records[i].ProjectID = new(k.ProjectID.UUID())
		}
		if k.Product != "" {
			records[i].Product = &k.Product
		}
	}
	ids, err := pg.Scalars[id.APIKey](ctx, tx, insertKeysSQL, records)
	made := make(map[id.APIKey]bool, len(ids))
	for _, k := range ids {
		made[k] = true
	}
	return made, err
}

// knownKey is a key that an import met.
type knownKey struct {
	Hash     string    `db:"hash"`
	ID       id.APIKey `db:"id"`
	TenantID id.Tenant `db:"tenant_id"`
}

const selectKnownSQL = `
SELECT hash, id, tenant_id
FROM landlord_keys_by_hash($1::text[])`

// selectKnown reads the keys of all tenants that are stored under the hashes.
func selectKnown(ctx context.Context, tx pg.Tx, hashes []string) (map[string]knownKey, error) {
	list, err := pg.Collect[knownKey](ctx, tx, selectKnownSQL, hashes)
	known := make(map[string]knownKey, len(list))
	for _, k := range list {
		known[k.Hash] = k
	}
	return known, err
}

const selectProjectsSQL = `
SELECT id, status = 'archived'
FROM tenant_projects
WHERE tenant_id = $1
	AND id = ANY ($2::uuid[])`

// selectProjects reads which of the tenant's projects there are, and whether they are archived.
func selectProjects(ctx context.Context, tx pg.Tx, tenant id.Tenant, projects []id.Project) (map[id.Project]bool, error) {
	rows, err := tx.Query(ctx, selectProjectsSQL, tenant, projects)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	archived := map[id.Project]bool{}
	for rows.Next() {
		var p id.Project
		var is bool
		if err := rows.Scan(&p, &is); err != nil {
			return nil, err
		}
		archived[p] = is
	}
	return archived, rows.Err()
}

const selectDeclaredSQL = `
SELECT name, ARRAY(SELECT c.scope ->> 'name' FROM jsonb_array_elements(scopes) AS c (scope))
FROM products
WHERE name = ANY ($1::text[])`

// selectDeclared reads the names of the scopes that products declare.
func selectDeclared(ctx context.Context, tx pg.Tx, products []string) (map[string][]string, error) {
	rows, err := tx.Query(ctx, selectDeclaredSQL, products)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	declared := map[string][]string{}
	for rows.Next() {
		var name string
		var scopes []string
		if err := rows.Scan(&name, &scopes); err != nil {
			return nil, err
		}
		declared[name] = scopes
	}
	return declared, rows.Err()
}

const countSlowKeysSQL = `
SELECT prefix, keys
FROM landlord_count_slow_keys($1::text[])`

// countSlowKeys counts the keys of all tenants that begin so and can't be looked
// up by their tokens. Until the transaction ends nobody else counts them.
func countSlowKeys(ctx context.Context, tx pg.Tx, begins []string) (map[string]int, error) {
	rows, err := tx.Query(ctx, countSlowKeysSQL, begins)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	crowd := map[string]int{}
	for rows.Next() {
		var begin string
		var n int
		if err := rows.Scan(&begin, &n); err != nil {
			return nil, err
		}
		crowd[begin] = n
	}
	return crowd, rows.Err()
}

// orNull stores an allow-list without networks as NULL, which allows all.
func orNull(list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return nil
	}
	return list
}

// orEmpty stores no rate limits as the empty list.
func orEmpty(list []ratelimit.Rule) []ratelimit.Rule {
	if list == nil {
		return []ratelimit.Rule{}
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

const selectSelfSQL = `
SELECT` + keyColumns + `,
	tenant_slug, tenant_name, COALESCE(landlord_effective_status(self)::text, 'archived') AS tenant_status,
	ARRAY(
		SELECT x.product
		FROM tenant_products x
		WHERE x.tenant_id = self
			AND x.enabled
			AND (x.expires_at IS NULL OR x.expires_at > $3)
			AND (k.product = '' OR x.product = k.product)
		ORDER BY x.product
	) AS products
FROM (SELECT t.id AS self, t.slug AS tenant_slug, t.name AS tenant_name FROM tenants t WHERE t.id = $1) t
CROSS JOIN LATERAL (` + selectKeySQL + `) k`

// selectSelf reads a key with what it may know of its tenant.
func selectSelf(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey, now time.Time) (Self, error) {
	return pg.One[Self](ctx, tx, selectSelfSQL, tenant, key, now)
}

const lockKeySQL = selectKeySQL + `
FOR UPDATE`

// lockKey reads a key that is about to change; two that change it take turns.
func lockKey(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey) (Key, error) {
	return pg.One[Key](ctx, tx, lockKeySQL, tenant, key)
}

// Lists are joined from the conditions that are asked for, so that each shape gets
// the plan that suits it. Only leakproof operators come near an index under
// row-level security: a prefix is a range, and starts_with would be none.
const (
	listKeysSQL = `SELECT` + keyColumns + ` FROM api_keys WHERE`

	// Of all tenants.
	searchKeysSQL = `SELECT` + keyColumns + `,
	(SELECT slug FROM tenants t WHERE t.id = tenant_id) AS tenant_slug,
	(SELECT name FROM tenants t WHERE t.id = tenant_id) AS tenant_name
FROM api_keys
WHERE`

	// Of a tenant and those below it: the newest of each, and of them the newest.
	searchBelowSQL = `SELECT` + keyColumns + `,
	tenant_slug, tenant_name
FROM (
	SELECT t.id AS below, t.slug AS tenant_slug, t.name AS tenant_name
	FROM tenants t
	WHERE t.deleted_at IS NULL
		AND t.path >= (SELECT r.path FROM tenants r WHERE r.id = @root)
		AND t.path < (SELECT r.path || '\xffffffffffffffffffffffffffffffffff'::bytea FROM tenants r WHERE r.id = @root)
) t
CROSS JOIN LATERAL (`
	searchBelowEndSQL = `) k`

	newestKeysSQL = `
ORDER BY id DESC
LIMIT @limit`

	whereAny         = ` TRUE`
	whereTenant      = ` tenant_id = @tenant_id`
	whereOuterTenant = ` tenant_id = below`
	whereBefore      = ` id < @after`
	whereProject     = ` project_id = @project_id`
	whereProduct     = ` product = @product`
	whereEnvironment = ` environment = @environment::text::api_key_environment`
	wherePrefix      = ` prefix ~>=~ @prefix AND prefix ~<~ @prefix_end`
	whereLast4       = ` last4 = @last4`
	whereCreatedBy   = ` created_by = @created_by`
	whereLeaked      = ` leaked_at IS NOT NULL`
	whereRevoked     = ` revoked_at IS NOT NULL`
	whereDisabled    = ` revoked_at IS NULL AND NOT is_active`
	whereExpired     = ` revoked_at IS NULL AND is_active AND (expires_at <= @now OR grace_ends_at <= @now)`
	whereActive      = ` revoked_at IS NULL AND is_active AND (expires_at IS NULL OR expires_at > @now) AND (grace_ends_at IS NULL OR grace_ends_at > @now)`
	whereEnding      = ` revoked_at IS NULL AND (expires_at < @ending_before OR grace_ends_at < @ending_before)`
	whereEndingByNow = ` (expires_at > @now AND expires_at < @ending_before OR grace_ends_at > @now AND grace_ends_at < @ending_before)`
)

// whereState are the conditions of the states, as Key.StateAt has them.
func whereState(s State) string {
	switch s {
	case Revoked:
		return whereRevoked
	case Disabled:
		return whereDisabled
	case Expired:
		return whereExpired
	default:
		return whereActive
	}
}

// keyConditions are those of a filter, after the first.
func keyConditions(f Filter, after id.APIKey, now time.Time, first string) (string, pg.Named) {
	where := []string{first}
	add := func(asked bool, condition string) {
		if asked {
			where = append(where, condition)
		}
	}
	add(!after.IsZero(), whereBefore)
	add(!f.ProjectID.IsZero(), whereProject)
	add(f.Product != "", whereProduct)
	add(f.Environment != "", whereEnvironment)
	add(f.Prefix != "", wherePrefix)
	add(f.Last4 != "", whereLast4)
	add(f.CreatedBy != "", whereCreatedBy)
	add(f.Leaked, whereLeaked)
	add(f.State != "", whereState(f.State))
	if f.ExpiringBefore != nil {
		add(f.State != Active, whereEnding)
		add(f.State == Active, whereEndingByNow) // leaves out those that ended long ago before they are read
	}
	return strings.Join(where, "\n\tAND"), pg.Named{
		"tenant_id": f.TenantID, "project_id": f.ProjectID, "product": f.Product, "environment": string(f.Environment),
		"prefix": f.Prefix, "prefix_end": f.Prefix + string(utf8.MaxRune), "last4": f.Last4, "created_by": f.CreatedBy,
		"ending_before": f.ExpiringBefore, "now": now, "after": after, "limit": f.Page.Size() + 1,
	}
}

func listQuery(f Filter, after id.APIKey, now time.Time) (string, pg.Named) {
	where, args := keyConditions(f, after, now, whereTenant)
	return listKeysSQL + where + newestKeysSQL, args
}

func listKeys(ctx context.Context, tx pg.Tx, f Filter, after id.APIKey, now time.Time) ([]Key, error) {
	sql, args := listQuery(f, after, now)
	return pg.Collect[Key](ctx, tx, sql, args)
}

// searchQuery finds keys of all tenants, or of a root and those below it.
func searchQuery(f Filter, root id.Tenant, after id.APIKey, now time.Time) (string, pg.Named) {
	if root.IsZero() {
		where, args := keyConditions(f, after, now, whereAny)
		return searchKeysSQL + where + newestKeysSQL, args
	}
	where, args := keyConditions(f, after, now, whereOuterTenant)
	args["root"] = root
	return searchBelowSQL + listKeysSQL + where + newestKeysSQL + searchBelowEndSQL + newestKeysSQL, args
}

// Which index finds the fewest depends on what is asked for: a plan for all
// questions of a shape would read the whole table for some.
const planEachSQL = `SET LOCAL plan_cache_mode = force_custom_plan`

func searchKeys(ctx context.Context, tx pg.Tx, f Filter, root id.Tenant, after id.APIKey, now time.Time) ([]TenantKey, error) {
	if _, err := tx.Exec(ctx, planEachSQL); err != nil {
		return nil, err
	}
	sql, args := searchQuery(f, root, after, now)
	return pg.Collect[TenantKey](ctx, tx, sql, args)
}

// The newest first. The first generation names no origin: it is its own.
const listGenerationsSQL = `
SELECT` + keyColumns + `
FROM api_keys
WHERE tenant_id = @tenant_id
	AND (id = @origin_id OR origin_id = @origin_id)
	AND (@before = 0 OR generation < @before)
ORDER BY generation DESC
LIMIT @limit`

// listGenerations reads the keys of a chain of rotations that come before a
// generation, or with 0 its newest.
func listGenerations(ctx context.Context, tx pg.Tx, tenant id.Tenant, origin id.APIKey, before, limit int) ([]Key, error) {
	return pg.Collect[Key](ctx, tx, listGenerationsSQL, pg.Named{
		"tenant_id": tenant, "origin_id": origin, "before": before, "limit": limit,
	})
}

// A new end has a new mark.
const updateKeySQL = `
UPDATE api_keys
SET name = @name,
	description = @description,
	scopes = @scopes,
	allowed_ips = @allowed_ips,
	rate_limit_rpm = @rate_limit_rpm,
	rate_limits = @rate_limits,
	expires_at = @expires_at,
	expiry_told = CASE WHEN expires_at IS DISTINCT FROM @expires_at THEN @expiry_told ELSE expiry_told END,
	is_active = @is_active,
	disabled_at = @disabled_at,
	disabled_reason = NULLIF(@disabled_reason, ''),
	metadata = @metadata
WHERE tenant_id = @tenant_id
	AND id = @id
RETURNING` + keyColumns

func updateKey(ctx context.Context, tx pg.Tx, k *Key, told int32) (Key, error) {
	return pg.One[Key](ctx, tx, updateKeySQL, pg.Named{
		"tenant_id": k.TenantID, "id": k.ID, "name": k.Name, "description": k.Description, "scopes": k.Scopes,
		"allowed_ips": orNull(k.AllowedIPs), "rate_limit_rpm": k.RateLimitRPM, "rate_limits": orEmpty(k.RateLimits),
		"expires_at": k.ExpiresAt, "expiry_told": told, "is_active": k.IsActive,
		"disabled_at": k.DisabledAt, "disabled_reason": k.DisabledReason, "metadata": k.Metadata,
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

const updateLeakedSQL = `
UPDATE api_keys
SET leaked_at = @leaked_at,
	revoked_at = @revoked_at,
	revoked_reason = NULLIF(@revoked_reason, ''),
	is_active = @is_active,
	disabled_at = @disabled_at,
	disabled_reason = NULLIF(@disabled_reason, '')
WHERE tenant_id = @tenant_id
	AND id = @id
RETURNING` + keyColumns

func updateLeaked(ctx context.Context, tx pg.Tx, k *Key) (Key, error) {
	return pg.One[Key](ctx, tx, updateLeakedSQL, pg.Named{
		"tenant_id": k.TenantID, "id": k.ID, "leaked_at": k.LeakedAt, "revoked_at": k.RevokedAt, "revoked_reason": k.RevokedReason,
		"is_active": k.IsActive, "disabled_at": k.DisabledAt, "disabled_reason": k.DisabledReason,
	})
}

const insertLeakSQL = `
INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action, created_at)
VALUES (@id, @tenant_id, @key_id, @source, @url, @reported_by, @action, @created_at)`

func insertLeak(ctx context.Context, tx pg.Tx, l *Leak) error {
	_, err := tx.Exec(ctx, insertLeakSQL, pg.Named{
		"id": l.ID, "tenant_id": l.TenantID, "key_id": l.KeyID, "source": l.Source, "url": l.URL, "reported_by": l.ReportedBy,
		"action": string(l.Action), "created_at": l.CreatedAt,
	})
	return err
}

const countLeaksSQL = `
SELECT COALESCE(bool_or(source = $3 AND url = $4), FALSE), count(*)
FROM api_key_leaks
WHERE tenant_id = $1
	AND key_id = $2`

// countLeaks reads whether a place of a key was told of, and how many were.
func countLeaks(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey, source, url string) (told bool, places int, err error) {
	err = tx.QueryRow(ctx, countLeaksSQL, tenant, key, source, url).Scan(&told, &places)
	return told, places, err
}

const listLeaksSQL = `
SELECT id, tenant_id, key_id, source, url, reported_by, action, created_at
FROM api_key_leaks
WHERE tenant_id = @tenant_id
	AND key_id = @key_id
	AND (@after::uuid IS NULL OR id < @after)
ORDER BY id DESC
LIMIT @limit`

func listLeaks(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey, after id.KeyLeak, limit int) ([]Leak, error) {
	return pg.Collect[Leak](ctx, tx, listLeaksSQL, pg.Named{"tenant_id": tenant, "key_id": key, "after": after, "limit": limit})
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

// Of which keys something may still be told, as api_keys_expiry_told_idx has them.
const whereUntold = ` expires_at IS NOT NULL AND revoked_at IS NULL AND rotated_to IS NULL AND expiry_told > 0`

// The marks that there are, which are few, are looked up one after the other; of each
// those that the next notice after it is due for. So nothing is read that isn't due,
// and marks of notices that are given no more find their next one, too. Compared as
// a row, the two leave no choice of an index: how the one depends on the other is
// what no statistics know.
const lockEndingSQL = `
WITH RECURSIVE marks (told) AS (
	(SELECT expiry_told FROM api_keys WHERE` + whereUntold + ` ORDER BY expiry_told DESC LIMIT 1)
	UNION ALL
	SELECT (SELECT expiry_told FROM api_keys WHERE` + whereUntold + ` AND expiry_told < m.told ORDER BY expiry_told DESC LIMIT 1)
	FROM marks m
	WHERE m.told IS NOT NULL
)
SELECT` + keyColumns + `, expiry_told
FROM marks m
CROSS JOIN LATERAL (
	SELECT n.until
	FROM unnest(@notices::int[], @until::timestamptz[]) AS n (seconds, until)
	WHERE n.seconds < m.told
	ORDER BY n.seconds DESC
	LIMIT 1
) n
CROSS JOIN LATERAL (
	SELECT` + keyColumns + `, expiry_told
	FROM api_keys
	WHERE` + whereUntold + `
		AND expiry_told >= m.told
		AND (expiry_told, expires_at) <= (m.told, n.until)
	ORDER BY expiry_told, expires_at
	LIMIT @limit
	FOR NO KEY UPDATE SKIP LOCKED
) k
LIMIT @limit`

// lockEnding reads keys that a notice is due for and that no other replica is at.
func lockEnding(ctx context.Context, tx pg.Tx, n notices, until []time.Time, limit int) ([]endingKey, error) {
	return pg.Collect[endingKey](ctx, tx, lockEndingSQL, pg.Named{"notices": []int32(n), "until": until, "limit": limit})
}

const markToldSQL = `
UPDATE api_keys k
SET expiry_told = n.told
FROM unnest($1::uuid[], $2::int[]) AS n (id, told)
WHERE k.id = n.id`

func markTold(ctx context.Context, tx pg.Tx, keys []id.APIKey, marks []int32) error {
	_, err := tx.Exec(ctx, markToldSQL, keys, marks)
	return err
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

const limitColumns = `
	tenant_id, name, COALESCE(product, '') AS product, limit_value, window_secs, COALESCE(burst, 0) AS burst, named_only, created_at, updated_at`

const selectLimitSQL = `
SELECT` + limitColumns + `
FROM tenant_rate_limits
WHERE tenant_id = $1
	AND name = $2`

func selectLimit(ctx context.Context, tx pg.Tx, tenant id.Tenant, name string) (TenantLimit, error) {
	return pg.One[TenantLimit](ctx, tx, selectLimitSQL, tenant, name)
}

const listLimitsSQL = `
SELECT` + limitColumns + `
FROM tenant_rate_limits
WHERE tenant_id = $1
	AND name > $2
ORDER BY name
LIMIT $3`

func listLimits(ctx context.Context, tx pg.Tx, tenant id.Tenant, after string, most int) ([]TenantLimit, error) {
	return pg.Collect[TenantLimit](ctx, tx, listLimitsSQL, tenant, after, most)
}

const countLimitsSQL = `
SELECT count(*)
FROM tenant_rate_limits
WHERE tenant_id = $1`

func countLimits(ctx context.Context, tx pg.Tx, tenant id.Tenant) (n int, err error) {
	err = tx.QueryRow(ctx, countLimitsSQL, tenant).Scan(&n)
	return n, err
}

const upsertLimitSQL = `
INSERT INTO tenant_rate_limits (tenant_id, name, product, limit_value, window_secs, burst, named_only)
VALUES (@tenant_id, @name, NULLIF(@product, ''), @limit, @window, NULLIF(@burst, 0), @named_only)
ON CONFLICT (tenant_id, name) DO UPDATE
SET product = EXCLUDED.product,
	limit_value = EXCLUDED.limit_value,
	window_secs = EXCLUDED.window_secs,
	burst = EXCLUDED.burst,
	named_only = EXCLUDED.named_only
RETURNING` + limitColumns

func upsertLimit(ctx context.Context, tx pg.Tx, p PutLimitParams) (TenantLimit, error) {
	return pg.One[TenantLimit](ctx, tx, upsertLimitSQL, pg.Named{
		"tenant_id": p.TenantID, "name": p.Rule.Name, "product": p.Product, "limit": p.Rule.Limit, "window": p.Rule.Window,
		"burst": p.Rule.Burst, "named_only": p.Rule.NamedOnly,
	})
}

const deleteLimitSQL = `
DELETE FROM tenant_rate_limits
WHERE tenant_id = $1
	AND name = $2`

func deleteLimit(ctx context.Context, tx pg.Tx, tenant id.Tenant, name string) error {
	_, err := tx.Exec(ctx, deleteLimitSQL, tenant, name)
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
const selectVerificationsSQL = `
SELECT k.id, k.tenant_id, k.project_id, COALESCE(k.product, '') AS product, k.environment::text AS environment, k.scopes,
	k.allowed_ips, k.rate_limit_rpm, k.rate_limits::text AS rate_limits, k.is_active, k.revoked_at IS NOT NULL AS revoked, k.expires_at, k.grace_ends_at,
	k.metadata, k.name, k.hash, t.slug AS tenant_slug, t.ancestors, s.status::text AS tenant_status,
	COALESCE(p.status = 'archived', FALSE) AS project_archived,
	y.policy_networks, y.policy_allows,
	e.products, e.products_until, e.products_config, e.products_default, e.products_limits, e.plan_limits, l.tenant_limits,
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
		array_agg(r.default_config::text ORDER BY x.product) AS products_default,
		array_agg(r.rate_limits::text ORDER BY x.product) AS products_limits,
		array_agg(COALESCE(o.rate_limits::text, '[]') ORDER BY x.product) AS plan_limits
	FROM tenant_products x
	JOIN products r ON r.name = x.product
	LEFT JOIN plan_products o ON o.plan = t.plan AND o.product = x.product
	WHERE x.tenant_id = k.tenant_id
		AND x.enabled
) e
CROSS JOIN LATERAL (
	SELECT COALESCE(jsonb_agg(jsonb_build_object('name', l.name, 'product', COALESCE(l.product, ''), 'limit', l.limit_value,
			'window', l.window_secs, 'burst', COALESCE(l.burst, 0), 'named_only', l.named_only) ORDER BY l.name), '[]')::text AS tenant_limits
	FROM tenant_rate_limits l
	WHERE l.tenant_id = k.tenant_id
) l
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
WHERE k.hash = ANY ($1::text[])
ORDER BY k.id`

// selectVerifications reads the keys that are stored so, the oldest first.
func selectVerifications(ctx context.Context, db *pg.DB, hashes []string) ([]row, error) {
	return pg.LookupAll[row](ctx, db, selectVerificationsSQL, hashes)
}

const selectVerificationSQL = selectVerificationsSQL + `
LIMIT 1`

func selectVerification(ctx context.Context, db *pg.DB, hashes []string) (*row, error) {
	r, err := pg.Lookup[row](ctx, db, selectVerificationSQL, hashes)
	return &r, err
}

// The keys whose tokens begin so and can't be looked up by them. The longest
// beginning says the most, and of keys of one token the oldest counts.
const selectCandidatesSQL = `
SELECT id, prefix, hash
FROM api_keys
WHERE left(hash, 1) = '$'
	AND prefix = ANY ($1::text[])
ORDER BY char_length(prefix) DESC, id
LIMIT $2`

func selectCandidates(ctx context.Context, tx pg.Tx, begins []string) ([]candidate, error) {
	return pg.Collect[candidate](ctx, tx, selectCandidatesSQL, begins, slowCandidates)
}

const selectClockSQL = `
SELECT statement_timestamp()`

const selectFormsSQL = `
SELECT DISTINCT prefix AS begin, left(hash, 1) = '$' AS slow
FROM api_keys
WHERE imported_at IS NOT NULL
	AND ($1::timestamptz IS NULL OR imported_at >= $1)`

// selectForms reads how the tokens of keys begin that were imported since, or
// ever, and the server's time before it looked.
func selectForms(ctx context.Context, tx pg.Tx, since *time.Time) (list []form, at time.Time, err error) {
	if err := tx.QueryRow(ctx, selectClockSQL).Scan(&at); err != nil {
		return nil, at, err
	}
	list, err = pg.Collect[form](ctx, tx, selectFormsSQL, since)
	return list, at, err
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

const selectNamedProjectsSQL = `
SELECT id, tenant_id, status = 'archived' AS archived
FROM tenant_projects
WHERE id = ANY ($1::uuid[])`

// selectNamedProjects reads those of the projects that there are, whosever.
func selectNamedProjects(ctx context.Context, db *pg.DB, projects []id.Project) ([]namedProject, error) {
	return pg.LookupAll[namedProject](ctx, db, selectNamedProjectsSQL, projects)
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
	AND k.tenant_id = h.tenant_id
	AND NOT EXISTS (
		SELECT 1
		FROM api_keys other
		WHERE other.hash = h.hash
	)`

// updateHashes moves keys from a retired pepper, and from the hashes that they
// were imported with, to the current pepper. Two keys that were imported as
// hashes may be of one token: the second stays as it is.
func updateHashes(ctx context.Context, tx pg.Tx, batch []rehash) error {
	keys, tenants, hashes := make([]id.APIKey, len(batch)), make([]id.Tenant, len(batch)), make([]string, len(batch))
	for i, h := range batch {
		keys[i], tenants[i], hashes[i] = h.key, h.tenant, h.hash
	}
	_, err := tx.Exec(ctx, updateHashesSQL, keys, tenants, hashes)
	return err
}
