package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// Events are kept for as long as webhooks may be tried, or longer.
func TestServerFlags_keep(t *testing.T) {
	t.Parallel()
	const days = 24 * time.Hour
	for _, tc := range []struct {
		name             string
		events, attempts time.Duration
		webhooks         time.Duration
		refused          string
	}{
		{"as they are", 90 * days, 90 * days, 7 * days, ""},
		{"the shortest", 14 * days, 14 * days, 7 * days, ""},
		{"for ever", 0, 0, 30 * days, ""},
		{"too short", 14*days - time.Second, 90 * days, 7 * days, "--keep-events: at least 14d"},
		{"tries too short", 90 * days, days, 7 * days, "--keep-webhook-attempts: at least 14d"},
		{"webhooks tried for longer", 29 * days, 90 * days, 30 * days, "--keep-events: at least 30d"},
	} {
		f := serverFlags{
			KeepEvents: ttl(tc.events), KeepWebhookAttempts: ttl(tc.attempts),
			egressFlags:   egressFlags{EgressTimeout: time.Second, EgressConnectTimeout: time.Second},
			deliveryFlags: deliveryFlags{WebhookSchedule: []time.Duration{0}, WebhookTTL: ttl(tc.webhooks), WebhookInFlight: 1, WebhookDisableAfter: 1},
		}
		cfg, err := f.config(slog.New(slog.DiscardHandler), nil, "")
		switch {
		case tc.refused != "":
			if err == nil || !strings.HasPrefix(err.Error(), tc.refused) {
				t.Errorf("%s: got %v", tc.name, err)
			}
		case err != nil || cfg.KeepEvents != tc.events || cfg.KeepWebhookAttempts != tc.attempts:
			t.Errorf("%s: keeps %v and %v, %v", tc.name, cfg.KeepEvents, cfg.KeepWebhookAttempts, err)
		}
	}
}

// Keys are told of as long before their end as the flag says, and it says so itself
// when that can't be.
func TestServerFlags_keyNotices(t *testing.T) {
	t.Parallel()
	const days = 24 * time.Hour
	for name, tc := range map[string]struct {
		notices []ttl
		refused string
	}{
		"some":      {[]ttl{ttl(60 * days), ttl(2 * time.Hour)}, ""},
		"too short": {[]ttl{ttl(time.Second)}, "--key-notices: "},
		"too many":  {make([]ttl, 11), "--key-notices: "},
	} {
		f := serverFlags{
			KeyNotices: tc.notices, egressFlags: egressFlags{EgressTimeout: time.Second, EgressConnectTimeout: time.Second},
			deliveryFlags: deliveryFlags{WebhookSchedule: []time.Duration{0}, WebhookTTL: ttl(days), WebhookInFlight: 1, WebhookDisableAfter: 1},
		}
		cfg, err := f.config(slog.New(slog.DiscardHandler), nil, "")
		switch {
		case tc.refused != "":
			if err == nil || !strings.HasPrefix(err.Error(), tc.refused) {
				t.Errorf("%s: got %v", name, err)
			}
		case err != nil || !slices.Equal(cfg.KeyNotices, []time.Duration{60 * days, 2 * time.Hour}):
			t.Errorf("%s: %v, %v", name, cfg.KeyNotices, err)
		}
	}
}
