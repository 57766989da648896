DROP FUNCTION landlord_reorder_restored_events();
DROP FUNCTION landlord_erase_events(uuid, timestamptz, int);

CREATE OR REPLACE FUNCTION landlord_drop_month_partition(parent text, month date) RETURNS boolean
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

DROP TABLE event_floor;
DROP TABLE event_marks;
ALTER TABLE tenant_events DROP COLUMN occurred_at;
