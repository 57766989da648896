// Package secret makes, digests, seals and hides the values that must not leak: tokens that are shown once, the
// peppers that key their digests, and the keys that encrypt what landlord must be able to read back (webhook signing
// secrets, identity providers' client secrets).
//
//	token   43 base62 characters, 256 bits, from crypto/rand; a 6-character CRC32 catches typing errors before a look-up
//	digest  HMAC-SHA256(pepper, SHA-256(token)), stored as "hmac-sha256$<pepper>$<base64url>"
//	import  another system's HMAC key: HMAC(pepper, HMAC(import, token)), stored as "hmac-sha256:<import>$<pepper>$<base64url>"
//	slow    another system's argon2id or bcrypt hash, stored as it is; checked, never made
//	box     AES-256-GCM under a named key, bound to the row and column it is stored in
//	Text    a string that prints, logs and marshals as "[redacted]"
//
// # Invariants
//
// A 256-bit random token needs no slow hash: nobody enumerates it. The pepper, kept outside the database, makes a
// stolen dump useless for testing guessed (imported) keys, and keeps someone who can write rows from planting a digest
// of a key they chose. The inner SHA-256 is what lets another system's plain SHA-256 digests be imported without
// their plaintext.
//
// A foreign hash is kept only until the token it belongs to is seen, and then written anew as a digest under the pepper. Its
// cost is bounded where it is read.
//
// Peppers and box keys rotate by listing a new one first: the first of a kind is current and makes everything new, the
// ones below it are retired and only read. A retired key may go when nothing stored names it any more.
//
// Nothing here stores, logs or remembers a plaintext: errors name lines, versions and key ids, never material.
//
// It reads the secrets file once, at start; it writes one only for a new installation (Create), and never overwrites.
package secret
