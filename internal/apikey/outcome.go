package apikey

// Outcome is the answer to a verification. The constants are in the order of the
// checks: a check that denies spends nothing of a later one.
type Outcome string

// The outcomes. A trusted caller is told the precise one; the first five deny a
// stranger, who must not learn which it was.
const (
	Malformed           Outcome = "MALFORMED"            // not a token, or a typing error
	NotFound            Outcome = "NOT_FOUND"            // no such key, or another tenant's
	KeyRevoked          Outcome = "REVOKED"              // for good
	KeyDisabled         Outcome = "DISABLED"             // is_active is false
	KeyExpired          Outcome = "EXPIRED"              // past expires_at, or rotated and past its grace
	TenantArchived      Outcome = "TENANT_ARCHIVED"      // the tenant or an ancestor
	TenantSuspended     Outcome = "TENANT_SUSPENDED"     // the tenant or an ancestor
	TenantFrozen        Outcome = "TENANT_FROZEN"        // and a scope that writes was asked for
	ProjectArchived     Outcome = "PROJECT_ARCHIVED"     // the key's project, or the one asked for
	EnvironmentMismatch Outcome = "ENVIRONMENT_MISMATCH" // a test key where a live one is wanted, or the reverse, or a policy bars its environment
	IPNotAllowed        Outcome = "IP_NOT_ALLOWED"       // the key or a policy has a list, and the caller's address is not on it or not known
	NotEntitled         Outcome = "NOT_ENTITLED"         // the tenant doesn't have the product now, or the key is another product's
	InsufficientScope   Outcome = "INSUFFICIENT_SCOPE"   // a scope is missing, or the key is another project's
	RateLimited         Outcome = "RATE_LIMITED"         // of the key
	LimitExceeded       Outcome = "LIMIT_EXCEEDED"       // of the tenant's usage
	Valid               Outcome = "VALID"
)

// Outcomes lists the outcomes in the order of the checks.
func Outcomes() []Outcome {
	return []Outcome{
		Malformed, NotFound, KeyRevoked, KeyDisabled, KeyExpired, TenantArchived, TenantSuspended, TenantFrozen, ProjectArchived,
		EnvironmentMismatch, IPNotAllowed, NotEntitled, InsufficientScope, RateLimited, LimitExceeded, Valid,
	}
}

// Anonymous reports whether the outcome leaves the caller a stranger: the key
// does not speak for anybody. Faces that answer end callers give all of these
// the same answer.
func (o Outcome) Anonymous() bool {
	switch o {
	case Malformed, NotFound, KeyRevoked, KeyDisabled, KeyExpired:
		return true
	default:
		return false
	}
}
