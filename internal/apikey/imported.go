package apikey

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// HashAlgorithm is how another system hashed its keys.
type HashAlgorithm string

// The hashes that keys can be imported as.
const (
	HashSHA256   HashAlgorithm = "sha256"      // of the whole token
	HashHMAC     HashAlgorithm = "hmac-sha256" // of the whole token, under an import key of the secrets file
	HashArgon2id HashAlgorithm = "argon2id"
	HashBcrypt   HashAlgorithm = "bcrypt"
)

// HashAlgorithms lists the algorithms.
func HashAlgorithms() []HashAlgorithm {
	return []HashAlgorithm{HashSHA256, HashHMAC, HashArgon2id, HashBcrypt}
}

// Slow reports whether a token can't be looked up by such a hash of it.
func (a HashAlgorithm) Slow() bool { return a == HashArgon2id || a == HashBcrypt }

// ForeignHash is what another system stored of a token.
type ForeignHash struct {
	Algorithm HashAlgorithm
	Key       string // name of the import key; with HashHMAC
	Value     string // hexadecimal or base64; a PHC string; $2a$, $2b$, $2y$
}

// The bounds of what an import says beside a key's ordinary fields.
const (
	MaxImport = 1000 // items of one call
	// MinSlowPrefix is how much of a token must be known to look for it among slow hashes.
	MinSlowPrefix = 8
	MaxPrefix     = 24
	// minUnshown is how much of a token its Prefix must leave unsaid.
	minUnshown = 12
	// minDistinct is how many different characters a token must have: this is no
	// measure of randomness, but finds placeholders.
	minDistinct = 8
)

// ImportItem is a key that was issued elsewhere, and goes on working.
type ImportItem struct {
	CreateParams // its TenantID is the call's

	// Wrong is why a face could not read the item; it is refused for that.
	Wrong error

	// Token or Hash, not both.
	Token secret.Text
	Hash  ForeignHash
	// Prefix is how the token begins, Last4 how it ends: for people, and Prefix also
	// to find keys with slow hashes by. What is left out is taken from Token.
	Prefix, Last4 string

	// What is known of its life so far.
	CreatedAt  *time.Time // nil: now
	LastUsedAt *time.Time
	UsageCount int64
}

// ImportResult is what became of an item.
type ImportResult struct {
	Key id.APIKey // zero when there is no such key
	Err error     // nil: imported
}

// prepare checks an item by itself and returns the forms in which its token may be
// stored, the first of which is its own. platform says that the caller is not
// confined to a tenant.
func (x *ImportItem) prepare(ring *secret.Keyring, platform bool, now time.Time) (stored []string, err error) {
	if x.Wrong != nil {
		return nil, x.Wrong
	}
	var f fault.Fields
	x.check(&f, now)
	f.Check(len(permissions(x.Scopes)) == 0, "scopes", "scope_not_allowed",
		"An imported key can't have scopes that begin with %s: its token was made, and perhaps kept, elsewhere.", managementPrefix)
	switch token := x.Token.Reveal(); {
	case token == "" && x.Hash == ForeignHash{}:
		f.Add("token", "required", "Send the token, or its hash.")
	case token != "" && x.Hash != ForeignHash{}:
		f.Add("hash", "not_applicable", "Send the token or its hash, not both.")
	case token != "":
		stored = append(ring.Digests(token), ring.ImportedDigests(token)...)
		x.checkToken(&f, token)
	default:
		stored = x.checkHash(&f, ring, platform)
	}
	checkText(&f, "prefix", x.Prefix, MaxPrefix)
	f.Check(graphic(x.Prefix), "prefix", "invalid_text", "prefix has printable ASCII characters and no blanks.")
	f.Check(x.Last4 == "" || len(x.Last4) == 4 && graphic(x.Last4), "last4", "wrong_format", "last4 has 4 printable ASCII characters.")
	checkPast(&f, "created_at", x.CreatedAt, now)
	checkPast(&f, "last_used_at", x.LastUsedAt, now)
	f.Check(x.UsageCount >= 0, "usage_count", "out_of_range", "usage_count is not negative.")
	return stored, f.Err()
}

// checkToken checks a token, and takes from it what may be shown.
func (x *ImportItem) checkToken(f *fault.Fields, token string) {
	if !foreignForm(token) {
		f.Add("token", "token_malformed", "A token has %d to %d printable ASCII characters and no blanks.", MinForeignToken, MaxForeignToken)
		return
	}
	distinct := map[byte]bool{}
	for i := range len(token) {
		distinct[token[i]] = true
	}
	f.Check(len(distinct) >= minDistinct, "token", "token_weak", "The token is easy to guess: it has fewer than %d different characters.", minDistinct)
	own, isOwn := ParseToken(token)
	f.Check(!isOwn || own.Environment == x.Environment, "environment", "invalid", "The token says that it is a %s key.", own.Environment)
	switch {
	case x.Prefix == "" && isOwn:
		x.Prefix = token[:len(token)-bodyLen+shownLen]
	case x.Prefix == "":
		x.Prefix = token[:min(12, len(token)/4)]
	default:
		f.Check(strings.HasPrefix(token, x.Prefix), "prefix", "invalid", "The token does not begin so.")
		f.Check(len(token)-len(x.Prefix) >= minUnshown, "prefix", "too_long", "prefix leaves at least %d characters of the token unsaid.", minUnshown)
	}
	switch {
	case x.Last4 != "":
		f.Check(strings.HasSuffix(token, x.Last4), "last4", "invalid", "The token does not end so.")
	case len(token)-len(x.Prefix) >= minUnshown+4:
		x.Last4 = token[len(token)-4:]
	}
}

// checkHash checks a hash and returns its stored forms.
func (x *ImportItem) checkHash(f *fault.Fields, ring *secret.Keyring, platform bool) (stored []string) {
	h := x.Hash
	if !slices.Contains(HashAlgorithms(), h.Algorithm) {
		f.Add("hash.algorithm", "not_one_of", "algorithm is sha256, hmac-sha256, argon2id or bcrypt.")
		return nil
	}
	if h.Algorithm == HashHMAC {
		f.Check(h.Key != "", "hash.key", "required", "Name the import key of the secrets file that the hash was made with.")
		f.Check(h.Key == "" || ring.HasImportKey(h.Key), "hash.key", "import_key_not_found", "The secrets file has no import key %.20q.", h.Key)
	} else {
		f.Check(h.Key == "", "hash.key", "not_applicable", "%s takes no key.", h.Algorithm)
	}
	if !h.Algorithm.Slow() {
		inner, ok := secret.ParseSHA256(h.Value)
		f.Check(ok, "hash.value", "hash_malformed", "value is 32 bytes, in hexadecimal or base64.")
		if h.Algorithm == HashHMAC {
			return ring.DigestsHMAC(h.Key, inner)
		}
		return ring.DigestsSHA256(inner)
	}
	// Checking these takes the whole installation's processors, and their beginnings
	// are counted over all tenants.
	f.Check(platform, "hash.algorithm", "platform_only", "Only the platform's own credentials import %s hashes.", h.Algorithm)
	_, err := secret.ParseSlowHash(h.Value)
	switch {
	case errors.Is(err, secret.ErrHashCostly):
		f.Add("hash.value", "hash_too_costly", "%s.", sentence(err))
	case err != nil:
		f.Add("hash.value", "hash_malformed", "%s.", sentence(err))
	default:
		argon := strings.HasPrefix(h.Value, "$argon2id$")
		f.Check(argon == (h.Algorithm == HashArgon2id), "hash.value", "hash_malformed", "The hash is not of the algorithm %s.", h.Algorithm)
	}
	switch n := len(x.Prefix); {
	case n == 0:
		f.Add("prefix", "required", "A key with such a hash is found by how its token begins: send its first %d to %d characters.", MinSlowPrefix, MaxPrefix)
	case n < MinSlowPrefix:
		f.Add("prefix", "too_short", "A key with such a hash is found by how its token begins: send at least %d characters.", MinSlowPrefix)
	}
	return []string{h.Value}
}

// sentence begins an error's text with a capital.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// graphic reports whether s is printable ASCII without blanks.
func graphic(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func checkPast(f *fault.Fields, field string, at *time.Time, now time.Time) {
	if at == nil {
		return
	}
	f.Check(!at.After(now.Add(importSkew)), field, "in_the_future", "%s is in the future.", field)
	f.Check(at.Year() > 1969, field, "out_of_range", "%s is before 1970.", field)
}

// importSkew is how far another system's clock may be ahead of ours.
const importSkew = 5 * time.Minute
