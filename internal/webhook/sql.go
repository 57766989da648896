package webhook

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// The outbox.

// The row is locked in a statement of its own: only then is the snapshot of the
// next one later than all that another replica did under the lock.
const lockOutbox = `
SELECT TRUE
FROM webhook_outbox
FOR UPDATE SKIP LOCKED`

// selectPage reads the next events that have no deliveries yet. Those are the
// ones that `target` sees and `done` did not: of transactions that began since, and
// of those that were running then. Its first row is no event, and says what the
// target is. A payload, behind the time of the event (the sessions' is UTC), is read
// only where somebody may want it. The bounds on
// created_at only keep it to the months that can matter.
const selectPage = `
WITH place AS MATERIALIZED (
	SELECT done, COALESCE(target, pg_current_snapshot()) AS target, COALESCE(xid, '0') AS xid, COALESCE(seq, 0) AS seq
	FROM webhook_outbox
), page AS MATERIALIZED (
	SELECT e.xid, e.seq, e.id, e.tenant_id, e.project_id, e.type, e.payload, e.occurred_at, e.created_at
	FROM place
	CROSS JOIN LATERAL (
		(
			SELECT e.xid, e.seq, e.id, e.tenant_id, e.project_id, e.type, e.payload, e.occurred_at, e.created_at
			FROM tenant_events AS e
			WHERE e.created_at >= $2
				AND e.created_at < $3
				AND e.xid >= pg_snapshot_xmax(place.done)
				AND (e.xid, e.seq) > (place.xid, place.seq)
				AND pg_visible_in_snapshot(e.xid, place.target)
			ORDER BY e.xid, e.seq
			LIMIT $1
		)
		UNION ALL
		SELECT e.xid, e.seq, e.id, e.tenant_id, e.project_id, e.type, e.payload, e.occurred_at, e.created_at
		FROM pg_snapshot_xip(place.done) AS late (xid)
		CROSS JOIN LATERAL (
			SELECT e.xid, e.seq, e.id, e.tenant_id, e.project_id, e.type, e.payload, e.occurred_at, e.created_at
			FROM tenant_events AS e
			WHERE e.created_at >= $2
				AND e.created_at < $3
				AND e.xid = late.xid
				AND (e.xid, e.seq) > (place.xid, place.seq)
				AND pg_visible_in_snapshot(e.xid, place.target)
			ORDER BY e.xid, e.seq
			LIMIT $1
		) AS e
	) AS e
	ORDER BY e.xid, e.seq
	LIMIT $1
)
SELECT target::text, (SELECT o.target IS NOT NULL FROM webhook_outbox AS o) AS midway, NULL::xid8 AS xid, NULL::bigint AS seq, NULL::uuid AS id, NULL::uuid AS tenant_id, NULL::uuid AS project_id,
	NULL::text AS type, NULL::timestamptz AS created_at, NULL::text AS payload
FROM place
UNION ALL
SELECT NULL, NULL, p.xid, p.seq, p.id, p.tenant_id, p.project_id, p.type, p.created_at,
	CASE WHEN EXISTS (SELECT FROM tenant_webhooks AS w WHERE w.tenant_id = p.tenant_id)
		THEN to_char(COALESCE(p.occurred_at, p.created_at), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || p.payload END
FROM page AS p`

// restartOutbox begins at the present when the place is one of another server, from
// which a dump was restored here: where it lay in that one's order says nothing in
// this one's. What had not been sent when the dump was made is replayed by who misses it.
const restartOutbox = `
UPDATE webhook_outbox
SET done = pg_current_snapshot(), target = NULL, xid = NULL, seq = NULL
WHERE pg_snapshot_xmax(done) > pg_snapshot_xmax(pg_current_snapshot())`

func restart(ctx context.Context, tx pg.Tx) (restored bool, err error) {
	tag, err := tx.Exec(ctx, restartOutbox)
	return tag.RowsAffected() > 0, err
}

// window bounds the months that are looked at: what is older is not sent any more.
type window struct{ from, to time.Time }

// happening is an event on its way into deliveries.
type happening struct {
	XID       uint64
	Seq       int64
	ID        id.Event
	TenantID  id.Tenant
	ProjectID id.Project
	Type      string
	CreatedAt time.Time
	Payload   *string // behind its time; nil: no endpoint of the tenant, so nobody wants it
}

// piece is a part of the outbox.
type piece struct {
	target string // the snapshot that is being worked towards
	midway bool   // an earlier page did not reach it
	events []happening
}

// nextPage locks the outbox and reads on in it; ok is false when another replica
// is doing that.
func nextPage(ctx context.Context, tx pg.Tx, limit int, w window) (p piece, ok bool, err error) {
	b := &pg.Batch{}
	b.Queue(lockOutbox).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&ok)
		if pg.IsNoRows(err) {
			return nil
		}
		return err
	})
	b.Queue(selectPage, limit, w.from, w.to).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var target *string
			var midway *bool
			var xid *uint64
			var seq *int64
			var kind *string
			var at *time.Time
			var h happening
			if err := rows.Scan(&target, &midway, &xid, &seq, &h.ID, &h.TenantID, &h.ProjectID, &kind, &at, &h.Payload); err != nil {
				return err
			}
			if target != nil {
				p.target, p.midway = *target, *midway
				continue
			}
			h.XID, h.Seq, h.Type, h.CreatedAt = *xid, *seq, *kind, *at
			p.events = append(p.events, h)
		}
		return rows.Err()
	})
	err = pg.Send(ctx, tx, b)
	return p, ok, err
}

// The state of what is inserted decides which of the times it has. An event that
// is there already was turned before a restore.
const insertDeliveries = `
INSERT INTO tenant_webhook_deliveries (
	id, tenant_id, webhook_id, event_id, event_type, created_at, state, reason, next_retry_at, claimed_until, expires_at)
SELECT id, tenant_id, webhook_id, event_id, event_type, created_at, state, NULLIF(reason, ''),
	CASE state WHEN 'pending' THEN @now::timestamptz END,
	CASE state WHEN 'claimed' THEN @now::timestamptz + @lease::interval END,
	@now::timestamptz + @ttl::interval
FROM unnest(@ids::uuid[], @tenants::uuid[], @webhooks::uuid[], @events::uuid[], @types::text[], @created::timestamptz[], @states::text[], @reasons::text[])
	AS d (id, tenant_id, webhook_id, event_id, event_type, created_at, state, reason)
ON CONFLICT DO NOTHING
RETURNING id, claimed_until, expires_at`

const advanceOutbox = `
UPDATE webhook_outbox
SET done = COALESCE($1::pg_snapshot, done), target = $2::pg_snapshot, xid = $3, seq = $4`

// inserted is a row of insertDeliveries.
type inserted struct {
	ID           id.Delivery
	ClaimedUntil *time.Time
	ExpiresAt    time.Time
}

// draft is a delivery to be inserted.
type draft struct {
	id        id.Delivery
	tenant    id.Tenant
	endpoint  id.Webhook
	event     id.Event
	eventType string
	createdAt time.Time
	state     State
	reason    string
}

type draftColumns struct {
	ids       []id.Delivery
	tenants   []id.Tenant
	endpoints []id.Webhook
	events    []id.Event
	types     []string
	created   []time.Time
	states    []string
	reasons   []string
}

func columnsOf(drafts []draft) (c draftColumns) {
	for _, d := range drafts {
		c.ids, c.tenants, c.endpoints = append(c.ids, d.id), append(c.tenants, d.tenant), append(c.endpoints, d.endpoint)
		c.events, c.types, c.created = append(c.events, d.event), append(c.types, d.eventType), append(c.created, d.createdAt)
		c.states, c.reasons = append(c.states, string(d.state)), append(c.reasons, d.reason)
	}
	return c
}

func queueDrafts(b *pg.Batch, drafts []draft, now time.Time, lease, ttl time.Duration, each func(inserted)) {
	c := columnsOf(drafts)
	b.Queue(insertDeliveries, pgx.NamedArgs{
		"ids": c.ids, "tenants": c.tenants, "webhooks": c.endpoints, "events": c.events, "types": c.types, "created": c.created,
		"states": c.states, "reasons": c.reasons, "now": now, "lease": lease, "ttl": ttl,
	}).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var r inserted
			if err := rows.Scan(&r.ID, &r.ClaimedUntil, &r.ExpiresAt); err != nil {
				return err
			}
			each(r)
		}
		return rows.Err()
	})
}

// queueAdvance moves on to the end of a page: done with the target, or at a place
// on the way to it.
func queueAdvance(b *pg.Batch, p piece, limit int) {
	if len(p.events) < limit {
		b.Queue(advanceOutbox, p.target, nil, nil, nil)
		return
	}
	last := p.events[len(p.events)-1]
	b.Queue(advanceOutbox, nil, p.target, last.XID, last.Seq)
}

// Endpoints, as sending needs them.

const (
	targetColumns = `w.id, w.tenant_id, w.project_id, w.events, w.status, w.max_in_flight, w.rate_limit, w.rate_period, w.updated_at, t.status AS tenant_status`

	targetsOfTenants = `
SELECT ` + targetColumns + `
FROM unnest($1::uuid[]) AS asked (tenant_id)
CROSS JOIN LATERAL (SELECT COALESCE(landlord_effective_status(asked.tenant_id)::text, '') AS status) AS t
JOIN tenant_webhooks AS w ON w.tenant_id = asked.tenant_id`

	targetsByID = `
SELECT ` + targetColumns + `
FROM tenant_webhooks AS w
CROSS JOIN LATERAL (SELECT COALESCE(landlord_effective_status(w.tenant_id)::text, '') AS status) AS t
WHERE w.id = ANY ($1::uuid[])`
)

// target is what decides whether an endpoint is sent to, and how much.
type target struct {
	ID           id.Webhook `db:"id"`
	TenantID     id.Tenant  `db:"tenant_id"`
	ProjectID    id.Project `db:"project_id"`
	Events       []string   `db:"events"`
	Status       Status     `db:"status"`
	MaxInFlight  int        `db:"max_in_flight"`
	RateLimit    *int       `db:"rate_limit"`
	RatePeriod   Period     `db:"rate_period"`
	UpdatedAt    time.Time  `db:"updated_at"`
	TenantStatus string     `db:"tenant_status"` // effective; "" when it was deleted
}

const selectConfigs = `
SELECT id, updated_at, url, signatures, secret_encrypted, headers_encrypted
FROM tenant_webhooks
WHERE id = ANY ($1::uuid[])`

// sealedConfig is what a request to an endpoint is made of, in its boxes.
type sealedConfig struct {
	ID         id.Webhook  `db:"id"`
	UpdatedAt  time.Time   `db:"updated_at"`
	URL        string      `db:"url"`
	Signatures []Signature `db:"signatures"`
	Secrets    []byte      `db:"secret_encrypted"`
	Headers    []byte      `db:"headers_encrypted"`
}

// The queue.

// claimDue takes due deliveries of several endpoints, of each at most so many.
// Its shape is that of docs/performance.md: per endpoint, by the one index, with an
// array instead of a join, which a planner with stale statistics would hash.
const claimDue = `
UPDATE tenant_webhook_deliveries AS d
SET state = 'claimed', next_retry_at = NULL, claimed_until = $3::timestamptz + $4::interval
WHERE d.id = ANY (ARRAY(
	SELECT due.id
	FROM unnest($1::uuid[], $2::int[]) AS ask (webhook_id, most)
	CROSS JOIN LATERAL (
		SELECT q.id
		FROM tenant_webhook_deliveries AS q
		WHERE q.webhook_id = ask.webhook_id
			AND q.state = 'pending'
			AND q.next_retry_at <= $3::timestamptz
			AND q.created_at >= $5
			AND q.created_at < $6
		ORDER BY q.webhook_id, q.next_retry_at
		LIMIT ask.most
		FOR UPDATE SKIP LOCKED
	) AS due
))
	AND d.created_at >= $5
	AND d.created_at < $6
RETURNING d.id, d.tenant_id, d.webhook_id, d.event_id, d.event_type, d.attempts, d.attempts_before, d.claimed_until, d.expires_at, d.created_at,
	d.expires_at <= $3::timestamptz AS expired,
	(
		SELECT to_char(COALESCE(e.occurred_at, e.created_at), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || e.payload
		FROM tenant_events AS e
		WHERE e.tenant_id = d.tenant_id
			AND e.id = d.event_id
			AND e.created_at = d.created_at
	) AS payload`

// claim is a delivery that is this replica's until ClaimedUntil.
type claim struct {
	ID             id.Delivery `db:"id"`
	TenantID       id.Tenant   `db:"tenant_id"`
	EndpointID     id.Webhook  `db:"webhook_id"`
	EventID        id.Event    `db:"event_id"`
	EventType      string      `db:"event_type"`
	Attempts       int         `db:"attempts"`
	AttemptsBefore int         `db:"attempts_before"`
	ClaimedUntil   time.Time   `db:"claimed_until"`
	ExpiresAt      time.Time   `db:"expires_at"`
	CreatedAt      time.Time   `db:"created_at"`
	Expired        bool        `db:"expired"`
	Payload        *string     `db:"payload"` // behind its time; nil: the event was erased
}

func claimDueOf(ctx context.Context, tx pg.Tx, endpoints []id.Webhook, most []int, now time.Time, lease time.Duration, w window) ([]claim, error) {
	return pg.Collect[claim](ctx, tx, claimDue, endpoints, most, now, lease, w.from, w.to)
}

// setAside takes what is pending off an endpoint that is not sent to: held,
// skipped or cancelled.
const setAside = `
UPDATE tenant_webhook_deliveries
SET state = $3, reason = $4, next_retry_at = NULL
WHERE id = ANY (ARRAY(
	SELECT q.id
	FROM tenant_webhook_deliveries AS q
	WHERE q.webhook_id = $1
		AND q.state = 'pending'
	ORDER BY q.webhook_id, q.next_retry_at
	LIMIT $2
	FOR UPDATE SKIP LOCKED
))`

func setAsideOf(ctx context.Context, tx pg.Tx, endpoint id.Webhook, state State, reason string, limit int) (int, error) {
	tag, err := tx.Exec(ctx, setAside, endpoint, limit, string(state), reason)
	return int(tag.RowsAffected()), err
}

// sweepPending walks over endpoints that have something pending, from behind one of
// them on, by one probe of the index each. due_in is negative for what is due.
const sweepPending = `
WITH RECURSIVE found AS (
	(
		SELECT webhook_id, next_retry_at
		FROM tenant_webhook_deliveries
		WHERE state = 'pending'
			AND webhook_id > $1
			AND created_at >= $4
			AND created_at < $5
		ORDER BY webhook_id, next_retry_at
		LIMIT 1
	)
	UNION ALL
	SELECT next.webhook_id, next.next_retry_at
	FROM found
	CROSS JOIN LATERAL (
		SELECT webhook_id, next_retry_at
		FROM tenant_webhook_deliveries
		WHERE state = 'pending'
			AND webhook_id > found.webhook_id
			AND created_at >= $4
			AND created_at < $5
		ORDER BY webhook_id, next_retry_at
		LIMIT 1
	) AS next
)
SELECT webhook_id, next_retry_at - $3::timestamptz AS due_in
FROM found
LIMIT $2`

// waiting is an endpoint that has something pending, and when the first is due.
type waiting struct {
	Endpoint id.Webhook    `db:"webhook_id"`
	DueIn    time.Duration `db:"due_in"`
}

// reapExpired gives back what a replica claimed and did not finish: it died, or
// was cut off.
const reapExpired = `
UPDATE tenant_webhook_deliveries
SET state = 'pending', claimed_until = NULL, next_retry_at = $1::timestamptz
WHERE id = ANY (ARRAY(
	SELECT c.id
	FROM tenant_webhook_deliveries AS c
	WHERE c.state = 'claimed'
		AND c.claimed_until < $1::timestamptz
	ORDER BY c.claimed_until
	LIMIT $2
	FOR UPDATE SKIP LOCKED
))
RETURNING webhook_id`

// Held deliveries.

const selectHeldTenants = `
WITH RECURSIVE found AS (
	(SELECT tenant_id FROM tenant_webhook_deliveries WHERE state = 'held' ORDER BY tenant_id LIMIT 1)
	UNION ALL
	SELECT next.tenant_id
	FROM found
	CROSS JOIN LATERAL (
		SELECT tenant_id
		FROM tenant_webhook_deliveries
		WHERE state = 'held'
			AND tenant_id > found.tenant_id
		ORDER BY tenant_id
		LIMIT 1
	) AS next
)
SELECT tenant_id, COALESCE(landlord_effective_status(tenant_id)::text, '') AS status
FROM found`

// heldTenant is a tenant with held deliveries.
type heldTenant struct {
	TenantID id.Tenant `db:"tenant_id"`
	Status   string    `db:"status"`
}

// releaseHeld lets deliveries of a tenant go on: those that are not too old.
const releaseHeld = `
UPDATE tenant_webhook_deliveries
SET state = CASE WHEN $3 <> 'pending' THEN $3 WHEN expires_at <= $5::timestamptz THEN 'failed' ELSE 'pending' END,
	reason = CASE WHEN $3 <> 'pending' THEN $4 WHEN expires_at <= $5::timestamptz THEN 'expired' END,
	next_retry_at = CASE WHEN $3 = 'pending' AND expires_at > $5::timestamptz THEN $5::timestamptz END
WHERE id = ANY (ARRAY(
	SELECT h.id
	FROM tenant_webhook_deliveries AS h
	WHERE h.tenant_id = $1
		AND h.state = 'held'
	ORDER BY h.tenant_id
	LIMIT $2
	FOR UPDATE SKIP LOCKED
))
RETURNING webhook_id`

// Outcomes.

const insertAttempts = `
INSERT INTO tenant_webhook_attempts (
	id, tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers,
	response_status, response_headers, response_body, duration_ms, dns_us, connect_us, tls_us, first_byte_us,
	error_class, error_message, created_at)
SELECT id, tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers,
	response_status, response_headers, response_body, duration_ms, dns_us, connect_us, tls_us, first_byte_us,
	error_class, error_message, created_at
FROM unnest(
	@ids::uuid[], @tenants::uuid[], @webhooks::uuid[], @deliveries::uuid[], @attempts::int[], @succeeded::boolean[], @urls::text[], @headers::jsonb[],
	@statuses::int[], @answers::jsonb[], @bodies::text[], @durations::int[], @dns::int[], @connects::int[], @tls::int[], @first_bytes::int[],
	@classes::text[], @messages::text[], @at::timestamptz[])
	AS a (
		id, tenant_id, webhook_id, delivery_id, attempt, succeeded, request_url, request_headers,
		response_status, response_headers, response_body, duration_ms, dns_us, connect_us, tls_us, first_byte_us,
		error_class, error_message, created_at)`

type attemptColumns struct {
	ids                                                  []id.Attempt
	tenants                                              []id.Tenant
	endpoints                                            []id.Webhook
	deliveries                                           []id.Delivery
	attempts                                             []int
	succeeded                                            []bool
	urls, headers                                        []string
	statuses, durations, dns, connects, tlss, firstBytes []*int
	answers, bodies, classes, messages                   []*string
	at                                                   []time.Time
}

// queueAttempts adds the tries among outcomes to the log.
func queueAttempts(b *pg.Batch, batch []outcome) {
	var c attemptColumns
	for _, o := range batch {
		if o.kind == tried {
			c.add(o)
		}
	}
	if len(c.ids) == 0 {
		return
	}
	b.Queue(insertAttempts, pgx.NamedArgs{
		"ids": c.ids, "tenants": c.tenants, "webhooks": c.endpoints, "deliveries": c.deliveries, "attempts": c.attempts,
		"succeeded": c.succeeded, "urls": c.urls, "headers": c.headers, "statuses": c.statuses, "answers": c.answers, "bodies": c.bodies,
		"durations": c.durations, "dns": c.dns, "connects": c.connects, "tls": c.tlss, "first_bytes": c.firstBytes,
		"classes": c.classes, "messages": c.messages, "at": c.at,
	})
}

func (c *attemptColumns) add(o outcome) {
	url := ""
	if o.route != nil {
		url = o.route.url
	}
	c.ids, c.tenants = append(c.ids, id.New[id.Attempt]()), append(c.tenants, o.TenantID)
	c.endpoints, c.deliveries = append(c.endpoints, o.EndpointID), append(c.deliveries, o.ID)
	c.attempts, c.succeeded = append(c.attempts, o.Attempts+1), append(c.succeeded, o.class == "")
	c.urls, c.headers = append(c.urls, url), append(c.headers, asJSON(o.sent))
	var status *int
	var answer, body *string
	if a := o.answer; a.Status != 0 {
		status, answer, body = &a.Status, new(shownHeaders(a.Header)), new(text(a.Body))
	}
	c.statuses, c.answers, c.bodies = append(c.statuses, status), append(c.answers, answer), append(c.bodies, body)
	c.durations = append(c.durations, new(int(min(o.took.Milliseconds(), math.MaxInt32))))
	timing := o.answer.Timing
	c.dns, c.connects = append(c.dns, micros(timing.DNS)), append(c.connects, micros(timing.Connect))
	c.tlss, c.firstBytes = append(c.tlss, micros(timing.TLS)), append(c.firstBytes, micros(timing.FirstByte))
	c.classes, c.messages = append(c.classes, orNull(o.class)), append(c.messages, orNull(o.message))
	c.at = append(c.at, o.at)
}

func micros(d time.Duration) *int {
	if d <= 0 {
		return nil
	}
	return new(int(min(d.Microseconds(), math.MaxInt32)))
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// A success counts whoever has the delivery by now: it has arrived.
const finishDelivered = `
UPDATE tenant_webhook_deliveries
SET state = 'delivered', reason = NULL, attempts = attempts + 1, delivered_at = $3::timestamptz,
	last_status = ($2::int[])[array_position($1::uuid[], id)], claimed_until = NULL, next_retry_at = NULL
WHERE id = ANY ($1::uuid[])
	AND created_at BETWEEN $4 AND $5
	AND state IN ('claimed', 'pending')`

func queueDelivered(b *pg.Batch, batch []outcome, now time.Time) {
	var ids []id.Delivery
	var statuses []int
	var months span
	for _, o := range batch {
		if o.kind == tried && o.class == "" {
			ids, statuses = append(ids, o.ID), append(statuses, o.answer.Status)
			months.include(o.CreatedAt)
		}
	}
	if len(ids) > 0 {
		b.Queue(finishDelivered, ids, statuses, now, months.from, months.to)
	}
}

// span is from the oldest of some rows to the youngest: the months to look in.
type span struct{ from, to time.Time }

func (s *span) include(at time.Time) {
	if s.from.IsZero() || at.Before(s.from) {
		s.from = at
	}
	if at.After(s.to) {
		s.to = at
	}
}

// A failure counts only while the claim is ours: another may be trying already. That
// the state is claimed needs no saying, and said would lead the planner to the index
// of all claims.
const finishFailed = `
UPDATE tenant_webhook_deliveries
SET state = ($3::text[])[array_position($1::uuid[], id)],
	reason = NULLIF(($4::text[])[array_position($1::uuid[], id)], ''),
	attempts = attempts + ($5::int[])[array_position($1::uuid[], id)],
	next_retry_at = CASE ($3::text[])[array_position($1::uuid[], id)] WHEN 'pending'
		THEN $8::timestamptz + ($6::interval[])[array_position($1::uuid[], id)] END,
	last_status = COALESCE(NULLIF(($7::int[])[array_position($1::uuid[], id)], 0), last_status),
	claimed_until = NULL
WHERE id = ANY ($1::uuid[])
	AND created_at BETWEEN $9 AND $10
	AND claimed_until = ($2::timestamptz[])[array_position($1::uuid[], id)]`

func queueFailed(b *pg.Batch, batch []outcome, verdicts []verdict, now time.Time) {
	var (
		ids             []id.Delivery
		until           []time.Time
		states, reasons []string
		tries, statuses []int
		waits           []time.Duration
		months          span
	)
	for i, o := range batch {
		v := verdicts[i]
		if v.state == "" {
			continue
		}
		ids, until = append(ids, o.ID), append(until, o.ClaimedUntil)
		states, reasons = append(states, string(v.state)), append(reasons, v.reason)
		tries, statuses, waits = append(tries, v.tries), append(statuses, o.answer.Status), append(waits, v.wait)
		months.include(o.CreatedAt)
	}
	if len(ids) > 0 {
		b.Queue(finishFailed, ids, until, states, reasons, tries, waits, statuses, now, months.from, months.to)
	}
}

// What endpoints went through.
const (
	// lockEndpoints locks several in the order in which everybody does.
	lockEndpoints = `
SELECT id
FROM tenant_webhooks
WHERE id = ANY ($1::uuid[])
ORDER BY id
FOR NO KEY UPDATE`

	noteSuccesses = `
UPDATE tenant_webhooks
SET consecutive_failures = 0, first_failure_at = NULL, warned_percent = 0,
	last_triggered_at = $3::timestamptz, last_status_code = ($2::int[])[array_position($1::uuid[], id)]
WHERE id = ANY ($1::uuid[])`

	noteFailures = `
UPDATE tenant_webhooks
SET consecutive_failures = CASE WHEN ($4::boolean[])[array_position($1::uuid[], id)] THEN 0 ELSE consecutive_failures END
		+ ($2::int[])[array_position($1::uuid[], id)],
	first_failure_at = CASE WHEN ($4::boolean[])[array_position($1::uuid[], id)] THEN $5::timestamptz
		ELSE COALESCE(first_failure_at, $5::timestamptz) END,
	warned_percent = CASE WHEN ($4::boolean[])[array_position($1::uuid[], id)] THEN 0 ELSE warned_percent END,
	last_triggered_at = $5::timestamptz,
	last_status_code = COALESCE(NULLIF(($3::int[])[array_position($1::uuid[], id)], 0), last_status_code)
WHERE id = ANY ($1::uuid[])
RETURNING id, tenant_id, name, url, status, consecutive_failures, warned_percent,
	EXTRACT(epoch FROM $5::timestamptz - first_failure_at)::float8 AS failing_seconds`
)

// health is how an endpoint fares after failures were noted.
type health struct {
	ID             id.Webhook `db:"id"`
	TenantID       id.Tenant  `db:"tenant_id"`
	Name           string     `db:"name"`
	URL            string     `db:"url"`
	Status         Status     `db:"status"`
	Failures       int        `db:"consecutive_failures"`
	Warned         int        `db:"warned_percent"`
	FailingSeconds float64    `db:"failing_seconds"` // since the first failure in a row
}

const noteWarning = `
UPDATE tenant_webhooks
SET warned_percent = $2
WHERE id = $1`

const disableEndpoint = `
UPDATE tenant_webhooks
SET status = 'disabled', status_reason = $2, disabled_at = $3::timestamptz
WHERE id = $1
	AND status <> 'disabled'`

// Replicas that send.

const (
	// seeSender notes that a replica sends, forgets those that are gone, and counts.
	seeSender = `
WITH seen AS (
	INSERT INTO webhook_senders (id, seen_at)
	VALUES ($1, statement_timestamp())
	ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
), gone AS (
	DELETE FROM webhook_senders
	WHERE seen_at < statement_timestamp() - $2::interval
		AND id <> $1
)
SELECT 1 + count(*) AS senders, clock_timestamp() AS at
FROM webhook_senders
WHERE seen_at >= statement_timestamp() - $2::interval
	AND id <> $1`

	forgetSender = `
DELETE FROM webhook_senders
WHERE id = $1`
)
