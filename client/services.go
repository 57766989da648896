package client

// services are the client's parts, one a noun.
type services struct {
	Operators *Operators
	Services  *Services
	Tokens    *Tokens
	AuditLog  *AuditLog
	APIKeys   *APIKeys
}

func (c *Client) bind() {
	c.services = services{
		Operators: &Operators{c},
		Services:  &Services{c},
		Tokens:    &Tokens{c},
		AuditLog:  &AuditLog{c},
		APIKeys:   &APIKeys{c},
	}
}
