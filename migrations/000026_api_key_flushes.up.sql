SET LOCAL lock_timeout = '5s';

-- A row a replica, written by each of its flushes: a page of its own keeps the updates heap-only.
CREATE TABLE api_key_flushes (
    replica    UUID        NOT NULL CONSTRAINT api_key_flushes_pkey PRIMARY KEY,
    number     BIGINT      NOT NULL,
    flushed_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT api_key_flushes_number_check CHECK (number > 0)
) WITH (fillfactor = 50);

COMMENT ON TABLE api_key_flushes IS 'Which batch of uses of keys each replica wrote last. A batch whose answer was lost is sent again under its number, and counts once.';
COMMENT ON COLUMN api_key_flushes.replica IS 'A running process, which draws its id when it starts.';
COMMENT ON COLUMN api_key_flushes.number IS 'Counts the replica''s batches.';
COMMENT ON COLUMN api_key_flushes.flushed_at IS 'Rows are removed a week after it.';

GRANT SELECT, INSERT, UPDATE, DELETE ON api_key_flushes TO landlord_app;
