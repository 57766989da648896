package apikey

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// LeakAction is what a report that a key has leaked does to the key.
type LeakAction string

// The leak actions, from the strictest.
const (
	LeakRevoke  LeakAction = "revoke"
	LeakDisable LeakAction = "disable" // until somebody enables it again
	LeakFlag    LeakAction = "flag"    // only told, as an event
)

// LeakActions lists the leak actions, the strictest first.
func LeakActions() []LeakAction { return []LeakAction{LeakRevoke, LeakDisable, LeakFlag} }

// Valid reports whether a is a leak action.
func (a LeakAction) Valid() bool { return slices.Contains(LeakActions(), a) }

// MaxAgeDays is the longest that a policy or plan may let a key live.
const MaxAgeDays = 3650

// Policy is what a tenant demands of its keys and of those of the tenants below
// it. One that was never put demands nothing.
type Policy struct {
	TenantID     id.Tenant      `db:"tenant_id"`
	AllowedIPs   []netip.Prefix `db:"allowed_ips"` // none: from everywhere
	Environments []Environment  `db:"environments"`
	MaxAgeDays   int            `db:"max_age_days"` // 0: any
	LeakAction   LeakAction     `db:"leak_action"`
	CreatedAt    time.Time      `db:"created_at"` // zero: never put
	UpdatedAt    time.Time      `db:"updated_at"`
}

// neverPut is the version of a policy that nobody has put yet.
var neverPut = time.Unix(0, 0).UTC()

func noPolicy(tenant id.Tenant) Policy {
	return Policy{TenantID: tenant, Environments: Environments(), LeakAction: LeakRevoke, UpdatedAt: neverPut}
}

// Rules are what binds a tenant's keys: of its own policy and of those of all
// tenants above it the strictest, field by field.
type Rules struct {
	// AllowedIPs are lists, each of which must allow the caller, beside the key's own.
	AllowedIPs   [][]netip.Prefix
	Environments []Environment // none: no key works
	MaxAgeDays   int           // 0: any; the plan's, where that is less
	LeakAction   LeakAction
	RateLimitRPM int // of keys that don't say; by the plan, else DefaultRPM
	MaxKeys      int // 0: any number; by the plan
}

// planKeys is what a plan of the catalogue says about its tenants' keys.
type planKeys struct {
	MaxAgeDays   int `json:"max_age_days"`
	RateLimitRPM int `json:"rate_limit_rpm"`
	MaxKeys      int `json:"max_keys"`
}

// rulesOf combines the policies from the root down to a tenant's own with what
// its plan says.
func rulesOf(policies []Policy, plan planKeys) Rules {
	r := Rules{
		Environments: Environments(), LeakAction: LeakFlag,
		MaxAgeDays: plan.MaxAgeDays, RateLimitRPM: plan.RateLimitRPM, MaxKeys: plan.MaxKeys,
	}
	if r.RateLimitRPM == 0 {
		r.RateLimitRPM = DefaultRPM
	}
	for _, p := range policies {
		if len(p.AllowedIPs) > 0 {
			r.AllowedIPs = append(r.AllowedIPs, p.AllowedIPs)
		}
		r.Environments = slices.DeleteFunc(r.Environments, func(e Environment) bool { return !slices.Contains(p.Environments, e) })
		if p.MaxAgeDays != 0 && (r.MaxAgeDays == 0 || p.MaxAgeDays < r.MaxAgeDays) {
			r.MaxAgeDays = p.MaxAgeDays
		}
		if slices.Index(LeakActions(), p.LeakAction) < slices.Index(LeakActions(), r.LeakAction) {
			r.LeakAction = p.LeakAction
		}
	}
	if len(policies) == 0 {
		r.LeakAction = LeakRevoke
	}
	return r
}

// bind makes a key that is about to be issued, or replaced, keep the rules: what
// it leaves open is filled in. Of a life longer than it may have, the caller has
// asked in vain.
func (r Rules) bind(k *Key, now time.Time) error {
	var f fault.Fields
	f.Check(slices.Contains(r.Environments, k.Environment), "environment", "environment_not_allowed",
		"The key policy of this tenant, or of one above it, allows no %s keys.", k.Environment)
	if k.RateLimitRPM == 0 {
		k.RateLimitRPM = r.RateLimitRPM
	}
	k.ExpiresAt = r.end(&f, k.ExpiresAt, now)
	return f.Err()
}

// end is when a key that was issued at an instant ends, if it is to end at at; nil
// is as late as may be.
func (r Rules) end(f *fault.Fields, at *time.Time, issued time.Time) *time.Time {
	latest := r.latest(issued)
	if at == nil || latest == nil {
		return cmp.Or(at, latest)
	}
	f.Check(!at.After(*latest), "expires_at", "beyond_max_age", "A key of this tenant lives for at most %d days, by its plan or a key policy: until %s.",
		r.MaxAgeDays, latest.Format(time.RFC3339))
	return at
}

// latest is the end of the longest life that a key may have; nil is none.
func (r Rules) latest(issued time.Time) *time.Time {
	if r.MaxAgeDays == 0 {
		return nil
	}
	return new(issued.Add(time.Duration(r.MaxAgeDays) * 24 * time.Hour).UTC())
}

// makeRoom refuses one key more than the plan allows. Two that ask at the same
// time take turns; keys in their grace after rotation don't count.
func (r Rules) makeRoom(ctx context.Context, tx pg.Tx, tenant id.Tenant, now time.Time) error {
	room, err := r.room(ctx, tx, tenant, now)
	if err == nil && room == 0 {
		err = r.errFull()
	}
	return err
}

// room is how many keys more the plan allows, until the transaction ends.
func (r Rules) room(ctx context.Context, tx pg.Tx, tenant id.Tenant, now time.Time) (int, error) {
	if r.MaxKeys == 0 {
		return math.MaxInt, nil
	}
	if err := lockTenant(ctx, tx, tenant); err != nil {
		return 0, err
	}
	n, err := countKeys(ctx, tx, tenant, now, r.MaxKeys)
	return max(0, r.MaxKeys-n), err
}

func (r Rules) errFull() error {
	return fault.Conflict("api_key_limit_reached", "The tenant's plan allows %d API keys that are neither revoked nor expired nor replaced.", r.MaxKeys)
}

// PutPolicyParams is a whole policy: what it leaves out is back at its default.
type PutPolicyParams struct {
	TenantID     id.Tenant
	AllowedIPs   []netip.Prefix
	Environments []Environment // none: all
	MaxAgeDays   int           // 0: any
	LeakAction   LeakAction    // "": revoke
	IfMatch      time.Time     // zero: whatever the version
}

func (p *PutPolicyParams) validate() error {
	var f fault.Fields
	p.AllowedIPs = checkNetworks(&f, p.AllowedIPs)
	if len(p.Environments) == 0 {
		p.Environments = Environments()
	}
	p.Environments = slices.Clone(p.Environments)
	slices.Sort(p.Environments)
	p.Environments = slices.Compact(p.Environments)
	for _, e := range p.Environments {
		f.Check(e.Valid(), "environments", "not_one_of", "An environment is live or test.")
	}
	f.Check(p.MaxAgeDays >= 0 && p.MaxAgeDays <= MaxAgeDays, "max_age_days", "out_of_range", "max_age_days is from 1 to %d.", MaxAgeDays)
	if p.LeakAction == "" {
		p.LeakAction = LeakRevoke
	}
	f.Check(p.LeakAction.Valid(), "leak_action", "not_one_of", "leak_action is revoke, disable or flag.")
	return f.Err()
}

// Policy returns a tenant's own key policy, and what binds its keys.
func (s *Service) Policy(ctx context.Context, tenant id.Tenant) (Policy, Rules, error) {
	if err := access.Require(ctx, access.APIKeysRead, tenant); err != nil {
		return Policy{}, Rules{}, err
	}
	var own Policy
	var rules Rules
	err := s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		own, rules, err = policyOf(ctx, tx, tenant)
		return err
	})
	return own, rules, err
}

func policyOf(ctx context.Context, tx pg.Tx, tenant id.Tenant) (Policy, Rules, error) {
	status, err := selectTenantStatus(ctx, tx, tenant)
	switch {
	case err != nil:
		return Policy{}, Rules{}, err
	case status == "":
		return Policy{}, Rules{}, fault.NotFound("tenant")
	}
	all, rules, err := bindingRules(ctx, tx, tenant)
	if err != nil {
		return Policy{}, Rules{}, err
	}
	own := noPolicy(tenant)
	if n := len(all); n > 0 && all[n-1].TenantID == tenant {
		own = all[n-1]
	}
	return own, rules, nil
}

// bindingRules reads what binds a tenant's keys, and the policies that say so.
func bindingRules(ctx context.Context, tx pg.Tx, tenant id.Tenant) ([]Policy, Rules, error) {
	all, err := selectPolicies(ctx, tx, tenant)
	if err != nil {
		return nil, Rules{}, err
	}
	plan, err := selectPlanKeys(ctx, tx, tenant)
	if err != nil {
		return nil, Rules{}, err
	}
	return all, rulesOf(all, plan), nil
}

// PutPolicy replaces a tenant's key policy. It binds the keys that are there too,
// but for their ends: a key that is older than max_age_days lives on to the end
// that it has. A put that changes nothing records nothing.
func (s *Service) PutPolicy(ctx context.Context, p PutPolicyParams) (Policy, Rules, error) {
	if err := access.Require(ctx, access.APIKeysWrite, p.TenantID); err != nil {
		return Policy{}, Rules{}, err
	}
	if err := p.validate(); err != nil {
		return Policy{}, Rules{}, err
	}
	var own Policy
	var rules Rules
	changed := false
	err := s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) (err error) {
		if err := checkWritable(ctx, tx, p.TenantID); err != nil {
			return err
		}
		was, err := lockPolicy(ctx, tx, p.TenantID)
		if err != nil {
			return err
		}
		if !p.IfMatch.IsZero() && !was.UpdatedAt.Equal(p.IfMatch) {
			return fault.StaleVersion()
		}
		is := Policy{
			TenantID: p.TenantID, AllowedIPs: p.AllowedIPs, Environments: p.Environments, MaxAgeDays: p.MaxAgeDays, LeakAction: p.LeakAction,
		}
		// The first counts although it says what holds without any: above, another may say less.
		if changed = was.CreatedAt.IsZero() || !was.same(is); changed {
			if err := upsertPolicy(ctx, tx, &is); err != nil {
				return err
			}
			if err := recordPolicy(ctx, tx, was, is); err != nil {
				return err
			}
		}
		own, rules, err = policyOf(ctx, tx, p.TenantID)
		return err
	})
	if err != nil {
		return Policy{}, Rules{}, err
	}
	if changed && s.verifier != nil {
		s.verifier.gens.change(false, p.TenantID)
	}
	return own, rules, nil
}

func (p Policy) same(q Policy) bool {
	return slices.Equal(p.AllowedIPs, q.AllowedIPs) && slices.Equal(p.Environments, q.Environments) &&
		p.MaxAgeDays == q.MaxAgeDays && p.LeakAction == q.LeakAction
}

func recordPolicy(ctx context.Context, tx pg.Tx, was, is Policy) error {
	value := func(p Policy) map[string]any {
		return map[string]any{
			"allowed_ips": orNull(p.AllowedIPs), "environments": p.Environments, "max_age_days": p.MaxAgeDays, "leak_action": p.LeakAction,
		}
	}
	err := audit.Record(ctx, tx, audit.Event{
		Action: "key_policy.updated", TenantID: is.TenantID, Target: audit.Target{Type: "key_policy", ID: is.TenantID.String()},
		Metadata: map[string]any{"from": value(was), "to": value(is)},
	})
	if err != nil {
		return err
	}
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: "key_policy", TenantID: is.TenantID, ID: is.TenantID.UUID()})
}
