SET LOCAL lock_timeout = '5s';

CREATE TYPE api_key_environment AS ENUM (
    'live',
    'test'
);

-- fillfactor leaves room on each page, and no index names a usage column, so that
-- the batched last-used updates are heap-only.
CREATE TABLE api_keys (
    id             UUID                NOT NULL DEFAULT gen_random_uuid() CONSTRAINT api_keys_pkey PRIMARY KEY,
    tenant_id      UUID                NOT NULL
        CONSTRAINT api_keys_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    project_id     UUID,
    product        TEXT
        CONSTRAINT api_keys_product_fkey REFERENCES products (name) ON DELETE RESTRICT,
    name           TEXT                NOT NULL,
    description    TEXT                NOT NULL DEFAULT '',
    environment    api_key_environment NOT NULL DEFAULT 'live',
    prefix         TEXT                NOT NULL,
    last4          TEXT                NOT NULL,
    hash           TEXT                NOT NULL CONSTRAINT api_keys_hash_key UNIQUE,
    scopes         TEXT[]              NOT NULL DEFAULT '{}',
    allowed_ips    CIDR[],
    rate_limit_rpm INT                 NOT NULL DEFAULT 600,
    is_active      BOOLEAN             NOT NULL DEFAULT TRUE,
    expires_at     TIMESTAMPTZ,
    revoked_at     TIMESTAMPTZ,
    revoked_reason TEXT,
    rotated_from   UUID,
    rotated_to     UUID,
    grace_ends_at  TIMESTAMPTZ,
    last_used_at   TIMESTAMPTZ,
    last_used_ip   INET,
    usage_count    BIGINT              NOT NULL DEFAULT 0,
    metadata       JSONB               NOT NULL DEFAULT '{}'::jsonb,
    created_by     TEXT,
    created_at     TIMESTAMPTZ         NOT NULL DEFAULT NOW(),
    updated_at     TIMESTAMPTZ         NOT NULL DEFAULT NOW(),
    CONSTRAINT api_keys_tenant_id_id_key UNIQUE (tenant_id, id),
    -- A key of a project dies with it: SET NULL would widen it to the whole tenant.
    CONSTRAINT api_keys_project_fkey FOREIGN KEY (tenant_id, project_id)
        REFERENCES tenant_projects (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (tenant_id, rotated_from)
        REFERENCES api_keys (tenant_id, id) ON DELETE SET NULL (rotated_from),
    -- Deferred: rotation retires the old key, which frees the name, before it inserts the new one.
    CONSTRAINT api_keys_rotated_to_fkey FOREIGN KEY (tenant_id, rotated_to)
        REFERENCES api_keys (tenant_id, id) ON DELETE SET NULL (rotated_to) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT api_keys_prefix_check CHECK (char_length(prefix) BETWEEN 1 AND 40),
    CONSTRAINT api_keys_last4_check CHECK (char_length(last4) <= 4),
    CONSTRAINT api_keys_hash_check CHECK (hash <> ''),
    CONSTRAINT api_keys_allowed_ips_check CHECK (cardinality(allowed_ips) > 0),
    CONSTRAINT api_keys_rate_limit_rpm_check CHECK (rate_limit_rpm > 0),
    CONSTRAINT api_keys_revoked_check CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL),
    CONSTRAINT api_keys_rotated_check CHECK (rotated_to IS NULL OR grace_ends_at IS NOT NULL),
    CONSTRAINT api_keys_usage_count_check CHECK (usage_count >= 0),
    CONSTRAINT api_keys_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
) WITH (fillfactor = 80);

-- A key in its grace after rotation is on the way out and its successor bears the name.
CREATE UNIQUE INDEX api_keys_tenant_id_name_key ON api_keys (tenant_id, name)
    WHERE revoked_at IS NULL AND grace_ends_at IS NULL;
CREATE UNIQUE INDEX api_keys_rotated_from_key ON api_keys (tenant_id, rotated_from) WHERE rotated_from IS NOT NULL;
CREATE UNIQUE INDEX api_keys_rotated_to_key ON api_keys (tenant_id, rotated_to) WHERE rotated_to IS NOT NULL;
CREATE INDEX api_keys_project_idx ON api_keys (tenant_id, project_id, id);
CREATE INDEX api_keys_product_idx ON api_keys (product) WHERE product IS NOT NULL;
CREATE INDEX api_keys_prefix_idx ON api_keys (prefix);
CREATE INDEX api_keys_expires_idx ON api_keys (expires_at) WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX api_keys_grace_ends_idx ON api_keys (grace_ends_at) WHERE grace_ends_at IS NOT NULL AND revoked_at IS NULL;

COMMENT ON TABLE api_keys IS 'API keys of tenants, for all products. The key itself is shown once and never stored.';
COMMENT ON COLUMN api_keys.project_id IS 'The project the key is confined to; NULL = the whole tenant.';
COMMENT ON COLUMN api_keys.product IS 'The product the key is confined to; NULL = all products.';
COMMENT ON COLUMN api_keys.prefix IS 'Leading characters of the key, for people to tell keys apart.';
COMMENT ON COLUMN api_keys.last4 IS 'Last characters of the key, likewise; empty for a key imported as a bare hash.';
COMMENT ON COLUMN api_keys.hash IS 'Digest in an encoded form that names its algorithm and pepper; the look-up key of verification.';
COMMENT ON COLUMN api_keys.scopes IS 'What the key may do: exact (renders:create) or noun:*.';
COMMENT ON COLUMN api_keys.allowed_ips IS 'Networks the key works from; NULL = any, never empty. CIDR rather than INET: it refuses host bits right of the mask, so a mistyped network is an error, not a rule that means something else.';
COMMENT ON COLUMN api_keys.rate_limit_rpm IS 'Requests a minute.';
COMMENT ON COLUMN api_keys.is_active IS 'Switch that an operator or the tenant can turn back on; revocation cannot be undone.';
COMMENT ON COLUMN api_keys.rotated_from IS 'The key this one replaced.';
COMMENT ON COLUMN api_keys.rotated_to IS 'The key that replaced this one.';
COMMENT ON COLUMN api_keys.grace_ends_at IS 'Set by rotation: until then this old key still works.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Written in batches, so up to a minute late; not part of the ETag.';
COMMENT ON COLUMN api_keys.usage_count IS 'Verifications that answered VALID; written in batches with last_used_at.';
COMMENT ON COLUMN api_keys.created_by IS 'kind:id of the principal that issued it.';

-- Only what is configuration moves updated_at, the ETag: use of the key does not.
CREATE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, is_active, expires_at, revoked_at, revoked_reason, rotated_from, rotated_to, grace_ends_at,
        metadata, created_by, created_at, updated_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON api_keys
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO landlord_app;
