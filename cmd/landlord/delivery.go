package main

import (
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/webhook"
)

// deliveryFlags say how webhooks are sent.
type deliveryFlags struct {
	WebhookSchedule       []time.Duration `help:"When webhooks are tried: the wait before each try, the first after the event." env:"LANDLORD_WEBHOOK_SCHEDULE" default:"0s,5s,5m,30m,2h,5h,10h,14h,20h,24h" placeholder:"DURATION"`
	WebhookTTL            ttl             `help:"How old a webhook may be to be sent, whatever held it up." env:"LANDLORD_WEBHOOK_TTL" name:"webhook-ttl" default:"7d" placeholder:"DURATION"`
	WebhookInFlight       int             `help:"How many webhooks a replica sends at a time." env:"LANDLORD_WEBHOOK_IN_FLIGHT" default:"256" placeholder:"N"`
	WebhookTenantInFlight int             `help:"How many of those for one tenant; 0 is a quarter." env:"LANDLORD_WEBHOOK_TENANT_IN_FLIGHT" default:"0" placeholder:"N"`
	WebhookDisableAfter   int             `help:"By how many failures in a row an endpoint is disabled." env:"LANDLORD_WEBHOOK_DISABLE_AFTER" default:"20" placeholder:"N"`
	WebhookDisableMinimum time.Duration   `help:"For how long it must have been failing by then; 0 for however short." env:"LANDLORD_WEBHOOK_DISABLE_MINIMUM" default:"24h" placeholder:"DURATION"`
}

func (f deliveryFlags) config() (webhook.EngineConfig, error) {
	c := webhook.EngineConfig{
		Schedule: webhook.DefaultSchedule(), TTL: time.Duration(f.WebhookTTL),
		InFlight: f.WebhookInFlight, TenantInFlight: f.WebhookTenantInFlight,
		DisableAfter: f.WebhookDisableAfter, DisableMinimum: f.WebhookDisableMinimum,
	}
	c.Schedule.Gaps = f.WebhookSchedule
	if c.DisableMinimum == 0 {
		c.DisableMinimum = -1
	}
	for flag, wrong := range map[string]bool{
		"--webhook-schedule":         len(f.WebhookSchedule) == 0,
		"--webhook-ttl":              f.WebhookTTL <= 0,
		"--webhook-in-flight":        f.WebhookInFlight <= 0,
		"--webhook-tenant-in-flight": f.WebhookTenantInFlight < 0,
		"--webhook-disable-after":    f.WebhookDisableAfter <= 0,
		"--webhook-disable-minimum":  f.WebhookDisableMinimum < 0,
	} {
		if wrong {
			return c, fmt.Errorf("%s: must be positive", flag)
		}
	}
	return c, nil
}
