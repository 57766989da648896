// Package migrations holds the database schema, as ordered migrations, and the
// Migrator that brings a database to any of their versions.
//
// A file runs in one transaction together with the change of the version it
// makes, so that a migrator that dies at any moment leaves a version, never a
// half of one. Files that cannot run in a transaction (CREATE INDEX
// CONCURRENTLY) say so on their first line, "-- landlord: no transaction", hold
// that one statement, and are the only ones that can leave the version dirty.
//
// The migrating role owns the tables. The application connects as a member of
// the role landlord_app, which has neither SUPERUSER nor BYPASSRLS and owns
// nothing: row-level security on every table with a tenant_id is forced, and
// binds the owner too. Month partitions are not part of the schema; the server
// makes them ahead with EnsurePartitions.
//
// schema.sql is the whole schema on one page, held equal to the migrations by a
// test.
package migrations
