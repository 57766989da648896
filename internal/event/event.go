package event

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

// Committed is what a transaction that writes events is marked with (pg.Mark), for
// those in this process who want to look at once.
const Committed = "tenant_events"

// Event is something that happened to a tenant, or, under the internal tenant,
// to the platform.
type Event struct {
	ID         id.Event        `db:"id"`
	TenantID   id.Tenant       `db:"tenant_id"`
	ProjectID  id.Project      `db:"project_id"`
	Type       string          `db:"type"`    // "api_key.created"
	Payload    json.RawMessage `db:"payload"` // an object
	ActorType  string          `db:"actor_type"`
	ActorID    string          `db:"actor_id"`
	RequestID  string          `db:"request_id"`
	OccurredAt time.Time       `db:"occurred_at"` // when written, unless its publisher says otherwise
	CreatedAt  time.Time       `db:"created_at"`  // when written
	Position
}

// Position is a place in the order of all events. The zero Position lies before
// the first.
type Position struct {
	XID uint64 `db:"xid" json:"x"` // of the transaction
	Seq int64  `db:"seq" json:"s"` // within it
}

// Before reports whether p lies before q.
func (p Position) Before(q Position) bool {
	return p.XID < q.XID || p.XID == q.XID && p.Seq < q.Seq
}

// Filter chooses events. Zero fields choose any.
type Filter struct {
	ProjectID id.Project
	Type      string    // exact, or a prefix that ends in ".*": "render.*"
	Since     time.Time // written at this instant or later
}

var typePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?$`)

func (f Filter) validate() error {
	var bad fault.Fields
	bad.Check(f.Type == "" || len(f.Type) <= maxType && typePattern.MatchString(f.Type), "type", "wrong_format",
		"type is noun.verb, or a prefix such as render.*")
	return bad.Err()
}

// typePrefix returns what the types of a filter begin with, when it is a prefix.
func (f Filter) typePrefix() (prefix string, ok bool) { return strings.CutSuffix(f.Type, "*") }

// sparse reports whether the filter may leave out so much that a page has to be
// searched for.
func (f Filter) sparse() bool { return !f.ProjectID.IsZero() || f.Type != "" || !f.Since.IsZero() }

// maxType is the longest name of a type.
const maxType = 100
