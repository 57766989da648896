// Package event is the outbox: what happened, with its payload, in one order that
// all readers share. Webhooks and the events API read it.
//
//	a change ── audit.Record ──┐
//	                           ├─▶ tenant_events ─▶ below the oldest running transaction ─▶ readers, by (xid, seq)
//	a room   ── Publish ───────┘   one transaction          settled: nothing is added there any more
//
// Invariants: an event is written in the transaction of what it tells of, so there
// is no event without its change and no change without its event; readers page by
// (xid, seq) and see only what is settled, so that a transaction which commits late
// is never skipped; a reader whose place was dropped by retention is told so.
//
// The order is that of the transactions. Changes of one thing are in the order in
// which they happened, because each locks its row before it writes anything.
//
// Events end in two ways: by month, when all of it is older than is kept (DropOld),
// and a tenant's on demand (Erase). A legal hold prevents both.
//
// Writes: tenant_events, event_marks, event_floor, and drops months of what app
// names. Reads: those, and the tenant's effective status and legal hold.
package event
