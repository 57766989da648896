package apikey_test

import (
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/secret"
)

func withChecksum(s string) string { return s + secret.Checksum(s) }

var goodToken = withChecksum("ll_live_" + strings.Repeat("x", 43))

func TestParseToken(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("a1Z", 14) + "0"
	for name, tc := range map[string]struct {
		token string
		want  apikey.Token
		ok    bool
	}{
		"live":                      {withChecksum("ll_live_" + body), apikey.Token{Brand: "ll", Environment: apikey.Live}, true},
		"test":                      {withChecksum("acme2_test_" + body), apikey.Token{Brand: "acme2", Environment: apikey.Test}, true},
		"longest brand":             {withChecksum("abcdefghijklmnop_live_" + body), apikey.Token{Brand: "abcdefghijklmnop", Environment: apikey.Live}, true},
		"empty":                     {"", apikey.Token{}, false},
		"too long a brand":          {withChecksum("abcdefghijklmnopq_live_" + body), apikey.Token{}, false},
		"no brand":                  {withChecksum("_live_" + body), apikey.Token{}, false},
		"upper-case brand":          {withChecksum("Acme_live_" + body), apikey.Token{}, false},
		"brand begins with a digit": {withChecksum("1a_live_" + body), apikey.Token{}, false},
		"brand with underscore":     {withChecksum("a_b_live_" + body), apikey.Token{}, false},
		"other environment":         {withChecksum("ll_prod_" + body), apikey.Token{}, false},
		"short body":                {withChecksum("ll_live_" + body[1:]), apikey.Token{}, false},
		"long body":                 {withChecksum("ll_live_x" + body), apikey.Token{}, false},
		"not base62":                {withChecksum("ll_live_" + body[1:] + "-"), apikey.Token{}, false},
		"bytes":                     {withChecksum("ll_live_" + body[1:] + "\xff"), apikey.Token{}, false},
		"checksum wrong":            {"ll_live_" + body + "000000", apikey.Token{}, false},
		"test made live":            {strings.Replace(withChecksum("ll_test_"+body), "_test_", "_live_", 1), apikey.Token{}, false},
		"one letter changed":        {strings.Replace(withChecksum("ll_live_"+body), "a", "b", 1), apikey.Token{}, false},
		"space around":              {" " + withChecksum("ll_live_"+body), apikey.Token{}, false},
	} {
		got, ok := apikey.ParseToken(tc.token)
		if got != tc.want || ok != tc.ok {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
}

func TestParseToken_allocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { apikey.ParseToken(goodToken) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(goodToken)
	f.Add("ll_live_")
	f.Add(strings.Repeat("_", 60))
	f.Fuzz(func(t *testing.T, s string) {
		tok, ok := apikey.ParseToken(s)
		if !ok {
			return
		}
		head := tok.Brand + "_" + string(tok.Environment) + "_"
		if !strings.HasPrefix(s, head) || len(s) != len(head)+49 || !secret.HasChecksum(s) || apikey.ValidateBrand(tok.Brand) != nil {
			t.Errorf("%q is no token, but parsed as %+v", s, tok)
		}
	})
}

func TestValidScope(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"renders:create": true, "a": true, "a:b:c": true, "a-b_c.d:e1": true, strings.Repeat("a", 100): true,
		"": false, ":": false, "a:": false, ":a": false, "a::b": false, "A:b": false, "a b": false, "a:*": false, "*": false,
		"a:-b": false, "ä:b": false, strings.Repeat("a", 101): false, "a\x00b": false, "a,b": false,
	} {
		if got := apikey.ValidScope(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "192.0.2.7/24": "192.0.2.0/24", "2001:DB8::1": "2001:db8::1/128", "2001:db8:1:2::/48": "2001:db8:1::/48",
		"::ffff:192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.0/120": "192.0.2.0/24", "0.0.0.0/0": "0.0.0.0/0",
		"::ffff:0.0.0.0/95": "", "fe80::1%eth0": "", "192.0.2.7/33": "", "192.0.2": "", "": "", "/": "", "host": "", "192.0.2.1/024": "",
	} {
		p, ok := apikey.ParseNetwork(in)
		if ok != (want != "") || ok && p.String() != want {
			t.Errorf("%q: got %v, %v", in, p, ok)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "::ffff:1.2.3.4/100", "::/0", "x/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := apikey.ParseNetwork(s)
		if !ok {
			return
		}
		if p.Masked() != p || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Errorf("%q is not normal: %v", s, p)
		}
		if again, ok := apikey.ParseNetwork(p.String()); !ok || again != p {
			t.Errorf("%q does not survive its own text: %v", s, again)
		}
	})
}
