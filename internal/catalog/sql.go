package catalog

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/pg"
)

const selectProducts = `
SELECT name, title, description, supports_projects, config_schema, default_config, scopes, rate_limits, created_at, updated_at
  FROM products`

const selectMeters = `
SELECT name, title, description, unit, aggregation, limits, created_at, updated_at
  FROM meters`

const selectSettings = `
SELECT name, title, description, schema, default_value, created_at, updated_at
  FROM setting_definitions`

const selectEventTypes = `
SELECT name, description, schema, built_in, created_at, updated_at
  FROM event_types`

// Limits are stored in the meter's unit and shown by name in the limit's own.
const selectPlans = `
SELECT name, title, description, trial_days, settings, api_keys, webhooks, archived, created_at, updated_at,
       (SELECT COALESCE(jsonb_object_agg(pp.product, jsonb_build_object('config', pp.config, 'rate_limits', pp.rate_limits)), '{}'::jsonb)
          FROM plan_products pp
         WHERE pp.plan = plans.name) AS products,
       (SELECT COALESCE(jsonb_object_agg(l.value->>'name', pl.limit_value / COALESCE((l.value->>'scale')::bigint, 1)), '{}'::jsonb)
          FROM plan_limits pl
          JOIN meters m ON m.name = pl.meter
         CROSS JOIN jsonb_array_elements(m.limits) l
         WHERE pl.plan = plans.name
           AND l.value->>'period' = pl.period) AS limits
  FROM plans`

const (
	byName1 = ` WHERE name = $1`
	forPage = ` WHERE name > $1 ORDER BY name LIMIT $2`
	inOrder = ` ORDER BY name`

	getProduct     = selectProducts + byName1
	getPlan        = selectPlans + byName1
	listProducts   = selectProducts + forPage
	listPlans      = selectPlans + forPage
	listMeters     = selectMeters + forPage
	listSettings   = selectSettings + forPage
	listEventTypes = selectEventTypes + forPage
	allProducts    = selectProducts + inOrder
	allPlans       = selectPlans + inOrder
	allMeters      = selectMeters + inOrder
	allSettings    = selectSettings + inOrder
	ownEventTypes  = selectEventTypes + ` WHERE NOT built_in` + inOrder
)

// readDocument reads the catalogue as the transaction sees it, without what is
// built in and cannot be written.
func readDocument(ctx context.Context, tx pg.Tx) (d Document, err error) {
	if d.Products, err = pg.Collect[Product](ctx, tx, allProducts); err != nil {
		return d, err
	}
	if d.Plans, err = pg.Collect[Plan](ctx, tx, allPlans); err != nil {
		return d, err
	}
	if d.Meters, err = pg.Collect[Meter](ctx, tx, allMeters); err != nil {
		return d, err
	}
	if d.Settings, err = pg.Collect[Setting](ctx, tx, allSettings); err != nil {
		return d, err
	}
	d.EventTypes, err = pg.Collect[EventType](ctx, tx, ownEventTypes)
	return d, err
}

// State says which catalogue is in force.
type State struct {
	Version   int64      `db:"version"` // counts the applies that changed something
	AppliedBy string     `db:"applied_by"`
	AppliedAt *time.Time `db:"applied_at"`
}

const selectState = `
SELECT version, COALESCE(applied_by, '') AS applied_by, applied_at
  FROM catalog_state`

// Two that apply at once take turns on this row.
const lockState = selectState + ` FOR UPDATE`

const bumpState = `
UPDATE catalog_state
   SET version = version + 1, applied_by = $1, applied_at = $2
RETURNING version, applied_by, applied_at`

const upsertProduct = `
INSERT INTO products (name, title, description, supports_projects, config_schema, default_config, scopes, rate_limits)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (name) DO UPDATE
   SET title = EXCLUDED.title, description = EXCLUDED.description, supports_projects = EXCLUDED.supports_projects,
       config_schema = EXCLUDED.config_schema, default_config = EXCLUDED.default_config, scopes = EXCLUDED.scopes,
       rate_limits = EXCLUDED.rate_limits`

const upsertMeter = `
INSERT INTO meters (name, title, description, unit, aggregation, limits)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE
   SET title = EXCLUDED.title, description = EXCLUDED.description, unit = EXCLUDED.unit,
       aggregation = EXCLUDED.aggregation, limits = EXCLUDED.limits`

const upsertSetting = `
INSERT INTO setting_definitions (name, title, description, schema, default_value)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE
   SET title = EXCLUDED.title, description = EXCLUDED.description, schema = EXCLUDED.schema,
       default_value = EXCLUDED.default_value`

const upsertEventType = `
INSERT INTO event_types (name, description, schema)
VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE
   SET description = EXCLUDED.description, schema = EXCLUDED.schema`

const upsertPlan = `
INSERT INTO plans (name, title, description, trial_days, settings, api_keys, webhooks, archived)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (name) DO UPDATE
   SET title = EXCLUDED.title, description = EXCLUDED.description, trial_days = EXCLUDED.trial_days,
       settings = EXCLUDED.settings, api_keys = EXCLUDED.api_keys, webhooks = EXCLUDED.webhooks, archived = EXCLUDED.archived`

const (
	deletePlanProducts = `DELETE FROM plan_products`
	deletePlanLimits   = `DELETE FROM plan_limits`
	insertPlanProduct  = `INSERT INTO plan_products (plan, product, config, rate_limits) VALUES ($1, $2, $3, $4)`
	insertPlanLimit    = `INSERT INTO plan_limits (plan, meter, period, limit_value, unlimited) VALUES ($1, $2, $3, $4::bigint, $4::bigint IS NULL)`

	deleteProduct   = `DELETE FROM products WHERE name = $1`
	deletePlan      = `DELETE FROM plans WHERE name = $1`
	deleteMeter     = `DELETE FROM meters WHERE name = $1`
	deleteSetting   = `DELETE FROM setting_definitions WHERE name = $1`
	deleteEventType = `DELETE FROM event_types WHERE name = $1 AND NOT built_in`
)

var deletes = map[string]string{
	"product": deleteProduct, "plan": deletePlan, "meter": deleteMeter, "setting": deleteSetting, "event_type": deleteEventType,
}

// Only what differs is written, so that a start of a replica writes nothing.
const seedEventType = `
INSERT INTO event_types (name, description, schema, built_in)
VALUES ($1, $2, $3, TRUE)
ON CONFLICT (name) DO UPDATE
   SET description = EXCLUDED.description, schema = EXCLUDED.schema, built_in = TRUE
 WHERE NOT event_types.built_in OR event_types.description <> EXCLUDED.description OR event_types.schema <> EXCLUDED.schema`

// writeDocument makes the tables hold d, touching only the objects that differ.
// Plans' products and limits are written anew: they have no version of their own.
func writeDocument(ctx context.Context, tx pg.Tx, d Document, changes []Change) error {
	b := &pg.Batch{}
	b.Queue(deletePlanProducts)
	b.Queue(deletePlanLimits)
	changed := map[string]bool{}
	for _, c := range changes {
		changed[c.Kind+" "+c.Name] = c.Op != Remove
	}
	for _, p := range d.Products {
		if changed["product "+p.Name] {
			b.Queue(upsertProduct, p.Name, p.Title, p.Description, p.SupportsProjects, object(p.ConfigSchema), object(p.DefaultConfig), array(p.Scopes), array(p.RateLimits))
		}
	}
	limits := map[string]placedLimit{}
	for _, m := range d.Meters {
		for _, l := range m.Limits {
			limits[l.Name] = placedLimit{m.Name, l}
		}
		if changed["meter "+m.Name] {
			b.Queue(upsertMeter, m.Name, m.Title, m.Description, m.Unit, m.Aggregation, array(m.Limits))
		}
	}
	for _, s := range d.Settings {
		if changed["setting "+s.Name] {
			b.Queue(upsertSetting, s.Name, s.Title, s.Description, object(s.Schema), rawJSON(s.Default))
		}
	}
	for _, e := range d.EventTypes {
		if changed["event_type "+e.Name] {
			b.Queue(upsertEventType, e.Name, e.Description, object(e.Schema))
		}
	}
	for _, p := range d.Plans {
		if changed["plan "+p.Name] {
			b.Queue(upsertPlan, p.Name, p.Title, p.Description, p.TrialDays, object(p.Settings), p.APIKeys, p.Webhooks, p.Archived)
		}
		for product, v := range p.Products {
			b.Queue(insertPlanProduct, p.Name, product, object(v.Config), array(v.RateLimits))
		}
		for name, v := range p.Limits {
			l := limits[name]
			if v != nil {
				v = new(*v * l.scale())
			}
			b.Queue(insertPlanLimit, p.Name, l.meter, l.Period, v)
		}
	}
	return pg.Send(ctx, tx, b)
}

type placedLimit struct {
	meter string
	Limit
}

func deleteObjects(ctx context.Context, tx pg.Tx, changes []Change) error {
	b := &pg.Batch{}
	for _, c := range changes {
		if c.Op == Remove {
			b.Queue(deletes[c.Kind], c.Name)
		}
	}
	return pg.Send(ctx, tx, b)
}

// Where an object of the catalogue is in use by tenants. Each statement takes
// the name ($1), or for limits the meter and the period, and answers how many
// tenants use it and the slugs of the first of them.
const (
	used = `
SELECT count(*) AS tenants,
       COALESCE((array_agg(t.slug ORDER BY t.id))[1:5], '{}') AS first
  FROM tenants t
 WHERE `
	usedProductEntitled = used + `t.id IN (SELECT tenant_id FROM tenant_products WHERE product = $1)`
	usedProductKeys     = used + `t.id IN (SELECT tenant_id FROM api_keys WHERE product = $1)`
	usedProductLimits   = used + `t.id IN (SELECT tenant_id FROM tenant_rate_limits WHERE product = $1)`
	usedPlan            = used + `t.plan = $1`
	usedMeterLimits     = used + `t.id IN (SELECT tenant_id FROM tenant_limits WHERE meter = $1)`
	usedMeterDaily      = used + `t.id IN (SELECT tenant_id FROM tenant_usage_daily WHERE meter = $1)`
	usedSetting         = used + `t.id IN (SELECT tenant_id FROM tenant_settings WHERE "values" ? $1)`
	usedEventType       = used + `t.id IN (SELECT tenant_id FROM tenant_webhooks WHERE events @> ARRAY[$1])`
	usedLimit           = used + `t.id IN (SELECT tenant_id FROM tenant_limits WHERE meter = $1 AND period = $2)`
)

var usedBy = map[string][]struct{ sql, what string }{
	"product":    {{usedProductEntitled, "entitled to it"}, {usedProductKeys, "with API keys for it"}, {usedProductLimits, "with rate limits of it"}},
	"plan":       {{usedPlan, "on it"}},
	"meter":      {{usedMeterLimits, "with limits on it"}, {usedMeterDaily, "with usage of it"}},
	"setting":    {{usedSetting, "that set it"}},
	"event_type": {{usedEventType, "with webhooks that want it"}},
}

type useRow struct {
	Tenants int64    `db:"tenants"`
	First   []string `db:"first"`
}

const configsOfProduct = `
SELECT t.slug, p.config
  FROM tenant_products p
  JOIN tenants t ON t.id = p.tenant_id
 WHERE p.product = $1
 ORDER BY t.id`

// object is a JSON object, never null.
func object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// array is a JSON array, never null.
func array[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
