SET LOCAL lock_timeout = '5s';

CREATE TABLE audit_log (
    id           BIGSERIAL   NOT NULL CONSTRAINT audit_log_pkey PRIMARY KEY,
    event_id     UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT audit_log_event_id_key UNIQUE,
    tenant_id    UUID
        CONSTRAINT audit_log_tenant_id_fkey REFERENCES tenants (id) ON DELETE SET NULL,
    project_id   UUID
        CONSTRAINT audit_log_project_id_fkey REFERENCES tenant_projects (id) ON DELETE SET NULL,
    actor_id     TEXT,
    actor_name   TEXT,
    actor_type   TEXT,
    action       TEXT        NOT NULL,
    crud         TEXT,
    description  TEXT,
    target_id    TEXT,
    target_type  TEXT,
    target_name  TEXT,
    group_id     TEXT,
    group_name   TEXT,
    product      TEXT,
    component    TEXT,
    version      TEXT,
    external_id  TEXT,
    request_id   TEXT,
    source_ip    INET,
    user_agent   TEXT,
    is_failure   BOOLEAN     NOT NULL DEFAULT FALSE,
    is_anonymous BOOLEAN     NOT NULL DEFAULT FALSE,
    fields       JSONB       NOT NULL DEFAULT '{}'::jsonb,
    metadata     JSONB       NOT NULL DEFAULT '{}'::jsonb,
    leaf_hash    BYTEA,
    log_index    BIGINT      CONSTRAINT audit_log_log_index_key UNIQUE,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    received_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    -- Beside the plain key to the project: a record cannot name another tenant's project.
    CONSTRAINT audit_log_tenant_project_fkey FOREIGN KEY (tenant_id, project_id)
        REFERENCES tenant_projects (tenant_id, id) ON DELETE SET NULL (project_id),
    CONSTRAINT audit_log_crud_check CHECK (crud IN ('c', 'r', 'u', 'd')),
    CONSTRAINT audit_log_fields_check CHECK (jsonb_typeof(fields) = 'object'),
    CONSTRAINT audit_log_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

-- Each ends in id, which makes it the order of a keyset list.
CREATE INDEX audit_log_tenant_idx ON audit_log (tenant_id, created_at DESC, id DESC);
CREATE INDEX audit_log_tenant_action_idx ON audit_log (tenant_id, action, created_at DESC, id DESC);
CREATE INDEX audit_log_created_idx ON audit_log (created_at DESC, id DESC);
CREATE INDEX audit_log_action_idx ON audit_log (action, created_at DESC, id DESC);
CREATE INDEX audit_log_product_idx ON audit_log (product, created_at DESC, id DESC) WHERE product IS NOT NULL;
CREATE INDEX audit_log_actor_idx ON audit_log (actor_id, created_at DESC, id DESC) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_log_target_idx ON audit_log (target_id, created_at DESC, id DESC) WHERE target_id IS NOT NULL;
CREATE INDEX audit_log_project_idx ON audit_log (project_id, tenant_id) WHERE project_id IS NOT NULL;

COMMENT ON TABLE audit_log IS 'What was done, by whom, to what: every change of state in the registry and in the products. Append-only; the rows outlive their tenant, with tenant_id NULL.';
COMMENT ON COLUMN audit_log.id IS 'Order of writing within this database; never shown.';
COMMENT ON COLUMN audit_log.event_id IS 'Public id of the record; the outbox event of the same change is linked by it.';
COMMENT ON COLUMN audit_log.tenant_id IS 'NULL for what concerns the platform, and after the tenant was purged.';
COMMENT ON COLUMN audit_log.actor_type IS 'operator, service, api_key, user, system.';
COMMENT ON COLUMN audit_log.action IS 'noun.verb in the past tense: api_key.created.';
COMMENT ON COLUMN audit_log.crud IS 'c, r, u or d: what the action did to its target.';
COMMENT ON COLUMN audit_log.group_id IS 'The producer''s own grouping (Retraced: group); the tenant''s customer, for a product.';
COMMENT ON COLUMN audit_log.product IS 'The product that reported it; NULL = the registry itself.';
COMMENT ON COLUMN audit_log.component IS 'Part of the producer that reported it, with version.';
COMMENT ON COLUMN audit_log.external_id IS 'The producer''s own id for the record.';
COMMENT ON COLUMN audit_log.request_id IS 'Request that caused it, as in the log line and in the caller''s answer.';
COMMENT ON COLUMN audit_log.fields IS 'Searchable key/value strings of the producer.';
COMMENT ON COLUMN audit_log.metadata IS 'More about the change, before and after where that helps; never a secret.';
COMMENT ON COLUMN audit_log.leaf_hash IS 'RFC 6962 leaf hash, once the record is in the log-integrity tree.';
COMMENT ON COLUMN audit_log.log_index IS 'Place in the log-integrity tree; NULL until sequenced.';
COMMENT ON COLUMN audit_log.created_at IS 'When it happened, by the producer''s clock.';
COMMENT ON COLUMN audit_log.received_at IS 'When it was written here.';

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON audit_log
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT ON audit_log TO landlord_app;
GRANT USAGE ON SEQUENCE audit_log_id_seq TO landlord_app;
