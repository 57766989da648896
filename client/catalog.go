package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// CatalogDocument is a whole catalogue: what the files of landlord apply say. The
// order of its lists has no meaning.
type CatalogDocument struct {
	Products   []ProductManifest     `json:"products,omitempty"`
	Plans      []PlanDefinition      `json:"plans,omitempty"`
	Meters     []MeterDefinition     `json:"meters,omitempty"`
	Settings   []SettingDefinition   `json:"settings,omitempty"`
	EventTypes []EventTypeDefinition `json:"event_types,omitempty"`
}

// Scope is a right of an API key that a product declares.
type Scope struct {
	Name        string `json:"name"`   // noun:verb
	Access      string `json:"access"` // read or write; a frozen tenant keeps what reads
	Description string `json:"description,omitempty"`
}

// ProductRateLimit is a limit on how often, that a product declares for whoever
// uses it.
type ProductRateLimit struct {
	RateLimit
	Per string `json:"per"` // tenant or key: who has what it allows
}

// PlanRateLimit are a plan's numbers for a rate limit that the product declares.
type PlanRateLimit struct {
	Name   string `json:"name"`
	Limit  int64  `json:"limit"`
	Window int64  `json:"window"`
	Burst  int64  `json:"burst,omitempty"`
}

// ProductManifest is what a product says about itself.
type ProductManifest struct {
	Name             string         `json:"name"`
	Title            string         `json:"title"`
	Description      string         `json:"description,omitempty"`
	SupportsProjects bool           `json:"supports_projects,omitempty"`
	ConfigSchema     map[string]any `json:"config_schema,omitempty"`  // JSON Schema 2020-12; nil accepts any object
	DefaultConfig    map[string]any `json:"default_config,omitempty"` // in force where a tenant's says nothing
	Scopes           []Scope        `json:"scopes,omitempty"`

	RateLimits []ProductRateLimit `json:"rate_limits,omitempty"`
}

// Product is a product of the platform.
type Product struct {
	ProductManifest
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// PlanProduct is what a plan gives of a product.
type PlanProduct struct {
	Config     map[string]any  `json:"config,omitempty"`
	RateLimits []PlanRateLimit `json:"rate_limits,omitempty"` // other numbers for the product's
}

// PlanKeys is what a plan says about the API keys of its tenants.
type PlanKeys struct {
	MaxAgeDays   int `json:"max_age_days,omitempty"`   // longest life of a key from its issue; 0 is any
	RateLimitRPM int `json:"rate_limit_rpm,omitempty"` // of keys that don't say; 0 is 600
	MaxKeys      int `json:"max_keys,omitempty"`       // that a tenant may have and that work; 0 is any number
}

// PlanWebhooks is what a plan says about the webhook endpoints of its tenants.
type PlanWebhooks struct {
	MaxEndpoints int `json:"max_endpoints,omitempty"` // that a tenant may have; 0 is 20
}

// PlanDefinition is what a plan holds.
type PlanDefinition struct {
	Name        string                 `json:"name"`
	Title       string                 `json:"title"`
	Description string                 `json:"description,omitempty"`
	TrialDays   int                    `json:"trial_days,omitempty"` // 0: tenants start active
	Products    map[string]PlanProduct `json:"products,omitempty"`
	Limits      map[string]*int64      `json:"limits,omitempty"` // by the name that a meter declares; nil is unlimited
	Settings    map[string]any         `json:"settings,omitempty"`
	APIKeys     PlanKeys               `json:"api_keys,omitzero"`
	Webhooks    PlanWebhooks           `json:"webhooks,omitzero"`
	Archived    bool                   `json:"archived,omitempty"` // kept for the tenants that are on it, and for no others
}

// Plan is a bundle that tenants are on.
type Plan struct {
	PlanDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// MeterLimit is a limit that plans and tenants can set on a meter.
type MeterLimit struct {
	Name        string `json:"name"`
	Period      string `json:"period"`          // day, month, year (UTC) or total
	Scale       int64  `json:"scale,omitempty"` // meter's units in one of the limit's; 0 is 1
	Description string `json:"description,omitempty"`
}

// MeterDefinition is what a meter counts.
type MeterDefinition struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	Unit        string       `json:"unit"`        // singular: "byte"
	Aggregation string       `json:"aggregation"` // sum, max, last or unique
	Limits      []MeterLimit `json:"limits,omitempty"`
}

// Meter is something that is counted for each tenant and day.
type Meter struct {
	MeterDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// SettingDefinition is a setting or feature flag that tenants can have.
type SettingDefinition struct {
	Name        string         `json:"name"`
	Title       string         `json:"title"`
	Description string         `json:"description,omitempty"`
	Schema      map[string]any `json:"schema"` // JSON Schema 2020-12 of a value
	Default     any            `json:"default"`
}

// Setting is a defined setting.
type Setting struct {
	SettingDefinition
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// EventTypeDefinition is a kind of event that products publish.
type EventTypeDefinition struct {
	Name        string         `json:"name"` // noun.verb
	Description string         `json:"description,omitempty"`
	Schema      map[string]any `json:"schema,omitempty"` // of the payload; nil accepts any
}

// EventType is a kind of event that can be subscribed to.
type EventType struct {
	EventTypeDefinition
	BuiltIn   bool      `json:"built_in"` // one of landlord's own
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// CurrentCatalog is the catalogue in force.
type CurrentCatalog struct {
	Version   int64           `json:"version"`    // counts the applies that changed something
	AppliedBy string          `json:"applied_by"` // actor type and id; "" before the first apply
	AppliedAt *time.Time      `json:"applied_at"`
	Catalog   CatalogDocument `json:"catalog"` // applied, it changes nothing
}

// CatalogApplied is what an apply did, or, of a dry run, would do.
type CatalogApplied struct {
	Version int64           `json:"version"`
	DryRun  bool            `json:"dry_run"`
	Changes []CatalogChange `json:"changes"`
	InUse   []CatalogUse    `json:"in_use"` // of a dry run: why the apply would be refused
}

// CatalogChange is what an apply does with one object.
type CatalogChange struct {
	Op     string               `json:"op"`   // create, update or remove
	Kind   string               `json:"kind"` // product, meter, setting, event_type or plan
	Name   string               `json:"name"`
	Fields []CatalogFieldChange `json:"fields,omitempty"` // of an update
}

// CatalogFieldChange is one field that an update changes; nil is "none there",
// which is not the same as null.
type CatalogFieldChange struct {
	Field string          `json:"field"` // path below the object: scopes[renders:create].access
	From  json.RawMessage `json:"from,omitempty"`
	To    json.RawMessage `json:"to,omitempty"`
}

// CatalogUse is an object that tenants use and an apply would take away or break.
type CatalogUse struct {
	Kind    string   `json:"kind"` // as in CatalogChange, or limit
	Name    string   `json:"name"`
	Breaks  bool     `json:"breaks"` // it stays, but its new schema refuses what tenants have
	Tenants int64    `json:"tenants"`
	First   []string `json:"first"` // slugs of the first five
	Message string   `json:"message"`
}

// Catalog is what the platform sells and measures.
type Catalog struct{ c *Client }

// Apply makes a document the whole catalogue: what it does not have is removed.
// It fails with catalog_in_use, and changes nothing, where tenants use what would
// go. A dry run only tells. Applying the same document again changes nothing.
func (s *Catalog) Apply(ctx context.Context, d CatalogDocument, dryRun bool) (*CatalogApplied, error) {
	q := url.Values{}
	if dryRun {
		q.Set("dry_run", "true")
	}
	out := &CatalogApplied{}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: path("catalog", "apply"), query: q, body: d, out: out}))
}

// Get returns the catalogue in force.
func (s *Catalog) Get(ctx context.Context) (*CurrentCatalog, error) {
	out := &CurrentCatalog{}
	return result(out, s.c.do(ctx, request{method: http.MethodGet, path: path("catalog"), out: out}))
}

// Product returns a product.
func (s *Catalog) Product(ctx context.Context, name string) (*Product, error) {
	out := &Product{}
	return result(out, s.c.do(ctx, request{method: http.MethodGet, path: path("products", name), out: out}))
}

// Plan returns a plan.
func (s *Catalog) Plan(ctx context.Context, name string) (*Plan, error) {
	out := &Plan{}
	return result(out, s.c.do(ctx, request{method: http.MethodGet, path: path("plans", name), out: out}))
}

// Products returns a page of the products, by name.
func (s *Catalog) Products(ctx context.Context, o ListOptions) (*Page[Product], error) {
	return list[Product](ctx, s.c, path("products"), o.query())
}

// Plans returns a page of the plans, by name, archived ones included.
func (s *Catalog) Plans(ctx context.Context, o ListOptions) (*Page[Plan], error) {
	return list[Plan](ctx, s.c, path("plans"), o.query())
}

// Meters returns a page of the meters, by name.
func (s *Catalog) Meters(ctx context.Context, o ListOptions) (*Page[Meter], error) {
	return list[Meter](ctx, s.c, path("meters"), o.query())
}

// Settings returns a page of the setting definitions, by name.
func (s *Catalog) Settings(ctx context.Context, o ListOptions) (*Page[Setting], error) {
	return list[Setting](ctx, s.c, path("setting-definitions"), o.query())
}

// EventTypes returns a page of the event types, by name, landlord's own among them.
func (s *Catalog) EventTypes(ctx context.Context, o ListOptions) (*Page[EventType], error) {
	return list[EventType](ctx, s.c, path("event-types"), o.query())
}

// ProductTenants returns a page of the tenants that have a product, the oldest
// first. It needs a platform credential.
func (s *Catalog) ProductTenants(ctx context.Context, product string, o ListOptions) (*Page[ProductTenant], error) {
	return list[ProductTenant](ctx, s.c, path("products", product, "tenants"), o.query())
}

// AllProductTenants walks all pages of ProductTenants.
func (s *Catalog) AllProductTenants(ctx context.Context, product string) iter.Seq2[ProductTenant, error] {
	return all(ctx, "", func(ctx context.Context, cursor string) (*Page[ProductTenant], error) {
		return s.ProductTenants(ctx, product, ListOptions{Limit: 200, Cursor: cursor})
	})
}

func list[T any](ctx context.Context, c *Client, path string, q url.Values) (*Page[T], error) {
	p := &Page[T]{}
	return result(p, c.do(ctx, request{method: http.MethodGet, path: path, query: q, out: p}))
}
