// Package ratelimit limits how often something may happen, exactly: in this process (Limiter), or over all replicas through
// Redis (Shared).
//
// It is GCRA: a key's whole state is one time, the theoretical arrival time (TAT), at which its bucket will be full again.
// A request of cost c moves the TAT c emission intervals ahead, and is allowed when that leaves it no further than a
// full bucket ahead of now. There are no windows to align and no background refill.
//
//	empty bucket          now                         TAT ≤ now + Burst×interval
//	──────────────────────┼───────────────────────────┼──────────▶
//	                      └── ResetAfter ─────────────┘    TAT ≤ now: full bucket = no entry at all
//
// # Invariants
//
// In any stretch of time d, a key is allowed at most Burst + Rate×d/Period units, whatever the concurrency. A denied
// request spends nothing. What Remaining says is what would be allowed at that instant, exactly.
//
// A TAT in the past is the same as no entry, so sweeping such entries loses nothing, and memory follows the number of
// keys that recently spent something. Above the number of keys given to New, the entry that is nearest to full is forgotten and
// counted (Evicted): memory is bounded first, exactness second.
//
// Time is passed in. With a monotonic reading (time.Now) steps of the wall clock don't matter; without one, a clock
// stepping back empties a bucket at worst, and never gives more or locks a key out for longer than a bucket takes to
// fill.
//
// # Through Redis
//
// A Shared makes the same decisions in a Lua script, one round trip each, by Redis's clock, on keys that expire when their
// buckets are full. It is never in the way: when Redis is away, slow, full or a replica, the decision is made in this process
// instead, and tells so (Status, Counts, a line in the log a change). Each way it errs is bounded: a replica that lost Redis
// grants a key at most its whole rate, from where its bucket stood; when Redis is back, what was spent meanwhile is
// forgotten, at most a bucket for each key. A decision that timed out may have been made in Redis too: it is stricter then.
//
// Limiter reads and writes nothing outside the process; Shared writes only Redis keys that begin with "landlord:limit:".
package ratelimit
