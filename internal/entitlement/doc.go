// Package entitlement holds which tenant may use which product, with which
// configuration, until when.
//
//	(none) ──plan──▶ source plan ◀──delete── source override, trial ◀──put── (any)
//	                     │                        survives a change of plan, except
//	                     └──other plan──▶ (none)  a trial of what the plan now gives
//
// Whether a tenant is entitled is decided at the instant of the question: the
// tenant's effective status, then whether there is an entitlement, whether it is
// enabled, and whether its end has come. A frozen tenant stays entitled, read-only.
//
// Invariants: what is in force, the product's default configuration with the
// entitlement's own laid over it, satisfies the product's schema whenever an
// entitlement is written; a tenant's own credential changes the entitlements of
// the tenants below it, never its own, and grants only what its tenant is
// entitled to itself at that moment; each change writes one audit record and one
// change-feed note, and a change that changes nothing writes none.
//
// ApplyPlan copies a plan's products and limits to a tenant in the transaction of
// whoever creates it or changes its plan.
//
// Writes: tenant_products, tenant_limits. Reads: products, plans, plan_products,
// plan_limits, and of tenants the effective status and the plan. Package catalog
// says what a configuration may hold. It deliberately does not end what a reseller
// has granted when the reseller's own entitlement ends: those are contracts of
// their own.
package entitlement
