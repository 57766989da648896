DROP TABLE tenant_api_request_logs;
