package apikey

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// lookup returns what is known of a token; nil when there is no such key. It
// answers from memory while the change feed is fresh, else from the database.
//
// The form is looked at only when memory doesn't know the token: what it knows
// had it. Between random input and the database stands the checksum, or, once keys
// were imported, how their tokens begin.
func (v *Verifier) lookup(ctx context.Context, token string) (e *entry, formed bool, err error) {
	sum, e, found := v.recall(token)
	if found != unknown {
		return e, found != malformed, nil
	}
	v.misses.Add(1)
	e, err = v.lookupInDatabase(ctx, sum, token)
	return e, true, err
}

// recalled is what can be said of a token without asking the database.
type recalled uint8

const (
	unknown   recalled = iota
	known              // and there is a key
	absent             // known not to be a key
	malformed          // can't be one
)

// recall looks for a token in memory, and counts that.
func (v *Verifier) recall(token string) (secret.Sum, *entry, recalled) {
	if len(token) > MaxForeignToken {
		return secret.Sum{}, nil, malformed
	}
	sum, fresh := v.ring.Sum(token), v.fresh()
	e, ok := v.believed(sum, fresh)
	switch hits := &v.hits[sum[0]%hitCounters]; {
	case e != nil:
		hits.known.Add(1)
		return sum, e, known
	case ok:
		hits.absent.Add(1)
		return sum, nil, absent
	case !v.couldBe(token):
		return sum, nil, malformed
	default:
		if !fresh {
			v.late.Add(1)
		}
		return sum, nil, unknown
	}
}

// remembered returns what memory knows of a token; ok with nil is that there is
// no such key.
func (v *Verifier) remembered(sum secret.Sum) (e *entry, ok bool) { return v.believed(sum, v.fresh()) }

// believed is remembered for who knows whether the change feed is fresh: without
// that no key is believed to be as it was.
func (v *Verifier) believed(sum secret.Sum, fresh bool) (e *entry, ok bool) {
	if fresh {
		if e, ok := v.entries.GetIfPresent(sum); ok && v.current(e) {
			return e, true
		}
	}
	asked, ok := v.absent.GetIfPresent(sum)
	return nil, ok && v.gens.heard(asked)
}

// loaded is what a statement answered, and when it was sent: reads is the count
// of statements before it.
type loaded[T any] struct {
	value T
	read  uint64
}

// flight runs load once for all that ask for the same key at a time, unless who
// asked just before has left the answer in memory. A statement that was under way
// when a caller asked may not have seen a change that this caller must see: it
// takes the answer only if current vouches for it, and else asks again.
func flight[T any](
	ctx context.Context, v *Verifier, key string,
	remembered func() (T, bool), load func(context.Context) (T, error), current func(T) bool,
) (T, error) {
	var zero T
	asked := v.reads.Load()
	for {
		done := v.flights.DoChan(key, func() (any, error) {
			// The first caller's leaving must not fail the others.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
			defer cancel()
			select {
			case v.lookups <- struct{}{}:
				defer func() { <-v.lookups }()
			case <-ctx.Done():
				return nil, gone(ctx.Err())
			}
			if value, ok := remembered(); ok {
				return loaded[T]{value: value}, nil
			}
			read := v.reads.Add(1)
			value, err := load(ctx)
			return loaded[T]{value, read}, err
		})
		select {
		case <-ctx.Done():
			return zero, gone(ctx.Err())
		case r := <-done:
			if r.Err != nil {
				return zero, r.Err
			}
			got := r.Val.(loaded[T]) //nolint:forcetypeassert // keys of one type of value begin alike
			if got.read > asked || current(got.value) {
				return got.value, nil
			}
		}
	}
}

// gone is the answer to a caller that stopped waiting.
func gone(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "database_busy", Detail: "The database did not answer in time.",
		RetryAfter: time.Second, Err: err,
	}
}

// lookupInDatabase looks for the token's digests, and, if keys that were imported
// as slow hashes begin as it does, among those.
func (v *Verifier) lookupInDatabase(ctx context.Context, sum secret.Sum, token string) (*entry, error) {
	begins := v.forms.slow(token) // mostly none
	e, err := v.load(ctx, sum, token, "", len(begins) == 0)
	if e != nil || err != nil || len(begins) == 0 {
		return e, err
	}
	if e, ok := v.remembered(sum); ok {
		return e, nil
	}
	return v.lookupSlow(ctx, sum, token, begins)
}

// load reads the key whose stored form is one of the token's digests, or slow,
// unless that is empty. last says that without one there is no such key.
func (v *Verifier) load(ctx context.Context, sum secret.Sum, token, slow string, last bool) (*entry, error) {
	remembered := func() (looked, bool) {
		seq := v.gens.last.Load()
		e, ok := v.remembered(sum)
		return looked{e, seq}, ok
	}
	name := "k" + string(sum[:]) + slow
	found, err := flight(ctx, v, name, remembered, func(ctx context.Context) (looked, error) {
		seq := v.gens.last.Load() // before the statement: see generations
		stored := v.digests(token)
		if slow != "" {
			stored = append(stored, slow)
		}
		r, err := selectVerification(ctx, v.db, stored)
		switch {
		case pg.IsNoRows(err):
			if last {
				v.absent.Set(sum, seq)
			}
			return looked{nil, seq}, nil
		case err != nil:
			return looked{}, err
		}
		return looked{v.keep(sum, token, r, seq), seq}, nil
	}, func(l looked) bool {
		if l.e == nil {
			return v.gens.heard(l.seq)
		}
		return v.fresh() && v.current(l.e)
	})
	return found.e, err
}

// digests are all forms in which a token may be stored, but for slow hashes.
func (v *Verifier) digests(token string) []string {
	return append(v.ring.Digests(token), v.ring.ImportedDigests(token)...)
}

// keep makes an entry of a row that was read after change number seq, and keeps it
// unless something that it depends on has changed since.
func (v *Verifier) keep(sum secret.Sum, token string, r *row, seq uint64) *entry {
	e := v.views.newEntry(r, seq)
	if v.current(e) {
		e.hold()
		v.entries.Set(sum, e)
	}
	if !v.ring.IsCurrent(r.Hash) {
		v.usage.upgrade(e, v.ring.Digest(token))
	}
	return e
}

// looked is what a look-up found, or that it found nothing, by which change.
type looked struct {
	e   *entry
	seq uint64
}

// current reports whether nothing that the entry depends on changed since before
// it was read.
func (v *Verifier) current(e *entry) bool {
	s := e.stamped()
	return v.gens.current(&s)
}

// projectEntry is a project that requests name; its tenant is zero when there is none.
type projectEntry struct {
	stamp    stamp
	tenant   id.Tenant
	archived bool
}

// namedProject is a project that questions of a batch name.
type namedProject struct {
	ID       id.Project `db:"id"`
	Tenant   id.Tenant  `db:"tenant_id"`
	Archived bool       `db:"archived"`
}

// rememberedProject is what memory knows of a project.
func (v *Verifier) rememberedProject(project id.Project) (*projectEntry, bool) {
	if v.fresh() {
		if e, ok := v.projects.GetIfPresent(project); ok && v.gens.current(&e.stamp) {
			return e, true
		}
	}
	return nil, false
}

// keepProject is keep for a project; its tenant is zero when there is none.
func (v *Verifier) keepProject(project id.Project, tenant id.Tenant, archived bool, seq uint64) *projectEntry {
	e := &projectEntry{stamp: stamp{seq: seq}, tenant: tenant, archived: archived}
	e.stamp.mark(project)
	e.stamp.mark(e.tenant)
	if v.gens.current(&e.stamp) {
		v.projects.Set(project, e)
	}
	return e
}

func (v *Verifier) project(ctx context.Context, project id.Project) (*projectEntry, error) {
	remembered := func() (*projectEntry, bool) { return v.rememberedProject(project) }
	if e, ok := remembered(); ok {
		return e, nil
	}
	return flight(ctx, v, "p"+string(project[:]), remembered, func(ctx context.Context) (*projectEntry, error) {
		seq := v.gens.last.Load()
		p, err := selectProject(ctx, v.db, project)
		if err != nil && !pg.IsNoRows(err) {
			return nil, err
		}
		return v.keepProject(project, p.Tenant, p.Archived, seq), nil
	}, func(e *projectEntry) bool { return v.fresh() && v.gens.current(&e.stamp) })
}
