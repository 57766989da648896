package app

import (
	"context"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// openLimits makes the rate limits that replicas share, when Redis is configured. That it is away is told by a metric, the
// log and /readyz; nothing fails for it.
func (a *App) openLimits() error {
	if a.cfg.RedisURL == "" {
		return nil
	}
	limits, err := ratelimit.NewShared(ratelimit.SharedConfig[apikey.Bucket]{
		URL: a.cfg.RedisURL, Timeout: a.cfg.RedisTimeout, Append: func(b []byte, k apikey.Bucket) []byte { return k.Append(b) }, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.limits = limits
	a.closers = append(a.closers, func(context.Context) {
		if err := limits.Close(); err != nil {
			a.log.Warn("connections to redis were not closed", "error", err)
		}
	})
	a.metrics.Gauge("landlord_rate_limit_shared", "Whether rate limits are shared through Redis now (1), or this replica's own (0).", func() float64 {
		if limits.Status().Shared {
			return 1
		}
		return 0
	})
	a.metrics.Counter("landlord_rate_limit_shared_decisions_total", "Rate limit decisions made in Redis.", func() float64 {
		return float64(limits.Counts().Shared)
	})
	a.metrics.Counter("landlord_rate_limit_local_decisions_total", "Rate limit decisions made by this replica alone, because Redis was away.", func() float64 {
		return float64(limits.Counts().Local)
	})
	a.metrics.Counter("landlord_rate_limit_redis_failures_total", "Rate limit decisions that Redis was asked for and did not make in time.", func() float64 {
		return float64(limits.Counts().Failed)
	})
	return nil
}
