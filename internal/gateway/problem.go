package gateway

import (
	"encoding/json"
	"net/http"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// problem is an RFC 9457 document for the end caller of a product, who knows
// nothing of landlord and its documentation.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`
	Code     string   `json:"code"`
	Violated []string `json:"violated-policies,omitempty"`
}

// A problem's Content-Type, and its Cache-Control: the same question may be
// answered otherwise in a moment.
const (
	problemType = "application/problem+json"
	noStore     = "no-store"
)

// quotaExceeded is the type that draft-ietf-httpapi-ratelimit-headers registers,
// with the member violated-policies.
const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// The texts of problems. Every outcome that leaves the client a stranger is one.
var (
	stranger = problem{Code: "credential_invalid", Detail: "The API key is not valid."}
	problems = map[string]problem{
		outcomeNoCredential:                {Code: "credential_required", Detail: "Send an API key, as Authorization: Bearer KEY or X-API-Key."},
		outcomeAmbiguous:                   {Code: "credential_ambiguous", Detail: "Send one API key, once."},
		outcomeUnavailable:                 {Code: "unavailable", Detail: "The API key can't be checked at the moment. Try again after Retry-After."},
		outcomeMisconfigured:               {Code: "misconfigured", Detail: "The gateway is misconfigured."},
		string(apikey.TenantArchived):      {Code: "tenant_archived", Detail: "The account is closed."},
		string(apikey.TenantSuspended):     {Code: "tenant_suspended", Detail: "The account is suspended."},
		string(apikey.TenantFrozen):        {Code: "tenant_frozen", Detail: "The account is frozen: it can be read but not changed."},
		string(apikey.ProjectArchived):     {Code: "project_archived", Detail: "The project is archived."},
		string(apikey.EnvironmentMismatch): {Code: "environment_mismatch", Detail: "The API key is for another environment, live or test."},
		string(apikey.IPNotAllowed):        {Code: "ip_not_allowed", Detail: "The API key can't be used from this address."},
		string(apikey.NotEntitled):         {Code: "not_entitled", Detail: "The account, or the API key, has no access to this product."},
		string(apikey.InsufficientScope):   {Code: "insufficient_scope", Detail: "The API key lacks a scope, or is another project's."},
		string(apikey.RateLimited):         {Code: "rate_limited", Detail: "Too many requests. Try again after Retry-After."},
		string(apikey.LimitExceeded):       {Code: "limit_exceeded", Detail: "The account's usage limit is reached."},
	}
	// documents are the problems as JSON, for those that are always alike.
	documents = func() map[string][]byte {
		all := map[string][]byte{}
		for _, o := range apikey.Outcomes() {
			if o.Anonymous() {
				all[string(o)] = stranger.document(http.StatusUnauthorized)
			}
		}
		for outcome, p := range problems {
			all[outcome] = p.document(statusOf(outcome))
		}
		return all
	}()
)

// statusOf is the status of an outcome that turns a client away.
func statusOf(outcome string) int {
	switch outcome {
	case outcomeNoCredential, outcomeAmbiguous:
		return http.StatusUnauthorized
	case outcomeUnavailable:
		return http.StatusServiceUnavailable
	case outcomeMisconfigured:
		return http.StatusInternalServerError
	case string(apikey.RateLimited), string(apikey.LimitExceeded):
		return http.StatusTooManyRequests
	}
	if apikey.Outcome(outcome).Anonymous() {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

func (p problem) document(status int) []byte {
	p.Type, p.Title, p.Status = "about:blank", http.StatusText(status), status
	if status == http.StatusTooManyRequests {
		p.Type = quotaExceeded
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("gateway: " + err.Error()) // strings and a number always marshal
	}
	return b
}

// problem is the document for the client of a decision that turns him away. It is
// not to be changed.
func (d *decision) problem() []byte {
	if d.outcome != string(apikey.RateLimited) {
		return documents[d.outcome]
	}
	p := problems[d.outcome]
	var array [someLimits]ratelimit.Named
	for _, n := range d.limits(array[:0]) {
		if !n.Decision.Allowed {
			p.Violated = append(p.Violated, n.Name)
		}
	}
	return p.document(d.status)
}
