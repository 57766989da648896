package webhook

import (
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// Status says whether an endpoint is sent to.
type Status string

// The statuses of an endpoint.
const (
	Active   Status = "active"
	Paused   Status = "paused"   // by a person; what happens meanwhile is skipped, and can be recovered
	Disabled Status = "disabled" // likewise, until a person enables it
)

// What landlord itself gives as the reason of a disabled endpoint.
const (
	ReasonFailing = "failing" // too many failures in a row, for too long
	ReasonGone    = "gone"    // it answered 410
)

// Signature is a version of the Standard Webhooks signature.
type Signature string

// The signatures.
const (
	V1  Signature = "v1"  // HMAC-SHA256 with a shared secret
	V1a Signature = "v1a" // ed25519: the receiver needs the public key only
)

// Period is what an endpoint's rate limit counts in.
type Period string

// The periods.
const (
	PerSecond Period = "second"
	PerMinute Period = "minute"
)

// Duration returns the period's length.
func (p Period) Duration() time.Duration {
	if p == PerMinute {
		return time.Minute
	}
	return time.Second
}

// Endpoint is where a tenant, or a project of it, wants to be told what happened.
type Endpoint struct {
	ID          id.Webhook     `db:"id"`
	TenantID    id.Tenant      `db:"tenant_id"`
	ProjectID   id.Project     `db:"project_id"` // zero: events of the whole tenant
	Name        string         `db:"name"`
	URL         string         `db:"url"`
	Events      []string       `db:"events"` // patterns, see Match
	Description string         `db:"description"`
	Metadata    map[string]any `db:"metadata"`
	Signatures  []Signature    `db:"signatures"`
	Headers     []string       `db:"-"` // names of its own headers; their values are not told again

	RateLimit   *int   `db:"rate_limit"` // requests a RatePeriod; nil: none
	RatePeriod  Period `db:"rate_period"`
	MaxInFlight int    `db:"max_in_flight"` // requests under way at a time

	Status     Status     `db:"status"`
	Reason     string     `db:"status_reason"` // ReasonFailing, ReasonGone, or what a person said
	DisabledAt *time.Time `db:"disabled_at"`

	LastTriggeredAt     *time.Time `db:"last_triggered_at"` // to the second or so
	LastStatusCode      *int       `db:"last_status_code"`
	ConsecutiveFailures int        `db:"consecutive_failures"`
	FirstFailureAt      *time.Time `db:"first_failure_at"` // of those in a row
	WarnedPercent       int        `db:"warned_percent"`   // of the failures that disable it

	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
}

// State says what became of a delivery.
type State string

// The states of a delivery. The package comment draws how they follow each other.
const (
	Pending   State = "pending"
	Claimed   State = "claimed"
	Held      State = "held"
	Delivered State = "delivered"
	Failed    State = "failed"
	Skipped   State = "skipped"
	Cancelled State = "cancelled"
)

// Why a delivery is where it is.
const (
	WhyExhausted = "exhausted" // failed: no try is left
	WhyExpired   = "expired"   // failed: it was too old to be sent
	WhyGone      = "gone"      // failed: the endpoint answered 410
	WhySuspended = "suspended" // held
	WhyPaused    = "paused"    // skipped
	WhyDisabled  = "disabled"  // skipped
	WhyArchived  = "archived"  // cancelled: the tenant was archived
	WhyDeleted   = "deleted"   // cancelled: there is no such endpoint any more
	WhyErased    = "erased"    // cancelled: the event was erased
	WhyCancelled = "cancelled" // cancelled: by a person
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	ID          id.Delivery `db:"id"`
	TenantID    id.Tenant   `db:"tenant_id"`
	EndpointID  id.Webhook  `db:"webhook_id"`
	EventID     id.Event    `db:"event_id"`
	EventType   string      `db:"event_type"`
	State       State       `db:"state"`
	Reason      string      `db:"reason"`
	Attempts    int         `db:"attempts"`
	NextAt      *time.Time  `db:"next_retry_at"` // while Pending
	ClaimedTo   *time.Time  `db:"claimed_until"` // while Claimed
	ExpiresAt   time.Time   `db:"expires_at"`    // not sent any more afterwards
	LastStatus  *int        `db:"last_status"`   // of the last answer
	DeliveredAt *time.Time  `db:"delivered_at"`
	CreatedAt   time.Time   `db:"created_at"` // the event's
}

// Attempt is one try of a delivery.
type Attempt struct {
	ID              id.Attempt        `db:"id"`
	TenantID        id.Tenant         `db:"tenant_id"`
	EndpointID      id.Webhook        `db:"webhook_id"`
	DeliveryID      id.Delivery       `db:"delivery_id"`
	Attempt         int               `db:"attempt"` // 1, 2, …
	Succeeded       bool              `db:"succeeded"`
	RequestURL      string            `db:"request_url"`
	RequestHeaders  map[string]string `db:"request_headers"` // the signature and the endpoint's own headers left out
	ResponseStatus  *int              `db:"response_status"`
	ResponseHeaders map[string]string `db:"response_headers"`
	ResponseBody    *string           `db:"response_body"` // its beginning
	DurationMS      int               `db:"duration_ms"`
	DNSMicros       *int              `db:"dns_us"` // nil when a connection was there already
	ConnectMicros   *int              `db:"connect_us"`
	TLSMicros       *int              `db:"tls_us"`
	FirstByteMicros *int              `db:"first_byte_us"`
	ErrorClass      string            `db:"error_class"` // "" when it succeeded
	ErrorMessage    string            `db:"error_message"`
	CreatedAt       time.Time         `db:"created_at"`
}

// maxRecovery is how far back deliveries can be recovered and events replayed.
const maxRecovery = 30 * 24 * time.Hour
