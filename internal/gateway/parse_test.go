package gateway

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
)

var trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.1/32")}

func TestClientIP(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		peer string
		xff  []string
		want string // "" is unknown
	}{
		"one hop":                        {"127.0.0.1:1", []string{"192.0.2.1"}, "192.0.2.1"},
		"forged to the left":             {"127.0.0.1:1", []string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1"},
		"forged in a line of its own":    {"127.0.0.1:1", []string{"1.1.1.1", "192.0.2.1"}, "192.0.2.1"},
		"through two proxies":            {"127.0.0.1:1", []string{"1.1.1.1, 192.0.2.1,10.1.1.1"}, "192.0.2.1"},
		"through two, in lines":          {"127.0.0.1:1", []string{"192.0.2.1", "10.1.1.1"}, "192.0.2.1"},
		"v6 in brackets, with port":      {"[::1]:1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		"v6 in brackets":                 {"[::1]:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"v4 with port":                   {"[::1]:1", []string{"192.0.2.1:9"}, "192.0.2.1"},
		"v4 as v6":                       {"[::ffff:127.0.0.1]:1", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		"v4 as v6, trusted":              {"127.0.0.1:1", []string{"192.0.2.1, ::ffff:10.0.0.1"}, "192.0.2.1"},
		"zone":                           {"127.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1"},
		"all trusted: the left-most":     {"127.0.0.1:1", []string{"10.2.2.2, 10.1.1.1"}, "10.2.2.2"},
		"none":                           {"127.0.0.1:1", nil, ""},
		"empty":                          {"127.0.0.1:1", []string{""}, ""},
		"garbage at the right":           {"127.0.0.1:1", []string{"192.0.2.1, unknown"}, ""},
		"garbage behind a trusted proxy": {"127.0.0.1:1", []string{"unknown, 10.1.1.1"}, ""},
		"garbage behind the client":      {"127.0.0.1:1", []string{"unknown, 192.0.2.1"}, "192.0.2.1"},
		"trailing comma":                 {"127.0.0.1:1", []string{"192.0.2.1,"}, ""},
		"peer is no proxy":               {"192.0.2.9:1", []string{"192.0.2.1"}, ""},
		"peer is a socket":               {"@", []string{"192.0.2.1"}, ""},
	} {
		got := clientIP(tc.peer, tc.xff, trusted)
		want := netip.Addr{}
		if tc.want != "" {
			want = netip.MustParseAddr(tc.want)
		}
		if got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if ip := clientIP("127.0.0.1:1", []string{"192.0.2.1"}, nil); ip.IsValid() {
		t.Errorf("nobody is trusted, but %v is known", ip)
	}
}

// Who is connected to an Envoy counts before X-Forwarded-For, which need not
// tell of him.
func TestEnvoyClient(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		peer, source string
		xff          []string
		want         string // "" is unknown
	}{
		"connected":                    {"127.0.0.1", "192.0.2.1", nil, "192.0.2.1"},
		"connected, appended":          {"127.0.0.1", "192.0.2.1", []string{"1.1.1.1,192.0.2.1"}, "192.0.2.1"},
		"connected, claims":            {"127.0.0.1", "192.0.2.1", []string{"1.1.1.1"}, "192.0.2.1"},
		"connected, claims a proxy":    {"127.0.0.1", "192.0.2.1", []string{"10.1.1.1"}, "192.0.2.1"},
		"v4 as v6":                     {"::ffff:127.0.0.1", "::ffff:192.0.2.1", nil, "192.0.2.1"},
		"through a proxy":              {"127.0.0.1", "10.1.1.1", []string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1"},
		"through a proxy, appended":    {"127.0.0.1", "10.1.1.1", []string{"192.0.2.1", "10.1.1.1"}, "192.0.2.1"},
		"a proxy itself":               {"127.0.0.1", "10.1.1.1", nil, "10.1.1.1"},
		"through a proxy, garbage":     {"127.0.0.1", "10.1.1.1", []string{"192.0.2.1, unknown"}, ""},
		"no source":                    {"127.0.0.1", "", []string{"192.0.2.1"}, ""},
		"no address":                   {"127.0.0.1", "front.example", []string{"192.0.2.1"}, ""},
		"an Envoy that is not trusted": {"192.0.2.9", "192.0.2.1", nil, ""},
		"no peer":                      {"", "192.0.2.1", nil, ""},
	} {
		peer, _ := netip.ParseAddr(tc.peer)
		want, _ := netip.ParseAddr(tc.want)
		if got := envoyClient(peer, tc.source, tc.xff, trusted); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// However the client fills the header, what the last trusted proxy appended wins.
func FuzzClientIP(f *testing.F) {
	f.Add("1.1.1.1", "::1")
	f.Add(",", " , ,")
	f.Add("[", "%")
	f.Fuzz(func(t *testing.T, forged, line string) {
		want := netip.MustParseAddr("192.0.2.1")
		for _, xff := range [][]string{{line, forged + ",192.0.2.1"}, {line, forged, "192.0.2.1, 10.0.0.1"}, {forged, "192.0.2.1", " 10.0.0.1 ,10.0.0.2"}} {
			if got := clientIP("127.0.0.1:1", xff, trusted); got != want {
				t.Errorf("%q: %v", xff, got)
			}
			envoy := netip.MustParseAddr("127.0.0.1")
			if got := envoyClient(envoy, "10.0.0.3", xff, trusted); got != want {
				t.Errorf("behind a proxy, %q: %v", xff, got)
			}
			if got := envoyClient(envoy, "192.0.2.1", []string{line, forged}, trusted); got != want {
				t.Errorf("connected, %q: %v", xff, got)
			}
		}
		got := clientIP("127.0.0.1:1", []string{line, forged}, trusted)
		if got.Is4In6() || got.Zone() != "" {
			t.Errorf("%v is not normal", got)
		}
	})
}

func TestCredential(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		auth, key []string
		token     string
		problem   credentialProblem
	}{
		"bearer":                  {auth: []string{"Bearer abc"}, token: "abc"},
		"bearer, other case":      {auth: []string{"bEARER  abc "}, token: "abc"},
		"header":                  {key: []string{" abc "}, token: "abc"},
		"both alike":              {auth: []string{"Bearer abc"}, key: []string{"abc"}, token: "abc"},
		"other scheme and header": {auth: []string{"Basic eDp5"}, key: []string{"abc"}, token: "abc"},
		"bearer and empty header": {auth: []string{"Bearer abc"}, key: []string{""}, token: "abc"},
		"two different":           {auth: []string{"Bearer abc"}, key: []string{"abd"}, problem: ambiguous},
		"bearer twice":            {auth: []string{"Bearer abc", "Bearer abc"}, problem: ambiguous},
		"header twice":            {key: []string{"abc", "abc"}, problem: ambiguous},
		"basic and bearer":        {auth: []string{"Basic eDp5", "Bearer abc"}, problem: ambiguous},
		"nothing":                 {problem: noCredential},
		"other scheme":            {auth: []string{"Basic eDp5"}, problem: noCredential},
		"no token":                {auth: []string{"Bearer"}, problem: noCredential},
		"empty token":             {auth: []string{"Bearer  "}, problem: noCredential},
		"empty":                   {auth: []string{""}, key: []string{""}, problem: noCredential},
	} {
		if token, problem := credential(tc.auth, tc.key); token != tc.token || problem != tc.problem {
			t.Errorf("%s: got %q, %v", name, token, problem)
		}
	}
}

func TestParseNeed(t *testing.T) {
	t.Parallel()
	project := id.New[id.Project]()
	for query, want := range map[string]need{
		"":                  {},
		"product=render":    {product: "render"},
		"scope=a:b&scope=c": {scopes: []string{"a:b", "c"}},
		"environment=test":  {environment: apikey.Test},
		"limit=renders&limit=heavy:5&limit=key:0": {limits: []apikey.LimitCost{{Name: "renders", Cost: 1}, {Name: "heavy", Cost: 5}, {Name: "key"}}},
		"project=" + project.String() + "&product=p&environment=live&scope=x%3Ay": {
			product: "p", project: project, environment: apikey.Live, scopes: []string{"x:y"},
		},
	} {
		if got, err := newRoutes().query(query); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", query, got, err)
		}
	}
	for _, query := range []string{
		"scopes=a", "product=", "product=a&product=b", "project=x", "environment=prod", "environment=", "scope=", "scope=a:*", "scope=A",
		"%zz", "a;b", "scope=a+b", strings.Repeat("scope=a&", 51), "scope=$renders_scope",
		"limit=", "limit=Renders", "limit=a:", "limit=a:x", "limit=a:-1", "limit=a:1000001", "limit=a&limit=a:2", "limit=a=2", "limits=a",
		"limit=a&limit=b&limit=c&limit=d&limit=e&limit=f&limit=g&limit=h&limit=i&limit=j&limit=k",
	} {
		if got, err := newRoutes().query(query); err == nil {
			t.Errorf("%q: %+v", query, got)
		}
	}
}

func TestParseExtensions(t *testing.T) {
	t.Parallel()
	r := newRoutes()
	for name, tc := range map[string]struct {
		m    map[string]string
		want envoyRoute
	}{
		"none":                                  {nil, envoyRoute{}},
		"all":                                   {map[string]string{"product": "p", "scope": "a:b c:d", "environment": "live", "keep_key": "true", "errors": "grpc"}, envoyRoute{need: need{product: "p", environment: apikey.Live, scopes: []string{"a:b", "c:d"}}, keepKey: true, grpcErrors: true}},
		"the key stays":                         {map[string]string{"keep_key": "false"}, envoyRoute{}},
		"a value that looks like the next name": {map[string]string{"product": "a\x00scope\x00b"}, envoyRoute{need: need{product: "a\x00scope\x00b"}}},
		"two limits":                            {map[string]string{"limit": "a b:3"}, envoyRoute{need: need{limits: []apikey.LimitCost{{Name: "a", Cost: 1}, {Name: "b", Cost: 3}}}}},
		"which is there":                        {map[string]string{"product": "a", "scope": "b"}, envoyRoute{need: need{product: "a", scopes: []string{"b"}}}},
	} {
		for range 2 { // read, and remembered
			if got, err := r.extensions(tc.m); err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	for _, m := range []map[string]string{
		{"scopes": "a"}, {"scope": ""}, {"scope": "a  b"}, {"scope": "a,b"}, {"product": ""}, {"keep_key": ""}, {"errors": ""}, {"errors": "http"}, {"environment": "prod"}, {"": ""},
	} {
		if got, err := r.extensions(m); err == nil {
			t.Errorf("%v: %+v", m, got)
		}
	}
	if len(r.known) != 16 {
		t.Errorf("%d are remembered", len(r.known))
	}
}

func FuzzParseNeed(f *testing.F) {
	f.Add("product=p&scope=a:b&environment=live&limit=a:2")
	f.Add("&&;=%")
	f.Fuzz(func(t *testing.T, query string) {
		n, err := newRoutes().query(query)
		if err != nil {
			return
		}
		p := apikey.VerifyParams{Environment: n.environment, Scopes: n.scopes}
		if err := p.Validate(); err != nil {
			t.Errorf("%q opens the way to a request that can't be verified: %v", query, err)
		}
	})
}

func TestRoutes_areBounded(t *testing.T) {
	t.Parallel()
	r := newRoutes()
	for i := range maxRoutes + 10 {
		if n, err := r.query("product=" + strings.Repeat("a", i+1)); err != nil || len(n.product) != i+1 {
			t.Fatal(n, err)
		}
	}
	if len(r.known) != maxRoutes {
		t.Errorf("%d routes are known", len(r.known))
	}
}

// Every outcome that turns a client away has a problem document, in which no
// stranger's is unlike another's.
func TestProblems_areComplete(t *testing.T) {
	t.Parallel()
	for _, o := range apikey.Outcomes() {
		switch doc := string(documents[string(o)]); {
		case o == apikey.Valid && doc != "":
			t.Errorf("%s turns nobody away: %s", o, doc)
		case o != apikey.Valid && doc == "":
			t.Errorf("%s has no problem document: add its text to problems", o)
		case o.Anonymous() && doc != string(documents[string(apikey.Malformed)]):
			t.Errorf("%s: %s", o, doc)
		}
	}
}
