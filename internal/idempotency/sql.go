package idempotency

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/pg"
)

type claimRow struct {
	Mine     bool              `db:"mine"`
	Method   string            `db:"method"`
	Path     string            `db:"path"`
	BodyHash []byte            `db:"body_hash"`
	State    string            `db:"state"`
	Held     bool              `db:"held"`
	Status   int32             `db:"status"`
	Headers  map[string]string `db:"headers"`
	Response []byte            `db:"response_encrypted"`
}

// A key is free when it is unknown, has outlived its answer, or was claimed by a
// request that died before its commit. The no-op branch of the update lets a
// second claimer read the row that the first one holds, in the same statement.
const claimKey = `
INSERT INTO idempotency_keys AS k (principal, key, method, path, body_hash, state, claim, locked_until, created_at, expires_at)
VALUES (@principal, @key, @method, @path, @body_hash, 'pending', @claim, @until, @now, @expires)
ON CONFLICT (principal, key) DO UPDATE
SET method = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.method ELSE k.method END,
	path = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.path ELSE k.path END,
	body_hash = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.body_hash ELSE k.body_hash END,
	claim = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.claim ELSE k.claim END,
	created_at = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.created_at ELSE k.created_at END,
	locked_until = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.locked_until ELSE k.locked_until END,
	expires_at = CASE WHEN k.expires_at <= @now OR k.state = 'pending' AND k.locked_until <= @now THEN excluded.expires_at ELSE k.expires_at END,
	state = CASE WHEN k.expires_at <= @now THEN 'pending' ELSE k.state END
RETURNING k.claim = @claim AS mine,
	k.method, k.path, k.body_hash, k.state, k.locked_until > @now AS held, COALESCE(k.status, 0) AS status,
	COALESCE(k.headers, '{}'::jsonb) AS headers, COALESCE(k.response_encrypted, ''::bytea) AS response_encrypted`

func claim(ctx context.Context, tx pg.Tx, r Request, sum []byte, token uuid.UUID, now time.Time) (claimRow, error) {
	return pg.One[claimRow](ctx, tx, claimKey, pg.Named{
		"principal": r.Principal, "key": r.Key, "method": r.Method, "path": r.Path, "body_hash": sum,
		"claim": token, "now": now, "until": now.Add(hold), "expires": now.Add(Keep),
	})
}

const markClaimApplied = `
UPDATE idempotency_keys
SET state = 'applied'
WHERE principal = $1 AND key = $2 AND claim = $3 AND state IN ('pending', 'applied')`

func markApplied(ctx context.Context, tx pg.Tx, r Request, token uuid.UUID) (int64, error) {
	tag, err := tx.Exec(ctx, markClaimApplied, r.Principal, r.Key, token)
	return tag.RowsAffected(), err
}

const finishClaim = `
UPDATE idempotency_keys
SET state = 'done', status = $4, headers = $5, response_encrypted = $6
WHERE principal = $1 AND key = $2 AND claim = $3 AND state IN ('pending', 'applied')`

func finish(ctx context.Context, tx pg.Tx, r Request, token uuid.UUID, a Answer, sealed []byte) error {
	_, err := tx.Exec(ctx, finishClaim, r.Principal, r.Key, token, a.Status, a.Header, sealed)
	return err
}

const releaseClaim = `
DELETE FROM idempotency_keys
WHERE principal = $1 AND key = $2 AND claim = $3 AND state = 'pending'`

func release(ctx context.Context, tx pg.Tx, r Request, token uuid.UUID) error {
	_, err := tx.Exec(ctx, releaseClaim, r.Principal, r.Key, token)
	return err
}

const sweepKeys = `
DELETE FROM idempotency_keys
WHERE (principal, key) IN (
	SELECT principal, key FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)`

func sweep(ctx context.Context, tx pg.Tx, now time.Time) (int64, error) {
	tag, err := tx.Exec(ctx, sweepKeys, now)
	return tag.RowsAffected(), err
}
