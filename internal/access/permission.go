package access

import (
	"slices"
	"strings"
)

// Permission is a right, written noun:verb.
type Permission string

// The permissions of the platform. docs/permissions.md lists them, held by a test.
const (
	TenantsRead       Permission = "tenants:read"
	TenantsWrite      Permission = "tenants:write"
	TenantsLifecycle  Permission = "tenants:lifecycle" // suspend, freeze, archive, restore, legal hold
	ProjectsRead      Permission = "projects:read"
	ProjectsWrite     Permission = "projects:write"
	EntitlementsRead  Permission = "entitlements:read"
	EntitlementsWrite Permission = "entitlements:write"
	APIKeysRead       Permission = "apikeys:read"
	APIKeysWrite      Permission = "apikeys:write"
	APIKeysVerify     Permission = "apikeys:verify"
	CatalogRead       Permission = "catalog:read"
	CatalogWrite      Permission = "catalog:write"
	OperatorsRead     Permission = "operators:read"
	OperatorsWrite    Permission = "operators:write"
	AuditRead         Permission = "audit:read"
	EventsRead        Permission = "events:read"
	EventsWrite       Permission = "events:write" // publish
	EventsErase       Permission = "events:erase" // delete what happened
	WebhooksRead      Permission = "webhooks:read"
	WebhooksWrite     Permission = "webhooks:write"
)

// All lists every permission, sorted.
func All() []Permission {
	all := []Permission{
		TenantsRead, TenantsWrite, TenantsLifecycle, ProjectsRead, ProjectsWrite, EntitlementsRead, EntitlementsWrite,
		APIKeysRead, APIKeysWrite, APIKeysVerify, CatalogRead, CatalogWrite, OperatorsRead, OperatorsWrite, AuditRead, EventsRead, EventsWrite, EventsErase,
		WebhooksRead, WebhooksWrite,
	}
	slices.Sort(all)
	return all
}

// Valid reports whether p is a permission of the platform.
func (p Permission) Valid() bool { return slices.Contains(All(), p) }

// TenantGrantable reports whether a tenant's own credential may hold p. What
// concerns the whole platform (catalogue, operators, verifying other tenants'
// keys) may not.
func (p Permission) TenantGrantable() bool {
	switch p {
	case CatalogWrite, OperatorsRead, OperatorsWrite, APIKeysVerify, EventsErase:
		return false
	default:
		return p.Valid()
	}
}

// Role is a named set of permissions of an operator.
type Role string

// The roles of operators.
const (
	Owner   Role = "owner"   // everything
	Admin   Role = "admin"   // everything but operators and their tokens
	Support Role = "support" // reads everything; lifecycle of tenants, revoking keys
	Viewer  Role = "viewer"  // reads everything
)

// Roles lists the roles from the strongest to the weakest.
func Roles() []Role { return []Role{Owner, Admin, Support, Viewer} }

// Valid reports whether r is a role.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Permissions returns what the role may do.
func (r Role) Permissions() Set {
	switch r {
	case Owner:
		return NewSet(All()...)
	case Admin:
		s := NewSet(All()...)
		delete(s, OperatorsWrite)
		return s
	case Support:
		s := Viewer.Permissions()
		s[TenantsLifecycle] = struct{}{}
		s[APIKeysWrite] = struct{}{}
		return s
	case Viewer:
		s := Set{}
		for _, p := range All() {
			if strings.HasSuffix(string(p), ":read") {
				s[p] = struct{}{}
			}
		}
		return s
	default:
		return nil
	}
}

// Set is a set of permissions. A set in a Principal is never changed.
type Set map[Permission]struct{}

// NewSet returns the set of ps.
func NewSet(ps ...Permission) Set {
	s := make(Set, len(ps))
	for _, p := range ps {
		s[p] = struct{}{}
	}
	return s
}

// Has reports whether p is in the set.
func (s Set) Has(p Permission) bool {
	_, ok := s[p]
	return ok
}

// List returns the permissions of the set, sorted.
func (s Set) List() []Permission {
	out := make([]Permission, 0, len(s))
	for p := range s {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}
