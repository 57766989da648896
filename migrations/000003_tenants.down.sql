DROP FUNCTION landlord_effective_status(uuid);
DROP TABLE tenants;
DROP TYPE tenant_kind;
DROP TYPE tenant_status;
