package access

import "github.com/landlordhq/landlord/internal/fault"

// CheckWritable reports whether a principal may change what belongs to a tenant
// whose effective status (the strictest of its own and its ancestors') is
// status:
//
//	demo, trial, active   everybody with the permission
//	frozen                nobody: read-only until reactivated
//	suspended, archived   the platform's own people and services
//
// What a frozen tenant may still do (billing contact, export, reactivation) is
// let through by the operation itself, which does not ask.
func CheckWritable(status string, p Principal) error {
	switch {
	case status == "frozen":
		return fault.Conflict("tenant_frozen", "The tenant is frozen: it can be read but not changed until it is reactivated.")
	case status == "suspended" && !p.Platform():
		return fault.Conflict("tenant_suspended", "The tenant is suspended: only the platform's operators can change it.")
	case status == "archived" && !p.Platform():
		return fault.Conflict("tenant_archived", "The tenant is archived: only its audit log is kept.")
	default:
		return nil
	}
}
