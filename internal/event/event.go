package event

import (
	"encoding/json"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// Event is something that happened to a tenant, or, under the internal tenant,
// to the platform.
type Event struct {
	ID        id.Event        `db:"id"`
	TenantID  id.Tenant       `db:"tenant_id"`
	ProjectID id.Project      `db:"project_id"`
	Type      string          `db:"type"` // "api_key.created"
	Payload   json.RawMessage `db:"payload"`
	ActorType string          `db:"actor_type"`
	ActorID   string          `db:"actor_id"`
	RequestID string          `db:"request_id"`
	CreatedAt time.Time       `db:"created_at"`
}
