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
	Actor     Actor           `db:"actor"`
	RequestID string          `db:"request_id"`
	CreatedAt time.Time       `db:"created_at"`
}

// Actor is who did it, as in the audit record of the same change.
type Actor struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
}
