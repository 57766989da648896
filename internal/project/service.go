package project

import (
	"context"
	"reflect"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Service is the projects' operations. It is safe for concurrent use.
type Service struct {
	db  *pg.DB
	now func() time.Time
}

// Option changes a Service.
type Option func(*Service)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

var constraints = pg.Constraints{
	"tenant_projects_tenant_id_slug_key": fault.Conflict("slug_taken", "Another project of the tenant has this slug; an archived one keeps its own."),
	"tenant_projects_tenant_id_fkey":     fault.NotFound("tenant"),
}

// New returns the projects' operations over a database.
func New(db *pg.DB, opts ...Option) *Service {
	s := &Service{db: db.With(constraints), now: time.Now}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Create makes a project. The tenant must be entitled, at this instant, to a
// product that supports projects.
func (s *Service) Create(ctx context.Context, p CreateParams) (Project, error) {
	if err := access.Require(ctx, access.ProjectsWrite, p.TenantID); err != nil {
		return Project{}, err
	}
	draft := Project{
		ID: id.New[id.Project](), TenantID: p.TenantID, Name: p.Name, Slug: p.Slug,
		Description: p.Description, Metadata: merge(nil, p.Metadata),
	}
	if draft.Slug == "" {
		draft.Slug = slugOf(p.Name)
	}
	if err := draft.validate(); err != nil {
		return Project{}, err
	}
	var made Project
	err := s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) error {
		if err := checkWritable(ctx, tx, p.TenantID); err != nil {
			return err
		}
		ok, err := supported(ctx, tx, p.TenantID, s.now())
		if err != nil {
			return err
		}
		if !ok {
			return fault.Conflict("projects_not_supported", "The tenant is entitled to no product that supports projects: it works in its default project.")
		}
		if made, err = insert(ctx, tx, draft); err != nil {
			return err
		}
		return audit.Record(ctx, tx, made.event("project.created", map[string]any{"slug": made.Slug}))
	})
	return made, err
}

// Get returns a project.
func (s *Service) Get(ctx context.Context, tenant id.Tenant, r Ref) (Project, error) {
	var p Project
	err := s.read(ctx, tenant, func(tx pg.Tx) (err error) {
		p, err = get(ctx, tx, tenant, r, selectOne)
		return err
	})
	return p, err
}

// List returns a tenant's explicit projects, the newest first.
func (s *Service) List(ctx context.Context, tenant id.Tenant, f Filter, r page.Request) (p page.Page[Project], err error) {
	if err := r.Validate(); err != nil {
		return p, err
	}
	if f.Status != "" && f.Status != Active && f.Status != Archived {
		return p, fault.InvalidField("status", "not_one_of", "status is active or archived.")
	}
	before, _, err := page.Decode[id.Project]("projects", r.Cursor)
	if err != nil {
		return p, err
	}
	err = s.read(ctx, tenant, func(tx pg.Tx) error {
		rows, err := list(ctx, tx, tenant, f, before, r.Size()+1)
		p = page.Of("projects", r, rows, func(p Project) id.Project { return p.ID })
		return err
	})
	return p, err
}

// Update changes a project that is not archived. An update that changes nothing
// records nothing.
func (s *Service) Update(ctx context.Context, tenant id.Tenant, r Ref, u UpdateParams) (Project, error) {
	return s.change(ctx, tenant, r, u.IfMatch, func(before Project) (Project, string, error) {
		if before.Status == Archived {
			return before, "", errArchived()
		}
		after := u.apply(before)
		return after, "project.updated", after.validate()
	})
}

// Archive stops a project: its keys do not verify until it is restored.
func (s *Service) Archive(ctx context.Context, tenant id.Tenant, r Ref, ifMatch time.Time) (Project, error) {
	return s.change(ctx, tenant, r, ifMatch, func(p Project) (Project, string, error) {
		if p.Status == Archived {
			return p, "", errArchived()
		}
		p.Status, p.ArchivedAt = Archived, new(s.now().UTC())
		return p, "project.archived", nil
	})
}

// Restore makes an archived project work again.
func (s *Service) Restore(ctx context.Context, tenant id.Tenant, r Ref, ifMatch time.Time) (Project, error) {
	return s.change(ctx, tenant, r, ifMatch, func(p Project) (Project, string, error) {
		if p.Status == Active {
			return p, "", fault.Conflict("project_active", "The project is not archived.")
		}
		p.Status, p.ArchivedAt = Active, nil
		return p, "project.restored", nil
	})
}

func errArchived() error {
	return fault.Conflict("project_archived", "The project is archived: restore it first.")
}

// change carries out one change of a project under its row's lock. fn returns
// the project as it shall be and what to call that; it may run more than once.
func (s *Service) change(ctx context.Context, tenant id.Tenant, r Ref, ifMatch time.Time, fn func(Project) (Project, string, error)) (Project, error) {
	if err := access.Require(ctx, access.ProjectsWrite, tenant); err != nil {
		return Project{}, err
	}
	var out Project
	err := s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		if err := checkWritable(ctx, tx, tenant); err != nil {
			return err
		}
		before, err := get(ctx, tx, tenant, r, selectForUpdate)
		if err != nil {
			return err
		}
		if !ifMatch.IsZero() && !before.UpdatedAt.Equal(ifMatch) {
			return fault.StaleVersion()
		}
		after, action, err := fn(before)
		if err != nil {
			return err
		}
		changes := changesOf(before, after)
		if len(changes) == 0 {
			out = before
			return nil
		}
		if out, err = update(ctx, tx, after); err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, out.event(action, map[string]any{"changes": changes})); err != nil {
			return err
		}
		return changefeed.Note(ctx, tx, changefeed.Change{Kind: "project", TenantID: tenant, ID: out.ID.UUID()})
	})
	if err != nil {
		return Project{}, err
	}
	return out, nil
}

// changesOf names the fields that differ, each with its value before and after.
func changesOf(a, b Project) map[string]any {
	out := map[string]any{}
	note := func(field string, from, to any) {
		if !reflect.DeepEqual(from, to) {
			out[field] = map[string]any{"from": from, "to": to}
		}
	}
	note("name", a.Name, b.Name)
	note("slug", a.Slug, b.Slug)
	note("description", a.Description, b.Description)
	note("status", a.Status, b.Status)
	note("metadata", a.Metadata, b.Metadata)
	return out
}

func (p Project) event(action string, metadata map[string]any) audit.Event {
	return audit.Event{
		Action: action, TenantID: p.TenantID, ProjectID: p.ID, Metadata: metadata,
		Target: audit.Target{Type: "project", ID: p.ID.String(), Name: p.Name},
	}
}

func (s *Service) read(ctx context.Context, tenant id.Tenant, fn func(pg.Tx) error) error {
	if err := access.Require(ctx, access.ProjectsRead, tenant); err != nil {
		return err
	}
	return s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		if _, err := effectiveStatus(ctx, tx, tenant); err != nil {
			return err // there is no such tenant
		}
		return fn(tx)
	})
}

func checkWritable(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	status, err := effectiveStatus(ctx, tx, tenant)
	if err != nil {
		return err
	}
	who, _ := access.From(ctx)
	return access.CheckWritable(status, who)
}
