// Package audit records what was done, by whom, to what. The shape of a record
// is Retraced's, so that its producers and viewers can be served.
//
// Invariants: every mutation calls Record exactly once, in its own transaction,
// and a test over all operations fails one that writes none or two; records are
// never updated; deleting a tenant leaves its records with tenant_id NULL.
//
// Reading is by tenant (a tenant's own log, and those of the tenants below it) or,
// for the platform, across all; newest first.
//
// Writes: audit_log, and through package event the outbox. Reads: audit_log.
package audit
