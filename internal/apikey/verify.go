package apikey

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/maypok86/otter/v2"

	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/secret"
)

// VerifyParams is a question: may this token do that? What is left out is not asked.
type VerifyParams struct {
	Token       string // as the caller sent it; never logged
	Product     string
	Project     id.Project
	Environment Environment
	Scopes      []string // all of them are needed
	// Write says that the request changes something although no scope tells so.
	Write bool
	// IP is the end caller's; an allow-list, the key's or a policy's, refuses an unknown one.
	IP   netip.Addr
	Cost int64 // of each rate limit; 0 is 1
	// Limits say another cost of the limits of a name, and ask for those that are
	// spent from only by name.
	Limits []LimitCost
	// Peek answers as if, and neither spends nor counts anything.
	Peek bool
	// Confine answers NOT_FOUND for keys that are neither this tenant's nor of
	// one below it.
	Confine id.Tenant

	named *projectEntry // Project, where a batch has looked it up with others
}

// Bounds of a question.
const (
	MaxVerifyScopes = 50
	MaxVerifyCost   = MaxRPM
	MaxVerifyLimits = 10
)

// Validate checks what a face can't: forms of scopes and values.
func (p *VerifyParams) Validate() error {
	if (p.Environment == "" || p.Environment.Valid()) && p.Cost >= 0 && p.Cost <= MaxVerifyCost && len(p.Scopes) <= MaxVerifyScopes && len(p.Limits) <= MaxVerifyLimits {
		ok := true
		for i, l := range p.Limits {
			ok = ok && ratelimit.ValidRuleName(l.Name) && l.Cost >= 0 && l.Cost <= MaxVerifyCost && !p.namedBefore(i)
		}
		for _, s := range p.Scopes {
			ok = ok && ValidScope(s)
		}
		if ok {
			return nil
		}
	}
	var f fault.Fields
	f.Check(p.Environment == "" || p.Environment.Valid(), "environment", "not_one_of", "environment is live or test.")
	f.Check(p.Cost >= 0 && p.Cost <= MaxVerifyCost, "cost", "out_of_range", "cost is a whole number from 0 to %d.", MaxVerifyCost)
	f.Check(len(p.Scopes) <= MaxVerifyScopes, "scopes", "too_many", "A verification asks for at most %d scopes.", MaxVerifyScopes)
	for _, s := range p.Scopes {
		f.Check(ValidScope(s), "scopes", "scope_malformed", "%.100q is not a scope to ask for: no wildcards here.", s)
	}
	f.Check(len(p.Limits) <= MaxVerifyLimits, "limits", "too_many", "A verification names at most %d rate limits.", MaxVerifyLimits)
	for i, l := range p.Limits {
		at := fmt.Sprintf("limits[%d].", i)
		f.Check(ratelimit.ValidRuleName(l.Name), at+"name", "name_malformed", "%.60q is no name of a rate limit.", l.Name)
		f.Check(l.Cost >= 0 && l.Cost <= MaxVerifyCost, at+"cost", "out_of_range", "cost is a whole number from 0 to %d.", MaxVerifyCost)
		f.Check(!p.namedBefore(i), at+"name", "duplicate", "The rate limit %.60q is named twice.", l.Name)
	}
	return f.Err()
}

func (p *VerifyParams) namedBefore(i int) bool {
	return slices.ContainsFunc(p.Limits[:i], func(l LimitCost) bool { return l.Name == p.Limits[i].Name })
}

// Verification is the answer. From MALFORMED and NOT_FOUND on nothing else is
// set; otherwise it tells whose key it is also when it denies. Slices and raw
// JSON are shared with the cache and must not be changed.
type Verification struct {
	Outcome     Outcome
	KeyID       id.APIKey
	KeyName     string
	TenantID    id.Tenant
	TenantSlug  string
	ProjectID   id.Project // the one asked for, else the key's; zero: the tenant as a whole
	Product     string     // the one asked for, else the key's
	Environment Environment
	Scopes      []string
	Metadata    json.RawMessage
	// ReadOnly is set while the tenant or an ancestor is frozen.
	ReadOnly bool
	// ExpiresAt is when the key ends, or its grace does; zero is never.
	ExpiresAt time.Time
	// Config and EntitledUntil are of the tenant's entitlement to Product.
	Config        json.RawMessage
	EntitledUntil time.Time // zero: for good
	// Limit is the key's rate limit after this verification; its Rate is zero
	// when an earlier check denied.
	Limit ratelimit.Decision
	// Limits are all the rate limits that the verification came to, that one among
	// them; nil when there is no other.
	Limits []ratelimit.Named
}

// UsageLimit reports whether a tenant may use as much more of a product. It is
// asked last, after everything else allowed, and must not block for long.
type UsageLimit func(ctx context.Context, v *Verification, cost int64) (allowed bool, err error)

// VerifierConfig is what a Verifier needs beside its database.
type VerifierConfig struct {
	// Fresh reports whether Apply was given every change that was committed up to
	// a second ago. While it says no, nothing is answered from memory. nil is never.
	Fresh func() bool
	// Within lets a reseller's key reach the tenants below its own; nil confines
	// every key to its own tenant.
	Within Within
	// UsageLimit may be nil.
	UsageLimit UsageLimit
	// CacheBytes bounds the memory of known keys; 0 is 320 MiB, about a
	// million keys.
	CacheBytes uint64
	// AbsentKeys bounds what is remembered of tokens that don't exist; 0 is 100,000.
	AbsentKeys int
	// SlowChecks bounds how many argon2id and bcrypt hashes are computed at a time;
	// 0 is half of the processors.
	SlowChecks int
	// Shared keeps the rate limits of all replicas together; nil keeps this
	// replica's own.
	Shared *ratelimit.Shared[Bucket]
	Now    func() time.Time
	Log    *slog.Logger
}

const (
	defaultCacheBytes = 320 << 20
	// backstop is how long an entry may live, should a change ever not be told.
	// The bound on staleness is the freshness lease, not this.
	backstop = 5 * time.Minute
	// absentKeys and absentFor bound what is remembered of tokens that don't exist.
	// They are apart from the others, so that garbage can't drive good keys out. A
	// token that we make can't come to exist after it was asked for: it has 256
	// random bits. One that is imported can, and generations tell.
	absentKeys = 100_000
	absentFor  = 10 * time.Second
	// projectsKnown bounds the cache of projects that requests name.
	projectsKnown = 100_000
	// loadTimeout is the longest a caller waits for the database.
	loadTimeout = 2 * time.Second
)

// Verifier answers whether a token may do something. It is safe for concurrent use.
type Verifier struct {
	db      *pg.DB
	ring    *secret.Keyring
	fresh   func() bool
	limit   UsageLimit
	limiter *ratelimit.Limiter[Bucket]
	shared  *ratelimit.Shared[Bucket] // or nil
	now     func() time.Time
	log     *slog.Logger

	gens     *generations
	views    views
	entries  *otter.Cache[secret.Sum, *entry]
	absent   *otter.Cache[secret.Sum, uint64] // by which change they were not there
	projects *otter.Cache[id.Project, *projectEntry]
	flights  singleflight.Group
	lookups  chan struct{} // of those statements that may be under way
	reads    atomic.Uint64 // statements sent, to tell one that began before from one that began after
	misses   atomic.Uint64
	late     atomic.Uint64 // look-ups while the change feed was not fresh
	hits     [hitCounters]hitCounter
	usage    usage
	within   Within
	forms    *forms
	slow     *slowChecks
}

// hitCounters is how many counters the hits are spread over, so that processors
// don't fight over one.
const hitCounters = 8

type hitCounter struct {
	known, absent atomic.Uint64
	_             [48]byte // the rest of a cache line
}

// Stats are the verifier's counters, for metrics.
type Stats struct {
	Hits       uint64 // look-ups answered from memory with a key
	AbsentHits uint64 // look-ups answered from memory with "no such key"
	Misses     uint64 // look-ups that asked the database, alone or with others
	Late       uint64 // look-ups that memory was not trusted with, because the change feed was late
	Statements uint64 // statements sent for them, and for projects that requests name
	Entries    int    // keys in memory, current or not
	Bytes      uint64 // about what they take
	Absent     int    // unknown tokens in memory
	SlowChecks uint64 // slow hashes computed
	SlowBusy   uint64 // and those refused because too many others were
	SlowPeak   int64  // the most computed at a time
}

// Stats returns the counters.
func (v *Verifier) Stats() Stats {
	s := Stats{
		Misses: v.misses.Load(), Late: v.late.Load(), Statements: v.reads.Load(),
		Entries: v.entries.EstimatedSize(), Bytes: v.entries.WeightedSize(), Absent: v.absent.EstimatedSize(),
		SlowChecks: v.slow.made.Load(), SlowBusy: v.slow.refused.Load(), SlowPeak: v.slow.peak.Load(),
	}
	for i := range v.hits {
		s.Hits += v.hits[i].known.Load()
		s.AbsentHits += v.hits[i].absent.Load()
	}
	return s
}

// Within reports whether a tenant is another, or lies below it.
type Within func(ctx context.Context, ancestor, tenant id.Tenant) (bool, error)

// NewVerifier returns a verifier. Flush it periodically, and Close it at the end.
func NewVerifier(db *pg.DB, ring *secret.Keyring, c VerifierConfig) *Verifier {
	if c.Fresh == nil {
		c.Fresh = func() bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.AbsentKeys == 0 {
		c.AbsentKeys = absentKeys
	}
	if c.SlowChecks == 0 {
		c.SlowChecks = runtime.GOMAXPROCS(0) / 2
	}
	return &Verifier{
		forms: newForms(), slow: newSlowChecks(c.SlowChecks),
		db: db, ring: ring, fresh: c.Fresh, within: c.Within, limit: c.UsageLimit, limiter: ratelimit.New[Bucket](0), shared: c.Shared,
		now: c.Now, log: c.Log,
		gens: &generations{}, lookups: make(chan struct{}, lookupsOf(db.Stat().MaxConns())),
		entries: otter.Must(&otter.Options[secret.Sum, *entry]{
			MaximumWeight:    c.CacheBytes,
			Weigher:          func(_ secret.Sum, e *entry) uint32 { return e.weight },
			ExpiryCalculator: otter.ExpiryWriting[secret.Sum, *entry](backstop),
			OnAtomicDeletion: func(d otter.DeletionEvent[secret.Sum, *entry]) { d.Value.letGo() },
		}),
		absent: otter.Must(&otter.Options[secret.Sum, uint64]{
			MaximumSize:      c.AbsentKeys,
			ExpiryCalculator: otter.ExpiryWriting[secret.Sum, uint64](absentFor),
		}),
		projects: otter.Must(&otter.Options[id.Project, *projectEntry]{
			MaximumSize:      projectsKnown,
			ExpiryCalculator: otter.ExpiryWriting[id.Project, *projectEntry](backstop),
		}),
		usage: usage{db: db, replica: uuid.New(), unsent: map[id.APIKey]used{}, hashes: map[id.APIKey]rehash{}},
	}
}

// lookupsOf is how many connections of a pool misses may hold at a time: some are
// left, so that a flood of unknown tokens doesn't keep everybody else from the
// database.
func lookupsOf(pool int32) int32 { return max(1, pool-max(1, pool/4)) }

// Check answers a question from a caller that is trusted already: a gateway on
// the private listener. Others come through Service.Verify.
//
// An error is never a denial: it says that nothing can be said, mostly because
// the database is away.
func (v *Verifier) Check(ctx context.Context, p *VerifyParams) (Verification, error) {
	if err := p.Validate(); err != nil {
		return Verification{}, err
	}
	e, formed, err := v.lookup(ctx, p.Token)
	switch {
	case err != nil:
		return Verification{}, err
	case !formed:
		return Verification{Outcome: Malformed}, nil
	default:
		return v.decide(ctx, e, p)
	}
}

// decide answers a question about a key; nil is that there is none.
func (v *Verifier) decide(ctx context.Context, e *entry, p *VerifyParams) (_ Verification, err error) {
	if e == nil || !p.Confine.IsZero() && !e.below(p.Confine) {
		return Verification{Outcome: NotFound}, nil
	}
	now := v.now()
	a := answer(e, p)
	if a.Outcome, err = v.judge(ctx, e, p, now, &a); err != nil {
		return Verification{}, err
	}
	if a.Outcome == Valid && !p.Peek {
		v.usage.note(e, now, p.IP)
	}
	return a, nil
}

func answer(e *entry, p *VerifyParams) Verification {
	a := Verification{
		KeyID: e.id, KeyName: e.name, TenantID: e.tenant, TenantSlug: e.tenantSlug, ProjectID: e.project,
		Product: e.product, Environment: e.environment, Scopes: e.scopes.all, Metadata: e.metadata, ReadOnly: e.frozen,
	}
	if !p.Project.IsZero() {
		a.ProjectID = p.Project
	}
	if p.Product != "" {
		a.Product = p.Product
	}
	if e.ends != 0 {
		a.ExpiresAt = time.Unix(0, e.ends).UTC()
	}
	return a
}

// judge makes the checks in their order: key state → tenant and project state →
// environment → IP → entitlement → scope → rate limit → usage limit.
func (v *Verifier) judge(ctx context.Context, e *entry, p *VerifyParams, now time.Time, a *Verification) (Outcome, error) {
	at := now.UnixNano()
	if o := e.keyState(at); o != "" {
		return o, nil
	}
	foreign, o, err := v.tenantAndProject(ctx, e, p)
	if o != "" || err != nil {
		return o, err
	}
	if e.barred || p.Environment != "" && p.Environment != e.environment {
		return EnvironmentMismatch, nil
	}
	if !e.from(p.IP) {
		return IPNotAllowed, nil
	}
	var have *entitled
	if a.Product != "" {
		have = e.entitlement(a.Product, at)
		if have == nil || e.product != "" && e.product != a.Product {
			return NotEntitled, nil
		}
		a.Config = have.config
		if have.until != 0 {
			a.EntitledUntil = time.Unix(0, have.until).UTC()
		}
	}
	if foreign || !e.scopes.hasAll(p.Scopes) {
		return InsufficientScope, nil
	}
	switch ok, err := v.spend(ctx, now, e, have, p, a); {
	case err != nil:
		return "", err
	case !ok:
		return RateLimited, nil
	}
	if v.limit != nil && !p.Peek {
		told := *a // a copy, or every answer would go to the heap for what a stranger might keep
		switch ok, err := v.limit(ctx, &told, max(p.Cost, 1)); {
		case err != nil:
			return "", err
		case !ok:
			return LimitExceeded, nil
		}
	}
	return Valid, nil
}

// tenantAndProject is the fourth check. foreign says that the project that was
// asked for is out of the key's reach, which is a matter of scope and told later.
func (v *Verifier) tenantAndProject(ctx context.Context, e *entry, p *VerifyParams) (foreign bool, o Outcome, err error) {
	if e.tenantDenied != "" {
		return false, e.tenantDenied, nil
	}
	if e.frozen {
		if p.Write {
			return false, TenantFrozen, nil
		}
		product := p.Product
		if product == "" {
			product = e.product
		}
		for _, s := range p.Scopes {
			if e.writes(s, product) {
				return false, TenantFrozen, nil
			}
		}
	}
	if e.projectArchived {
		return false, ProjectArchived, nil
	}
	if p.Project.IsZero() || p.Project == e.project {
		return false, "", nil
	}
	if !e.project.IsZero() {
		return true, "", nil // the key is another project's
	}
	project := p.named
	if project == nil {
		if project, err = v.project(ctx, p.Project); err != nil {
			return false, "", err
		}
	}
	switch {
	case project.tenant != e.tenant: // another tenant's, or there is none
		return true, "", nil
	case project.archived:
		return false, ProjectArchived, nil
	default:
		return false, "", nil
	}
}

// Apply tells what changed. It is the change feed's consumer: after it returns,
// nothing that was read before the changes is answered with.
func (v *Verifier) Apply(changes []changefeed.Change) {
	for _, c := range changes {
		switch c.Kind {
		case "api_key", "tenant", "project":
			// The id is a UUID, whatever it names. Without one, all of the tenant's.
			thing, err := id.Parse[id.APIKey](c.ID)
			if err != nil {
				thing = id.APIKey(c.TenantID)
			}
			v.gens.change(thing.IsZero(), thing)
		case "entitlement", "key_policy", "rate_limit":
			v.gens.change(c.TenantID.IsZero(), c.TenantID)
		case "catalog":
			v.Forget()
		case importKind:
			v.heardOf(decodeForms(c.ID))
		default: // a noun that no verification depends on
		}
	}
}

// Forget makes everything that is known stale, as when changes were missed.
func (v *Verifier) Forget() {
	v.forms.stale.Store(true)
	v.gens.change(true)
}

// Flush writes the use of keys since the last call. Uses are counted once, also
// when it fails without an answer and is called again.
func (v *Verifier) Flush(ctx context.Context) error { return v.usage.flush(ctx) }

// TrimFlushes forgets the flushes of replicas that ended long ago.
func (v *Verifier) TrimFlushes(ctx context.Context) error {
	return v.db.AsOperator(ctx, func(tx pg.Tx) error { return trimFlushes(ctx, tx, flushesKept) })
}

// closeAttempts is how often Close tries to write what was not written yet, and
// closePause the time between: a connection that broke is no reason to lose it.
const (
	closeAttempts = 3
	closePause    = 100 * time.Millisecond
)

// Close writes what was not written yet. Call it when no Check can come any more.
func (v *Verifier) Close(ctx context.Context) error {
	v.entries.StopAllGoroutines()
	v.absent.StopAllGoroutines()
	v.slow.verdicts.StopAllGoroutines()
	v.projects.StopAllGoroutines()
	err := v.Flush(ctx)
	for n := 1; err != nil && n < closeAttempts; n++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(closePause):
		}
		err = v.Flush(ctx)
	}
	return err
}
