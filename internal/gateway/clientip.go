package gateway

import (
	"net/netip"
	"slices"
	"strings"
)

// clientIP finds the client behind trusted proxies. The peer must be one; then
// X-Forwarded-For is read from the right, where each proxy appended whom it heard
// from, and the first address that is no trusted proxy is the client's. When all
// of them are, it is the left-most. Anything that can't be read makes the answer
// "unknown": what stands further left is the client's own word.
func clientIP(peer string, forwarded []string, trusted []netip.Prefix) netip.Addr {
	ip, ok := parseHop(peer)
	if !ok || !contains(trusted, ip) {
		return netip.Addr{}
	}
	return walk(netip.Addr{}, forwarded, trusted)
}

// envoyClient finds the client of an Envoy, which tells who is connected to it
// beside X-Forwarded-For. That one need not be in the header: whether Envoy appends
// it is a matter of its configuration (use_remote_address). So the header counts
// only when he is a trusted proxy himself.
func envoyClient(peer netip.Addr, source string, forwarded []string, trusted []netip.Prefix) netip.Addr {
	if !contains(trusted, normal(peer)) {
		return netip.Addr{}
	}
	ip, ok := parseHop(source)
	if !ok || !contains(trusted, ip) {
		return ip
	}
	return walk(ip, forwarded, trusted)
}

// walk reads X-Forwarded-For, which a trusted proxy sent. Without any, the
// answer is who is nearest.
func walk(nearest netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	found := nearest
	for _, rest := range slices.Backward(forwarded) {
		more := true
		for more {
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				hop, more = rest, false
			}
			ip, ok := parseHop(strings.Trim(hop, " \t"))
			if !ok {
				return netip.Addr{}
			}
			if !contains(trusted, ip) {
				return ip
			}
			found = ip
		}
	}
	return found
}

// parseHop reads an address, with or without a port, in brackets or not.
func parseHop(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return normal(ap.Addr()), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	ip, err := netip.ParseAddr(s)
	return normal(ip), err == nil
}

func normal(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

func contains(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
