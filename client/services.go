package client

// services are the client's parts, one a noun.
type services struct{}

func (c *Client) bind() {
	c.services = services{}
}
