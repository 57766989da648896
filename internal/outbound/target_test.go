package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Ports: []uint16{8443}}, "http://localhost:*")
	for u, want := range map[string]string{
		"https://example.com":                         "",
		"https://example.com/":                        "",
		"https://EXAMPLE.com/Path?q=1&r=%20#":         "fragment_not_allowed",
		"https://example.com/Path?q=1&r=%20":          "",
		"HTTPS://example.com":                         "",
		"https://a_b.example-1.com:8443/x":            "",
		"https://xn--bcher-kva.example":               "",
		"https://8.8.8.8":                             "",
		"https://[2606:4700::1111]:443/":              "",
		"https://[2606:4700:0:0::1111]":               "",
		"http://localhost:3000/hook":                  "",
		"https://localhost":                           "",
		"":                                            "required",
		"https://" + strings.Repeat("a", 2050):        "too_long",
		"example.com":                                 "scheme_not_allowed",
		"//example.com":                               "scheme_not_allowed",
		"http://example.com":                          "scheme_not_allowed",
		"ftp://example.com":                           "scheme_not_allowed",
		"file:///etc/passwd":                          "scheme_not_allowed",
		"javascript:alert(1)":                         "scheme_not_allowed",
		"gopher://127.0.0.1:6379/_x":                  "scheme_not_allowed",
		"https:example.com":                           "url_malformed",
		"https:///path":                               "url_malformed",
		"https://":                                    "url_malformed",
		"https://?q":                                  "url_malformed",
		"https://:443":                                "url_malformed",
		" https://example.com":                        "url_malformed",
		"https://example.com ":                        "url_malformed",
		"https://example.com\n":                       "url_malformed",
		"https://exam\tple.com":                       "url_malformed",
		"https://example.com\x00.evil.com":            "url_malformed",
		"https://example.com\\@evil.com":              "url_malformed",
		"https:\\\\example.com":                       "url_malformed",
		"https://bücher.example":                      "url_malformed",
		"https://example。com":                         "url_malformed",
		"https://①②⑦.0.0.1":                           "url_malformed",
		"https://example.com/ü":                       "url_malformed",
		"https://\xff.example":                        "url_malformed",
		"https://user@example.com":                    "userinfo_not_allowed",
		"https://user:pw@example.com":                 "userinfo_not_allowed",
		"https://@example.com":                        "userinfo_not_allowed",
		"https://example.com@127.0.0.1":               "userinfo_not_allowed",
		"https://127.0.0.1#@example.com":              "fragment_not_allowed",
		"https://example.com/#frag":                   "fragment_not_allowed",
		"https://example.com.":                        "url_malformed",
		"https://127.0.0.1.":                          "url_malformed",
		"https://localhost.":                          "url_malformed",
		"https://.example.com":                        "url_malformed",
		"https://example..com":                        "url_malformed",
		"https://-x.example":                          "url_malformed",
		"https://ex*mple.com":                         "url_malformed",
		"https://ex%61mple.com":                       "url_malformed",
		"https://example.com%2f.evil.com":             "url_malformed",
		"https://" + strings.Repeat("a", 64) + ".com": "url_malformed",
		"https://example.com:":                        "url_malformed",
		"https://example.com:0":                       "url_malformed",
		"https://example.com:0443":                    "url_malformed",
		"https://example.com:65979":                   "url_malformed",
		"https://example.com:443:443":                 "url_malformed",
		"https://example.com:+443":                    "url_malformed",
		"https://example.com:22":                      "port_not_allowed",
		"https://example.com:6379":                    "port_not_allowed",
		"https://8.8.8.8:25":                          "port_not_allowed",
		"https://2130706433":                          "url_malformed",
		"https://0x7f000001":                          "url_malformed",
		"https://0x7f.1":                              "url_malformed",
		"https://017700000001":                        "url_malformed",
		"https://0177.0.0.1":                          "url_malformed",
		"https://127.1":                               "url_malformed",
		"https://127.0.1":                             "url_malformed",
		"https://127.0.0.01":                          "url_malformed",
		"https://1.2.3.4.5":                           "url_malformed",
		"https://256.1.1.1":                           "url_malformed",
		"https://example.0x7f":                        "url_malformed",
		"https://example.0x":                          "url_malformed",
		"https://[::1%25lo]":                          "url_malformed",
		"https://[fe80::1%25eth0]":                    "url_malformed",
		"https://[::ffff:8.8.8.8]":                    "url_malformed",
		"https://[8.8.8.8]":                           "url_malformed",
		"https://[example.com]":                       "url_malformed",
		"https://[::1":                                "url_malformed",
		"https://::1":                                 "url_malformed",
		"https://[]":                                  "url_malformed",
		"https://127.0.0.1":                           "address_not_allowed",
		"https://10.0.0.1":                            "address_not_allowed",
		"https://169.254.169.254/latest/":             "address_not_allowed",
		"https://168.63.129.16":                       "address_not_allowed",
		"https://[::1]":                               "address_not_allowed",
		"https://[fd00:ec2::254]":                     "address_not_allowed",
		"https://[64:ff9b::7f00:1]":                   "address_not_allowed",
		"https://intranet":                            "host_not_allowed",
		"https://app.localhost":                       "host_not_allowed",
	} {
		err := c.CheckURL(t.Context(), "endpoint.url", u, false)
		got := ""
		if err != nil {
			f := fault.As(err)
			if f.Kind != fault.InvalidKind || len(f.Fields) != 1 || f.Fields[0].Field != "endpoint.url" || f.Fields[0].Message == "" {
				t.Fatalf("%q: got %+v", u, f)
			}
			got = f.Fields[0].Code
		}
		if got != want {
			t.Errorf("%q: got %q (%v), want %q", u, got, err, want)
		}
	}
}

// The message names what to write instead, where it can.
func TestCheckURL_messages(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{Ports: []uint16{8443}})
	for u, want := range map[string]string{
		"https://bücher.example/x": "Write the host as xn--bcher-kva.example.",
		"https://example.com/ü":    "%XX",
		"https://example.com:22":   "Allowed are 443, 80, 8443.",
		"https://127.1":            "four decimal numbers",
		"https://x.example.":       "leave it out",
	} {
		if err := c.CheckURL(t.Context(), "url", u, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", u, err, want)
		}
	}
}

func TestCheckURL_resolve(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	d.set("public.example", "8.8.8.8", "2606:4700::1111")
	d.set("mixed.example", "10.0.0.1", "8.8.8.8")
	d.set("inside.example", "10.0.0.1", "fd00::1")
	d.set("idp.corp.example", "10.0.0.1")
	d.setFunc("silent.example", nil)
	c := newClient(t, Config{Resolver: d.Resolver}, "idp.corp.example:443")
	for host, want := range map[string]string{
		"public.example": "", "mixed.example": "", "nx.example": "", "idp.corp.example": "", "inside.example": "address_not_allowed",
	} {
		err := c.CheckURL(t.Context(), "url", "https://"+host, true)
		got := ""
		if err != nil {
			got = fault.As(err).Fields[0].Code
		}
		if got != want || (err != nil && strings.Contains(err.Error(), "10.0.0.1")) {
			t.Errorf("%s: got %v", host, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.CheckURL(ctx, "url", "https://silent.example", true); err != nil {
		t.Errorf("a silent name server: got %v", err)
	}
}

// authorityOf is how the URL standard cuts a host and port out of an https URL, apart from net/url.
var authorityOf = regexp.MustCompile(`^[hH][tT][tT][pP]([sS]?)://([^/?#]*)`)

var errDialled = errors.New("dialled")

// Nothing panics, and what is accepted means the same host to the rule, to the URL standard and to the dialer.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"https://example.com/a?b=c", "http://localhost:3000", "https://[2606:4700::1111]:443/", "https://8.8.8.8:8443", "https://127.1", "https://user@h.example",
		"https://a.example\\@b.example", "https://[::1%25lo]", "https://xn--bcher-kva.example", "https://EXAMPLE.com:443", "https://example.com:0443", "//", "https://a.b#",
	} {
		f.Add(s)
	}
	a := must(ParseAllow("http://localhost:*"))
	c := must(New(Config{Ports: []uint16{8443}, Allow: []Allow{a}}))
	f.Cleanup(c.Close)
	var dialled string
	c.shared.direct.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = address
		return nil, errDialled
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := c.CheckURL(t.Context(), "url", text, false); err != nil {
			if fields := fault.As(err).Fields; len(fields) != 1 || fields[0].Code == "" || fields[0].Message == "" {
				t.Fatalf("%q: got %v", text, err)
			}
			if _, err := c.Do(t.Context(), Request{URL: text}); err == nil || errors.Is(err, errDialled) {
				t.Fatalf("%q was refused when saved, and dialled", text)
			}
			return
		}
		m := authorityOf.FindStringSubmatch(text)
		if m == nil || strings.ContainsAny(m[2], "@\\%") {
			t.Fatalf("%q was accepted", text)
		}
		host, port := strings.ToLower(m[2]), map[string]string{"": "80", "s": "443"}[strings.ToLower(m[1])]
		if h, p, err := net.SplitHostPort(host); err == nil {
			host, port = h, p
		}
		host = strings.Trim(host, "[]")
		if ip, err := netip.ParseAddr(host); err == nil {
			host = ip.String()
			if c.rule.address(ip) != nil {
				t.Fatalf("%q: a forbidden address was accepted", text)
			}
		}
		dialled = ""
		_, err := c.Do(t.Context(), Request{URL: text})
		if !errors.Is(err, errDialled) {
			t.Fatalf("%q was accepted when saved, and then: %v", text, err)
		}
		if want := net.JoinHostPort(host, port); dialled != want {
			t.Fatalf("%q: dialled %s, want %s", text, dialled, want)
		}
		if u, err := url.Parse(text); err != nil || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q: %v, %v", text, u, err)
		}
	})
}

// What the operator's list accepts reads itself again, and never opens IPv4 through IPv6.
func FuzzParseAllow(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "64:ff9b::/96", "http://localhost:*", "[fd00::1]:443", "idp.corp:8443", "::/7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAllow(text)
		if err != nil {
			return
		}
		again, err := ParseAllow(a.String())
		if err != nil || again != a {
			t.Fatalf("%q: %q, then %q, %v", text, a, again, err)
		}
		r := newRule(Config{Allow: []Allow{a}})
		for _, s := range []string{"64:ff9b::7f00:1", "64:ff9b:1::1", "::ffff:127.0.0.1", "2002:7f00:1::", "::127.0.0.1"} {
			if r.address(netip.MustParseAddr(s)) == nil {
				t.Fatalf("%q opens %s", text, s)
			}
		}
	})
}

func TestReserved(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"host": true, "Content-Length": true, "te": true, "Authorization": false, "X-Anything": false, "Content-Type": false} {
		if Reserved(name) != want {
			t.Errorf("%s: got %v", name, !want)
		}
	}
	for _, name := range reserved {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s is not canonical: no header would match it", name)
		}
	}
}
