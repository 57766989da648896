package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

var (
	namePattern  = regexp.MustCompile(`^[a-z][a-z0-9-]{1,62}$`)                          // stands in URLs
	meterPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{1,62}$`)                          // meters and their limits
	dotPattern   = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)           // settings
	eventPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)           // noun.verb
	scopePattern = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,62}:[a-z][a-z0-9_.-]{0,62}$`) // noun:verb
)

// The bounds of a catalogue, so that a mistake stays a mistake.
const (
	maxObjects     = 1000
	maxScopes      = 200
	maxName        = 100
	maxTitle       = 200
	maxDescription = 2000
	maxTrialDays   = 3650
	maxKeyDays     = 3650
	maxKeyRPM      = 1_000_000
	maxKeys        = 1_000_000
	maxEndpoints   = 1000
	maxScale       = 1_000_000_000_000
	maxLimit       = 1 << 53 // what JSON numbers carry exactly
)

// check collects complaints about a document; d is what the names in it refer to.
type check struct {
	fault.Fields
	products map[string]Product
	limits   map[string]Limit
	settings map[string]Setting
}

// Validate reports every rule that the document breaks, with the path of each
// field: plans[2].products.render.config.max_seats.
func (d Document) Validate() error {
	c := check{products: map[string]Product{}, limits: map[string]Limit{}, settings: map[string]Setting{}}
	n := len(d.Products) + len(d.Plans) + len(d.Meters) + len(d.Settings) + len(d.EventTypes)
	if n > maxObjects {
		return fault.InvalidField("", "too_many", "A catalogue holds at most %d objects; this one has %d.", maxObjects, n)
	}
	access := map[string]string{} // scope → the access it was first declared with
	for i, p := range d.Products {
		c.product(fmt.Sprintf("products[%d]", i), p, access)
	}
	for i, m := range d.Meters {
		c.meter(fmt.Sprintf("meters[%d]", i), m)
	}
	for i, s := range d.Settings {
		c.setting(fmt.Sprintf("settings[%d]", i), s)
	}
	for i, e := range d.EventTypes {
		c.eventType(fmt.Sprintf("event_types[%d]", i), e)
	}
	for i, p := range d.Plans {
		c.plan(fmt.Sprintf("plans[%d]", i), p)
	}
	unique(&c, "products", d.Products, func(p Product) string { return p.Name })
	unique(&c, "plans", d.Plans, func(p Plan) string { return p.Name })
	unique(&c, "meters", d.Meters, func(m Meter) string { return m.Name })
	unique(&c, "settings", d.Settings, func(s Setting) string { return s.Name })
	unique(&c, "event_types", d.EventTypes, func(e EventType) string { return e.Name })
	return c.Err()
}

func unique[T any](c *check, section string, list []T, name func(T) string) {
	seen := map[string]int{}
	for i, v := range list {
		n := name(v)
		if first, dup := seen[n]; dup && n != "" {
			c.Add(fmt.Sprintf("%s[%d].name", section, i), "duplicate", "%s is already defined, as %s[%d].", n, section, first)
			continue
		}
		seen[n] = i
	}
}

func (c *check) name(at string, re *regexp.Regexp, name, example string) {
	switch {
	case name == "":
		c.Add(at+".name", "required", "A name is required.")
	case len(name) > maxName || !re.MatchString(name):
		c.Add(at+".name", "name_malformed", "%.60q is no such name: write it like %s.", name, example)
	}
}

func (c *check) text(field, s string, limit int, required bool) {
	switch {
	case required && strings.TrimSpace(s) == "":
		c.Add(field, "required", "This is required.")
	case utf8.RuneCountInString(s) > limit:
		c.Add(field, "too_long", "At most %d characters.", limit)
	case strings.ContainsRune(s, 0) || !utf8.ValidString(s):
		c.Add(field, "invalid_text", "This text can't be stored.")
	}
}

// schema compiles a schema, or complains and returns the one that accepts all.
func (c *check) schema(field string, doc map[string]any) *Schema {
	s, err := CompileSchema(doc)
	if err != nil {
		c.Add(field, "schema_malformed", "This is no JSON Schema (2020-12): %v.", err)
		return nil
	}
	return s
}

func (c *check) product(at string, p Product, accesses map[string]string) {
	c.name(at, namePattern, p.Name, "media-render")
	c.text(at+".title", p.Title, maxTitle, true)
	c.text(at+".description", p.Description, maxDescription, false)
	s := c.schema(at+".config_schema", p.ConfigSchema)
	// The defaults may leave out what the schema requires: a plan or an
	// entitlement then has to say it.
	var broken fault.Fields
	s.Validate(&broken, at+".default_config", p.EffectiveConfig(nil))
	for _, f := range broken {
		if f.Code != "required" {
			c.Fields = append(c.Fields, f)
		}
	}
	c.Check(len(p.Scopes) <= maxScopes, at+".scopes", "too_many", "At most %d scopes.", maxScopes)
	seen := map[string]bool{}
	for i, sc := range p.Scopes {
		c.scope(fmt.Sprintf("%s.scopes[%d]", at, i), sc, accesses)
		c.Check(!seen[sc.Name], fmt.Sprintf("%s.scopes[%d].name", at, i), "duplicate", "The scope %s is declared twice.", sc.Name)
		seen[sc.Name] = true
	}
	rateLimits(c, at+".rate_limits", p.RateLimits, RateLimit.rule)
	for i, l := range p.RateLimits {
		c.Check(l.Per == PerTenant || l.Per == PerKey, fmt.Sprintf("%s.rate_limits[%d].per", at, i), "not_one_of", "per is tenant or key.")
	}
	c.products[p.Name] = p
}

// rateLimits checks the limits of a product, or the numbers of a plan for them, in
// which nothing says for whom they are.
func rateLimits[T any](c *check, at string, list []T, as func(T) ratelimit.Rule) {
	rules := make([]ratelimit.Rule, len(list))
	for i, l := range list {
		rules[i] = as(l)
	}
	ratelimit.CheckRules(&c.Fields, at, rules)
}

func (l RateLimit) rule() ratelimit.Rule {
	return ratelimit.Rule{Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst, NamedOnly: l.NamedOnly}
}

func (l PlanRateLimit) rule() ratelimit.Rule {
	return ratelimit.Rule{Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst}
}

func (c *check) scope(at string, s Scope, accesses map[string]string) {
	c.name(at, scopePattern, s.Name, "renders:create")
	c.text(at+".description", s.Description, maxDescription, false)
	if s.Access != Read && s.Access != Write {
		c.Add(at+".access", "not_one_of", "access is read or write.")
		return
	}
	// A key with such a scope would also hold landlord's permission of that name.
	if perm := access.Permission(s.Name); perm.Valid() && (s.Access != Read || !strings.HasSuffix(s.Name, ":read")) {
		c.Add(at+".name", "scope_reserved", "%s is a permission of landlord itself: a product's scope may share the name of one only when both just read.", s.Name)
	}
	// A key for all products has one list of scopes: a name means one thing.
	if first, known := accesses[s.Name]; known && first != string(s.Access) {
		c.Add(at+".access", "scope_conflict", "Another product declares %s with the access %s.", s.Name, first)
	}
	accesses[s.Name] = string(s.Access)
}

func (c *check) meter(at string, m Meter) {
	c.name(at, meterPattern, m.Name, "render_seconds")
	c.text(at+".title", m.Title, maxTitle, true)
	c.text(at+".description", m.Description, maxDescription, false)
	c.text(at+".unit", m.Unit, 32, true)
	c.Check(slices.Contains(Aggregations(), m.Aggregation), at+".aggregation", "not_one_of", "aggregation is sum, max, last or unique.")
	c.Check(len(m.Limits) <= 20, at+".limits", "too_many", "At most 20 limits.")
	periods := map[Period]string{}
	for i, l := range m.Limits {
		here := fmt.Sprintf("%s.limits[%d]", at, i)
		c.name(here, meterPattern, l.Name, "max_storage_gb")
		c.text(here+".description", l.Description, maxDescription, false)
		c.Check(slices.Contains(Periods(), l.Period), here+".period", "not_one_of", "period is day, month, year or total.")
		c.Check(periods[l.Period] == "", here+".period", "duplicate", "The limit %s already has this period.", periods[l.Period])
		c.Check(l.Scale >= 0 && l.Scale <= maxScale, here+".scale", "out_of_range", "scale is from 1 to %d.", int64(maxScale))
		_, dup := c.limits[l.Name]
		c.Check(!dup, here+".name", "duplicate", "The limit %s is declared twice.", l.Name)
		periods[l.Period] = l.Name
		c.limits[l.Name] = l
	}
}

func (c *check) setting(at string, s Setting) {
	c.name(at, dotPattern, s.Name, "max_resolution")
	c.text(at+".title", s.Title, maxTitle, true)
	c.text(at+".description", s.Description, maxDescription, false)
	c.Check(len(s.Schema) > 0, at+".schema", "required", "A setting says what its values are: schema: {type: boolean}.")
	c.schema(at+".schema", s.Schema).Validate(&c.Fields, at+".default", s.Default)
	c.settings[s.Name] = s
}

func (c *check) eventType(at string, e EventType) {
	c.name(at, eventPattern, e.Name, "render.completed")
	c.text(at+".description", e.Description, maxDescription, false)
	c.schema(at+".schema", e.Schema)
	c.Check(!isReservedEvent(e.Name), at+".name", "event_reserved", "Events of %s are landlord's own.", nounOf(e.Name))
}

func (c *check) plan(at string, p Plan) {
	c.name(at, namePattern, p.Name, "starter")
	c.text(at+".title", p.Title, maxTitle, true)
	c.text(at+".description", p.Description, maxDescription, false)
	c.Check(p.TrialDays >= 0 && p.TrialDays <= maxTrialDays, at+".trial_days", "out_of_range", "trial_days is from 0 to %d.", maxTrialDays)
	for _, k := range []struct {
		field  string
		is, to int
	}{
		{"max_age_days", p.APIKeys.MaxAgeDays, maxKeyDays}, {"rate_limit_rpm", p.APIKeys.RateLimitRPM, maxKeyRPM}, {"max_keys", p.APIKeys.MaxKeys, maxKeys},
	} {
		c.Check(k.is >= 0 && k.is <= k.to, at+".api_keys."+k.field, "out_of_range", "%s is from 1 to %d.", k.field, k.to)
	}
	c.Check(p.Webhooks.MaxEndpoints >= 0 && p.Webhooks.MaxEndpoints <= maxEndpoints, at+".webhooks.max_endpoints", "out_of_range",
		"max_endpoints is from 1 to %d.", maxEndpoints)
	for _, name := range slices.Sorted(maps.Keys(p.Products)) {
		product, known := c.products[name]
		if !known {
			c.Add(at+".products."+name, "product_not_found", "The catalogue has no product %s.", name)
			continue
		}
		// A schema that does not compile was complained about where it stands.
		_ = product.CheckConfig(&c.Fields, at+".products."+name+".config", p.Products[name].Config)
		here := at + ".products." + name + ".rate_limits"
		rateLimits(c, here, p.Products[name].RateLimits, PlanRateLimit.rule)
		for i, l := range p.Products[name].RateLimits {
			declared := slices.ContainsFunc(product.RateLimits, func(of RateLimit) bool { return of.Name == l.Name })
			c.Check(declared, fmt.Sprintf("%s[%d].name", here, i), "rate_limit_not_found", "The product %s declares no rate limit %.60q.", name, l.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
		l, known := c.limits[name]
		c.Check(known, at+".limits."+name, "limit_not_found", "No meter declares a limit %s.", name)
		if v := p.Limits[name]; v != nil {
			most := maxLimit / l.scale()
			c.Check(*v >= 0 && *v <= most, at+".limits."+name, "out_of_range", "A limit is from 0 to %d, or null for none.", most)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
		s, known := c.settings[name]
		if !known {
			c.Add(at+".settings."+name, "setting_not_found", "The catalogue has no setting %s.", name)
			continue
		}
		if compiled, err := CompileSchema(s.Schema); err == nil {
			compiled.Validate(&c.Fields, at+".settings."+name, p.Settings[name])
		}
	}
}
