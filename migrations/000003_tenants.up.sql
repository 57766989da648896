-- The root entity. tenants.id is the organization id of the platform's OIDC issuer, 1:1.
CREATE TYPE tenant_status AS ENUM (
    'demo',      -- shared demo tenant; reset nightly; no billing
    'trial',     -- real customer in the evaluation window
    'active',    -- paid; contract or self-serve plan
    'frozen',    -- read-only after cancellation or non-payment (30 days' grace)
    'suspended', -- blocked by an operator, with a reason
    'archived'   -- data export window closed; only the audit log is kept
);

CREATE TYPE tenant_kind AS ENUM (
    'customer',   -- real paying or trialing customer
    'demo',       -- shared demo tenant; never billed
    'internal',   -- the platform itself
    'reseller',   -- has tenants of its own below it
    'enterprise'  -- customer with a contract and its own sign-in
);

CREATE TABLE tenants (
    id                       UUID          NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenants_pkey PRIMARY KEY,
    slug                     TEXT          NOT NULL CONSTRAINT tenants_slug_key UNIQUE,
    name                     TEXT          NOT NULL,
    status                   tenant_status NOT NULL DEFAULT 'trial',
    kind                     tenant_kind   NOT NULL DEFAULT 'customer',
    plan                     TEXT          NOT NULL DEFAULT 'starter'
        CONSTRAINT tenants_plan_fkey REFERENCES plans (name) ON DELETE RESTRICT,
    parent_id                UUID
        CONSTRAINT tenants_parent_id_fkey REFERENCES tenants (id) ON DELETE RESTRICT,
    ancestors                UUID[]        NOT NULL DEFAULT '{}',
    path                     BYTEA         NOT NULL GENERATED ALWAYS AS (
        coalesce(uuid_send(ancestors[1]), '') || coalesce(uuid_send(ancestors[2]), '')
        || coalesce(uuid_send(ancestors[3]), '') || coalesce(uuid_send(ancestors[4]), '') || uuid_send(id)
    ) STORED,
    external_id              TEXT          CONSTRAINT tenants_external_id_key UNIQUE,
    erp_customer_id          TEXT          CONSTRAINT tenants_erp_customer_id_key UNIQUE,
    stripe_cust_id           TEXT          CONSTRAINT tenants_stripe_cust_id_key UNIQUE,
    trial_ends_at            TIMESTAMPTZ,
    contract_start           DATE,
    contract_end             DATE,
    sales_owner              TEXT,
    contact_name             TEXT,
    contact_email            CITEXT,
    contact_phone            TEXT,
    billing_email            CITEXT,
    allowed_origins          TEXT[]        NOT NULL DEFAULT '{}',
    status_before_suspension tenant_status,
    suspended_at             TIMESTAMPTZ,
    suspension_reason        TEXT,
    frozen_at                TIMESTAMPTZ,
    freeze_reason            TEXT,
    archive_due_at           TIMESTAMPTZ,
    archived_at              TIMESTAMPTZ,
    purge_due_at             TIMESTAMPTZ,
    cancelled_at             TIMESTAMPTZ,
    cancel_reason            TEXT,
    legal_hold               BOOLEAN       NOT NULL DEFAULT FALSE,
    legal_hold_reason        TEXT,
    status_locked            BOOLEAN       NOT NULL DEFAULT FALSE,
    metadata                 JSONB         NOT NULL DEFAULT '{}'::jsonb,
    deleted_at               TIMESTAMPTZ,
    created_at               TIMESTAMPTZ   NOT NULL DEFAULT NOW(),
    updated_at               TIMESTAMPTZ   NOT NULL DEFAULT NOW(),
    CONSTRAINT tenants_slug_check CHECK (slug ~ '^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$'),
    CONSTRAINT tenants_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT tenants_parent_not_self_check CHECK (parent_id <> id),
    CONSTRAINT tenants_ancestors_depth_check CHECK (cardinality(ancestors) <= 4),
    CONSTRAINT tenants_ancestors_parent_check CHECK (
        (parent_id IS NULL) = (ancestors = '{}')
        AND (parent_id IS NULL OR ancestors[cardinality(ancestors)] = parent_id)
        AND NOT id = ANY (ancestors)
    ),
    CONSTRAINT tenants_contract_check CHECK (contract_end >= contract_start),
    CONSTRAINT tenants_suspended_check CHECK (
        status <> 'suspended'
        OR (suspended_at IS NOT NULL AND suspension_reason IS NOT NULL AND status_before_suspension IS NOT NULL)
    ),
    CONSTRAINT tenants_status_before_suspension_check CHECK (status_before_suspension IN ('trial', 'active', 'frozen')),
    CONSTRAINT tenants_frozen_check CHECK (status <> 'frozen' OR frozen_at IS NOT NULL),
    CONSTRAINT tenants_archived_check CHECK (status <> 'archived' OR archived_at IS NOT NULL),
    CONSTRAINT tenants_legal_hold_check CHECK (NOT legal_hold OR legal_hold_reason IS NOT NULL),
    CONSTRAINT tenants_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);

-- One index a status and kind but the usual ones, which the primary key finds soon
-- enough. Under row-level security the equality of enums is not leakproof and can't
-- look anything up; the predicate of a partial index needs no look-up.
CREATE INDEX tenants_status_demo_idx ON tenants (id) WHERE status = 'demo';
CREATE INDEX tenants_status_trial_idx ON tenants (id) WHERE status = 'trial';
CREATE INDEX tenants_status_frozen_idx ON tenants (id) WHERE status = 'frozen';
CREATE INDEX tenants_status_suspended_idx ON tenants (id) WHERE status = 'suspended';
CREATE INDEX tenants_status_archived_idx ON tenants (id) WHERE status = 'archived';
CREATE INDEX tenants_kind_demo_idx ON tenants (id) WHERE kind = 'demo';
CREATE INDEX tenants_kind_internal_idx ON tenants (id) WHERE kind = 'internal';
CREATE INDEX tenants_kind_reseller_idx ON tenants (id) WHERE kind = 'reseller';
CREATE INDEX tenants_kind_enterprise_idx ON tenants (id) WHERE kind = 'enterprise';
CREATE INDEX tenants_plan_idx ON tenants (plan, id);
CREATE INDEX tenants_parent_idx ON tenants (parent_id, id);
CREATE INDEX tenants_path_idx ON tenants (path);
CREATE INDEX tenants_metadata_idx ON tenants USING gin (metadata);
CREATE INDEX tenants_name_trgm_idx ON tenants USING gin (name gin_trgm_ops);
CREATE INDEX tenants_slug_trgm_idx ON tenants USING gin (slug gin_trgm_ops);
CREATE INDEX tenants_trial_ends_idx ON tenants (trial_ends_at) WHERE trial_ends_at IS NOT NULL;
CREATE INDEX tenants_contract_end_idx ON tenants (contract_end) WHERE contract_end IS NOT NULL;
CREATE INDEX tenants_archive_due_idx ON tenants (archive_due_at) WHERE archive_due_at IS NOT NULL;
CREATE INDEX tenants_purge_due_idx ON tenants (purge_due_at) WHERE purge_due_at IS NOT NULL;

COMMENT ON TABLE tenants IS 'Who the tenants are: identity, place in the tree, plan, contacts and lifecycle.';
COMMENT ON COLUMN tenants.slug IS 'Name in URLs and commands; unique, also after archiving.';
COMMENT ON COLUMN tenants.status IS 'The tenant''s own status. The effective one is the strictest of its own and its ancestors''.';
COMMENT ON COLUMN tenants.parent_id IS 'The reseller above this tenant; NULL at the root.';
COMMENT ON COLUMN tenants.ancestors IS 'Ids from the root down to the parent, self not included: at most 4, so the tree is at most 5 deep. Kept by the registry whenever a tenant moves.';
COMMENT ON COLUMN tenants.path IS 'Tree order: a tenant sorts right before those below it, so that a subtree is a range. Bytes, because under row-level security an index serves only operators that are leakproof, which those of arrays are not.';
COMMENT ON COLUMN tenants.external_id IS 'The caller''s own id for this tenant.';
COMMENT ON COLUMN tenants.erp_customer_id IS 'Customer in the ERP.';
COMMENT ON COLUMN tenants.stripe_cust_id IS 'Customer in Stripe (cus_…).';
COMMENT ON COLUMN tenants.trial_ends_at IS 'When a trial tenant freezes. Kept afterwards.';
COMMENT ON COLUMN tenants.contract_end IS 'Last day of the contract; an active tenant freezes on the day after.';
COMMENT ON COLUMN tenants.sales_owner IS 'Who of the platform''s own people looks after the tenant.';
COMMENT ON COLUMN tenants.allowed_origins IS 'Web origins that may call the platform from a browser on behalf of this tenant (CORS).';
COMMENT ON COLUMN tenants.status_before_suspension IS 'Where resume returns to.';
COMMENT ON COLUMN tenants.archive_due_at IS 'When a frozen tenant is archived.';
COMMENT ON COLUMN tenants.purge_due_at IS 'When an archived tenant''s data is purged, unless a legal hold blocks it.';
COMMENT ON COLUMN tenants.cancelled_at IS 'When the tenant gave notice; it freezes then, and can be reactivated until archived.';
COMMENT ON COLUMN tenants.legal_hold IS 'Blocks purge whatever its date says.';
COMMENT ON COLUMN tenants.status_locked IS 'The platform itself froze, suspended or archived the tenant: a reseller above it can''t undo that.';
COMMENT ON COLUMN tenants.metadata IS 'The caller''s own JSON object; never interpreted, filterable by key.';
COMMENT ON COLUMN tenants.deleted_at IS 'Set when an archived tenant was deleted: only the platform sees it, until it is restored or purged.';

CREATE TRIGGER tenants_touch_updated_at
    BEFORE UPDATE ON tenants
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenants
    USING (id = landlord_tenant() OR landlord_operator())
    WITH CHECK (id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO landlord_app;

-- Not plain SQL with SET in its head: only a superuser may give a function a
-- setting of ours.
CREATE FUNCTION landlord_effective_status(tenant uuid) RETURNS tenant_status
    LANGUAGE plpgsql
    AS $$
DECLARE
    scope     text := coalesce(current_setting('landlord.operator', true), '');
    effective tenant_status;
BEGIN
    PERFORM set_config('landlord.operator', 'on', true);
    SELECT CASE WHEN above.status >= 'frozen' THEN GREATEST(t.status, above.status) ELSE t.status END
      INTO effective
      FROM tenants t,
           LATERAL (SELECT max(a.status) AS status FROM tenants a WHERE a.id = ANY (t.ancestors)) above
     WHERE t.id = tenant
       AND t.deleted_at IS NULL;
    PERFORM set_config('landlord.operator', scope, true);
    RETURN effective;
END;
$$;

COMMENT ON FUNCTION landlord_effective_status(uuid) IS 'The strictest of a tenant''s own status and its ancestors'', whom a transaction in the tenant''s scope does not see; NULL when there is no such tenant, or it was deleted.';

-- The platform's own tenant: events that concern no single tenant are filed under
-- it. The owner of the tables is under row-level security too, so it says who it is.
SET LOCAL landlord.operator = 'on';

INSERT INTO tenants (id, slug, name, kind, status)
VALUES ('00000000-0000-0000-0000-000000000001', 'internal', 'Landlord', 'internal', 'active');
