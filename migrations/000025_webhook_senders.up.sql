SET LOCAL lock_timeout = '5s';

-- Replicas that send divide an endpoint's limits among them by their number: no
-- counter is kept for each request.
CREATE TABLE webhook_senders (
    id      UUID        NOT NULL CONSTRAINT webhook_senders_pkey PRIMARY KEY,
    seen_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE webhook_senders IS 'Replicas that send webhooks, each seen within the last seconds.';

GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_senders TO landlord_app;

ALTER TABLE tenant_webhooks DROP COLUMN next_send_at;

ALTER TABLE tenant_webhook_deliveries
    ADD COLUMN attempts_before INT NOT NULL DEFAULT 0,
    ADD CONSTRAINT tenant_webhook_deliveries_attempts_before_check CHECK (attempts_before BETWEEN 0 AND attempts);

COMMENT ON COLUMN tenant_webhook_deliveries.attempts_before IS 'Tries before it was last recovered: the schedule begins anew behind them.';

DROP INDEX tenant_webhook_deliveries_claimed_idx;
CREATE INDEX tenant_webhook_deliveries_claimed_idx ON tenant_webhook_deliveries (claimed_until) WHERE state = 'claimed';
