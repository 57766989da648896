package operator

import (
	"context"
	"net/netip"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// The lists that cursors belong to.
const (
	listOperatorsName = "operators"
	listServicesName  = "services"
	listTokensName    = "tokens"
)

const operatorColumns = `id, email, name, role, issuer, subject, disabled_at, last_seen_at, created_at, updated_at`

const insertOperatorSQL = `
INSERT INTO operators (id, email, name, role, issuer, subject)
VALUES (@id, @email, @name, @role, @issuer, @subject)
RETURNING ` + operatorColumns

func insertOperator(ctx context.Context, tx pg.Tx, o Operator) (Operator, error) {
	return pg.One[Operator](ctx, tx, insertOperatorSQL, pg.Named{
		"id": o.ID, "email": o.Email, "name": o.Name, "role": o.Role, "issuer": o.OIDCIssuer, "subject": o.OIDCSubject,
	})
}

// A person who is there already becomes owner and can act again; his name stays.
const upsertOwnerSQL = `
INSERT INTO operators (id, email, name, role)
VALUES (@id, @email, @name, 'owner')
ON CONFLICT ON CONSTRAINT operators_email_key
DO UPDATE SET role = 'owner', disabled_at = NULL
RETURNING ` + operatorColumns

func upsertOwner(ctx context.Context, tx pg.Tx, o Operator) (Operator, error) {
	return pg.One[Operator](ctx, tx, upsertOwnerSQL, pg.Named{"id": o.ID, "email": o.Email, "name": o.Name})
}

const operatorByIDSQL = `
SELECT ` + operatorColumns + `
FROM operators
WHERE id = $1`

func operatorByID(ctx context.Context, tx pg.Tx, operator id.Operator) (Operator, error) {
	o, err := pg.One[Operator](ctx, tx, operatorByIDSQL, operator)
	return o, pg.Found(err, "operator")
}

const operatorForUpdateSQL = operatorByIDSQL + `
FOR UPDATE`

func operatorForUpdate(ctx context.Context, tx pg.Tx, operator id.Operator) (Operator, error) {
	o, err := pg.One[Operator](ctx, tx, operatorForUpdateSQL, operator)
	return o, pg.Found(err, "operator")
}

const enabledOwnersSQL = `
SELECT id
FROM operators
WHERE role = 'owner' AND disabled_at IS NULL
ORDER BY id`

func enabledOwners(ctx context.Context, tx pg.Tx) ([]id.Operator, error) {
	return pg.Scalars[id.Operator](ctx, tx, enabledOwnersSQL)
}

const lockOwnersSQL = enabledOwnersSQL + `
FOR UPDATE`

// lockOwners locks the enabled owners in order of id. Somebody who waited for
// one that was demoted meanwhile does not get it.
func lockOwners(ctx context.Context, tx pg.Tx) ([]id.Operator, error) {
	return pg.Scalars[id.Operator](ctx, tx, lockOwnersSQL)
}

// lockOperator locks the enabled owners, then the person. This order is the
// room's lock order: owners by id, person, account, token.
func lockOperator(ctx context.Context, tx pg.Tx, operator id.Operator) (Operator, []id.Operator, error) {
	owners, err := lockOwners(ctx, tx)
	if err != nil {
		return Operator{}, nil, err
	}
	o, err := operatorForUpdate(ctx, tx, operator)
	return o, owners, err
}

// bootstrapLock is any number that nobody else locks.
const bootstrapLockSQL = `SELECT pg_advisory_xact_lock(7453010315820032110)`

func lockBootstrap(ctx context.Context, tx pg.Tx) error {
	_, err := tx.Exec(ctx, bootstrapLockSQL)
	return err
}

const operatorsByFilterSQL = `
SELECT ` + operatorColumns + `
FROM operators
WHERE (@role::text = '' OR role = @role)
	AND (@enabled::boolean IS NULL OR (disabled_at IS NULL) = @enabled)
	AND (@email::text = '' OR email = @email::citext)
	AND (@after::uuid IS NULL OR id < @after)
ORDER BY id DESC
LIMIT @limit`

func operatorsByFilter(ctx context.Context, tx pg.Tx, f Filter, after *id.Operator, limit int) ([]Operator, error) {
	return pg.Collect[Operator](ctx, tx, operatorsByFilterSQL, pg.Named{
		"role": f.Role, "enabled": f.Enabled, "email": f.Email, "after": after, "limit": limit,
	})
}

const updateOperatorSQL = `
UPDATE operators
SET name = @name, role = @role, disabled_at = @disabled_at
WHERE id = @id
RETURNING ` + operatorColumns

func updateOperator(ctx context.Context, tx pg.Tx, o Operator) (Operator, error) {
	return pg.One[Operator](ctx, tx, updateOperatorSQL, pg.Named{
		"id": o.ID, "name": o.Name, "role": o.Role, "disabled_at": o.DisabledAt,
	})
}

const deleteOperatorSQL = `
DELETE FROM operators
WHERE id = $1`

func deleteOperator(ctx context.Context, tx pg.Tx, operator id.Operator) error {
	_, err := tx.Exec(ctx, deleteOperatorSQL, operator)
	return err
}

const operatorByIdentitySQL = `
SELECT ` + operatorColumns + `
FROM operators
WHERE issuer = $1 AND subject = $2`

func operatorByIdentity(ctx context.Context, tx pg.Tx, issuer, subject string) (Operator, error) {
	return pg.One[Operator](ctx, tx, operatorByIdentitySQL, issuer, subject)
}

const unlinkedByEmailSQL = `
SELECT ` + operatorColumns + `
FROM operators
WHERE email = $1::citext AND subject IS NULL AND disabled_at IS NULL`

func unlinkedByEmail(ctx context.Context, tx pg.Tx, email string) (Operator, error) {
	return pg.One[Operator](ctx, tx, unlinkedByEmailSQL, email)
}

const linkOperatorSQL = `
UPDATE operators
SET issuer = $2, subject = $3
WHERE id = $1 AND subject IS NULL AND disabled_at IS NULL
RETURNING ` + operatorColumns

func linkOperator(ctx context.Context, tx pg.Tx, operator id.Operator, issuer, subject string) (Operator, error) {
	return pg.One[Operator](ctx, tx, linkOperatorSQL, operator, issuer, subject)
}

const serviceColumns = `id, tenant_id, name, description, permissions, disabled_at, created_at, updated_at`

const insertServiceSQL = `
INSERT INTO service_accounts (id, tenant_id, name, description, permissions)
VALUES (@id, @tenant, @name, @description, @permissions)
RETURNING ` + serviceColumns

func insertService(ctx context.Context, tx pg.Tx, a ServiceAccount) (ServiceAccount, error) {
	return pg.One[ServiceAccount](ctx, tx, insertServiceSQL, pg.Named{
		"id": a.ID, "tenant": a.TenantID, "name": a.Name, "description": a.Description, "permissions": a.Permissions,
	})
}

const serviceByIDSQL = `
SELECT ` + serviceColumns + `
FROM service_accounts
WHERE id = $1`

func serviceByID(ctx context.Context, tx pg.Tx, service id.Service) (ServiceAccount, error) {
	a, err := pg.One[ServiceAccount](ctx, tx, serviceByIDSQL, service)
	return a, pg.Found(err, "service")
}

const lockServiceSQL = serviceByIDSQL + `
FOR UPDATE`

func lockService(ctx context.Context, tx pg.Tx, service id.Service) (ServiceAccount, error) {
	a, err := pg.One[ServiceAccount](ctx, tx, lockServiceSQL, service)
	return a, pg.Found(err, "service")
}

const servicesByFilterSQL = `
SELECT ` + serviceColumns + `
FROM service_accounts
WHERE (@tenant::uuid IS NULL OR tenant_id = @tenant)
	AND (@enabled::boolean IS NULL OR (disabled_at IS NULL) = @enabled)
	AND (@after::uuid IS NULL OR id < @after)
ORDER BY id DESC
LIMIT @limit`

func servicesByFilter(ctx context.Context, tx pg.Tx, f ServiceFilter, after *id.Service, limit int) ([]ServiceAccount, error) {
	return pg.Collect[ServiceAccount](ctx, tx, servicesByFilterSQL, pg.Named{
		"tenant": f.TenantID, "enabled": f.Enabled, "after": after, "limit": limit,
	})
}

const updateServiceSQL = `
UPDATE service_accounts
SET name = @name, description = @description, permissions = @permissions, disabled_at = @disabled_at
WHERE id = @id
RETURNING ` + serviceColumns

func updateService(ctx context.Context, tx pg.Tx, a ServiceAccount) (ServiceAccount, error) {
	return pg.One[ServiceAccount](ctx, tx, updateServiceSQL, pg.Named{
		"id": a.ID, "name": a.Name, "description": a.Description, "permissions": a.Permissions, "disabled_at": a.DisabledAt,
	})
}

const deleteServiceSQL = `
DELETE FROM service_accounts
WHERE id = $1`

func deleteService(ctx context.Context, tx pg.Tx, service id.Service) error {
	_, err := tx.Exec(ctx, deleteServiceSQL, service)
	return err
}

const tokenColumns = `id, operator_id, service_account_id, name, prefix, last4, expires_at, revoked_at, revoked_reason,
	last_used_at, last_used_ip, created_by, created_at`

const insertTokenSQL = `
INSERT INTO access_tokens (id, operator_id, service_account_id, name, prefix, last4, hash, expires_at, created_by)
VALUES (@id, @operator, @service, @name, @prefix, @last4, @hash, @expires_at, @created_by)
RETURNING ` + tokenColumns

func insertToken(ctx context.Context, tx pg.Tx, t AccessToken, digest string) (AccessToken, error) {
	return pg.One[AccessToken](ctx, tx, insertTokenSQL, pg.Named{
		"id": t.ID, "operator": t.OperatorID, "service": t.ServiceID, "name": t.Name, "prefix": t.Prefix, "last4": t.Last4,
		"hash": digest, "expires_at": t.ExpiresAt, "created_by": t.CreatedBy,
	})
}

const tokenByIDSQL = `
SELECT ` + tokenColumns + `
FROM access_tokens
WHERE id = $1`

func tokenByID(ctx context.Context, tx pg.Tx, token id.Token) (AccessToken, error) {
	t, err := pg.One[AccessToken](ctx, tx, tokenByIDSQL, token)
	return t, pg.Found(err, "token")
}

const tokenForUpdateSQL = tokenByIDSQL + `
FOR UPDATE`

func tokenForUpdate(ctx context.Context, tx pg.Tx, token id.Token) (AccessToken, error) {
	t, err := pg.One[AccessToken](ctx, tx, tokenForUpdateSQL, token)
	return t, pg.Found(err, "token")
}

// One of the two owners is NULL, which equals nothing.
const tokensByFilterSQL = `
SELECT ` + tokenColumns + `
FROM access_tokens
WHERE (operator_id = @operator OR service_account_id = @service)
	AND (NOT @live::boolean OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > @now)))
	AND (@after::uuid IS NULL OR id < @after)
ORDER BY id DESC
LIMIT @limit`

func tokensByFilter(ctx context.Context, tx pg.Tx, f TokenFilter, now time.Time, after *id.Token, limit int) ([]AccessToken, error) {
	return pg.Collect[AccessToken](ctx, tx, tokensByFilterSQL, pg.Named{
		"operator": f.OperatorID, "service": f.ServiceID, "live": f.Live, "now": now, "after": after, "limit": limit,
	})
}

const revokeTokenSQL = `
UPDATE access_tokens
SET revoked_at = $2, revoked_reason = NULLIF($3, '')
WHERE id = $1
RETURNING ` + tokenColumns

func revokeToken(ctx context.Context, tx pg.Tx, token id.Token, at time.Time, reason string) (AccessToken, error) {
	return pg.One[AccessToken](ctx, tx, revokeTokenSQL, token, at, reason)
}

// The order of tenant_status is that of strictness, so a tenant's effective
// status is the greatest of its own and its ancestors'.
const grantByDigestSQL = `
SELECT t.id, t.hash, t.expires_at, t.revoked_at, t.operator_id, t.service_account_id,
	COALESCE(o.name, a.name) AS name,
	COALESCE(o.role, '') AS role,
	COALESCE(a.permissions, '{}') AS permissions,
	a.tenant_id,
	COALESCE((
		SELECT MAX(above.status)
		FROM tenants AS own
		JOIN tenants AS above ON above.id = ANY (own.ancestors || own.id)
		WHERE own.id = a.tenant_id
	)::text, '') AS tenant_status,
	COALESCE(o.disabled_at, a.disabled_at) AS disabled_at
FROM access_tokens AS t
LEFT JOIN operators AS o ON o.id = t.operator_id
LEFT JOIN service_accounts AS a ON a.id = t.service_account_id
WHERE t.hash = ANY ($1)`

func grantByDigest(ctx context.Context, tx pg.Tx, digests []string) (grant, error) {
	return pg.One[grant](ctx, tx, grantByDigestSQL, digests)
}

const tenantStatusSQL = `
SELECT COALESCE(MAX(above.status)::text, '')
FROM tenants AS own
JOIN tenants AS above ON above.id = ANY (own.ancestors || own.id)
WHERE own.id = $1`

func tenantStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant) (string, error) {
	var status string
	err := tx.QueryRow(ctx, tenantStatusSQL, tenant).Scan(&status)
	return status, err
}

// A row that another replica wrote within the last minute is left alone.
const markTokensUsedSQL = `
UPDATE access_tokens AS t
SET last_used_at = u.at, last_used_ip = u.ip
FROM unnest($1::uuid[], $2::timestamptz[], $3::inet[]) AS u (id, at, ip)
WHERE t.id = u.id
	AND (t.last_used_at IS NULL OR t.last_used_at <= u.at - INTERVAL '1 minute')`

const markOperatorsSeenSQL = `
UPDATE operators AS o
SET last_seen_at = u.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)
WHERE o.id = u.id
	AND (o.last_seen_at IS NULL OR o.last_seen_at <= u.at - INTERVAL '1 minute')`

const redigestSQL = `
UPDATE access_tokens AS t
SET hash = u.hash
FROM unnest($1::uuid[], $2::text[]) AS u (id, hash)
WHERE t.id = u.id`

func markUsed(ctx context.Context, tx pg.Tx, tokens map[id.Token]use, people map[id.Operator]time.Time, digests map[id.Token]string) error {
	b := &pg.Batch{}
	var ids []id.Token
	var ats []time.Time
	var ips []*netip.Addr
	for token, u := range tokens {
		ids, ats = append(ids, token), append(ats, u.at)
		if u.ip.IsValid() {
			ips = append(ips, &u.ip)
		} else {
			ips = append(ips, nil)
		}
	}
	b.Queue(markTokensUsedSQL, ids, ats, ips)
	var persons []id.Operator
	var seen []time.Time
	for person, at := range people {
		persons, seen = append(persons, person), append(seen, at)
	}
	b.Queue(markOperatorsSeenSQL, persons, seen)
	var stale []id.Token
	var fresh []string
	for token, digest := range digests {
		stale, fresh = append(stale, token), append(fresh, digest)
	}
	b.Queue(redigestSQL, stale, fresh)
	return pg.Send(ctx, tx, b)
}
