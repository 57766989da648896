SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_billing_days (
    tenant_id        UUID           NOT NULL
        CONSTRAINT tenant_billing_days_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    usage_date       DATE           NOT NULL,
    amount_billed    NUMERIC(18, 4) NOT NULL DEFAULT 0,
    billing_currency TEXT           NOT NULL,
    billing_status   TEXT           NOT NULL DEFAULT 'pending',
    invoice_ref      TEXT,
    created_at       TIMESTAMPTZ    NOT NULL DEFAULT NOW(),
    updated_at       TIMESTAMPTZ    NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_billing_days_pkey PRIMARY KEY (tenant_id, usage_date),
    CONSTRAINT tenant_billing_days_currency_check CHECK (billing_currency ~ '^[A-Z]{3}$'),
    CONSTRAINT tenant_billing_days_status_check CHECK (billing_status IN ('pending', 'invoiced', 'paid'))
);

COMMENT ON TABLE tenant_billing_days IS 'What a tenant owes for a day, and how far its invoice is.';
COMMENT ON COLUMN tenant_billing_days.billing_currency IS 'ISO 4217 code.';
COMMENT ON COLUMN tenant_billing_days.billing_status IS 'pending, invoiced, paid; only forward.';
COMMENT ON COLUMN tenant_billing_days.invoice_ref IS 'The invoice in Stripe or the ERP.';

CREATE TRIGGER tenant_billing_days_touch_updated_at
    BEFORE UPDATE ON tenant_billing_days
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_billing_days ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_billing_days FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_billing_days
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_billing_days TO landlord_app;

-- security_invoker: the reader's own row-level security applies, not the view owner's.
CREATE VIEW tenant_usage_daily_wide WITH (security_invoker = true) AS
WITH usage AS (
    SELECT
        tenant_id,
        usage_date,
        coalesce(sum(value) FILTER (WHERE meter = 'renders_started'), 0)::int       AS renders_started,
        coalesce(sum(value) FILTER (WHERE meter = 'renders_completed'), 0)::int     AS renders_completed,
        coalesce(sum(value) FILTER (WHERE meter = 'renders_failed'), 0)::int        AS renders_failed,
        coalesce(sum(value) FILTER (WHERE meter = 'render_seconds'), 0)::bigint     AS render_seconds,
        coalesce(sum(value) FILTER (WHERE meter = 'render_compute_sec'), 0)::bigint AS render_compute_sec,
        coalesce(sum(value) FILTER (WHERE meter = 'storage_bytes'), 0)::bigint      AS storage_bytes,
        coalesce(sum(value) FILTER (WHERE meter = 'api_calls'), 0)::bigint          AS api_calls,
        coalesce(sum(value) FILTER (WHERE meter = 'api_4xx'), 0)::bigint            AS api_4xx,
        coalesce(sum(value) FILTER (WHERE meter = 'api_5xx'), 0)::bigint            AS api_5xx,
        coalesce(sum(value) FILTER (WHERE meter = 'active_users'), 0)::int          AS active_users,
        coalesce(sum(value) FILTER (WHERE meter = 'new_users'), 0)::int             AS new_users,
        min(created_at) AS created_at,
        max(updated_at) AS updated_at
    FROM tenant_usage_daily
    GROUP BY tenant_id, usage_date
)
SELECT
    hashtextextended(tenant_id::text || usage_date::text, 0) AS id,
    tenant_id,
    usage_date,
    coalesce(u.renders_started, 0)    AS renders_started,
    coalesce(u.renders_completed, 0)  AS renders_completed,
    coalesce(u.renders_failed, 0)     AS renders_failed,
    coalesce(u.render_seconds, 0)     AS render_seconds,
    coalesce(u.render_compute_sec, 0) AS render_compute_sec,
    coalesce(u.storage_bytes, 0)      AS storage_bytes,
    coalesce(u.api_calls, 0)          AS api_calls,
    coalesce(u.api_4xx, 0)            AS api_4xx,
    coalesce(u.api_5xx, 0)            AS api_5xx,
    coalesce(u.active_users, 0)       AS active_users,
    coalesce(u.new_users, 0)          AS new_users,
    coalesce(b.amount_billed, 0)::numeric(14, 2)                         AS amount_billed,
    coalesce(b.billing_currency, s.default_currency, 'IRR')              AS billing_currency,
    initcap(coalesce(b.billing_status, 'pending'))                       AS billing_status,
    LEAST(u.created_at, b.created_at)                                    AS created_at,
    GREATEST(u.updated_at, b.updated_at)                                 AS updated_at
FROM usage AS u
FULL JOIN tenant_billing_days AS b USING (tenant_id, usage_date)
LEFT JOIN tenant_settings AS s USING (tenant_id);

COMMENT ON VIEW tenant_usage_daily_wide IS 'Daily usage and billing in one row a day, for reports that want a column a meter.';
COMMENT ON COLUMN tenant_usage_daily_wide.id IS 'Stable number of the row, derived from tenant and day.';
COMMENT ON COLUMN tenant_usage_daily_wide.billing_status IS 'Pending, Invoiced or Paid.';

GRANT SELECT ON tenant_usage_daily_wide TO landlord_app;
