package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The tenants of the seed.
const (
	internalTenant = "00000000-0000-0000-0000-000000000001"
	seedTenant     = "10000000-0000-7000-8000-000000000001"
	seedChild      = "10000000-0000-7000-8000-000000000002"
	otherTenant    = "10000000-0000-7000-8000-000000000003"
)

// seeds writes at least one row of seedTenant, or of the platform, into every
// table; in the order of their foreign keys.
var seeds = []struct{ table, sql string }{
	{"products", `INSERT INTO products (name, title, supports_projects) VALUES ('studio', 'Studio', TRUE)`},
	{"plans", `INSERT INTO plans (name, title, trial_days) VALUES ('pro', 'Pro', 14)`},
	{"plan_products", `INSERT INTO plan_products (plan, product) VALUES ('pro', 'studio')`},
	{"meters", `INSERT INTO meters (name, title, unit) VALUES ('renders_started', 'Renders', 'render'), ('api_calls', 'API calls', 'call')`},
	{"plan_limits", `INSERT INTO plan_limits (plan, meter, period, limit_value) VALUES ('pro', 'renders_started', 'month', 100)`},
	{"setting_definitions", `INSERT INTO setting_definitions (name, default_value) VALUES ('max_resolution', '"FullHD"')`},
	{"event_types", `INSERT INTO event_types (name) VALUES ('render.completed')`},
	{"catalog_state", `UPDATE catalog_state SET version = version + 1, applied_at = NOW()`},
	{"tenants", `INSERT INTO tenants (id, slug, name, plan) VALUES ('` + seedTenant + `', 'acme', 'Acme', 'pro'), ('` + otherTenant + `', 'globex', 'Globex', 'pro')`},
	{"tenant_projects", `INSERT INTO tenant_projects (id, tenant_id, name, slug) VALUES ('20000000-0000-7000-8000-000000000001', '` + seedTenant + `', 'Web', 'web')`},
	{"tenant_products", `INSERT INTO tenant_products (tenant_id, product, source) VALUES ('` + seedTenant + `', 'studio', 'plan')`},
	{"tenant_idp_config", `INSERT INTO tenant_idp_config (tenant_id, name, type) VALUES ('` + seedTenant + `', 'Okta', 'oidc')`},
	{"api_keys", `INSERT INTO api_keys (tenant_id, project_id, product, name, prefix, last4, hash, scopes, allowed_ips)
		VALUES ('` + seedTenant + `', '20000000-0000-7000-8000-000000000001', 'studio', 'server', 'acme_live_ab', 'wxyz', 'h1', '{renders:create}', '{10.0.0.0/8,2001:db8::/32}')`},
	{"tenant_key_policies", `INSERT INTO tenant_key_policies (tenant_id, allowed_ips, max_age_days) VALUES ('` + seedTenant + `', '{10.0.0.0/8}', 365)`},
	{"tenant_rate_limits", `INSERT INTO tenant_rate_limits (tenant_id, name, product, limit_value, window_secs) VALUES ('` + seedTenant + `', 'renders', 'studio', 100, 60)`},
	{"api_key_leaks", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action)
		SELECT gen_random_uuid(), tenant_id, id, 'commit', 'https://example.com/1', 'system:test', 'flag' FROM api_keys WHERE tenant_id = '` + seedTenant + `' LIMIT 1`},
	{"api_key_flushes", `INSERT INTO api_key_flushes (replica, number) VALUES ('` + seedTenant + `', 1)`},
	{"audit_log", `INSERT INTO audit_log (tenant_id, project_id, actor_id, actor_type, action, crud, source_ip)
		VALUES ('` + seedTenant + `', '20000000-0000-7000-8000-000000000001', 'ann', 'operator', 'api_key.created', 'c', '192.0.2.1'), (NULL, NULL, 'ann', 'operator', 'catalog.applied', 'u', NULL)`},
	{"tenant_events", `INSERT INTO tenant_events (tenant_id, type, created_at) VALUES ('` + seedTenant + `', 'api_key.created', clock_timestamp())`},
	{"event_marks", `INSERT INTO event_marks (at, xid) VALUES (clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot()))`},
	{"event_floor", `SELECT FROM event_floor`}, // one row, by its migration
	{"operators", `INSERT INTO operators (id, email, name, role) VALUES ('30000000-0000-7000-8000-000000000001', 'Ann@example.test', 'Ann', 'owner')`},
	{"service_accounts", `INSERT INTO service_accounts (tenant_id, name) VALUES ('` + seedTenant + `', 'acme-automation'), (NULL, 'gateway')`},
	{"access_tokens", `INSERT INTO access_tokens (operator_id, name, prefix, last4, hash) VALUES ('30000000-0000-7000-8000-000000000001', 'laptop', 'llop_', 'abcd', 't1')`},
	{"idempotency_keys", `INSERT INTO idempotency_keys (principal, key, method, path, body_hash, claim, locked_until, expires_at)
		VALUES ('operator:1', 'k', 'POST', '/v1/tenants', '\x00', gen_random_uuid(), NOW(), NOW())`},
	{"change_feed", `INSERT INTO change_feed (kind, tenant_id, ref) VALUES ('api_key', '` + seedTenant + `', 'x'), ('catalog', NULL, '')`},
	{"tenant_branding", `INSERT INTO tenant_branding (tenant_id, display_name) VALUES ('` + seedTenant + `', 'Acme Video')`},
	{"tenant_settings", `INSERT INTO tenant_settings (tenant_id, default_locale, "values") VALUES ('` + seedTenant + `', 'fa', '{"max_resolution": "FourK"}')`},
	{"tenant_webhooks", `INSERT INTO tenant_webhooks (id, tenant_id, name, url, events, secret_encrypted)
		VALUES ('40000000-0000-7000-8000-000000000001', '` + seedTenant + `', 'CI', 'https://acme.example.test/hook', '{render.*}', '\x00')`},
	{"tenant_webhook_deliveries", `INSERT INTO tenant_webhook_deliveries (id, tenant_id, webhook_id, event_type, event_id, attempts, next_retry_at, expires_at, created_at)
		SELECT '50000000-0000-7000-8000-000000000001', tenant_id, '40000000-0000-7000-8000-000000000001', 'render.completed', id, 1, '2026-02-01', '2026-03-01', created_at
		FROM tenant_events WHERE tenant_id = '` + seedTenant + `'`},
	{"tenant_webhook_attempts", `INSERT INTO tenant_webhook_attempts (tenant_id, webhook_id, delivery_id, request_url, response_status, duration_ms, error_class, error_message)
		VALUES ('` + seedTenant + `', '40000000-0000-7000-8000-000000000001', '50000000-0000-7000-8000-000000000001', 'https://acme.example.test/hook', 500, 12, 'status', 'no')`},
	{"tenant_webhook_stats", `INSERT INTO tenant_webhook_stats (tenant_id, webhook_id, hour, attempts, failures, durations)
		VALUES ('` + seedTenant + `', '40000000-0000-7000-8000-000000000001', date_trunc('hour', NOW(), 'UTC'), 1, 0, '{1}')`},
	{"webhook_senders", `INSERT INTO webhook_senders (id, seen_at) VALUES ('60000000-0000-7000-8000-000000000001', NOW())`},
	{"webhook_outbox", `UPDATE webhook_outbox SET done = pg_current_snapshot()`},
	{"tenant_limits", `INSERT INTO tenant_limits (tenant_id, meter, period, unlimited) VALUES ('` + seedTenant + `', 'renders_started', 'month', TRUE)`},
	{"tenant_usage_events", `INSERT INTO tenant_usage_events (tenant_id, source, event_key, meter, value) VALUES ('` + seedTenant + `', '/studio', 'e1', 'renders_started', 1)`},
	{"tenant_usage_dedupe", `INSERT INTO tenant_usage_dedupe (tenant_id, key_hash) VALUES ('` + seedTenant + `', '\x000102030405060708090a0b0c0d0e0f')`},
	{"tenant_usage_daily", `INSERT INTO tenant_usage_daily (tenant_id, usage_date, meter, value)
		VALUES ('` + seedTenant + `', '2026-01-31', 'renders_started', 7), ('` + seedTenant + `', '2026-01-31', 'api_calls', 5000000000)`},
	{"tenant_usage_counters", `INSERT INTO tenant_usage_counters (tenant_id, meter, period, period_start, used) VALUES ('` + seedTenant + `', 'renders_started', 'month', '2026-01-01', 7)`},
	{"tenant_billing_days", `INSERT INTO tenant_billing_days (tenant_id, usage_date, amount_billed, billing_currency) VALUES ('` + seedTenant + `', '2026-01-31', 12.5, 'IRR')`},
	{"tenant_api_request_logs", `INSERT INTO tenant_api_request_logs (tenant_id, method, path, status_code, duration_ms, request_id)
		VALUES ('` + seedTenant + `', 'GET', '/v1/renders', 200, 12, gen_random_uuid())`},
	{"tenant_domains", `INSERT INTO tenant_domains (tenant_id, domain, purpose, verified_at) VALUES ('` + seedTenant + `', 'Videos.acme.test', 'host', NOW())`},
	{"tenant_domain_verifications", `INSERT INTO tenant_domain_verifications (tenant_id, domain, method, challenge_token, expires_at)
		VALUES ('` + seedTenant + `', 'videos.acme.test', 'DNS_TXT', 'abc', NOW() + INTERVAL '7 days')`},
}

// seeded returns a connection of the application to a database with the seed in it.
func seeded(ctx context.Context, t *testing.T) (app *pgx.Conn, database string) {
	t.Helper()
	database = migratedDatabase(ctx, t)
	app = connectTo(ctx, t, server.AppURL(database))
	if err := EnsurePartitions(ctx, app, time.Now(), 1); err != nil {
		t.Fatal(err)
	}
	tx := begin(ctx, t, app, operatorScope)
	for _, s := range seeds {
		mustExec(ctx, t, tx, s.sql)
	}
	commit(ctx, t, tx)
	return app, database
}

// tables lists the registry's tables, without their partitions.
func tables(ctx context.Context, t *testing.T, db queryer) []string {
	t.Helper()
	return column[string](ctx, t, db, `
		SELECT relname::text
		FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'schema_migrations'
		ORDER BY relname COLLATE "C"`)
}

func TestSeed_canInsertAndQuery(t *testing.T) {
	ctx := integration(t)
	app, database := seeded(ctx, t)

	t.Run("every table", func(t *testing.T) {
		tx := begin(ctx, t, app, operatorScope)
		defer rollback(ctx, t, tx)
		for _, table := range tables(ctx, t, tx) {
			if !slices.ContainsFunc(seeds, func(s struct{ table, sql string }) bool { return s.table == table }) {
				t.Errorf("table %s is not in the seed: add a row of it", table)
			}
			if n := one[int](ctx, t, tx, `SELECT count(*) FROM `+table); n == 0 {
				t.Errorf("table %s is empty", table)
			}
		}
	})

	// Deleting a tenant, in its own scope: everything it owned goes, whatever the
	// application may see or delete itself; the records of what was done stay.
	t.Run("cascade", func(t *testing.T) {
		tx := begin(ctx, t, app, scope(seedTenant))
		mustExec(ctx, t, tx, `DELETE FROM tenants WHERE id = $1`, seedTenant)
		commit(ctx, t, tx)

		tx = begin(ctx, t, app, operatorScope)
		defer rollback(ctx, t, tx)
		outlives := map[string]int{ // rows left of the tenant, in tables that know it by id only
			"tenant_events": 1, "tenant_webhook_deliveries": 1, "tenant_webhook_attempts": 1, "tenant_webhook_stats": 1, "tenant_usage_events": 1, "tenant_api_request_logs": 1, "change_feed": 1,
		}
		for _, table := range tenantTables(ctx, t, tx) {
			if table.partition {
				continue // nothing the application may name; its rows count with the parent's
			}
			if n := one[int](ctx, t, tx, `SELECT count(*) FROM `+table.name+` WHERE `+table.column+` = $1`, seedTenant); n != outlives[table.name] {
				t.Errorf("%s has %d rows of the deleted tenant, want %d", table.name, n, outlives[table.name])
			}
		}
		type record struct {
			TenantID, ProjectID *string
			ActorID, SourceIP   string
		}
		rows, err := tx.Query(ctx, `SELECT tenant_id::text, project_id::text, actor_id, host(source_ip) FROM audit_log WHERE action = 'api_key.created'`)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]record{{ActorID: "ann", SourceIP: "192.0.2.1"}}, got); diff != "" {
			t.Errorf("audit records of the deleted tenant (-want +got):\n%s", diff)
		}
	})

	// The same by the owner of the tables, whom FORCE ROW LEVEL SECURITY binds as well.
	t.Run("cascade by the owner", func(t *testing.T) {
		owner := connectTo(ctx, t, server.OwnerURL(database))
		tx := begin(ctx, t, owner, operatorScope)
		mustExec(ctx, t, tx, `INSERT INTO tenant_projects (tenant_id, name, slug) VALUES ($1, 'P', 'pp')`, otherTenant)
		mustExec(ctx, t, tx, `INSERT INTO audit_log (tenant_id, action) VALUES ($1, 'project.created')`, otherTenant)
		commit(ctx, t, tx)

		tx = begin(ctx, t, owner, noScope)
		if tag, err := tx.Exec(ctx, `DELETE FROM tenants WHERE id = $1`, otherTenant); err != nil || tag.RowsAffected() != 0 {
			t.Errorf("the owner without a scope deleted: %v, %v", tag, err)
		}
		rollback(ctx, t, tx)

		tx = begin(ctx, t, owner, scope(otherTenant))
		mustExec(ctx, t, tx, `DELETE FROM tenants WHERE id = $1`, otherTenant)
		commit(ctx, t, tx)
		tx = begin(ctx, t, owner, operatorScope)
		defer rollback(ctx, t, tx)
		if n := one[int](ctx, t, tx, `SELECT count(*) FROM tenant_projects WHERE tenant_id = $1`, otherTenant); n != 0 {
			t.Errorf("%d projects are left", n)
		}
		if n := one[int](ctx, t, tx, `SELECT count(*) FROM audit_log WHERE action = 'project.created' AND tenant_id IS NULL`); n != 1 {
			t.Errorf("%d audit records are left, want 1", n)
		}
	})
}

func TestSeed_deletedProject(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	tx := begin(ctx, t, app, operatorScope)
	mustExec(ctx, t, tx, `DELETE FROM tenant_projects`)
	if n := one[int](ctx, t, tx, `SELECT count(*) FROM api_keys`); n != 0 {
		t.Error("a key outlived its project, and is the whole tenant's now")
	}
	got := one[string](ctx, t, tx, `SELECT tenant_id::text FROM audit_log WHERE action = 'api_key.created' AND project_id IS NULL`)
	if got != seedTenant {
		t.Errorf("the audit record has tenant %s, want %s", got, seedTenant)
	}
}

func TestUsageDailyWide(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	tx := begin(ctx, t, app, scope(seedTenant))
	columns := strings.Join(column[string](ctx, t, tx, `
		SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = 'tenant_usage_daily_wide'::regclass AND attnum > 0 ORDER BY attnum`), ", ")
	const want = "id bigint, tenant_id uuid, usage_date date, renders_started integer, renders_completed integer, renders_failed integer, " +
		"render_seconds bigint, render_compute_sec bigint, storage_bytes bigint, api_calls bigint, api_4xx bigint, api_5xx bigint, " +
		"active_users integer, new_users integer, amount_billed numeric(14,2), billing_currency text, billing_status text, " +
		"created_at timestamp with time zone, updated_at timestamp with time zone"
	if diff := cmp.Diff(want, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	const row = `SELECT concat_ws(' ', usage_date, renders_started, api_calls, new_users, amount_billed, billing_currency, billing_status) FROM tenant_usage_daily_wide`
	if got, want := one[string](ctx, t, tx, row), "2026-01-31 7 5000000000 0 12.50 IRR Pending"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	rollback(ctx, t, tx)
	for _, s := range []scope{noScope, otherTenant} {
		tx := begin(ctx, t, app, s)
		if got := column[string](ctx, t, tx, row); len(got) != 0 {
			t.Errorf("scope %q sees through the view: %v", s, got)
		}
		rollback(ctx, t, tx)
	}
}

func TestWebhookDeliveriesWide(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	tx := begin(ctx, t, app, scope(seedTenant))
	columns := strings.Join(column[string](ctx, t, tx, `
		SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = 'tenant_webhook_deliveries_wide'::regclass AND attnum > 0 ORDER BY attnum`), ", ")
	const want = "id uuid, webhook_id uuid, tenant_id uuid, event_type text, event_id uuid, payload jsonb, request_url text, " +
		"response_status integer, response_body text, duration_ms integer, attempt integer, succeeded boolean, " +
		"next_retry_at timestamp with time zone, error_message text, delivered_at timestamp with time zone, created_at timestamp with time zone"
	if diff := cmp.Diff(want, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	mustExec(ctx, t, tx, `INSERT INTO tenant_webhook_deliveries (tenant_id, webhook_id, event_type, event_id, next_retry_at, expires_at, created_at)
		SELECT tenant_id, webhook_id, 'render.failed', event_id, '2026-02-02', expires_at, created_at FROM tenant_webhook_deliveries`)
	const rows = `SELECT concat_ws(' ', event_type, payload, request_url, response_status, duration_ms, attempt, succeeded, (next_retry_at AT TIME ZONE 'UTC')::date, error_message)
		FROM tenant_webhook_deliveries_wide ORDER BY event_type`
	if diff := cmp.Diff([]string{
		"render.completed {} https://acme.example.test/hook 500 12 1 f 2026-02-01 no",
		"render.failed {} https://acme.example.test/hook 1 f 2026-02-02",
	}, column[string](ctx, t, tx, rows)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	rollback(ctx, t, tx)
	for _, s := range []scope{noScope, otherTenant} {
		tx := begin(ctx, t, app, s)
		if got := column[string](ctx, t, tx, rows); len(got) != 0 {
			t.Errorf("scope %q sees through the view: %v", s, got)
		}
		rollback(ctx, t, tx)
	}
}

func TestSlugConstraint(t *testing.T) {
	ctx := integration(t)
	database := migratedDatabase(ctx, t)
	app := connectTo(ctx, t, server.AppURL(database))
	for _, tc := range []struct {
		name, slug string
		ok         bool
	}{
		{"shortest", "abc", true},
		{"longest", strings.Repeat("a", 40), true},
		{"digits", "0x1", true},
		{"inner dashes", "a--b", true},
		{"empty", "", false},
		{"too short", "ab", false},
		{"too long", strings.Repeat("a", 41), false},
		{"leading dash", "-acme", false},
		{"trailing dash", "acme-", false},
		{"upper case", "Acme", false},
		{"underscore", "ac_me", false},
		{"space", "ac me", false},
		{"line end", "acme\n", false},
		{"other letters", "açme", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx := begin(ctx, t, app, operatorScope)
			_, err := tx.Exec(ctx, `INSERT INTO tenants (slug, name) VALUES ($1, 'x')`, tc.slug)
			rollback(ctx, t, tx)
			if got := constraint(err); (got == "") != tc.ok || !tc.ok && got != "tenants_slug_check" {
				t.Errorf("slug %q: %v", tc.slug, err)
			}
		})
	}
}

// constraint names the constraint that an error is about; "" without an error.
func constraint(err error) string {
	var e *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.ConstraintName != "":
		return e.ConstraintName
	default:
		return fmt.Sprint(err)
	}
}

// Each case breaks one rule that no room checks beforehand, or that must hold whatever a room does.
func TestConstraints(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	const child = `INSERT INTO tenants (id, slug, name, parent_id, ancestors) VALUES ('` + seedChild + `', 'child', 'Child', `
	for _, tc := range []struct{ name, sql, want string }{
		{"child", child + `'` + seedTenant + `', ARRAY['` + seedTenant + `']::uuid[])`, ""},
		{"child without ancestors", child + `'` + seedTenant + `', '{}')`, "tenants_ancestors_parent_check"},
		{"ancestors without parent", child + `NULL, ARRAY['` + seedTenant + `']::uuid[])`, "tenants_ancestors_parent_check"},
		{"parent is not the last ancestor", child + `'` + seedTenant + `', ARRAY['` + seedTenant + `', '` + otherTenant + `']::uuid[])`, "tenants_ancestors_parent_check"},
		{"own ancestor", child + `'` + seedTenant + `', ARRAY['` + seedChild + `', '` + seedTenant + `']::uuid[])`, "tenants_ancestors_parent_check"},
		{"own parent", child + `'` + seedChild + `', ARRAY['` + seedChild + `']::uuid[])`, "tenants_ancestors_parent_check"},
		{"too deep", child + `'` + seedTenant + `', ARRAY[gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '` + seedTenant + `'])`, "tenants_ancestors_depth_check"},
		{"unknown parent", child + `'10000000-0000-7000-8000-00000000ffff', ARRAY['10000000-0000-7000-8000-00000000ffff']::uuid[])`, "tenants_parent_id_fkey"},
		{"unknown plan", `UPDATE tenants SET plan = 'none'`, "tenants_plan_fkey"},
		{"suspended without reason", `UPDATE tenants SET status = 'suspended', suspended_at = NOW(), status_before_suspension = 'active'`, "tenants_suspended_check"},
		{"frozen without a date", `UPDATE tenants SET status = 'frozen'`, "tenants_frozen_check"},
		{"archived without a date", `UPDATE tenants SET status = 'archived'`, "tenants_archived_check"},
		{"contract ends first", `UPDATE tenants SET contract_start = '2026-02-01', contract_end = '2026-01-01'`, "tenants_contract_check"},
		{"hold without reason", `UPDATE tenants SET legal_hold = TRUE`, "tenants_legal_hold_check"},
		{"metadata not an object", `UPDATE tenants SET metadata = '[]'`, "tenants_metadata_check"},
		{"slug taken", `UPDATE tenants SET slug = 'internal' WHERE slug = 'acme'`, "tenants_slug_key"},
		{"product in use", `DELETE FROM products`, "plan_products_product_fkey"},
		{"plan in use", `DELETE FROM plans`, "tenants_plan_fkey"},
		{"meter in use", `DELETE FROM meters`, "plan_limits_meter_fkey"},
		{"limit neither way", `UPDATE plan_limits SET unlimited = TRUE`, "plan_limits_one_check"},
		{"second catalogue state", `UPDATE catalog_state SET singleton = FALSE`, "catalog_state_singleton_check"},
		{"project of another tenant", `INSERT INTO api_keys (tenant_id, project_id, name, prefix, last4, hash) VALUES ('` + otherTenant + `', '20000000-0000-7000-8000-000000000001', 'k', 'k', 'wxyz', 'h9')`, "api_keys_project_fkey"},
		{"leak of another tenant's key", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action) SELECT gen_random_uuid(), '` + otherTenant + `', key_id, source, url, reported_by, action FROM api_key_leaks`, "api_key_leaks_key_fkey"},
		{"leak with another action", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action) SELECT gen_random_uuid(), tenant_id, key_id, source, url, reported_by, 'shrug' FROM api_key_leaks`, "api_key_leaks_action_check"},
		{"leak by nobody", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action) SELECT gen_random_uuid(), tenant_id, key_id, source, url, '', action FROM api_key_leaks`, "api_key_leaks_reported_by_check"},
		{"leak in a long source", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action) SELECT gen_random_uuid(), tenant_id, key_id, repeat('x', 101), url, reported_by, action FROM api_key_leaks`, "api_key_leaks_source_check"},
		{"leak at a long URL", `INSERT INTO api_key_leaks (id, tenant_id, key_id, source, url, reported_by, action) SELECT gen_random_uuid(), tenant_id, key_id, source, repeat('x', 2049), reported_by, action FROM api_key_leaks`, "api_key_leaks_url_check"},
		{"audit of another tenant's project", `INSERT INTO audit_log (action, tenant_id, project_id) VALUES ('x.y', '` + otherTenant + `', '20000000-0000-7000-8000-000000000001')`, "audit_log_tenant_project_fkey"},
		{"no address", `UPDATE api_keys SET allowed_ips = '{}'`, "api_keys_allowed_ips_check"},
		{"no rate", `UPDATE api_keys SET rate_limit_rpm = 0`, "api_keys_rate_limit_rpm_check"},
		{"name of a live key", `INSERT INTO api_keys (tenant_id, name, prefix, last4, hash) VALUES ('` + seedTenant + `', 'server', 'p', 'l', 'h2')`, "api_keys_tenant_id_name_key"},
		{"hash of another key", `INSERT INTO api_keys (tenant_id, name, prefix, last4, hash) VALUES ('` + otherTenant + `', 'n', 'p', 'l', 'h1')`, "api_keys_hash_key"},
		{"same person twice", `INSERT INTO operators (email, name, role) VALUES ('ann@EXAMPLE.test', 'Ann', 'viewer')`, "operators_email_key"},
		{"token of two", `UPDATE access_tokens SET service_account_id = (SELECT id FROM service_accounts LIMIT 1)`, "access_tokens_owner_check"},
		{"active unverified IdP", `UPDATE tenant_idp_config SET state = 'active'`, "tenant_idp_config_active_check"},
		{"domain of another", `INSERT INTO tenant_domains (tenant_id, domain, purpose, verified_at) VALUES ('` + otherTenant + `', 'VIDEOS.acme.test', 'host', NOW())`, "tenant_domains_verified_key"},
		{"claim of another's domain", `INSERT INTO tenant_domains (tenant_id, domain, purpose) VALUES ('` + otherTenant + `', 'VIDEOS.acme.test', 'host')`, ""},
		{"no domain", `UPDATE tenant_domains SET domain = 'localhost'`, "tenant_domains_domain_check"},
		{"webhook of another tenant's project", `UPDATE tenant_webhooks SET tenant_id = '` + otherTenant + `', project_id = '20000000-0000-7000-8000-000000000001'`, "tenant_webhooks_project_fkey"},
		{"disabled without a date", `UPDATE tenant_webhooks SET status = 'disabled'`, "tenant_webhooks_disabled_check"},
		{"unknown signature", `UPDATE tenant_webhooks SET signatures = '{v1,v2}'`, "tenant_webhooks_signatures_check"},
		{"failures without a first", `UPDATE tenant_webhooks SET consecutive_failures = 1`, "tenant_webhooks_first_failure_check"},
		{"pending without a time", `UPDATE tenant_webhook_deliveries SET next_retry_at = NULL`, "tenant_webhook_deliveries_pending_check"},
		{"claimed without an end", `UPDATE tenant_webhook_deliveries SET state = 'claimed', next_retry_at = NULL`, "tenant_webhook_deliveries_claimed_check"},
		{"delivered without a time", `UPDATE tenant_webhook_deliveries SET state = 'delivered', next_retry_at = NULL`, "tenant_webhook_deliveries_delivered_check"},
		{"second outbox", `UPDATE webhook_outbox SET singleton = FALSE`, "webhook_outbox_singleton_check"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx := begin(ctx, t, app, operatorScope)
			_, err := tx.Exec(ctx, tc.sql)
			rollback(ctx, t, tx)
			if got := constraint(err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A rotated key keeps its name while its grace lasts, and so does its successor.
func TestAPIKeys_rotation(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	const successor = "60000000-0000-7000-8000-000000000002"
	tx := begin(ctx, t, app, scope(seedTenant))
	old := one[string](ctx, t, tx, `UPDATE api_keys SET rotated_to = $1, grace_ends_at = NOW() + INTERVAL '1 hour' WHERE name = 'server' RETURNING id::text`, successor)
	mustExec(ctx, t, tx, `INSERT INTO api_keys (id, tenant_id, name, prefix, last4, hash, rotated_from) VALUES ($1, $2, 'server', 'p', 'l', 'h2', $3)`, successor, seedTenant, old)
	commit(ctx, t, tx)

	tx = begin(ctx, t, app, scope(seedTenant))
	_, err := tx.Exec(ctx, `INSERT INTO api_keys (tenant_id, name, prefix, last4, hash, rotated_from) VALUES ($1, 'again', 'p', 'l', 'h3', $2)`, seedTenant, old)
	rollback(ctx, t, tx)
	if got := constraint(err); got != "api_keys_rotated_from_key" {
		t.Errorf("a key was rotated twice: %v", err)
	}

	tx = begin(ctx, t, app, scope(seedTenant))
	mustExec(ctx, t, tx, `DELETE FROM tenants WHERE id = $1`, seedTenant)
	commit(ctx, t, tx)
}
