DROP TABLE tenant_usage_counters;
DROP TABLE tenant_usage_daily;
DROP TABLE tenant_usage_dedupe;
DROP TABLE tenant_usage_events;
