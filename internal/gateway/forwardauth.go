package gateway

import "net/http"

// ForwardAuth answers gateways that pass on whatever is not 2xx to the client as
// it is: Caddy's forward_auth and Traefik's forwardAuth. So the answer that turns
// a client away is made for the client, and tells nothing that is not his: a
// status, a problem document, and no header of ours. On 2xx the gateway copies
// the identity headers onto the request.
func (g *Gateway) ForwardAuth() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := g.cfg.Now()
		d := g.ask(r, xForwardedMethod)
		h := newHeaders(w.Header())
		d.forClient(h.set)
		if d.status == http.StatusNoContent {
			h.identity(&d)
			w.WriteHeader(d.status)
		} else {
			h.set(typeName, problemType)
			h.set(cacheName, noStore)
			w.WriteHeader(d.status)
			_, _ = w.Write(d.problem())
		}
		g.observe("forward-auth", &d, began)
	})
}
