package gateway_test

import (
	"os/exec"
	"testing"

	"github.com/landlordhq/landlord/internal/gateway"
)

// The system's Caddy, and the newest one.
func TestCaddy_forReal(t *testing.T) {
	t.Parallel()
	for name, get := range map[string]func(t *testing.T) string{
		"system": func(t *testing.T) string { return find(t, "caddy") },
		"newest": func(t *testing.T) string { return built(t, "caddy", "github.com/caddyserver/caddy/v2") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testProgram(t, program{
				column: "Caddy", landlord: over("/gateway/forward-auth", (*gateway.Gateway).ForwardAuth),
				misspell: []string{"product=render", "produkt=render"},
				start: func(t *testing.T, landlord, backend string, change ...string) string {
					caddy, front := get(t), freeAddress(t)
					dir := folder(t, map[string]string{"Caddyfile": example(t, "caddy/Caddyfile", append(change,
						"127.0.0.1:8081", landlord,
						"127.0.0.1:9000", backend,
						":8088 {", ":"+port(front)+" {")...)})
					run(t, exec.Command(caddy, "run", "--config", "Caddyfile"), dir, front)
					return "http://" + front
				},
			})
		})
	}
}
