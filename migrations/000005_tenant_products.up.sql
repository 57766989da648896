SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_products (
    tenant_id  UUID        NOT NULL
        CONSTRAINT tenant_products_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    product    TEXT        NOT NULL
        CONSTRAINT tenant_products_product_fkey REFERENCES products (name) ON DELETE RESTRICT,
    enabled    BOOLEAN     NOT NULL DEFAULT TRUE,
    config     JSONB       NOT NULL DEFAULT '{}'::jsonb,
    source     TEXT        NOT NULL DEFAULT 'override',
    expires_at TIMESTAMPTZ,
    metadata   JSONB       NOT NULL DEFAULT '{}'::jsonb,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_products_pkey PRIMARY KEY (tenant_id, product),
    CONSTRAINT tenant_products_config_check CHECK (jsonb_typeof(config) = 'object'),
    CONSTRAINT tenant_products_source_check CHECK (source IN ('plan', 'override', 'trial')),
    CONSTRAINT tenant_products_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

-- Whole, not WHERE enabled: it also serves the foreign key.
CREATE INDEX tenant_products_product_idx ON tenant_products (product);

COMMENT ON TABLE tenant_products IS 'Entitlements: which tenant has which product, with which configuration, until when.';
COMMENT ON COLUMN tenant_products.config IS 'Product-specific knobs (litellm_url, max_seats, modules_enabled, …), valid by products.config_schema.';
COMMENT ON COLUMN tenant_products.source IS 'Why the tenant has it: plan (follows a change of plan), override (an operator decided), trial.';
COMMENT ON COLUMN tenant_products.expires_at IS 'From this instant on the tenant is not entitled; NULL = no end.';

CREATE TRIGGER tenant_products_touch_updated_at
    BEFORE UPDATE ON tenant_products
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_products ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_products FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_products
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_products TO landlord_app;
