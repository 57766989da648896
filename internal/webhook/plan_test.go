package webhook

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/id"
)

// explain returns the plan that a session of the engine's makes of a statement.
func (w *world) explain(sql string, args ...string) string {
	w.t.Helper()
	ctx := w.t.Context()
	conn, err := pgx.Connect(ctx, w.urls.App)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for name, value := range Session() {
		if _, err := conn.Exec(ctx, fmt.Sprintf("SET %s = '%s'", name, value)); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := conn.Exec(ctx, "SET landlord.operator = 'on'"); err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "PREPARE planned AS "+sql); err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil { // what it does is undone with the connection
		w.t.Fatal(err)
	}
	rows, err := conn.Query(ctx, "EXPLAIN (ANALYZE, TIMING OFF) EXECUTE planned("+strings.Join(args, ", ")+")")
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

const (
	planFrom = "now() - interval '38 days'"
	planTo   = "now() + interval '1 day'"
)

// With 200,000 due deliveries of one endpoint, and statistics that know nothing of
// them: each statement of the hot path goes by the index that was made for it, by the
// month that it needs, and touches no more than it takes. Which of these fails says
// how the queue would break down (docs/performance.md).
func TestPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenant := w.tenant()
	big, _ := w.endpoint(tenant, "https://receiver.example/big")
	small, _ := w.endpoint(tenant, "https://receiver.example/small")
	w.backlog(tenant, big, 200_000, 0)
	w.backlog(tenant, small, 3, 0)
	w.backlog(tenant, small, 500, time.Hour)
	some := scalar[[]string](w, `SELECT array_agg(id::text) FROM (SELECT id FROM tenant_webhook_deliveries LIMIT 100) AS d`)
	w.exec(`UPDATE tenant_webhook_deliveries SET state = 'claimed', next_retry_at = NULL, claimed_until = '2100-01-01' WHERE id = ANY ($1::uuid[])`, some)
	ids := "'{" + strings.Join(some, ",") + "}'::uuid[]"
	endpoints := fmt.Sprintf("'{%s,%s}'::uuid[]", big.UUID(), small.UUID())

	cases := []struct {
		name, sql string
		args      []string
		index     string // that the plan goes by
		condition string // that the index answers, rather than a filter
	}{
		{
			"claim", claimDue,
			[]string{endpoints, "'{10,10}'", "now()", "'1 minute'", planFrom, planTo},
			"_webhook_id_next_retry_at_idx", `\(webhook_id = ask.webhook_id\) AND \(next_retry_at <= `,
		},
		{
			"sweep", sweepPending,
			[]string{"'" + (id.Webhook{}).UUID() + "'", "4000", "now()", planFrom, planTo},
			"_webhook_id_next_retry_at_idx", `webhook_id > found`,
		},
		{"set aside", setAside, []string{"'" + big.UUID() + "'", "500", "'skipped'", "'paused'"}, "_webhook_id_next_retry_at_idx", `webhook_id = `},
		{"reap", reapExpired, []string{"now()", "500"}, "_claimed_until_idx", `claimed_until < `},
		{"delivered", finishDelivered, []string{ids, "'{200}'", "now()", planFrom, planTo}, "_pkey", `id = ANY`},
		{
			"failed", finishFailed,
			[]string{ids, "array_fill('2100-01-01'::timestamptz, ARRAY[100])", "array_fill('failed'::text, ARRAY[100])", "'{}'", "array_fill(1, ARRAY[100])", "'{}'", "'{}'", "now()", planFrom, planTo},
			"_pkey", `id = ANY`,
		},
		{"outbox", selectPage, []string{"200", planFrom, planTo}, "_xid_seq_idx", `xid >= pg_snapshot_xmax`},
	}
	for _, statistics := range []string{"none", "fresh"} {
		for _, tc := range cases {
			plan := w.explain(tc.sql, tc.args...)
			for _, fault := range planFaults(plan, tc.index, tc.condition) {
				t.Errorf("%s, with statistics %s: %s:\n%s", tc.name, statistics, fault, plan)
			}
		}
		w.analyze()
	}
}

// planFaults says what is wrong with a plan.
func planFaults(plan, index, condition string) (faults []string) {
	for _, banned := range []string{
		"Seq Scan on tenant_webhook_deliveries", "Seq Scan on tenant_events", "Merge Join", "Hash Join", "Hash Semi Join",
	} {
		if strings.Contains(plan, banned) {
			faults = append(faults, banned)
		}
	}
	if !regexp.MustCompile(`Index (Only )?Scan using tenant_\w+` + index).MatchString(plan) {
		faults = append(faults, "it does not go by "+index)
	}
	if !regexp.MustCompile(`Index Cond: .*` + condition).MatchString(plan) {
		faults = append(faults, "the index does not answer "+condition)
	}
	if removed := regexp.MustCompile(`Rows Removed by Filter: \d{3,}`).FindString(plan); removed != "" {
		faults = append(faults, "it looks at more than it takes: "+removed)
	}
	return faults
}

// analyze gives the planner statistics.
func (w *world) analyze() {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.urls.Owner)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) }()
	if _, err := conn.Exec(w.t.Context(), "ANALYZE"); err != nil {
		w.t.Fatal(err)
	}
}
