-- The whole schema, as pg_dump of PostgreSQL 15 tells it. Generated: make goldens.

CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;

COMMENT ON EXTENSION citext IS 'data type for case-insensitive character strings';

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE TYPE public.api_key_environment AS ENUM (
    'live',
    'test'
);

CREATE TYPE public.idp_kind AS ENUM (
    'oidc',
    'saml'
);

CREATE TYPE public.tenant_kind AS ENUM (
    'customer',
    'demo',
    'internal',
    'reseller',
    'enterprise'
);

CREATE TYPE public.tenant_project_status AS ENUM (
    'active',
    'archived'
);

CREATE TYPE public.tenant_status AS ENUM (
    'demo',
    'trial',
    'active',
    'frozen',
    'suspended',
    'archived'
);

CREATE FUNCTION public.landlord_count_slow_keys(begins text[]) RETURNS TABLE(prefix text, keys integer)
    LANGUAGE plpgsql ROWS 100
    AS $_$
DECLARE
    scope text := coalesce(current_setting('landlord.operator', true), '');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('landlord_count_slow_keys'));
    PERFORM set_config('landlord.operator', 'on', true);
    RETURN QUERY
        SELECT k.prefix, count(*)::int
          FROM api_keys k
         WHERE left(k.hash, 1) = '$'
           AND k.prefix = ANY (begins)
         GROUP BY k.prefix;
    PERFORM set_config('landlord.operator', scope, true);
END;
$_$;

COMMENT ON FUNCTION public.landlord_count_slow_keys(begins text[]) IS 'How many keys of all tenants begin so and can''t be looked up by their tokens: each of them is tried, so they must be few.';

CREATE FUNCTION public.landlord_drop_month_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '2s'
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

COMMENT ON FUNCTION public.landlord_drop_month_partition(parent text, month date) IS 'Drops the partition of a month that is over, with its rows; tells whether it was there. Gives up after 2 s behind a lock, to be tried again.';

CREATE FUNCTION public.landlord_effective_status(tenant uuid) RETURNS public.tenant_status
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

COMMENT ON FUNCTION public.landlord_effective_status(tenant uuid) IS 'The strictest of a tenant''s own status and its ancestors'', whom a transaction in the tenant''s scope does not see; NULL when there is no such tenant, or it was deleted.';

CREATE FUNCTION public.landlord_erase_events(tenant uuid, before timestamp with time zone, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
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

COMMENT ON FUNCTION public.landlord_erase_events(tenant uuid, before timestamp with time zone, most integer) IS 'Deletes events of a tenant that were written before a time, the oldest first, at most so many; tells how many.';

CREATE TABLE public.tenant_key_policies (
    tenant_id uuid NOT NULL,
    allowed_ips cidr[],
    environments public.api_key_environment[] DEFAULT '{live,test}'::public.api_key_environment[] NOT NULL,
    max_age_days integer,
    leak_action text DEFAULT 'revoke'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_key_policies_allowed_ips_check CHECK ((cardinality(allowed_ips) > 0)),
    CONSTRAINT tenant_key_policies_environments_check CHECK ((cardinality(environments) > 0)),
    CONSTRAINT tenant_key_policies_leak_action_check CHECK ((leak_action = ANY (ARRAY['revoke'::text, 'disable'::text, 'flag'::text]))),
    CONSTRAINT tenant_key_policies_max_age_days_check CHECK (((max_age_days >= 1) AND (max_age_days <= 3650)))
);

ALTER TABLE ONLY public.tenant_key_policies FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_key_policies IS 'What a tenant demands of its API keys and of those of the tenants below it: of all policies on the way to the root the strictest counts. No row: it demands nothing.';

COMMENT ON COLUMN public.tenant_key_policies.allowed_ips IS 'Networks the keys work from, beside what a key''s own list says; NULL = any, never empty.';

COMMENT ON COLUMN public.tenant_key_policies.environments IS 'Keys of which environments work.';

COMMENT ON COLUMN public.tenant_key_policies.max_age_days IS 'Longest life of a key from its issue; NULL = any. Keys that are there already keep their end.';

COMMENT ON COLUMN public.tenant_key_policies.leak_action IS 'What a report that a key has leaked does to it: revoke, disable, or flag, which only tells of it.';

CREATE FUNCTION public.landlord_key_policies(tenant uuid) RETURNS SETOF public.tenant_key_policies
    LANGUAGE plpgsql ROWS 5
    AS $$
DECLARE
    scope text := coalesce(current_setting('landlord.operator', true), '');
BEGIN
    PERFORM set_config('landlord.operator', 'on', true);
    RETURN QUERY
        SELECT y.*
          FROM tenants t
          JOIN tenant_key_policies y ON y.tenant_id = ANY (t.ancestors || t.id)
         WHERE t.id = tenant
         ORDER BY array_position(t.ancestors || t.id, y.tenant_id);
    PERFORM set_config('landlord.operator', scope, true);
END;
$$;

COMMENT ON FUNCTION public.landlord_key_policies(tenant uuid) IS 'The key policies that bind a tenant, from the root down to its own, also in the tenant''s scope, which does not see those above it.';

CREATE FUNCTION public.landlord_keys_by_hash(hashes text[]) RETURNS TABLE(hash text, id uuid, tenant_id uuid)
    LANGUAGE plpgsql ROWS 10
    AS $$
DECLARE
    scope text := coalesce(current_setting('landlord.operator', true), '');
BEGIN
    PERFORM set_config('landlord.operator', 'on', true);
    RETURN QUERY
        SELECT k.hash, k.id, k.tenant_id
          FROM api_keys k
         WHERE k.hash = ANY (hashes);
    PERFORM set_config('landlord.operator', scope, true);
END;
$$;

COMMENT ON FUNCTION public.landlord_keys_by_hash(hashes text[]) IS 'The keys of all tenants that are stored under the hashes: an import asks which of its tokens are keys already.';

CREATE FUNCTION public.landlord_make_month_partition(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '2s'
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

COMMENT ON FUNCTION public.landlord_make_month_partition(parent text, month date) IS 'Makes the partition of the month that holds the date, unless it is there; tells whether it made it. Gives up after 2 s behind a lock, to be tried again.';

CREATE FUNCTION public.landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_deliveries', 'tenant_webhook_attempts', 'tenant_webhook_stats', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

COMMENT ON FUNCTION public.landlord_month_partitioned_tables() IS 'Tables partitioned by month.';

CREATE FUNCTION public.landlord_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(current_setting('landlord.operator', true), '') = 'on' $$;

COMMENT ON FUNCTION public.landlord_operator() IS 'Whether this transaction works for the platform itself, across tenants: SET LOCAL landlord.operator = ''on''.';

CREATE FUNCTION public.landlord_reorder_restored_events() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
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

COMMENT ON FUNCTION public.landlord_reorder_restored_events() IS 'Gives events whose xid this server has not reached, which came with a dump of another one, a place in its order; tells how many. Does nothing otherwise.';

CREATE FUNCTION public.landlord_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('landlord.tenant_id', true), '')::uuid $$;

COMMENT ON FUNCTION public.landlord_tenant() IS 'The tenant whose rows this transaction may see and write: SET LOCAL landlord.tenant_id. NULL when none is set, and then no policy matches.';

CREATE FUNCTION public.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := GREATEST(NOW(), OLD.updated_at + INTERVAL '1 microsecond');
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION public.touch_updated_at() IS 'Moves updated_at on every update, strictly forward even within one transaction or after the clock stepped back: it is the ETag of the row.';

CREATE TABLE public.access_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    operator_id uuid,
    service_account_id uuid,
    name text NOT NULL,
    prefix text NOT NULL,
    last4 text NOT NULL,
    hash text NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_reason text,
    last_used_at timestamp with time zone,
    last_used_ip inet,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT access_tokens_hash_check CHECK ((hash <> ''::text)),
    CONSTRAINT access_tokens_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT access_tokens_owner_check CHECK ((num_nonnulls(operator_id, service_account_id) = 1)),
    CONSTRAINT access_tokens_revoked_check CHECK (((revoked_reason IS NULL) OR (revoked_at IS NOT NULL)))
)
WITH (fillfactor='80');

COMMENT ON TABLE public.access_tokens IS 'Bearer tokens of operators and service accounts. The token itself is shown once and never stored.';

COMMENT ON COLUMN public.access_tokens.hash IS 'Digest in an encoded form that names its algorithm and pepper.';

COMMENT ON COLUMN public.access_tokens.last_used_at IS 'Written in batches, so up to a minute late; not part of the ETag.';

COMMENT ON COLUMN public.access_tokens.created_by IS 'kind:id of the principal that issued it.';

CREATE TABLE public.api_key_flushes (
    replica uuid NOT NULL,
    number bigint NOT NULL,
    flushed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_key_flushes_number_check CHECK ((number > 0))
)
WITH (fillfactor='50');

COMMENT ON TABLE public.api_key_flushes IS 'Which batch of uses of keys each replica wrote last. A batch whose answer was lost is sent again under its number, and counts once.';

COMMENT ON COLUMN public.api_key_flushes.replica IS 'A running process, which draws its id when it starts.';

COMMENT ON COLUMN public.api_key_flushes.number IS 'Counts the replica''s batches.';

COMMENT ON COLUMN public.api_key_flushes.flushed_at IS 'Rows are removed a week after it.';

CREATE TABLE public.api_key_leaks (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    key_id uuid NOT NULL,
    source text NOT NULL,
    url text NOT NULL,
    reported_by text NOT NULL,
    action text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_key_leaks_action_check CHECK ((action = ANY (ARRAY['revoke'::text, 'disable'::text, 'flag'::text, 'none'::text]))),
    CONSTRAINT api_key_leaks_reported_by_check CHECK (((reported_by <> ''::text) AND (char_length(reported_by) <= 200))),
    CONSTRAINT api_key_leaks_source_check CHECK ((char_length(source) <= 100)),
    CONSTRAINT api_key_leaks_url_check CHECK ((char_length(url) <= 2048))
);

ALTER TABLE ONLY public.api_key_leaks FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.api_key_leaks IS 'Where keys were found that should have stayed secret, as reports say: each place of a key once, at most a hundred of a key.';

COMMENT ON COLUMN public.api_key_leaks.source IS 'In what it was found: commit, issue_comment, paste; empty = nobody said.';

COMMENT ON COLUMN public.api_key_leaks.url IS 'Where, as the report says; never fetched; empty = nobody said.';

COMMENT ON COLUMN public.api_key_leaks.reported_by IS 'Type and id of who reported it; system:secret-scanning:github is GitHub.';

COMMENT ON COLUMN public.api_key_leaks.action IS 'What the report did to the key by the policies in force; none = the key was stopped already.';

CREATE TABLE public.api_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    project_id uuid,
    product text,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    environment public.api_key_environment DEFAULT 'live'::public.api_key_environment NOT NULL,
    prefix text NOT NULL,
    last4 text NOT NULL,
    hash text NOT NULL,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    allowed_ips cidr[],
    rate_limit_rpm integer DEFAULT 600 NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_reason text,
    rotated_from uuid,
    rotated_to uuid,
    grace_ends_at timestamp with time zone,
    last_used_at timestamp with time zone,
    last_used_ip inet,
    usage_count bigint DEFAULT 0 NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    disabled_at timestamp with time zone,
    disabled_reason text,
    generation integer DEFAULT 1 NOT NULL,
    origin_id uuid,
    imported_at timestamp with time zone,
    rate_limits jsonb DEFAULT '[]'::jsonb NOT NULL,
    leaked_at timestamp with time zone,
    expiry_told integer DEFAULT 2147483647 NOT NULL,
    CONSTRAINT api_keys_allowed_ips_check CHECK ((cardinality(allowed_ips) > 0)),
    CONSTRAINT api_keys_disabled_check CHECK (((disabled_at IS NULL) OR (NOT is_active))),
    CONSTRAINT api_keys_disabled_reason_check CHECK (((disabled_reason IS NULL) OR (disabled_at IS NOT NULL))),
    CONSTRAINT api_keys_expiry_told_check CHECK ((expiry_told >= 0)),
    CONSTRAINT api_keys_generation_check CHECK ((generation > 0)),
    CONSTRAINT api_keys_hash_check CHECK ((hash <> ''::text)),
    CONSTRAINT api_keys_last4_check CHECK ((char_length(last4) <= 4)),
    CONSTRAINT api_keys_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT api_keys_prefix_check CHECK (((char_length(prefix) <= 40) AND ((prefix <> ''::text) OR (imported_at IS NOT NULL)))),
    CONSTRAINT api_keys_rate_limit_rpm_check CHECK ((rate_limit_rpm > 0)),
    CONSTRAINT api_keys_rate_limits_check CHECK ((jsonb_typeof(rate_limits) = 'array'::text)),
    CONSTRAINT api_keys_revoked_check CHECK (((revoked_reason IS NULL) OR (revoked_at IS NOT NULL))),
    CONSTRAINT api_keys_rotated_check CHECK (((rotated_to IS NULL) OR (grace_ends_at IS NOT NULL))),
    CONSTRAINT api_keys_slow_hash_check CHECK ((("left"(hash, 1) <> '$'::text) OR ((imported_at IS NOT NULL) AND (char_length(prefix) >= 8)))),
    CONSTRAINT api_keys_usage_count_check CHECK ((usage_count >= 0))
)
WITH (fillfactor='80');

ALTER TABLE ONLY public.api_keys FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.api_keys IS 'API keys of tenants, for all products. The key itself is shown once and never stored.';

COMMENT ON COLUMN public.api_keys.project_id IS 'The project the key is confined to; NULL = the whole tenant.';

COMMENT ON COLUMN public.api_keys.product IS 'The product the key is confined to; NULL = all products.';

COMMENT ON COLUMN public.api_keys.prefix IS 'Leading characters of the key, for people to tell keys apart, and to find keys with slow hashes by; empty for a key imported as a bare hash.';

COMMENT ON COLUMN public.api_keys.last4 IS 'Last characters of the key, likewise; empty for a key imported as a bare hash.';

COMMENT ON COLUMN public.api_keys.hash IS 'Digest in an encoded form that names its algorithm and pepper; the look-up key of verification. One that begins with $ is the argon2id or bcrypt hash that another system made; it stays only until the key is used.';

COMMENT ON COLUMN public.api_keys.scopes IS 'What the key may do: exact (renders:create) or noun:*.';

COMMENT ON COLUMN public.api_keys.allowed_ips IS 'Networks the key works from; NULL = any, never empty. CIDR rather than INET: it refuses host bits right of the mask, so a mistyped network is an error, not a rule that means something else.';

COMMENT ON COLUMN public.api_keys.rate_limit_rpm IS 'Requests a minute.';

COMMENT ON COLUMN public.api_keys.is_active IS 'Switch that an operator or the tenant can turn back on; revocation cannot be undone.';

COMMENT ON COLUMN public.api_keys.rotated_from IS 'The key this one replaced.';

COMMENT ON COLUMN public.api_keys.rotated_to IS 'The key that replaced this one.';

COMMENT ON COLUMN public.api_keys.grace_ends_at IS 'Set by rotation: until then this old key still works.';

COMMENT ON COLUMN public.api_keys.last_used_at IS 'Written in batches, so up to a minute late; not part of the ETag.';

COMMENT ON COLUMN public.api_keys.usage_count IS 'Verifications that answered VALID; written in batches with last_used_at.';

COMMENT ON COLUMN public.api_keys.created_by IS 'kind:id of the principal that issued it.';

COMMENT ON COLUMN public.api_keys.disabled_at IS 'When it was switched off; NULL while it is on.';

COMMENT ON COLUMN public.api_keys.generation IS 'How many keys the chain of rotations has up to this one.';

COMMENT ON COLUMN public.api_keys.origin_id IS 'The first key of the chain of rotations; NULL = this one.';

COMMENT ON COLUMN public.api_keys.imported_at IS 'When it was imported; NULL = its token was made here.';

COMMENT ON COLUMN public.api_keys.rate_limits IS 'Named limits beside rate_limit_rpm: [{"name": "renders", "limit": 100, "window": 60, "burst": 20, "named_only": true}]; window in seconds.';

COMMENT ON COLUMN public.api_keys.leaked_at IS 'When it was first reported as leaked; NULL = it never was.';

COMMENT ON COLUMN public.api_keys.expiry_told IS 'The notice of its end that was given last, as how many seconds were left by it: 0 = that it has ended, 2147483647 = none. Bookkeeping, not part of the ETag.';

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    event_id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid,
    project_id uuid,
    actor_id text,
    actor_name text,
    actor_type text,
    action text NOT NULL,
    crud text,
    description text,
    target_id text,
    target_type text,
    target_name text,
    group_id text,
    group_name text,
    product text,
    component text,
    version text,
    external_id text,
    request_id text,
    source_ip inet,
    user_agent text,
    is_failure boolean DEFAULT false NOT NULL,
    is_anonymous boolean DEFAULT false NOT NULL,
    fields jsonb DEFAULT '{}'::jsonb NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    leaf_hash bytea,
    log_index bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT audit_log_crud_check CHECK ((crud = ANY (ARRAY['c'::text, 'r'::text, 'u'::text, 'd'::text]))),
    CONSTRAINT audit_log_fields_check CHECK ((jsonb_typeof(fields) = 'object'::text)),
    CONSTRAINT audit_log_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text))
);

ALTER TABLE ONLY public.audit_log FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.audit_log IS 'What was done, by whom, to what: every change of state in the registry and in the products. Append-only; the rows outlive their tenant, with tenant_id NULL.';

COMMENT ON COLUMN public.audit_log.id IS 'Order of writing within this database; never shown.';

COMMENT ON COLUMN public.audit_log.event_id IS 'Public id of the record; the outbox event of the same change is linked by it.';

COMMENT ON COLUMN public.audit_log.tenant_id IS 'NULL for what concerns the platform, and after the tenant was purged.';

COMMENT ON COLUMN public.audit_log.actor_type IS 'operator, service, api_key, user, system.';

COMMENT ON COLUMN public.audit_log.action IS 'noun.verb in the past tense: api_key.created.';

COMMENT ON COLUMN public.audit_log.crud IS 'c, r, u or d: what the action did to its target.';

COMMENT ON COLUMN public.audit_log.group_id IS 'The producer''s own grouping (Retraced: group); the tenant''s customer, for a product.';

COMMENT ON COLUMN public.audit_log.product IS 'The product that reported it; NULL = the registry itself.';

COMMENT ON COLUMN public.audit_log.component IS 'Part of the producer that reported it, with version.';

COMMENT ON COLUMN public.audit_log.external_id IS 'The producer''s own id for the record.';

COMMENT ON COLUMN public.audit_log.request_id IS 'Request that caused it, as in the log line and in the caller''s answer.';

COMMENT ON COLUMN public.audit_log.fields IS 'Searchable key/value strings of the producer.';

COMMENT ON COLUMN public.audit_log.metadata IS 'More about the change, before and after where that helps; never a secret.';

COMMENT ON COLUMN public.audit_log.leaf_hash IS 'RFC 6962 leaf hash, once the record is in the log-integrity tree.';

COMMENT ON COLUMN public.audit_log.log_index IS 'Place in the log-integrity tree; NULL until sequenced.';

COMMENT ON COLUMN public.audit_log.created_at IS 'When it happened, by the producer''s clock.';

COMMENT ON COLUMN public.audit_log.received_at IS 'When it was written here.';

CREATE SEQUENCE public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.audit_log_id_seq OWNED BY public.audit_log.id;

CREATE TABLE public.catalog_state (
    singleton boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    applied_by text,
    applied_at timestamp with time zone,
    CONSTRAINT catalog_state_singleton_check CHECK (singleton)
);

COMMENT ON TABLE public.catalog_state IS 'One row: which catalogue was applied last. Locked by apply, so that two at once take turns.';

COMMENT ON COLUMN public.catalog_state.version IS 'Counts the applies that changed something.';

COMMENT ON COLUMN public.catalog_state.applied_by IS 'Who applied it: kind:id of the principal.';

CREATE TABLE public.change_feed (
    seq bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    kind text NOT NULL,
    tenant_id uuid,
    ref text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT change_feed_kind_check CHECK ((kind <> ''::text))
);

ALTER TABLE ONLY public.change_feed FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.change_feed IS 'Tells the replicas'' caches that a row changed. NOTIFY wakes them, this table is what they catch up from, in commit order by (xid, seq). Pruned after hours, so without foreign keys.';

COMMENT ON COLUMN public.change_feed.kind IS 'The noun that changed: api_key, tenant, project, entitlement, catalog, …';

COMMENT ON COLUMN public.change_feed.tenant_id IS 'The tenant concerned; NULL = the whole platform.';

COMMENT ON COLUMN public.change_feed.ref IS 'Id of what changed; empty = everything of that kind.';

ALTER TABLE public.change_feed ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.change_feed_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.event_floor (
    singleton boolean DEFAULT true NOT NULL,
    xid xid8 DEFAULT '0'::xid8 NOT NULL,
    seq bigint DEFAULT 0 NOT NULL,
    dropped_before timestamp with time zone,
    CONSTRAINT event_floor_singleton_check CHECK (singleton)
);

COMMENT ON TABLE public.event_floor IS 'One row: the last place in the order of tenant_events that retention has dropped. Who reads on from below it has missed something, and is told so.';

COMMENT ON COLUMN public.event_floor.dropped_before IS 'Everything written before is gone; NULL while nothing is.';

CREATE TABLE public.event_marks (
    at timestamp with time zone NOT NULL,
    xid xid8 NOT NULL
);

COMMENT ON TABLE public.event_marks IS 'Where in the order of tenant_events a time lies: no event written at that time or later has an xid below. One row a minute, kept as long as the events are.';

CREATE TABLE public.event_types (
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    schema jsonb DEFAULT '{}'::jsonb NOT NULL,
    built_in boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT event_types_name_check CHECK (((name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'::text) AND (char_length(name) <= 100))),
    CONSTRAINT event_types_schema_check CHECK ((jsonb_typeof(schema) = 'object'::text))
);

COMMENT ON TABLE public.event_types IS 'Events that products and the registry itself emit and webhooks can subscribe to.';

COMMENT ON COLUMN public.event_types.schema IS 'JSON Schema (2020-12) of the payload; {} accepts anything.';

COMMENT ON COLUMN public.event_types.built_in IS 'Emitted by the registry itself; the catalogue can neither change nor remove it.';

CREATE TABLE public.idempotency_keys (
    principal text NOT NULL,
    key text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    body_hash bytea NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    claim uuid NOT NULL,
    status integer,
    headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    response_encrypted bytea,
    locked_until timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_done_check CHECK (((state <> 'done'::text) OR (status IS NOT NULL))),
    CONSTRAINT idempotency_keys_headers_check CHECK ((jsonb_typeof(headers) = 'object'::text)),
    CONSTRAINT idempotency_keys_key_check CHECK (((char_length(key) >= 1) AND (char_length(key) <= 255))),
    CONSTRAINT idempotency_keys_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'applied'::text, 'done'::text]))),
    CONSTRAINT idempotency_keys_status_check CHECK (((status >= 100) AND (status <= 599)))
);

COMMENT ON TABLE public.idempotency_keys IS 'Answers kept for callers that repeat a request with the same Idempotency-Key.';

COMMENT ON COLUMN public.idempotency_keys.principal IS 'kind:id of the caller; keys of different callers never meet.';

COMMENT ON COLUMN public.idempotency_keys.body_hash IS 'SHA-256 of the request body; another body under the same key is refused.';

COMMENT ON COLUMN public.idempotency_keys.state IS 'pending: running; applied: the change committed, the answer is not stored yet; done: the answer can be repeated.';

COMMENT ON COLUMN public.idempotency_keys.claim IS 'The attempt that runs the request. One whose claim was taken over can no longer finish it.';

COMMENT ON COLUMN public.idempotency_keys.response_encrypted IS 'The answer''s body, encrypted: it may hold a secret that is shown once.';

COMMENT ON COLUMN public.idempotency_keys.locked_until IS 'After this a pending request counts as lost and may be taken over.';

CREATE TABLE public.meters (
    name text NOT NULL,
    title text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    unit text DEFAULT ''::text NOT NULL,
    aggregation text DEFAULT 'sum'::text NOT NULL,
    limits jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT meters_aggregation_check CHECK ((aggregation = ANY (ARRAY['sum'::text, 'max'::text, 'last'::text, 'unique'::text]))),
    CONSTRAINT meters_limits_check CHECK ((jsonb_typeof(limits) = 'array'::text)),
    CONSTRAINT meters_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{1,62}$'::text)),
    CONSTRAINT meters_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200)))
);

COMMENT ON TABLE public.meters IS 'What is measured: renders, storage, API calls, users.';

COMMENT ON COLUMN public.meters.unit IS 'Unit of one: render, second, byte, call, user.';

COMMENT ON COLUMN public.meters.aggregation IS 'How the values of a day become one: sum, max, last (a gauge), unique (distinct values).';

COMMENT ON COLUMN public.meters.limits IS 'Limits that plans and tenants can set on it: [{"name": "max_storage_gb", "period": "total", "scale": 1000000000}], where scale says how many of the meter''s units one unit of the limit is. Rows of limits hold the meter''s units.';

CREATE TABLE public.operators (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email public.citext NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    issuer text,
    subject text,
    disabled_at timestamp with time zone,
    last_seen_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT operators_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT operators_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'support'::text, 'viewer'::text]))),
    CONSTRAINT operators_subject_check CHECK (((issuer IS NULL) = (subject IS NULL)))
);

COMMENT ON TABLE public.operators IS 'The platform''s own people.';

COMMENT ON COLUMN public.operators.role IS 'Decides the permissions: owner, admin, support, viewer.';

COMMENT ON COLUMN public.operators.issuer IS 'OIDC issuer whose subject signs in as this operator; NULL = only by access token.';

COMMENT ON COLUMN public.operators.last_seen_at IS 'Written at most once a minute; not part of the ETag.';

CREATE TABLE public.plan_limits (
    plan text NOT NULL,
    meter text NOT NULL,
    period text NOT NULL,
    limit_value bigint,
    unlimited boolean DEFAULT false NOT NULL,
    CONSTRAINT plan_limits_one_check CHECK ((unlimited = (limit_value IS NULL))),
    CONSTRAINT plan_limits_period_check CHECK ((period = ANY (ARRAY['day'::text, 'month'::text, 'year'::text, 'total'::text]))),
    CONSTRAINT plan_limits_value_check CHECK ((limit_value >= 0))
);

COMMENT ON TABLE public.plan_limits IS 'Limits a plan sets. No row: the plan says nothing about the meter, which is not the same as unlimited.';

COMMENT ON COLUMN public.plan_limits.limit_value IS 'The most that may be used in the period; 0 forbids. NULL exactly when unlimited.';

CREATE TABLE public.plan_products (
    plan text NOT NULL,
    product text NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    rate_limits jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT plan_products_config_check CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT plan_products_rate_limits_check CHECK ((jsonb_typeof(rate_limits) = 'array'::text))
);

COMMENT ON TABLE public.plan_products IS 'Products a plan entitles to. A table, not JSON in plans, so that a product in use cannot be removed.';

COMMENT ON COLUMN public.plan_products.config IS 'Configuration of the entitlement, laid over the product''s default_config.';

COMMENT ON COLUMN public.plan_products.rate_limits IS 'Other numbers for limits that the product declares: [{"name": "renders", "limit": 1000, "window": 60}]. Read, never copied.';

CREATE TABLE public.plans (
    name text NOT NULL,
    title text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    trial_days integer DEFAULT 0 NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    archived boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    api_keys jsonb DEFAULT '{}'::jsonb NOT NULL,
    webhooks jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT plans_api_keys_check CHECK ((jsonb_typeof(api_keys) = 'object'::text)),
    CONSTRAINT plans_name_check CHECK ((name ~ '^[a-z][a-z0-9-]{1,62}$'::text)),
    CONSTRAINT plans_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT plans_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200))),
    CONSTRAINT plans_trial_days_check CHECK (((trial_days >= 0) AND (trial_days <= 3650))),
    CONSTRAINT plans_webhooks_check CHECK ((jsonb_typeof(webhooks) = 'object'::text))
);

COMMENT ON TABLE public.plans IS 'What a tenant buys: products with their configuration, limits, settings and a trial period.';

COMMENT ON COLUMN public.plans.trial_days IS 'Length of the evaluation of a new tenant; 0 means that it starts active.';

COMMENT ON COLUMN public.plans.settings IS 'Values of setting definitions that tenants of this plan start from: {name: value}.';

COMMENT ON COLUMN public.plans.archived IS 'Kept for the tenants that have it; new tenants cannot choose it.';

COMMENT ON COLUMN public.plans.api_keys IS 'Bounds of the keys of its tenants: {"max_age_days": 365, "rate_limit_rpm": 600, "max_keys": 20}, each optional. Read when a key is made or changed.';

COMMENT ON COLUMN public.plans.webhooks IS 'Bounds of the webhook endpoints of its tenants: {"max_endpoints": 50}, optional. Read when an endpoint is made.';

CREATE TABLE public.products (
    name text NOT NULL,
    title text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    supports_projects boolean DEFAULT false NOT NULL,
    config_schema jsonb DEFAULT '{}'::jsonb NOT NULL,
    default_config jsonb DEFAULT '{}'::jsonb NOT NULL,
    scopes jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    rate_limits jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT products_config_schema_check CHECK ((jsonb_typeof(config_schema) = 'object'::text)),
    CONSTRAINT products_default_config_check CHECK ((jsonb_typeof(default_config) = 'object'::text)),
    CONSTRAINT products_name_check CHECK ((name ~ '^[a-z][a-z0-9-]{1,62}$'::text)),
    CONSTRAINT products_rate_limits_check CHECK ((jsonb_typeof(rate_limits) = 'array'::text)),
    CONSTRAINT products_scopes_check CHECK ((jsonb_typeof(scopes) = 'array'::text)),
    CONSTRAINT products_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 200)))
);

COMMENT ON TABLE public.products IS 'Products of the platform that tenants can be entitled to, each with the manifest it declared.';

COMMENT ON COLUMN public.products.supports_projects IS 'Whether tenants of this product may divide themselves into projects.';

COMMENT ON COLUMN public.products.config_schema IS 'JSON Schema (2020-12) that tenant_products.config must satisfy; {} accepts anything.';

COMMENT ON COLUMN public.products.default_config IS 'What is in force where the entitlement''s own config says nothing: read, never copied, so that a new default reaches every tenant.';

COMMENT ON COLUMN public.products.scopes IS 'Scopes the product understands: [{"name": "renders:create", "access": "read" | "write", "description": "…"}]. A write scope is refused to a frozen tenant.';

COMMENT ON COLUMN public.products.rate_limits IS 'Named limits of whoever uses the product: as in api_keys, with "per": "tenant" | "key", which says who has a bucket of his own.';

CREATE TABLE public.schema_migrations (
    version bigint NOT NULL,
    dirty boolean NOT NULL
);

COMMENT ON TABLE public.schema_migrations IS 'The migrator''s own state: the version of the schema, and whether the last migration was left half done.';

CREATE TABLE public.service_accounts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    permissions text[] DEFAULT '{}'::text[] NOT NULL,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT service_accounts_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200)))
);

ALTER TABLE ONLY public.service_accounts FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.service_accounts IS 'Programs that call the registry: gateways, products, a reseller''s automation.';

COMMENT ON COLUMN public.service_accounts.tenant_id IS 'Confines the account to this tenant and the tenants below it; NULL = the whole platform.';

COMMENT ON COLUMN public.service_accounts.permissions IS 'Granted permissions, noun:verb.';

CREATE TABLE public.setting_definitions (
    name text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    schema jsonb DEFAULT '{}'::jsonb NOT NULL,
    default_value jsonb DEFAULT 'null'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT setting_definitions_name_check CHECK (((name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'::text) AND (char_length(name) <= 100))),
    CONSTRAINT setting_definitions_schema_check CHECK ((jsonb_typeof(schema) = 'object'::text))
);

COMMENT ON TABLE public.setting_definitions IS 'Settings and feature flags that tenants can have, with schema and default.';

COMMENT ON COLUMN public.setting_definitions.schema IS 'JSON Schema (2020-12) of a value.';

COMMENT ON COLUMN public.setting_definitions.default_value IS 'Value where no tenant on the way to the root sets one; JSON null means none.';

CREATE TABLE public.tenant_api_request_logs (
    id bigint NOT NULL,
    tenant_id uuid NOT NULL,
    api_key_id uuid,
    method text NOT NULL,
    path text NOT NULL,
    status_code integer NOT NULL,
    duration_ms integer NOT NULL,
    request_id uuid NOT NULL,
    user_id uuid,
    ip_address inet,
    user_agent text,
    error_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY public.tenant_api_request_logs FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_api_request_logs IS 'One row an API call of a tenant. Append-only, partitioned by month, without foreign keys; lossy by design, and the drops are counted elsewhere: never bill from it.';

COMMENT ON COLUMN public.tenant_api_request_logs.path IS 'Route template rather than the raw path: no personal data, few distinct values.';

COMMENT ON COLUMN public.tenant_api_request_logs.user_id IS 'The tenant''s user, where the caller told.';

CREATE SEQUENCE public.tenant_api_request_logs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.tenant_api_request_logs_id_seq OWNED BY public.tenant_api_request_logs.id;

CREATE TABLE public.tenant_billing_days (
    tenant_id uuid NOT NULL,
    usage_date date NOT NULL,
    amount_billed numeric(18,4) DEFAULT 0 NOT NULL,
    billing_currency text NOT NULL,
    billing_status text DEFAULT 'pending'::text NOT NULL,
    invoice_ref text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_billing_days_currency_check CHECK ((billing_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT tenant_billing_days_status_check CHECK ((billing_status = ANY (ARRAY['pending'::text, 'invoiced'::text, 'paid'::text])))
);

ALTER TABLE ONLY public.tenant_billing_days FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_billing_days IS 'What a tenant owes for a day, and how far its invoice is.';

COMMENT ON COLUMN public.tenant_billing_days.billing_currency IS 'ISO 4217 code.';

COMMENT ON COLUMN public.tenant_billing_days.billing_status IS 'pending, invoiced, paid; only forward.';

COMMENT ON COLUMN public.tenant_billing_days.invoice_ref IS 'The invoice in Stripe or the ERP.';

CREATE TABLE public.tenant_branding (
    tenant_id uuid NOT NULL,
    display_name text,
    logo_url text,
    logo_dark_url text,
    favicon_url text,
    og_image_url text,
    primary_color text DEFAULT '#3B82F6'::text NOT NULL,
    secondary_color text DEFAULT '#8B5CF6'::text NOT NULL,
    accent_color text,
    background_color text,
    font_family text,
    email_from_name text,
    email_from_address public.citext,
    email_reply_to public.citext,
    email_footer_html text,
    support_url text,
    terms_url text,
    privacy_url text,
    embed_enabled boolean DEFAULT false NOT NULL,
    embed_allowed_hosts text[] DEFAULT '{}'::text[] NOT NULL,
    custom_css text,
    watermark_text text,
    watermark_image_url text,
    watermark_enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_branding_accent_color_check CHECK ((accent_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'::text)),
    CONSTRAINT tenant_branding_background_color_check CHECK ((background_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'::text)),
    CONSTRAINT tenant_branding_primary_color_check CHECK ((primary_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'::text)),
    CONSTRAINT tenant_branding_secondary_color_check CHECK ((secondary_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'::text))
);

ALTER TABLE ONLY public.tenant_branding FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_branding IS 'White label: how a tenant looks to its own users.';

COMMENT ON COLUMN public.tenant_branding.email_footer_html IS 'Sanitised HTML.';

COMMENT ON COLUMN public.tenant_branding.embed_allowed_hosts IS 'Hosts whose pages may frame the tenant''s studio.';

COMMENT ON COLUMN public.tenant_branding.custom_css IS 'Sanitised CSS for advanced tenants.';

COMMENT ON COLUMN public.tenant_branding.watermark_text IS 'Mark on what free users produce; a reseller may set its own.';

CREATE TABLE public.tenant_domain_verifications (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    domain public.citext NOT NULL,
    method text NOT NULL,
    challenge_token text NOT NULL,
    verified boolean DEFAULT false NOT NULL,
    verified_at timestamp with time zone,
    last_checked_at timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_domain_verifications_method_check CHECK ((method = ANY (ARRAY['DNS_TXT'::text, 'HTTP_FILE'::text]))),
    CONSTRAINT tenant_domain_verifications_verified_check CHECK ((verified = (verified_at IS NOT NULL)))
);

ALTER TABLE ONLY public.tenant_domain_verifications FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_domain_verifications IS 'Challenges by which a tenant proves that a domain is its own.';

COMMENT ON COLUMN public.tenant_domain_verifications.method IS 'DNS_TXT (a TXT record) or HTTP_FILE (a file the host serves).';

COMMENT ON COLUMN public.tenant_domain_verifications.challenge_token IS 'What must be found there. Not a secret: it is published.';

CREATE TABLE public.tenant_domains (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    domain public.citext NOT NULL,
    purpose text NOT NULL,
    is_primary boolean DEFAULT false NOT NULL,
    verified_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_domains_domain_check CHECK ((((domain)::text ~* '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'::text) AND (char_length((domain)::text) <= 253))),
    CONSTRAINT tenant_domains_primary_check CHECK (((NOT is_primary) OR (verified_at IS NOT NULL))),
    CONSTRAINT tenant_domains_purpose_check CHECK ((purpose = ANY (ARRAY['host'::text, 'email'::text])))
);

ALTER TABLE ONLY public.tenant_domains FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_domains IS 'Domains of tenants: hosts that serve them and e-mail domains that tell whose sign-in it is.';

COMMENT ON COLUMN public.tenant_domains.purpose IS 'host (custom domain of the platform''s pages) or email (home-realm discovery).';

COMMENT ON COLUMN public.tenant_domains.verified_at IS 'When ownership was last proved; NULL = claimed only, and never served.';

CREATE TABLE public.tenant_events (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    project_id uuid,
    type text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    actor_type text,
    actor_id text,
    request_id text,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    seq bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    occurred_at timestamp with time zone,
    CONSTRAINT tenant_events_payload_check CHECK ((jsonb_typeof(payload) = 'object'::text)),
    CONSTRAINT tenant_events_type_check CHECK ((type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'::text))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY public.tenant_events FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_events IS 'What happened, with the payload, in commit order: the outbox of webhooks and of the events API. Append-only, partitioned by month, without foreign keys.';

COMMENT ON COLUMN public.tenant_events.tenant_id IS 'The tenant concerned; the internal tenant for what concerns the whole platform.';

COMMENT ON COLUMN public.tenant_events.actor_type IS 'Who did it, as in the audit record: operator, service, api_key, user, system.';

COMMENT ON COLUMN public.tenant_events.xid IS 'Transaction that wrote it: first half of the commit order.';

COMMENT ON COLUMN public.tenant_events.seq IS 'Order within that transaction: second half.';

COMMENT ON COLUMN public.tenant_events.created_at IS 'When it was written; decides the partition. Writers set clock_timestamp(), so that a transaction that began before midnight of a month''s end lands in a partition that exists.';

COMMENT ON COLUMN public.tenant_events.occurred_at IS 'When it happened, by the product that published it; NULL: when it was written.';

CREATE SEQUENCE public.tenant_events_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.tenant_events_seq_seq OWNED BY public.tenant_events.seq;

CREATE TABLE public.tenant_idp_config (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    type public.idp_kind NOT NULL,
    state text DEFAULT 'draft'::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    secrets_encrypted bytea,
    verified boolean DEFAULT false NOT NULL,
    verified_at timestamp with time zone,
    last_checked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_idp_config_active_check CHECK (((state <> 'active'::text) OR verified)),
    CONSTRAINT tenant_idp_config_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tenant_idp_config_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tenant_idp_config_state_check CHECK ((state = ANY (ARRAY['draft'::text, 'testing'::text, 'active'::text, 'disabled'::text]))),
    CONSTRAINT tenant_idp_config_verified_check CHECK (((NOT verified) OR (verified_at IS NOT NULL)))
);

ALTER TABLE ONLY public.tenant_idp_config FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_idp_config IS 'Identity providers of tenants (enterprise sign-in); a tenant may have several connections.';

COMMENT ON COLUMN public.tenant_idp_config.metadata IS 'What is public of the connection: OIDC issuer and client_id, or SAML entity_id and certificates.';

COMMENT ON COLUMN public.tenant_idp_config.secrets_encrypted IS 'Client secret or private key under envelope encryption; written, never shown.';

COMMENT ON COLUMN public.tenant_idp_config.verified IS 'Set by a successful check only, never by a caller.';

CREATE TABLE public.tenant_limits (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    period text NOT NULL,
    limit_value bigint,
    unlimited boolean DEFAULT false NOT NULL,
    source text DEFAULT 'override'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_limits_one_check CHECK ((unlimited = (limit_value IS NULL))),
    CONSTRAINT tenant_limits_period_check CHECK ((period = ANY (ARRAY['day'::text, 'month'::text, 'year'::text, 'total'::text]))),
    CONSTRAINT tenant_limits_source_check CHECK ((source = ANY (ARRAY['plan'::text, 'override'::text]))),
    CONSTRAINT tenant_limits_value_check CHECK ((limit_value >= 0))
);

ALTER TABLE ONLY public.tenant_limits FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_limits IS 'How much of a meter a tenant may use in a period.';

COMMENT ON COLUMN public.tenant_limits.limit_value IS 'The most that may be used in the period; 0 forbids. NULL exactly when unlimited.';

COMMENT ON COLUMN public.tenant_limits.source IS 'plan (follows a change of plan) or override (an operator decided).';

CREATE TABLE public.tenant_products (
    tenant_id uuid NOT NULL,
    product text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    source text DEFAULT 'override'::text NOT NULL,
    expires_at timestamp with time zone,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_products_config_check CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT tenant_products_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tenant_products_source_check CHECK ((source = ANY (ARRAY['plan'::text, 'override'::text, 'trial'::text])))
);

ALTER TABLE ONLY public.tenant_products FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_products IS 'Entitlements: which tenant has which product, with which configuration, until when.';

COMMENT ON COLUMN public.tenant_products.config IS 'Product-specific knobs (litellm_url, max_seats, modules_enabled, …), valid by products.config_schema.';

COMMENT ON COLUMN public.tenant_products.source IS 'Why the tenant has it: plan (follows a change of plan), override (an operator decided), trial.';

COMMENT ON COLUMN public.tenant_products.expires_at IS 'From this instant on the tenant is not entitled; NULL = no end.';

CREATE TABLE public.tenant_projects (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    slug text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    status public.tenant_project_status DEFAULT 'active'::public.tenant_project_status NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_projects_archived_check CHECK (((status = 'archived'::public.tenant_project_status) = (archived_at IS NOT NULL))),
    CONSTRAINT tenant_projects_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tenant_projects_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tenant_projects_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$'::text))
);

ALTER TABLE ONLY public.tenant_projects FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_projects IS 'Optional sub-tenancy. A tenant without explicit projects works as one implicit default project, which has no row.';

COMMENT ON COLUMN public.tenant_projects.metadata IS 'The caller''s own JSON object; never interpreted.';

CREATE TABLE public.tenant_rate_limits (
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    product text,
    limit_value bigint NOT NULL,
    window_secs integer NOT NULL,
    burst bigint,
    named_only boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_rate_limits_burst_check CHECK (((burst >= 1) AND (burst <= limit_value))),
    CONSTRAINT tenant_rate_limits_limit_value_check CHECK (((limit_value >= 1) AND (limit_value <= 1000000000))),
    CONSTRAINT tenant_rate_limits_name_check CHECK ((name ~ '^[a-z][a-z0-9_-]{0,39}$'::text)),
    CONSTRAINT tenant_rate_limits_window_secs_check CHECK (((window_secs >= 1) AND (window_secs <= 2678400)))
);

ALTER TABLE ONLY public.tenant_rate_limits FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_rate_limits IS 'Named limits on how often, shared by all keys of a tenant; how much in a day or month is tenant_limits. One takes the place of the limit of its name that a product declares.';

COMMENT ON COLUMN public.tenant_rate_limits.product IS 'Counts only what is done with this product; NULL = everything.';

COMMENT ON COLUMN public.tenant_rate_limits.limit_value IS 'Units in a window.';

COMMENT ON COLUMN public.tenant_rate_limits.window_secs IS 'Seconds in which limit_value units come back.';

COMMENT ON COLUMN public.tenant_rate_limits.burst IS 'How many units may come at once; NULL = limit_value.';

COMMENT ON COLUMN public.tenant_rate_limits.named_only IS 'Spent from only by verifications that name it.';

CREATE TABLE public.tenant_settings (
    tenant_id uuid NOT NULL,
    default_locale text,
    supported_locales text[],
    default_currency text,
    payment_gateways text[],
    webhook_signing_secret_encrypted bytea,
    features jsonb DEFAULT '{}'::jsonb NOT NULL,
    "values" jsonb DEFAULT '{}'::jsonb NOT NULL,
    locked text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_settings_default_currency_check CHECK ((default_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT tenant_settings_features_check CHECK ((jsonb_typeof(features) = 'object'::text)),
    CONSTRAINT tenant_settings_supported_locales_check CHECK ((cardinality(supported_locales) > 0)),
    CONSTRAINT tenant_settings_values_check CHECK ((jsonb_typeof("values") = 'object'::text))
);

ALTER TABLE ONLY public.tenant_settings FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_settings IS 'Settings a tenant sets itself. NULL, or a key that is absent, inherits: from the parent, its plan, then the definition''s default.';

COMMENT ON COLUMN public.tenant_settings.default_locale IS 'BCP 47 tag; NULL inherits.';

COMMENT ON COLUMN public.tenant_settings.default_currency IS 'ISO 4217 code; NULL inherits.';

COMMENT ON COLUMN public.tenant_settings.payment_gateways IS 'Gateways that the tenant''s users may pay by; NULL inherits, {} allows none.';

COMMENT ON COLUMN public.tenant_settings.webhook_signing_secret_encrypted IS 'Signing secret of endpoints that have none of their own; encrypted, write-only.';

COMMENT ON COLUMN public.tenant_settings.features IS 'Feature flags: {name: value}.';

COMMENT ON COLUMN public.tenant_settings."values" IS 'Values of setting_definitions: {name: value}.';

COMMENT ON COLUMN public.tenant_settings.locked IS 'Keys that tenants below this one cannot change.';

CREATE TABLE public.tenant_usage_counters (
    tenant_id uuid NOT NULL,
    meter text NOT NULL,
    period text NOT NULL,
    period_start date NOT NULL,
    used numeric DEFAULT 0 NOT NULL,
    CONSTRAINT tenant_usage_counters_period_check CHECK ((period = ANY (ARRAY['day'::text, 'month'::text, 'year'::text, 'total'::text])))
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.tenant_usage_counters FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_usage_counters IS 'Use so far in the current period of each limit, kept with the events so that a limit is one row to check.';

COMMENT ON COLUMN public.tenant_usage_counters.period_start IS 'First day of the period, UTC; 0001-01-01 for total.';

CREATE TABLE public.tenant_usage_daily (
    tenant_id uuid NOT NULL,
    usage_date date NOT NULL,
    meter text NOT NULL,
    value numeric DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.tenant_usage_daily FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_usage_daily IS 'Usage of a tenant per day and meter: what limits, reports and bills are made from.';

COMMENT ON COLUMN public.tenant_usage_daily.usage_date IS 'Day in UTC.';

COMMENT ON COLUMN public.tenant_usage_daily.value IS 'The day''s events, aggregated as the meter says.';

CREATE VIEW public.tenant_usage_daily_wide WITH (security_invoker='true') AS
 WITH usage AS (
         SELECT tenant_usage_daily.tenant_id,
            tenant_usage_daily.usage_date,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'renders_started'::text)), (0)::numeric))::integer AS renders_started,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'renders_completed'::text)), (0)::numeric))::integer AS renders_completed,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'renders_failed'::text)), (0)::numeric))::integer AS renders_failed,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'render_seconds'::text)), (0)::numeric))::bigint AS render_seconds,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'render_compute_sec'::text)), (0)::numeric))::bigint AS render_compute_sec,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'storage_bytes'::text)), (0)::numeric))::bigint AS storage_bytes,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'api_calls'::text)), (0)::numeric))::bigint AS api_calls,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'api_4xx'::text)), (0)::numeric))::bigint AS api_4xx,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'api_5xx'::text)), (0)::numeric))::bigint AS api_5xx,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'active_users'::text)), (0)::numeric))::integer AS active_users,
            (COALESCE(sum(tenant_usage_daily.value) FILTER (WHERE (tenant_usage_daily.meter = 'new_users'::text)), (0)::numeric))::integer AS new_users,
            min(tenant_usage_daily.created_at) AS created_at,
            max(tenant_usage_daily.updated_at) AS updated_at
           FROM public.tenant_usage_daily
          GROUP BY tenant_usage_daily.tenant_id, tenant_usage_daily.usage_date
        )
 SELECT hashtextextended(((tenant_id)::text || (usage_date)::text), (0)::bigint) AS id,
    tenant_id,
    usage_date,
    COALESCE(u.renders_started, 0) AS renders_started,
    COALESCE(u.renders_completed, 0) AS renders_completed,
    COALESCE(u.renders_failed, 0) AS renders_failed,
    COALESCE(u.render_seconds, (0)::bigint) AS render_seconds,
    COALESCE(u.render_compute_sec, (0)::bigint) AS render_compute_sec,
    COALESCE(u.storage_bytes, (0)::bigint) AS storage_bytes,
    COALESCE(u.api_calls, (0)::bigint) AS api_calls,
    COALESCE(u.api_4xx, (0)::bigint) AS api_4xx,
    COALESCE(u.api_5xx, (0)::bigint) AS api_5xx,
    COALESCE(u.active_users, 0) AS active_users,
    COALESCE(u.new_users, 0) AS new_users,
    (COALESCE(b.amount_billed, (0)::numeric))::numeric(14,2) AS amount_billed,
    COALESCE(b.billing_currency, s.default_currency, 'IRR'::text) AS billing_currency,
    initcap(COALESCE(b.billing_status, 'pending'::text)) AS billing_status,
    LEAST(u.created_at, b.created_at) AS created_at,
    GREATEST(u.updated_at, b.updated_at) AS updated_at
   FROM ((usage u
     FULL JOIN public.tenant_billing_days b USING (tenant_id, usage_date))
     LEFT JOIN public.tenant_settings s USING (tenant_id));

COMMENT ON VIEW public.tenant_usage_daily_wide IS 'Daily usage and billing in one row a day, for reports that want a column a meter.';

COMMENT ON COLUMN public.tenant_usage_daily_wide.id IS 'Stable number of the row, derived from tenant and day.';

COMMENT ON COLUMN public.tenant_usage_daily_wide.billing_status IS 'Pending, Invoiced or Paid.';

CREATE TABLE public.tenant_usage_dedupe (
    tenant_id uuid NOT NULL,
    key_hash bytea NOT NULL,
    received_on date DEFAULT CURRENT_DATE NOT NULL,
    CONSTRAINT tenant_usage_dedupe_key_hash_check CHECK ((octet_length(key_hash) = 16))
);

ALTER TABLE ONLY public.tenant_usage_dedupe FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_usage_dedupe IS 'Usage events already counted. Apart from the events, because a key that is unique over all months cannot live on a table partitioned by month. Rows are purged when the window for late events is over.';

COMMENT ON COLUMN public.tenant_usage_dedupe.key_hash IS 'SHA-256 of source, 0x1f and event_key, its first 16 bytes.';

CREATE TABLE public.tenant_usage_events (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    project_id uuid,
    api_key_id uuid,
    source text DEFAULT ''::text NOT NULL,
    event_key text NOT NULL,
    meter text NOT NULL,
    value numeric DEFAULT 1 NOT NULL,
    dimensions jsonb DEFAULT '{}'::jsonb NOT NULL,
    reversal_of uuid,
    occurred_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_usage_events_dimensions_check CHECK ((jsonb_typeof(dimensions) = 'object'::text))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY public.tenant_usage_events FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_usage_events IS 'What was used, one row an event. Append-only, partitioned by the month of arrival, without foreign keys; corrections are reversal events.';

COMMENT ON COLUMN public.tenant_usage_events.source IS 'Producer of the event (CloudEvents: source).';

COMMENT ON COLUMN public.tenant_usage_events.event_key IS 'The producer''s id of the event (CloudEvents: id); counted once per tenant and source.';

COMMENT ON COLUMN public.tenant_usage_events.reversal_of IS 'The event this one takes back.';

COMMENT ON COLUMN public.tenant_usage_events.occurred_at IS 'When it was used; decides the day it counts for.';

COMMENT ON COLUMN public.tenant_usage_events.created_at IS 'When it arrived; decides the partition.';

CREATE TABLE public.tenant_webhook_attempts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    succeeded boolean DEFAULT false NOT NULL,
    request_url text NOT NULL,
    request_headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    response_status integer,
    response_headers jsonb,
    response_body text,
    duration_ms integer,
    dns_us integer,
    connect_us integer,
    tls_us integer,
    first_byte_us integer,
    error_class text,
    error_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_webhook_attempts_attempt_check CHECK ((attempt > 0)),
    CONSTRAINT tenant_webhook_attempts_error_check CHECK ((succeeded = (error_class IS NULL))),
    CONSTRAINT tenant_webhook_attempts_headers_check CHECK ((jsonb_typeof(request_headers) = 'object'::text))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY public.tenant_webhook_attempts FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_webhook_attempts IS 'One try of one delivery. Append-only, partitioned by month, without foreign keys.';

COMMENT ON COLUMN public.tenant_webhook_attempts.request_headers IS 'As sent; the signature and the values of the endpoint''s own headers are left out.';

COMMENT ON COLUMN public.tenant_webhook_attempts.response_body IS 'The beginning of the answer only.';

COMMENT ON COLUMN public.tenant_webhook_attempts.duration_ms IS 'All of it, up to the end of the answer.';

COMMENT ON COLUMN public.tenant_webhook_attempts.dns_us IS 'Looking up the host, in microseconds; NULL when a connection was there already. Likewise connect_us and tls_us.';

COMMENT ON COLUMN public.tenant_webhook_attempts.first_byte_us IS 'From the request''s end to the answer''s first byte, in microseconds.';

COMMENT ON COLUMN public.tenant_webhook_attempts.error_class IS 'What went wrong, in one word; NULL when nothing did.';

CREATE TABLE public.tenant_webhook_deliveries (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    reason text,
    attempts integer DEFAULT 0 NOT NULL,
    next_retry_at timestamp with time zone,
    claimed_until timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    last_status integer,
    delivered_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts_before integer DEFAULT 0 NOT NULL,
    CONSTRAINT tenant_webhook_deliveries_attempts_before_check CHECK (((attempts_before >= 0) AND (attempts_before <= attempts))),
    CONSTRAINT tenant_webhook_deliveries_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT tenant_webhook_deliveries_claimed_check CHECK (((state = 'claimed'::text) = (claimed_until IS NOT NULL))),
    CONSTRAINT tenant_webhook_deliveries_delivered_check CHECK (((state = 'delivered'::text) = (delivered_at IS NOT NULL))),
    CONSTRAINT tenant_webhook_deliveries_pending_check CHECK (((state = 'pending'::text) = (next_retry_at IS NOT NULL))),
    CONSTRAINT tenant_webhook_deliveries_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'claimed'::text, 'held'::text, 'delivered'::text, 'failed'::text, 'skipped'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY public.tenant_webhook_deliveries FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_webhook_deliveries IS 'One event on its way to one endpoint: the queue, and what became of it. Partitioned by month, without foreign keys: it outlives its endpoint.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.id IS 'Made from event_id and webhook_id, so that an event is never queued twice for an endpoint.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.event_id IS 'The event in tenant_events; the same for every endpoint and every attempt.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.state IS 'pending (due at next_retry_at), claimed (a sender has it until claimed_until), held (the tenant is suspended), delivered, failed, skipped (the endpoint was not active) or cancelled.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.reason IS 'Why it is held, failed, skipped or cancelled.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.attempts IS 'Tries so far; each is a row of tenant_webhook_attempts.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.expires_at IS 'Not sent any more after this time, whatever held it up.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.last_status IS 'The status that the last attempt was answered with; NULL when it was not answered.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.created_at IS 'The event''s own created_at: both are dropped with the same month.';

COMMENT ON COLUMN public.tenant_webhook_deliveries.attempts_before IS 'Tries before it was last recovered: the schedule begins anew behind them.';

CREATE TABLE public.tenant_webhooks (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    project_id uuid,
    name text NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    headers_encrypted bytea,
    secret_encrypted bytea NOT NULL,
    signatures text[] DEFAULT '{v1}'::text[] NOT NULL,
    rate_limit integer,
    rate_period text DEFAULT 'second'::text NOT NULL,
    max_in_flight integer DEFAULT 10 NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    status_reason text DEFAULT ''::text NOT NULL,
    is_active boolean GENERATED ALWAYS AS ((status = 'active'::text)) STORED NOT NULL,
    disabled_at timestamp with time zone,
    last_triggered_at timestamp with time zone,
    last_status_code integer,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    first_failure_at timestamp with time zone,
    warned_percent integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_webhooks_consecutive_failures_check CHECK ((consecutive_failures >= 0)),
    CONSTRAINT tenant_webhooks_description_check CHECK ((char_length(description) <= 1000)),
    CONSTRAINT tenant_webhooks_disabled_check CHECK (((status = 'disabled'::text) = (disabled_at IS NOT NULL))),
    CONSTRAINT tenant_webhooks_events_check CHECK ((cardinality(events) > 0)),
    CONSTRAINT tenant_webhooks_first_failure_check CHECK (((consecutive_failures = 0) = (first_failure_at IS NULL))),
    CONSTRAINT tenant_webhooks_max_in_flight_check CHECK (((max_in_flight >= 1) AND (max_in_flight <= 100))),
    CONSTRAINT tenant_webhooks_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tenant_webhooks_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tenant_webhooks_rate_limit_check CHECK ((rate_limit > 0)),
    CONSTRAINT tenant_webhooks_rate_period_check CHECK ((rate_period = ANY (ARRAY['second'::text, 'minute'::text]))),
    CONSTRAINT tenant_webhooks_signatures_check CHECK (((cardinality(signatures) > 0) AND (signatures <@ '{v1,v1a}'::text[]))),
    CONSTRAINT tenant_webhooks_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text, 'disabled'::text]))),
    CONSTRAINT tenant_webhooks_url_check CHECK (((url ~ '^https?://'::text) AND (char_length(url) <= 2000))),
    CONSTRAINT tenant_webhooks_warned_percent_check CHECK (((warned_percent >= 0) AND (warned_percent <= 100)))
)
WITH (fillfactor='70');

ALTER TABLE ONLY public.tenant_webhooks FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_webhooks IS 'Endpoints of tenants that want to be told what happened.';

COMMENT ON COLUMN public.tenant_webhooks.project_id IS 'NULL: events of the whole tenant, those of its projects included.';

COMMENT ON COLUMN public.tenant_webhooks.events IS 'Subscribed event types: exact (render.completed), render.* or *.';

COMMENT ON COLUMN public.tenant_webhooks.headers_encrypted IS 'Headers to send along, as JSON under envelope encryption: they may hold a credential of the receiver.';

COMMENT ON COLUMN public.tenant_webhooks.secret_encrypted IS 'Signing secrets, each with its version and end, as JSON under envelope encryption; each is shown once.';

COMMENT ON COLUMN public.tenant_webhooks.signatures IS 'Versions of Standard Webhooks signatures to send: v1 (HMAC-SHA256), v1a (ed25519).';

COMMENT ON COLUMN public.tenant_webhooks.rate_limit IS 'Requests per rate_period at most; NULL: as many as max_in_flight lets through.';

COMMENT ON COLUMN public.tenant_webhooks.max_in_flight IS 'Requests under way at a time.';

COMMENT ON COLUMN public.tenant_webhooks.status_reason IS 'Why it is paused or disabled: failing or gone, when landlord did it, else what a person said.';

COMMENT ON COLUMN public.tenant_webhooks.is_active IS 'Whether status is active.';

COMMENT ON COLUMN public.tenant_webhooks.last_triggered_at IS 'When a request last ended, to the second or so.';

COMMENT ON COLUMN public.tenant_webhooks.consecutive_failures IS 'Failed requests since the last success.';

COMMENT ON COLUMN public.tenant_webhooks.first_failure_at IS 'When the first of them was.';

COMMENT ON COLUMN public.tenant_webhooks.warned_percent IS 'How far towards being disabled the last warning was: 0, 50, 70 or 90.';

CREATE VIEW public.tenant_webhook_deliveries_wide WITH (security_invoker='true') AS
 SELECT COALESCE(a.id, d.id) AS id,
    d.webhook_id,
    d.tenant_id,
    d.event_type,
    d.event_id,
    e.payload,
    COALESCE(a.request_url, w.url) AS request_url,
    a.response_status,
    a.response_body,
    a.duration_ms,
    COALESCE(a.attempt, 1) AS attempt,
    COALESCE(a.succeeded, false) AS succeeded,
        CASE
            WHEN (COALESCE(a.attempt, 0) = d.attempts) THEN d.next_retry_at
            ELSE NULL::timestamp with time zone
        END AS next_retry_at,
    a.error_message,
        CASE
            WHEN a.succeeded THEN d.delivered_at
            ELSE NULL::timestamp with time zone
        END AS delivered_at,
    COALESCE(a.created_at, d.created_at) AS created_at
   FROM (((public.tenant_webhook_deliveries d
     LEFT JOIN public.tenant_webhook_attempts a ON (((a.tenant_id = d.tenant_id) AND (a.delivery_id = d.id))))
     LEFT JOIN public.tenant_events e ON (((e.tenant_id = d.tenant_id) AND (e.id = d.event_id) AND (e.created_at = d.created_at))))
     LEFT JOIN public.tenant_webhooks w ON (((w.tenant_id = d.tenant_id) AND (w.id = d.webhook_id))));

COMMENT ON VIEW public.tenant_webhook_deliveries_wide IS 'Deliveries and their attempts under the column names of the reseller platform''s schema: one row a try, and one for what was not tried yet.';

CREATE TABLE public.tenant_webhook_stats (
    tenant_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    hour timestamp with time zone NOT NULL,
    attempts bigint NOT NULL,
    failures bigint NOT NULL,
    durations bigint[] NOT NULL,
    last_failure_at timestamp with time zone,
    last_failure text,
    CONSTRAINT tenant_webhook_stats_attempts_check CHECK (((attempts > 0) AND ((failures >= 0) AND (failures <= attempts)))),
    CONSTRAINT tenant_webhook_stats_hour_check CHECK ((hour = date_trunc('hour'::text, hour, 'UTC'::text)))
)
PARTITION BY RANGE (hour);

ALTER TABLE ONLY public.tenant_webhook_stats FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenant_webhook_stats IS 'Requests to an endpoint, by the hour in which they were made. Partitioned by month, without foreign keys: it outlives its endpoint.';

COMMENT ON COLUMN public.tenant_webhook_stats.durations IS 'How many requests took how long: entry n counts those of up to 1.25^(n-1) ms that were longer than the one before, and the last all longer ones.';

COMMENT ON COLUMN public.tenant_webhook_stats.last_failure IS 'The class of the last failed request, as in tenant_webhook_attempts.';

CREATE TABLE public.tenants (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    status public.tenant_status DEFAULT 'trial'::public.tenant_status NOT NULL,
    kind public.tenant_kind DEFAULT 'customer'::public.tenant_kind NOT NULL,
    plan text DEFAULT 'starter'::text NOT NULL,
    parent_id uuid,
    ancestors uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    path bytea GENERATED ALWAYS AS (((((COALESCE(uuid_send(ancestors[1]), '\x'::bytea) || COALESCE(uuid_send(ancestors[2]), '\x'::bytea)) || COALESCE(uuid_send(ancestors[3]), '\x'::bytea)) || COALESCE(uuid_send(ancestors[4]), '\x'::bytea)) || uuid_send(id))) STORED NOT NULL,
    external_id text,
    erp_customer_id text,
    stripe_cust_id text,
    trial_ends_at timestamp with time zone,
    contract_start date,
    contract_end date,
    sales_owner text,
    contact_name text,
    contact_email public.citext,
    contact_phone text,
    billing_email public.citext,
    allowed_origins text[] DEFAULT '{}'::text[] NOT NULL,
    status_before_suspension public.tenant_status,
    suspended_at timestamp with time zone,
    suspension_reason text,
    frozen_at timestamp with time zone,
    freeze_reason text,
    archive_due_at timestamp with time zone,
    archived_at timestamp with time zone,
    purge_due_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    cancel_reason text,
    legal_hold boolean DEFAULT false NOT NULL,
    legal_hold_reason text,
    status_locked boolean DEFAULT false NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    deleted_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_ancestors_depth_check CHECK ((cardinality(ancestors) <= 4)),
    CONSTRAINT tenants_ancestors_parent_check CHECK ((((parent_id IS NULL) = (ancestors = '{}'::uuid[])) AND ((parent_id IS NULL) OR (ancestors[cardinality(ancestors)] = parent_id)) AND (NOT (id = ANY (ancestors))))),
    CONSTRAINT tenants_archived_check CHECK (((status <> 'archived'::public.tenant_status) OR (archived_at IS NOT NULL))),
    CONSTRAINT tenants_contract_check CHECK ((contract_end >= contract_start)),
    CONSTRAINT tenants_frozen_check CHECK (((status <> 'frozen'::public.tenant_status) OR (frozen_at IS NOT NULL))),
    CONSTRAINT tenants_legal_hold_check CHECK (((NOT legal_hold) OR (legal_hold_reason IS NOT NULL))),
    CONSTRAINT tenants_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT tenants_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT tenants_parent_not_self_check CHECK ((parent_id <> id)),
    CONSTRAINT tenants_slug_check CHECK ((slug ~ '^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$'::text)),
    CONSTRAINT tenants_status_before_suspension_check CHECK ((status_before_suspension = ANY (ARRAY['trial'::public.tenant_status, 'active'::public.tenant_status, 'frozen'::public.tenant_status]))),
    CONSTRAINT tenants_suspended_check CHECK (((status <> 'suspended'::public.tenant_status) OR ((suspended_at IS NOT NULL) AND (suspension_reason IS NOT NULL) AND (status_before_suspension IS NOT NULL))))
);

ALTER TABLE ONLY public.tenants FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE public.tenants IS 'Who the tenants are: identity, place in the tree, plan, contacts and lifecycle.';

COMMENT ON COLUMN public.tenants.slug IS 'Name in URLs and commands; unique, also after archiving.';

COMMENT ON COLUMN public.tenants.status IS 'The tenant''s own status. The effective one is the strictest of its own and its ancestors''.';

COMMENT ON COLUMN public.tenants.parent_id IS 'The reseller above this tenant; NULL at the root.';

COMMENT ON COLUMN public.tenants.ancestors IS 'Ids from the root down to the parent, self not included: at most 4, so the tree is at most 5 deep. Kept by the registry whenever a tenant moves.';

COMMENT ON COLUMN public.tenants.path IS 'Tree order: a tenant sorts right before those below it, so that a subtree is a range. Bytes, because under row-level security an index serves only operators that are leakproof, which those of arrays are not.';

COMMENT ON COLUMN public.tenants.external_id IS 'The caller''s own id for this tenant.';

COMMENT ON COLUMN public.tenants.erp_customer_id IS 'Customer in the ERP.';

COMMENT ON COLUMN public.tenants.stripe_cust_id IS 'Customer in Stripe (cus_…).';

COMMENT ON COLUMN public.tenants.trial_ends_at IS 'When a trial tenant freezes. Kept afterwards.';

COMMENT ON COLUMN public.tenants.contract_end IS 'Last day of the contract; an active tenant freezes on the day after.';

COMMENT ON COLUMN public.tenants.sales_owner IS 'Who of the platform''s own people looks after the tenant.';

COMMENT ON COLUMN public.tenants.allowed_origins IS 'Web origins that may call the platform from a browser on behalf of this tenant (CORS).';

COMMENT ON COLUMN public.tenants.status_before_suspension IS 'Where resume returns to.';

COMMENT ON COLUMN public.tenants.archive_due_at IS 'When a frozen tenant is archived.';

COMMENT ON COLUMN public.tenants.purge_due_at IS 'When an archived tenant''s data is purged, unless a legal hold blocks it.';

COMMENT ON COLUMN public.tenants.cancelled_at IS 'When the tenant gave notice; it freezes then, and can be reactivated until archived.';

COMMENT ON COLUMN public.tenants.legal_hold IS 'Blocks purge whatever its date says.';

COMMENT ON COLUMN public.tenants.status_locked IS 'The platform itself froze, suspended or archived the tenant: a reseller above it can''t undo that.';

COMMENT ON COLUMN public.tenants.metadata IS 'The caller''s own JSON object; never interpreted, filterable by key.';

COMMENT ON COLUMN public.tenants.deleted_at IS 'Set when an archived tenant was deleted: only the platform sees it, until it is restored or purged.';

CREATE TABLE public.webhook_outbox (
    singleton boolean DEFAULT true NOT NULL,
    done pg_snapshot NOT NULL,
    target pg_snapshot,
    xid xid8,
    seq bigint,
    CONSTRAINT webhook_outbox_page_check CHECK ((((target IS NULL) = (xid IS NULL)) AND ((target IS NULL) = (seq IS NULL)))),
    CONSTRAINT webhook_outbox_singleton_check CHECK (singleton)
)
WITH (fillfactor='10');

COMMENT ON TABLE public.webhook_outbox IS 'One row: which events of tenant_events have become deliveries.';

COMMENT ON COLUMN public.webhook_outbox.done IS 'Every event that this snapshot sees has.';

COMMENT ON COLUMN public.webhook_outbox.target IS 'While too many are left for one transaction: those that this snapshot sees are being gone through, in order, up to (xid, seq). NULL otherwise.';

CREATE TABLE public.webhook_senders (
    id uuid NOT NULL,
    seen_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE public.webhook_senders IS 'Replicas that send webhooks, each seen within the last seconds.';

ALTER TABLE ONLY public.audit_log ALTER COLUMN id SET DEFAULT nextval('public.audit_log_id_seq'::regclass);

ALTER TABLE ONLY public.tenant_api_request_logs ALTER COLUMN id SET DEFAULT nextval('public.tenant_api_request_logs_id_seq'::regclass);

ALTER TABLE ONLY public.tenant_events ALTER COLUMN seq SET DEFAULT nextval('public.tenant_events_seq_seq'::regclass);

ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT access_tokens_hash_key UNIQUE (hash);

ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT access_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_key_flushes
    ADD CONSTRAINT api_key_flushes_pkey PRIMARY KEY (replica);

ALTER TABLE ONLY public.api_key_leaks
    ADD CONSTRAINT api_key_leaks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_tenant_id_id_key UNIQUE (tenant_id, id);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_event_id_key UNIQUE (event_id);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_log_index_key UNIQUE (log_index);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.catalog_state
    ADD CONSTRAINT catalog_state_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.change_feed
    ADD CONSTRAINT change_feed_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY public.event_floor
    ADD CONSTRAINT event_floor_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.event_marks
    ADD CONSTRAINT event_marks_pkey PRIMARY KEY (at);

ALTER TABLE ONLY public.event_types
    ADD CONSTRAINT event_types_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key);

ALTER TABLE ONLY public.meters
    ADD CONSTRAINT meters_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_email_key UNIQUE (email);

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_issuer_subject_key UNIQUE (issuer, subject);

ALTER TABLE ONLY public.operators
    ADD CONSTRAINT operators_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.plan_limits
    ADD CONSTRAINT plan_limits_pkey PRIMARY KEY (plan, meter, period);

ALTER TABLE ONLY public.plan_products
    ADD CONSTRAINT plan_products_pkey PRIMARY KEY (plan, product);

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.service_accounts
    ADD CONSTRAINT service_accounts_name_key UNIQUE (name);

ALTER TABLE ONLY public.service_accounts
    ADD CONSTRAINT service_accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.setting_definitions
    ADD CONSTRAINT setting_definitions_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.tenant_api_request_logs
    ADD CONSTRAINT tenant_api_request_logs_pkey PRIMARY KEY (tenant_id, id, created_at);

ALTER TABLE ONLY public.tenant_billing_days
    ADD CONSTRAINT tenant_billing_days_pkey PRIMARY KEY (tenant_id, usage_date);

ALTER TABLE ONLY public.tenant_branding
    ADD CONSTRAINT tenant_branding_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.tenant_domain_verifications
    ADD CONSTRAINT tenant_domain_verifications_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_domains
    ADD CONSTRAINT tenant_domains_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_domains
    ADD CONSTRAINT tenant_domains_tenant_id_domain_purpose_key UNIQUE (tenant_id, domain, purpose);

ALTER TABLE ONLY public.tenant_events
    ADD CONSTRAINT tenant_events_pkey PRIMARY KEY (tenant_id, id, created_at);

ALTER TABLE ONLY public.tenant_idp_config
    ADD CONSTRAINT tenant_idp_config_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_idp_config
    ADD CONSTRAINT tenant_idp_config_tenant_id_name_key UNIQUE (tenant_id, name);

ALTER TABLE ONLY public.tenant_key_policies
    ADD CONSTRAINT tenant_key_policies_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.tenant_limits
    ADD CONSTRAINT tenant_limits_pkey PRIMARY KEY (tenant_id, meter, period);

ALTER TABLE ONLY public.tenant_products
    ADD CONSTRAINT tenant_products_pkey PRIMARY KEY (tenant_id, product);

ALTER TABLE ONLY public.tenant_projects
    ADD CONSTRAINT tenant_projects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_projects
    ADD CONSTRAINT tenant_projects_tenant_id_id_key UNIQUE (tenant_id, id);

COMMENT ON CONSTRAINT tenant_projects_tenant_id_id_key ON public.tenant_projects IS 'Target of foreign keys that carry the tenant, so that no row points into another tenant''s project.';

ALTER TABLE ONLY public.tenant_projects
    ADD CONSTRAINT tenant_projects_tenant_id_slug_key UNIQUE (tenant_id, slug);

ALTER TABLE ONLY public.tenant_rate_limits
    ADD CONSTRAINT tenant_rate_limits_pkey PRIMARY KEY (tenant_id, name);

ALTER TABLE ONLY public.tenant_settings
    ADD CONSTRAINT tenant_settings_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.tenant_usage_counters
    ADD CONSTRAINT tenant_usage_counters_pkey PRIMARY KEY (tenant_id, meter, period, period_start);

ALTER TABLE ONLY public.tenant_usage_daily
    ADD CONSTRAINT tenant_usage_daily_pkey PRIMARY KEY (tenant_id, usage_date, meter);

ALTER TABLE ONLY public.tenant_usage_dedupe
    ADD CONSTRAINT tenant_usage_dedupe_pkey PRIMARY KEY (tenant_id, key_hash);

ALTER TABLE ONLY public.tenant_usage_events
    ADD CONSTRAINT tenant_usage_events_pkey PRIMARY KEY (tenant_id, id, created_at);

ALTER TABLE ONLY public.tenant_webhook_attempts
    ADD CONSTRAINT tenant_webhook_attempts_pkey PRIMARY KEY (tenant_id, delivery_id, id, created_at);

ALTER TABLE ONLY public.tenant_webhook_deliveries
    ADD CONSTRAINT tenant_webhook_deliveries_pkey PRIMARY KEY (id, tenant_id, created_at);

ALTER TABLE ONLY public.tenant_webhook_stats
    ADD CONSTRAINT tenant_webhook_stats_pkey PRIMARY KEY (tenant_id, webhook_id, hour);

ALTER TABLE ONLY public.tenant_webhooks
    ADD CONSTRAINT tenant_webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_webhooks
    ADD CONSTRAINT tenant_webhooks_tenant_id_id_key UNIQUE (tenant_id, id);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_erp_customer_id_key UNIQUE (erp_customer_id);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_external_id_key UNIQUE (external_id);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_slug_key UNIQUE (slug);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_stripe_cust_id_key UNIQUE (stripe_cust_id);

ALTER TABLE ONLY public.webhook_outbox
    ADD CONSTRAINT webhook_outbox_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.webhook_senders
    ADD CONSTRAINT webhook_senders_pkey PRIMARY KEY (id);

CREATE INDEX access_tokens_operator_idx ON public.access_tokens USING btree (operator_id) WHERE (operator_id IS NOT NULL);

CREATE INDEX access_tokens_service_account_idx ON public.access_tokens USING btree (service_account_id) WHERE (service_account_id IS NOT NULL);

CREATE INDEX api_key_leaks_key_idx ON public.api_key_leaks USING btree (tenant_id, key_id, id);

CREATE INDEX api_keys_created_by_idx ON public.api_keys USING btree (created_by, id) WHERE (created_by IS NOT NULL);

CREATE INDEX api_keys_expires_idx ON public.api_keys USING btree (expires_at) WHERE ((expires_at IS NOT NULL) AND (revoked_at IS NULL));

CREATE INDEX api_keys_expiry_told_idx ON public.api_keys USING btree (expiry_told, expires_at) WHERE ((expires_at IS NOT NULL) AND (revoked_at IS NULL) AND (rotated_to IS NULL) AND (expiry_told > 0));

CREATE INDEX api_keys_grace_ends_idx ON public.api_keys USING btree (grace_ends_at) WHERE ((grace_ends_at IS NOT NULL) AND (revoked_at IS NULL));

CREATE INDEX api_keys_imported_idx ON public.api_keys USING btree (imported_at) WHERE (imported_at IS NOT NULL);

CREATE INDEX api_keys_last4_idx ON public.api_keys USING btree (last4);

CREATE INDEX api_keys_leaked_idx ON public.api_keys USING btree (id) WHERE (leaked_at IS NOT NULL);

CREATE INDEX api_keys_origin_idx ON public.api_keys USING btree (tenant_id, origin_id, generation) WHERE (origin_id IS NOT NULL);

CREATE INDEX api_keys_prefix_pattern_idx ON public.api_keys USING btree (prefix text_pattern_ops);

CREATE INDEX api_keys_product_idx ON public.api_keys USING btree (product) WHERE (product IS NOT NULL);

CREATE INDEX api_keys_project_idx ON public.api_keys USING btree (tenant_id, project_id, id);

CREATE UNIQUE INDEX api_keys_rotated_from_key ON public.api_keys USING btree (tenant_id, rotated_from) WHERE (rotated_from IS NOT NULL);

CREATE UNIQUE INDEX api_keys_rotated_to_key ON public.api_keys USING btree (tenant_id, rotated_to) WHERE (rotated_to IS NOT NULL);

CREATE INDEX api_keys_slow_hash_idx ON public.api_keys USING btree (prefix text_pattern_ops) WHERE ("left"(hash, 1) = '$'::text);

CREATE UNIQUE INDEX api_keys_tenant_id_name_key ON public.api_keys USING btree (tenant_id, name) WHERE ((revoked_at IS NULL) AND (grace_ends_at IS NULL));

CREATE INDEX audit_log_action_idx ON public.audit_log USING btree (action, created_at DESC, id DESC);

CREATE INDEX audit_log_actor_idx ON public.audit_log USING btree (actor_id, created_at DESC, id DESC) WHERE (actor_id IS NOT NULL);

CREATE INDEX audit_log_created_idx ON public.audit_log USING btree (created_at DESC, id DESC);

CREATE INDEX audit_log_product_idx ON public.audit_log USING btree (product, created_at DESC, id DESC) WHERE (product IS NOT NULL);

CREATE INDEX audit_log_project_idx ON public.audit_log USING btree (project_id, tenant_id) WHERE (project_id IS NOT NULL);

CREATE INDEX audit_log_target_idx ON public.audit_log USING btree (target_id, created_at DESC, id DESC) WHERE (target_id IS NOT NULL);

CREATE INDEX audit_log_tenant_action_idx ON public.audit_log USING btree (tenant_id, action, created_at DESC, id DESC);

CREATE INDEX audit_log_tenant_idx ON public.audit_log USING btree (tenant_id, created_at DESC, id DESC);

CREATE INDEX change_feed_created_idx ON public.change_feed USING btree (created_at);

CREATE INDEX change_feed_order_idx ON public.change_feed USING btree (xid, seq);

CREATE INDEX idempotency_keys_expires_idx ON public.idempotency_keys USING btree (expires_at);

CREATE INDEX plan_limits_meter_idx ON public.plan_limits USING btree (meter);

CREATE INDEX plan_products_product_idx ON public.plan_products USING btree (product);

CREATE INDEX service_accounts_tenant_idx ON public.service_accounts USING btree (tenant_id);

CREATE INDEX tenant_api_request_logs_key_idx ON ONLY public.tenant_api_request_logs USING btree (api_key_id, created_at DESC);

CREATE INDEX tenant_api_request_logs_tenant_idx ON ONLY public.tenant_api_request_logs USING btree (tenant_id, created_at DESC);

CREATE INDEX tenant_domain_verifications_tenant_idx ON public.tenant_domain_verifications USING btree (tenant_id, domain);

CREATE UNIQUE INDEX tenant_domains_primary_key ON public.tenant_domains USING btree (tenant_id, purpose) WHERE is_primary;

CREATE UNIQUE INDEX tenant_domains_verified_key ON public.tenant_domains USING btree (domain, purpose) WHERE (verified_at IS NOT NULL);

CREATE INDEX tenant_events_order_idx ON ONLY public.tenant_events USING btree (xid, seq);

CREATE INDEX tenant_events_tenant_order_idx ON ONLY public.tenant_events USING btree (tenant_id, xid, seq);

CREATE INDEX tenant_idp_config_tenant_idx ON public.tenant_idp_config USING btree (tenant_id);

CREATE INDEX tenant_limits_meter_idx ON public.tenant_limits USING btree (meter);

CREATE INDEX tenant_products_product_idx ON public.tenant_products USING btree (product);

CREATE INDEX tenant_projects_tenant_idx ON public.tenant_projects USING btree (tenant_id);

CREATE INDEX tenant_rate_limits_product_idx ON public.tenant_rate_limits USING btree (product) WHERE (product IS NOT NULL);

CREATE INDEX tenant_usage_dedupe_received_idx ON public.tenant_usage_dedupe USING btree (received_on);

CREATE INDEX tenant_usage_events_meter_idx ON ONLY public.tenant_usage_events USING btree (tenant_id, meter, occurred_at);

CREATE INDEX tenant_webhook_deliveries_claimed_idx ON ONLY public.tenant_webhook_deliveries USING btree (claimed_until) WHERE (state = 'claimed'::text);

CREATE INDEX tenant_webhook_deliveries_held_idx ON ONLY public.tenant_webhook_deliveries USING btree (tenant_id, webhook_id) WHERE (state = 'held'::text);

CREATE INDEX tenant_webhook_deliveries_pending_idx ON ONLY public.tenant_webhook_deliveries USING btree (webhook_id, next_retry_at) WHERE (state = 'pending'::text);

CREATE INDEX tenant_webhook_deliveries_webhook_idx ON ONLY public.tenant_webhook_deliveries USING btree (tenant_id, webhook_id, created_at DESC);

CREATE INDEX tenant_webhooks_project_idx ON public.tenant_webhooks USING btree (tenant_id, project_id);

CREATE INDEX tenants_archive_due_idx ON public.tenants USING btree (archive_due_at) WHERE (archive_due_at IS NOT NULL);

CREATE INDEX tenants_contract_end_idx ON public.tenants USING btree (contract_end) WHERE (contract_end IS NOT NULL);

CREATE INDEX tenants_kind_demo_idx ON public.tenants USING btree (id) WHERE (kind = 'demo'::public.tenant_kind);

CREATE INDEX tenants_kind_enterprise_idx ON public.tenants USING btree (id) WHERE (kind = 'enterprise'::public.tenant_kind);

CREATE INDEX tenants_kind_internal_idx ON public.tenants USING btree (id) WHERE (kind = 'internal'::public.tenant_kind);

CREATE INDEX tenants_kind_reseller_idx ON public.tenants USING btree (id) WHERE (kind = 'reseller'::public.tenant_kind);

CREATE INDEX tenants_metadata_idx ON public.tenants USING gin (metadata);

CREATE INDEX tenants_name_trgm_idx ON public.tenants USING gin (name public.gin_trgm_ops);

CREATE INDEX tenants_parent_idx ON public.tenants USING btree (parent_id, id);

CREATE INDEX tenants_path_idx ON public.tenants USING btree (path);

CREATE INDEX tenants_plan_idx ON public.tenants USING btree (plan, id);

CREATE INDEX tenants_purge_due_idx ON public.tenants USING btree (purge_due_at) WHERE (purge_due_at IS NOT NULL);

CREATE INDEX tenants_slug_trgm_idx ON public.tenants USING gin (slug public.gin_trgm_ops);

CREATE INDEX tenants_status_archived_idx ON public.tenants USING btree (id) WHERE (status = 'archived'::public.tenant_status);

CREATE INDEX tenants_status_demo_idx ON public.tenants USING btree (id) WHERE (status = 'demo'::public.tenant_status);

CREATE INDEX tenants_status_frozen_idx ON public.tenants USING btree (id) WHERE (status = 'frozen'::public.tenant_status);

CREATE INDEX tenants_status_suspended_idx ON public.tenants USING btree (id) WHERE (status = 'suspended'::public.tenant_status);

CREATE INDEX tenants_status_trial_idx ON public.tenants USING btree (id) WHERE (status = 'trial'::public.tenant_status);

CREATE INDEX tenants_trial_ends_idx ON public.tenants USING btree (trial_ends_at) WHERE (trial_ends_at IS NOT NULL);

CREATE TRIGGER access_tokens_touch_updated_at BEFORE UPDATE OF id, operator_id, service_account_id, name, prefix, last4, expires_at, revoked_at, revoked_reason, created_by, created_at, updated_at ON public.access_tokens FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER api_keys_touch_updated_at BEFORE UPDATE OF id, tenant_id, project_id, product, name, description, environment, prefix, last4, scopes, allowed_ips, rate_limit_rpm, rate_limits, is_active, disabled_at, disabled_reason, expires_at, revoked_at, revoked_reason, rotated_from, rotated_to, grace_ends_at, metadata, created_by, created_at, updated_at, leaked_at ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER event_types_touch_updated_at BEFORE UPDATE ON public.event_types FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER meters_touch_updated_at BEFORE UPDATE ON public.meters FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER operators_touch_updated_at BEFORE UPDATE OF id, email, name, role, issuer, subject, disabled_at, created_at, updated_at ON public.operators FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER plans_touch_updated_at BEFORE UPDATE ON public.plans FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON public.products FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER service_accounts_touch_updated_at BEFORE UPDATE ON public.service_accounts FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER setting_definitions_touch_updated_at BEFORE UPDATE ON public.setting_definitions FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_billing_days_touch_updated_at BEFORE UPDATE ON public.tenant_billing_days FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_branding_touch_updated_at BEFORE UPDATE ON public.tenant_branding FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_domains_touch_updated_at BEFORE UPDATE ON public.tenant_domains FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_idp_config_touch_updated_at BEFORE UPDATE ON public.tenant_idp_config FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_key_policies_touch_updated_at BEFORE UPDATE ON public.tenant_key_policies FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_limits_touch_updated_at BEFORE UPDATE ON public.tenant_limits FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_products_touch_updated_at BEFORE UPDATE ON public.tenant_products FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_projects_touch_updated_at BEFORE UPDATE ON public.tenant_projects FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_rate_limits_touch_updated_at BEFORE UPDATE ON public.tenant_rate_limits FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_settings_touch_updated_at BEFORE UPDATE ON public.tenant_settings FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_usage_daily_touch_updated_at BEFORE UPDATE ON public.tenant_usage_daily FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenant_webhooks_touch_updated_at BEFORE UPDATE OF id, tenant_id, project_id, name, url, events, description, metadata, headers_encrypted, secret_encrypted, signatures, rate_limit, rate_period, max_in_flight, status, status_reason, is_active, disabled_at, created_at, updated_at ON public.tenant_webhooks FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER tenants_touch_updated_at BEFORE UPDATE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT access_tokens_operator_id_fkey FOREIGN KEY (operator_id) REFERENCES public.operators(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT access_tokens_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES public.service_accounts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.api_key_leaks
    ADD CONSTRAINT api_key_leaks_key_fkey FOREIGN KEY (tenant_id, key_id) REFERENCES public.api_keys(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_origin_fkey FOREIGN KEY (tenant_id, origin_id) REFERENCES public.api_keys(tenant_id, id) ON DELETE SET NULL (origin_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_product_fkey FOREIGN KEY (product) REFERENCES public.products(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_project_fkey FOREIGN KEY (tenant_id, project_id) REFERENCES public.tenant_projects(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (tenant_id, rotated_from) REFERENCES public.api_keys(tenant_id, id) ON DELETE SET NULL (rotated_from);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_rotated_to_fkey FOREIGN KEY (tenant_id, rotated_to) REFERENCES public.api_keys(tenant_id, id) ON DELETE SET NULL (rotated_to) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.tenant_projects(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_tenant_project_fkey FOREIGN KEY (tenant_id, project_id) REFERENCES public.tenant_projects(tenant_id, id) ON DELETE SET NULL (project_id);

ALTER TABLE ONLY public.plan_limits
    ADD CONSTRAINT plan_limits_meter_fkey FOREIGN KEY (meter) REFERENCES public.meters(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.plan_limits
    ADD CONSTRAINT plan_limits_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(name) ON DELETE CASCADE;

ALTER TABLE ONLY public.plan_products
    ADD CONSTRAINT plan_products_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(name) ON DELETE CASCADE;

ALTER TABLE ONLY public.plan_products
    ADD CONSTRAINT plan_products_product_fkey FOREIGN KEY (product) REFERENCES public.products(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.service_accounts
    ADD CONSTRAINT service_accounts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_billing_days
    ADD CONSTRAINT tenant_billing_days_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_branding
    ADD CONSTRAINT tenant_branding_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_domain_verifications
    ADD CONSTRAINT tenant_domain_verifications_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_domains
    ADD CONSTRAINT tenant_domains_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_idp_config
    ADD CONSTRAINT tenant_idp_config_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_key_policies
    ADD CONSTRAINT tenant_key_policies_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_limits
    ADD CONSTRAINT tenant_limits_meter_fkey FOREIGN KEY (meter) REFERENCES public.meters(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.tenant_limits
    ADD CONSTRAINT tenant_limits_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_products
    ADD CONSTRAINT tenant_products_product_fkey FOREIGN KEY (product) REFERENCES public.products(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.tenant_products
    ADD CONSTRAINT tenant_products_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_projects
    ADD CONSTRAINT tenant_projects_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_rate_limits
    ADD CONSTRAINT tenant_rate_limits_product_fkey FOREIGN KEY (product) REFERENCES public.products(name) ON DELETE RESTRICT;

ALTER TABLE ONLY public.tenant_rate_limits
    ADD CONSTRAINT tenant_rate_limits_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_settings
    ADD CONSTRAINT tenant_settings_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_usage_counters
    ADD CONSTRAINT tenant_usage_counters_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_usage_daily
    ADD CONSTRAINT tenant_usage_daily_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_usage_dedupe
    ADD CONSTRAINT tenant_usage_dedupe_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_webhooks
    ADD CONSTRAINT tenant_webhooks_project_fkey FOREIGN KEY (tenant_id, project_id) REFERENCES public.tenant_projects(tenant_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenant_webhooks
    ADD CONSTRAINT tenant_webhooks_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES public.tenants(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(name) ON DELETE RESTRICT;

ALTER TABLE public.api_key_leaks ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.change_feed ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.service_accounts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_api_request_logs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_billing_days ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_branding ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_domain_verifications ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_domains ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_idp_config ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_key_policies ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_limits ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_products ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_projects ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_rate_limits ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant_scope ON public.api_key_leaks USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.api_keys USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.audit_log USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.change_feed USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.service_accounts USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_api_request_logs USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_billing_days USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_branding USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_domain_verifications USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_domains USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_events USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_idp_config USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_key_policies USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_limits USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_products USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_projects USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_rate_limits USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_settings USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_usage_counters USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_usage_daily USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_usage_dedupe USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_usage_events USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_webhook_attempts USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_webhook_deliveries USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_webhook_stats USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenant_webhooks USING (((tenant_id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((tenant_id = public.landlord_tenant()) OR public.landlord_operator()));

CREATE POLICY tenant_scope ON public.tenants USING (((id = public.landlord_tenant()) OR public.landlord_operator())) WITH CHECK (((id = public.landlord_tenant()) OR public.landlord_operator()));

ALTER TABLE public.tenant_settings ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_usage_counters ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_usage_daily ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_usage_dedupe ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_usage_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_webhook_attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_webhook_deliveries ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_webhook_stats ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_webhooks ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA public TO landlord_app;

REVOKE ALL ON FUNCTION public.landlord_drop_month_partition(parent text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION public.landlord_drop_month_partition(parent text, month date) TO landlord_app;

REVOKE ALL ON FUNCTION public.landlord_erase_events(tenant uuid, before timestamp with time zone, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.landlord_erase_events(tenant uuid, before timestamp with time zone, most integer) TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_key_policies TO landlord_app;

REVOKE ALL ON FUNCTION public.landlord_make_month_partition(parent text, month date) FROM PUBLIC;
GRANT ALL ON FUNCTION public.landlord_make_month_partition(parent text, month date) TO landlord_app;

REVOKE ALL ON FUNCTION public.landlord_reorder_restored_events() FROM PUBLIC;
GRANT ALL ON FUNCTION public.landlord_reorder_restored_events() TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.access_tokens TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.api_key_flushes TO landlord_app;

GRANT SELECT,INSERT ON TABLE public.api_key_leaks TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.api_keys TO landlord_app;

GRANT SELECT,INSERT ON TABLE public.audit_log TO landlord_app;

GRANT USAGE ON SEQUENCE public.audit_log_id_seq TO landlord_app;

GRANT SELECT,UPDATE ON TABLE public.catalog_state TO landlord_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.change_feed TO landlord_app;

GRANT SELECT ON TABLE public.event_floor TO landlord_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.event_marks TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.event_types TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.meters TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.operators TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.plan_limits TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.plan_products TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.plans TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.products TO landlord_app;

GRANT SELECT ON TABLE public.schema_migrations TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.service_accounts TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.setting_definitions TO landlord_app;

GRANT SELECT,INSERT ON TABLE public.tenant_api_request_logs TO landlord_app;

GRANT USAGE ON SEQUENCE public.tenant_api_request_logs_id_seq TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_billing_days TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_branding TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_domain_verifications TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_domains TO landlord_app;

GRANT SELECT,INSERT ON TABLE public.tenant_events TO landlord_app;

GRANT USAGE ON SEQUENCE public.tenant_events_seq_seq TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_idp_config TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_limits TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_products TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_projects TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_rate_limits TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_settings TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_usage_counters TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_usage_daily TO landlord_app;

GRANT SELECT ON TABLE public.tenant_usage_daily_wide TO landlord_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.tenant_usage_dedupe TO landlord_app;

GRANT SELECT,INSERT ON TABLE public.tenant_usage_events TO landlord_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.tenant_webhook_attempts TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_webhook_deliveries TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenant_webhooks TO landlord_app;

GRANT SELECT ON TABLE public.tenant_webhook_deliveries_wide TO landlord_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.tenant_webhook_stats TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tenants TO landlord_app;

GRANT SELECT,UPDATE ON TABLE public.webhook_outbox TO landlord_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.webhook_senders TO landlord_app;
