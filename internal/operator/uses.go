package operator

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// uses collects when tokens and people were last seen, so that a request writes
// nothing. It holds one entry a token or person since the last flush; a process
// that dies loses at most that.
type uses struct {
	mu      sync.Mutex
	tokens  map[id.Token]use
	people  map[id.Operator]time.Time
	digests map[id.Token]string
}

type use struct {
	at time.Time
	ip netip.Addr
}

func (u *uses) note(g *grant, at time.Time, ip netip.Addr) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens, u.people = map[id.Token]use{}, map[id.Operator]time.Time{}
	}
	if !g.Token.IsZero() {
		u.tokens[g.Token] = use{at, ip}
	}
	if !g.OperatorID.IsZero() {
		u.people[g.OperatorID] = at
	}
}

// redigest asks for a token's digest to be rewritten under the current pepper, so
// that the retired one can be removed some day.
func (u *uses) redigest(token id.Token, digest string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.digests == nil {
		u.digests = map[id.Token]string{}
	}
	u.digests[token] = digest
}

// Flush writes what Authenticate has seen since the last time; the composition
// root calls it every few seconds. A row is written at most once a minute, so
// last_used_at is that much late. On failure
// nothing of it is lost unless the process ends.
func (s *Service) Flush(ctx context.Context) error {
	u := &s.uses
	u.mu.Lock()
	tokens, people, digests := u.tokens, u.people, u.digests
	u.tokens, u.people, u.digests = nil, nil, nil
	u.mu.Unlock()
	if len(tokens)+len(people)+len(digests) == 0 {
		return nil
	}
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error { return markUsed(ctx, tx, tokens, people, digests) })
	if err == nil {
		return nil
	}
	// Put back what nobody has overtaken since.
	for token, seen := range tokens {
		u.mu.Lock()
		_, newer := u.tokens[token]
		u.mu.Unlock()
		if !newer {
			u.note(&grant{Token: token}, seen.at, seen.ip)
		}
	}
	for person, at := range people {
		u.mu.Lock()
		_, newer := u.people[person]
		u.mu.Unlock()
		if !newer {
			u.note(&grant{OperatorID: person}, at, netip.Addr{})
		}
	}
	for token, digest := range digests {
		u.redigest(token, digest)
	}
	return err
}
