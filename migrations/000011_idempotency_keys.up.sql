CREATE TABLE idempotency_keys (
    principal          TEXT        NOT NULL,
    key                TEXT        NOT NULL,
    method             TEXT        NOT NULL,
    path               TEXT        NOT NULL,
    body_hash          BYTEA       NOT NULL,
    state              TEXT        NOT NULL DEFAULT 'pending',
    claim              UUID        NOT NULL,
    status             INT,
    headers            JSONB       NOT NULL DEFAULT '{}'::jsonb,
    response_encrypted BYTEA,
    locked_until       TIMESTAMPTZ NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    expires_at         TIMESTAMPTZ NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, key),
    CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_state_check CHECK (state IN ('pending', 'applied', 'done')),
    CONSTRAINT idempotency_keys_done_check CHECK (state <> 'done' OR status IS NOT NULL),
    CONSTRAINT idempotency_keys_status_check CHECK (status BETWEEN 100 AND 599),
    CONSTRAINT idempotency_keys_headers_check CHECK (jsonb_typeof(headers) = 'object')
);

CREATE INDEX idempotency_keys_expires_idx ON idempotency_keys (expires_at);

COMMENT ON TABLE idempotency_keys IS 'Answers kept for callers that repeat a request with the same Idempotency-Key.';
COMMENT ON COLUMN idempotency_keys.principal IS 'kind:id of the caller; keys of different callers never meet.';
COMMENT ON COLUMN idempotency_keys.body_hash IS 'SHA-256 of the request body; another body under the same key is refused.';
COMMENT ON COLUMN idempotency_keys.state IS 'pending: running; applied: the change committed, the answer is not stored yet; done: the answer can be repeated.';
COMMENT ON COLUMN idempotency_keys.claim IS 'The attempt that runs the request. One whose claim was taken over can no longer finish it.';
COMMENT ON COLUMN idempotency_keys.response_encrypted IS 'The answer''s body, encrypted: it may hold a secret that is shown once.';
COMMENT ON COLUMN idempotency_keys.locked_until IS 'After this a pending request counts as lost and may be taken over.';

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO landlord_app;
