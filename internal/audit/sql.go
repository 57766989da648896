package audit

import (
	"net/netip"

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
