SET LOCAL lock_timeout = '5s';

-- Meters have no foreign key in this file: usage is history and outlives the
-- catalogue entry, and the check would be paid on every event.
CREATE TABLE tenant_usage_events (
    id          UUID        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id   UUID        NOT NULL,
    project_id  UUID,
    api_key_id  UUID,
    source      TEXT        NOT NULL DEFAULT '',
    event_key   TEXT        NOT NULL,
    meter       TEXT        NOT NULL,
    value       NUMERIC     NOT NULL DEFAULT 1,
    dimensions  JSONB       NOT NULL DEFAULT '{}'::jsonb,
    reversal_of UUID,
    occurred_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_usage_events_pkey PRIMARY KEY (tenant_id, id, created_at),
    CONSTRAINT tenant_usage_events_dimensions_check CHECK (jsonb_typeof(dimensions) = 'object')
) PARTITION BY RANGE (created_at);

CREATE INDEX tenant_usage_events_meter_idx ON tenant_usage_events (tenant_id, meter, occurred_at);

COMMENT ON TABLE tenant_usage_events IS 'What was used, one row an event. Append-only, partitioned by the month of arrival, without foreign keys; corrections are reversal events.';
COMMENT ON COLUMN tenant_usage_events.source IS 'Producer of the event (CloudEvents: source).';
COMMENT ON COLUMN tenant_usage_events.event_key IS 'The producer''s id of the event (CloudEvents: id); counted once per tenant and source.';
COMMENT ON COLUMN tenant_usage_events.reversal_of IS 'The event this one takes back.';
COMMENT ON COLUMN tenant_usage_events.occurred_at IS 'When it was used; decides the day it counts for.';
COMMENT ON COLUMN tenant_usage_events.created_at IS 'When it arrived; decides the partition.';

ALTER TABLE tenant_usage_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_usage_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_usage_events
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_usage_dedupe (
    tenant_id   UUID  NOT NULL
        CONSTRAINT tenant_usage_dedupe_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    key_hash    BYTEA NOT NULL,
    received_on DATE  NOT NULL DEFAULT CURRENT_DATE,
    CONSTRAINT tenant_usage_dedupe_pkey PRIMARY KEY (tenant_id, key_hash),
    CONSTRAINT tenant_usage_dedupe_key_hash_check CHECK (octet_length(key_hash) = 16)
);

CREATE INDEX tenant_usage_dedupe_received_idx ON tenant_usage_dedupe (received_on);

COMMENT ON TABLE tenant_usage_dedupe IS 'Usage events already counted. Apart from the events, because a key that is unique over all months cannot live on a table partitioned by month. Rows are purged when the window for late events is over.';
COMMENT ON COLUMN tenant_usage_dedupe.key_hash IS 'SHA-256 of source, 0x1f and event_key, its first 16 bytes.';

ALTER TABLE tenant_usage_dedupe ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_usage_dedupe FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_usage_dedupe
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_usage_daily (
    tenant_id  UUID        NOT NULL
        CONSTRAINT tenant_usage_daily_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    usage_date DATE        NOT NULL,
    meter      TEXT        NOT NULL,
    value      NUMERIC     NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_usage_daily_pkey PRIMARY KEY (tenant_id, usage_date, meter)
) WITH (fillfactor = 50);

COMMENT ON TABLE tenant_usage_daily IS 'Usage of a tenant per day and meter: what limits, reports and bills are made from.';
COMMENT ON COLUMN tenant_usage_daily.usage_date IS 'Day in UTC.';
COMMENT ON COLUMN tenant_usage_daily.value IS 'The day''s events, aggregated as the meter says.';

CREATE TRIGGER tenant_usage_daily_touch_updated_at
    BEFORE UPDATE ON tenant_usage_daily
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_usage_daily ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_usage_daily FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_usage_daily
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_usage_counters (
    tenant_id    UUID    NOT NULL
        CONSTRAINT tenant_usage_counters_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    meter        TEXT    NOT NULL,
    period       TEXT    NOT NULL,
    period_start DATE    NOT NULL,
    used         NUMERIC NOT NULL DEFAULT 0,
    CONSTRAINT tenant_usage_counters_pkey PRIMARY KEY (tenant_id, meter, period, period_start),
    CONSTRAINT tenant_usage_counters_period_check CHECK (period IN ('day', 'month', 'year', 'total'))
) WITH (fillfactor = 50);

COMMENT ON TABLE tenant_usage_counters IS 'Use so far in the current period of each limit, kept with the events so that a limit is one row to check.';
COMMENT ON COLUMN tenant_usage_counters.period_start IS 'First day of the period, UTC; 0001-01-01 for total.';

ALTER TABLE tenant_usage_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_usage_counters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_usage_counters
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT ON tenant_usage_events TO landlord_app;
GRANT SELECT, INSERT, DELETE ON tenant_usage_dedupe TO landlord_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_usage_daily, tenant_usage_counters TO landlord_app;
