package operator

import (
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
)

// The bounds of text fields, in characters.
const (
	maxName        = 200
	maxDescription = 1000
	maxReason      = 500
	maxEmail       = 254 // RFC 5321, section 4.5.3.1.3, less the angle brackets
)

// Operator is a person of the platform.
type Operator struct {
	ID          id.Operator `db:"id"`
	Email       string      `db:"email"` // lower case
	Name        string      `db:"name"`
	Role        access.Role `db:"role"`
	OIDCIssuer  *string     `db:"issuer"` // nil until linked to an identity
	OIDCSubject *string     `db:"subject"`
	DisabledAt  *time.Time  `db:"disabled_at"`
	LastSeenAt  *time.Time  `db:"last_seen_at"` // up to two minutes late
	CreatedAt   time.Time   `db:"created_at"`
	UpdatedAt   time.Time   `db:"updated_at"`
}

// Enabled reports whether the person may act.
func (o Operator) Enabled() bool { return o.DisabledAt == nil }

// CreateParams describe a new person.
type CreateParams struct {
	Email       string
	Name        string
	Role        access.Role
	OIDCSubject string // "" links on first sight of the verified e-mail address
}

// UpdateParams change a person; absent fields stay.
type UpdateParams struct {
	Name    patch.Field[string]
	Role    patch.Field[access.Role]
	IfMatch time.Time // the updated_at that the change is based on; zero: any
}

// Filter chooses people.
type Filter struct {
	Role    access.Role // "" is any
	Enabled *bool       // nil is either
	Email   string      // exact; "" is any
}

// ServiceAccount is a machine of the platform: a product's backend, a reseller's
// panel, a pipeline.
type ServiceAccount struct {
	ID          id.Service          `db:"id"`
	Name        string              `db:"name"`
	Description string              `db:"description"`
	Permissions []access.Permission `db:"permissions"`
	TenantID    id.Tenant           `db:"tenant_id"` // zero: the whole platform; else this tenant and those below it
	DisabledAt  *time.Time          `db:"disabled_at"`
	CreatedAt   time.Time           `db:"created_at"`
	UpdatedAt   time.Time           `db:"updated_at"`
}

// Enabled reports whether the account may act.
func (s ServiceAccount) Enabled() bool { return s.DisabledAt == nil }

// grants returns the permissions that still exist: one that a release removed
// grants nothing.
func (s ServiceAccount) grants() access.Set { return toSet(s.Permissions, !s.TenantID.IsZero()) }

// CreateServiceParams describe a new service account. TenantID can't be changed
// later: what an account is confined to is what it is.
type CreateServiceParams struct {
	Name        string
	Description string
	Permissions []access.Permission
	TenantID    id.Tenant
}

// UpdateServiceParams change a service account; absent fields stay.
type UpdateServiceParams struct {
	Name        patch.Field[string]
	Description patch.Field[string]
	Permissions patch.Field[[]access.Permission]
	IfMatch     time.Time
}

// ServiceFilter chooses service accounts.
type ServiceFilter struct {
	TenantID id.Tenant // zero is any
	Enabled  *bool
}

func toSet(permissions []access.Permission, confined bool) access.Set {
	set := access.Set{}
	for _, p := range permissions {
		if p.Valid() && (!confined || p.TenantGrantable()) {
			set[p] = struct{}{}
		}
	}
	return set
}

func (p *CreateParams) validate() error {
	p.Email = strings.ToLower(strings.TrimSpace(p.Email))
	var f fault.Fields
	checkEmail(&f, p.Email)
	checkText(&f, "name", p.Name, maxName, true)
	checkText(&f, "oidc_subject", p.OIDCSubject, 255, false)
	f.Check(p.Role.Valid(), "role", "not_one_of", "role is owner, admin, support or viewer.")
	return f.Err()
}

func (p UpdateParams) validate() error {
	var f fault.Fields
	if p.Name.Present() {
		name, _ := p.Name.Get()
		checkText(&f, "name", name, maxName, true)
	}
	if p.Role.Present() {
		role, _ := p.Role.Get()
		f.Check(role.Valid(), "role", "not_one_of", "role is owner, admin, support or viewer.")
	}
	return f.Err()
}

func (p CreateServiceParams) validate() error {
	var f fault.Fields
	checkText(&f, "name", p.Name, maxName, true)
	checkText(&f, "description", p.Description, maxDescription, false)
	checkPermissions(&f, p.Permissions, !p.TenantID.IsZero())
	return f.Err()
}

func (p UpdateServiceParams) validate(confined bool) error {
	var f fault.Fields
	if p.Name.Present() {
		name, _ := p.Name.Get()
		checkText(&f, "name", name, maxName, true)
	}
	if d, ok := p.Description.Get(); ok {
		checkText(&f, "description", d, maxDescription, false)
	}
	if list, ok := p.Permissions.Get(); ok {
		checkPermissions(&f, list, confined)
	}
	return f.Err()
}

func checkPermissions(f *fault.Fields, list []access.Permission, confined bool) {
	for i, p := range list {
		field := "permissions[" + itoa(i) + "]"
		switch {
		case !p.Valid():
			f.Add(field, "not_one_of", "%.64q is not a permission: docs/permissions.md lists them.", p)
		case confined && !p.TenantGrantable():
			f.Add(field, "not_tenant_grantable", "%s concerns the whole platform: an account confined to a tenant can't hold it.", p)
		}
	}
}

func checkText(f *fault.Fields, field, s string, limit int, required bool) {
	switch {
	case required && strings.TrimSpace(s) == "":
		f.Add(field, "required", "%s is required.", field)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable):
		f.Add(field, "wrong_format", "%s holds control characters or bad UTF-8.", field)
	case utf8.RuneCountInString(s) > limit:
		f.Add(field, "too_long", "%s has at most %d characters.", field, limit)
	}
}

func unprintable(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

func checkEmail(f *fault.Fields, s string) {
	a, err := mail.ParseAddress(s)
	switch {
	case s == "":
		f.Add("email", "required", "email is required.")
	case len(s) > maxEmail:
		f.Add("email", "too_long", "email has at most %d characters.", maxEmail)
	case err != nil || a.Address != s || strings.ContainsFunc(s, unicode.IsSpace):
		f.Add("email", "wrong_format", "email is one address, such as ada@example.com.")
	}
}
