package webhook

import (
	"context"
	"strconv"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Arrays of arrays don't unnest by row, so each row's are text.
const addStatsSQL = `
INSERT INTO tenant_webhook_stats AS s (tenant_id, webhook_id, hour, attempts, failures, durations, last_failure_at, last_failure)
SELECT tenant_id, webhook_id, hour, attempts, failures, durations::bigint[], last_failure_at, last_failure
FROM unnest(@tenants::uuid[], @webhooks::uuid[], @hours::timestamptz[], @attempts::bigint[], @failures::bigint[], @durations::text[],
	@failed_at::timestamptz[], @classes::text[]) AS t (tenant_id, webhook_id, hour, attempts, failures, durations, last_failure_at, last_failure)
ON CONFLICT (tenant_id, webhook_id, hour) DO UPDATE
SET attempts = s.attempts + excluded.attempts,
	failures = s.failures + excluded.failures,
	durations = ARRAY(SELECT COALESCE(x.a, 0) + COALESCE(x.b, 0) FROM unnest(s.durations, excluded.durations) WITH ORDINALITY AS x (a, b, n) ORDER BY x.n),
	last_failure_at = GREATEST(s.last_failure_at, excluded.last_failure_at),
	last_failure = CASE WHEN excluded.last_failure_at > s.last_failure_at OR s.last_failure_at IS NULL THEN excluded.last_failure ELSE s.last_failure END`

func addStats(ctx context.Context, tx pg.Tx, keys []tallyKey, all map[tallyKey]*hourly) error {
	var (
		tenants            []id.Tenant
		endpoints          []id.Webhook
		hours              []time.Time
		attempts, failures []int64
		durations          []string
		failedAt           []*time.Time
		classes            []*string
	)
	for _, key := range keys {
		h := all[key]
		tenants, endpoints, hours = append(tenants, key.tenant), append(endpoints, key.endpoint), append(hours, time.Unix(key.hour, 0).UTC())
		attempts, failures = append(attempts, h.attempts), append(failures, h.failures)
		durations = append(durations, arrayText(h.durations[:]))
		var at *time.Time
		if !h.failedAt.IsZero() {
			at = &h.failedAt
		}
		failedAt, classes = append(failedAt, at), append(classes, orNull(h.failure))
	}
	_, err := tx.Exec(ctx, addStatsSQL, pg.Named{
		"tenants": tenants, "webhooks": endpoints, "hours": hours, "attempts": attempts, "failures": failures, "durations": durations,
		"failed_at": failedAt, "classes": classes,
	})
	return err
}

// arrayText is an array in PostgreSQL's notation.
func arrayText(counts []int64) string {
	b := append(make([]byte, 0, 2*len(counts)+8), '{')
	for i, n := range counts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, '}'))
}

const selectStatsSQL = `
SELECT hour, attempts, failures, durations, last_failure_at, COALESCE(last_failure, '') AS last_failure
FROM tenant_webhook_stats
WHERE tenant_id = $1
	AND webhook_id = $2
	AND hour >= date_trunc('hour', $3::timestamptz, 'UTC')
	AND hour < $4
ORDER BY hour`

func selectStats(ctx context.Context, tx pg.Tx, p StatsParams) ([]Fare, error) {
	return pg.Collect[Fare](ctx, tx, selectStatsSQL, p.TenantID, p.EndpointID, p.Since, p.Until)
}
