DROP INDEX tenant_webhook_deliveries_claimed_idx;
CREATE INDEX tenant_webhook_deliveries_claimed_idx ON tenant_webhook_deliveries (webhook_id, claimed_until) WHERE state = 'claimed';

ALTER TABLE tenant_webhook_deliveries DROP COLUMN attempts_before;

ALTER TABLE tenant_webhooks ADD COLUMN next_send_at TIMESTAMPTZ;

COMMENT ON COLUMN tenant_webhooks.next_send_at IS 'With a rate limit: from when on a request is free again. All replicas draw on it.';

DROP TABLE webhook_senders;
