SET LOCAL lock_timeout = '5s';

-- How endpoints fared, hour by hour: a replica adds up what it sent and writes it
-- down once a second, so that a busy endpoint costs one small update a second.
CREATE TABLE tenant_webhook_stats (
    tenant_id       UUID        NOT NULL,
    webhook_id      UUID        NOT NULL,
    hour            TIMESTAMPTZ NOT NULL,
    attempts        BIGINT      NOT NULL,
    failures        BIGINT      NOT NULL,
    durations       BIGINT[]    NOT NULL,
    last_failure_at TIMESTAMPTZ,
    last_failure    TEXT,
    CONSTRAINT tenant_webhook_stats_pkey PRIMARY KEY (tenant_id, webhook_id, hour),
    CONSTRAINT tenant_webhook_stats_hour_check CHECK (hour = date_trunc('hour', hour, 'UTC')),
    CONSTRAINT tenant_webhook_stats_attempts_check CHECK (attempts > 0 AND failures BETWEEN 0 AND attempts)
) PARTITION BY RANGE (hour);

COMMENT ON TABLE tenant_webhook_stats IS 'Requests to an endpoint, by the hour in which they were made. Partitioned by month, without foreign keys: it outlives its endpoint.';
COMMENT ON COLUMN tenant_webhook_stats.durations IS 'How many requests took how long: entry n counts those of up to 1.25^(n-1) ms that were longer than the one before, and the last all longer ones.';
COMMENT ON COLUMN tenant_webhook_stats.last_failure IS 'The class of the last failed request, as in tenant_webhook_attempts.';

ALTER TABLE tenant_webhook_stats ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhook_stats FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhook_stats
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE OR REPLACE FUNCTION landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_deliveries', 'tenant_webhook_attempts', 'tenant_webhook_stats', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

COMMENT ON FUNCTION landlord_month_partitioned_tables() IS 'Tables partitioned by month.';

GRANT SELECT, INSERT, UPDATE ON tenant_webhook_stats TO landlord_app;

-- What a plan says about the endpoints of its tenants.
ALTER TABLE plans
    ADD COLUMN webhooks JSONB NOT NULL DEFAULT '{}'::jsonb,
    ADD CONSTRAINT plans_webhooks_check CHECK (jsonb_typeof(webhooks) = 'object');

COMMENT ON COLUMN plans.webhooks IS 'Bounds of the webhook endpoints of its tenants: {"max_endpoints": 50}, optional. Read when an endpoint is made.';
