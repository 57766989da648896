DROP VIEW tenant_usage_daily_wide;
DROP TABLE tenant_billing_days;
