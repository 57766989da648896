package apikey

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// Bucket is what a rate limit counts by.
type Bucket struct {
	Tenant id.Tenant // whose key it is
	Key    id.APIKey // zero: all keys of the tenant share it
	Name   string    // of the limit; with its product before it and a slash when the product declares it
}

// Append writes the bucket's name in Redis. All that one verification spends is
// the same tenant's, and the tenant is in braces: a cluster keeps it on one node.
func (k Bucket) Append(b []byte) []byte {
	b = append(b, '{')
	b, _ = k.Tenant.AppendText(b)
	b = append(b, '}', ':')
	if !k.Key.IsZero() {
		b, _ = k.Key.AppendText(b)
	}
	b = append(b, ':')
	return append(b, k.Name...)
}

const (
	// keyLimit is the name of a key's own limit, rate_limit_rpm.
	keyLimit = ratelimit.KeyRule
	// ownPrefix stands before the names of a key's other own limits in answers: who
	// makes keys must not be able to pass one off as the tenant's or the product's.
	ownPrefix = keyLimit + "."
)

// LimitCost is what a verification spends of the limits of a name.
type LimitCost struct {
	Name string
	Cost int64 // 0 only tells what is left
}

// limit is a named rate limit as the verify path keeps it.
type limit struct {
	name      string // by which verifications ask for it
	shown     string // in answers, where no two are called alike
	bucket    string
	perKey    bool // each key has a bucket of its own
	namedOnly bool
	policy    ratelimit.Limit
}

// limits are those of a key, of its tenant, or of a product that it uses.
type limits []limit

// bytes is about what they take.
func (l limits) bytes() (n int) {
	for _, x := range l {
		n += 120 + len(x.shown) + len(x.bucket)
	}
	return n
}

// declaredLimit is a rule as its owner's column has it; the last two are only of some owners.
type declaredLimit struct {
	ratelimit.Rule

	Product string `json:"product"` // a tenant's: only of this product
	Per     string `json:"per"`     // a product's: tenant or key
}

// readLimits reads a column. What can't be read limits everything, rather than nothing.
func readLimits(column string) []declaredLimit {
	var out []declaredLimit
	if json.Unmarshal([]byte(column), &out) != nil {
		return []declaredLimit{{Rule: ratelimit.Rule{Name: "unreadable"}}}
	}
	return out
}

// ownLimits are a key's own, beside rate_limit_rpm.
func ownLimits(column string) (out limits) {
	for _, d := range readLimits(column) {
		out = append(out, limit{d.Name, ownPrefix + d.Name, d.Name, true, d.NamedOnly, d.Policy()})
	}
	return out
}

// tenantLimits are a tenant's: those of a product, or ("") those of everything.
func tenantLimits(all []declaredLimit, product string) (out limits) {
	for _, d := range all {
		if d.Product == product {
			out = append(out, limit{d.Name, d.Name, d.Name, false, d.NamedOnly, d.Policy()})
		}
	}
	return out
}

// productLimits are those that a product declares, with the numbers of the
// tenant's plan, and without those that the tenant's own take the place of.
func productLimits(product, column, plan string, tenant []declaredLimit) (out limits) {
	numbers := readLimits(plan)
	for _, d := range readLimits(column) {
		replaced := func(t declaredLimit) bool { return t.Name == d.Name && (t.Product == "" || t.Product == product) }
		if slices.ContainsFunc(tenant, replaced) {
			continue
		}
		policy := d.Policy()
		if i := slices.IndexFunc(numbers, func(n declaredLimit) bool { return n.Name == d.Name }); i >= 0 {
			policy = numbers[i].Policy()
		}
		out = append(out, limit{d.Name, d.Name, product + "/" + d.Name, d.Per == "key", d.NamedOnly, policy})
	}
	return out
}

// spending is what one verification takes out of several buckets.
type spending struct {
	shown     []string
	requests  []ratelimit.Request[Bucket]
	decisions []ratelimit.Decision
}

var spendings = sync.Pool{New: func() any { return new(spending) }}

// add notes a limit, if the verification is under it.
func (s *spending) add(e *entry, l *limit, p *VerifyParams, found *uint64) {
	cost, named := p.costOf(l.name, found)
	if l.namedOnly && !named {
		return
	}
	b := Bucket{Tenant: e.tenant, Name: l.bucket}
	if l.perKey {
		b.Key = e.id
	}
	s.shown = append(s.shown, l.shown)
	s.requests = append(s.requests, ratelimit.Request[Bucket]{Key: b, Limit: l.policy, Cost: cost})
}

// costOf is what the verification spends of limits of a name; found notes which of
// the names that it asks for there are.
func (p *VerifyParams) costOf(name string, found *uint64) (cost int64, named bool) {
	for i := range p.Limits {
		if p.Limits[i].Name == name {
			*found |= 1 << i
			return p.Limits[i].Cost, true
		}
	}
	return max(p.Cost, 1), false
}

// spend takes the costs out of all the buckets that a verification is under, or
// out of none, or only looks; have is the entitlement to the product, or nil.
func (v *Verifier) spend(ctx context.Context, now time.Time, e *entry, have *entitled, p *VerifyParams, a *Verification) (bool, error) {
	var ofProduct limits
	if have != nil {
		ofProduct = have.limits
	}
	if len(p.Limits) == 0 && len(e.own) == 0 && len(e.shared) == 0 && len(ofProduct) == 0 {
		requests := [1]ratelimit.Request[Bucket]{{Key: Bucket{e.tenant, e.id, keyLimit}, Limit: e.limit, Cost: max(p.Cost, 1)}}
		var d [1]ratelimit.Decision
		ok := v.draw(ctx, now, requests[:], d[:], p.Peek)
		a.Limit = d[0]
		return ok, nil
	}
	s := spendings.Get().(*spending) //nolint:forcetypeassert // the pool holds nothing else
	defer spendings.Put(s)
	s.shown, s.requests = s.shown[:0], s.requests[:0]
	var found uint64
	s.add(e, &limit{name: keyLimit, shown: keyLimit, bucket: keyLimit, perKey: true, policy: e.limit}, p, &found)
	for _, list := range [...]limits{e.own, e.shared, ofProduct} {
		for i := range list {
			s.add(e, &list[i], p, &found)
		}
	}
	for i := range p.Limits {
		if found&(1<<i) == 0 {
			return false, fault.InvalidField(fmt.Sprintf("limits[%d].name", i), "rate_limit_not_found",
				"Neither the key, nor its tenant, nor the product has a rate limit %q.", p.Limits[i].Name)
		}
	}
	s.decisions = slices.Grow(s.decisions[:0], len(s.requests))[:len(s.requests)]
	ok := v.draw(ctx, now, s.requests, s.decisions, p.Peek)
	a.Limit = s.decisions[0]
	if len(s.requests) > 1 {
		a.Limits = make([]ratelimit.Named, len(s.requests))
		for i, d := range s.decisions {
			a.Limits[i] = ratelimit.Named{Name: s.shown[i], Decision: d}
		}
	}
	return ok, nil
}

// draw asks whoever keeps the buckets, in one step.
func (v *Verifier) draw(ctx context.Context, now time.Time, requests []ratelimit.Request[Bucket], d []ratelimit.Decision, peek bool) bool {
	switch {
	case v.shared != nil && peek:
		return v.shared.PeekAll(ctx, now, requests, d)
	case v.shared != nil:
		return v.shared.AllowAll(ctx, now, requests, d)
	case peek:
		return v.limiter.PeekAll(now, requests, d)
	default:
		return v.limiter.AllowAll(now, requests, d)
	}
}

// RateLimits appends the decisions on all rate limits that the verification came
// to: the key's own first, as "key".
func (a *Verification) RateLimits(to []ratelimit.Named) []ratelimit.Named {
	switch {
	case len(a.Limits) > 0:
		return append(to, a.Limits...)
	case a.Limit.Limit.Rate > 0:
		return append(to, ratelimit.Named{Name: keyLimit, Decision: a.Limit})
	default:
		return to
	}
}
