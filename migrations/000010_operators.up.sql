SET LOCAL lock_timeout = '5s';

CREATE TABLE operators (
    id           UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT operators_pkey PRIMARY KEY,
    email        CITEXT      NOT NULL CONSTRAINT operators_email_key UNIQUE,
    name         TEXT        NOT NULL,
    role         TEXT        NOT NULL,
    issuer       TEXT,
    subject      TEXT,
    disabled_at  TIMESTAMPTZ,
    last_seen_at TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT operators_issuer_subject_key UNIQUE (issuer, subject),
    CONSTRAINT operators_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT operators_role_check CHECK (role IN ('owner', 'admin', 'support', 'viewer')),
    CONSTRAINT operators_subject_check CHECK ((issuer IS NULL) = (subject IS NULL))
);

COMMENT ON TABLE operators IS 'The platform''s own people.';
COMMENT ON COLUMN operators.role IS 'Decides the permissions: owner, admin, support, viewer.';
COMMENT ON COLUMN operators.issuer IS 'OIDC issuer whose subject signs in as this operator; NULL = only by access token.';
COMMENT ON COLUMN operators.last_seen_at IS 'Written at most once a minute; not part of the ETag.';

CREATE TRIGGER operators_touch_updated_at
    BEFORE UPDATE OF id, email, name, role, issuer, subject, disabled_at, created_at, updated_at ON operators
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE service_accounts (
    id          UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT service_accounts_pkey PRIMARY KEY,
    tenant_id   UUID
        CONSTRAINT service_accounts_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name        TEXT        NOT NULL CONSTRAINT service_accounts_name_key UNIQUE,
    description TEXT        NOT NULL DEFAULT '',
    permissions TEXT[]      NOT NULL DEFAULT '{}',
    disabled_at TIMESTAMPTZ,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT service_accounts_name_check CHECK (char_length(name) BETWEEN 1 AND 200)
);

CREATE INDEX service_accounts_tenant_idx ON service_accounts (tenant_id);

COMMENT ON TABLE service_accounts IS 'Programs that call the registry: gateways, products, a reseller''s automation.';
COMMENT ON COLUMN service_accounts.tenant_id IS 'Confines the account to this tenant and the tenants below it; NULL = the whole platform.';
COMMENT ON COLUMN service_accounts.permissions IS 'Granted permissions, noun:verb.';

CREATE TRIGGER service_accounts_touch_updated_at
    BEFORE UPDATE ON service_accounts
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE service_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE service_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON service_accounts
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE access_tokens (
    id                 UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT access_tokens_pkey PRIMARY KEY,
    operator_id        UUID
        CONSTRAINT access_tokens_operator_id_fkey REFERENCES operators (id) ON DELETE CASCADE,
    service_account_id UUID
        CONSTRAINT access_tokens_service_account_id_fkey REFERENCES service_accounts (id) ON DELETE CASCADE,
    name               TEXT        NOT NULL,
    prefix             TEXT        NOT NULL,
    last4              TEXT        NOT NULL,
    hash               TEXT        NOT NULL CONSTRAINT access_tokens_hash_key UNIQUE,
    expires_at         TIMESTAMPTZ,
    revoked_at         TIMESTAMPTZ,
    revoked_reason     TEXT,
    last_used_at       TIMESTAMPTZ,
    last_used_ip       INET,
    created_by         TEXT,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at         TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT access_tokens_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT access_tokens_owner_check CHECK (num_nonnulls(operator_id, service_account_id) = 1),
    CONSTRAINT access_tokens_hash_check CHECK (hash <> ''),
    CONSTRAINT access_tokens_revoked_check CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL)
) WITH (fillfactor = 80);

CREATE INDEX access_tokens_operator_idx ON access_tokens (operator_id) WHERE operator_id IS NOT NULL;
CREATE INDEX access_tokens_service_account_idx ON access_tokens (service_account_id) WHERE service_account_id IS NOT NULL;

COMMENT ON TABLE access_tokens IS 'Bearer tokens of operators and service accounts. The token itself is shown once and never stored.';
COMMENT ON COLUMN access_tokens.hash IS 'Digest in an encoded form that names its algorithm and pepper.';
COMMENT ON COLUMN access_tokens.last_used_at IS 'Written in batches, so up to a minute late; not part of the ETag.';
COMMENT ON COLUMN access_tokens.created_by IS 'kind:id of the principal that issued it.';

CREATE TRIGGER access_tokens_touch_updated_at
    BEFORE UPDATE OF
        id, operator_id, service_account_id, name, prefix, last4, expires_at, revoked_at, revoked_reason,
        created_by, created_at, updated_at
    ON access_tokens
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

GRANT SELECT, INSERT, UPDATE, DELETE ON operators, service_accounts, access_tokens TO landlord_app;
