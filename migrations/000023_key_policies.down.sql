CREATE OR REPLACE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, is_active, expires_at, revoked_at, revoked_reason, rotated_from, rotated_to, grace_ends_at,
        metadata, created_by, created_at, updated_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE INDEX api_keys_prefix_idx ON api_keys (prefix);
DROP INDEX api_keys_prefix_pattern_idx, api_keys_created_by_idx, api_keys_last4_idx;

ALTER TABLE api_keys
    DROP COLUMN expiry_notice_at,
    DROP COLUMN origin_id,
    DROP COLUMN generation,
    DROP COLUMN disabled_reason,
    DROP COLUMN disabled_at;

ALTER TABLE plans DROP COLUMN api_keys;
DROP FUNCTION landlord_key_policies(uuid);
DROP TABLE tenant_key_policies;
