DROP TABLE tenants;
DROP TYPE tenant_kind;
DROP TYPE tenant_status;
