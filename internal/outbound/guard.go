package outbound

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// dial makes every connection to what tenants name. It is the transports' DialContext.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	d := c.dialer
	if listed, _ := c.rule.host(host, uint16(port)); !listed {
		d.Control = c.rule.control
		address = net.JoinHostPort(rooted(host), portText)
	}
	return d.DialContext(ctx, network, address)
}

// control is the guard: net.Dialer calls it with each address that it is about to connect to.
func (r *rule) control(network, address string, raw syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if err := r.guardian.Safe(network, address, raw); err != nil {
		return err
	}
	return r.address(to.Addr())
}

// rooted keeps the search domains of this machine out of what a tenant's name means: "db.prod" is not
// "db.prod.svc.cluster.local".
func rooted(host string) string {
	if _, err := netip.ParseAddr(host); err == nil || strings.HasSuffix(host, ".") {
		return host
	}
	return host + "."
}

// dialProxy connects to the configured proxy, whatever the transport asks for: proxied transports never dial anything else.
func (c *Client) dialProxy(ctx context.Context, network, _ string) (net.Conn, error) {
	conn, err := c.dialer.DialContext(ctx, network, c.proxy.address)
	if err != nil || c.proxy.tls == nil {
		return conn, err
	}
	return c.proxy.handshake(ctx, conn, c.tlsTimeout)
}
