SET LOCAL lock_timeout = '5s';

-- What the readers of tenant_events need besides the events: when a product says
-- that something happened, where in the order a time lies, and where the kept
-- part of the order begins.
ALTER TABLE tenant_events ADD COLUMN occurred_at TIMESTAMPTZ;

COMMENT ON COLUMN tenant_events.occurred_at IS 'When it happened, by the product that published it; NULL: when it was written.';

CREATE TABLE event_marks (
    at  TIMESTAMPTZ NOT NULL CONSTRAINT event_marks_pkey PRIMARY KEY,
    xid XID8        NOT NULL
);

COMMENT ON TABLE event_marks IS 'Where in the order of tenant_events a time lies: no event written at that time or later has an xid below. One row a minute, kept as long as the events are.';

GRANT SELECT, INSERT, DELETE ON event_marks TO landlord_app;

CREATE TABLE event_floor (
    singleton      BOOLEAN NOT NULL DEFAULT TRUE CONSTRAINT event_floor_pkey PRIMARY KEY,
    xid            XID8    NOT NULL DEFAULT '0',
    seq            BIGINT  NOT NULL DEFAULT 0,
    dropped_before TIMESTAMPTZ,
    CONSTRAINT event_floor_singleton_check CHECK (singleton)
);

COMMENT ON TABLE event_floor IS 'One row: the last place in the order of tenant_events that retention has dropped. Who reads on from below it has missed something, and is told so.';
COMMENT ON COLUMN event_floor.dropped_before IS 'Everything written before is gone; NULL while nothing is.';

INSERT INTO event_floor (singleton) VALUES (TRUE);

GRANT SELECT ON event_floor TO landlord_app;

-- As before, and for tenant_events the floor rises with the drop. The parent is
-- locked first, as DROP does: a transaction that wrote into the month and commits
-- meanwhile is waited for, and counts.
CREATE OR REPLACE FUNCTION landlord_drop_month_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET lock_timeout = '2s'
    AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    child text := format('%s_y%sm%s', parent, to_char(first, 'YYYY'), to_char(first, 'MM'));
    scope text := coalesce(current_setting('landlord.operator', true), '');
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
    IF parent = 'tenant_events' THEN
        LOCK TABLE ONLY public.tenant_events IN ACCESS EXCLUSIVE MODE;
        PERFORM set_config('landlord.operator', 'on', true);
        EXECUTE format(
            'UPDATE public.event_floor AS f
                SET xid = last.xid, seq = last.seq
               FROM (SELECT xid, seq FROM public.%I ORDER BY xid DESC, seq DESC LIMIT 1) AS last
              WHERE (f.xid, f.seq) < (last.xid, last.seq)', child);
        UPDATE public.event_floor
           SET dropped_before = GREATEST(dropped_before, (first + INTERVAL '1 month')::timestamptz);
        PERFORM set_config('landlord.operator', scope, true);
    END IF;
    EXECUTE format('DROP TABLE public.%I', child);
    RETURN TRUE;
END;
$$;

-- The application appends to tenant_events and deletes nothing there by itself:
-- erasing is this function, within the scope that the transaction has. Oldest
-- first, so that what is left after some is the newer part.
CREATE FUNCTION landlord_erase_events(tenant uuid, before timestamptz, most int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    erased bigint;
BEGIN
    DELETE FROM public.tenant_events AS e
     USING (SELECT id, created_at
              FROM public.tenant_events
             WHERE tenant_id = tenant
               AND created_at < before
             ORDER BY xid, seq
             LIMIT most) AS old
     WHERE e.tenant_id = tenant
       AND e.id = old.id
       AND e.created_at = old.created_at;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END;
$$;

COMMENT ON FUNCTION landlord_erase_events(uuid, timestamptz, int) IS 'Deletes events of a tenant that were written before a time, the oldest first, at most so many; tells how many.';

REVOKE ALL ON FUNCTION landlord_erase_events(uuid, timestamptz, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION landlord_erase_events(uuid, timestamptz, int) TO landlord_app;

-- A dump carries xids of the server that it was taken from. Restored into a
-- server that counts from lower, its latest events would lie in the future of the
-- order and be shown to nobody. Each server start puts such events where they
-- belong: behind those that are in order, before all that is to come.
CREATE FUNCTION landlord_reorder_restored_events() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    scope text := coalesce(current_setting('landlord.operator', true), '');
    moved bigint;
BEGIN
    PERFORM set_config('landlord.operator', 'on', true);
    UPDATE public.tenant_events
       SET xid = pg_current_xact_id()
     WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    GET DIAGNOSTICS moved = ROW_COUNT;
    DELETE FROM public.event_marks WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    UPDATE public.event_floor SET xid = '0', seq = 0 WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    PERFORM set_config('landlord.operator', scope, true);
    RETURN moved;
END;
$$;

COMMENT ON FUNCTION landlord_reorder_restored_events() IS 'Gives events whose xid this server has not reached, which came with a dump of another one, a place in its order; tells how many. Does nothing otherwise.';

REVOKE ALL ON FUNCTION landlord_reorder_restored_events() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION landlord_reorder_restored_events() TO landlord_app;
