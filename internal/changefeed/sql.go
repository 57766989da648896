package changefeed

import (
	"context"
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
