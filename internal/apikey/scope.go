package apikey

import (
	"slices"
	"strings"

	"github.com/landlordhq/landlord/internal/access"
)

// A scope is what a key may do in a product: words joined by colons, such as
// renders:create. A key may also hold noun:*, which covers everything below the
// noun. Scopes that begin with landlord: are permissions of landlord's own API
// (landlord:apikeys:read) and are never granted by a wildcard, because new
// permissions must not appear in old keys.

// managementPrefix begins the scopes that are permissions of landlord's own API.
const managementPrefix = "landlord:"

const (
	maxScopes   = 100
	maxScopeLen = 100
)

// validScope reports whether s is a scope; wildcard allows a last word "*".
func validScope(s string, wildcard bool) bool {
	if s == "" || len(s) > maxScopeLen {
		return false
	}
	if wildcard {
		if noun, ok := strings.CutSuffix(s, ":*"); ok {
			return validScope(noun, false)
		}
	}
	start := true
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			start = false
		case !start && (c == '_' || c == '-' || c == '.'):
		case !start && c == ':':
			start = true
		default:
			return false
		}
	}
	return !start
}

// ValidScope reports whether s is a scope that a verification may ask for: a
// scope without a wildcard.
func ValidScope(s string) bool { return validScope(s, false) }

// managementScope returns the permission that a scope stands for, if it is one
// of landlord's own.
func managementScope(s string) (access.Permission, bool) {
	p, ok := strings.CutPrefix(s, managementPrefix)
	return access.Permission(p), ok
}

// permissions returns the permissions that scopes grant on landlord's own API.
func permissions(scopes []string) []access.Permission {
	var out []access.Permission
	for _, s := range scopes {
		if p, ok := managementScope(s); ok && p.TenantGrantable() {
			out = append(out, p)
		}
	}
	return out
}

// scopeSet is a key's scopes, ready to be asked.
type scopeSet struct {
	all   []string // as the key has them, for the answer
	under []string // "renders:" for each renders:*
}

func newScopeSet(scopes []string) scopeSet {
	s := scopeSet{all: scopes}
	for _, scope := range scopes {
		if noun, ok := strings.CutSuffix(scope, "*"); ok {
			s.under = append(s.under, noun)
		}
	}
	return s
}

// has reports whether the scopes cover one. The set is a slice: keys have few
// scopes, and a comparison of strings begins with their lengths.
func (s scopeSet) has(scope string) bool {
	if slices.Contains(s.all, scope) {
		return true
	}
	for _, noun := range s.under {
		if strings.HasPrefix(scope, noun) {
			return true
		}
	}
	return false
}

func (s scopeSet) hasAll(scopes []string) bool {
	for _, scope := range scopes {
		if !s.has(scope) {
			return false
		}
	}
	return true
}

// readingVerbs are the last words of scopes that read, when the product's
// manifest does not say.
var readingVerbs = []string{":read", ":list", ":get", ":view"}

// readsByName reports whether a scope reads, judged by its last word. A scope
// that can't be judged writes: a frozen tenant must not change anything.
func readsByName(scope string) bool {
	for _, v := range readingVerbs {
		if strings.HasSuffix(scope, v) {
			return true
		}
	}
	return false
}
