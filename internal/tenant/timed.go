package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// tickBatch is how many tenants one transaction takes: enough to be quick, few
// enough that nobody waits for a row for long.
const tickBatch = 50

// Ticked counts what a tick did.
type Ticked struct {
	Frozen   int
	Archived int
}

// Tick carries out the transitions whose time has come. It works from the rows
// alone: one that was missed while no replica ran happens now, once; two
// replicas that tick together share the rows. It is recorded as done by the
// system, under "lifecycle".
func (s *Service) Tick(ctx context.Context, now time.Time) (Ticked, error) {
	ctx = access.AsSystem(ctx, "lifecycle")
	var sum Ticked
	// Archiving comes first: a tenant that freezes in this tick has its whole grace.
	for _, step := range []struct {
		sql  string
		done *int
	}{{dueArchivesSQL, &sum.Archived}, {dueTrialsSQL, &sum.Frozen}, {dueContractsSQL, &sum.Frozen}} {
		for {
			n, err := s.tickBatch(ctx, step.sql, now)
			*step.done += n
			if err != nil {
				return sum, err
			}
			if n < tickBatch {
				break
			}
		}
	}
	return sum, nil
}

func (s *Service) tickBatch(ctx context.Context, sql string, now time.Time) (int, error) {
	who, _ := access.From(ctx)
	n := 0
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		due, err := lockDue(ctx, tx, sql, now, tickBatch)
		if err != nil {
			return err
		}
		n = len(due)
		for _, t := range due {
			p, ok := t.byClock(now)
			if !ok {
				return fmt.Errorf("tenant %s is due by its row and not by the rules", t.ID)
			}
			if _, err := s.transition(ctx, tx, who, t, p, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Due is a transition that the clock will carry out.
type Due struct {
	TenantID id.Tenant `db:"id"`
	Slug     string    `db:"slug"`
	Name     string    `db:"name"`
	At       time.Time `db:"at"` // in the past: at the next tick
	Action   Action    `db:"action"`
	From     Status    `db:"from_status"`
	To       Status    `db:"to_status"`
	Reason   string    `db:"reason"`
}

type dueKey struct {
	At     time.Time `json:"t"`
	ID     id.Tenant `json:"i"`
	Action Action    `json:"a"`
}

// lookAhead is how far Due looks when it is not told.
const lookAhead = 30 * 24 * time.Hour

// Due lists the transitions that will happen until an instant, or in the next 30
// days, if nobody does anything, soonest first: for the platform all of them, for a tenant's own
// credential those of its own tenant and the ones below it.
func (s *Service) Due(ctx context.Context, until time.Time, r page.Request) (page.Page[Due], error) {
	var none page.Page[Due]
	who, err := access.RequireAny(ctx, access.TenantsRead)
	if err != nil {
		return none, err
	}
	if err := r.Validate(); err != nil {
		return none, err
	}
	after, _, err := page.Decode[dueKey]("due", r.Cursor)
	if err != nil {
		return none, err
	}
	now := s.now()
	if until.IsZero() {
		until = now.Add(lookAhead)
	}
	var rows []Due
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		rows, err = listDue(ctx, tx, who.Tenant, now, until, after, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of("due", r, rows, func(d Due) dueKey { return dueKey{d.At, d.TenantID, d.Action} }), nil
}
