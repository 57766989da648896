DROP TABLE tenant_idp_config;
DROP TYPE idp_kind;
