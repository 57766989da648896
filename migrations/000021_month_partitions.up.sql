-- Months are made ahead by the server and dropped by retention. The application
-- role owns no table, so both run with the owner's rights, and only on the tables
-- listed here: a migration that adds one replaces the list.
CREATE FUNCTION landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_attempts', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

COMMENT ON FUNCTION landlord_month_partitioned_tables() IS 'Tables partitioned by the month of created_at.';

CREATE FUNCTION landlord_make_month_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET lock_timeout = '2s'
    AS $$
DECLARE
    first  date := date_trunc('month', month)::date;
    child  text := format('%s_y%sm%s', parent, to_char(first, 'YYYY'), to_char(first, 'MM'));
BEGIN
    IF parent IS NULL OR month IS NULL OR NOT parent = ANY (public.landlord_month_partitioned_tables()) THEN
        RAISE EXCEPTION 'table % is not partitioned by month', parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The usual call finds its month and takes no lock. It asks pg_class rather than
    -- to_regclass, which would answer from a cache after the wait for the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = child AND relnamespace = 'public'::regnamespace) THEN
        RETURN FALSE;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('landlord_month_partition:' || parent, 0));
    IF EXISTS (SELECT FROM pg_class WHERE relname = child AND relnamespace = 'public'::regnamespace) THEN
        RETURN FALSE;
    END IF;
    -- CREATE and ATTACH rather than PARTITION OF: that would lock the parent against
    -- every reader and writer. The new table is empty, so there is nothing to scan,
    -- and there is never a DEFAULT partition, which would be scanned instead.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', child, parent);
    EXECUTE format('COMMENT ON TABLE public.%I IS %L', child, format('Rows of %s of %s.', parent, to_char(first, 'YYYY-MM')));
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', child);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', child);
    EXECUTE format(
        'CREATE POLICY tenant_scope ON public.%I
            USING (tenant_id = public.landlord_tenant() OR public.landlord_operator())
            WITH CHECK (tenant_id = public.landlord_tenant() OR public.landlord_operator())', child);
    EXECUTE format(
        'ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        parent, child, first::timestamptz, (first + INTERVAL '1 month')::timestamptz);
    RETURN TRUE;
END;
$$;

COMMENT ON FUNCTION landlord_make_month_partition(text, date) IS 'Makes the partition of the month that holds the date, unless it is there; tells whether it made it. Gives up after 2 s behind a lock, to be tried again.';

CREATE FUNCTION landlord_drop_month_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET lock_timeout = '2s'
    AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    child text := format('%s_y%sm%s', parent, to_char(first, 'YYYY'), to_char(first, 'MM'));
BEGIN
    IF parent IS NULL OR month IS NULL OR NOT parent = ANY (public.landlord_month_partitioned_tables()) THEN
        RAISE EXCEPTION 'table % is not partitioned by month', parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Retention is about the past: a month that still takes rows is a mistake.
    IF (first + INTERVAL '1 month')::timestamptz > now() THEN
        RAISE EXCEPTION 'month % of % is not over', to_char(first, 'YYYY-MM'), parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('landlord_month_partition:' || parent, 0));
    IF NOT EXISTS (SELECT FROM pg_class WHERE relname = child AND relnamespace = 'public'::regnamespace) THEN
        RETURN FALSE;
    END IF;
    EXECUTE format('DROP TABLE public.%I', child);
    RETURN TRUE;
END;
$$;

COMMENT ON FUNCTION landlord_drop_month_partition(text, date) IS 'Drops the partition of a month that is over, with its rows; tells whether it was there. Gives up after 2 s behind a lock, to be tried again.';

REVOKE ALL ON FUNCTION landlord_make_month_partition(text, date) FROM PUBLIC;
REVOKE ALL ON FUNCTION landlord_drop_month_partition(text, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION landlord_make_month_partition(text, date) TO landlord_app;
GRANT EXECUTE ON FUNCTION landlord_drop_month_partition(text, date) TO landlord_app;
