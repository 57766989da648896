package audit

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Entry is a record as it is read.
type Entry struct {
	Seq         int64           `db:"id"` // order of writing; never shown
	ID          id.AuditEvent   `db:"event_id"`
	TenantID    id.Tenant       `db:"tenant_id"` // zero: the platform, or a purged tenant
	ProjectID   id.Project      `db:"project_id"`
	ActorID     *string         `db:"actor_id"`
	ActorName   *string         `db:"actor_name"`
	ActorType   *string         `db:"actor_type"`
	Action      string          `db:"action"`
	CRUD        *string         `db:"crud"`
	Description *string         `db:"description"`
	TargetID    *string         `db:"target_id"`
	TargetType  *string         `db:"target_type"`
	TargetName  *string         `db:"target_name"`
	Product     *string         `db:"product"` // nil: the registry itself
	SourceIP    *netip.Addr     `db:"source_ip"`
	UserAgent   *string         `db:"user_agent"`
	RequestID   *string         `db:"request_id"`
	Metadata    json.RawMessage `db:"metadata"`
	IsFailure   bool            `db:"is_failure"`
	CreatedAt   time.Time       `db:"created_at"`
}

// Filter chooses records. Empty fields choose any.
type Filter struct {
	TenantID   id.Tenant
	ProjectID  id.Project
	ActorID    string
	ActorType  access.ActorType
	Action     string // exact, or a prefix that ends in ".*": "api_key.*"
	TargetType string
	TargetID   string
	Product    string
	CRUD       string
	RequestID  string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
}

// Service reads the log. Writing it is Record's, inside other rooms' transactions.
type Service struct{ db *pg.DB }

// New returns the room's service.
func New(db *pg.DB) *Service { return &Service{db: db} }

// List returns the records of the whole platform that match, newest first.
func (s *Service) List(ctx context.Context, f Filter, r page.Request) (page.Page[Entry], error) {
	if err := access.RequirePlatform(ctx, access.AuditRead); err != nil {
		return page.Page[Entry]{}, err
	}
	return list(ctx, f, r, s.db.ReadOperator)
}

// ListOf returns the records of a tenant that match, newest first. f.TenantID is
// the tenant; those below it have a log each.
func (s *Service) ListOf(ctx context.Context, tenant id.Tenant, f Filter, r page.Request) (page.Page[Entry], error) {
	if err := access.Require(ctx, access.AuditRead, tenant); err != nil {
		return page.Page[Entry]{}, err
	}
	f.TenantID = tenant
	return list(ctx, f, r, func(ctx context.Context, fn func(pg.Tx) error) error { return s.db.ReadTenant(ctx, tenant, fn) })
}

// Get returns one record of the platform or of a tenant that the principal
// reaches.
func (s *Service) Get(ctx context.Context, entry id.AuditEvent) (Entry, error) {
	who, err := access.RequireAny(ctx, access.AuditRead)
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		e, err = entryByID(ctx, tx, entry)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	in, err := who.Reaches(ctx, e.TenantID)
	switch {
	case err != nil:
		return Entry{}, err
	case !in:
		return Entry{}, errNotFound
	}
	return e, nil
}

// GetOf returns one record of a tenant.
func (s *Service) GetOf(ctx context.Context, tenant id.Tenant, entry id.AuditEvent) (Entry, error) {
	if err := access.Require(ctx, access.AuditRead, tenant); err != nil {
		return Entry{}, err
	}
	var e Entry
	err := s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		e, err = entryByID(ctx, tx, entry)
		return err
	})
	if err == nil && e.TenantID != tenant {
		err = errNotFound
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

var errNotFound = fault.NotFound("audit_event")

// position is a record's place in the order of the list.
type position struct {
	At  time.Time `json:"t"`
	Seq int64     `json:"s"`
}

func list(
	ctx context.Context, f Filter, r page.Request, read func(context.Context, func(pg.Tx) error) error,
) (page.Page[Entry], error) {
	const name = "audit-log"
	var none page.Page[Entry]
	if err := r.Validate(); err != nil {
		return none, err
	}
	if err := f.validate(); err != nil {
		return none, err
	}
	after, ok, err := page.Decode[position](name, r.Cursor)
	if err != nil {
		return none, err
	}
	var from *position
	if ok {
		from = &after
	}
	var rows []Entry
	if err := read(ctx, func(tx pg.Tx) (err error) {
		rows, err = entries(ctx, tx, f, from, r.Size()+1)
		return err
	}); err != nil {
		return none, err
	}
	return page.Of(name, r, rows, func(e Entry) position { return position{e.CreatedAt.UTC(), e.Seq} }), nil
}

var actionPattern = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$`)

func (f Filter) validate() error {
	var bad fault.Fields
	bad.Check(f.Action == "" || len(f.Action) <= 200 && actionPattern.MatchString(f.Action), "action", "wrong_format",
		"action is noun.verb, or a prefix such as api_key.*")
	bad.Check(f.CRUD == "" || len(f.CRUD) == 1 && strings.Contains("crud", f.CRUD), "crud", "not_one_of", "crud is c, r, u or d.")
	bad.Check(f.Since.IsZero() || f.Until.IsZero() || f.Since.Before(f.Until), "until", "out_of_range", "until lies before since.")
	return bad.Err()
}
