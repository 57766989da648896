CREATE SEQUENCE tenant_api_request_logs_id_seq AS BIGINT;

CREATE TABLE tenant_api_request_logs (
    id            BIGINT      NOT NULL DEFAULT nextval('tenant_api_request_logs_id_seq'),
    tenant_id     UUID        NOT NULL,
    api_key_id    UUID,
    method        TEXT        NOT NULL,
    path          TEXT        NOT NULL,
    status_code   INT         NOT NULL,
    duration_ms   INT         NOT NULL,
    request_id    UUID        NOT NULL,
    user_id       UUID,
    ip_address    INET,
    user_agent    TEXT,
    error_message TEXT,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_api_request_logs_pkey PRIMARY KEY (tenant_id, id, created_at)
) PARTITION BY RANGE (created_at);

ALTER SEQUENCE tenant_api_request_logs_id_seq OWNED BY tenant_api_request_logs.id;

CREATE INDEX tenant_api_request_logs_tenant_idx ON tenant_api_request_logs (tenant_id, created_at DESC);
CREATE INDEX tenant_api_request_logs_key_idx ON tenant_api_request_logs (api_key_id, created_at DESC);

COMMENT ON TABLE tenant_api_request_logs IS 'One row an API call of a tenant. Append-only, partitioned by month, without foreign keys; lossy by design, and the drops are counted elsewhere: never bill from it.';
COMMENT ON COLUMN tenant_api_request_logs.path IS 'Route template rather than the raw path: no personal data, few distinct values.';
COMMENT ON COLUMN tenant_api_request_logs.user_id IS 'The tenant''s user, where the caller told.';

ALTER TABLE tenant_api_request_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_api_request_logs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_api_request_logs
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT ON tenant_api_request_logs TO landlord_app;
GRANT USAGE ON SEQUENCE tenant_api_request_logs_id_seq TO landlord_app;
