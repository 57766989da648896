package project

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const columns = `
       id, tenant_id, name, slug, description, status, metadata, archived_at, created_at, updated_at`

const insertSQL = `
INSERT INTO tenant_projects (id, tenant_id, name, slug, description, metadata)
VALUES (@id, @tenant_id, @name, @slug, @description, @metadata)
RETURNING` + columns

func insert(ctx context.Context, tx pg.Tx, p Project) (Project, error) {
	return pg.One[Project](ctx, tx, insertSQL, pg.Named{
		"id": p.ID, "tenant_id": p.TenantID, "name": p.Name, "slug": p.Slug, "description": p.Description, "metadata": p.Metadata,
	})
}

const selectOne = `
SELECT` + columns + `
  FROM tenant_projects
 WHERE tenant_id = $1
   AND (id = $2 OR slug = $3)`

const selectForUpdate = selectOne + `
   FOR UPDATE`

func get(ctx context.Context, tx pg.Tx, tenant id.Tenant, r Ref, sql string) (Project, error) {
	p, err := pg.One[Project](ctx, tx, sql, tenant, r.ID, r.Slug)
	return p, pg.Found(err, "project")
}

// Newest first: ids grow with time.
const listSQL = `
SELECT` + columns + `
  FROM tenant_projects
 WHERE tenant_id = @tenant_id
   AND (@status::text = '' OR status = NULLIF(@status::text, '')::tenant_project_status)
   AND (@before::uuid IS NULL OR id < @before::uuid)
 ORDER BY id DESC
 LIMIT @limit`

func list(ctx context.Context, tx pg.Tx, tenant id.Tenant, f Filter, before id.Project, limit int) ([]Project, error) {
	return pg.Collect[Project](ctx, tx, listSQL, pg.Named{
		"tenant_id": tenant, "status": string(f.Status), "before": before, "limit": limit,
	})
}

const updateSQL = `
UPDATE tenant_projects
   SET name = @name, slug = @slug, description = @description, metadata = @metadata,
       status = @status::text::tenant_project_status, archived_at = @archived_at
 WHERE tenant_id = @tenant_id
   AND id = @id
RETURNING` + columns

func update(ctx context.Context, tx pg.Tx, p Project) (Project, error) {
	return pg.One[Project](ctx, tx, updateSQL, pg.Named{
		"id": p.ID, "tenant_id": p.TenantID, "name": p.Name, "slug": p.Slug, "description": p.Description,
		"metadata": p.Metadata, "status": string(p.Status), "archived_at": p.ArchivedAt,
	})
}

const selectSupported = `
SELECT EXISTS (
    SELECT
      FROM tenant_products e
      JOIN products p ON p.name = e.product
     WHERE e.tenant_id = $1
       AND e.enabled
       AND (e.expires_at IS NULL OR e.expires_at > $2)
       AND p.supports_projects)`

func supported(ctx context.Context, tx pg.Tx, tenant id.Tenant, now time.Time) (ok bool, err error) {
	err = tx.QueryRow(ctx, selectSupported, tenant, now).Scan(&ok)
	return ok, err
}

const selectStatus = `
SELECT landlord_effective_status($1)::text`

func effectiveStatus(ctx context.Context, tx pg.Tx, tenant id.Tenant) (string, error) {
	var status *string
	if err := tx.QueryRow(ctx, selectStatus, tenant).Scan(&status); err != nil {
		return "", err
	}
	if status == nil {
		return "", fault.NotFound("tenant")
	}
	return *status, nil
}
