SET LOCAL lock_timeout = '5s';

CREATE TABLE tenant_branding (
    tenant_id           UUID        NOT NULL CONSTRAINT tenant_branding_pkey PRIMARY KEY
        CONSTRAINT tenant_branding_tenant_id_fkey REFERENCES tenants (id) ON DELETE CASCADE,
    display_name        TEXT,
    logo_url            TEXT,
    logo_dark_url       TEXT,
    favicon_url         TEXT,
    og_image_url        TEXT,
    primary_color       TEXT        NOT NULL DEFAULT '#3B82F6',
    secondary_color     TEXT        NOT NULL DEFAULT '#8B5CF6',
    accent_color        TEXT,
    background_color    TEXT,
    font_family         TEXT,
    email_from_name     TEXT,
    email_from_address  CITEXT,
    email_reply_to      CITEXT,
    email_footer_html   TEXT,
    support_url         TEXT,
    terms_url           TEXT,
    privacy_url         TEXT,
    embed_enabled       BOOLEAN     NOT NULL DEFAULT FALSE,
    embed_allowed_hosts TEXT[]      NOT NULL DEFAULT '{}',
    custom_css          TEXT,
    watermark_text      TEXT,
    watermark_image_url TEXT,
    watermark_enabled   BOOLEAN     NOT NULL DEFAULT TRUE,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at          TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    CONSTRAINT tenant_branding_primary_color_check CHECK (primary_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'),
    CONSTRAINT tenant_branding_secondary_color_check CHECK (secondary_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'),
    CONSTRAINT tenant_branding_accent_color_check CHECK (accent_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$'),
    CONSTRAINT tenant_branding_background_color_check CHECK (background_color ~ '^#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$')
);

COMMENT ON TABLE tenant_branding IS 'White label: how a tenant looks to its own users.';
COMMENT ON COLUMN tenant_branding.embed_allowed_hosts IS 'Hosts whose pages may frame the tenant''s studio.';
COMMENT ON COLUMN tenant_branding.email_footer_html IS 'Sanitised HTML.';
COMMENT ON COLUMN tenant_branding.custom_css IS 'Sanitised CSS for advanced tenants.';
COMMENT ON COLUMN tenant_branding.watermark_text IS 'Mark on what free users produce; a reseller may set its own.';

CREATE TRIGGER tenant_branding_touch_updated_at
    BEFORE UPDATE ON tenant_branding
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_branding ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_branding FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_scope ON tenant_branding
    USING (tenant_id = landlord_tenant() OR landlord_operator())
    WITH CHECK (tenant_id = landlord_tenant() OR landlord_operator());

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_branding TO landlord_app;
