package apikey

import (
	"fmt"
	"io"

	"github.com/landlordhq/landlord/internal/secret"
)

// bodyLen is the length of a token's random part and checksum together.
const bodyLen = secret.TokenLen + secret.ChecksumLen

// maxBrand is the longest brand; a brand is the first word of a token.
const maxBrand = 16

// shownLen is how many characters of the random part a key's Prefix shows.
const shownLen = 4

// Token is what can be read off a token without asking anybody:
//
//	ll_live_<43 base62 characters, 256 random bits><6 base62 characters, CRC32>
//
// The checksum covers all that precedes it, so that a typing error, and a
// `test` edited into `live`, is found without a look-up.
type Token struct {
	Brand       string
	Environment Environment
}

// ParseToken reads a token's form and checksum. It asks nobody and allocates
// nothing: this is what stands between random input and the database. Any brand
// is accepted, because keys outlive the brand they were issued under.
func ParseToken(s string) (Token, bool) {
	head := len(s) - bodyLen
	if head < len("a_live_") || head > maxBrand+len("_live_") {
		return Token{}, false
	}
	if !secret.IsBase62(s[head:]) || !secret.HasChecksum(s) {
		return Token{}, false
	}
	var t Token
	switch s[head-len("_live_") : head] {
	case "_live_":
		t.Environment = Live
	case "_test_":
		t.Environment = Test
	default:
		return Token{}, false
	}
	t.Brand = s[:head-len("_live_")]
	if !validBrand(t.Brand) {
		return Token{}, false
	}
	return t, true
}

// validBrand allows what a scanner's regular expression can name: 1 to 16
// lower-case letters and digits, a letter first.
func validBrand(s string) bool {
	if s == "" || len(s) > maxBrand || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// newToken makes a token, and the two pieces of it that may be shown again.
func newToken(random io.Reader, brand string, env Environment) (token, prefix, last4 string, err error) {
	body, err := secret.NewToken(random)
	if err != nil {
		return "", "", "", fmt.Errorf("make token: %w", err)
	}
	token = brand + "_" + string(env) + "_" + body
	prefix = token[:len(token)-secret.TokenLen+shownLen]
	token += secret.Checksum(token)
	return token, prefix, token[len(token)-4:], nil
}

// ValidateBrand tells why a brand can't begin tokens.
func ValidateBrand(s string) error {
	if validBrand(s) {
		return nil
	}
	return fmt.Errorf("brand %q must have 1 to %d lower-case letters and digits, a letter first", s, maxBrand)
}
