DROP TABLE tenant_domain_verifications;
DROP TABLE tenant_domains;
