package id

// The kinds of id. Adding a noun adds two lines here.
type (
	// Tenant names a tenant: tenant_….
	Tenant = ID[tenantKind]
	// Project names a project of a tenant: project_….
	Project = ID[projectKind]
	// APIKey names an API key: key_….
	APIKey = ID[apiKeyKind]
	// KeyLeak names a report that an API key has leaked: leak_….
	KeyLeak = ID[keyLeakKind]
	// Operator names a person of the platform: operator_….
	Operator = ID[operatorKind]
	// Service names a service account of the platform: service_….
	Service = ID[serviceKind]
	// Token names an access token of an operator or service account: token_….
	Token = ID[tokenKind]
	// Event names an event of the outbox: event_….
	Event = ID[eventKind]
	// Webhook names an endpoint that is told of events: webhook_….
	Webhook = ID[webhookKind]
	// Delivery names an event on its way to an endpoint: delivery_….
	Delivery = ID[deliveryKind]
	// Attempt names one try of a delivery: attempt_….
	Attempt = ID[attemptKind]
	// AuditEvent names a record of the audit log: audit_….
	AuditEvent = ID[auditKind]
)

type (
	tenantKind   struct{}
	projectKind  struct{}
	apiKeyKind   struct{}
	keyLeakKind  struct{}
	operatorKind struct{}
	serviceKind  struct{}
	tokenKind    struct{}
	eventKind    struct{}
	webhookKind  struct{}
	deliveryKind struct{}
	attemptKind  struct{}
	auditKind    struct{}
)

func (tenantKind) prefix() string   { return "tenant" }
func (projectKind) prefix() string  { return "project" }
func (apiKeyKind) prefix() string   { return "key" }
func (keyLeakKind) prefix() string  { return "leak" }
func (operatorKind) prefix() string { return "operator" }
func (serviceKind) prefix() string  { return "service" }
func (tokenKind) prefix() string    { return "token" }
func (eventKind) prefix() string    { return "event" }
func (webhookKind) prefix() string  { return "webhook" }
func (deliveryKind) prefix() string { return "delivery" }
func (attemptKind) prefix() string  { return "attempt" }
func (auditKind) prefix() string    { return "audit" }

// InternalTenant is the platform's own tenant, made by a migration. Events that
// concern no single tenant (the catalogue was applied, …) are filed under it.
var InternalTenant = MustParse[Tenant]("00000000-0000-0000-0000-000000000001")
