// Package operator holds the platform's own people and service accounts, their
// access tokens, and the answer to "who is this bearer?".
//
//	people    enabled ⇄ disabled; a role: owner, admin, support or viewer
//	services  enabled ⇄ disabled; permissions by grant; may be confined to a tenant and those below it
//	tokens    live → expired | revoked; of a person or of a service account
//
// Invariants: there is always an enabled owner, whatever runs at the same time;
// nobody gives a person, an account or a token more than he holds himself; a
// token is shown once and stored as a peppered digest; a JWT is accepted from
// one configured issuer only, and while that issuer is down only JWTs suffer.
//
// Authenticate answers from memory while the change feed is fresh, and from the
// database otherwise. Strangers learn credential_invalid or credential_expired;
// the reason goes to the log.
//
// Writes: operators, service_accounts, access_tokens. Reads: tenants, for
// the effective status of the one that an account is confined to. API keys of
// tenants are another room's; the composition root tries the rooms by prefix.
package operator
