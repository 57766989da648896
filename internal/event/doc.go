// Package event is the outbox: what happened, with its payload, in commit order.
// Webhooks and the events API read it.
//
// Invariants: an event is written in the transaction of the change it tells of
// (through audit.Record), so there is no event without its change and no change
// without its event; a reader pages by (xid, seq) below the oldest running
// transaction, so that one which commits late is never skipped.
//
// Writes: tenant_events. Reads: tenant_events.
package event
