// Package idempotency remembers the answer to a request, so that a caller who
// never saw it can ask again without doing the thing twice.
//
//	(none) ──Begin──▶ pending ──the mutation commits──▶ applied ──Finish──▶ done (replayed for 24 h)
//	            ▲        │ refused, or the process       │ the process died
//	            └────────┘ died before its commit        └▶ the answer is lost
//
// A request is claimed before it runs. Its mutation marks the claim as applied in
// its own transaction (through pg.WithCommitHook), so that after kill -9 the
// state says truly whether the thing was done. Only answers of success are
// kept, encrypted, because one may hold a secret that is shown once.
//
// Writes and reads: idempotency_keys.
package idempotency

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

const (
	// Keep is how long an answer is replayed.
	Keep = 24 * time.Hour
	// hold is how long a claim keeps others away: longer than a request may take,
	// answer kept and all. One that runs longer loses its claim, and then its
	// transaction is refused.
	hold = 30 * time.Second
	// MaxKey is the longest key accepted.
	MaxKey = 255
)

// Request identifies what the caller asked for.
type Request struct {
	Principal string // type and id of the caller: two callers may use the same key
	Key       string
	Method    string
	Path      string
	Body      []byte
}

// Answer is what was said.
type Answer struct {
	Status int
	Header map[string]string // the few that belong to the answer: Location, ETag, Content-Type
	Body   []byte
}

// Store keeps claims and answers.
type Store struct {
	db   *pg.DB
	keys *secret.Keyring
	now  func() time.Time
}

// New returns a store; now is nil for the system's clock.
func New(db *pg.DB, keys *secret.Keyring, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{db: db, keys: keys, now: now}
}

// Claim is the right to carry out a request.
type Claim struct {
	store *Store
	req   Request
	token uuid.UUID
}

// Begin claims a request, or returns the answer it got before. A key that was
// used for another request is refused, as is one whose request is still running.
func (s *Store) Begin(ctx context.Context, r Request) (*Claim, *Answer, error) {
	if err := validKey(r.Key); err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(r.Body)
	now := s.now().UTC().Truncate(time.Microsecond)
	token := uuid.New()
	var row claimRow
	err := s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		row, err = claim(ctx, tx, r, sum[:], token, now)
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case row.Mine:
		return &Claim{store: s, req: r, token: token}, nil, nil
	case row.Method != r.Method || row.Path != r.Path || string(row.BodyHash) != string(sum[:]):
		return nil, nil, fault.New(fault.InvalidKind, "idempotency_key_reused", "This Idempotency-Key was used for another request: use a fresh key for each.")
	case row.State == "pending", row.State == "applied" && row.Held: // or its answer is about to be kept
		e := fault.Conflict("idempotency_in_progress", "The first request with this Idempotency-Key is still running.")
		e.RetryAfter = time.Second
		return nil, nil, e
	case row.State == "applied":
		return nil, nil, fault.Conflict("idempotency_answer_lost", "The first request with this Idempotency-Key was carried out, but its answer was lost: read the thing instead of making it again.")
	}
	body, err := s.keys.Open(row.Response, at(r))
	if err != nil {
		return nil, nil, fault.Conflict("idempotency_answer_lost", "The first request with this Idempotency-Key was carried out, but its answer can no longer be read.")
	}
	return nil, &Answer{Status: int(row.Status), Header: row.Headers, Body: []byte(body.Reveal())}, nil
}

// Context returns a context whose writing transactions mark the claim as
// applied. A transaction of a claim that was lost is refused.
func (c *Claim) Context(ctx context.Context) context.Context {
	return pg.WithCommitHook(ctx, func(ctx context.Context, tx pg.Tx) error {
		n, err := markApplied(ctx, tx, c.req, c.token)
		if err == nil && n == 0 {
			err = fault.Conflict("idempotency_in_progress", "Another request with this Idempotency-Key has taken over.")
		}
		return err
	})
}

// Finish keeps the answer of a request that succeeded, and frees the key of one
// that was refused: nothing was done, so it may be tried again.
func (c *Claim) Finish(ctx context.Context, a Answer) error {
	ctx = pg.WithCommitHook(ctx, nil) // ctx may be the request's own, which marks the claim
	return c.store.db.AsOperator(ctx, func(tx pg.Tx) error {
		if a.Status < 200 || a.Status > 299 {
			return release(ctx, tx, c.req, c.token)
		}
		sealed := c.store.keys.Seal(secret.NewText(string(a.Body)), at(c.req))
		return finish(ctx, tx, c.req, c.token, a, sealed)
	})
}

// Sweep forgets answers older than Keep, at most a thousand at a time, and says
// how many.
func (s *Store) Sweep(ctx context.Context) (n int64, err error) {
	err = s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		n, err = sweep(ctx, tx, s.now())
		return err
	})
	return n, err
}

func at(r Request) secret.Row {
	return secret.Row{Table: "idempotency_keys", Column: "response_encrypted", ID: r.Principal + "\x1f" + r.Key}
}

func validKey(k string) error {
	if k == "" || len(k) > MaxKey {
		return fault.New(fault.Malformed, "idempotency_key_malformed", "Idempotency-Key is 1 to %d printable ASCII characters.", MaxKey)
	}
	for i := range len(k) {
		if k[i] < 0x21 || k[i] > 0x7e {
			return fault.New(fault.Malformed, "idempotency_key_malformed", "Idempotency-Key is 1 to %d printable ASCII characters.", MaxKey)
		}
	}
	return nil
}
