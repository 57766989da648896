SET LOCAL lock_timeout = '5s';

CREATE OR REPLACE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, rate_limits, is_active, disabled_at, disabled_reason, expires_at, revoked_at, revoked_reason, rotated_from,
        rotated_to, grace_ends_at, metadata, created_by, created_at, updated_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE api_keys DROP COLUMN leaked_at;

DROP TABLE api_key_leaks;
