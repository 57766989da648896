package operator

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// The prefixes of access tokens. They tell people and secret scanners what was
// found, and the composition root which room to ask.
const (
	OperatorPrefix = "llop_"
	ServicePrefix  = "llsvc_"
)

// State is what a token is at an instant.
type State string

// The states of a token.
const (
	Active  State = "active"
	Expired State = "expired"
	Revoked State = "revoked"
)

// AccessToken is a bearer credential of a person or of a service account, as
// far as it may be shown.
type AccessToken struct {
	ID            id.Token    `db:"id"`
	OperatorID    id.Operator `db:"operator_id"`        // of this person,
	ServiceID     id.Service  `db:"service_account_id"` // or of this account
	Name          string      `db:"name"`
	Prefix        string      `db:"prefix"`
	Last4         string      `db:"last4"`      // the token's last characters, to tell it from others
	ExpiresAt     *time.Time  `db:"expires_at"` // nil: never
	RevokedAt     *time.Time  `db:"revoked_at"`
	RevokedReason *string     `db:"revoked_reason"`
	LastUsedAt    *time.Time  `db:"last_used_at"` // up to two minutes late
	LastUsedIP    *netip.Addr `db:"last_used_ip"`
	CreatedBy     *string     `db:"created_by"` // type and id of the principal: "user:operator_…"
	CreatedAt     time.Time   `db:"created_at"`
}

// StateAt returns what the token is at an instant.
func (t AccessToken) StateAt(now time.Time) State {
	switch {
	case t.RevokedAt != nil:
		return Revoked
	case t.ExpiresAt != nil && !now.Before(*t.ExpiresAt):
		return Expired
	default:
		return Active
	}
}

// StateOf returns what a token is now.
func (s *Service) StateOf(t AccessToken) State { return t.StateAt(s.now()) }

// owner returns the id of whose token it is, as principals carry it.
func (t AccessToken) owner() string {
	if !t.OperatorID.IsZero() {
		return t.OperatorID.String()
	}
	return t.ServiceID.String()
}

// Issued is a new token with the secret that is shown this once.
type Issued struct {
	AccessToken
	Secret secret.Text
}

// IssueParams describe a new token of one person or one service account.
type IssueParams struct {
	OperatorID id.Operator // exactly one of the two
	ServiceID  id.Service
	Name       string
	ExpiresAt  *time.Time // nil: Limits.DefaultTTL from now
}

// TokenFilter chooses tokens of one person or one service account.
type TokenFilter struct {
	OperatorID id.Operator // exactly one of the two
	ServiceID  id.Service
	Live       bool // only those neither expired nor revoked
}

func (p IssueParams) validate(now time.Time, limits Limits) (*time.Time, error) {
	var f fault.Fields
	checkText(&f, "name", p.Name, maxName, true)
	expires := now.Add(limits.DefaultTTL)
	if p.ExpiresAt != nil {
		expires = *p.ExpiresAt
	}
	expires = expires.UTC().Truncate(time.Microsecond)
	f.Check(expires.After(now), "expires_at", "out_of_range", "expires_at lies in the past.")
	f.Check(!expires.After(now.Add(limits.MaxTTL)), "expires_at", "out_of_range",
		"A token lives for at most %s: expires_at is at the latest %s.", days(limits.MaxTTL), now.Add(limits.MaxTTL).UTC().Format(time.RFC3339))
	return &expires, f.Err()
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return itoa(int(d/(24*time.Hour))) + " days"
	}
	return d.String()
}

func itoa(n int) string { return strconv.Itoa(n) }

// newToken makes the text of a token: prefix, 256 random bits, checksum.
func newToken(r io.Reader, prefix string) (string, error) {
	body, err := secret.NewToken(r)
	if err != nil {
		return "", err
	}
	return prefix + body + secret.Checksum(prefix+body), nil
}

// wellFormed reports, without any look-up, whether s could be one of our tokens.
func wellFormed(s string) bool {
	body, ok := strings.CutPrefix(s, OperatorPrefix)
	if !ok {
		body, ok = strings.CutPrefix(s, ServicePrefix)
	}
	return ok && len(body) == secret.TokenLen+secret.ChecksumLen && secret.IsBase62(body) && secret.HasChecksum(s)
}

// Handles reports whether a bearer credential is of a kind that this room
// answers for: its own tokens, and JWTs when an issuer is configured.
func (s *Service) Handles(bearer string) bool {
	return strings.HasPrefix(bearer, OperatorPrefix) || strings.HasPrefix(bearer, ServicePrefix) ||
		s.issuer != nil && looksLikeJWT(bearer)
}
