SET LOCAL lock_timeout = '5s';

CREATE TYPE tenant_project_status AS ENUM (
    'active',
    'archived'
);

CREATE TABLE tenant_projects (
    id          UUID                  NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_projects_pkey PRIMARY KEY,
    tenant_id   UUID                  NOT NULL
        CONSTRAINT tenant_projects_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    name        TEXT                  NOT NULL,
    slug        TEXT                  NOT NULL,
    description TEXT                  NOT NULL DEFAULT '',
    status      tenant_project_status NOT NULL DEFAULT 'active',
    metadata    JSONB                 NOT NULL DEFAULT '{}'::jsonb,
    archived_at TIMESTAMPTZ,
    created_at  TIMESTAMPTZ           NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ           NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_projects_tenant_id_slug_key UNIQUE (tenant_id, slug),
    CONSTRAINT tenant_projects_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT tenant_projects_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenant_projects_slug_check CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$'),
    CONSTRAINT tenant_projects_archived_check CHECK ((status = 'archived') = (archived_at IS NOT NULL)),
    CONSTRAINT tenant_projects_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

CREATE INDEX tenant_projects_tenant_idx ON tenant_projects (tenant_id);

COMMENT ON TABLE tenant_projects IS 'Optional sub-tenancy. A tenant without explicit projects works as one implicit default project, which has no row.';
COMMENT ON CONSTRAINT tenant_projects_tenant_id_id_key ON tenant_projects IS 'Target of foreign keys that carry the tenant, so that no row points into another tenant''s project.';
COMMENT ON COLUMN tenant_projects.metadata IS 'The caller''s own JSON object; never interpreted.';

CREATE TRIGGER tenant_projects_touch_updated_at
    BEFORE UPDATE ON tenant_projects
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_projects FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_projects
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_projects TO landlord_app;
