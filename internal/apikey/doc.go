// Package apikey issues, rotates and revokes the API keys of tenants, and answers
// for each request that carries one whether it may pass.
//
//	active ⇄ disabled          until somebody enables it again
//	active ──▶ expired         at expires_at
//	active ──rotate──▶ grace ──▶ expired, with rotated_to naming the successor
//	any ──▶ revoked            for good
//
// A token is BRAND_live_… or BRAND_test_…, 256 random bits and a checksum. It is
// shown once; what is stored is its digest under a pepper that is not in the
// database. A digest under a retired pepper is written anew after its first use.
//
// # Verification
//
// The checks run in this order, and one that denies spends nothing of a later
// one: form → existence → key state → tenant and project state → environment → IP
// → entitlement → scope → rate limit → usage limit. Each instant (expiry, grace,
// the end of an entitlement) is compared on every request.
//
// What a verification depends on is read with one statement and kept in memory:
// a warm verification asks the database nothing and writes nothing. Entries are
// believed only while the change feed is fresh, and only if nothing that they
// depend on changed since before they were read (generations). Without a fresh
// feed every answer comes from the database; without a database there is no
// answer but Unavailable, never VALID. Use of keys is counted in memory and
// written by Flush, with one statement for all of them.
//
// A key in memory holds what is its own and points to what it has in common with
// others: its settings, and the view of its tenant. Both are found by their content
// (interned), so they can't be stale for some and fresh for others: what changed is
// another value, and each entry has its own stamp.
//
// # Invariants
//
// A key works from its tenant's addresses only if it names none, or the caller's
// is known and on its list; and only where the policies of its tenant and of all
// above it allow that, too. A key never holds a permission on landlord's API that
// its maker did not hold, and none at all when it is a test key or a project's.
// Revoking is possible whatever the tenant's status is. So is a report that a key
// has leaked, which does to it what the strictest of those policies says, once for
// each place.
//
// Whoever depends on a key is told before it ends and once it has: each notice once,
// because what was told is a mark on the key that only moves towards its end.
//
// A retired key answers EXPIRED, not REVOKED: nobody withdrew it, its time ran out.
//
// # Reads
//
// tenants (slug, ancestors, status; locked when a policy is put), tenant_projects (status), tenant_products and
// products (default_config, scopes), joined in the statement of a miss; products
// and tenant_projects when a key is made.
//
// Writes: api_keys, api_key_leaks, tenant_key_policies, api_key_flushes. Deliberately not here: named and shared limits, imports, and
// what a gateway's protocol wants (package gateway).
package apikey
