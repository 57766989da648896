package catalog_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/catalog"
)

func sorted[T any](v []T, less func(a, b T) bool) []T {
	v = slices.Clone(v)
	slices.SortFunc(v, func(a, b T) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
	return v
}

// The words of the source schemas are data of the example catalogues: every one
// of them, with its default.
func TestExamples_vocabulary(t *testing.T) {
	t.Parallel()
	media, ai := example(t, "media-reseller"), example(t, "ai-platform")
	both := example(t, ".") // their names do not collide
	if got, want := len(both.Products), len(media.Products)+len(ai.Products); got != want {
		t.Errorf("together: %d products, want %d", got, want)
	}

	defaults := map[string]any{}
	for _, s := range media.Settings {
		defaults[s.Name] = s.Default
	}
	if d := cmp.Diff(map[string]any{
		"default_locale": "fa", "supported_locales": []any{"fa", "en"}, "default_currency": "IRR",
		"payment_gateways": []any{"ZarinPal"}, "max_resolution": "FullHD", "max_duration_sec": 600.0,
		"allow_4k": false, "allow_voiceover": true, "allow_music_visualizer": true, "allow_mockup": true,
		"features": map[string]any{},
	}, defaults); d != "" {
		t.Errorf("settings: %s", d)
	}
	for name, want := range map[string][]any{
		"max_resolution":    {"HD", "FullHD", "FourK"},
		"default_locale":    {"fa", "en"},
		"payment_gateways":  {"ZarinPal", "IdPay", "Bazaar", "Stripe"},
		"supported_locales": {"fa", "en"},
	} {
		s := media.Settings[slices.IndexFunc(media.Settings, func(s catalog.Setting) bool { return s.Name == name })].Schema
		if items, ok := s["items"].(map[string]any); ok {
			s = items
		}
		if d := cmp.Diff(want, s["enum"]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}

	var meters, limits, events, scopes []string
	for _, m := range media.Meters {
		meters = append(meters, m.Name)
		for _, l := range m.Limits {
			limits = append(limits, l.Name)
		}
	}
	for _, e := range media.EventTypes {
		events = append(events, e.Name)
	}
	for _, p := range media.Products {
		for _, s := range p.Scopes {
			scopes = append(scopes, s.Name)
		}
	}
	for what, tc := range map[string]struct{ have, want []string }{
		"meters": {meters, []string{
			"renders_started", "renders_completed", "renders_failed", "render_seconds", "render_compute_sec",
			"storage_bytes", "api_calls", "api_4xx", "api_5xx", "active_users", "new_users",
		}},
		"limits": {limits, []string{"max_users", "max_storage_gb", "monthly_render_qty", "monthly_render_sec"}},
		"events": {events, []string{"render.started", "render.completed", "render.failed"}},
		"scopes": {scopes, []string{"renders:create", "projects:read"}},
	} {
		for _, w := range tc.want {
			if !slices.Contains(tc.have, w) {
				t.Errorf("%s: %s is missing", what, w)
			}
		}
	}

	knobs := map[string]bool{}
	for _, p := range ai.Products {
		properties, _ := p.ConfigSchema["properties"].(map[string]any)
		for k := range properties {
			knobs[k] = true
		}
	}
	for _, k := range []string{"litellm_url", "max_seats", "modules_enabled"} {
		if !knobs[k] {
			t.Errorf("no product of ai-platform has the knob %s", k)
		}
	}
	if !slices.ContainsFunc(ai.Plans, func(p catalog.Plan) bool { return p.Name == "demo" }) {
		t.Error("ai-platform has no plan for the demo tenant")
	}
}
