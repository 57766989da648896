package event

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Erased is what an erasure deleted, or would.
type Erased struct {
	Before time.Time  // what was written before is meant
	Events int64      // deleted by this call; of a dry run, those there are, up to CountMost
	More   bool       // there may be more: repeat the call, unless it was a dry run
	Oldest *time.Time // of those that a dry run counted, the oldest there are
	Newest *time.Time
}

// EraseParams say what to delete.
type EraseParams struct {
	Before time.Time // what was written before; zero: all that there is
	Reason string
	DryRun bool // only tell what there is
}

// EraseBatch is the most events that one call deletes, so that it stays short and
// can be stopped between two.
const EraseBatch = 10_000

// CountMost is the most events that a dry run counts, so that it stays short too.
const CountMost = 1_000_000

// WithRecord says how an erasure is recorded, in its transaction.
func WithRecord(record func(ctx context.Context, tx pg.Tx, tenant id.Tenant, e Erased, reason string) error) Option {
	return func(s *Service) { s.record = record }
}

const maxReason = 500

// Erase deletes events of a tenant, the oldest first, at most EraseBatch of them:
// while there may be more, call again, with the Before of the answer. Each call is
// a transaction: one that dies has deleted nothing, those before it stay. Webhooks
// that were still to tell of the events give up. The audit log is not touched. A
// tenant under legal hold keeps its events.
func (s *Service) Erase(ctx context.Context, tenant id.Tenant, p EraseParams) (Erased, error) {
	if err := access.Require(ctx, access.EventsErase, tenant); err != nil {
		return Erased{}, err
	}
	now := s.now().UTC()
	if p.Before.IsZero() {
		p.Before = now
	}
	p.Reason = strings.TrimSpace(p.Reason)
	var bad fault.Fields
	bad.Check(!p.Before.After(now), "before", "out_of_range", "This lies in the future.")
	bad.Check(utf8.RuneCountInString(p.Reason) <= maxReason, "reason", "too_long", "At most %d characters.", maxReason)
	bad.Check(utf8.ValidString(p.Reason) && !strings.ContainsFunc(p.Reason, unicode.IsControl), "reason", "invalid_text", "Control characters can't be stored here.")
	if err := bad.Err(); err != nil {
		return Erased{}, err
	}
	if p.DryRun {
		return s.erasable(ctx, tenant, p.Before)
	}
	var e Erased
	err := s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		held, err := heldOf(ctx, tx, tenant)
		switch {
		case err != nil:
			return pg.Found(err, "tenant")
		case held:
			return fault.Conflict("tenant_on_hold", "The tenant is under legal hold: its events stay until it is released.")
		}
		e = Erased{Before: p.Before}
		if e.Events, err = eraseSome(ctx, tx, tenant, p.Before, EraseBatch); err != nil || e.Events == 0 {
			return err
		}
		e.More = e.Events == EraseBatch
		return s.record(ctx, tx, tenant, e, p.Reason)
	})
	return e, err
}

// erasable tells what there is to erase.
func (s *Service) erasable(ctx context.Context, tenant id.Tenant, before time.Time) (e Erased, err error) {
	err = s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		e, err = erasableOf(ctx, tx, tenant, before, CountMost)
		return pg.Found(err, "tenant")
	})
	e.Before, e.More = before, e.Events == CountMost
	return e, err
}
