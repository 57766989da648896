package api

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/project"
)

// Project is an explicit project of a tenant.
type Project struct {
	ID          id.Project `json:"id" example:"project_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	TenantID    id.Tenant  `json:"tenant_id" example:"tenant_01jd3q8v6ze3nbq2m5xk7c9w4t"`
	Name        string     `json:"name" example:"Spring campaign"`
	Slug        string     `json:"slug" example:"spring-campaign" doc:"Unique within the tenant, archived projects included."`
	Description string     `json:"description"`
	Status      string     `json:"status" enum:"active,archived" doc:"Keys of an archived project answer PROJECT_ARCHIVED."`
	Metadata    Metadata   `json:"metadata"`
	ArchivedAt  *time.Time `json:"archived_at,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func projectOf(p project.Project) Project {
	return Project{
		ID: p.ID, TenantID: p.TenantID, Name: p.Name, Slug: p.Slug, Description: p.Description, Status: string(p.Status),
		Metadata: p.Metadata, ArchivedAt: utc(p.ArchivedAt), CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

// CreateProject describes a new project.
type CreateProject struct {
	Name        string   `json:"name" minLength:"1" maxLength:"200" example:"Spring campaign"`
	Slug        string   `json:"slug,omitempty" maxLength:"40" example:"spring-campaign" doc:"2 to 40 characters of a-z, 0-9 and -; left out, it is made from the name. The slug default is not to be had."`
	Description string   `json:"description,omitempty" maxLength:"1000"`
	Metadata    Metadata `json:"metadata,omitempty" doc:"Your own data: at most 50 keys and 16 KiB."`
}

// UpdateProject changes a project; absent fields stay.
type UpdateProject struct {
	Name        Required[string] `json:"name,omitzero" maxLength:"200"`
	Slug        Required[string] `json:"slug,omitzero" maxLength:"40"`
	Description Opt[string]      `json:"description,omitzero" maxLength:"1000"`
	Metadata    Opt[Metadata]    `json:"metadata,omitzero" doc:"Merged key by key; a null takes a key away, null for all of it takes all."`
}

// ProjectPath is embedded by the input of every operation on a project.
type ProjectPath struct {
	TenantPath
	Project string `path:"project" maxLength:"64" doc:"Id, bare UUID, or slug:NAME." example:"slug:spring-campaign"`
}

func (a *API) projectRoutes() {
	const tag = "Projects"
	route(a, op{
		ID: "create-project", Method: "POST", Path: "/v1/tenants/{tenant}/projects", Tag: tag, Creates: true, Summary: "Create a project",
		Description: "The tenant must be entitled to a product that supports projects. Every tenant works in an implicit default project besides, " +
			"which has no id and is not listed: wherever a project may be named, naming none means it.",
	}, a.createProject)
	route(a, op{
		ID: "list-projects", Method: "GET", Path: "/v1/tenants/{tenant}/projects", Tag: tag, Summary: "List a tenant's projects",
		Description: "Newest first. The implicit default project is not among them.",
	}, a.listProjects)
	route(a, op{ID: "get-project", Method: "GET", Path: "/v1/tenants/{tenant}/projects/{project}", Tag: tag, Summary: "Get a project"}, a.getProject)
	route(a, op{
		ID: "update-project", Method: "PATCH", Path: "/v1/tenants/{tenant}/projects/{project}", Tag: tag, Summary: "Change a project",
		Description: "JSON merge patch. An archived project is not changed.", Errors: []int{409, 412},
	}, a.updateProject)
	route(a, op{
		ID: "archive-project", Method: "POST", Path: "/v1/tenants/{tenant}/projects/{project}/archive", Tag: tag, Summary: "Archive a project",
		Description: "Its keys answer PROJECT_ARCHIVED until it is restored.", Errors: []int{409, 412},
	}, a.archiveProject)
	route(a, op{
		ID: "restore-project", Method: "POST", Path: "/v1/tenants/{tenant}/projects/{project}/restore", Tag: tag, Summary: "Restore a project",
		Description: "Its keys work again.", Errors: []int{409, 412},
	}, a.restoreProject)
}

type createProjectInput struct {
	TenantPath
	Body CreateProject
}

func (a *API) createProject(ctx context.Context, in *createProjectInput) (*created[Project], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Projects.Create(ctx, project.CreateParams{
		TenantID: tenant, Name: in.Body.Name, Slug: in.Body.Slug, Description: in.Body.Description, Metadata: in.Body.Metadata,
	})
	if err != nil {
		return nil, err
	}
	return &created[Project]{
		Location: "/v1/tenants/" + p.TenantID.String() + "/projects/" + p.ID.String(), ETag: etag(p.UpdatedAt), Body: projectOf(p),
	}, nil
}

type listProjectsInput struct {
	TenantPath
	PageQuery
	Status string `query:"status" enum:"active,archived" doc:"Only in this status."`
}

func (a *API) listProjects(ctx context.Context, in *listProjectsInput) (*listed[Project], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := a.s.Projects.List(ctx, tenant, project.Filter{Status: project.Status(in.Status)}, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, projectOf), nil
}

// project returns what a path names.
func (a *API) project(ctx context.Context, in ProjectPath) (id.Tenant, project.Ref, error) {
	ref, err := project.ParseRef(in.Project)
	if err != nil {
		return id.Tenant{}, ref, err
	}
	tenant, err := a.tenant(ctx, in.Tenant)
	return tenant, ref, err
}

type getProjectInput struct{ ProjectPath }

func (a *API) getProject(ctx context.Context, in *getProjectInput) (*one[Project], error) {
	tenant, ref, err := a.project(ctx, in.ProjectPath)
	if err != nil {
		return nil, err
	}
	return oneProject(a.s.Projects.Get(ctx, tenant, ref))
}

type updateProjectInput struct {
	ProjectPath
	Precondition
	Body UpdateProject
}

func (a *API) updateProject(ctx context.Context, in *updateProjectInput) (*one[Project], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, ref, err := a.project(ctx, in.ProjectPath)
	if err != nil {
		return nil, err
	}
	u := project.UpdateParams{IfMatch: version, Name: in.Body.Name.Field, Slug: in.Body.Slug.Field, Description: in.Body.Description.Field}
	if m, ok := in.Body.Metadata.Get(); ok {
		u.Metadata = patch.Set(map[string]any(m))
	} else if in.Body.Metadata.IsNull() {
		u.Metadata = patch.Null[map[string]any]()
	}
	return oneProject(a.s.Projects.Update(ctx, tenant, ref, u))
}

type changeProjectInput struct {
	ProjectPath
	Precondition
}

func (a *API) archiveProject(ctx context.Context, in *changeProjectInput) (*one[Project], error) {
	return a.changeProject(ctx, in, a.s.Projects.Archive)
}

func (a *API) restoreProject(ctx context.Context, in *changeProjectInput) (*one[Project], error) {
	return a.changeProject(ctx, in, a.s.Projects.Restore)
}

func (a *API) changeProject(ctx context.Context, in *changeProjectInput, change func(context.Context, id.Tenant, project.Ref, time.Time) (project.Project, error)) (*one[Project], error) {
	version, err := in.version()
	if err != nil {
		return nil, err
	}
	tenant, ref, err := a.project(ctx, in.ProjectPath)
	if err != nil {
		return nil, err
	}
	return oneProject(change(ctx, tenant, ref, version))
}

func oneProject(p project.Project, err error) (*one[Project], error) {
	if err != nil {
		return nil, err
	}
	return &one[Project]{ETag: etag(p.UpdatedAt), Body: projectOf(p)}, nil
}
