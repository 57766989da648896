CREATE TABLE change_feed (
    seq        BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY CONSTRAINT change_feed_pkey PRIMARY KEY,
    xid        XID8        NOT NULL DEFAULT pg_current_xact_id(),
    kind       TEXT        NOT NULL,
    tenant_id  UUID,
    ref        TEXT        NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT change_feed_kind_check CHECK (kind <> '')
);

CREATE INDEX change_feed_order_idx ON change_feed (xid, seq);
CREATE INDEX change_feed_created_idx ON change_feed (created_at);

COMMENT ON TABLE change_feed IS 'Tells the replicas'' caches that a row changed. NOTIFY wakes them, this table is what they catch up from, in commit order by (xid, seq). Pruned after hours, so without foreign keys.';
COMMENT ON COLUMN change_feed.kind IS 'The noun that changed: api_key, tenant, project, entitlement, catalog, …';
COMMENT ON COLUMN change_feed.tenant_id IS 'The tenant concerned; NULL = the whole platform.';
COMMENT ON COLUMN change_feed.ref IS 'Id of what changed; empty = everything of that kind.';

ALTER TABLE change_feed ENABLE ROW LEVEL SECURITY;
ALTER TABLE change_feed FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON change_feed
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, DELETE ON change_feed TO landlord_app;
