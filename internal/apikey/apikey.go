package apikey

import (
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// Environment tells keys for real work from keys for trying things out.
type Environment string

// The environments.
const (
	Live Environment = "live"
	Test Environment = "test"
)

// Environments lists the environments.
func Environments() []Environment { return []Environment{Live, Test} }

// Valid reports whether e is an environment.
func (e Environment) Valid() bool { return e == Live || e == Test }

// State is what a key is at an instant. It is computed, not stored.
type State string

// The states, from the strongest: a key that is revoked and expired is revoked.
const (
	Revoked  State = "revoked"  // for good
	Disabled State = "disabled" // until somebody enables it
	Expired  State = "expired"  // past its expires_at, or rotated and past its grace
	Active   State = "active"
)

// States lists the states.
func States() []State { return []State{Active, Disabled, Expired, Revoked} }

// Valid reports whether s is a state.
func (s State) Valid() bool { return slices.Contains(States(), s) }

// The bounds of a key's fields.
const (
	MaxName        = 100
	MaxDescription = 1000
	MaxReason      = 500
	MaxMetadata    = 8 << 10 // bytes of JSON
	MaxRPM         = 1_000_000
	DefaultRPM     = 600
	MaxGrace       = 30 * 24 * time.Hour
	maxActor       = 200 // of created_by
)

// Key is an API key as stored: all but its token, of which only a digest is kept.
type Key struct {
	ID             id.APIKey        `db:"id"`
	TenantID       id.Tenant        `db:"tenant_id"`
	ProjectID      id.Project       `db:"project_id"` // zero: every project of the tenant
	Product        string           `db:"product"`    // "": every product the tenant is entitled to
	Environment    Environment      `db:"environment"`
	Name           string           `db:"name"`
	Description    string           `db:"description"`
	Prefix         string           `db:"prefix"` // ll_live_ and the first 4 characters of the random part; of an imported key as far as it is known
	Last4          string           `db:"last4"`  // likewise
	Scopes         []string         `db:"scopes"`
	AllowedIPs     []netip.Prefix   `db:"allowed_ips"` // none: from everywhere
	RateLimitRPM   int              `db:"rate_limit_rpm"`
	RateLimits     []ratelimit.Rule `db:"rate_limits"` // beside that one
	IsActive       bool             `db:"is_active"`
	DisabledAt     *time.Time       `db:"disabled_at"` // nil while it is on
	DisabledReason string           `db:"disabled_reason"`
	ExpiresAt      *time.Time       `db:"expires_at"`
	RevokedAt      *time.Time       `db:"revoked_at"`
	RevokedReason  string           `db:"revoked_reason"`
	RotatedFrom    id.APIKey        `db:"rotated_from"`  // the key that this one replaced
	RotatedTo      id.APIKey        `db:"rotated_to"`    // the key that replaced this one
	GraceEndsAt    *time.Time       `db:"grace_ends_at"` // with RotatedTo: until when this one still works
	Generation     int              `db:"generation"`    // 1, and one more with each rotation
	OriginID       id.APIKey        `db:"origin_id"`     // the first generation; zero: this one
	LastUsedAt     *time.Time       `db:"last_used_at"`  // at most a second behind
	LastUsedIP     *netip.Addr      `db:"last_used_ip"`
	UsageCount     int64            `db:"usage_count"` // verifications that answered VALID
	Metadata       map[string]any   `db:"metadata"`    // a verification returns it
	ImportedAt     *time.Time       `db:"imported_at"` // nil: its token was made here
	LeakedAt       *time.Time       `db:"leaked_at"`   // when it was first reported as leaked; nil: never
	CreatedBy      string           `db:"created_by"`
	CreatedAt      time.Time        `db:"created_at"`
	UpdatedAt      time.Time        `db:"updated_at"`
}

// TenantKey is a key with the names of its tenant, as a list across tenants shows it.
type TenantKey struct {
	Key

	TenantSlug string `db:"tenant_slug"`
	TenantName string `db:"tenant_name"`
}

// StateAt returns what the key is at an instant.
func (k Key) StateAt(now time.Time) State {
	switch {
	case k.RevokedAt != nil:
		return Revoked
	case !k.IsActive:
		return Disabled
	case past(k.ExpiresAt, now), past(k.GraceEndsAt, now):
		return Expired
	default:
		return Active
	}
}

// issued is when the key's life here began: of an imported one not when another
// system made it.
func (k Key) issued() time.Time {
	if k.ImportedAt != nil {
		return *k.ImportedAt
	}
	return k.CreatedAt
}

// past reports whether an end was reached: at its very instant a key no longer works.
func past(end *time.Time, now time.Time) bool { return end != nil && !now.Before(*end) }

// CreateParams is what a key is made from.
type CreateParams struct {
	TenantID     id.Tenant
	ProjectID    id.Project // zero: every project
	Product      string     // "": every product
	Environment  Environment
	Name         string
	Description  string
	Scopes       []string
	AllowedIPs   []netip.Prefix
	RateLimitRPM int // 0: what the tenant's plan says, else DefaultRPM
	RateLimits   []ratelimit.Rule
	ExpiresAt    *time.Time // nil: never, or as late as the tenant's plan and the policies allow
	Metadata     map[string]any
}

func (p *CreateParams) validate(now time.Time) error {
	var f fault.Fields
	p.check(&f, now)
	checkManagement(&f, p.Scopes, p.Environment, p.ProjectID)
	return f.Err()
}

// check fills in defaults, and complains of what is wrong whatever the key is for.
func (p *CreateParams) check(f *fault.Fields, now time.Time) {
	p.Name = checkName(f, p.Name)
	checkText(f, "description", p.Description, MaxDescription)
	f.Check(p.Environment.Valid(), "environment", "not_one_of", "environment is live or test.")
	p.Scopes = checkScopes(f, p.Scopes)
	p.AllowedIPs = checkNetworks(f, p.AllowedIPs)
	if p.RateLimitRPM != 0 {
		checkRPM(f, p.RateLimitRPM)
	}
	p.RateLimits = checkRateLimits(f, p.RateLimits)
	checkExpiry(f, p.ExpiresAt, now)
	p.Metadata = merge(nil, p.Metadata)
	checkMetadata(f, p.Metadata)
}

// UpdateParams changes a key; absent fields stay as they are.
type UpdateParams struct {
	TenantID     id.Tenant
	ID           id.APIKey
	Name         patch.Field[string]
	Description  patch.Field[string]
	Scopes       patch.Field[[]string]
	AllowedIPs   patch.Field[[]netip.Prefix]
	RateLimitRPM patch.Field[int] // null: as when a key is made that does not say
	RateLimits   patch.Field[[]ratelimit.Rule]
	ExpiresAt    patch.Field[time.Time] // null: likewise
	IsActive     patch.Field[bool]
	Metadata     patch.Field[map[string]any] // merged key by key; null: {}
	IfMatch      time.Time                   // zero: whatever the version
}

// apply changes k as the fields say and returns the names of those that differ.
func (p *UpdateParams) apply(k *Key, now time.Time, rules Rules) ([]string, error) {
	var f fault.Fields
	was := *k
	if p.Name.Apply(&k.Name) {
		k.Name = checkName(&f, k.Name)
	}
	if p.Description.Apply(&k.Description) {
		checkText(&f, "description", k.Description, MaxDescription)
	}
	if p.Scopes.Apply(&k.Scopes) {
		k.Scopes = checkScopes(&f, k.Scopes)
		checkManagement(&f, k.Scopes, k.Environment, k.ProjectID)
	}
	if p.AllowedIPs.Apply(&k.AllowedIPs) {
		k.AllowedIPs = checkNetworks(&f, k.AllowedIPs)
	}
	if p.RateLimitRPM.Apply(&k.RateLimitRPM) {
		if p.RateLimitRPM.IsNull() {
			k.RateLimitRPM = rules.RateLimitRPM
		}
		checkRPM(&f, k.RateLimitRPM)
	}
	if p.RateLimits.Apply(&k.RateLimits) {
		k.RateLimits = checkRateLimits(&f, k.RateLimits)
	}
	if p.ExpiresAt.ApplyPtr(&k.ExpiresAt) {
		k.ExpiresAt = rules.end(&f, k.ExpiresAt, k.issued())
		checkExpiry(&f, k.ExpiresAt, now)
	}
	if p.IsActive.Present() {
		active, ok := p.IsActive.Get()
		f.Check(ok, "is_active", "required", "is_active is true or false.")
		k.turn(active, "", now)
	}
	if m, ok := p.Metadata.Get(); ok {
		k.Metadata = merge(k.Metadata, m)
		checkMetadata(&f, k.Metadata)
	} else if p.Metadata.IsNull() {
		k.Metadata = map[string]any{}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return changed(was, *k), nil
}

// turn switches the key on or off.
func (k *Key) turn(on bool, reason string, now time.Time) {
	switch {
	case on:
		k.IsActive, k.DisabledAt, k.DisabledReason = true, nil, ""
	case k.IsActive:
		k.IsActive, k.DisabledAt, k.DisabledReason = false, &now, reason
	}
}

// changed names the fields that an update may change and that differ.
func changed(a, b Key) []string {
	var out []string
	note := func(differs bool, name string) {
		if differs {
			out = append(out, name)
		}
	}
	note(a.Name != b.Name, "name")
	note(a.Description != b.Description, "description")
	note(!slices.Equal(a.Scopes, b.Scopes), "scopes")
	note(!slices.Equal(a.AllowedIPs, b.AllowedIPs), "allowed_ips")
	note(a.RateLimitRPM != b.RateLimitRPM, "rate_limit_rpm")
	note(!slices.Equal(a.RateLimits, b.RateLimits), "rate_limits")
	note((a.ExpiresAt == nil) != (b.ExpiresAt == nil) || a.ExpiresAt != nil && !a.ExpiresAt.Equal(*b.ExpiresAt), "expires_at")
	note(a.IsActive != b.IsActive, "is_active")
	note(!reflect.DeepEqual(a.Metadata, b.Metadata), "metadata")
	return out
}

// RotateParams replaces a key by a new one.
type RotateParams struct {
	TenantID id.Tenant
	ID       id.APIKey
	// Grace is how long the old key goes on working, exactly; 0 ends it at once.
	Grace time.Duration
	// ExpiresAt is the new key's; absent copies the old one's, null is never, or as
	// late as the tenant's plan and the policies allow.
	ExpiresAt patch.Field[time.Time]
}

// Filter narrows a list of keys.
type Filter struct {
	TenantID       id.Tenant   // ignored by Search
	ProjectID      id.Project  // zero: any
	Product        string      // "": any
	Environment    Environment // "": any
	State          State       // "": any
	Prefix         string      // "": any; else the Prefix begins with it
	Last4          string      // "": any
	CreatedBy      string      // "": anybody; else type:id of who issued it
	Leaked         bool        // only those that were reported as leaked
	ExpiringBefore *time.Time  // keys whose expires_at or grace ends before it
	Page           page.Request
}

func (p Filter) validate() error {
	var f fault.Fields
	f.Check(p.Environment == "" || p.Environment.Valid(), "environment", "not_one_of", "environment is live or test.")
	f.Check(p.State == "" || p.State.Valid(), "state", "not_one_of", "state is active, disabled, expired or revoked.")
	checkText(&f, "prefix", p.Prefix, max(MaxPrefix, maxBrand+len("_live_")+shownLen))
	f.Check(p.Last4 == "" || len(p.Last4) == 4, "last4", "wrong_format", "last4 has 4 characters.")
	checkText(&f, "product", p.Product, 100)
	checkText(&f, "created_by", p.CreatedBy, maxActor)
	if err := f.Err(); err != nil {
		return err
	}
	return p.Page.Validate()
}

func checkName(f *fault.Fields, s string) string {
	s = strings.TrimSpace(s)
	f.Check(s != "", "name", "required", "A key needs a name.")
	checkText(f, "name", s, MaxName)
	return s
}

// checkText refuses what is too long to store, or can't be shown on a line.
func checkText(f *fault.Fields, field, s string, most int) {
	switch {
	case !utf8.ValidString(s):
		f.Add(field, "invalid_text", "%s is not valid UTF-8.", field)
	case utf8.RuneCountInString(s) > most:
		f.Add(field, "too_long", "%s has at most %d characters.", field, most)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) ||
		field == "name" && strings.Contains(s, "\n"):
		f.Add(field, "invalid_text", "%s holds a control character.", field)
	}
}

// checkScopes sorts and removes what is there twice.
func checkScopes(f *fault.Fields, scopes []string) []string {
	f.Check(len(scopes) <= maxScopes, "scopes", "too_many", "A key has at most %d scopes.", maxScopes)
	out := slices.Clone(scopes)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, s := range out {
		switch p, management := managementScope(s); {
		case !validScope(s, true):
			f.Add("scopes", "scope_malformed", "%.100q is not a scope: write words of a-z, 0-9, _ - . joined by colons, or noun:*.", s)
		case management && !p.TenantGrantable():
			f.Add("scopes", "scope_not_found", "%q is not a permission that a tenant's key can have.", s)
		}
	}
	if out == nil {
		out = []string{}
	}
	return out
}

// checkManagement keeps landlord's own permissions away from keys whose other
// bounds landlord's API could not keep.
func checkManagement(f *fault.Fields, scopes []string, env Environment, project id.Project) {
	if len(permissions(scopes)) == 0 {
		return
	}
	f.Check(env != Test, "scopes", "scope_not_allowed", "A test key can't have scopes that begin with %s.", managementPrefix)
	f.Check(project.IsZero(), "scopes", "scope_not_allowed", "A project's key can't have scopes that begin with %s.", managementPrefix)
}

func checkNetworks(f *fault.Fields, list []netip.Prefix) []netip.Prefix {
	f.Check(len(list) <= maxNetworks, "allowed_ips", "too_many", "A key has at most %d networks.", maxNetworks)
	out, ok := normalNetworks(list)
	f.Check(ok, "allowed_ips", "network_malformed", "allowed_ips holds what is not an address or a CIDR.")
	return out
}

func checkRPM(f *fault.Fields, n int) {
	f.Check(n >= 1 && n <= MaxRPM, "rate_limit_rpm", "out_of_range", "rate_limit_rpm is a whole number from 1 to %d.", MaxRPM)
}

// checkRateLimits sorts by name.
func checkRateLimits(f *fault.Fields, list []ratelimit.Rule) []ratelimit.Rule {
	ratelimit.CheckRules(f, "rate_limits", list)
	out := append([]ratelimit.Rule{}, list...)
	slices.SortFunc(out, func(a, b ratelimit.Rule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func checkExpiry(f *fault.Fields, at *time.Time, now time.Time) {
	if at == nil {
		return
	}
	f.Check(at.After(now), "expires_at", "in_the_past", "expires_at is in the past: revoke the key to end it now.")
	f.Check(at.Year() < 10_000, "expires_at", "out_of_range", "expires_at is beyond the year 9999.")
}

func checkMetadata(f *fault.Fields, m map[string]any) {
	b, err := json.Marshal(m)
	f.Check(err == nil && len(b) <= MaxMetadata, "metadata", "too_large", "metadata has at most %d KiB as JSON.", MaxMetadata>>10)
}

// merge applies a JSON merge patch (RFC 7396) to a copy of an object.
func merge(to, by map[string]any) map[string]any {
	out := maps.Clone(to)
	if out == nil {
		out = make(map[string]any, len(by))
	}
	for name, v := range by {
		switch v := v.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			inner, _ := out[name].(map[string]any)
			out[name] = merge(inner, v)
		default:
			out[name] = v
		}
	}
	return out
}
