// Package pgtest gives tests a real PostgreSQL: a clone of the migrated schema,
// connected as the application's unprivileged role.
//
//	db := pgtest.New(t)           // the test binary's database; make a tenant of your own in it
//	db := pgtest.Clone(t)         // one for this test alone, for what looks at all tenants
//	pgtest.PrepareAll(t, ".")     // every constant of sql.go against the schema
//	sql := pgtest.Statements(t, func(ctx context.Context) { … })
//
// All test binaries of a user share one server, which the first starts and
// which lives while a test binary does, and a minute longer:
//
//	test binary ── flock clients/PID-TIME ─┐          ┌─ postgres (data on tmpfs, no fsync)
//	test binary ── flock clients/PID-TIME ─┼─ looked at by the supervisor ─┤  template_HASH: migrated, once a schema
//	   …                                   ┘          └─ clone_PID_TIME_N: dropped when the flock is free
//
// The supervisor is the first binary, started once more in a session of its
// own. A lock is the kernel's word that its holder lives, so a binary that is
// killed leaves nothing behind: the supervisor drops its clones. Whoever starts
// or stops a server, or builds a template, holds the lock "start".
//
// Without PostgreSQL a test fails and says how to get it. Under -short the tests
// that ask for a database are left out on purpose.
package pgtest
