-- The outbox. Readers page in commit order: by (xid, seq), below
-- pg_snapshot_xmin(pg_current_snapshot()). A sequence alone is not commit order,
-- and a reader that trusts it skips what a slower transaction commits later.
CREATE SEQUENCE tenant_events_seq_seq AS BIGINT;

CREATE TABLE tenant_events (
    id         UUID        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id  UUID        NOT NULL,
    project_id UUID,
    type       TEXT        NOT NULL,
    payload    JSONB       NOT NULL DEFAULT '{}'::jsonb,
    actor_type TEXT,
    actor_id   TEXT,
    request_id TEXT,
    xid        XID8        NOT NULL DEFAULT pg_current_xact_id(),
    seq        BIGINT      NOT NULL DEFAULT nextval('tenant_events_seq_seq'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_events_pkey PRIMARY KEY (tenant_id, id, created_at),
    CONSTRAINT tenant_events_type_check CHECK (type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'),
    CONSTRAINT tenant_events_payload_check CHECK (jsonb_typeof(payload) = 'object')
) PARTITION BY RANGE (created_at);

ALTER SEQUENCE tenant_events_seq_seq OWNED BY tenant_events.seq;

CREATE INDEX tenant_events_order_idx ON tenant_events (xid, seq);
CREATE INDEX tenant_events_tenant_order_idx ON tenant_events (tenant_id, xid, seq);

COMMENT ON TABLE tenant_events IS 'What happened, with the payload, in commit order: the outbox of webhooks and of the events API. Append-only, partitioned by month, without foreign keys.';
COMMENT ON COLUMN tenant_events.tenant_id IS 'The tenant concerned; the internal tenant for what concerns the whole platform.';
COMMENT ON COLUMN tenant_events.actor_type IS 'Who did it, as in the audit record: operator, service, api_key, user, system.';
COMMENT ON COLUMN tenant_events.created_at IS 'When it was written; decides the partition. Writers set clock_timestamp(), so that a transaction that began before midnight of a month''s end lands in a partition that exists.';
COMMENT ON COLUMN tenant_events.xid IS 'Transaction that wrote it: first half of the commit order.';
COMMENT ON COLUMN tenant_events.seq IS 'Order within that transaction: second half.';

ALTER TABLE tenant_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_events
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT ON tenant_events TO landlord_app;
GRANT USAGE ON SEQUENCE tenant_events_seq_seq TO landlord_app;
