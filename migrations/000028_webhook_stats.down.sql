ALTER TABLE plans DROP COLUMN webhooks;

CREATE OR REPLACE FUNCTION landlord_month_partitioned_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ARRAY['tenant_events', 'tenant_webhook_deliveries', 'tenant_webhook_attempts', 'tenant_usage_events', 'tenant_api_request_logs'] $$;

COMMENT ON FUNCTION landlord_month_partitioned_tables() IS 'Tables partitioned by the month of created_at.';

DROP TABLE tenant_webhook_stats;
