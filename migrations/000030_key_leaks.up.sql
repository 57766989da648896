SET LOCAL lock_timeout = '5s';

-- What was told of a key: a row a place.
CREATE TABLE api_key_leaks (
    id          UUID        NOT NULL CONSTRAINT api_key_leaks_pkey PRIMARY KEY,
    tenant_id   UUID        NOT NULL,
    key_id      UUID        NOT NULL,
    source      TEXT        NOT NULL,
    url         TEXT        NOT NULL,
    reported_by TEXT        NOT NULL,
    action      TEXT        NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT api_key_leaks_key_fkey FOREIGN KEY (tenant_id, key_id) REFERENCES api_keys (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_key_leaks_source_check CHECK (char_length(source) <= 100),
    CONSTRAINT api_key_leaks_url_check CHECK (char_length(url) <= 2048),
    CONSTRAINT api_key_leaks_reported_by_check CHECK (reported_by <> '' AND char_length(reported_by) <= 200),
    CONSTRAINT api_key_leaks_action_check CHECK (action IN ('revoke', 'disable', 'flag', 'none'))
);

COMMENT ON TABLE api_key_leaks IS 'Where keys were found that should have stayed secret, as reports say: each place of a key once, at most a hundred of a key.';
COMMENT ON COLUMN api_key_leaks.source IS 'In what it was found: commit, issue_comment, paste; empty = nobody said.';
COMMENT ON COLUMN api_key_leaks.url IS 'Where, as the report says; never fetched; empty = nobody said.';
COMMENT ON COLUMN api_key_leaks.reported_by IS 'Type and id of who reported it; system:secret-scanning:github is GitHub.';
COMMENT ON COLUMN api_key_leaks.action IS 'What the report did to the key by the policies in force; none = the key was stopped already.';

CREATE INDEX api_key_leaks_key_idx ON api_key_leaks (tenant_id, key_id, id);

ALTER TABLE api_key_leaks ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key_leaks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON api_key_leaks
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT ON api_key_leaks TO landlord_app;

ALTER TABLE api_keys ADD COLUMN leaked_at TIMESTAMPTZ;

COMMENT ON COLUMN api_keys.leaked_at IS 'When it was first reported as leaked; NULL = it never was.';

CREATE INDEX api_keys_leaked_idx ON api_keys (id) WHERE leaked_at IS NOT NULL;

CREATE OR REPLACE TRIGGER api_keys_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips,
        rate_limit_rpm, rate_limits, is_active, disabled_at, disabled_reason, expires_at, revoked_at, revoked_reason, rotated_from,
        rotated_to, grace_ends_at, metadata, created_by, created_at, updated_at, leaked_at
    ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
