SET LOCAL lock_timeout = '5s';

-- Of a key that was imported as a bare hash nobody may know how it begins.
ALTER TABLE api_keys
    ADD COLUMN imported_at TIMESTAMPTZ,
    DROP CONSTRAINT api_keys_prefix_check,
    ADD CONSTRAINT api_keys_prefix_check CHECK (char_length(prefix) <= 40 AND (prefix <> '' OR imported_at IS NOT NULL)),
    ADD CONSTRAINT api_keys_slow_hash_check CHECK (left(hash, 1) <> '$' OR imported_at IS NOT NULL AND char_length(prefix) >= 8);

COMMENT ON COLUMN api_keys.imported_at IS 'When it was imported; NULL = its token was made here.';
COMMENT ON COLUMN api_keys.prefix IS 'Leading characters of the key, for people to tell keys apart, and to find keys with slow hashes by; empty for a key imported as a bare hash.';
COMMENT ON COLUMN api_keys.hash IS 'Digest in an encoded form that names its algorithm and pepper; the look-up key of verification. One that begins with $ is the argon2id or bcrypt hash that another system made; it stays only until the key is used.';

-- What a replica reads when it starts, and what was imported since it last heard.
CREATE INDEX api_keys_imported_idx ON api_keys (imported_at) WHERE imported_at IS NOT NULL;
CREATE INDEX api_keys_slow_hash_idx ON api_keys (prefix text_pattern_ops) WHERE left(hash, 1) = '$';

-- As landlord_effective_status does, and for the same reason. Who counts is about to
-- add some: the lock lets one at a time do so.
CREATE FUNCTION landlord_count_slow_keys(begins text[]) RETURNS TABLE (prefix text, keys int)
    LANGUAGE plpgsql ROWS 100
    AS $$
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
$$;

COMMENT ON FUNCTION landlord_count_slow_keys(text[]) IS 'How many keys of all tenants begin so and can''t be looked up by their tokens: each of them is tried, so they must be few.';

-- Likewise: a token is one key in the installation.
CREATE FUNCTION landlord_keys_by_hash(hashes text[]) RETURNS TABLE (hash text, id uuid, tenant_id uuid)
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

COMMENT ON FUNCTION landlord_keys_by_hash(text[]) IS 'The keys of all tenants that are stored under the hashes: an import asks which of its tokens are keys already.';
