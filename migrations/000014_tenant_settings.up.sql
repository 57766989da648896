SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_settings (
    tenant_id                        UUID        NOT NULL CONSTRAINT tenant_settings_pkey PRIMARY KEY
        CONSTRAINT tenant_settings_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    default_locale                   TEXT,
    supported_locales                TEXT[],
    default_currency                 TEXT,
    payment_gateways                 TEXT[],
    webhook_signing_secret_encrypted BYTEA,
    features                         JSONB       NOT NULL DEFAULT '{}'::jsonb,
    "values"                         JSONB       NOT NULL DEFAULT '{}'::jsonb,
    locked                           TEXT[]      NOT NULL DEFAULT '{}',
    created_at                       TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at                       TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_settings_default_currency_check CHECK (default_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT tenant_settings_supported_locales_check CHECK (cardinality(supported_locales) > 0),
    CONSTRAINT tenant_settings_features_check CHECK (jsonb_typeof(features) = 'object'),
    CONSTRAINT tenant_settings_values_check CHECK (jsonb_typeof("values") = 'object')
);

COMMENT ON TABLE tenant_settings IS 'Settings a tenant sets itself. NULL, or a key that is absent, inherits: from the parent, its plan, then the definition''s default.';
COMMENT ON COLUMN tenant_settings.default_locale IS 'BCP 47 tag; NULL inherits.';
COMMENT ON COLUMN tenant_settings.default_currency IS 'ISO 4217 code; NULL inherits.';
COMMENT ON COLUMN tenant_settings.payment_gateways IS 'Gateways that the tenant''s users may pay by; NULL inherits, {} allows none.';
COMMENT ON COLUMN tenant_settings.webhook_signing_secret_encrypted IS 'Signing secret of endpoints that have none of their own; encrypted, write-only.';
COMMENT ON COLUMN tenant_settings.features IS 'Feature flags: {name: value}.';
COMMENT ON COLUMN tenant_settings."values" IS 'Values of setting_definitions: {name: value}.';
COMMENT ON COLUMN tenant_settings.locked IS 'Keys that tenants below this one cannot change.';

CREATE TRIGGER tenant_settings_touch_updated_at
    BEFORE UPDATE ON tenant_settings
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_settings
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_settings TO landlord_app;
