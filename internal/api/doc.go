// Package api is the REST face: JSON over HTTP, described by OpenAPI 3.1 that is
// generated from the Go types. It translates; no rule and no SQL lives here.
//
// One file a capability. Each has the wire types, which stand still while a
// table moves, and one function that registers its operations:
//
//	func (a *API) tenantRoutes() {
//		route(a, op{ID: "create-tenant", Method: "POST", Path: "/v1/tenants", Creates: true, …}, a.createTenant)
//
//	func (a *API) createTenant(ctx context.Context, in *createTenantInput) (*created[Tenant], error)
//
// A handler decodes nothing and knows no status: its errors are faults, and
// problem.go turns those into RFC 9457 documents. Everything below /v1 needs a
// credential; the principal is in ctx. What all requests have in common
// (request id, log, recover, limits, credential, Idempotency-Key) is in
// middleware.go.
//
// openapi.json is a golden file: go test ./internal/api -update rewrites it, and
// a field that was removed or renamed is a failed review.
package api
