package event

import (
	"context"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// created_at is the statement's clock, not the transaction's: a transaction that
// began before midnight of a month's end still writes into a partition that exists.
const insertEvent = `
INSERT INTO tenant_events (id, tenant_id, project_id, type, payload, actor_type, actor_id, request_id, created_at)
VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), NULLIF($7, ''), NULLIF($8, ''), clock_timestamp())`

// Queue adds the insertion of an event to a batch of the caller's transaction.
func Queue(b *pg.Batch, e Event) {
	b.Queue(insertEvent, e.ID, e.TenantID, e.ProjectID, e.Type, e.Payload, e.ActorType, e.ActorID, e.RequestID)
}

const eventColumns = `
SELECT id, tenant_id, project_id, type, payload,
	COALESCE(actor_type, '') AS actor_type, COALESCE(actor_id, '') AS actor_id, COALESCE(request_id, '') AS request_id,
	COALESCE(occurred_at, created_at) AS occurred_at, created_at, xid, seq
FROM tenant_events`

const byIDSQL = eventColumns + `
WHERE tenant_id = $1 AND id = $2`

// ByID returns one event of a tenant, or pg.ErrNoRows. An event has the id of the
// audit record beside it.
func ByID(ctx context.Context, tx pg.Tx, tenant id.Tenant, event id.Event) (Event, error) {
	return pg.One[Event](ctx, tx, byIDSQL, tenant, event)
}

// bounds are those of the order at one instant.
type bounds struct {
	Settled uint64 `db:"settled"` // every transaction below has ended
	Next    uint64 `db:"next"`    // no transaction is that far
	Mark    uint64 `db:"mark"`    // nothing that was written since the asked time lies below
	Status  string `db:"status"`  // of the tenant; "" when it is not there, or none was asked for
}

// end is the place behind all that is settled. Sequences begin at 1.
func (b bounds) end() Position { return Position{XID: b.Settled} }

// settled is the oldest transaction under way that might still write here. A
// snapshot names those of the whole server, and one of another database may take
// hours: whose lock on its own xid belongs to a session there is passed over. One
// whose session isn't known (just begun, just ended, prepared) counts.
const settled = `
	CASE WHEN pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot())
		THEN pg_snapshot_xmax(pg_current_snapshot())
		ELSE (SELECT COALESCE(min(x.id), pg_snapshot_xmax(pg_current_snapshot()))
			FROM pg_snapshot_xip(pg_current_snapshot()) AS x (id)
			WHERE NOT EXISTS (
				SELECT FROM pg_locks AS l
				JOIN pg_stat_activity AS a ON a.pid = l.pid
				WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.transactionid = x.id::xid
					AND a.datid <> (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())))
	END`

const selectBounds = `
SELECT` + settled + ` AS settled, pg_snapshot_xmax(pg_current_snapshot()) AS next,
	COALESCE((SELECT m.xid FROM event_marks AS m WHERE m.at <= $1 ORDER BY m.at DESC LIMIT 1), '0'::xid8) AS mark,
	COALESCE(landlord_effective_status($2)::text, '') AS status`

// boundsAt reads the bounds; since and tenant may be zero.
func boundsAt(ctx context.Context, tx pg.Tx, since time.Time, tenant id.Tenant) (bounds, error) {
	var at *time.Time
	if !since.IsZero() {
		at = &since
	}
	return pg.One[bounds](ctx, tx, selectBounds, at, tenant)
}

// floor is where the kept part of the order begins.
type floor struct {
	Position
	Dropped *time.Time `db:"dropped_before"`
}

const selectFloor = `
SELECT xid, seq, dropped_before
FROM event_floor`

func floorOf(ctx context.Context, tx pg.Tx) (floor, error) {
	return pg.One[floor](ctx, tx, selectFloor)
}

// A page is read off an index and ends after its last row. Where statistics are
// old, as those of a month that has just begun, the planner takes a tenant's events
// for few, and would rather collect all of them and sort.
const forbidSorting = `SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`

func planInOrder(ctx context.Context, tx pg.Tx) error {
	_, err := tx.Exec(ctx, forbidSorting)
	return err
}

// The conditions that statements over the order are put together from. Row-level
// security lets an index serve only leakproof operators, and those of xid8, bigint
// and uuid are; what filters by type is not, and only looks at what the others left.
const (
	whereTenant     = `tenant_id = @tenant`
	whereAfter      = `(xid, seq) > (@after_xid::xid8, @after_seq::bigint)`
	whereSettled    = `xid < @settled::xid8`
	whereUpTo       = `(xid, seq) <= (@upto_xid::xid8, @upto_seq::bigint)`
	whereProject    = `project_id = @project`
	whereType       = `type = @type`
	whereTypePrefix = `starts_with(type, @type)`
	whereSince      = `created_at >= @since`
	inOrder         = `
ORDER BY xid, seq
LIMIT @limit`

	selectLooked = `
SELECT xid, seq
FROM tenant_events`
	lookedAt = `
ORDER BY xid, seq
OFFSET @look - 1
LIMIT 1`
)

// span is a stretch of the order, of one tenant or of all.
type span struct {
	tenant  id.Tenant // zero: all
	after   Position  // exclusive
	settled uint64
}

func (s span) where() (where []string, args pg.Named) {
	args = pg.Named{"after_xid": s.after.XID, "after_seq": s.after.Seq, "settled": s.settled}
	where = []string{whereAfter, whereSettled}
	if !s.tenant.IsZero() {
		where = append(where, whereTenant)
		args["tenant"] = s.tenant
	}
	return where, args
}

// lookEnd returns where looking at so many events of a span ends; ok is false
// when there are not so many.
func lookEnd(ctx context.Context, tx pg.Tx, s span, look int) (end Position, ok bool, err error) {
	sql, args := lookSQL(s, look)
	end, err = pg.One[Position](ctx, tx, sql, args)
	if pg.IsNoRows(err) {
		return end, false, nil
	}
	return end, err == nil, err
}

func lookSQL(s span, look int) (string, pg.Named) {
	where, args := s.where()
	args["look"] = look
	return selectLooked + "\nWHERE " + strings.Join(where, "\n\tAND ") + lookedAt, args
}

// eventsOf returns the events of a span that match, in order. upTo, unless it is
// zero, ends the span.
func eventsOf(ctx context.Context, tx pg.Tx, s span, upTo Position, f Filter, limit int) ([]Event, error) {
	sql, args := eventsSQL(s, upTo, f, limit)
	return pg.Collect[Event](ctx, tx, sql, args)
}

func eventsSQL(s span, upTo Position, f Filter, limit int) (string, pg.Named) {
	where, args := s.where()
	filter := func(set bool, condition, name string, value any) {
		args[name] = value
		if set {
			where = append(where, condition)
		}
	}
	prefix, isPrefix := f.typePrefix()
	filter(upTo != Position{}, whereUpTo, "upto_xid", upTo.XID)
	filter(!f.ProjectID.IsZero(), whereProject, "project", f.ProjectID)
	if isPrefix {
		filter(true, whereTypePrefix, "type", prefix)
	} else {
		filter(f.Type != "", whereType, "type", f.Type)
	}
	filter(!f.Since.IsZero(), whereSince, "since", f.Since)
	args["upto_seq"], args["limit"] = upTo.Seq, limit
	return eventColumns + "\nWHERE " + strings.Join(where, "\n\tAND ") + inOrder, args
}

// The clock is read after the snapshot was taken: what is written from then on
// belongs to transactions that had not ended in it.
const insertMark = `
INSERT INTO event_marks (at, xid)
SELECT clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())
ON CONFLICT DO NOTHING`

func mark(ctx context.Context, tx pg.Tx) error {
	_, err := tx.Exec(ctx, insertMark)
	return err
}

const reorderRestored = `SELECT landlord_reorder_restored_events()`

func reorder(ctx context.Context, tx pg.Tx) (n int64, err error) {
	err = tx.QueryRow(ctx, reorderRestored).Scan(&n)
	return n, err
}

// selectNews reads whose events a stretch of the order holds.
const selectNews = `
SELECT tenant_id, xid, seq
FROM tenant_events
WHERE (xid, seq) > ($1::xid8, $2::bigint)
	AND xid < (SELECT` + settled + `)
ORDER BY xid, seq
LIMIT $3`

// arrival is whose an event is, and where it lies.
type arrival struct {
	TenantID id.Tenant `db:"tenant_id"`
	Position
}

func arrivals(ctx context.Context, tx pg.Tx, after Position, limit int) ([]arrival, error) {
	return pg.Collect[arrival](ctx, tx, selectNews, after.XID, after.Seq, limit)
}

// publishState is what a publication depends on.
type publishState struct {
	Status  string `db:"status"` // "": there is no such tenant
	Version int64  `db:"version"`
}

const selectPublishState = `
SELECT COALESCE(landlord_effective_status($1)::text, '') AS status, (SELECT version FROM catalog_state) AS version`

func stateOf(ctx context.Context, tx pg.Tx, tenant id.Tenant) (publishState, error) {
	return pg.One[publishState](ctx, tx, selectPublishState, tenant)
}

const selectProjects = `
SELECT id
FROM tenant_projects
WHERE tenant_id = $1 AND id = ANY ($2::uuid[])`

func projectsOf(ctx context.Context, tx pg.Tx, tenant id.Tenant, projects []id.Project) ([]id.Project, error) {
	return pg.Scalars[id.Project](ctx, tx, selectProjects, tenant, projects)
}

// The keys come sorted, so that two that want the same never wait for each other.
const lockIDsSQL = `
SELECT pg_advisory_xact_lock(k)
FROM unnest($1::bigint[]) AS k`

func lockIDs(ctx context.Context, tx pg.Tx, keys []int64) error {
	_, err := tx.Exec(ctx, lockIDsSQL, keys)
	return err
}

// columnsOf turns events into arrays, for unnest.
type columnsOf struct {
	ids      []id.Event
	tenants  []id.Tenant
	projects []*id.Project
	types    []string
	payloads []string
	occurred []*time.Time
}

func newColumns(events []Event) columnsOf {
	var c columnsOf
	for i := range events {
		e := &events[i]
		c.ids, c.tenants, c.types, c.payloads = append(c.ids, e.ID), append(c.tenants, e.TenantID), append(c.types, e.Type), append(c.payloads, string(e.Payload))
		var project *id.Project
		if !e.ProjectID.IsZero() {
			project = &e.ProjectID
		}
		var occurred *time.Time
		if !e.OccurredAt.IsZero() {
			occurred = &e.OccurredAt
		}
		c.projects, c.occurred = append(c.projects, project), append(c.occurred, occurred)
	}
	return c
}

// stored is an event that was there before.
type stored struct {
	ID        id.Event  `db:"id"`
	CreatedAt time.Time `db:"created_at"`
	Same      bool      `db:"same"` // whether it is the same event
}

// By the list of ids and not by a join, which would be a hash join over a whole
// tenant's events whenever the planner thinks little of them.
const selectStored = `
SELECT e.id, e.created_at,
	e.type = ($3::text[])[given.n] AND e.payload = ($4::text[])[given.n]::jsonb
	AND e.project_id IS NOT DISTINCT FROM ($5::uuid[])[given.n]
	AND e.occurred_at IS NOT DISTINCT FROM ($6::timestamptz[])[given.n] AS same
FROM tenant_events AS e
CROSS JOIN LATERAL (SELECT array_position($2::uuid[], e.id) AS n) AS given
WHERE e.tenant_id = $1 AND e.id = ANY ($2::uuid[])`

func storedOf(ctx context.Context, tx pg.Tx, tenant id.Tenant, events []Event) ([]stored, error) {
	c := newColumns(events)
	return pg.Collect[stored](ctx, tx, selectStored, tenant, c.ids, c.types, c.payloads, c.projects, c.occurred)
}

// The order of the list is the order of the sequence.
const insertEvents = `
INSERT INTO tenant_events (id, tenant_id, project_id, type, payload, occurred_at, actor_type, actor_id, request_id, created_at)
SELECT e.id, e.tenant_id, e.project_id, e.type, e.payload::jsonb, e.occurred_at, NULLIF($7, ''), NULLIF($8, ''), NULLIF($9, ''), clock_timestamp()
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[])
	WITH ORDINALITY AS e (id, tenant_id, project_id, type, payload, occurred_at, n)
ORDER BY e.n
RETURNING created_at`

// insertAll writes events of one actor, and sets when they were written.
func insertAll(ctx context.Context, tx pg.Tx, events []Event) error {
	c := newColumns(events)
	at, err := pg.Scalars[time.Time](ctx, tx, insertEvents,
		c.ids, c.tenants, c.projects, c.types, c.payloads, c.occurred, events[0].ActorType, events[0].ActorID, events[0].RequestID)
	for i := range at {
		events[i].CreatedAt = at[i]
		if events[i].OccurredAt.IsZero() {
			events[i].OccurredAt = at[i]
		}
	}
	return err
}

const eventsTable = "tenant_events"

// The sessions' time zone is UTC.
const selectMonths = `
SELECT p.relname::text AS "table",
	make_date(substring(c.relname FROM '_y(\d{4})m\d{2}$')::int, substring(c.relname FROM '_y\d{4}m(\d{2})$')::int, 1)::timestamptz AS month,
	GREATEST(c.reltuples, 0)::bigint AS rows, COALESCE(pg_total_relation_size(c.oid), 0) AS bytes, clock_timestamp() AS now
FROM pg_inherits AS i
JOIN pg_class AS p ON p.oid = i.inhparent
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE p.relnamespace = 'public'::regnamespace
	AND p.relkind = 'p'
	AND p.relname = ANY ($1::text[])
	AND c.relname ~ '_y\d{4}m\d{2}$'
ORDER BY month, "table"`

func monthsOf(ctx context.Context, tx pg.Tx, tables []string) ([]Month, error) {
	return pg.Collect[Month](ctx, tx, selectMonths, tables)
}

// heldSQL asks whether a month of a table holds rows of a tenant under legal hold.
// The table is one of ours, never somebody's input.
func heldSQL(table string) string {
	return `
SELECT EXISTS (
	SELECT FROM tenants AS t
	WHERE t.legal_hold
		AND EXISTS (
			SELECT FROM ` + table + ` AS r
			WHERE r.tenant_id = t.id
				AND r.created_at >= $1
				AND r.created_at < $2))`
}

func monthHeld(ctx context.Context, tx pg.Tx, m Month) (held bool, err error) {
	err = tx.QueryRow(ctx, heldSQL(m.Table), m.Month, m.end()).Scan(&held)
	return held, err
}

const dropMonthSQL = `SELECT landlord_drop_month_partition($1, $2::date)`

// dropMonth tells whether the month was there.
func dropMonth(ctx context.Context, tx pg.Tx, m Month) (dropped bool, err error) {
	err = tx.QueryRow(ctx, dropMonthSQL, m.Table, m.Month).Scan(&dropped)
	return dropped, err
}

// The last mark before the oldest event stays: it is where reading from then begins.
const deleteMarks = `
DELETE FROM event_marks
WHERE at < (SELECT max(m.at) FROM event_marks AS m WHERE m.at <= $1)`

func trimMarks(ctx context.Context, tx pg.Tx, oldest time.Time) error {
	_, err := tx.Exec(ctx, deleteMarks, oldest)
	return err
}

// Setting a hold locks the row, so an erasure comes before it or sees it.
const selectHeld = `
SELECT legal_hold
FROM tenants
WHERE id = $1
FOR SHARE`

func heldOf(ctx context.Context, tx pg.Tx, tenant id.Tenant) (held bool, err error) {
	err = tx.QueryRow(ctx, selectHeld, tenant).Scan(&held)
	return held, err
}

// Each of the oldest is found by its key. The planner, which takes a batch for a good
// part of a tenant's events, would rather join it to all of them, each time.
const forbidScanning = forbidSorting + `,
	set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

func planByKey(ctx context.Context, tx pg.Tx) error {
	_, err := tx.Exec(ctx, forbidScanning)
	return err
}

const eraseSQL = `SELECT landlord_erase_events($1, $2, $3)`

func eraseSome(ctx context.Context, tx pg.Tx, tenant id.Tenant, before time.Time, most int) (n int64, err error) {
	if err := planByKey(ctx, tx); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, eraseSQL, tenant, before, most).Scan(&n)
	return n, err
}

const selectErasable = `
SELECT e.events, e.oldest, e.newest
FROM tenants AS t
CROSS JOIN LATERAL (
	SELECT count(*) AS events, min(old.created_at) AS oldest, max(old.created_at) AS newest
	FROM (
		SELECT created_at
		FROM tenant_events
		WHERE tenant_id = $1
			AND created_at < $2
		ORDER BY xid, seq
		LIMIT $3) AS old) AS e
WHERE t.id = $1`

// erasableOf returns pg.ErrNoRows when there is no such tenant.
func erasableOf(ctx context.Context, tx pg.Tx, tenant id.Tenant, before time.Time, most int) (e Erased, err error) {
	if err := planInOrder(ctx, tx); err != nil {
		return e, err
	}
	err = tx.QueryRow(ctx, selectErasable, tenant, before, most).Scan(&e.Events, &e.Oldest, &e.Newest)
	return e, err
}
