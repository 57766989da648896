SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_domains (
    id          UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_domains_pkey PRIMARY KEY,
    tenant_id   UUID        NOT NULL
        CONSTRAINT tenant_domains_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    domain      CITEXT      NOT NULL,
    purpose     TEXT        NOT NULL,
    is_primary  BOOLEAN     NOT NULL DEFAULT FALSE,
    verified_at TIMESTAMPTZ,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_domains_tenant_id_domain_purpose_key UNIQUE (tenant_id, domain, purpose),
    CONSTRAINT tenant_domains_domain_check CHECK (
        domain::text ~* '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
        AND char_length(domain::text) <= 253
    ),
    CONSTRAINT tenant_domains_purpose_check CHECK (purpose IN ('host', 'email')),
    CONSTRAINT tenant_domains_primary_check CHECK (NOT is_primary OR verified_at IS NOT NULL)
);

-- Anyone may claim a domain; one tenant has proved that it is its own.
CREATE UNIQUE INDEX tenant_domains_verified_key ON tenant_domains (domain, purpose) WHERE verified_at IS NOT NULL;
CREATE UNIQUE INDEX tenant_domains_primary_key ON tenant_domains (tenant_id, purpose) WHERE is_primary;

COMMENT ON TABLE tenant_domains IS 'Domains of tenants: hosts that serve them and e-mail domains that tell whose sign-in it is.';
COMMENT ON COLUMN tenant_domains.purpose IS 'host (custom domain of the platform''s pages) or email (home-realm discovery).';
COMMENT ON COLUMN tenant_domains.verified_at IS 'When ownership was last proved; NULL = claimed only, and never served.';

CREATE TRIGGER tenant_domains_touch_updated_at
    BEFORE UPDATE ON tenant_domains
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_domains ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_domains FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_domains
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

CREATE TABLE tenant_domain_verifications (
    id              UUID        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tenant_domain_verifications_pkey PRIMARY KEY,
    tenant_id       UUID        NOT NULL
        CONSTRAINT tenant_domain_verifications_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    domain          CITEXT      NOT NULL,
    method          TEXT        NOT NULL,
    challenge_token TEXT        NOT NULL,
    verified        BOOLEAN     NOT NULL DEFAULT FALSE,
    verified_at     TIMESTAMPTZ,
    last_checked_at TIMESTAMPTZ,
    expires_at      TIMESTAMPTZ NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_domain_verifications_method_check CHECK (method IN ('DNS_TXT', 'HTTP_FILE')),
    CONSTRAINT tenant_domain_verifications_verified_check CHECK (verified = (verified_at IS NOT NULL))
);

CREATE INDEX tenant_domain_verifications_tenant_idx ON tenant_domain_verifications (tenant_id, domain);

COMMENT ON TABLE tenant_domain_verifications IS 'Challenges by which a tenant proves that a domain is its own.';
COMMENT ON COLUMN tenant_domain_verifications.method IS 'DNS_TXT (a TXT record) or HTTP_FILE (a file the host serves).';
COMMENT ON COLUMN tenant_domain_verifications.challenge_token IS 'What must be found there. Not a secret: it is published.';

ALTER TABLE tenant_domain_verifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_domain_verifications FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_domain_verifications
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_domains, tenant_domain_verifications TO landlord_app;
