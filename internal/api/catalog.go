package api

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/catalog"
)

// Scope is a right of an API key that a product declares.
type Scope struct {
	Name        string `json:"name" maxLength:"127" example:"renders:create" doc:"noun:verb."`
	Access      string `json:"access" enum:"read,write" doc:"A frozen tenant keeps the scopes that read."`
	Description string `json:"description,omitempty" maxLength:"2000"`
}

// ProductRateLimit is a limit on how often, that a product declares for whoever uses it.
type ProductRateLimit struct {
	RateLimit
	Per string `json:"per" enum:"tenant,key" doc:"Who has what it allows: all keys of a tenant together, or each key."`
}

// PlanRateLimit are a plan's numbers for a rate limit that the product declares.
type PlanRateLimit struct {
	Name   string `json:"name" minLength:"1" maxLength:"40" example:"renders"`
	Limit  int64  `json:"limit" minimum:"1" maximum:"1000000000" example:"1000"`
	Window int64  `json:"window" minimum:"1" maximum:"2678400" example:"60" doc:"Seconds."`
	Burst  int64  `json:"burst,omitempty" minimum:"1" doc:"Left out, the limit."`
}

// ProductManifest is what a product says about itself.
type ProductManifest struct {
	Name             string         `json:"name" maxLength:"63" example:"render" doc:"a-z, 0-9 and -; begins with a letter."`
	Title            string         `json:"title" maxLength:"200" example:"Rendering"`
	Description      string         `json:"description,omitempty" maxLength:"2000"`
	SupportsProjects bool           `json:"supports_projects,omitempty" doc:"Whether tenants of this product may have projects."`
	ConfigSchema     map[string]any `json:"config_schema,omitempty" doc:"JSON Schema (2020-12) of a tenant's configuration; left out, any object will do. It refers to no other document."`
	DefaultConfig    map[string]any `json:"default_config,omitempty" doc:"In force where a tenant's configuration says nothing. May leave out what the schema requires."`
	Scopes           []Scope        `json:"scopes,omitempty" maxItems:"200"`

	RateLimits []ProductRateLimit `json:"rate_limits,omitempty" maxItems:"10" doc:"Of whoever uses the product. A tenant's own limit of the name takes the place of one."`
}

// Product is a product of the platform.
type Product struct {
	ProductManifest
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PlanProduct is what a plan gives of a product.
type PlanProduct struct {
	Config     map[string]any  `json:"config,omitempty" doc:"Laid over the product's default_config."`
	RateLimits []PlanRateLimit `json:"rate_limits,omitempty" maxItems:"10" doc:"Other numbers for limits that the product declares. They are read, not copied."`
}

// PlanKeys is what a plan says about the API keys of its tenants.
type PlanKeys struct {
	MaxAgeDays   int `json:"max_age_days,omitempty" minimum:"1" maximum:"3650" example:"365" doc:"Longest life of a key from its issue. A tenant's key policy may say less, not more."`
	RateLimitRPM int `json:"rate_limit_rpm,omitempty" minimum:"1" maximum:"1000000" doc:"Of keys that don't say; left out, 600."`
	MaxKeys      int `json:"max_keys,omitempty" minimum:"1" maximum:"1000000" doc:"How many a tenant may have that are neither revoked nor expired nor replaced."`
}

// PlanWebhooks is what a plan says about the webhook endpoints of its tenants.
type PlanWebhooks struct {
	MaxEndpoints int `json:"max_endpoints,omitempty" minimum:"1" maximum:"1000" doc:"How many a tenant may have; left out, 20."`
}

// PlanDefinition is what a plan holds.
type PlanDefinition struct {
	Name        string                 `json:"name" maxLength:"63" example:"starter" doc:"a-z, 0-9 and -; begins with a letter."`
	Title       string                 `json:"title" maxLength:"200" example:"Starter"`
	Description string                 `json:"description,omitempty" maxLength:"2000"`
	TrialDays   int                    `json:"trial_days,omitempty" minimum:"0" maximum:"3650" doc:"Left out or 0, tenants of the plan start active."`
	Products    map[string]PlanProduct `json:"products,omitempty" doc:"By the product's name."`
	Limits      map[string]*int64      `json:"limits,omitempty" doc:"By the name that a meter declares, in the limit's unit; null is unlimited."`
	Settings    map[string]any         `json:"settings,omitempty" doc:"By the setting's name: where tenants of the plan start from."`
	APIKeys     PlanKeys               `json:"api_keys,omitzero" doc:"Bounds of the tenants' API keys, for those that are made or changed from now on."`
	Webhooks    PlanWebhooks           `json:"webhooks,omitzero" doc:"Bounds of the tenants' webhook endpoints, for those that are made from now on."`
	Archived    bool                   `json:"archived,omitempty" doc:"Kept for the tenants that are on it, and for no others."`
}

// Plan is a bundle that tenants are on.
type Plan struct {
	PlanDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// MeterLimit is a limit that plans and tenants can set on a meter.
type MeterLimit struct {
	Name        string `json:"name" maxLength:"63" example:"max_storage_gb"`
	Period      string `json:"period" enum:"day,month,year,total" doc:"What it counts over, in UTC; total is a level, or everything ever."`
	Scale       int64  `json:"scale,omitempty" minimum:"1" doc:"How many of the meter's units one unit of the limit is; left out, 1."`
	Description string `json:"description,omitempty" maxLength:"2000"`
}

// MeterDefinition is what a meter counts.
type MeterDefinition struct {
	Name        string       `json:"name" maxLength:"63" example:"storage_bytes" doc:"a-z, 0-9 and _; begins with a letter."`
	Title       string       `json:"title" maxLength:"200" example:"Storage"`
	Description string       `json:"description,omitempty" maxLength:"2000"`
	Unit        string       `json:"unit" maxLength:"32" example:"byte" doc:"Singular."`
	Aggregation string       `json:"aggregation" enum:"sum,max,last,unique" doc:"How the values of a day become one."`
	Limits      []MeterLimit `json:"limits,omitempty" maxItems:"20" doc:"At most one for each period."`
}

// Meter is something that is counted for each tenant and day.
type Meter struct {
	MeterDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// SettingDefinition is a setting or feature flag that tenants can have.
type SettingDefinition struct {
	Name        string         `json:"name" maxLength:"100" example:"max_resolution" doc:"Words of a-z, 0-9 and _, joined by dots."`
	Title       string         `json:"title" maxLength:"200" example:"Highest resolution"`
	Description string         `json:"description,omitempty" maxLength:"2000"`
	Schema      map[string]any `json:"schema" doc:"JSON Schema (2020-12) of a value."`
	Default     any            `json:"default" doc:"What holds where nobody has set a value."`
}

// Setting is a defined setting.
type Setting struct {
	SettingDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// EventTypeDefinition is a kind of event that products publish.
type EventTypeDefinition struct {
	Name        string         `json:"name" maxLength:"100" example:"render.completed" doc:"noun.verb."`
	Description string         `json:"description,omitempty" maxLength:"2000"`
	Schema      map[string]any `json:"schema,omitempty" doc:"JSON Schema (2020-12) of the payload; left out, any will do."`
}

// EventType is a kind of event that can be subscribed to.
type EventType struct {
	EventTypeDefinition
	BuiltIn   bool      `json:"built_in" doc:"Whether it is one of landlord's own, which no catalogue defines."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// CatalogDocument is a whole catalogue: the JSON of the files that the command
// landlord apply reads. The order of its lists has no meaning.
type CatalogDocument struct {
	Products   []ProductManifest     `json:"products,omitempty"`
	Plans      []PlanDefinition      `json:"plans,omitempty"`
	Meters     []MeterDefinition     `json:"meters,omitempty"`
	Settings   []SettingDefinition   `json:"settings,omitempty"`
	EventTypes []EventTypeDefinition `json:"event_types,omitempty"`
}

// Catalog is the catalogue in force.
type Catalog struct {
	Version   int64           `json:"version" doc:"Counts the applies that changed something."`
	AppliedBy string          `json:"applied_by,omitempty" example:"user:operator_01jd3q8v6ze3nbq2m5xk7c9w4t" doc:"Actor type and id."`
	AppliedAt *time.Time      `json:"applied_at,omitempty"`
	Catalog   CatalogDocument `json:"catalog" doc:"A document that, applied, changes nothing."`
}

// CatalogApplied is what an apply did, or, of a dry run, would do.
type CatalogApplied struct {
	Version int64           `json:"version" doc:"Of the catalogue; a dry run, and an apply without changes, leave it."`
	DryRun  bool            `json:"dry_run"`
	Changes []CatalogChange `json:"changes" doc:"By kind and name; empty when the catalogue is so already."`
	InUse   []CatalogUse    `json:"in_use" doc:"Of a dry run: why the apply would be refused."`
}

// CatalogChange is what an apply does with one object.
type CatalogChange struct {
	Op     string               `json:"op" enum:"create,update,remove"`
	Kind   string               `json:"kind" enum:"product,meter,setting,event_type,plan"`
	Name   string               `json:"name"`
	Fields []CatalogFieldChange `json:"fields,omitempty" doc:"Of an update."`
}

// CatalogFieldChange is one field that an update changes.
type CatalogFieldChange struct {
	Field string `json:"field" example:"scopes[renders:create].access" doc:"Path below the object."`
	From  any    `json:"from,omitempty" doc:"Absent: it had none."`
	To    any    `json:"to,omitempty" doc:"Absent: it will have none."`
}

// CatalogUse is an object that tenants use and an apply would take away or break.
type CatalogUse struct {
	Kind    string   `json:"kind" enum:"product,meter,limit,setting,event_type,plan"`
	Name    string   `json:"name"`
	Breaks  bool     `json:"breaks" doc:"True: the object stays, but its new schema refuses configurations that tenants have."`
	Tenants int64    `json:"tenants" doc:"How many."`
	First   []string `json:"first" doc:"Slugs of the first five."`
	Message string   `json:"message" doc:"All this, for people."`
}

func (a *API) catalogRoutes() {
	const tag = "Catalogue"
	route(a, op{
		ID: "apply-catalog", Method: "POST", Path: "/v1/catalog/apply", Tag: tag, Summary: "Apply a catalogue",
		Description: "Makes the document the whole catalogue, in one transaction: what it does not have is removed, except the plan starter, which every catalogue has, " +
			"and landlord's own event types. Refuses with catalog_in_use to remove what tenants use and to change a product's schema so that a tenant's configuration breaks it. " +
			"Applying the same document again changes nothing. Needs a platform credential.", Errors: []int{409},
	}, a.applyCatalog)
	route(a, op{
		ID: "get-catalog", Method: "GET", Path: "/v1/catalog", Tag: tag, Summary: "Get the catalogue",
		Description: "The catalogue in force as one document, and who applied it.",
	}, a.getCatalog)
	route(a, op{ID: "list-products", Method: "GET", Path: "/v1/products", Tag: tag, Summary: "List products", Description: "By name."}, a.listProducts)
	route(a, op{ID: "get-product", Method: "GET", Path: "/v1/products/{product}", Tag: tag, Summary: "Get a product"}, a.getProduct)
	route(a, op{ID: "list-plans", Method: "GET", Path: "/v1/plans", Tag: tag, Summary: "List plans", Description: "By name, archived ones included."}, a.listPlans)
	route(a, op{ID: "get-plan", Method: "GET", Path: "/v1/plans/{plan}", Tag: tag, Summary: "Get a plan"}, a.getPlan)
	route(a, op{ID: "list-meters", Method: "GET", Path: "/v1/meters", Tag: tag, Summary: "List meters", Description: "By name."}, a.listMeters)
	route(a, op{ID: "list-setting-definitions", Method: "GET", Path: "/v1/setting-definitions", Tag: tag, Summary: "List setting definitions", Description: "By name."}, a.listSettingDefinitions)
	route(a, op{ID: "list-event-types", Method: "GET", Path: "/v1/event-types", Tag: tag, Summary: "List event types", Description: "By name, landlord's own among them."}, a.listEventTypes)
}

type applyCatalogInput struct {
	DryRun bool `query:"dry_run" doc:"Only tell what would change, and what would be refused."`
	Body   CatalogDocument
}

func (a *API) applyCatalog(ctx context.Context, in *applyCatalogInput) (*plain[CatalogApplied], error) {
	done, err := a.s.Catalog.Apply(ctx, documentFrom(in.Body), in.DryRun)
	if err != nil {
		return nil, err
	}
	out := CatalogApplied{Version: done.Version, DryRun: in.DryRun, Changes: []CatalogChange{}, InUse: []CatalogUse{}}
	for _, c := range done.Changes {
		change := CatalogChange{Op: string(c.Op), Kind: c.Kind, Name: c.Name}
		for _, f := range c.Fields {
			field := CatalogFieldChange{Field: f.Field}
			if f.From != nil {
				field.From = f.From
			}
			if f.To != nil {
				field.To = f.To
			}
			change.Fields = append(change.Fields, field)
		}
		out.Changes = append(out.Changes, change)
	}
	for _, u := range done.InUse {
		out.InUse = append(out.InUse, CatalogUse{Kind: u.Kind, Name: u.Name, Breaks: u.Breaks, Tenants: u.Tenants, First: u.First, Message: u.String()})
	}
	return &plain[CatalogApplied]{out}, nil
}

func (a *API) getCatalog(ctx context.Context, _ *struct{}) (*plain[Catalog], error) {
	d, state, err := a.s.Catalog.Current(ctx)
	if err != nil {
		return nil, err
	}
	return &plain[Catalog]{Catalog{
		Version: state.Version, AppliedBy: state.AppliedBy, AppliedAt: utc(state.AppliedAt), Catalog: documentOf(d),
	}}, nil
}

type listInput struct{ PageQuery }

func (a *API) listProducts(ctx context.Context, in *listInput) (*listed[Product], error) {
	p, err := a.s.Catalog.Products(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, productOf), nil
}

func (a *API) listPlans(ctx context.Context, in *listInput) (*listed[Plan], error) {
	p, err := a.s.Catalog.Plans(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, planOf), nil
}

func (a *API) listMeters(ctx context.Context, in *listInput) (*listed[Meter], error) {
	p, err := a.s.Catalog.Meters(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(m catalog.Meter) Meter { return Meter{meterOf(m), m.CreatedAt.UTC(), m.UpdatedAt.UTC()} }), nil
}

func (a *API) listSettingDefinitions(ctx context.Context, in *listInput) (*listed[Setting], error) {
	p, err := a.s.Catalog.Settings(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(s catalog.Setting) Setting { return Setting{settingOf(s), s.CreatedAt.UTC(), s.UpdatedAt.UTC()} }), nil
}

func (a *API) listEventTypes(ctx context.Context, in *listInput) (*listed[EventType], error) {
	p, err := a.s.Catalog.EventTypes(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return listOf(p, func(e catalog.EventType) EventType {
		return EventType{eventTypeOf(e), e.BuiltIn, e.CreatedAt.UTC(), e.UpdatedAt.UTC()}
	}), nil
}

// ProductPath is embedded by the input of every operation on a product.
type ProductPath struct {
	Product string `path:"product" maxLength:"63" doc:"Name of the product." example:"render"`
}

type getProductInput struct{ ProductPath }

func (a *API) getProduct(ctx context.Context, in *getProductInput) (*plain[Product], error) {
	p, err := a.s.Catalog.Product(ctx, in.Product)
	if err != nil {
		return nil, err
	}
	return &plain[Product]{productOf(p)}, nil
}

type getPlanInput struct {
	Plan string `path:"plan" maxLength:"63" doc:"Name of the plan." example:"starter"`
}

func (a *API) getPlan(ctx context.Context, in *getPlanInput) (*plain[Plan], error) {
	p, err := a.s.Catalog.Plan(ctx, in.Plan)
	if err != nil {
		return nil, err
	}
	return &plain[Plan]{planOf(p)}, nil
}

func productOf(p catalog.Product) Product {
	return Product{manifestOf(p), p.CreatedAt.UTC(), p.UpdatedAt.UTC()}
}

func planOf(p catalog.Plan) Plan {
	return Plan{planDefinitionOf(p), p.CreatedAt.UTC(), p.UpdatedAt.UTC()}
}

// The wire types and the catalogue's differ in nothing yet; they are copied field
// by field, so that one can change without the other.

func documentOf(d catalog.Document) CatalogDocument {
	return CatalogDocument{
		Products: each(d.Products, manifestOf), Plans: each(d.Plans, planDefinitionOf), Meters: each(d.Meters, meterOf),
		Settings: each(d.Settings, settingOf), EventTypes: each(d.EventTypes, eventTypeOf),
	}
}

func manifestOf(p catalog.Product) ProductManifest {
	return ProductManifest{
		Name: p.Name, Title: p.Title, Description: p.Description, SupportsProjects: p.SupportsProjects,
		ConfigSchema: p.ConfigSchema, DefaultConfig: p.DefaultConfig,
		Scopes: each(p.Scopes, func(s catalog.Scope) Scope { return Scope{s.Name, string(s.Access), s.Description} }),
		RateLimits: each(p.RateLimits, func(l catalog.RateLimit) ProductRateLimit {
			return ProductRateLimit{RateLimit{l.Name, l.Limit, l.Window, l.Burst, l.NamedOnly}, string(l.Per)}
		}),
	}
}

func planDefinitionOf(p catalog.Plan) PlanDefinition {
	products := make(map[string]PlanProduct, len(p.Products))
	for name, v := range p.Products {
		products[name] = PlanProduct{v.Config, each(v.RateLimits, func(l catalog.PlanRateLimit) PlanRateLimit { return PlanRateLimit(l) })}
	}
	return PlanDefinition{
		Name: p.Name, Title: p.Title, Description: p.Description, TrialDays: p.TrialDays,
		Products: products, Limits: p.Limits, Settings: p.Settings, APIKeys: PlanKeys(p.APIKeys), Webhooks: PlanWebhooks(p.Webhooks), Archived: p.Archived,
	}
}

func meterOf(m catalog.Meter) MeterDefinition {
	return MeterDefinition{
		Name: m.Name, Title: m.Title, Description: m.Description, Unit: m.Unit, Aggregation: string(m.Aggregation),
		Limits: each(m.Limits, func(l catalog.Limit) MeterLimit { return MeterLimit{l.Name, string(l.Period), l.Scale, l.Description} }),
	}
}

func settingOf(s catalog.Setting) SettingDefinition {
	return SettingDefinition{s.Name, s.Title, s.Description, s.Schema, s.Default}
}

func eventTypeOf(e catalog.EventType) EventTypeDefinition {
	return EventTypeDefinition{e.Name, e.Description, e.Schema}
}

func documentFrom(d CatalogDocument) catalog.Document {
	return catalog.Document{
		Products: each(d.Products, func(p ProductManifest) catalog.Product {
			return catalog.Product{
				Name: p.Name, Title: p.Title, Description: p.Description, SupportsProjects: p.SupportsProjects,
				ConfigSchema: p.ConfigSchema, DefaultConfig: p.DefaultConfig,
				Scopes: each(p.Scopes, func(s Scope) catalog.Scope {
					return catalog.Scope{Name: s.Name, Access: catalog.Access(s.Access), Description: s.Description}
				}),
				RateLimits: each(p.RateLimits, func(l ProductRateLimit) catalog.RateLimit {
					return catalog.RateLimit{
						Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst, NamedOnly: l.NamedOnly, Per: catalog.Per(l.Per),
					}
				}),
			}
		}),
		Plans: each(d.Plans, func(p PlanDefinition) catalog.Plan {
			products := make(map[string]catalog.PlanProduct, len(p.Products))
			for name, v := range p.Products {
				products[name] = catalog.PlanProduct{
					Config: v.Config, RateLimits: each(v.RateLimits, func(l PlanRateLimit) catalog.PlanRateLimit { return catalog.PlanRateLimit(l) }),
				}
			}
			return catalog.Plan{
				Name: p.Name, Title: p.Title, Description: p.Description, TrialDays: p.TrialDays,
				Products: products, Limits: p.Limits, Settings: p.Settings, APIKeys: catalog.PlanKeys(p.APIKeys), Webhooks: catalog.PlanWebhooks(p.Webhooks), Archived: p.Archived,
			}
		}),
		Meters: each(d.Meters, func(m MeterDefinition) catalog.Meter {
			return catalog.Meter{
				Name: m.Name, Title: m.Title, Description: m.Description, Unit: m.Unit, Aggregation: catalog.Aggregation(m.Aggregation),
				Limits: each(m.Limits, func(l MeterLimit) catalog.Limit {
					return catalog.Limit{Name: l.Name, Period: catalog.Period(l.Period), Scale: l.Scale, Description: l.Description}
				}),
			}
		}),
		Settings: each(d.Settings, func(s SettingDefinition) catalog.Setting {
			return catalog.Setting{Name: s.Name, Title: s.Title, Description: s.Description, Schema: s.Schema, Default: s.Default}
		}),
		EventTypes: each(d.EventTypes, func(e EventTypeDefinition) catalog.EventType {
			return catalog.EventType{Name: e.Name, Description: e.Description, Schema: e.Schema}
		}),
	}
}

// each turns a list of one type into a list of another; an empty one is nil.
func each[A, B any](in []A, f func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
