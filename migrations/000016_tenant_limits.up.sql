SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_limits (
    tenant_id   UUID        NOT NULL
        CONSTRAINT tenant_limits_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    meter       TEXT        NOT NULL
        CONSTRAINT tenant_limits_meter_fkey REFERENCES meters (name) ON DELETE RESTRICT,
    period      TEXT        NOT NULL,
    limit_value BIGINT,
    unlimited   BOOLEAN     NOT NULL DEFAULT FALSE,
    source      TEXT        NOT NULL DEFAULT 'override',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_limits_pkey PRIMARY KEY (tenant_id, meter, period),
    CONSTRAINT tenant_limits_period_check CHECK (period IN ('day', 'month', 'year', 'total')),
    CONSTRAINT tenant_limits_value_check CHECK (limit_value >= 0),
    CONSTRAINT tenant_limits_one_check CHECK (unlimited = (limit_value IS NULL)),
    CONSTRAINT tenant_limits_source_check CHECK (source IN ('plan', 'override'))
);

CREATE INDEX tenant_limits_meter_idx ON tenant_limits (meter);

COMMENT ON TABLE tenant_limits IS 'How much of a meter a tenant may use in a period.';
COMMENT ON COLUMN tenant_limits.limit_value IS 'The most that may be used in the period; 0 forbids. NULL exactly when unlimited.';
COMMENT ON COLUMN tenant_limits.source IS 'plan (follows a change of plan) or override (an operator decided).';

CREATE TRIGGER tenant_limits_touch_updated_at
    BEFORE UPDATE ON tenant_limits
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_limits ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_limits FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_limits
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_limits TO landlord_app;
