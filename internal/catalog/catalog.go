package catalog

import (
	"time"

	"github.com/landlordhq/landlord/internal/fault"
)

// Document is a whole catalogue, as its files and the API write it. The order of
// its lists has no meaning.
type Document struct {
	Products   []Product   `json:"products,omitempty"`
	Plans      []Plan      `json:"plans,omitempty"`
	Meters     []Meter     `json:"meters,omitempty"`
	Settings   []Setting   `json:"settings,omitempty"`
	EventTypes []EventType `json:"event_types,omitempty"`
}

// Access says whether a scope can change anything. A frozen tenant keeps the
// scopes that read.
type Access string

// The accesses of a scope.
const (
	Read  Access = "read"
	Write Access = "write"
)

// Scope is a right of an API key that a product declares and checks.
type Scope struct {
	Name        string `json:"name"` // "renders:create"
	Access      Access `json:"access"`
	Description string `json:"description,omitempty"`
}

// RateLimit is a limit on how often, that a product declares for whoever uses it.
type RateLimit struct {
	Name      string `json:"name"` // "renders"
	Limit     int64  `json:"limit"`
	Window    int64  `json:"window"`          // seconds in which Limit units come back
	Burst     int64  `json:"burst,omitempty"` // how many may come at once; 0: Limit
	NamedOnly bool   `json:"named_only,omitempty"`
	Per       Per    `json:"per"`
}

// Per says who has what a product's rate limit allows: all keys of a tenant
// together, or each key.
type Per string

// The two of them.
const (
	PerTenant Per = "tenant"
	PerKey    Per = "key"
)

// PlanRateLimit are a plan's numbers for a rate limit that the product declares.
// They are read, like the product's own, and reach every tenant of the plan at once.
type PlanRateLimit struct {
	Name   string `json:"name"`
	Limit  int64  `json:"limit"`
	Window int64  `json:"window"`
	Burst  int64  `json:"burst,omitempty"`
}

// Product is something tenants may be entitled to. Its manifest is what the
// product's own people say about it.
type Product struct {
	Name             string         `json:"name" db:"name"`
	Title            string         `json:"title" db:"title"`
	Description      string         `json:"description,omitempty" db:"description"`
	SupportsProjects bool           `json:"supports_projects,omitempty" db:"supports_projects"`
	ConfigSchema     map[string]any `json:"config_schema,omitempty" db:"config_schema"`
	DefaultConfig    map[string]any `json:"default_config,omitempty" db:"default_config"`
	Scopes           []Scope        `json:"scopes,omitempty" db:"scopes"`
	RateLimits       []RateLimit    `json:"rate_limits,omitempty" db:"rate_limits"`

	CreatedAt time.Time `json:"-" db:"created_at"`
	UpdatedAt time.Time `json:"-" db:"updated_at"`
}

// EffectiveConfig returns what is in force for a tenant whose own config is own.
func (p Product) EffectiveConfig(own map[string]any) map[string]any {
	return Merge(p.DefaultConfig, own)
}

// CheckConfig adds a complaint for each rule of the manifest that own, laid over
// the defaults, breaks. Paths begin with prefix.
func (p Product) CheckConfig(all *fault.Fields, prefix string, own map[string]any) error {
	s, err := CompileSchema(p.ConfigSchema)
	if err != nil {
		return err
	}
	s.Validate(all, prefix, p.EffectiveConfig(own))
	return nil
}

// PlanProduct is what a plan gives of a product.
type PlanProduct struct {
	Config     map[string]any  `json:"config,omitempty"`
	RateLimits []PlanRateLimit `json:"rate_limits,omitempty"`
}

// PlanKeys is what a plan says about the API keys of its tenants. It is read when
// a key is made or changed, so that an edit binds every tenant of the plan from
// then on; keys that are there stay as they are.
type PlanKeys struct {
	MaxAgeDays   int `json:"max_age_days,omitempty"`   // longest life of a key from its issue; 0: any
	RateLimitRPM int `json:"rate_limit_rpm,omitempty"` // of keys that don't say; 0: landlord's own default
	MaxKeys      int `json:"max_keys,omitempty"`       // how many a tenant may have that work; 0: any number
}

// PlanWebhooks is what a plan says about the webhook endpoints of its tenants. It is
// read when one is made.
type PlanWebhooks struct {
	MaxEndpoints int `json:"max_endpoints,omitempty"` // how many a tenant may have; 0: landlord's own default
}

// Plan is a bundle that a tenant is on: products, limits and settings. Tenants
// take it over when they are created and when they change plan; a plan that is
// edited later changes nobody until it is applied to them again.
type Plan struct {
	Name        string                 `json:"name" db:"name"`
	Title       string                 `json:"title" db:"title"`
	Description string                 `json:"description,omitempty" db:"description"`
	TrialDays   int                    `json:"trial_days,omitempty" db:"trial_days"`
	Products    map[string]PlanProduct `json:"products,omitempty" db:"products"`
	// Limits are values by the names that meters declare; null is unlimited. A
	// limit that the plan does not name is none of the plan's business.
	Limits   map[string]*int64 `json:"limits,omitempty" db:"limits"`
	Settings map[string]any    `json:"settings,omitempty" db:"settings"`
	APIKeys  PlanKeys          `json:"api_keys,omitzero" db:"api_keys"`
	Webhooks PlanWebhooks      `json:"webhooks,omitzero" db:"webhooks"`
	// Archived keeps the plan for the tenants that are on it and from all others.
	Archived bool `json:"archived,omitempty" db:"archived"`

	CreatedAt time.Time `json:"-" db:"created_at"`
	UpdatedAt time.Time `json:"-" db:"updated_at"`
}

// Aggregation says how a meter's values of a day become one.
type Aggregation string

// The aggregations.
const (
	Sum    Aggregation = "sum"    // every event adds: calls, seconds
	Max    Aggregation = "max"    // a level; the day's highest value counts
	Last   Aggregation = "last"   // a level; the day's last value counts: bytes stored
	Unique Aggregation = "unique" // the number of distinct values: users active
)

// Aggregations lists the aggregations.
func Aggregations() []Aggregation { return []Aggregation{Sum, Max, Last, Unique} }

// Period is the time a limit counts over.
type Period string

// The periods.
const (
	Day   Period = "day" // UTC, as are the others
	Month Period = "month"
	Year  Period = "year"
	Total Period = "total" // a level, or everything ever
)

// Periods lists the periods.
func Periods() []Period { return []Period{Day, Month, Year, Total} }

// Limit is a limit that plans and tenants can set on a meter, at most one for
// each period. Tables hold limits in the meter's unit, so that enforcing one
// needs no conversion; people say and read them in the limit's own.
type Limit struct {
	Name        string `json:"name"` // "max_storage_gb"
	Period      Period `json:"period"`
	Scale       int64  `json:"scale,omitempty"` // how many of the meter's units one unit of the limit is; 0 is 1
	Description string `json:"description,omitempty"`
}

func (l Limit) scale() int64 { return max(l.Scale, 1) }

// Meter is something that is counted for each tenant and day.
type Meter struct {
	Name        string      `json:"name" db:"name"`
	Title       string      `json:"title" db:"title"`
	Description string      `json:"description,omitempty" db:"description"`
	Unit        string      `json:"unit" db:"unit"` // singular: "render", "byte", "second"
	Aggregation Aggregation `json:"aggregation" db:"aggregation"`
	Limits      []Limit     `json:"limits,omitempty" db:"limits"`

	CreatedAt time.Time `json:"-" db:"created_at"`
	UpdatedAt time.Time `json:"-" db:"updated_at"`
}

// Setting defines a setting or feature flag: its values and what holds where
// nobody has set one.
type Setting struct {
	Name        string         `json:"name" db:"name"`
	Title       string         `json:"title" db:"title"`
	Description string         `json:"description,omitempty" db:"description"`
	Schema      map[string]any `json:"schema" db:"schema"`
	Default     any            `json:"default" db:"default_value"`

	CreatedAt time.Time `json:"-" db:"created_at"`
	UpdatedAt time.Time `json:"-" db:"updated_at"`
}

// EventType is a kind of event that can be published and subscribed to.
type EventType struct {
	Name        string         `json:"name" db:"name"` // "render.completed"
	Description string         `json:"description,omitempty" db:"description"`
	Schema      map[string]any `json:"schema,omitempty" db:"schema"` // of the payload; none accepts any

	BuiltIn   bool      `json:"-" db:"built_in"`
	CreatedAt time.Time `json:"-" db:"created_at"`
	UpdatedAt time.Time `json:"-" db:"updated_at"`
}
