-- The catalogue: what the platform sells and measures. It is data of the whole
-- platform, applied from YAML in one transaction, so it has no tenant_id and no
-- row-level security. Foreign keys refuse to remove what is in use.
CREATE TABLE products (
    name              TEXT        NOT NULL CONSTRAINT products_pkey PRIMARY KEY,
    title             TEXT        NOT NULL,
    description       TEXT        NOT NULL DEFAULT '',
    supports_projects BOOLEAN     NOT NULL DEFAULT FALSE,
    config_schema     JSONB       NOT NULL DEFAULT '{}'::jsonb,
    default_config    JSONB       NOT NULL DEFAULT '{}'::jsonb,
    scopes            JSONB       NOT NULL DEFAULT '[]'::jsonb,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT products_name_check CHECK (name ~ '^[a-z][a-z0-9-]{1,62}$'),
    CONSTRAINT products_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
    CONSTRAINT products_config_schema_check CHECK (jsonb_typeof(config_schema) = 'object'),
    CONSTRAINT products_default_config_check CHECK (jsonb_typeof(default_config) = 'object'),
    CONSTRAINT products_scopes_check CHECK (jsonb_typeof(scopes) = 'array')
);

COMMENT ON TABLE products IS 'Products of the platform that tenants can be entitled to, each with the manifest it declared.';
COMMENT ON COLUMN products.supports_projects IS 'Whether tenants of this product may divide themselves into projects.';
COMMENT ON COLUMN products.config_schema IS 'JSON Schema (2020-12) that tenant_products.config must satisfy; {} accepts anything.';
COMMENT ON COLUMN products.default_config IS 'What is in force where the entitlement''s own config says nothing: read, never copied, so that a new default reaches every tenant.';
COMMENT ON COLUMN products.scopes IS 'Scopes the product understands: [{"name": "renders:create", "access": "read" | "write", "description": "…"}]. A write scope is refused to a frozen tenant.';

CREATE TABLE plans (
    name        TEXT        NOT NULL CONSTRAINT plans_pkey PRIMARY KEY,
    title       TEXT        NOT NULL,
    description TEXT        NOT NULL DEFAULT '',
    trial_days  INT         NOT NULL DEFAULT 0,
    settings    JSONB       NOT NULL DEFAULT '{}'::jsonb,
    archived    BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT plans_name_check CHECK (name ~ '^[a-z][a-z0-9-]{1,62}$'),
    CONSTRAINT plans_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
    CONSTRAINT plans_trial_days_check CHECK (trial_days BETWEEN 0 AND 3650),
    CONSTRAINT plans_settings_check CHECK (jsonb_typeof(settings) = 'object')
);

COMMENT ON TABLE plans IS 'What a tenant buys: products with their configuration, limits, settings and a trial period.';
COMMENT ON COLUMN plans.trial_days IS 'Length of the evaluation of a new tenant; 0 means that it starts active.';
COMMENT ON COLUMN plans.settings IS 'Values of setting definitions that tenants of this plan start from: {name: value}.';
COMMENT ON COLUMN plans.archived IS 'Kept for the tenants that have it; new tenants cannot choose it.';

CREATE TABLE plan_products (
    plan    TEXT  NOT NULL CONSTRAINT plan_products_plan_fkey REFERENCES plans (name) ON DELETE CASCADE,
    product TEXT  NOT NULL CONSTRAINT plan_products_product_fkey REFERENCES products (name) ON DELETE RESTRICT,
    config  JSONB NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT plan_products_pkey PRIMARY KEY (plan, product),
    CONSTRAINT plan_products_config_check CHECK (jsonb_typeof(config) = 'object')
);

CREATE INDEX plan_products_product_idx ON plan_products (product);

COMMENT ON TABLE plan_products IS 'Products a plan entitles to. A table, not JSON in plans, so that a product in use cannot be removed.';
COMMENT ON COLUMN plan_products.config IS 'Configuration of the entitlement, laid over the product''s default_config.';

CREATE TABLE meters (
    name        TEXT        NOT NULL CONSTRAINT meters_pkey PRIMARY KEY,
    title       TEXT        NOT NULL,
    description TEXT        NOT NULL DEFAULT '',
    unit        TEXT        NOT NULL DEFAULT '',
    aggregation TEXT        NOT NULL DEFAULT 'sum',
    limits      JSONB       NOT NULL DEFAULT '[]'::jsonb,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT meters_name_check CHECK (name ~ '^[a-z][a-z0-9_]{1,62}$'),
    CONSTRAINT meters_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
    CONSTRAINT meters_aggregation_check CHECK (aggregation IN ('sum', 'max', 'last', 'unique')),
    CONSTRAINT meters_limits_check CHECK (jsonb_typeof(limits) = 'array')
);

COMMENT ON TABLE meters IS 'What is measured: renders, storage, API calls, users.';
COMMENT ON COLUMN meters.unit IS 'Unit of one: render, second, byte, call, user.';
COMMENT ON COLUMN meters.aggregation IS 'How the values of a day become one: sum, max, last (a gauge), unique (distinct values).';
COMMENT ON COLUMN meters.limits IS 'Limits that plans and tenants can set on it: [{"name": "max_storage_gb", "period": "total", "scale": 1000000000}], where scale says how many of the meter''s units one unit of the limit is. Rows of limits hold the meter''s units.';

CREATE TABLE plan_limits (
    plan        TEXT    NOT NULL CONSTRAINT plan_limits_plan_fkey REFERENCES plans (name) ON DELETE CASCADE,
    meter       TEXT    NOT NULL CONSTRAINT plan_limits_meter_fkey REFERENCES meters (name) ON DELETE RESTRICT,
    period      TEXT    NOT NULL,
    limit_value BIGINT,
    unlimited   BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT plan_limits_pkey PRIMARY KEY (plan, meter, period),
    CONSTRAINT plan_limits_period_check CHECK (period IN ('day', 'month', 'year', 'total')),
    CONSTRAINT plan_limits_value_check CHECK (limit_value >= 0),
    CONSTRAINT plan_limits_one_check CHECK (unlimited = (limit_value IS NULL))
);

CREATE INDEX plan_limits_meter_idx ON plan_limits (meter);

COMMENT ON TABLE plan_limits IS 'Limits a plan sets. No row: the plan says nothing about the meter, which is not the same as unlimited.';
COMMENT ON COLUMN plan_limits.limit_value IS 'The most that may be used in the period; 0 forbids. NULL exactly when unlimited.';

CREATE TABLE setting_definitions (
    name          TEXT        NOT NULL CONSTRAINT setting_definitions_pkey PRIMARY KEY,
    title         TEXT        NOT NULL DEFAULT '',
    description   TEXT        NOT NULL DEFAULT '',
    schema        JSONB       NOT NULL DEFAULT '{}'::jsonb,
    default_value JSONB       NOT NULL DEFAULT 'null'::jsonb,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT setting_definitions_name_check CHECK (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$' AND char_length(name) <= 100),
    CONSTRAINT setting_definitions_schema_check CHECK (jsonb_typeof(schema) = 'object')
);

COMMENT ON TABLE setting_definitions IS 'Settings and feature flags that tenants can have, with schema and default.';
COMMENT ON COLUMN setting_definitions.schema IS 'JSON Schema (2020-12) of a value.';
COMMENT ON COLUMN setting_definitions.default_value IS 'Value where no tenant on the way to the root sets one; JSON null means none.';

CREATE TABLE event_types (
    name        TEXT        NOT NULL CONSTRAINT event_types_pkey PRIMARY KEY,
    description TEXT        NOT NULL DEFAULT '',
    schema      JSONB       NOT NULL DEFAULT '{}'::jsonb,
    built_in    BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT event_types_name_check CHECK (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' AND char_length(name) <= 100),
    CONSTRAINT event_types_schema_check CHECK (jsonb_typeof(schema) = 'object')
);

COMMENT ON TABLE event_types IS 'Events that products and the registry itself emit and webhooks can subscribe to.';
COMMENT ON COLUMN event_types.schema IS 'JSON Schema (2020-12) of the payload; {} accepts anything.';
COMMENT ON COLUMN event_types.built_in IS 'Emitted by the registry itself; the catalogue can neither change nor remove it.';

CREATE TABLE catalog_state (
    singleton  BOOLEAN     NOT NULL DEFAULT TRUE CONSTRAINT catalog_state_pkey PRIMARY KEY,
    version    BIGINT      NOT NULL DEFAULT 0,
    applied_by TEXT,
    applied_at TIMESTAMPTZ,
    CONSTRAINT catalog_state_singleton_check CHECK (singleton)
);

COMMENT ON TABLE catalog_state IS 'One row: which catalogue was applied last. Locked by apply, so that two at once take turns.';
COMMENT ON COLUMN catalog_state.version IS 'Counts the applies that changed something.';
COMMENT ON COLUMN catalog_state.applied_by IS 'Who applied it: kind:id of the principal.';

INSERT INTO catalog_state (singleton) VALUES (TRUE);

-- The default of tenants.plan; a catalogue may describe it further.
INSERT INTO plans (name, title, description)
VALUES ('starter', 'Starter', 'The plan of tenants that chose none.');

CREATE TRIGGER products_touch_updated_at
    BEFORE UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TRIGGER plans_touch_updated_at
    BEFORE UPDATE ON plans
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TRIGGER meters_touch_updated_at
    BEFORE UPDATE ON meters
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TRIGGER setting_definitions_touch_updated_at
    BEFORE UPDATE ON setting_definitions
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TRIGGER event_types_touch_updated_at
    BEFORE UPDATE ON event_types
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

GRANT SELECT, INSERT, UPDATE, DELETE
    ON products, plans, plan_products, meters, plan_limits, setting_definitions, event_types
    TO landlord_app;
GRANT SELECT, UPDATE ON catalog_state TO landlord_app;
