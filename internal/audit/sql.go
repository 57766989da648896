package audit

import (
	"context"
	"net/netip"
	"strings"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const insertRecord = `
INSERT INTO audit_log (
	event_id, tenant_id, project_id, actor_id, actor_name, actor_type, action, crud, description,
	target_id, target_type, target_name, product, metadata, source_ip, user_agent, request_id)
VALUES ($1, $2, $3, NULLIF($4, ''), NULLIF($5, ''), $6, $7, $8, NULLIF($9, ''),
	NULLIF($10, ''), NULLIF($11, ''), NULLIF($12, ''), NULLIF($13, ''), $14, $15, NULLIF($16, ''), NULLIF($17, ''))`

func queueRecord(b *pg.Batch, eventID id.AuditEvent, e Event, who access.Principal) {
	var ip *netip.Addr
	if who.SourceIP.IsValid() {
		ip = &who.SourceIP
	}
	b.Queue(insertRecord, eventID, e.TenantID, e.ProjectID, who.ID, who.Name, string(who.Type), e.Action, e.CRUD, e.Description,
		e.Target.ID, e.Target.Type, e.Target.Name, e.Product, e.Metadata, ip, who.UserAgent, who.RequestID)
}

const entryColumns = `
SELECT id, event_id, tenant_id, project_id, actor_id, actor_name, actor_type, action, crud, description,
	target_id, target_type, target_name, product, source_ip, user_agent, request_id, metadata, is_failure, created_at
FROM audit_log`

const entryByIDSQL = entryColumns + `
WHERE event_id = $1`

func entryByID(ctx context.Context, tx pg.Tx, entry id.AuditEvent) (Entry, error) {
	e, err := pg.One[Entry](ctx, tx, entryByIDSQL, entry)
	if pg.IsNoRows(err) {
		return e, errNotFound
	}
	return e, err
}

// The list's statement is put together from these, because one statement with
// "OR filter IS NULL" for each has one plan for all, and that walks the whole
// log to find a rare actor.
const (
	whereTenant       = `tenant_id = @tenant`
	whereProject      = `project_id = @project`
	whereActor        = `actor_id = @actor`
	whereActorType    = `actor_type = @actor_type`
	whereAction       = `action = @action`
	whereActionPrefix = `starts_with(action, @action)`
	whereTargetType   = `target_type = @target_type`
	whereTarget       = `target_id = @target`
	whereProduct      = `product = @product`
	whereCRUD         = `crud = @crud`
	whereRequest      = `request_id = @request`
	whereSince        = `created_at >= @since`
	whereUntil        = `created_at < @until`
	whereAfter        = `(created_at, id) < (@after_at, @after_id)`
	entriesOrder      = `
ORDER BY created_at DESC, id DESC
LIMIT @limit`
)

func entries(ctx context.Context, tx pg.Tx, f Filter, after *position, limit int) ([]Entry, error) {
	sql, args := entriesSQL(f, after, limit)
	return pg.Collect[Entry](ctx, tx, sql, args)
}

func entriesSQL(f Filter, after *position, limit int) (string, pg.Named) {
	var where []string
	args := pg.Named{"limit": limit}
	filter := func(set bool, condition, name string, value any) {
		if set {
			where = append(where, condition)
			args[name] = value
		}
	}
	prefix, isPrefix := strings.CutSuffix(f.Action, "*")
	filter(!f.TenantID.IsZero(), whereTenant, "tenant", f.TenantID)
	filter(!f.ProjectID.IsZero(), whereProject, "project", f.ProjectID)
	filter(f.ActorID != "", whereActor, "actor", f.ActorID)
	filter(f.ActorType != "", whereActorType, "actor_type", string(f.ActorType))
	filter(f.Action != "" && !isPrefix, whereAction, "action", f.Action)
	filter(isPrefix, whereActionPrefix, "action", prefix)
	filter(f.TargetType != "", whereTargetType, "target_type", f.TargetType)
	filter(f.TargetID != "", whereTarget, "target", f.TargetID)
	filter(f.Product != "", whereProduct, "product", f.Product)
	filter(f.CRUD != "", whereCRUD, "crud", f.CRUD)
	filter(f.RequestID != "", whereRequest, "request", f.RequestID)
	filter(!f.Since.IsZero(), whereSince, "since", f.Since)
	filter(!f.Until.IsZero(), whereUntil, "until", f.Until)
	if after != nil {
		where = append(where, whereAfter)
		args["after_at"], args["after_id"] = after.At, after.Seq
	}
	sql := entryColumns
	if len(where) > 0 {
		sql += "\nWHERE " + strings.Join(where, "\n\tAND ")
	}
	return sql + entriesOrder, args
}
