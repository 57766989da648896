// Package webhook tells tenants' endpoints what happened: it turns events of the
// outbox into deliveries, sends them signed after the Standard Webhooks
// specification, tries again, and keeps a log of each try.
//
//	event ─▶ pending ─claim─▶ claimed ─2xx──▶ delivered
//	   │        ▲ ▲              │
//	   │        │ └── retry ─────┤
//	   │        │                └─ no try left, expired, 410 ──▶ failed ─┐
//	   ├─▶ held ┘ tenant suspended, until it is resumed                   │ recover, resend
//	   ├─▶ skipped   endpoint paused or disabled ─────────────────────────┤
//	   │                pending ── cancel ──▶ cancelled ──────────────────┘──▶ pending
//	   └─▶ (nothing) tenant archived, or no endpoint that wants it
//
// An endpoint is active, paused (by a person) or disabled (by failing for long, by
// answering 410, or by a person).
//
// # Invariants
//
// At least once: an event that was committed becomes a delivery for every endpoint
// that wants it, exactly one, whatever dies when; a delivery is sent until it is
// answered with 2xx, or is given up and kept. All tries of it carry the event's id,
// by which a receiver knows a duplicate.
//
// A slow endpoint costs the others nothing: claims are per endpoint and in turn, and
// each has a bound on requests under way. No HTTP happens inside a transaction. A
// claim ends by itself (claimed_until), so a replica that dies holds up its own
// requests for a lease and nobody else's.
//
// State is read, never pushed: whether a tenant is suspended is joined where it
// matters. Replicas share the work through the tables alone; there is no leader.
//
// What the other side needs is here too: Body and SignedHeaders make the request that
// an engine sends, from what the events API tells; Verify takes one apart.
//
// # Tables
//
// Writes: tenant_webhooks, tenant_webhook_deliveries, tenant_webhook_attempts,
// tenant_webhook_stats, webhook_outbox, webhook_senders. Reads: tenant_events, plans,
// and the tenants' effective status. It does not write events of others; its own
// (webhook.disabled, …) go through audit.
//
// Who holds rows of deliveries may come to lock their endpoints, never the other way
// round: what changes deliveries by hand only keeps the endpoint from going.
package webhook
