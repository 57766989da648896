package client

// services are the client's parts, one a noun.
type services struct {
	Tenants    *Tenants
	Operators  *Operators
	Services   *Services
	Tokens     *Tokens
	AuditLog   *AuditLog
	APIKeys    *APIKeys
	RateLimits *RateLimits

	Catalog      *Catalog
	Entitlements *Entitlements
	Projects     *Projects
	Events       *Events
	Webhooks     *Webhooks
}

func (c *Client) bind() {
	c.services = services{
		Tenants:    &Tenants{c},
		Operators:  &Operators{c},
		Services:   &Services{c},
		Tokens:     &Tokens{c},
		AuditLog:   &AuditLog{c},
		APIKeys:    &APIKeys{c},
		RateLimits: &RateLimits{c},

		Catalog:      &Catalog{c},
		Entitlements: &Entitlements{c},
		Projects:     &Projects{c},
		Events:       &Events{c},
		Webhooks:     &Webhooks{c},
	}
}
