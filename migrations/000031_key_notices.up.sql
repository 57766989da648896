SET LOCAL lock_timeout = '5s';

-- When the next notice is due depends on which ones a server gives; which one was given does not.
ALTER TABLE api_keys
    ADD COLUMN expiry_told INT NOT NULL DEFAULT 2147483647,
    ADD CONSTRAINT api_keys_expiry_told_check CHECK (expiry_told >= 0),
    DROP COLUMN expiry_notice_at;

COMMENT ON COLUMN api_keys.expiry_told IS 'The notice of its end that was given last, as how many seconds were left by it: 0 = that it has ended, 2147483647 = none. Bookkeeping, not part of the ETag.';

CREATE INDEX api_keys_expiry_told_idx ON api_keys (expiry_told, expires_at)
    WHERE expires_at IS NOT NULL AND revoked_at IS NULL AND rotated_to IS NULL AND expiry_told > 0;

-- The owner of the tables is under row-level security too, so it says who it is.
SET LOCAL landlord.operator = 'on';

-- Of what ended before there were notices nobody is told. Of what is about to end everybody is.
UPDATE api_keys SET expiry_told = 0 WHERE expires_at <= NOW();

-- Rotations since 000023 did not number the generations.
WITH RECURSIVE chain AS (
    SELECT tenant_id, id, id AS origin_id, 1 AS generation, rotated_to
      FROM api_keys
     WHERE rotated_from IS NULL AND rotated_to IS NOT NULL
    UNION ALL
    SELECT k.tenant_id, k.id, c.origin_id, c.generation + 1, k.rotated_to
      FROM chain c
      JOIN api_keys k ON k.tenant_id = c.tenant_id AND k.id = c.rotated_to
)
UPDATE api_keys k
   SET generation = c.generation, origin_id = c.origin_id
  FROM chain c
 WHERE k.tenant_id = c.tenant_id AND k.id = c.id AND c.generation > 1
   AND (k.generation <> c.generation OR k.origin_id IS DISTINCT FROM c.origin_id);
