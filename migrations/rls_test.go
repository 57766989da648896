package migrations

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/landlordhq/landlord/internal/embeddedpg"
)

// tenantTable is a table whose rows are a tenant's, and the column that says whose.
type tenantTable struct {
	name, column string
	partition    bool
}

// tenantTables walks the catalogue for them.
func tenantTables(ctx context.Context, t *testing.T, db queryer) []tenantTable {
	t.Helper()
	rows, err := db.Query(ctx, `
		SELECT c.relname::text, a.attname::text, c.relispartition
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
		  AND (a.attname = 'tenant_id' OR c.relname = 'tenants' AND a.attname = 'id')
		ORDER BY c.relname COLLATE "C"`)
	if err != nil {
		t.Fatal(err)
	}
	var all []tenantTable
	for rows.Next() {
		var table tenantTable
		if err := rows.Scan(&table.name, &table.column, &table.partition); err != nil {
			t.Fatal(err)
		}
		all = append(all, table)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("the walk found only %d tables", len(all))
	}
	return all
}

// Every table with a tenant_id forces row-level security with the house's
// policy, and in another tenant's scope, or in none, shows no row and takes no
// write: neither to the application nor to the owner of the tables.
func TestRLS_walk(t *testing.T) {
	ctx := integration(t)
	app, database := seeded(ctx, t)
	owner := connectTo(ctx, t, server.OwnerURL(database))

	for _, table := range tenantTables(ctx, t, app) {
		t.Run(table.name, func(t *testing.T) {
			type state struct {
				Enabled, Forced bool
				Policies        []string
			}
			policy := fmt.Sprintf("tenant_scope ALL {0} PERMISSIVE ((%[1]s = landlord_tenant()) OR landlord_operator()) ((%[1]s = landlord_tenant()) OR landlord_operator())", table.column)
			want := state{Enabled: true, Forced: true, Policies: []string{policy}}
			got := state{
				Enabled: one[bool](ctx, t, app, `SELECT relrowsecurity FROM pg_class WHERE oid = $1::text::regclass`, table.name),
				Forced:  one[bool](ctx, t, app, `SELECT relforcerowsecurity FROM pg_class WHERE oid = $1::text::regclass`, table.name),
				Policies: column[string](ctx, t, app, `
					SELECT concat_ws(' ', polname, CASE polcmd WHEN '*' THEN 'ALL' ELSE polcmd::text END, polroles::text,
						CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
					FROM pg_policy WHERE polrelid = $1::text::regclass`, table.name),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("row-level security (-want +got):\n%s", diff)
			}
			row := rowOf(ctx, t, owner, table)
			for _, conn := range []*pgx.Conn{app, owner} {
				for _, s := range []scope{noScope, otherTenant} {
					expectClosed(ctx, t, conn, s, table, row)
				}
			}
			if n := count(ctx, t, owner, seedTenant, table); n == 0 && row != "" {
				t.Error("the tenant's own scope shows no row")
			}
		})
	}
}

// rowOf returns a row of the seed's tenant, as JSON; "" for an empty partition.
func rowOf(ctx context.Context, t *testing.T, owner *pgx.Conn, table tenantTable) string {
	t.Helper()
	tx := begin(ctx, t, owner, operatorScope)
	defer rollback(ctx, t, tx)
	rows := column[string](ctx, t, tx, fmt.Sprintf(`SELECT to_jsonb(r)::text FROM %s AS r WHERE %s = $1 LIMIT 1`, table.name, table.column), seedTenant)
	if len(rows) == 0 {
		if !table.partition {
			t.Fatalf("the seed has no row of the tenant in %s", table.name)
		}
		return ""
	}
	return rows[0]
}

func count(ctx context.Context, t *testing.T, conn *pgx.Conn, s scope, table tenantTable) int {
	t.Helper()
	tx := begin(ctx, t, conn, s)
	defer rollback(ctx, t, tx)
	return one[int](ctx, t, tx, fmt.Sprintf(`SELECT count(*) FROM %s`, table.name))
}

// expectClosed tries to read and write the row in a scope that is not its tenant's.
func expectClosed(ctx context.Context, t *testing.T, conn *pgx.Conn, s scope, table tenantTable, row string) {
	t.Helper()
	who := fmt.Sprintf("%s in scope %q", conn.Config().User, s)
	isTenants := table.name == "tenants" && s == otherTenant // its own row is there
	for _, try := range []struct{ what, sql string }{
		{"select", `SELECT FROM ` + table.name},
		{"update", fmt.Sprintf(`UPDATE %[1]s SET %[2]s = %[2]s`, table.name, table.column)},
		{"delete", `DELETE FROM ` + table.name},
	} {
		if isTenants {
			try.sql += fmt.Sprintf(" WHERE id <> '%s'", otherTenant)
		}
		tx := begin(ctx, t, conn, s)
		tag, err := tx.Exec(ctx, try.sql)
		rollback(ctx, t, tx)
		if err != nil && !refused(err) {
			t.Errorf("%s: %s: %v", who, try.what, err)
		}
		if err == nil && tag.RowsAffected() != 0 {
			t.Errorf("%s: %s: %d rows", who, try.what, tag.RowsAffected())
		}
	}
	if row == "" {
		return
	}
	tx := begin(ctx, t, conn, s)
	defer rollback(ctx, t, tx)
	columns := one[string](ctx, t, tx, `SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
		WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`, table.name)
	_, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %[1]s (%[2]s) OVERRIDING SYSTEM VALUE SELECT %[2]s FROM jsonb_populate_record(NULL::%[1]s, $1::text::jsonb)`, table.name, columns), row)
	if !refused(err) {
		t.Errorf("%s: insert: want insufficient privilege, got %v", who, err)
	}
}

// refused tells row-level security's no, and that of a missing grant.
func refused(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "42501"
}

// The application's role is one that row-level security binds, and it cannot
// unbind itself.
func TestRLS_applicationRole(t *testing.T) {
	ctx := integration(t)
	app, _ := seeded(ctx, t)
	if got := one[string](ctx, t, app, `SELECT concat_ws(' ', rolsuper, rolbypassrls, rolcreaterole, rolcreatedb) FROM pg_roles WHERE rolname = current_user`); got != "f f f f" {
		t.Errorf("superuser, bypassrls, createrole, createdb of the application are %s", got)
	}
	owned := column[string](ctx, t, app, `SELECT relname::text FROM pg_class WHERE relowner = current_user::regrole`)
	if len(owned) > 0 {
		t.Errorf("the application owns %v", owned)
	}
	for _, sql := range []string{
		`ALTER TABLE tenants DISABLE ROW LEVEL SECURITY`,
		`ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY`,
		`DROP POLICY tenant_scope ON tenants`,
		`CREATE TABLE mine (id INT)`,
		`SET ROLE ` + embeddedpg.OwnerRole,
		`UPDATE audit_log SET action = 'x.y'`,
		`DELETE FROM audit_log`,
		`TRUNCATE audit_log`,
		`UPDATE tenant_events SET type = 'x.y'`,
		`DELETE FROM tenant_events`,
		`UPDATE schema_migrations SET version = 1`,
		`INSERT INTO catalog_state DEFAULT VALUES`,
	} {
		tx := begin(ctx, t, app, operatorScope)
		if _, err := tx.Exec(ctx, sql); !refused(err) {
			t.Errorf("%s: %v", sql, err)
		}
		rollback(ctx, t, tx)
	}
}
