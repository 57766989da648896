package gateway

import (
	"fmt"
	"net/url"
	"sync"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
)

// need is what the gateway's configuration says that a route needs, as query
// parameters of the subrequest's URL.
type need struct {
	product     string
	project     id.Project
	environment apikey.Environment
	scopes      []string
}

// maxRoutes bounds what is remembered; the URLs come from configuration files, so
// there are few.
const maxRoutes = 1024

// routes remembers how query strings were understood.
type routes struct {
	mu    sync.RWMutex
	known map[string]routed
}

type routed struct {
	need need
	err  error
}

func (r *routes) query(query string) (need, error) {
	r.mu.RLock()
	known, ok := r.known[query]
	r.mu.RUnlock()
	if ok {
		return known.need, known.err
	}
	n, err := parseNeed(query)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) < maxRoutes {
		r.known[query] = routed{n, err}
	}
	return n, err
}

// parseNeed reads product, project, environment and any number of scope
// parameters. It refuses what it does not know: a misspelt "scopes" must not open
// the route.
func parseNeed(query string) (need, error) {
	var n need
	values, err := url.ParseQuery(query)
	if err != nil {
		return n, fmt.Errorf("query string: %w", err)
	}
	for name, v := range values {
		if name != "scope" && len(v) > 1 {
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
		default:
			return n, fmt.Errorf("parameter %q is not known", name)
		}
	}
	if len(n.scopes) > apikey.MaxVerifyScopes {
		return n, fmt.Errorf("more than %d scopes", apikey.MaxVerifyScopes)
	}
	return n, nil
}
