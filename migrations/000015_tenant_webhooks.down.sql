DROP TABLE tenant_webhook_attempts;
DROP TABLE tenant_webhook_deliveries;
DROP TABLE tenant_webhooks;
