package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// constraints says what a violation means. What the service checks before is
// listed too where a row of another transaction can still break it.
var constraints = pg.Constraints{
	"tenants_slug_key":              fault.Conflict("slug_taken", "Another tenant has this slug."),
	"tenants_external_id_key":       fault.Conflict("external_id_taken", "Another tenant has this external_id."),
	"tenants_erp_customer_id_key":   fault.Conflict("erp_customer_id_taken", "Another tenant has this erp_customer_id."),
	"tenants_stripe_cust_id_key":    fault.Conflict("stripe_cust_id_taken", "Another tenant has this stripe_cust_id."),
	"tenants_plan_fkey":             fault.InvalidField("plan", "plan_not_found", "There is no such plan."),
	"tenants_parent_id_fkey":        fault.NotFound("parent"),
	"tenants_ancestors_depth_check": tooDeep,
}

// columns are a tenant's columns, as Tenant scans them. The enum tenant_status
// is ordered by strictness, so max is what the tenant inherits.
const columns = `
	t.id, t.slug, t.name, t.kind::text AS kind, t.status::text AS status,
	COALESCE((SELECT max(a.status) FROM tenants a WHERE a.id = ANY (t.ancestors))::text, '') AS inherited_status,
	t.plan, t.parent_id, t.ancestors,
	COALESCE(t.external_id, '') AS external_id,
	COALESCE(t.erp_customer_id, '') AS erp_customer_id,
	COALESCE(t.stripe_cust_id, '') AS stripe_cust_id,
	COALESCE(t.contact_name, '') AS contact_name,
	COALESCE(t.contact_email::text, '') AS contact_email,
	COALESCE(t.contact_phone, '') AS contact_phone,
	COALESCE(t.billing_email::text, '') AS billing_email,
	t.allowed_origins, t.metadata, t.trial_ends_at, t.contract_start, t.contract_end,
	COALESCE(t.sales_owner, '') AS sales_owner,
	COALESCE(t.status_before_suspension::text, '') AS status_before_suspension,
	t.suspended_at,
	COALESCE(t.suspension_reason, '') AS suspension_reason,
	t.frozen_at,
	COALESCE(t.freeze_reason, '') AS freeze_reason,
	t.archive_due_at, t.archived_at, t.purge_due_at, t.cancelled_at,
	COALESCE(t.cancel_reason, '') AS cancel_reason,
	t.legal_hold,
	COALESCE(t.legal_hold_reason, '') AS legal_hold_reason,
	t.status_locked, t.deleted_at, t.created_at, t.updated_at`

// writable are a row's values by name, for insert and update.
func writable(t Tenant) pg.Named {
	return pg.Named{
		"id": t.ID, "slug": t.Slug, "name": t.Name, "kind": string(t.Kind), "status": string(t.Status), "plan": t.Plan,
		"parent_id": t.ParentID, "ancestors": uuids(t.Ancestors),
		"external_id": t.ExternalID, "erp_customer_id": t.ERPCustomerID, "stripe_cust_id": t.StripeCustomerID,
		"contact_name": t.ContactName, "contact_email": t.ContactEmail, "contact_phone": t.ContactPhone, "billing_email": t.BillingEmail,
		"allowed_origins": t.AllowedOrigins, "metadata": t.Metadata,
		"trial_ends_at": t.TrialEndsAt, "contract_start": t.ContractStart, "contract_end": t.ContractEnd, "sales_owner": t.SalesOwner,
		"status_before_suspension": string(t.StatusBeforeSuspension), "suspended_at": t.SuspendedAt, "suspension_reason": t.SuspensionReason,
		"frozen_at": t.FrozenAt, "freeze_reason": t.FreezeReason, "archive_due_at": t.ArchiveDueAt,
		"archived_at": t.ArchivedAt, "purge_due_at": t.PurgeDueAt, "cancelled_at": t.CancelledAt, "cancel_reason": t.CancelReason,
		"legal_hold": t.LegalHold, "legal_hold_reason": t.LegalHoldReason,
		"status_locked": t.StatusLocked, "deleted_at": t.DeletedAt,
	}
}

const insertTenantSQL = `
INSERT INTO tenants AS t (
	id, slug, name, kind, status, plan, parent_id, ancestors, external_id, erp_customer_id, stripe_cust_id,
	contact_name, contact_email, contact_phone, billing_email, allowed_origins, metadata,
	trial_ends_at, contract_start, contract_end, sales_owner)
VALUES (
	@id, @slug, @name, @kind::text::tenant_kind, @status::text::tenant_status, @plan, @parent_id, @ancestors,
	NULLIF(@external_id, ''), NULLIF(@erp_customer_id, ''), NULLIF(@stripe_cust_id, ''),
	NULLIF(@contact_name, ''), NULLIF(@contact_email::text, ''), NULLIF(@contact_phone, ''), NULLIF(@billing_email::text, ''),
	@allowed_origins, @metadata, @trial_ends_at, @contract_start, @contract_end, NULLIF(@sales_owner, ''))
RETURNING` + columns

func insertTenant(ctx context.Context, tx pg.Tx, t Tenant) (Tenant, error) {
	return pg.One[Tenant](ctx, tx, insertTenantSQL, writable(t))
}

// updateTenantSQL writes everything that can change but the place in the tree.
// The row is locked by then, so nothing is overwritten unseen.
const updateTenantSQL = `
UPDATE tenants AS t
SET slug = @slug, name = @name, kind = @kind::text::tenant_kind, status = @status::text::tenant_status, plan = @plan,
	external_id = NULLIF(@external_id, ''), erp_customer_id = NULLIF(@erp_customer_id, ''), stripe_cust_id = NULLIF(@stripe_cust_id, ''),
	contact_name = NULLIF(@contact_name, ''), contact_email = NULLIF(@contact_email::text, ''),
	contact_phone = NULLIF(@contact_phone, ''), billing_email = NULLIF(@billing_email::text, ''),
	allowed_origins = @allowed_origins, metadata = @metadata,
	trial_ends_at = @trial_ends_at, contract_start = @contract_start, contract_end = @contract_end, sales_owner = NULLIF(@sales_owner, ''),
	status_before_suspension = NULLIF(@status_before_suspension::text, '')::tenant_status,
	suspended_at = @suspended_at, suspension_reason = NULLIF(@suspension_reason, ''),
	frozen_at = @frozen_at, freeze_reason = NULLIF(@freeze_reason, ''), archive_due_at = @archive_due_at,
	archived_at = @archived_at, purge_due_at = @purge_due_at,
	cancelled_at = @cancelled_at, cancel_reason = NULLIF(@cancel_reason, ''),
	legal_hold = @legal_hold, legal_hold_reason = NULLIF(@legal_hold_reason, ''),
	status_locked = @status_locked, deleted_at = @deleted_at
WHERE t.id = @id
RETURNING` + columns

func updateTenant(ctx context.Context, tx pg.Tx, t Tenant) (Tenant, error) {
	return pg.One[Tenant](ctx, tx, updateTenantSQL, writable(t))
}

const getTenantSQL = `SELECT` + columns + ` FROM tenants t WHERE t.id = $1`

func getTenant(ctx context.Context, tx pg.Tx, tenant id.Tenant) (Tenant, error) {
	t, err := pg.One[Tenant](ctx, tx, getTenantSQL, tenant)
	return t, pg.Found(err, "tenant")
}

func getParent(ctx context.Context, tx pg.Tx, parent id.Tenant) (Tenant, error) {
	t, err := pg.One[Tenant](ctx, tx, getTenantSQL, parent)
	return t, pg.Found(err, "parent")
}

const lockTenantSQL = getTenantSQL + ` FOR NO KEY UPDATE OF t`

func lockTenant(ctx context.Context, tx pg.Tx, tenant id.Tenant) (Tenant, error) {
	t, err := pg.One[Tenant](ctx, tx, lockTenantSQL, tenant)
	return t, pg.Found(err, "tenant")
}

const idBySlugSQL = `SELECT id FROM tenants WHERE slug = $1`

func idBySlug(ctx context.Context, tx pg.Tx, slug string) (id.Tenant, error) {
	var t id.Tenant
	err := tx.QueryRow(ctx, idBySlugSQL, slug).Scan(&t)
	return t, pg.Found(err, "tenant")
}

// An id wins over an external id, and that over a slug: the first two are set by
// the platform, the last by whoever was first.
const idByClaimSQL = `
SELECT id
FROM tenants
WHERE id = $1 OR external_id = $2 OR slug = $2
ORDER BY id = $1 DESC NULLS LAST, external_id = $2 DESC NULLS LAST
LIMIT 1`

func idByClaim(ctx context.Context, tx pg.Tx, t id.Tenant, name string) (id.Tenant, error) {
	err := tx.QueryRow(ctx, idByClaimSQL, t, name).Scan(&t)
	return t, pg.Found(err, "tenant")
}

// treeLock is the advisory lock over the shape of the tree: shared by those who
// add a leaf, exclusive for those who change what lies below what. It is taken
// in a statement of its own, before the tree is read, so that what is read is
// what was true once the lock was held.
const (
	treeLock       = 0x6c616e64_74726565 // "landtree"
	lockTreeSQL    = `SELECT pg_advisory_xact_lock($1)`
	shareTreeSQL   = `SELECT pg_advisory_xact_lock_shared($1)`
	hasChildrenSQL = `SELECT EXISTS (SELECT FROM tenants WHERE parent_id = $1 AND deleted_at IS NULL)`
)

func lockTree(ctx context.Context, tx pg.Tx) error {
	_, err := tx.Exec(ctx, lockTreeSQL, int64(treeLock))
	return err
}

// lockParent reads a parent under the shared tree lock, in one round trip.
func lockParent(ctx context.Context, tx pg.Tx, parent id.Tenant) (Tenant, error) {
	var t Tenant
	b := &pg.Batch{}
	b.Queue(shareTreeSQL, int64(treeLock))
	b.Queue(getTenantSQL, parent).Query(func(rows pg.Rows) (err error) {
		t, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Tenant])
		return err
	})
	return t, pg.Found(pg.Send(ctx, tx, b), "parent")
}

// childless refuses a tenant with tenants below it.
func childless(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	var has bool
	if err := tx.QueryRow(ctx, hasChildrenSQL, tenant).Scan(&has); err != nil {
		return err
	}
	if has {
		return fault.Conflict("tenant_has_children", "Tenants lie below this one: move or delete them first.")
	}
	return nil
}

const isWithinSQL = `
SELECT EXISTS (
	SELECT FROM tenants
	WHERE id = $2 AND deleted_at IS NULL AND (id = $1 OR $1 = ANY (ancestors)))`

func isWithin(ctx context.Context, tx pg.Tx, root, tenant id.Tenant) (bool, error) {
	var in bool
	err := tx.QueryRow(ctx, isWithinSQL, root, tenant).Scan(&in)
	return in, err
}

// moveSubtreeSQL replaces the part of each path that lay above the tenant.
const moveSubtreeSQL = `
UPDATE tenants
SET parent_id = CASE WHEN id = @tenant THEN @parent::uuid ELSE parent_id END,
	ancestors = @above::uuid[] || ancestors[@depth::int + 1:]
WHERE path >= @path AND path < @upto`

func moveSubtree(ctx context.Context, tx pg.Tx, t Tenant, parent id.Tenant, above []id.Tenant) (int64, error) {
	tag, err := tx.Exec(ctx, moveSubtreeSQL, pg.Named{
		"tenant": t.ID, "parent": parent, "above": uuids(above), "depth": t.Depth(), "path": pathBytes(t.path()), "upto": pathEnd(t),
	})
	return tag.RowsAffected(), err
}

const (
	listTenantsSQL = `SELECT` + columns + ` FROM tenants t WHERE`
	listOrderSQL   = ` ORDER BY t.id DESC LIMIT @limit`

	whereDeleted    = ` t.deleted_at IS NOT NULL`
	whereNotDeleted = ` t.deleted_at IS NULL`
	whereBefore     = ` t.id < @before`
	whereStatus     = ` t.status = `
	whereKind       = ` t.kind = `
	wherePlan       = ` t.plan = @plan`
	whereParent     = ` t.parent_id = @parent`
	whereExternal   = ` t.external_id = @external_id`
	whereERP        = ` t.erp_customer_id = @erp_customer_id`
	whereStripe     = ` t.stripe_cust_id = @stripe_cust_id`
	whereMetaKey    = ` t.metadata ? @metadata_key::text`
	whereMetaValue  = ` (t.metadata @> @metadata_text::jsonb OR t.metadata @> @metadata_json::jsonb)`
	whereQuery      = ` (t.name ILIKE @query OR t.slug ILIKE @query)`
	// A live effective status is the tenant's own, with nothing strict above it.
	whereNothingAbove = ` COALESCE((SELECT max(a.status) FROM tenants a WHERE a.id = ANY (t.ancestors)) < 'frozen', TRUE)`
	// A strict one is its own or that of a tenant above it, whichever is stricter.
	whereStrictest = ` GREATEST(t.status, (SELECT max(a.status) FROM tenants a WHERE a.id = ANY (t.ancestors))) = @effective::text::tenant_status`
	// The tenant and those below it: see pathEnd.
	whereWithin = ` t.path >= (SELECT r.path FROM tenants r WHERE r.id = @root)
	AND t.path < (SELECT r.path || '\xffffffffffffffffffffffffffffffffff'::bytea FROM tenants r WHERE r.id = @root)`
)

// listQuery joins the conditions of a filter: only those that are asked for, so
// that each shape gets the plan that suits it.
func listQuery(f Filter, root, before id.Tenant, paged bool, limit int) (string, pg.Named) {
	args := pg.Named{
		"root": root, "before": before, "limit": limit, "effective": string(f.EffectiveStatus),
		"plan": f.Plan, "parent": f.Parent, "external_id": f.ExternalID, "erp_customer_id": f.ERPCustomerID,
		"stripe_cust_id": f.StripeCustomerID, "metadata_key": f.MetadataKey, "query": contains(f.Query),
	}
	where := []string{whereNotDeleted}
	if f.Deleted {
		where[0] = whereDeleted
	}
	add := func(asked bool, condition string) {
		if asked {
			where = append(where, condition)
		}
	}
	add(paged, whereBefore)
	add(!root.IsZero(), whereWithin)
	// Status and kind are written out, so that their partial indexes apply; the
	// filter is validated, and what is no such word is not written.
	add(f.Status.Valid(), whereStatus+"'"+string(f.Status)+"'")
	add(f.EffectiveStatus.Live(), whereStatus+"'"+string(f.EffectiveStatus)+"'\n\tAND"+whereNothingAbove)
	add(f.EffectiveStatus != "" && !f.EffectiveStatus.Live(), whereStrictest)
	add(f.Kind.Valid(), whereKind+"'"+string(f.Kind)+"'")
	add(f.Plan != "", wherePlan)
	add(!f.Parent.IsZero(), whereParent)
	add(f.ExternalID != "", whereExternal)
	add(f.ERPCustomerID != "", whereERP)
	add(f.StripeCustomerID != "", whereStripe)
	add(f.MetadataKey != "" && f.MetadataValue == nil, whereMetaKey)
	if f.MetadataValue != nil {
		args["metadata_text"], args["metadata_json"] = metadataPairs(f.MetadataKey, *f.MetadataValue)
		add(true, whereMetaValue)
	}
	add(f.Query != "", whereQuery)
	return listTenantsSQL + strings.Join(where, "\n\tAND") + listOrderSQL, args
}

// metadataPairs gives KEY=VALUE as the objects that match it: with the value as
// text, and, where it reads as a number or a boolean, as that. Both are found by
// the index.
func metadataPairs(key, value string) (string, string) {
	object := func(v any) string {
		b, _ := json.Marshal(map[string]any{key: v}) // text, numbers and booleans always encode
		return string(b)
	}
	asText := object(value)
	if value == "true" || value == "false" {
		return asText, object(value == "true")
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil && json.Valid([]byte(value)) {
		return asText, object(json.Number(value))
	}
	return asText, asText
}

// contains makes a LIKE pattern that takes the text as it is.
func contains(s string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

func listTenants(ctx context.Context, tx pg.Tx, f Filter, root, before id.Tenant, paged bool, limit int) ([]Tenant, error) {
	sql, args := listQuery(f, root, before, paged, limit)
	return pg.Collect[Tenant](ctx, tx, sql, args)
}

// A tenant's path sorts right before those of the tenants below it, so a
// subtree is a range of tenants_path_idx.
const (
	subtreeSQL = `SELECT` + columns + `
FROM tenants t
WHERE t.path >= @after AND t.path < @upto
	AND cardinality(t.ancestors) <= @deepest
	AND t.deleted_at IS NULL
ORDER BY t.path
LIMIT @limit`
	subtreeNextSQL = `SELECT` + columns + `
FROM tenants t
WHERE t.path > @after AND t.path < @upto
	AND cardinality(t.ancestors) <= @deepest
	AND t.deleted_at IS NULL
ORDER BY t.path
LIMIT @limit`
)

func listSubtree(ctx context.Context, tx pg.Tx, top Tenant, after []id.Tenant, paged bool, deepest, limit int) ([]Tenant, error) {
	sql := subtreeSQL
	if paged {
		sql = subtreeNextSQL
	}
	return pg.Collect[Tenant](ctx, tx, sql, pg.Named{
		"after": pathBytes(after), "upto": pathEnd(top), "deepest": deepest, "limit": limit,
	})
}

// pathBytes is a path as the column holds it.
func pathBytes(path []id.Tenant) []byte {
	b := make([]byte, 0, 16*(MaxDepth+1))
	for _, v := range path {
		b = append(b, v[:]...)
	}
	return b
}

// pathEnd is behind every path below a tenant: those go on with an id of 16 bytes.
func pathEnd(t Tenant) []byte {
	return append(pathBytes(t.path()), bytes.Repeat([]byte{0xff}, 17)...)
}

// uuids is never nil, which would be NULL.
func uuids(ids []id.Tenant) [][16]byte {
	out := make([][16]byte, len(ids))
	for i, v := range ids {
		out[i] = v
	}
	return out
}

// What the clock does. Each statement takes rows that are due and that no other
// replica is at, the longest overdue first.
const (
	dueTrialsSQL = `SELECT` + columns + `
FROM tenants t
WHERE t.status = 'trial' AND t.trial_ends_at <= @now
	AND t.kind <> 'demo' AND t.deleted_at IS NULL
ORDER BY t.trial_ends_at
LIMIT @limit
FOR NO KEY UPDATE OF t SKIP LOCKED`

	// A contract holds until the end of its last day, UTC.
	dueContractsSQL = `SELECT` + columns + `
FROM tenants t
WHERE t.status = 'active' AND t.contract_end < (@now::timestamptz AT TIME ZONE 'UTC')::date
	AND t.kind <> 'demo' AND t.deleted_at IS NULL AND t.id <> '00000000-0000-0000-0000-000000000001'
ORDER BY t.contract_end
LIMIT @limit
FOR NO KEY UPDATE OF t SKIP LOCKED`

	dueArchivesSQL = `SELECT` + columns + `
FROM tenants t
WHERE t.status = 'frozen' AND t.archive_due_at <= @now
	AND t.deleted_at IS NULL
ORDER BY t.archive_due_at
LIMIT @limit
FOR NO KEY UPDATE OF t SKIP LOCKED`
)

func lockDue(ctx context.Context, tx pg.Tx, sql string, now time.Time, limit int) ([]Tenant, error) {
	return pg.Collect[Tenant](ctx, tx, sql, pg.Named{"now": now, "limit": limit})
}

// dueSQL says what the clock will do, and when: a tenant that will freeze will be
// archived a grace later, which counts from now for one that is overdue.
const dueSQL = `
WITH ending AS (
	SELECT t.id, t.slug, t.name, t.ancestors, t.status, t.trial_ends_at AS at,
		CASE WHEN t.cancelled_at IS NULL THEN 'trial ended' ELSE 'cancelled' END AS reason
	FROM tenants t
	WHERE t.status = 'trial' AND t.trial_ends_at <= @until
		AND t.kind <> 'demo' AND t.deleted_at IS NULL
	UNION ALL
	SELECT t.id, t.slug, t.name, t.ancestors, t.status, (t.contract_end + 1)::timestamp AT TIME ZONE 'UTC',
		CASE WHEN t.cancelled_at IS NULL THEN 'contract ended' ELSE 'cancelled' END
	FROM tenants t
	WHERE t.status = 'active' AND t.contract_end < (@until::timestamptz AT TIME ZONE 'UTC')::date
		AND t.kind <> 'demo' AND t.deleted_at IS NULL AND t.id <> '00000000-0000-0000-0000-000000000001'
), due AS (
	SELECT id, slug, name, ancestors, at, 'freeze' AS action, status AS from_status, 'frozen'::tenant_status AS to_status, reason
	FROM ending
	UNION ALL
	SELECT id, slug, name, ancestors, GREATEST(at, @now::timestamptz) + @grace::interval, 'archive', 'frozen', 'archived', 'grace period over'
	FROM ending
	UNION ALL
	SELECT t.id, t.slug, t.name, t.ancestors, t.archive_due_at, 'archive', 'frozen', 'archived', 'grace period over'
	FROM tenants t
	WHERE t.status = 'frozen' AND t.archive_due_at <= @until AND t.deleted_at IS NULL
)
SELECT id, slug, name, at, action, from_status::text AS from_status, to_status::text AS to_status, reason
FROM due
WHERE at <= @until
	AND (@root::uuid IS NULL OR id = @root OR @root = ANY (ancestors))
	AND (at, id, action) > (@after_at::timestamptz, @after_id::uuid, @after_action::text)
ORDER BY at, id, action
LIMIT @limit`

func listDue(ctx context.Context, tx pg.Tx, root id.Tenant, now, until time.Time, after dueKey, limit int) ([]Due, error) {
	return pg.Collect[Due](ctx, tx, dueSQL, pg.Named{
		"root": root, "now": now, "until": until, "grace": Grace, "limit": limit,
		"after_at": after.At, "after_id": after.ID.UUID(), "after_action": string(after.Action),
	})
}
