SET LOCAL lock_timeout = '5s';

DROP FUNCTION landlord_keys_by_hash(text[]);
DROP FUNCTION landlord_count_slow_keys(text[]);
DROP INDEX api_keys_slow_hash_idx;
DROP INDEX api_keys_imported_idx;

SET LOCAL landlord.operator = 'on';

UPDATE api_keys SET prefix = '?' WHERE prefix = '';

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_slow_hash_check,
    DROP CONSTRAINT api_keys_prefix_check,
    DROP COLUMN imported_at,
    ADD CONSTRAINT api_keys_prefix_check CHECK (char_length(prefix) BETWEEN 1 AND 40);

COMMENT ON COLUMN api_keys.prefix IS 'Leading characters of the key, for people to tell keys apart.';
COMMENT ON COLUMN api_keys.hash IS 'Digest in an encoded form that names its algorithm and pepper; the look-up key of verification.';
