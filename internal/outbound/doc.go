// Package outbound is the one HTTP client for URLs that tenants choose: webhook endpoints, identity providers, checks of
// domains. It reaches public addresses, what the operator has opened, and nothing else.
//
//	          CheckURL, when saved                   Do, each time
//	URL ──────────────────────────▶ stored ──▶ the same rule on the URL ──▶ slot ──▶ pooled connection ──▶ answer
//	                                                     │                   │             ▲
//	                                        url, port, address_not_allowed  busy           │ no: resolve, then for each address
//	                                                                                       └─ guard (before connect) ── dial, TLS
//
// # Invariants
//
// The guard stands in the dialer, behind resolution and before connect(2), once for every address of every connection. What
// DNS said when a URL was saved doesn't matter, and a connection that is used again was guarded when it was made. It
// denies what IANA's registries call special, and the addresses at which clouds tell machines their secrets.
//
// What the operator opens (Allow) is opened as far as it says: a network on the permitted ports, a host on the named port.
//
// Nothing is followed: a redirect is an answer like another. The environment names no proxy. With a configured proxy, it is
// the proxy that resolves and connects, so the guard is left with the rule on the URL, literal addresses included.
//
// Everything a receiver can make us wait for or keep is bounded: DNS and connect, TLS, the whole exchange, headers, body,
// what a connection buffers, connections in use by key and by host, idle connections in total. Bodies are never
// decompressed: they are kept as they came.
//
// What tenants read (Error.Detail, faults) names no address that a name of theirs resolved to, no resolver and no proxy.
//
// It reads and writes nothing but the network, and retries nothing, except a request that is Repeatable, on a fresh
// connection, when a pooled one turns out to have been closed before anything was answered.
package outbound
