package outbound

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"
)

// Allow is something that the operator opens in spite of the guard. It opens as much as it says and no more.
type Allow struct {
	network netip.Prefix // a network, on the permitted ports; or
	host    string       // a host by this very name or address, whatever it resolves to,
	port    uint16       // on this port, 0: any,
	plain   bool         // over http:// too
}

// embedding are the networks whose addresses carry an IPv4 address, which a translator on the way may unpack: to
// open one would open IPv4 as a whole.
var embedding = []netip.Prefix{
	ssrf.IPv6NAT64Prefix,
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64, local (RFC 8215)
	netip.MustParsePrefix("::/96"),          // IPv4-compatible (RFC 4291)
	netip.MustParsePrefix("::ffff:0:0/96"),  // IPv4-mapped
	netip.MustParsePrefix("2002::/16"),      // 6to4
	netip.MustParsePrefix("2001::/32"),      // Teredo
}

// ParseAllow reads one entry of the operator's list:
//
//	10.20.0.0/16           a network, or one address, on the permitted ports
//	idp.corp:8443          a host on one port, whatever address it has; also 10.1.2.3:8443, [fd00::1]:8443
//	http://hooks.corp:8080 the same, over plain http too
//	http://localhost:*     the same, on every port
func ParseAllow(s string) (Allow, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	rest, plain := strings.CutPrefix(text, "http://")
	if prefix, ok := parsePrefix(rest); ok {
		if plain {
			return Allow{}, fmt.Errorf("%q: http:// goes with HOST:PORT, not with a network", s)
		}
		return allowNetwork(s, prefix)
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return Allow{}, fmt.Errorf("%q is neither a network (CIDR), nor HOST:PORT, nor HOST:*", s)
	}
	a := Allow{host: host, plain: plain}
	if port != "*" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Allow{}, fmt.Errorf("%q: %q is no port", s, port)
		}
		a.port = uint16(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return Allow{}, fmt.Errorf("%q: write the address without a zone, and IPv4 as IPv4", s)
		}
		a.host = addr.String()
		return a, nil
	}
	if !validName(host) || endsInNumber(host) {
		return Allow{}, fmt.Errorf("%q: %q is neither an address nor a host name", s, host)
	}
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil
}

func allowNetwork(s string, p netip.Prefix) (Allow, error) {
	if p != p.Masked() {
		return Allow{}, fmt.Errorf("%q has bits behind its prefix: did you mean %s?", s, p.Masked())
	}
	if widest := map[bool]int{true: 8, false: 7}[p.Addr().Is4()]; p.Bits() < widest {
		return Allow{}, fmt.Errorf("%q is wider than /%d: name the networks that you mean", s, widest)
	}
	for _, e := range embedding {
		if p.Overlaps(e) && p != netip.PrefixFrom(netip.IPv6Loopback(), 128) {
			return Allow{}, fmt.Errorf("%q would open IPv4 addresses in IPv6 ones (%s): name the IPv4 network, or use a proxy where there is only NAT64", s, e)
		}
	}
	return Allow{network: p}, nil
}

// String is the entry as ParseAllow reads it.
func (a Allow) String() string {
	if a.network.IsValid() {
		return a.network.String()
	}
	port, scheme := "*", ""
	if a.port != 0 {
		port = strconv.Itoa(int(a.port))
	}
	if a.plain {
		scheme = "http://"
	}
	return scheme + net.JoinHostPort(a.host, port)
}

// opens reports whether the entry opens a host on a port.
func (a Allow) opens(host string, port uint16) bool {
	return a.host != "" && a.host == host && (a.port == 0 || a.port == port)
}

// rule is what may be reached: the ports, the addresses and what the operator has opened.
type rule struct {
	guardian *ssrf.Guardian
	ports    []uint16
	exact    []netip.Addr // addresses that the operator has opened one by one
	hosts    []Allow
	plain    bool
}

// instances are public or easily opened addresses at which clouds answer their machines, some of them with credentials. A
// wider network that is opened leaves them closed.
var instances = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // AWS, Azure, Google, and most others
	netip.MustParseAddr("169.254.170.2"),   // AWS ECS: credentials of the task
	netip.MustParseAddr("169.254.170.23"),  // AWS EKS: credentials of the pod
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd00:ec2::23"),    // AWS EKS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("100.100.100.200"), // Alibaba, inside 100.64.0.0/10
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	wireServer,
}

// wireServer is Azure's, a public address that every virtual machine of Azure reaches.
var wireServer = netip.MustParseAddr("168.63.129.16")

func newRule(c Config) *rule {
	r := &rule{ports: append([]uint16{443, 80}, c.Ports...), plain: c.AllowHTTP}
	var v4, v6 []netip.Prefix
	for _, a := range c.Allow {
		switch {
		case a.host != "":
			r.hosts = append(r.hosts, a)
			continue
		case a.network.Addr().Is4():
			v4 = append(v4, a.network)
		default:
			v6 = append(v6, a.network)
		}
		if a.network.IsSingleIP() {
			r.exact = append(r.exact, a.network.Addr())
		}
	}
	r.guardian = ssrf.New(
		ssrf.WithPorts(r.ports...), ssrf.WithNetworks("tcp4", "tcp6"),
		ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
		ssrf.WithDeniedV4Prefixes(netip.PrefixFrom(wireServer, 32)),
	)
	return r
}

// host returns how far the operator has opened a host on a port.
func (r *rule) host(host string, port uint16) (listed, plain bool) {
	for _, a := range r.hosts {
		if a.opens(host, port) {
			listed, plain = true, plain || a.plain
		}
	}
	return listed, plain
}

// port reports whether a port is open to every host.
func (r *rule) port(port uint16) bool { return slices.Contains(r.ports, port) }

// address returns an error unless an address is open.
func (r *rule) address(ip netip.Addr) error {
	if slices.Contains(instances, ip.Unmap()) && !slices.Contains(r.exact, ip) {
		return fmt.Errorf("%w: %s answers machines of a cloud", ssrf.ErrProhibitedIP, ip)
	}
	return r.guardian.SafeAddr(ip)
}
