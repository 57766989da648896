package pg

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Role is what the database says of the role that the pool connects as.
type Role struct {
	Name      string
	Superuser bool
	BypassRLS bool
	Member    bool // of landlord_app
}

const currentRole = `
SELECT r.rolname, r.rolsuper, r.rolbypassrls,
	EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'landlord_app' AND pg_has_role(r.oid, g.oid, 'USAGE'))
FROM pg_roles r
WHERE r.rolname = current_user`

// Role asks the database who we are.
func (db *DB) Role(ctx context.Context) (r Role, err error) {
	err = db.onConn(ctx, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, currentRole).Scan(&r.Name, &r.Superuser, &r.BypassRLS, &r.Member)
	})
	return r, db.fault(err)
}
