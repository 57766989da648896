package apikey

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// Bucket is what a rate limit counts by.
type Bucket struct {
	Tenant id.Tenant // whose key it is
	Key    id.APIKey
	Name   string // of the limit
}

// Append writes the bucket's name in Redis. All that one verification spends is
// the same tenant's, and the tenant is in braces: a cluster keeps it on one node.
func (k Bucket) Append(b []byte) []byte {
	b = append(b, '{')
	b, _ = k.Tenant.AppendText(b)
	b = append(b, '}', ':')
	b, _ = k.Key.AppendText(b)
	b = append(b, ':')
	return append(b, k.Name...)
}

// keyLimit is the name of a key's own limit, rate_limit_rpm.
const keyLimit = "key"

// spend takes cost out of the key's buckets, or only looks.
func (v *Verifier) spend(ctx context.Context, now time.Time, e *entry, cost int64, peek bool) ratelimit.Decision {
	requests := [1]ratelimit.Request[Bucket]{{Key: Bucket{e.tenant, e.id, keyLimit}, Limit: e.limit, Cost: cost}}
	var d [1]ratelimit.Decision
	switch {
	case v.shared != nil && peek:
		v.shared.PeekAll(ctx, now, requests[:], d[:])
	case v.shared != nil:
		v.shared.AllowAll(ctx, now, requests[:], d[:])
	case peek:
		v.limiter.PeekAll(now, requests[:], d[:])
	default:
		v.limiter.AllowAll(now, requests[:], d[:])
	}
	return d[0]
}
