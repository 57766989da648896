package gateway_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/landlordhq/landlord/internal/gateway"
)

// traefik is what the tests of Traefik and of its stand-in have in common: the
// two files of the example.
func traefik(start func(t *testing.T, front, static, routes string)) program {
	return program{
		column: "Traefik", landlord: over("/gateway/forward-auth", (*gateway.Gateway).ForwardAuth),
		misspell: []string{"product=render", "produkt=render"},
		start: func(t *testing.T, landlord, backend string, change ...string) string {
			front := freeAddress(t)
			start(t, front, example(t, "traefik/traefik.yml", "127.0.0.1:8088", front),
				example(t, "traefik/routes.yml", append(change, "127.0.0.1:8081", landlord, "127.0.0.1:9000", backend)...))
			return "http://" + front
		},
	}
}

// Traefik itself. It takes minutes to build, so that only the long tests do.
func TestTraefik_forReal(t *testing.T) {
	t.Parallel()
	if os.Getenv("LANDLORD_TEST_LONG") == "" {
		t.Skip("Traefik takes minutes to build; make test-long does, and runs it")
	}
	testProgram(t, traefik(func(t *testing.T, front, static, routes string) {
		program := built(t, "traefik", "github.com/traefik/traefik/v3")
		dir := folder(t, map[string]string{"traefik.yml": static, "routes.yml": routes})
		run(t, exec.Command(program, "--configFile=traefik.yml"), dir, front)

		// It listens before it has read its routes.
		c := newCaller(t, "http://"+front)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(30 * time.Second)
		for {
			if resp, _ := c.do("GET", "/", ""); resp.StatusCode != http.StatusNotFound {
				return
			}
			select {
			case <-deadline:
				t.Fatal("Traefik does not read its routes")
			case <-tick.C:
			}
		}
	}))
}

// The other tests have a stand-in, which does what Traefik 3.7 does with the
// example. That the two are alike, the long tests show: they run the same.
func TestTraefik_byContract(t *testing.T) {
	t.Parallel()
	testProgram(t, traefik(func(t *testing.T, front, static, routes string) {
		s := &traefikStandIn{t: t}
		for text, to := range map[string]any{static: &s.static, routes: &s.routes} {
			if err := yaml.UnmarshalWithOptions([]byte(text), to, yaml.Strict()); err != nil {
				t.Fatal(err)
			}
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: s}
		served := make(chan struct{})
		go func() { _ = server.Serve(l); close(served) }()
		t.Cleanup(func() { _ = server.Close(); <-served })
	}))
}

// traefikStandIn is what the example uses of Traefik's configuration.
type traefikStandIn struct {
	t      *testing.T
	static struct {
		EntryPoints map[string]struct {
			Address string
			HTTP    struct {
				AliasHeadersStrategy string `yaml:"aliasHeadersStrategy"`
			} `yaml:"http"`
		} `yaml:"entryPoints"`
		Providers, Global, Log map[string]any
	}
	routes struct {
		HTTP struct {
			Routers map[string]struct {
				Rule        string
				Priority    int
				Middlewares []string
				Service     string
			}
			Middlewares map[string]struct {
				ForwardAuth *forwardAuth `yaml:"forwardAuth"`
				Headers     *struct {
					CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
				}
			}
			Services map[string]struct {
				LoadBalancer struct{ Servers []struct{ URL string } } `yaml:"loadBalancer"`
			}
		} `yaml:"http"`
	}
}

type forwardAuth struct {
	Address                  string
	TrustForwardHeader       *bool  `yaml:"trustForwardHeader"`
	AuthResponseHeadersRegex string `yaml:"authResponseHeadersRegex"`
	MaxResponseBodySize      int64  `yaml:"maxResponseBodySize"`
}

func (s *traefikStandIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The entry point drops what names a hop, what Traefik sets itself, and aliases.
	for _, list := range r.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			r.Header.Del(strings.TrimSpace(name))
		}
	}
	r.Header.Del("Connection")
	for name := range r.Header {
		alias := strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") != ""
		if alias && s.static.EntryPoints["web"].HTTP.AliasHeadersStrategy == "delete" ||
			strings.HasPrefix(strings.ReplaceAll(name, "_", "-"), "X-Forwarded-") || name == "X-Real-Ip" {
			delete(r.Header, name)
		}
	}
	routers := s.routes.HTTP.Routers
	names := slices.SortedFunc(maps.Keys(routers), func(a, b string) int { return routers[b].Priority - routers[a].Priority })
	i := slices.IndexFunc(names, func(name string) bool { return s.matches(routers[name].Rule, r) })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	for _, name := range routers[names[i]].Middlewares {
		m := s.routes.HTTP.Middlewares[name]
		if m.ForwardAuth != nil && !s.ask(m.ForwardAuth, w, r) {
			return
		}
		if m.Headers != nil {
			for name, v := range m.Headers.CustomRequestHeaders {
				if r.Header.Del(name); v != "" {
					r.Header.Set(name, v)
				}
			}
		}
	}
	s.pass(s.routes.HTTP.Services[routers[names[i]].Service].LoadBalancer.Servers[0].URL, w, r)
}

// matches evaluates a rule, which is an expression of Go.
func (s *traefikStandIn) matches(rule string, r *http.Request) bool {
	tree, err := parser.ParseExpr(rule)
	if err != nil {
		s.t.Fatalf("%s: %v", rule, err)
	}
	var eval func(ast.Expr) bool
	eval = func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.ParenExpr:
			return eval(e.X)
		case *ast.BinaryExpr:
			if e.Op == token.LAND {
				return eval(e.X) && eval(e.Y)
			}
			return eval(e.X) || eval(e.Y)
		case *ast.CallExpr:
			arg, _ := strconv.Unquote(e.Args[0].(*ast.BasicLit).Value)
			switch e.Fun.(*ast.Ident).Name {
			case "Path":
				return r.URL.Path == arg
			case "PathPrefix":
				return strings.HasPrefix(r.URL.Path, arg)
			case "Method":
				return r.Method == arg
			}
		}
		s.t.Fatalf("%s: nobody knows %T", rule, e)
		return false
	}
	return eval(tree)
}

// ask is forwardAuth with trustForwardHeader: false. It reports whether the
// request may go on.
func (s *traefikStandIn) ask(a *forwardAuth, w http.ResponseWriter, r *http.Request) bool {
	if a.TrustForwardHeader == nil || *a.TrustForwardHeader {
		s.t.Error("the client's X-Forwarded headers are trusted")
	}
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.Address, nil)
	if err != nil {
		s.t.Error(err)
		return false
	}
	q.Header = r.Header.Clone()
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	q.Header.Set("X-Forwarded-For", client)
	q.Header.Set("X-Forwarded-Method", r.Method)
	q.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(q)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		resp.Header.Del("Connection")
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, io.LimitReader(resp.Body, a.MaxResponseBodySize))
		return false
	}
	ours := regexp.MustCompile(a.AuthResponseHeadersRegex)
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return ours.MatchString(name) })
	for name, v := range resp.Header {
		if ours.MatchString(name) {
			r.Header[name] = v
		}
	}
	return true
}

// pass hands the request to the backend.
func (s *traefikStandIn) pass(backend string, w http.ResponseWriter, r *http.Request) {
	up, err := http.NewRequestWithContext(r.Context(), r.Method, backend+r.URL.RequestURI(), r.Body)
	if err != nil {
		s.t.Error(err)
		return
	}
	up.Header, up.ContentLength = r.Header, r.ContentLength
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(up)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
