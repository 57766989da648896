// Package embeddedpg runs PostgreSQL as a child process, for `landlord dev` and
// for the tests. It finds the server programs of the machine, makes a cluster in
// a data folder of its own, and gives URLs of three login roles:
//
//	postgres        superuser; for what no migration may do
//	landlord_owner  owns the database and runs migrations (CREATEROLE)
//	landlord        what the application connects as: no SUPERUSER, no BYPASSRLS;
//	                a member of landlord_app, once migrations have made that role
//
// The data folder:
//
//	lock            flock of the owning process; the kernel frees it on kill -9
//	pgpass          the passwords, 0600, in PGPASSFILE form, for psql
//	postgres.log    the server's log, bounded, with one predecessor
//	pgdata/         PostgreSQL's own folder
//
// What must hold: one owner a folder; the server listens on loopback only and
// asks for a password; pgdata is complete or absent (initdb works beside it and
// a rename ends it); a server that a killed owner left behind is stopped before
// another starts, after making sure that it serves this very folder. PostgreSQL
// refuses to run as root, so root hands it to the account postgres, else nobody.
//
// It deliberately has no upgrade between major versions, no replication and no
// Unix socket: production brings its own PostgreSQL.
package embeddedpg
