// Package tenant holds the tenants: who they are, whom they lie below, and
// where in their life they stand.
//
//	demo ───────────────────────────archive──────────▶ archived
//	trial ──trial_ends_at, freeze, cancel──▶ frozen ──30 d, archive──▶ archived ──delete──▶ (deleted)
//	trial ──activate──▶ active ──contract_end, freeze, cancel──▶ frozen ──reactivate──▶ active
//	trial, active, frozen ──suspend──▶ suspended ──resume──▶ where it was; ──archive──▶ archived
//	archived ──restore──▶ frozen (a demo tenant: demo)
//
// Every transition is a row of the table in lifecycle.go; nothing else changes a
// status. Those with a date run from database state (Tick), so one that was
// missed while every replica was down happens at the next tick, once. The grace
// of a frozen tenant counts from the moment it really froze, and stands still
// while the tenant is suspended: nobody loses the time to fetch their data.
//
// Invariants: tenants are a tree of at most MaxDepth levels without cycles;
// ancestors holds the path from the root to the parent and changes with it in one
// transaction; the effective status of a tenant is the strictest of its own and
// its ancestors'; each change writes one audit record, one event, and, when a
// verified key could depend on it, one change-feed note. A note about a tenant
// speaks for the tenants below it too.
//
// What a tenant's own credential may do is narrower than what the platform may:
//
//   - it creates tenants only below its own, and only where the parent is a
//     reseller or an enterprise; it sees and changes its own and those below it;
//   - it never changes its own lifecycle, plan, slug or place in the tree;
//   - kinds internal and demo, the status and dates a tenant starts with,
//     external_id, erp_customer_id, stripe_cust_id, contract dates and
//     sales_owner are the platform's. External references are unique across
//     tenants, so a reseller who could set them could probe for others';
//   - legal hold and deletion are the platform's;
//   - a tenant which the platform itself froze, suspended or archived
//     (status_locked) leaves that status only by the platform.
//
// Locks, in this order: the tree lock (advisory, shared to create below a
// parent, exclusive to move or delete), then tenants rows, from the subtree's
// root down.
//
// Writes: tenants. Reads: tenants. Its statements run in operator scope, because
// a tenant and those above and below it are different tenants to row-level
// security; access.Require and the subtree condition of each statement stand in
// front. It deliberately does not touch keys, entitlements or domains when a
// status changes: they read it. Entitlements and limits of a plan are written
// through the Provision function that the composition root passes in.
package tenant
