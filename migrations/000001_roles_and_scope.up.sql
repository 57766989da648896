-- Who connects, and how a transaction says for whom it works.
--
-- landlord_app is a group role of the whole cluster: several databases of one
-- cluster may hold a registry, and two of them may migrate at the same moment.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'landlord_app') THEN
        CREATE ROLE landlord_app NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL; -- another migrator was first
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'role landlord_app does not exist and % may not create it', current_user
            USING HINT = 'As a superuser: CREATE ROLE landlord_app NOLOGIN;', ERRCODE = 'insufficient_privilege';
END
$$;

CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

GRANT USAGE ON SCHEMA public TO landlord_app;

COMMENT ON TABLE schema_migrations IS 'The migrator''s own state: the version of the schema, and whether the last migration was left half done.';
GRANT SELECT ON schema_migrations TO landlord_app;

-- Both functions are plain SQL without settings of their own, so that the planner
-- inlines them into the policies, and without a sub-select, which Citus refuses.
CREATE FUNCTION landlord_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('landlord.tenant_id', true), '')::uuid $$;

COMMENT ON FUNCTION landlord_tenant() IS 'The tenant whose rows this transaction may see and write: SET LOCAL landlord.tenant_id. NULL when none is set, and then no policy matches.';

CREATE FUNCTION landlord_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(current_setting('landlord.operator', true), '') = 'on' $$;

COMMENT ON FUNCTION landlord_operator() IS 'Whether this transaction works for the platform itself, across tenants: SET LOCAL landlord.operator = ''on''.';

CREATE FUNCTION touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := GREATEST(NOW(), OLD.updated_at + INTERVAL '1 microsecond');
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION touch_updated_at() IS 'Moves updated_at on every update, strictly forward even within one transaction or after the clock stepped back: it is the ETag of the row.';
