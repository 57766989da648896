package webhook

import (
	"regexp"
	"slices"
	"strings"
)

// Any is the pattern of every type.
const Any = "*"

var patternForm = regexp.MustCompile(`^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.(\*|[a-z][a-z0-9_]*))$`)

// ValidPattern reports whether p may choose event types: a type as it is
// (render.completed), all below a prefix (render.*), or all (*).
func ValidPattern(p string) bool { return len(p) <= 200 && patternForm.MatchString(p) }

// Match reports whether one of the patterns chooses an event type.
func Match(patterns []string, eventType string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, wild := strings.CutSuffix(p, Any)
		if wild {
			return strings.HasPrefix(eventType, prefix)
		}
		return p == eventType
	})
}
