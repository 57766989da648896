package webhook_test

import (
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/webhook"
)

func TestValidPattern(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"*": true, "render.*": true, "render.completed": true, "api_key.created": true, "a.b.c": true, "a.b.*": true, "a1.b2": true,
		"": false, "render": false, "render.": false, ".render": false, "render*": false, "*.completed": false, "a.*.c": false,
		"Render.*": false, "render..x": false, "1a.b": false, "a.b\n": false, "**": false,
		"a." + strings.Repeat("b", 198): true, "a." + strings.Repeat("b", 199): false,
	} {
		if got := webhook.ValidPattern(pattern); got != want {
			t.Errorf("%q: %t, want %t", pattern, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		patterns string
		event    string
		want     bool
	}{
		{"*", "render.completed", true},
		{"render.*", "render.completed", true},
		{"render.*", "render.job.completed", true},
		{"render.job.*", "render.completed", false},
		{"render.*", "renderer.completed", false},
		{"render.*", "render", false},
		{"render.completed", "render.completed", true},
		{"render.completed", "render.completed_late", false},
		{"render.failed render.completed", "render.completed", true},
		{"", "render.completed", false},
	} {
		if got := webhook.Match(strings.Fields(tc.patterns), tc.event); got != tc.want {
			t.Errorf("%q of %q: %t, want %t", tc.event, tc.patterns, got, tc.want)
		}
	}
}
