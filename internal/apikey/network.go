package apikey

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// maxNetworks is the most networks the allow-list of a key or policy may have.
const maxNetworks = 100

// fewNetworks is up to how many a walk along a slice beats a routing table.
const fewNetworks = 8

// ParseNetwork reads an address or a CIDR, IPv4 or IPv6, as an allow-list keeps
// it: host bits cleared, an IPv4 address that is written as IPv6 turned back.
func ParseNetwork(s string) (netip.Prefix, bool) {
	var p netip.Prefix
	if strings.Contains(s, "/") {
		var err error
		if p, err = netip.ParsePrefix(s); err != nil {
			return netip.Prefix{}, false
		}
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return normalNetwork(p)
}

func normalNetwork(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		// Fewer bits would mean more than IPv4, and nobody means that.
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// normalNetworks sorts and removes what is there twice.
func normalNetworks(in []netip.Prefix) ([]netip.Prefix, bool) {
	out := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		n, ok := normalNetwork(p)
		if !ok {
			return nil, false
		}
		out = append(out, n)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), true
}

// networks is the allow-list of a key or policy, ready to be asked. None allows every address.
type networks struct {
	few  []netip.Prefix
	many *bart.Lite
}

func newNetworks(list []netip.Prefix) networks {
	if len(list) <= fewNetworks {
		return networks{few: list}
	}
	n := networks{many: new(bart.Lite)}
	for _, p := range list {
		n.many.Insert(p)
	}
	return n
}

// parseNetworks reads a list as the database writes it. What it can't read it
// leaves out, which allows less, not more.
func parseNetworks(list string) networks {
	var all []netip.Prefix
	for s := range strings.FieldsSeq(list) {
		if p, ok := ParseNetwork(s); ok {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return networks{many: new(bart.Lite)} // allows nobody
	}
	return newNetworks(all)
}

// allow reports whether a caller at ip may come in. An address that is not known
// is allowed only where there is no list.
func (n networks) allow(ip netip.Addr) bool {
	if len(n.few) == 0 && n.many == nil {
		return true
	}
	if !ip.IsValid() {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if n.many != nil {
		return n.many.Contains(ip)
	}
	for _, p := range n.few {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// bytes is about what the list takes.
func (n networks) bytes() int {
	b := 32 * len(n.few)
	if n.many != nil {
		b += 100 * n.many.Size()
	}
	return b
}
