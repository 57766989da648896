package outbound

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// special are addresses that no tenant may reach, a few of each kind, and the two that anybody may.
var special = map[string][]string{
	"loopback, private, link-local": {"127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"},
	"unspecified, multicast":        {"0.0.0.0", "::", "224.0.0.1", "ff02::1"},
	"v6 loopback, link-local, ULA, mapped": {
		"::1", "fe80::1", "fc00::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
	},
	"this network, CGNAT":         {"0.1.2.3", "100.64.0.1"},
	"IETF, benchmark, reserved":   {"192.0.0.1", "192.0.0.192", "198.18.0.1", "240.0.0.1", "255.255.255.255"},
	"documentation":               {"192.0.2.1", "198.51.100.1", "203.0.113.1"},
	"6to4 relay, AS112, AMT":      {"192.88.99.1", "192.31.196.1", "192.175.48.1", "192.52.193.1"},
	"v4 inside v6":                {"::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1"},
	"other special v6":            {"2001:10::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "fec0::1"},
	"a cloud's, though public":    {"168.63.129.16"},
	"that cloud's, inside v6":     {"::ffff:168.63.129.16", "64:ff9b::a83f:8110"},
	"more of what v0.3.0 refuses": {"2001:1ff::1", "2620:4f:8000::1"},
}

var public = []string{"8.8.8.8", "2606:4700::1111"}

func TestSpecial_count(t *testing.T) {
	t.Parallel()
	n := len(public)
	for _, addrs := range special {
		n += len(addrs)
	}
	if n < 45 {
		t.Errorf("the table has %d addresses", n)
	}
}

// Each special address, as the answer of DNS: refused by the guard, at both ports, while what listens on all addresses of this
// machine sees nothing. (TestGuard_everyAddressIsHere has a listener on all of them.)
func TestGuard_special(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	listener := func(network, address string) string {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }), ConnState: func(net.Conn, http.ConnState) { seen.Add(1) }}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	port := listener("tcp", ":0")
	n, _ := strconv.Atoi(port)
	d := newDNS(t)
	c := newClient(t, Config{Resolver: d.Resolver, AllowHTTP: true, Ports: []uint16{uint16(n)}})
	for kind, addrs := range special {
		for i, addr := range addrs {
			name := fmt.Sprintf("h%d-%s.example", i, strings.Trim(strings.Map(letters, kind), "-"))
			d.set(name, addr)
			for _, u := range []string{"http://" + name, "https://" + name, "http://" + name + ":" + port} {
				res, err := c.Do(t.Context(), Request{URL: u})
				if ClassOf(err) != AddressNotAllowed {
					t.Errorf("%s, %s: got %+v, %v", kind, addr, res, err)
				}
				if strings.Contains(detail(err), addr) {
					t.Errorf("%s: the tenant learns the address: %s", addr, detail(err))
				}
			}
			if err := c.CheckURL(t.Context(), "url", "https://"+name, true); err == nil {
				t.Errorf("%s, %s: saved", kind, addr)
			}
			literal := addr
			if strings.Contains(addr, ":") {
				literal = "[" + addr + "]"
			}
			for _, u := range []string{"http://" + literal, "http://" + literal + ":" + port} {
				if _, err := c.Do(t.Context(), Request{URL: u}); err == nil || !slices.Contains([]Class{AddressNotAllowed, URLNotAllowed}, ClassOf(err)) {
					t.Errorf("%s: %v", u, err)
				}
			}
		}
	}
	if seen.Load() != 0 {
		t.Errorf("the listener saw %d connections", seen.Load())
	}
	for _, addr := range public {
		if err := c.rule.control("tcp4", netip.AddrPortFrom(netip.MustParseAddr(addr), 443).String(), nil); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

func TestGuard_portsAndNetworks(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Ports: []uint16{8443}})
	for _, tc := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp4", "8.8.8.8:80", true},
		{"tcp4", "8.8.8.8:8443", true},
		{"tcp4", "8.8.8.8:22", false},
		{"tcp4", "8.8.8.8:0", false},
		{"tcp6", "[2606:4700::1111]:443", true},
		{"tcp6", "[fe80::1%lo]:443", false},
		{"udp4", "8.8.8.8:443", false},
		{"unix", "/run/x.sock", false},
	} {
		if err := c.rule.control(tc.network, tc.address, nil); (err == nil) != tc.ok {
			t.Errorf("%s %s: %v", tc.network, tc.address, err)
		}
	}
}

// The answer of DNS changes between the check and the connection, and between connections.
func TestGuard_rebinding(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	s := receiver(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	port := portOf(t, s.URL)
	n, _ := strconv.Atoi(port)
	d := newDNS(t)
	var asked atomic.Int64
	d.setFunc("rebind.example", func() []string {
		if asked.Add(1) <= 2 { // A and AAAA of the check
			return []string{"8.8.8.8"}
		}
		return []string{"127.0.0.1"}
	})
	c := newClient(t, Config{Resolver: d.Resolver, AllowHTTP: true, Ports: []uint16{uint16(n)}})
	u := "http://rebind.example:" + port
	if err := c.CheckURL(t.Context(), "url", u, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != AddressNotAllowed {
		t.Errorf("got %v", err)
	}
	if hits.Load() != 0 {
		t.Error("the listener was reached")
	}
}

// A pooled connection leads where it led when it was made: the guard saw that, and DNS has no say in it any more.
func TestGuard_pooledConnection(t *testing.T) {
	t.Parallel()
	s := receiver(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	port := portOf(t, s.URL)
	d := newDNS(t)
	d.set("hooks.example", "127.0.0.1")
	// The operator's network is open, loopback as a whole is not.
	c := newClient(t, Config{Resolver: d.Resolver, AllowHTTP: true, Ports: []uint16{uint16(must(strconv.Atoi(port)))}}, "127.0.0.1")
	u := "http://hooks.example:" + port
	first, err := c.Do(t.Context(), Request{URL: u})
	if err != nil || first.Reused {
		t.Fatalf("got %+v, %v", first, err)
	}
	d.set("hooks.example", "127.0.0.2")
	second, err := c.Do(t.Context(), Request{URL: u})
	if err != nil || !second.Reused || second.Remote != first.Remote {
		t.Errorf("got %+v, %v; want the first connection", second, err)
	}
	c.shared.closeIdle()
	if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != AddressNotAllowed {
		t.Errorf("got %v from a fresh connection", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What is opened is opened as far as it says.
func TestAllow_opensNoMore(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	d.set("idp.corp", "10.1.1.1")
	d.set("evil.example", "10.1.1.1")
	c := newClient(t, Config{Resolver: d.Resolver}, "idp.corp:8443", "10.2.0.0/16", "fd00:ec2::/32", "100.64.0.0/10", "http://plain.corp:*", "[fd01::1]:9000", "127.0.0.1")
	for u, want := range map[string]Class{
		"https://idp.corp:8443":          "",
		"https://IDP.corp:8443":          "",
		"http://idp.corp:8443":           URLNotAllowed,
		"https://idp.corp:9443":          PortNotAllowed,
		"https://sub.idp.corp:8443":      PortNotAllowed,
		"https://evil.example:8443":      PortNotAllowed,
		"https://10.2.3.4":               "",
		"https://10.2.3.4:8443":          PortNotAllowed,
		"https://10.3.3.4":               AddressNotAllowed,
		"https://127.0.0.1":              "",
		"https://127.0.0.2":              AddressNotAllowed,
		"https://[::ffff:127.0.0.1]":     URLNotAllowed,
		"https://[fd01::1]:9000":         "",
		"https://[fd01:0::0:1]:9000":     "",
		"https://[fd01::1]":              AddressNotAllowed,
		"https://[fd00:ec2::253]":        "",
		"https://[fd00:ec2::254]":        AddressNotAllowed, // a cloud's, in a wider network
		"https://100.100.100.201":        "",
		"https://100.100.100.200":        AddressNotAllowed,
		"http://plain.corp":              "",
		"http://plain.corp:1234":         "",
		"https://plain.corp:1234":        "",
		"http://plain.corp.evil.example": URLNotAllowed,
	} {
		_, bad := c.rule.target(u)
		var got Class
		if bad != nil {
			got = bad.class
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", u, got, want)
		}
	}
	// The address of an opened host is open to that host only.
	if _, err := c.Do(t.Context(), Request{URL: "https://evil.example"}); ClassOf(err) != AddressNotAllowed {
		t.Errorf("got %v", err)
	}
}

func TestParseAllow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.168.1.7": "192.168.1.7/32", "fd00::/8": "fd00::/8", "::1": "::1/128", "fc00::/7": "fc00::/7",
		"IdP.Corp:8443": "idp.corp:8443", "localhost:*": "localhost:*", "http://localhost:*": "http://localhost:*",
		"http://127.0.0.1:9000": "http://127.0.0.1:9000", "[FD00::1]:443": "[fd00::1]:443",
	} {
		a, err := ParseAllow(in)
		if err != nil || a.String() != want {
			t.Errorf("%q: got %q, %v", in, a, err)
			continue
		}
		again, err := ParseAllow(a.String())
		if err != nil || !cmp.Equal(again, a, cmp.AllowUnexported(Allow{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
			t.Errorf("%q does not read what it wrote: %v, %v", in, again, err)
		}
	}
	for in, because := range map[string]string{
		"":                    "neither",
		"example.com":         "neither",
		"https://x.com:443":   "neither",
		"x.com:0":             "no port",
		"x.com:70000":         "no port",
		"x.com:http":          "no port",
		"10.0.0.1/8":          "bits behind",
		"0.0.0.0/0":           "wider than /8",
		"::/0":                "wider than /7",
		"64:ff9b::/96":        "IPv4 addresses",
		"2002:a00::/24":       "IPv4 addresses",
		"::ffff:10.0.0.0/104": "IPv4 addresses",
		"::ffff:10.0.0.1":     "IPv4 addresses",
		"http://10.0.0.0/8":   "HOST:PORT",
		"[fe80::1%lo]:80":     "zone",
		"127.1:80":            "neither an address nor a host name",
		"x_.-:80":             "neither an address nor a host name",
		"*.corp:443":          "neither an address nor a host name",
	} {
		if a, err := ParseAllow(in); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%q: got %q, %v, want %q", in, a, err, because)
		}
	}
}

// A search domain of this machine has no part in what a tenant's name means.
func TestDial_rootedNames(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	c := newClient(t, Config{Resolver: d.Resolver})
	if _, err := c.Do(t.Context(), Request{URL: "https://db.prod"}); ClassOf(err) != DNSFailed {
		t.Errorf("got %v", err)
	}
	for _, name := range d.queries() {
		if name != "db.prod." {
			t.Errorf("asked for %s", name)
		}
	}
}
