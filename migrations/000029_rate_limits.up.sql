SET LOCAL lock_timeout = '5s';

-- A key's own, beside rate_limit_rpm.
ALTER TABLE api_keys
    ADD COLUMN rate_limits JSONB NOT NULL DEFAULT '[]'::jsonb,
    ADD CONSTRAINT api_keys_rate_limits_check CHECK (jsonb_typeof(rate_limits) = 'array');

COMMENT ON COLUMN api_keys.rate_limits IS 'Named limits beside rate_limit_rpm: [{"name": "renders", "limit": 100, "window": 60, "burst": 20, "named_only": true}]; window in seconds.';

CREATE OR REPLACE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, rate_limits, is_active, disabled_at, disabled_reason, expires_at, revoked_at, revoked_reason,
        rotated_from, rotated_to, grace_ends_at, metadata, created_by, created_at, updated_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE products
    ADD COLUMN rate_limits JSONB NOT NULL DEFAULT '[]'::jsonb,
    ADD CONSTRAINT products_rate_limits_check CHECK (jsonb_typeof(rate_limits) = 'array');

COMMENT ON COLUMN products.rate_limits IS 'Named limits of whoever uses the product: as in api_keys, with "per": "tenant" | "key", which says who has a bucket of his own.';

ALTER TABLE plan_products
    ADD COLUMN rate_limits JSONB NOT NULL DEFAULT '[]'::jsonb,
    ADD CONSTRAINT plan_products_rate_limits_check CHECK (jsonb_typeof(rate_limits) = 'array');

COMMENT ON COLUMN plan_products.rate_limits IS 'Other numbers for limits that the product declares: [{"name": "renders", "limit": 1000, "window": 60}]. Read, never copied.';

CREATE TABLE tenant_rate_limits (
    tenant_id   UUID        NOT NULL
        CONSTRAINT tenant_rate_limits_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name        TEXT        NOT NULL,
    product     TEXT
        CONSTRAINT tenant_rate_limits_product_fkey REFERENCES products (name) ON DELETE RESTRICT,
    limit_value BIGINT      NOT NULL,
    window_secs INT         NOT NULL,
    burst       BIGINT,
    named_only  BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_rate_limits_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT tenant_rate_limits_name_check CHECK (name ~ '^[a-z][a-z0-9_-]{0,39}$'),
    CONSTRAINT tenant_rate_limits_limit_value_check CHECK (limit_value BETWEEN 1 AND 1000000000),
    CONSTRAINT tenant_rate_limits_window_secs_check CHECK (window_secs BETWEEN 1 AND 2678400),
    CONSTRAINT tenant_rate_limits_burst_check CHECK (burst BETWEEN 1 AND limit_value)
);

CREATE INDEX tenant_rate_limits_product_idx ON tenant_rate_limits (product) WHERE product IS NOT NULL;

COMMENT ON TABLE tenant_rate_limits IS 'Named limits on how often, shared by all keys of a tenant; how much in a day or month is tenant_limits. One takes the place of the limit of its name that a product declares.';
COMMENT ON COLUMN tenant_rate_limits.product IS 'Counts only what is done with this product; NULL = everything.';
COMMENT ON COLUMN tenant_rate_limits.limit_value IS 'Units in a window.';
COMMENT ON COLUMN tenant_rate_limits.window_secs IS 'Seconds in which limit_value units come back.';
COMMENT ON COLUMN tenant_rate_limits.burst IS 'How many units may come at once; NULL = limit_value.';
COMMENT ON COLUMN tenant_rate_limits.named_only IS 'Spent from only by verifications that name it.';

CREATE TRIGGER tenant_rate_limits_touch_updated_at
    BEFORE UPDATE ON tenant_rate_limits
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_rate_limits ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_rate_limits FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_rate_limits
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_rate_limits TO landlord_app;
