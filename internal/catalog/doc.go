// Package catalog holds what the platform sells and measures: products with
// their manifests, plans, meters, setting definitions and event types. It is
// data, written as code and applied as a whole.
//
//	*.yaml ── Load: problems with file and line ──▶ Document ── Apply ──▶ tables
//	                                                   │
//	               Diff(tables, document) ◀────────────┘   one transaction, one audit record
//
// Ownership: a document is the whole catalogue. What it does not have is
// removed; the plan starter, which every catalogue has, then goes back to being
// empty, and landlord's own event types (built in) are neither listed in a
// document nor removed by it. What tenants use is not removed: Apply fails with
// catalog_in_use and says who uses it. Archive a plan to keep it for those who
// are on it and from everybody else.
//
// Invariants: applying a document twice changes and records nothing the second
// time; two that apply at once take turns on the row of catalog_state; a
// product's new schema is refused while a tenant's configuration breaks it;
// whoever validates a configuration holds the product's row FOR SHARE, so that
// the schema can't move underneath.
//
// Plans are templates: entitlement copies what a plan gives when a tenant is
// created or changes plan, so an edited plan changes no tenant by itself. Default
// configurations are not copied but read, and reach every tenant at once.
//
// Writes: products, plans, plan_products, plan_limits, meters,
// setting_definitions, event_types, catalog_state. Reads, to say where something
// is in use: tenants, tenant_products, api_keys, tenant_limits,
// tenant_usage_daily, tenant_settings, tenant_webhooks.
package catalog
