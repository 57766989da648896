SET LOCAL lock_timeout = '5s';

-- What a tenant demands of all its keys and of those of the tenants below it.
CREATE TABLE tenant_key_policies (
    tenant_id    UUID                  NOT NULL
        CONSTRAINT tenant_key_policies_pkey PRIMARY KEY
        CONSTRAINT tenant_key_policies_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    allowed_ips  CIDR[],
    environments api_key_environment[] NOT NULL DEFAULT '{live,test}',
    max_age_days INT,
    leak_action  TEXT                  NOT NULL DEFAULT 'revoke',
    created_at   TIMESTAMPTZ           NOT NULL DEFAULT NOW(),
    updated_at   TIMESTAMPTZ           NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_key_policies_allowed_ips_check CHECK (cardinality(allowed_ips) > 0),
    CONSTRAINT tenant_key_policies_environments_check CHECK (cardinality(environments) > 0),
    CONSTRAINT tenant_key_policies_max_age_days_check CHECK (max_age_days BETWEEN 1 AND 3650),
    CONSTRAINT tenant_key_policies_leak_action_check CHECK (leak_action IN ('revoke', 'disable', 'flag'))
);

COMMENT ON TABLE tenant_key_policies IS 'What a tenant demands of its API keys and of those of the tenants below it: of all policies on the way to the root the strictest counts. No row: it demands nothing.';
COMMENT ON COLUMN tenant_key_policies.allowed_ips IS 'Networks the keys work from, beside what a key''s own list says; NULL = any, never empty.';
COMMENT ON COLUMN tenant_key_policies.environments IS 'Keys of which environments work.';
COMMENT ON COLUMN tenant_key_policies.max_age_days IS 'Longest life of a key from its issue; NULL = any. Keys that are there already keep their end.';
COMMENT ON COLUMN tenant_key_policies.leak_action IS 'What a report that a key has leaked does to it: revoke, disable, or flag, which only tells of it.';

CREATE TRIGGER tenant_key_policies_touch_updated_at
    BEFORE UPDATE ON tenant_key_policies
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_key_policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_key_policies FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_key_policies
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_key_policies TO landlord_app;

-- As landlord_effective_status does, and for the same reason.
CREATE FUNCTION landlord_key_policies(tenant uuid) RETURNS SETOF tenant_key_policies
    LANGUAGE plpgsql ROWS 5
    AS $$
DECLARE
    scope text := coalesce(current_setting('landlord.operator', true), '');
BEGIN
    PERFORM set_config('landlord.operator', 'on', true);
    RETURN QUERY
        SELECT y.*
          FROM tenants t
          JOIN tenant_key_policies y ON y.tenant_id = ANY (t.ancestors || t.id)
         WHERE t.id = tenant
         ORDER BY array_position(t.ancestors || t.id, y.tenant_id);
    PERFORM set_config('landlord.operator', scope, true);
END;
$$;

COMMENT ON FUNCTION landlord_key_policies(uuid) IS 'The key policies that bind a tenant, from the root down to its own, also in the tenant''s scope, which does not see those above it.';

-- What a plan says about the keys of its tenants.
ALTER TABLE plans
    ADD COLUMN api_keys JSONB NOT NULL DEFAULT '{}'::jsonb,
    ADD CONSTRAINT plans_api_keys_check CHECK (jsonb_typeof(api_keys) = 'object');

COMMENT ON COLUMN plans.api_keys IS 'Bounds of the keys of its tenants: {"max_age_days": 365, "rate_limit_rpm": 600, "max_keys": 20}, each optional. Read when a key is made or changed.';

ALTER TABLE api_keys
    ADD COLUMN disabled_at      TIMESTAMPTZ,
    ADD COLUMN disabled_reason  TEXT,
    ADD COLUMN generation       INT NOT NULL DEFAULT 1,
    ADD COLUMN origin_id        UUID,
    ADD COLUMN expiry_notice_at TIMESTAMPTZ,
    ADD CONSTRAINT api_keys_disabled_check CHECK (disabled_at IS NULL OR NOT is_active),
    ADD CONSTRAINT api_keys_disabled_reason_check CHECK (disabled_reason IS NULL OR disabled_at IS NOT NULL),
    ADD CONSTRAINT api_keys_generation_check CHECK (generation > 0),
    ADD CONSTRAINT api_keys_origin_fkey FOREIGN KEY (tenant_id, origin_id)
        REFERENCES api_keys (tenant_id, id) ON DELETE SET NULL (origin_id);

COMMENT ON COLUMN api_keys.disabled_at IS 'When it was switched off; NULL while it is on.';
COMMENT ON COLUMN api_keys.generation IS 'How many keys the chain of rotations has up to this one.';
COMMENT ON COLUMN api_keys.origin_id IS 'The first key of the chain of rotations; NULL = this one.';
COMMENT ON COLUMN api_keys.expiry_notice_at IS 'When the next notice of its end is due: 30, 7 and 1 days before expires_at and then; NULL = none is to come. Bookkeeping, not part of the ETag.';

CREATE INDEX api_keys_origin_idx ON api_keys (tenant_id, origin_id, generation) WHERE origin_id IS NOT NULL;
CREATE INDEX api_keys_expiry_notice_idx ON api_keys (expiry_notice_at) WHERE expiry_notice_at IS NOT NULL;
CREATE INDEX api_keys_last4_idx ON api_keys (last4);
CREATE INDEX api_keys_created_by_idx ON api_keys (created_by, id) WHERE created_by IS NOT NULL;
-- In the collation of the database the old one could not tell how a prefix begins.
CREATE INDEX api_keys_prefix_pattern_idx ON api_keys (prefix text_pattern_ops);
DROP INDEX api_keys_prefix_idx;

CREATE OR REPLACE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, is_active, disabled_at, disabled_reason, expires_at, revoked_at, revoked_reason, rotated_from,
        rotated_to, grace_ends_at, metadata, created_by, created_at, updated_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- The owner of the tables is under row-level security too, so it says who it is.
SET LOCAL landlord.operator = 'on';

WITH RECURSIVE chain AS (
    SELECT tenant_id, id, id AS origin_id, 1 AS generation, rotated_to
      FROM api_keys
     WHERE rotated_from IS NULL AND rotated_to IS NOT NULL
    UNION ALL
    SELECT k.tenant_id, k.id, c.origin_id, c.generation + 1, k.rotated_to
      FROM chain c
      JOIN api_keys k ON k.tenant_id = c.tenant_id AND k.id = c.rotated_to
)
UPDATE api_keys k
   SET generation = c.generation, origin_id = c.origin_id
  FROM chain c
 WHERE k.tenant_id = c.tenant_id AND k.id = c.id AND c.generation > 1;

UPDATE api_keys
   SET expiry_notice_at = CASE
           WHEN expires_at - INTERVAL '720 hours' > NOW() THEN expires_at - INTERVAL '720 hours'
           WHEN expires_at - INTERVAL '168 hours' > NOW() THEN expires_at - INTERVAL '168 hours'
           WHEN expires_at - INTERVAL '24 hours' > NOW() THEN expires_at - INTERVAL '24 hours'
           ELSE expires_at
       END
 WHERE expires_at > NOW() AND revoked_at IS NULL AND rotated_to IS NULL;
