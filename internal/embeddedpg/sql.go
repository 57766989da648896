package embeddedpg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Roles are made and kept as they should be at every start, so that a start
// that was killed half-way is repaired by the next.
const (
	ensureRole = `DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%[1]s') THEN
		CREATE ROLE %[1]s;
	END IF;
	ALTER ROLE %[1]s WITH LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOREPLICATION %[2]s PASSWORD '%[3]s';
END
$$`

	databaseExists = `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`

	createDatabase = `CREATE DATABASE ` + Database + ` OWNER ` + OwnerRole

	grantMembership = `GRANT landlord_app TO ` + AppRole
)

// ping makes one connection.
func ping(ctx context.Context, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// wrongPassword tells a refused login from a server that is not there yet.
func wrongPassword(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "28P01"
}

// setUp makes the login roles and the database.
func setUp(ctx context.Context, url string, pw passwords) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for role, right := range map[string]string{OwnerRole: "CREATEROLE", AppRole: "NOCREATEROLE"} {
		// The passwords are hexadecimal: nothing to quote.
		if _, err := c.Exec(ctx, fmt.Sprintf(ensureRole, role, right, pw[role])); err != nil {
			return err
		}
	}
	var exists bool
	if err := c.QueryRow(ctx, databaseExists, Database).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = c.Exec(ctx, createDatabase)
	return err
}

func grantApp(ctx context.Context, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	_, err = c.Exec(ctx, grantMembership)
	return err
}
