package api

import (
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// RateLimit is a named limit on how often.
type RateLimit struct {
	Name      string `json:"name" minLength:"1" maxLength:"40" example:"renders" doc:"a-z, 0-9, _ and -, a letter first."`
	Limit     int64  `json:"limit" minimum:"1" maximum:"1000000000" example:"100" doc:"Units in a window; at most a million for each of its seconds."`
	Window    int64  `json:"window" minimum:"1" maximum:"2678400" example:"60" doc:"Seconds in which they come back, evenly."`
	Burst     int64  `json:"burst,omitempty" minimum:"1" doc:"How many may come at once; left out, all of them."`
	NamedOnly bool   `json:"named_only,omitempty" doc:"Only verifications that name it spend from it; else all do."`
}

// RateLimitCost is what a verification spends of the rate limits of a name.
type RateLimitCost struct {
	Name string `json:"name" minLength:"1" maxLength:"40" example:"renders" doc:"Of the key, its tenant or the product; key is the key's own rate_limit_rpm. All that are called so are spent from. An unknown one is an error."`
	Cost *int64 `json:"cost,omitempty" minimum:"0" maximum:"1000000" doc:"Left out, 1. 0 only tells what is left."`
}

// KeyRateLimit is what a key's own rate limit has left after a verification.
type KeyRateLimit struct {
	Limit      int64 `json:"limit" doc:"Requests a minute."`
	Remaining  int64 `json:"remaining"`
	Reset      int64 `json:"reset" doc:"Seconds until all of it is back."`
	RetryAfter int64 `json:"retry_after,omitempty" doc:"With RATE_LIMITED, if it denied: seconds until it would not."`
}

// NamedRateLimit is what a rate limit has left after a verification.
type NamedRateLimit struct {
	Name       string `json:"name" example:"renders" doc:"key is the key's rate_limit_rpm, key.NAME another of its own; a mere NAME is the tenant's or the product's."`
	Limit      int64  `json:"limit" doc:"Units in a window."`
	Window     int64  `json:"window" doc:"Seconds."`
	Remaining  int64  `json:"remaining"`
	Reset      int64  `json:"reset" doc:"Seconds until all of it is back."`
	RetryAfter int64  `json:"retry_after,omitempty" doc:"With RATE_LIMITED, of those that denied: seconds until it would not."`
}

func rateLimitsOf(list []ratelimit.Rule) []RateLimit {
	out := make([]RateLimit, len(list))
	for i, r := range list {
		out[i] = RateLimit(r)
	}
	return out
}

func limitRulesOf(list []RateLimit) []ratelimit.Rule {
	out := make([]ratelimit.Rule, len(list))
	for i, r := range list {
		out[i] = ratelimit.Rule(r)
	}
	return out
}

func costsOf(list []RateLimitCost) []apikey.LimitCost {
	if len(list) == 0 {
		return nil
	}
	out := make([]apikey.LimitCost, len(list))
	for i, l := range list {
		out[i] = apikey.LimitCost{Name: l.Name, Cost: 1}
		if l.Cost != nil {
			out[i].Cost = *l.Cost
		}
	}
	return out
}

func namedRateLimitsOf(list []ratelimit.Named) []NamedRateLimit {
	out := make([]NamedRateLimit, len(list))
	for i, n := range list {
		d := n.Decision
		out[i] = NamedRateLimit{
			Name: n.Name, Limit: d.Limit.Rate, Window: int64(d.Limit.Period / time.Second), Remaining: d.Remaining, Reset: wholeSeconds(d.ResetAfter),
		}
		if !d.Allowed {
			out[i].RetryAfter = d.RetryAfterSeconds()
		}
	}
	return out
}

// wholeSeconds rounds up: nobody may come too early.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
