package main

import (
	"testing"

	"github.com/landlordhq/landlord/internal/outbound"
)

// A developer's machine reaches itself, and what everybody reaches.
func TestDevEgress(t *testing.T) {
	t.Parallel()
	cfg, err := devEgress()
	if err != nil {
		t.Fatal(err)
	}
	c, err := outbound.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for url, ok := range map[string]bool{
		"http://localhost:3000/hook": true,
		"http://127.0.0.1:9000":      true,
		"http://[::1]":               true,
		"https://localhost:8443":     true,
		"https://example.com":        true,
		"http://example.com":         false,
		"http://127.0.0.2:9000":      false,
		"https://10.0.0.1":           false,
		"http://app.localhost:3000":  false,
	} {
		if err := c.CheckURL(t.Context(), "url", url, false); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}
