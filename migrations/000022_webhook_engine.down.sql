DROP TABLE webhook_outbox;
DROP VIEW tenant_webhook_deliveries_wide;
DROP TABLE tenant_webhook_attempts;
DROP TABLE tenant_webhook_deliveries;
DROP TABLE tenant_webhooks;

CREATE OR REPLACE FUNCTION landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_attempts', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

CREATE TABLE tenant_webhooks (
    id                   UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_webhooks_pkey PRIMARY KEY,
    tenant_id            UUID        NOT NULL
        CONSTRAINT tenant_webhooks_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name                 TEXT        NOT NULL,
    url                  TEXT        NOT NULL,
    events               TEXT[]      NOT NULL,
    secret_encrypted     BYTEA       NOT NULL,
    is_active            BOOLEAN     NOT NULL DEFAULT TRUE,
    last_triggered_at    TIMESTAMPTZ,
    last_status_code     INT,
    consecutive_failures INT         NOT NULL DEFAULT 0,
    disabled_at          TIMESTAMPTZ,
    metadata             JSONB       NOT NULL DEFAULT '{}'::jsonb,
    created_at           TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at           TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhooks_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT tenant_webhooks_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenant_webhooks_url_check CHECK (url ~ '^https?://' AND char_length(url) <= 2000),
    CONSTRAINT tenant_webhooks_events_check CHECK (cardinality(events) > 0),
    CONSTRAINT tenant_webhooks_consecutive_failures_check CHECK (consecutive_failures >= 0),
    CONSTRAINT tenant_webhooks_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
) WITH (fillfactor = 80);

CREATE INDEX tenant_webhooks_tenant_idx ON tenant_webhooks (tenant_id) WHERE is_active;

COMMENT ON TABLE tenant_webhooks IS 'Endpoints of tenants that want to be told what happened.';
COMMENT ON COLUMN tenant_webhooks.events IS 'Subscribed event types: exact (render.completed), render.* or *.';
COMMENT ON COLUMN tenant_webhooks.secret_encrypted IS 'Signing secret under envelope encryption; shown once.';
COMMENT ON COLUMN tenant_webhooks.consecutive_failures IS 'Failed deliveries since the last success; reaching the limit disables the endpoint.';
COMMENT ON COLUMN tenant_webhooks.disabled_at IS 'When it was disabled automatically; NULL while it works or when a person switched it off.';

-- Results of deliveries are not configuration and do not move the ETag.
CREATE TRIGGER tenant_webhooks_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, name, url, events, secret_encrypted, is_active, disabled_at, metadata, created_at, updated_at
    ON tenant_webhooks
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhooks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhooks
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_webhook_deliveries (
    id            UUID        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id     UUID        NOT NULL,
    webhook_id    UUID        NOT NULL,
    event_type    TEXT        NOT NULL,
    event_id      UUID        NOT NULL,
    payload       JSONB       NOT NULL,
    request_url   TEXT        NOT NULL,
    state         TEXT        NOT NULL DEFAULT 'pending',
    attempts      INT         NOT NULL DEFAULT 0,
    next_retry_at TIMESTAMPTZ,
    claimed_until TIMESTAMPTZ,
    delivered_at  TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhook_deliveries_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT tenant_webhook_deliveries_webhook_fkey FOREIGN KEY (tenant_id, webhook_id)
        REFERENCES tenant_webhooks (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT tenant_webhook_deliveries_state_check CHECK (state IN ('pending', 'claimed', 'held', 'delivered', 'failed')),
    CONSTRAINT tenant_webhook_deliveries_attempts_check CHECK (attempts >= 0),
    CONSTRAINT tenant_webhook_deliveries_delivered_check CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
) WITH (fillfactor = 80);

CREATE INDEX tenant_webhook_deliveries_webhook_idx ON tenant_webhook_deliveries (tenant_id, webhook_id, created_at DESC);
-- The queue is claimed per endpoint. There must be no index on next_retry_at alone:
-- the planner would take it and wade through another endpoint's backlog.
CREATE INDEX tenant_webhook_deliveries_pending_idx ON tenant_webhook_deliveries (webhook_id, next_retry_at)
    WHERE state = 'pending';

COMMENT ON TABLE tenant_webhook_deliveries IS 'One event on its way to one endpoint: the queue, and what became of it.';
COMMENT ON COLUMN tenant_webhook_deliveries.event_id IS 'The event in tenant_events; the same for every endpoint and every attempt.';
COMMENT ON COLUMN tenant_webhook_deliveries.state IS 'pending, claimed (a sender has it until claimed_until), held (the tenant is suspended), delivered, failed (retries exhausted).';
COMMENT ON COLUMN tenant_webhook_deliveries.attempts IS 'Tries so far; each is a row of tenant_webhook_attempts.';

ALTER TABLE tenant_webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhook_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhook_deliveries
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_webhook_attempts (
    id              UUID        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id       UUID        NOT NULL,
    webhook_id      UUID        NOT NULL,
    delivery_id     UUID        NOT NULL,
    attempt         INT         NOT NULL DEFAULT 1,
    succeeded       BOOLEAN     NOT NULL DEFAULT FALSE,
    response_status INT,
    response_body   TEXT,
    duration_ms     INT,
    error_message   TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhook_attempts_pkey PRIMARY KEY (tenant_id, id, created_at),
    CONSTRAINT tenant_webhook_attempts_attempt_check CHECK (attempt > 0)
) PARTITION BY RANGE (created_at);

CREATE INDEX tenant_webhook_attempts_delivery_idx ON tenant_webhook_attempts (tenant_id, delivery_id);

COMMENT ON TABLE tenant_webhook_attempts IS 'One try of one delivery. Append-only, partitioned by month, without foreign keys.';
COMMENT ON COLUMN tenant_webhook_attempts.response_body IS 'The beginning of the answer only.';

ALTER TABLE tenant_webhook_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhook_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhook_attempts
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_webhooks, tenant_webhook_deliveries TO landlord_app;
GRANT SELECT, INSERT ON tenant_webhook_attempts TO landlord_app;
