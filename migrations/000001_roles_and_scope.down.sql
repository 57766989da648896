-- landlord_app stays: it belongs to the cluster, and another database may use it.
DROP FUNCTION touch_updated_at();
DROP FUNCTION landlord_operator();
DROP FUNCTION landlord_tenant();

REVOKE SELECT ON schema_migrations FROM landlord_app;
COMMENT ON TABLE schema_migrations IS NULL;
REVOKE USAGE ON SCHEMA public FROM landlord_app;

-- Extensions that a DBA installed beforehand are not ours to drop.
DO $$
DECLARE
    extension name;
BEGIN
    FOR extension IN
        SELECT extname
        FROM pg_extension
        WHERE extname IN ('citext', 'pg_trgm')
          AND extowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    LOOP
        EXECUTE format('DROP EXTENSION %I', extension);
    END LOOP;
END
$$;
