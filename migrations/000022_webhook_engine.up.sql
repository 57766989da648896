SET LOCAL lock_timeout = '5s';

-- The tables of 000015 were never written to. They are made anew, in the shape
-- that the delivery engine needs.
DROP TABLE tenant_webhook_attempts;
DROP TABLE tenant_webhook_deliveries;
DROP TABLE tenant_webhooks;

CREATE TABLE tenant_webhooks (
    id                   UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_webhooks_pkey PRIMARY KEY,
    tenant_id            UUID        NOT NULL
        CONSTRAINT tenant_webhooks_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    project_id           UUID,
    name                 TEXT        NOT NULL,
    url                  TEXT        NOT NULL,
    events               TEXT[]      NOT NULL,
    description          TEXT        NOT NULL DEFAULT '',
    metadata             JSONB       NOT NULL DEFAULT '{}'::jsonb,
    headers_encrypted    BYTEA,
    secret_encrypted     BYTEA       NOT NULL,
    signatures           TEXT[]      NOT NULL DEFAULT '{v1}',
    rate_limit           INT,
    rate_period          TEXT        NOT NULL DEFAULT 'second',
    max_in_flight        INT         NOT NULL DEFAULT 10,
    status               TEXT        NOT NULL DEFAULT 'active',
    status_reason        TEXT        NOT NULL DEFAULT '',
    is_active            BOOLEAN     NOT NULL GENERATED ALWAYS AS (status = 'active') STORED,
    disabled_at          TIMESTAMPTZ,
    last_triggered_at    TIMESTAMPTZ,
    last_status_code     INT,
    consecutive_failures INT         NOT NULL DEFAULT 0,
    first_failure_at     TIMESTAMPTZ,
    warned_percent       INT         NOT NULL DEFAULT 0,
    next_send_at         TIMESTAMPTZ,
    created_at           TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at           TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhooks_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT tenant_webhooks_project_fkey FOREIGN KEY (tenant_id, project_id)
        REFERENCES tenant_projects (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT tenant_webhooks_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenant_webhooks_url_check CHECK (url ~ '^https?://' AND char_length(url) <= 2000),
    CONSTRAINT tenant_webhooks_events_check CHECK (cardinality(events) > 0),
    CONSTRAINT tenant_webhooks_description_check CHECK (char_length(description) <= 1000),
    CONSTRAINT tenant_webhooks_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT tenant_webhooks_signatures_check CHECK (cardinality(signatures) > 0 AND signatures <@ '{v1,v1a}'),
    CONSTRAINT tenant_webhooks_rate_limit_check CHECK (rate_limit > 0),
    CONSTRAINT tenant_webhooks_rate_period_check CHECK (rate_period IN ('second', 'minute')),
    CONSTRAINT tenant_webhooks_max_in_flight_check CHECK (max_in_flight BETWEEN 1 AND 100),
    CONSTRAINT tenant_webhooks_status_check CHECK (status IN ('active', 'paused', 'disabled')),
    CONSTRAINT tenant_webhooks_disabled_check CHECK ((status = 'disabled') = (disabled_at IS NOT NULL)),
    CONSTRAINT tenant_webhooks_consecutive_failures_check CHECK (consecutive_failures >= 0),
    CONSTRAINT tenant_webhooks_first_failure_check CHECK ((consecutive_failures = 0) = (first_failure_at IS NULL)),
    CONSTRAINT tenant_webhooks_warned_percent_check CHECK (warned_percent BETWEEN 0 AND 100)
) WITH (fillfactor = 70);

CREATE INDEX tenant_webhooks_project_idx ON tenant_webhooks (tenant_id, project_id);

COMMENT ON TABLE tenant_webhooks IS 'Endpoints of tenants that want to be told what happened.';
COMMENT ON COLUMN tenant_webhooks.project_id IS 'NULL: events of the whole tenant, those of its projects included.';
COMMENT ON COLUMN tenant_webhooks.events IS 'Subscribed event types: exact (render.completed), render.* or *.';
COMMENT ON COLUMN tenant_webhooks.headers_encrypted IS 'Headers to send along, as JSON under envelope encryption: they may hold a credential of the receiver.';
COMMENT ON COLUMN tenant_webhooks.secret_encrypted IS 'Signing secrets, each with its version and end, as JSON under envelope encryption; each is shown once.';
COMMENT ON COLUMN tenant_webhooks.signatures IS 'Versions of Standard Webhooks signatures to send: v1 (HMAC-SHA256), v1a (ed25519).';
COMMENT ON COLUMN tenant_webhooks.rate_limit IS 'Requests per rate_period at most; NULL: as many as max_in_flight lets through.';
COMMENT ON COLUMN tenant_webhooks.max_in_flight IS 'Requests under way at a time.';
COMMENT ON COLUMN tenant_webhooks.status_reason IS 'Why it is paused or disabled: failing or gone, when landlord did it, else what a person said.';
COMMENT ON COLUMN tenant_webhooks.is_active IS 'Whether status is active.';
COMMENT ON COLUMN tenant_webhooks.last_triggered_at IS 'When a request last ended, to the second or so.';
COMMENT ON COLUMN tenant_webhooks.consecutive_failures IS 'Failed requests since the last success.';
COMMENT ON COLUMN tenant_webhooks.first_failure_at IS 'When the first of them was.';
COMMENT ON COLUMN tenant_webhooks.warned_percent IS 'How far towards being disabled the last warning was: 0, 50, 70 or 90.';
COMMENT ON COLUMN tenant_webhooks.next_send_at IS 'With a rate limit: from when on a request is free again. All replicas draw on it.';

-- Results of deliveries are not configuration and do not move the ETag.
CREATE TRIGGER tenant_webhooks_touch_updated_at
    BEFORE UPDATE OF
        id, tenant_id, project_id, name, url, events, description, metadata, headers_encrypted, secret_encrypted, signatures,
        rate_limit, rate_period, max_in_flight, status, status_reason, is_active, disabled_at, created_at, updated_at
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
    event_id      UUID        NOT NULL,
    event_type    TEXT        NOT NULL,
    state         TEXT        NOT NULL DEFAULT 'pending',
    reason        TEXT,
    attempts      INT         NOT NULL DEFAULT 0,
    next_retry_at TIMESTAMPTZ,
    claimed_until TIMESTAMPTZ,
    expires_at    TIMESTAMPTZ NOT NULL,
    last_status   INT,
    delivered_at  TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhook_deliveries_pkey PRIMARY KEY (id, tenant_id, created_at),
    CONSTRAINT tenant_webhook_deliveries_state_check CHECK (
        state IN ('pending', 'claimed', 'held', 'delivered', 'failed', 'skipped', 'cancelled')),
    CONSTRAINT tenant_webhook_deliveries_pending_check CHECK ((state = 'pending') = (next_retry_at IS NOT NULL)),
    CONSTRAINT tenant_webhook_deliveries_claimed_check CHECK ((state = 'claimed') = (claimed_until IS NOT NULL)),
    CONSTRAINT tenant_webhook_deliveries_delivered_check CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT tenant_webhook_deliveries_attempts_check CHECK (attempts >= 0)
) PARTITION BY RANGE (created_at);

CREATE INDEX tenant_webhook_deliveries_webhook_idx ON tenant_webhook_deliveries (tenant_id, webhook_id, created_at DESC);
-- The queue is claimed per endpoint. There must be no index on next_retry_at alone:
-- the planner would take it and wade through another endpoint's backlog.
CREATE INDEX tenant_webhook_deliveries_pending_idx ON tenant_webhook_deliveries (webhook_id, next_retry_at)
    WHERE state = 'pending';
CREATE INDEX tenant_webhook_deliveries_claimed_idx ON tenant_webhook_deliveries (webhook_id, claimed_until)
    WHERE state = 'claimed';
CREATE INDEX tenant_webhook_deliveries_held_idx ON tenant_webhook_deliveries (tenant_id, webhook_id)
    WHERE state = 'held';

COMMENT ON TABLE tenant_webhook_deliveries IS 'One event on its way to one endpoint: the queue, and what became of it. Partitioned by month, without foreign keys: it outlives its endpoint.';
COMMENT ON COLUMN tenant_webhook_deliveries.id IS 'Made from event_id and webhook_id, so that an event is never queued twice for an endpoint.';
COMMENT ON COLUMN tenant_webhook_deliveries.event_id IS 'The event in tenant_events; the same for every endpoint and every attempt.';
COMMENT ON COLUMN tenant_webhook_deliveries.state IS 'pending (due at next_retry_at), claimed (a sender has it until claimed_until), held (the tenant is suspended), delivered, failed, skipped (the endpoint was not active) or cancelled.';
COMMENT ON COLUMN tenant_webhook_deliveries.reason IS 'Why it is held, failed, skipped or cancelled.';
COMMENT ON COLUMN tenant_webhook_deliveries.attempts IS 'Tries so far; each is a row of tenant_webhook_attempts.';
COMMENT ON COLUMN tenant_webhook_deliveries.expires_at IS 'Not sent any more after this time, whatever held it up.';
COMMENT ON COLUMN tenant_webhook_deliveries.last_status IS 'The status that the last attempt was answered with; NULL when it was not answered.';
COMMENT ON COLUMN tenant_webhook_deliveries.created_at IS 'The event''s own created_at: both are dropped with the same month.';

ALTER TABLE tenant_webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhook_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhook_deliveries
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_webhook_attempts (
    id               UUID        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id        UUID        NOT NULL,
    webhook_id       UUID        NOT NULL,
    delivery_id      UUID        NOT NULL,
    attempt          INT         NOT NULL DEFAULT 1,
    succeeded        BOOLEAN     NOT NULL DEFAULT FALSE,
    request_url      TEXT        NOT NULL,
    request_headers  JSONB       NOT NULL DEFAULT '{}'::jsonb,
    response_status  INT,
    response_headers JSONB,
    response_body    TEXT,
    duration_ms      INT,
    dns_us           INT,
    connect_us       INT,
    tls_us           INT,
    first_byte_us    INT,
    error_class      TEXT,
    error_message    TEXT,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_webhook_attempts_pkey PRIMARY KEY (tenant_id, delivery_id, id, created_at),
    CONSTRAINT tenant_webhook_attempts_attempt_check CHECK (attempt > 0),
    CONSTRAINT tenant_webhook_attempts_headers_check CHECK (jsonb_typeof(request_headers) = 'object'),
    CONSTRAINT tenant_webhook_attempts_error_check CHECK (succeeded = (error_class IS NULL))
) PARTITION BY RANGE (created_at);

COMMENT ON TABLE tenant_webhook_attempts IS 'One try of one delivery. Append-only, partitioned by month, without foreign keys.';
COMMENT ON COLUMN tenant_webhook_attempts.request_headers IS 'As sent; the signature and the values of the endpoint''s own headers are left out.';
COMMENT ON COLUMN tenant_webhook_attempts.response_body IS 'The beginning of the answer only.';
COMMENT ON COLUMN tenant_webhook_attempts.duration_ms IS 'All of it, up to the end of the answer.';
COMMENT ON COLUMN tenant_webhook_attempts.dns_us IS 'Looking up the host, in microseconds; NULL when a connection was there already. Likewise connect_us and tls_us.';
COMMENT ON COLUMN tenant_webhook_attempts.first_byte_us IS 'From the request''s end to the answer''s first byte, in microseconds.';
COMMENT ON COLUMN tenant_webhook_attempts.error_class IS 'What went wrong, in one word; NULL when nothing did.';

ALTER TABLE tenant_webhook_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_webhook_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_webhook_attempts
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

-- Document B's log of attempts, by its names: one row a try, and one for what was
-- not tried yet.
CREATE VIEW tenant_webhook_deliveries_wide WITH (security_invoker = true) AS
SELECT
    coalesce(a.id, d.id)                                            AS id,
    d.webhook_id,
    d.tenant_id,
    d.event_type,
    d.event_id,
    e.payload,
    coalesce(a.request_url, w.url)                                  AS request_url,
    a.response_status,
    a.response_body,
    a.duration_ms,
    coalesce(a.attempt, 1)                                          AS attempt,
    coalesce(a.succeeded, FALSE)                                    AS succeeded,
    CASE WHEN coalesce(a.attempt, 0) = d.attempts THEN d.next_retry_at END AS next_retry_at,
    a.error_message,
    CASE WHEN a.succeeded THEN d.delivered_at END                   AS delivered_at,
    coalesce(a.created_at, d.created_at)                            AS created_at
FROM tenant_webhook_deliveries AS d
LEFT JOIN tenant_webhook_attempts AS a ON a.tenant_id = d.tenant_id AND a.delivery_id = d.id
LEFT JOIN tenant_events AS e ON e.tenant_id = d.tenant_id AND e.id = d.event_id AND e.created_at = d.created_at
LEFT JOIN tenant_webhooks AS w ON w.tenant_id = d.tenant_id AND w.id = d.webhook_id;

COMMENT ON VIEW tenant_webhook_deliveries_wide IS 'Deliveries and their attempts under the column names of the reseller platform''s schema: one row a try, and one for what was not tried yet.';

-- How far the outbox has been turned into deliveries. What is visible now and was
-- not to `done` is still to be turned, so a transaction that commits late is found
-- when it commits, and nothing twice.
CREATE TABLE webhook_outbox (
    singleton  BOOLEAN     NOT NULL DEFAULT TRUE CONSTRAINT webhook_outbox_pkey PRIMARY KEY,
    done       PG_SNAPSHOT NOT NULL,
    target     PG_SNAPSHOT,
    xid        XID8,
    seq        BIGINT,
    CONSTRAINT webhook_outbox_singleton_check CHECK (singleton),
    CONSTRAINT webhook_outbox_page_check CHECK ((target IS NULL) = (xid IS NULL) AND (target IS NULL) = (seq IS NULL))
) WITH (fillfactor = 10);

COMMENT ON TABLE webhook_outbox IS 'One row: which events of tenant_events have become deliveries.';
COMMENT ON COLUMN webhook_outbox.done IS 'Every event that this snapshot sees has.';
COMMENT ON COLUMN webhook_outbox.target IS 'While too many are left for one transaction: those that this snapshot sees are being gone through, in order, up to (xid, seq). NULL otherwise.';

-- What happened before there was anybody to tell is not told.
INSERT INTO webhook_outbox (done) VALUES (pg_current_snapshot());

CREATE OR REPLACE FUNCTION landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_deliveries', 'tenant_webhook_attempts', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_webhooks, tenant_webhook_deliveries TO landlord_app;
GRANT SELECT, INSERT, DELETE ON tenant_webhook_attempts TO landlord_app;
GRANT SELECT ON tenant_webhook_deliveries_wide TO landlord_app;
GRANT SELECT, UPDATE ON webhook_outbox TO landlord_app;
