// Package access answers one question: may this principal do this to that tenant?
//
// A Principal is made by a face from a credential and travels in the context.
// Every exported operation of a capability begins with Require or
// RequirePlatform. A tenant that is not the principal's answers "not found",
// never "forbidden", so that a stranger can't learn which tenants exist.
//
//	platform principal (operator, service account)   every tenant
//	tenant principal (API key, confined service, JWT) its own tenant and the tenants below it
//
// Package access reads nothing: whether a tenant lies below another is asked
// through Principal.Within, which the composition root provides.
package access
