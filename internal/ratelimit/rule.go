package ratelimit

import (
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
)

// Rule is a limit under a name, as it is written down: Limit units in a window of Window seconds, all of which may come at
// once unless Burst says how many.
type Rule struct {
	Name   string `json:"name"`
	Limit  int64  `json:"limit"`
	Window int64  `json:"window"`
	Burst  int64  `json:"burst,omitempty"` // 0: Limit
	// NamedOnly spends from it only where it is asked for by name, rather than always.
	NamedOnly bool `json:"named_only,omitempty"`
}

// KeyRule is the name of the limit that every key has, so that no other is called so.
const KeyRule = "key"

// The bounds of a rule.
const (
	MaxRules      = 10            // of one owner
	MaxRuleName   = 40            // characters
	MaxRuleLimit  = 1_000_000_000 // units
	MaxRuleWindow = 31 * 86_400   // seconds; what counts over more is a usage limit
	// maxUnits is how many may come back in a second. An emission interval is a whole number of nanoseconds, so that more
	// of them would make the rate noticeably lower than said.
	maxUnits = 1_000_000
)

// Policy is what the limiter keeps.
func (r Rule) Policy() Limit {
	return Limit{Rate: r.Limit, Period: time.Duration(r.Window) * time.Second, Burst: r.Burst}
}

// CheckRules complains of what can't be kept, and of names that are there twice. at is the field that holds the rules.
func CheckRules(f *fault.Fields, at string, rules []Rule) {
	f.Check(len(rules) <= MaxRules, at, "too_many", "At most %d rate limits.", MaxRules)
	seen := map[string]bool{}
	for i, r := range rules {
		here := fmt.Sprintf("%s[%d].", at, i)
		r.Check(f, here)
		f.Check(!seen[r.Name], here+"name", "duplicate", "The rate limit %.60q is there twice.", r.Name)
		seen[r.Name] = true
	}
}

// Check complains of what can't be kept. at is the path before the rule's fields: "" or "rate_limits[2].".
func (r Rule) Check(f *fault.Fields, at string) {
	f.Check(ValidRuleName(r.Name), at+"name", "name_malformed",
		"%.60q is no name of a rate limit: write at most %d of a-z, 0-9, _ and -, a letter first.", r.Name, MaxRuleName)
	f.Check(r.Name != KeyRule, at+"name", "name_reserved", "%q is the limit that a key's rate_limit_rpm says.", KeyRule)
	f.Check(r.Window >= 1 && r.Window <= MaxRuleWindow, at+"window", "out_of_range", "window is a whole number of seconds from 1 to %d.", MaxRuleWindow)
	f.Check(r.Limit >= 1 && r.Limit <= MaxRuleLimit && r.Limit <= maxUnits*max(r.Window, 1), at+"limit", "out_of_range",
		"limit is a whole number from 1 to %d, and at most %d for each second of the window.", MaxRuleLimit, maxUnits)
	f.Check(r.Burst >= 0 && r.Burst <= r.Limit, at+"burst", "out_of_range", "burst is a whole number from 1 to the limit; left out, it is the limit.")
}

// ValidRuleName reports whether a rule can be called so. The names stand in header fields, in URLs and, with a colon or a dot
// behind or before them, in the notation of others.
func ValidRuleName(s string) bool {
	if len(s) == 0 || len(s) > MaxRuleName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
