package gateway

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
)

// need is what the gateway's configuration says that a route needs: as query
// parameters of the URL that is asked, or as context_extensions of an Envoy.
type need struct {
	product     string
	project     id.Project
	environment apikey.Environment
	scopes      []string
	limits      []apikey.LimitCost
}

// envoyRoute is what the configuration of an Envoy says of a route.
type envoyRoute struct {
	need
	keepKey    bool // the backend gets the key too
	grpcErrors bool // what can't be decided is an error of the call
}

// maxRoutes bounds what is remembered; what is asked for comes from configuration
// files, so there is little.
const maxRoutes = 1024

// maxExtensions bounds what an Envoy's route may say.
const maxExtensions = 16

// repeats are the parameters of which there may be several.
var repeats = map[string]bool{"scope": true, "limit": true}

// routes remembers how routes were understood.
type routes struct {
	mu    sync.RWMutex
	known map[string]routed
}

type routed struct {
	route envoyRoute
	err   error
}

func newRoutes() *routes { return &routes{known: map[string]routed{}} }

// query reads what a URL's query string says.
func (r *routes) query(query string) (need, error) {
	r.mu.RLock()
	known, ok := r.known[query]
	r.mu.RUnlock()
	if ok {
		return known.route.need, known.err
	}
	var n need
	values, err := url.ParseQuery(query)
	if err != nil {
		err = fmt.Errorf("query string: %w", err)
	} else {
		n, err = parseNeed(values)
	}
	r.remember(query, routed{envoyRoute{need: n}, err})
	return n, err
}

// extensions reads the context_extensions of an Envoy's route.
func (r *routes) extensions(m map[string]string) (envoyRoute, error) {
	if len(m) > maxExtensions {
		return envoyRoute{}, fmt.Errorf("more than %d context_extensions", maxExtensions)
	}
	var names [maxExtensions]string
	n := 0
	for name := range m {
		names[n] = name
		n++
	}
	slices.Sort(names[:n])
	var array [512]byte
	key := append(array[:0], 0) // no query string begins with that
	for _, name := range names[:n] {
		key = binary.AppendUvarint(key, uint64(len(name)))
		key = append(key, name...)
		key = binary.AppendUvarint(key, uint64(len(m[name])))
		key = append(key, m[name]...)
	}
	r.mu.RLock()
	known, ok := r.known[string(key)]
	r.mu.RUnlock()
	if !ok {
		known.route, known.err = parseExtensions(m)
		r.remember(string(key), known)
	}
	return known.route, known.err
}

func (r *routes) remember(key string, known routed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) < maxRoutes {
		r.known[key] = known
	}
}

// parseExtensions reads what parseNeed does, of which several stand in one value
// with spaces between them, and what concerns Envoy alone.
func parseExtensions(m map[string]string) (e envoyRoute, err error) {
	values := url.Values{}
	for name, v := range m {
		switch {
		case name == "keep_key":
			if e.keepKey = v == "true"; !e.keepKey && v != "false" {
				return e, fmt.Errorf("%q is neither true nor false", name)
			}
		case name == "errors":
			if e.grpcErrors = v == "grpc"; !e.grpcErrors {
				return e, fmt.Errorf("%q is not grpc", name)
			}
		case repeats[name] && v != "":
			values[name] = strings.Split(v, " ")
		default:
			values[name] = []string{v}
		}
	}
	e.need, err = parseNeed(values)
	return e, err
}

// parseNeed reads product, project, environment and any number of scope and limit
// parameters. It refuses what it does not know: a misspelt "scopes" must not open
// the route.
func parseNeed(values url.Values) (n need, err error) {
	for name, v := range values {
		if !repeats[name] && len(v) > 1 {
			return n, fmt.Errorf("parameter %q is given %d times", name, len(v))
		}
		switch name {
		case "product":
			n.product = v[0]
			if v[0] == "" {
				return n, fmt.Errorf("parameter %q is empty", name)
			}
		case "project":
			if n.project, err = id.Parse[id.Project](v[0]); err != nil {
				return n, fmt.Errorf("parameter %q: %w", name, err)
			}
		case "environment":
			n.environment = apikey.Environment(v[0])
			if !n.environment.Valid() {
				return n, fmt.Errorf("parameter %q is neither live nor test", name)
			}
		case "scope":
			for _, s := range v {
				if !apikey.ValidScope(s) {
					return n, fmt.Errorf("parameter %q: %q is no scope", name, s)
				}
			}
			n.scopes = v
		case "limit":
			if n.limits, err = parseLimits(v); err != nil {
				return n, fmt.Errorf("parameter %q: %w", name, err)
			}
		default:
			return n, fmt.Errorf("parameter %q is not known", name)
		}
	}
	if len(n.scopes) > apikey.MaxVerifyScopes {
		return n, fmt.Errorf("more than %d scopes", apikey.MaxVerifyScopes)
	}
	return n, (&apikey.VerifyParams{Limits: n.limits}).Validate()
}

// parseLimits reads what a route spends of rate limits: NAME:COST, or NAME for 1.
func parseLimits(values []string) ([]apikey.LimitCost, error) {
	out := make([]apikey.LimitCost, len(values))
	for i, v := range values {
		name, cost, more := strings.Cut(v, ":")
		out[i] = apikey.LimitCost{Name: name, Cost: 1}
		if !more {
			continue
		}
		n, err := strconv.ParseInt(cost, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not NAME:COST", v)
		}
		out[i].Cost = n
	}
	return out, nil
}
