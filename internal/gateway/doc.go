// Package gateway answers API gateways whether a request may pass: the gateway
// asks for every request, and lets it through to the product's backend with
// headers that say who it is from, or turns it away.
//
//	client ──▶ nginx, Caddy, … ── question ──▶ gateway ──▶ apikey.Verifier
//	                │ yes + identity headers ◀────┘
//	                └──▶ backend
//
// It is on private listeners. Who reaches them is trusted: he says where the
// client is and what the route needs. A decision is made once (decide)
// and told in the dialect of the gateway that asks:
//
//	Nginx         auth_request: 204, 401 or 403, and headers for nginx to work with
//	ForwardAuth   Caddy's forward_auth, Traefik's forwardAuth: the client's own answer
//	ExtAuthz      Envoy's ext_authz over gRPC, on a listener of its own
//
// # Invariants
//
// An answer that lets a request through carries every identity header with a value
// that is not empty ("-" where there is nothing to say), so that what a client
// forged never survives.
// The five outcomes that leave a client a stranger are one answer to the client;
// which it was is told where only the gateway sees it, or not at all.
// What can't be decided is 503, never a pass: a database that is away. So is a
// route whose parameters can't be understood (500).
// The client's address is believed only as far as trusted proxies vouch for it;
// otherwise it is unknown, and keys with an allow-list refuse it.
//
// It reads and writes nothing itself.
package gateway
