package gateway

import (
	"net/http"
	"strconv"
)

// Nginx answers nginx's auth_request. That module knows 2xx, 401 and 403; all
// else it turns into its own 500. So a client that is to get 429 is turned away
// with 403, and X-Auth-Status says 429: the configuration maps it back
// (deploy/gateway/nginx). What we can't decide is 5xx.
func (g *Gateway) Nginx() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := g.cfg.Now()
		d := g.ask(r, xOriginalMethod)
		h := newHeaders(w.Header())
		h.identity(&d)
		d.forClient(h.set)
		status := d.status
		if status != http.StatusNoContent {
			h.set(authStatusName, strconv.Itoa(status))
			if status == http.StatusTooManyRequests {
				status = http.StatusForbidden
			}
		}
		w.WriteHeader(status)
		g.observe("nginx", &d, began)
	})
}
