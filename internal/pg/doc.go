// Package pg is the door to PostgreSQL: a pool, transactions that carry a tenant
// scope, the mapping of constraint violations and outages to faults, and
// dedicated connections for LISTEN and advisory locks.
//
// Every transaction has a scope: one tenant (InTenant), or the operator, which
// sees all tenants (AsOperator). BEGIN and the literal SET LOCAL that row-level
// security reads travel in one round trip. A transaction is short and holds no
// network call; serialization failures and deadlocks are retried here and only
// here, so a transaction's function may run more than once.
//
// Every operation ends: waiting for a connection and having one are both bounded,
// whatever the context allows. What a caller meets when the database is away,
// busy or frozen is a fault of kind Unavailable; docs/reliability.md tells all.
package pg
