SET LOCAL lock_timeout = '5s';

CREATE TYPE idp_kind AS ENUM (
    'oidc',
    'saml'
);

CREATE TABLE tenant_idp_config (
    id                UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_idp_config_pkey PRIMARY KEY,
    tenant_id         UUID        NOT NULL
        CONSTRAINT tenant_idp_config_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name              TEXT        NOT NULL,
    type              idp_kind    NOT NULL,
    state             TEXT        NOT NULL DEFAULT 'draft',
    metadata          JSONB       NOT NULL DEFAULT '{}'::jsonb,
    secrets_encrypted BYTEA,
    verified          BOOLEAN     NOT NULL DEFAULT FALSE,
    verified_at       TIMESTAMPTZ,
    last_checked_at   TIMESTAMPTZ,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_idp_config_tenant_id_name_key UNIQUE (tenant_id, name),
    CONSTRAINT tenant_idp_config_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenant_idp_config_state_check CHECK (state IN ('draft', 'testing', 'active', 'disabled')),
    CONSTRAINT tenant_idp_config_active_check CHECK (state <> 'active' OR verified),
    CONSTRAINT tenant_idp_config_verified_check CHECK (NOT verified OR verified_at IS NOT NULL),
    CONSTRAINT tenant_idp_config_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

CREATE INDEX tenant_idp_config_tenant_idx ON tenant_idp_config (tenant_id);

COMMENT ON TABLE tenant_idp_config IS 'Identity providers of tenants (enterprise sign-in); a tenant may have several connections.';
COMMENT ON COLUMN tenant_idp_config.metadata IS 'What is public of the connection: OIDC issuer and client_id, or SAML entity_id and certificates.';
COMMENT ON COLUMN tenant_idp_config.secrets_encrypted IS 'Client secret or private key under envelope encryption; written, never shown.';
COMMENT ON COLUMN tenant_idp_config.verified IS 'Set by a successful check only, never by a caller.';

CREATE TRIGGER tenant_idp_config_touch_updated_at
    BEFORE UPDATE ON tenant_idp_config
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_idp_config ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_idp_config FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_idp_config
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_idp_config TO landlord_app;
