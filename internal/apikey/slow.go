package apikey

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// A key that was imported as an argon2id or bcrypt hash can't be looked up by its
// token: the keys that begin as the token does are tried. That costs up to a
// second of a processor each, which is a weapon in a stranger's hand. So it is
// bounded: by what a hash may cost (secret.ParseSlowHash), by how many keys may
// begin alike, by how many checks run and wait at a time, and each is made once.
// All that only until the key was seen the first time: then its digest is stored
// in place of the slow hash.
const (
	// MaxSlowKeys is how many keys with slow hashes may begin alike.
	MaxSlowKeys = 4
	// slowCandidates is how many keys one token is checked against, if keys of
	// several lengths of beginnings fit it.
	slowCandidates = 4 * MaxSlowKeys
	// slowLine is how many checks may run or wait, for each that may run. A
	// quarter of them may be of tokens that begin alike, so that who floods one
	// beginning does not keep the others' keys out.
	slowLine = 16
	// slowPatience is how long a check waits for its turn.
	slowPatience = time.Second
	// maxSlowChecks bounds the memory that checks take: 64 MiB each.
	maxSlowChecks = 8
	// verdicts bounds what is remembered of checks. Whether a hash is a token's
	// never changes.
	verdictsKnown = 50_000
)

// errSlowBusy is the answer to who comes when too many checks wait already.
var errSlowBusy = &fault.Error{
	Kind: fault.Unavailable, Code: "key_check_busy", RetryAfter: time.Second,
	Detail: "Too many keys that were imported as slow hashes are being checked at the same time.",
}

// candidate is a key that may be a token's.
type candidate struct {
	ID     id.APIKey `db:"id"`
	Prefix string    `db:"prefix"`
	Hash   string    `db:"hash"`
}

// checked is a question that was answered: is this hash of this token?
type checked struct {
	sum  secret.Sum
	hash string
}

// slowChecks makes the checks.
type slowChecks struct {
	most     int64 // that run at a time
	turns    *semaphore.Weighted
	verdicts *otter.Cache[checked, bool]
	flights  singleflight.Group

	mu     sync.Mutex
	line   int            // checks that run or wait,
	begins map[string]int // and how many of them are of tokens that begin so

	made    atomic.Uint64
	refused atomic.Uint64
	running atomic.Int64
	peak    atomic.Int64 // the most that ran at a time
}

func newSlowChecks(most int) *slowChecks {
	most = min(max(1, most), maxSlowChecks)
	return &slowChecks{
		most: int64(most), turns: semaphore.NewWeighted(int64(most)), begins: map[string]int{},
		verdicts: otter.Must(&otter.Options[checked, bool]{MaximumSize: verdictsKnown}),
	}
}

// matches reports whether a candidate's hash is the token's. Whoever asks the
// same at the same time waits for one check; who leaves does not end it.
func (s *slowChecks) matches(ctx context.Context, sum secret.Sum, token string, c candidate) (bool, error) {
	question := checked{sum, c.Hash}
	if is, ok := s.verdicts.GetIfPresent(question); ok {
		return is, nil
	}
	done := s.flights.DoChan(string(sum[:])+c.Hash, func() (any, error) {
		if is, ok := s.verdicts.GetIfPresent(question); ok {
			return is, nil
		}
		h, err := secret.ParseSlowHash(c.Hash)
		if err != nil { // a newer version takes what this one does not: no key of ours
			return false, nil //nolint:nilerr // that is the answer
		}
		is, err := s.check(context.WithoutCancel(ctx), token, c.Prefix, h)
		if err == nil {
			s.verdicts.Set(question, is)
		}
		return is, err
	})
	select {
	case <-ctx.Done():
		return false, gone(ctx.Err())
	case r := <-done:
		is, _ := r.Val.(bool)
		return is, r.Err
	}
}

// check waits for its turn and computes the hash.
func (s *slowChecks) check(ctx context.Context, token, begin string, h secret.SlowHash) (bool, error) {
	if !s.enter(begin) {
		s.refused.Add(1)
		return false, errSlowBusy
	}
	defer s.leave(begin)
	weight := min(int64(h.Lanes()), s.most)
	wait, cancel := context.WithTimeout(ctx, slowPatience)
	defer cancel()
	if s.turns.Acquire(wait, weight) != nil {
		s.refused.Add(1)
		return false, errSlowBusy
	}
	defer s.turns.Release(weight)
	s.made.Add(1)
	n := s.running.Add(1)
	defer s.running.Add(-1)
	p := s.peak.Load()
	for n > p && !s.peak.CompareAndSwap(p, n) {
		p = s.peak.Load()
	}
	return h.Matches(token), nil
}

func (s *slowChecks) enter(begin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := slowLine * int(s.most)
	if s.line >= most || s.begins[begin] >= most/4 {
		return false
	}
	s.line++
	s.begins[begin]++
	return true
}

func (s *slowChecks) leave(begin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line--
	if s.begins[begin]--; s.begins[begin] == 0 {
		delete(s.begins, begin)
	}
}

// lookupSlow looks for a token among the keys that begin as it does. No
// connection is held while a hash is computed.
func (v *Verifier) lookupSlow(ctx context.Context, sum secret.Sum, token string, begins []string) (*entry, error) {
	seq := v.gens.last.Load() // before the statement: see generations
	none := func() ([]candidate, bool) { return nil, false }
	never := func([]candidate) bool { return false }
	candidates, err := flight(ctx, v, "c"+string(sum[:]), none, func(ctx context.Context) (list []candidate, err error) {
		err = v.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
			list, err = selectCandidates(ctx, tx, begins)
			return err
		})
		return list, err
	}, never)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		switch is, err := v.slow.matches(ctx, sum, token, c); {
		case err != nil:
			return nil, err
		case is:
			// Another replica may have seen the key just before, and stored its digest.
			return v.load(ctx, sum, token, c.Hash, true)
		}
	}
	v.absent.Set(sum, seq)
	return nil, nil
}
