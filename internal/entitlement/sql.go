package entitlement

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const columns = `
       e.tenant_id, e.product, e.enabled, e.config, e.source, e.expires_at, e.created_at, e.updated_at, p.default_config`

const selectOne = `
SELECT` + columns + `
  FROM tenant_products e
  JOIN products p ON p.name = e.product
 WHERE e.tenant_id = $1
   AND e.product = $2`

const selectOneForUpdate = selectOne + `
   FOR UPDATE OF e`

func get(ctx context.Context, tx pg.Tx, tenant id.Tenant, product string) (Entitlement, error) {
	return pg.One[Entitlement](ctx, tx, selectOne, tenant, product)
}

// lock returns the entitlement and keeps it as it is until the transaction ends;
// nil when there is none.
func lock(ctx context.Context, tx pg.Tx, tenant id.Tenant, product string) (*Entitlement, error) {
	e, err := pg.One[Entitlement](ctx, tx, selectOneForUpdate, tenant, product)
	if pg.IsNoRows(err) {
		return nil, nil //nolint:nilnil // none is an answer here
	}
	return &e, err
}

const listOfTenant = `
SELECT` + columns + `
  FROM tenant_products e
  JOIN products p ON p.name = e.product
 WHERE e.tenant_id = $1
   AND e.product > $2
 ORDER BY e.product
 LIMIT $3`

// The index on product carries no tenant_id; a product's holders are read in the
// order of the primary key.
const listOfProduct = `
SELECT` + columns + `, t.slug AS tenant_slug, t.name AS tenant_name
  FROM tenant_products e
  JOIN products p ON p.name = e.product
  JOIN tenants t ON t.id = e.tenant_id
 WHERE e.product = $1
   AND e.tenant_id > $2
   AND t.deleted_at IS NULL
 ORDER BY e.tenant_id
 LIMIT $3`

// What a configuration may hold stays as it is until the transaction ends.
const selectManifest = `
SELECT config_schema, default_config
  FROM products
 WHERE name = $1
   FOR SHARE`

func manifest(ctx context.Context, tx pg.Tx, product string) (catalog.Product, error) {
	p := catalog.Product{Name: product}
	err := tx.QueryRow(ctx, selectManifest, product).Scan(&p.ConfigSchema, &p.DefaultConfig)
	return p, pg.Found(err, "product")
}

const selectProductExists = `
SELECT EXISTS (SELECT FROM products WHERE name = $1)`

func productExists(ctx context.Context, tx pg.Tx, product string) error {
	var ok bool
	if err := tx.QueryRow(ctx, selectProductExists, product).Scan(&ok); err != nil {
		return err
	}
	if !ok {
		return fault.NotFound("product")
	}
	return nil
}

const selectStatus = `
SELECT landlord_effective_status($1)::text`

func effectiveStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant) (string, error) {
	var status *string
	if err := tx.QueryRow(ctx, selectStatus, tenant).Scan(&status); err != nil {
		return "", err
	}
	if status == nil {
		return "", fault.NotFound("tenant")
	}
	return *status, nil
}

const insertOne = `
INSERT INTO tenant_products (tenant_id, product, enabled, config, source, expires_at)
VALUES (@tenant_id, @product, @enabled, @config, @source, @expires_at)
ON CONFLICT (tenant_id, product) DO NOTHING
RETURNING created_at, updated_at`

const updateOne = `
UPDATE tenant_products
   SET enabled = @enabled, config = @config, source = @source, expires_at = @expires_at
 WHERE tenant_id = @tenant_id
   AND product = @product
RETURNING created_at, updated_at`

func write(ctx context.Context, tx pg.Tx, sql string, e *Entitlement) error {
	return tx.QueryRow(ctx, sql, pg.Named{
		"tenant_id": e.TenantID, "product": e.Product, "enabled": e.Enabled,
		"config": e.Config, "source": e.Source, "expires_at": e.ExpiresAt,
	}).Scan(&e.CreatedAt, &e.UpdatedAt)
}

const deleteOne = `
DELETE FROM tenant_products
 WHERE tenant_id = $1
   AND product = $2`

// After a tenant's own entitlement has gone, the plan's is back.
const insertFromPlan = `
INSERT INTO tenant_products (tenant_id, product, config, source)
SELECT t.id, g.product, g.config, 'plan'
  FROM tenants t
  JOIN plan_products g ON g.plan = t.plan
 WHERE t.id = $1
   AND g.product = $2`

func remove(ctx context.Context, tx pg.Tx, tenant id.Tenant, product string) (backToPlan bool, err error) {
	if _, err := tx.Exec(ctx, deleteOne, tenant, product); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, insertFromPlan, tenant, product)
	return tag.RowsAffected() > 0, err
}

type planRow struct {
	Name      string `db:"name"`
	TrialDays int    `db:"trial_days"`
	Archived  bool   `db:"archived"`
}

// The plan stays as it is while it is given.
const selectPlan = `
SELECT name, trial_days, archived
  FROM plans
 WHERE name = $1
   FOR SHARE`

const selectPlanOfTenant = `
SELECT plan
  FROM tenants
 WHERE id = $1
   FOR SHARE`

// Of the products of a plan, those that a tenant is not entitled to itself.
const selectNotHeld = `
SELECT g.product
  FROM plan_products g
 WHERE g.plan = $1
   AND NOT EXISTS (
       SELECT FROM tenant_products e
        WHERE e.tenant_id = $2
          AND e.product = g.product
          AND e.enabled
          AND (e.expires_at IS NULL OR e.expires_at > $3))
 ORDER BY g.product`

func notHeld(ctx context.Context, tx pg.Tx, plan string, tenant id.Tenant, now time.Time) ([]string, error) {
	return pg.Scalars[string](ctx, tx, selectNotHeld, plan, tenant, now)
}

const (
	dropPlanProducts = `
DELETE FROM tenant_products e
 WHERE e.tenant_id = $1
   AND e.source = 'plan'
   AND NOT EXISTS (SELECT FROM plan_products g WHERE g.plan = $2 AND g.product = e.product)`

	takePlanProducts = `
INSERT INTO tenant_products AS e (tenant_id, product, config, source)
SELECT $1, g.product, g.config, 'plan'
  FROM plan_products g
 WHERE g.plan = $2
 ORDER BY g.product
ON CONFLICT (tenant_id, product) DO UPDATE
   SET enabled = TRUE, config = EXCLUDED.config, source = 'plan', expires_at = NULL
 WHERE e.source <> 'override'
   AND (e.source, e.enabled, e.config, e.expires_at) IS DISTINCT FROM ('plan', TRUE, EXCLUDED.config, NULL::timestamptz)`

	dropPlanLimits = `
DELETE FROM tenant_limits e
 WHERE e.tenant_id = $1
   AND e.source = 'plan'
   AND NOT EXISTS (SELECT FROM plan_limits g WHERE g.plan = $2 AND g.meter = e.meter AND g.period = e.period)`

	takePlanLimits = `
INSERT INTO tenant_limits AS e (tenant_id, meter, period, limit_value, unlimited, source)
SELECT $1, g.meter, g.period, g.limit_value, g.unlimited, 'plan'
  FROM plan_limits g
 WHERE g.plan = $2
 ORDER BY g.meter, g.period
ON CONFLICT (tenant_id, meter, period) DO UPDATE
   SET limit_value = EXCLUDED.limit_value, unlimited = EXCLUDED.unlimited
 WHERE e.source = 'plan'
   AND (e.limit_value, e.unlimited) IS DISTINCT FROM (EXCLUDED.limit_value, EXCLUDED.unlimited)`
)

// takePlan brings a tenant's products and limits in line with a plan and reports
// how many rows that has changed.
func takePlan(ctx context.Context, tx pg.Tx, tenant id.Tenant, plan string) (int64, error) {
	var changed int64
	for _, sql := range []string{dropPlanProducts, takePlanProducts, dropPlanLimits, takePlanLimits} {
		tag, err := tx.Exec(ctx, sql, tenant, plan)
		if err != nil {
			return 0, err
		}
		changed += tag.RowsAffected()
	}
	return changed, nil
}
