package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/landlordhq/landlord/internal/fault"
)

const (
	maxURL      = 2048            // bytes of a URL
	resolveWait = 2 * time.Second // for DNS when a URL is saved
)

// target is where a URL leads, once it has passed the rule.
type target struct {
	url    url.URL // its host in lower case
	host   string  // a name, or an address without brackets
	addr   netip.Addr
	port   uint16
	listed bool // the operator has opened this host on this port
}

// hostPort names the target among those that connections are pooled for.
func (t target) hostPort() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

// CheckURL tells whether Do would send to a URL, for when it is saved: nil, or a fault about the field with what is wrong.
//
// With resolve it also asks DNS, for 2 s at most, and refuses a name all of whose addresses are forbidden. A name that doesn't
// resolve passes: it may be made later. What DNS says now is a courtesy; the guard decides at each connection.
func (c *Client) CheckURL(ctx context.Context, field, text string, resolve bool) error {
	t, bad := c.rule.target(text)
	if bad == nil && resolve {
		bad = c.resolves(ctx, t)
	}
	if bad == nil {
		return nil
	}
	bad.Field.Field = field
	return fault.Invalid(bad.Field)
}

// resolves refuses a name whose addresses are all forbidden.
func (c *Client) resolves(ctx context.Context, t target) *violation {
	if t.listed || t.addr.IsValid() || c.proxy.covers(&t.url) { // the proxy may see another DNS
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	ips, err := c.dialer.Resolver.LookupNetIP(ctx, "ip", rooted(t.host))
	if err != nil {
		return nil // it may resolve when it is needed
	}
	for _, ip := range ips {
		if c.rule.address(ip.Unmap()) == nil {
			return nil
		}
	}
	return &violation{AddressNotAllowed, fault.Field{
		Code: "address_not_allowed", Message: fmt.Sprintf("%s resolves only to addresses that are not allowed: private, reserved or of a cloud's own.", t.host),
	}}
}

// violation is what is wrong with a URL: for Do, and for who saves it.
type violation struct {
	class Class
	fault.Field
}

func malformed(format string, args ...any) *violation {
	return &violation{URLNotAllowed, fault.Field{Code: "url_malformed", Message: fmt.Sprintf(format, args...)}}
}

// target applies the rule to a URL. It accepts only what every reader takes for the same host: anything that one resolver, proxy
// or library reads differently from another is refused.
func (r *rule) target(text string) (target, *violation) {
	u, bad := parseURL(text)
	if bad != nil {
		return target{}, bad
	}
	t := target{url: *u}
	if bad := t.readHost(); bad != nil {
		return target{}, bad
	}
	var plain bool
	t.listed, plain = r.host(t.host, t.port)
	if u.Scheme == "http" && !plain && !r.plain {
		return target{}, &violation{URLNotAllowed, fault.Field{Code: "scheme_not_allowed", Message: "The URL must begin with https://."}}
	}
	if t.listed {
		return t, nil
	}
	if !r.port(t.port) {
		return target{}, &violation{PortNotAllowed, fault.Field{
			Code: "port_not_allowed", Message: fmt.Sprintf("Port %d is not allowed. Allowed are %s.", t.port, enumerate(r.ports)),
		}}
	}
	if t.addr.IsValid() && r.address(t.addr) != nil {
		return target{}, &violation{AddressNotAllowed, fault.Field{
			Code: "address_not_allowed", Message: fmt.Sprintf("The address %s is not allowed: it is private, reserved or of a cloud's own.", t.addr),
		}}
	}
	if !t.addr.IsValid() && (!strings.Contains(t.host, ".") || strings.HasSuffix(t.host, ".localhost")) {
		return target{}, &violation{AddressNotAllowed, fault.Field{
			Code: "host_not_allowed", Message: fmt.Sprintf("The host %s is not a public one: write its full name.", t.host),
		}}
	}
	return t, nil
}

// parseURL reads a URL and refuses what has no business in one that is called.
func parseURL(text string) (*url.URL, *violation) {
	switch {
	case text == "":
		return nil, &violation{URLNotAllowed, fault.Field{Code: "required", Message: "A URL is needed."}}
	case len(text) > maxURL:
		return nil, &violation{URLNotAllowed, fault.Field{Code: "too_long", Message: fmt.Sprintf("A URL has at most %d characters.", maxURL)}}
	}
	for _, c := range []byte(text) {
		switch {
		case c <= ' ' || c == 0x7f:
			return nil, malformed("The URL holds a space or a control character.")
		case c == '\\':
			return nil, malformed("The URL holds a backslash.")
		case c >= 0x80:
			return nil, malformed("The URL holds a character outside ASCII. %s", ascii(text))
		}
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, malformed("This is not a URL.") // err would repeat it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, &violation{URLNotAllowed, fault.Field{Code: "scheme_not_allowed", Message: "The URL must begin with https://."}}
	case u.Opaque != "" || u.Host == "":
		return nil, malformed("The URL has no host: write https://HOST/PATH.")
	case u.User != nil:
		return nil, &violation{URLNotAllowed, fault.Field{
			Code: "userinfo_not_allowed", Message: "The URL holds a user name or password before the host. Send credentials in a header.",
		}}
	case strings.Contains(text, "#"):
		return nil, &violation{URLNotAllowed, fault.Field{Code: "fragment_not_allowed", Message: "The URL has a fragment (#…), which is never sent."}}
	}
	return u, nil
}

// ascii says how to write what isn't ASCII.
func ascii(text string) string {
	if u, err := url.Parse(text); err == nil {
		if host, err := idna.Lookup.ToASCII(u.Hostname()); err == nil && host != u.Hostname() {
			return fmt.Sprintf("Write the host as %s.", host)
		}
	}
	return "Write it as %XX, in the host as xn--…."
}

// readHost takes the host and port from the URL, in the one form that the dialer gets.
func (t *target) readHost() *violation {
	host, port := strings.ToLower(t.url.Hostname()), t.url.Port()
	if strings.HasSuffix(t.url.Host, ":") {
		return malformed("There is no port behind the colon.")
	}
	switch {
	case port == "" && t.url.Scheme == "http":
		t.port = 80
	case port == "":
		t.port = 443
	default:
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return malformed("The port is a number from 1 to 65535.")
		}
		t.port = uint16(n)
	}
	bracketed := strings.HasPrefix(t.url.Host, "[")
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Zone() != "":
		return malformed("The address has a zone (%%), which means something on one machine only.")
	case err == nil && addr.Is4In6():
		return malformed("Write an IPv4 address as IPv4.")
	case err == nil && bracketed == addr.Is6():
		t.addr, host = addr, addr.String()
	case bracketed || err == nil:
		return malformed("In brackets stands an IPv6 address.")
	case strings.HasSuffix(host, "."):
		return malformed("The host ends in a dot: leave it out.")
	case endsInNumber(host):
		return malformed("%q is no IPv4 address of four decimal numbers, and no host name ends in a number.", host)
	case !validName(host):
		return malformed("%q is not a host name.", host)
	}
	t.host, t.url.Host = host, host
	if t.addr.Is6() {
		t.url.Host = "[" + host + "]"
	}
	if port != "" {
		t.url.Host += ":" + port
	}
	return nil
}

// endsInNumber finds the decimal, hexadecimal, octal and short forms of IPv4 addresses, which some resolvers understand
// (2130706433, 0x7f.1, 0177.0.0.1, 127.1), by the rule of the URL standard: the last label is a number.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// validName holds names to letters, digits, - and _, in lower case.
func validName(host string) bool {
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func enumerate(ports []uint16) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = strconv.Itoa(int(p))
	}
	return strings.Join(texts, ", ")
}

// refusal is the violation as an error of Do.
func (v *violation) refusal() *Error {
	return &Error{Class: v.class, Detail: v.Message, Err: errors.New(v.Code)}
}
