// Package project holds sub-tenancy: projects that a tenant divides itself into.
//
//	(none) ──create──▶ active ──archive──▶ archived
//	                     ▲                    │
//	                     └──────restore───────┘
//
// Every tenant works in one implicit default project. It has no row and no id,
// is not listed and can't be archived: wherever a project may be named, naming
// none means it. The slug "default" is therefore not to be had.
//
// Invariants: an explicit project is created only while the tenant is entitled
// to a product whose manifest supports projects; keys of an archived project do
// not verify, and do again when it is restored; an archived project is not
// changed; each change writes one audit record, and a change-feed note where a
// verified key depends on it.
//
// Writes: tenant_projects. Reads: the effective status of the tenant, and
// tenant_products with products to know whether projects are supported. It
// deliberately does not touch keys when a project is archived: they read it.
package project
