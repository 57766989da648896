SET LOCAL lock_timeout = '5s';

DROP INDEX api_keys_expiry_told_idx;

ALTER TABLE api_keys
    DROP COLUMN expiry_told,
    ADD COLUMN expiry_notice_at TIMESTAMPTZ;

COMMENT ON COLUMN api_keys.expiry_notice_at IS 'When the next notice of its end is due: 30, 7 and 1 days before expires_at and then; NULL = none is to come. Bookkeeping, not part of the ETag.';

CREATE INDEX api_keys_expiry_notice_idx ON api_keys (expiry_notice_at) WHERE expiry_notice_at IS NOT NULL;
