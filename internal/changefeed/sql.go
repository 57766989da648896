package changefeed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// sqlNote sends the notification in the same round trip. PostgreSQL folds equal ones of a transaction into one.
const sqlNote = `
WITH noted AS (
	INSERT INTO change_feed (kind, tenant_id, ref)
	SELECT kind, tenant_id, ref
	FROM unnest($1::text[], $2::uuid[], $3::text[]) AS c (kind, tenant_id, ref)
)
SELECT pg_notify('landlord_change', '')`

func insertChanges(ctx context.Context, tx pg.Tx, changes []Change) error {
	kinds, tenants, refs := make([]string, len(changes)), make([]*id.Tenant, len(changes)), make([]string, len(changes))
	for i, c := range changes {
		kinds[i], refs[i] = c.Kind, c.ID
		if !c.TenantID.IsZero() {
			tenants[i] = &c.TenantID
		}
	}
	_, err := tx.Exec(ctx, sqlNote, kinds, tenants, refs)
	return err
}

const sqlTrim = `
DELETE FROM change_feed
WHERE seq IN (
	SELECT seq
	FROM change_feed
	WHERE created_at < NOW() - $1::interval
	ORDER BY created_at
	LIMIT $2
)`

func deleteChanges(ctx context.Context, tx pg.Tx, age time.Duration) (int64, error) {
	tag, err := tx.Exec(ctx, sqlTrim, age, trimBatch)
	return tag.RowsAffected(), err
}

// position is how far a session has read.
type position struct {
	snapshot string    // what was visible
	at       time.Time // when, by the server's clock, which also dates the rows
}

const sqlPosition = `SELECT pg_current_snapshot()::text, statement_timestamp()`

func selectPosition(ctx context.Context, conn *pg.Conn) (p position, err error) {
	if err := conn.QueryRow(ctx, sqlPosition).Scan(&p.snapshot, &p.at); err != nil {
		return position{}, fmt.Errorf("read the position: %w", err)
	}
	return p, nil
}

// sqlChanges reads what is visible now and was not in the snapshot $1; the first condition is what the index serves. It
// always has a row, with the next position.
const sqlChanges = `
SELECT pg_current_snapshot()::text, statement_timestamp(), landlord_operator(), c.kind, c.tenant_id, c.ref, c.created_at
FROM (VALUES (0)) AS one (n)
LEFT JOIN LATERAL (
	SELECT xid, seq, kind, tenant_id, ref, created_at
	FROM change_feed
	WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot)
		AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
	ORDER BY xid, seq
	LIMIT $2
) AS c ON TRUE
ORDER BY c.xid, c.seq`

// batch is what one poll found, and when each change's transaction began.
type batch struct {
	changes []Change
	began   []time.Time
	next    position
}

func selectChanges(ctx context.Context, conn *pg.Conn, since position, limit int) (b batch, err error) {
	rows, err := conn.Query(ctx, sqlChanges, since.snapshot, limit)
	if err != nil {
		return batch{}, fmt.Errorf("read changes: %w", err)
	}
	defer rows.Close()
	operator := false
	for rows.Next() {
		var kind, ref *string
		var began *time.Time
		var c Change
		if err := rows.Scan(&b.next.snapshot, &b.next.at, &operator, &kind, &c.TenantID, &ref, &began); err != nil {
			return batch{}, fmt.Errorf("read changes: %w", err)
		}
		if kind != nil {
			c.Kind, c.ID = *kind, *ref
			b.changes, b.began = append(b.changes, c), append(b.began, *began)
		}
	}
	if err := rows.Err(); err != nil {
		return batch{}, fmt.Errorf("read changes: %w", err)
	}
	if !operator { // every row is hidden then, and nothing would ever seem to change
		return batch{}, errors.New("the session lost its scope: the change feed needs a connection of its own, not one of a pooler in transaction mode")
	}
	return b, nil
}
