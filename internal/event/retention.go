package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/pg"
)

// MinKeep is the shortest that events can be kept: longer than a webhook is tried,
// unless the installation tries longer than others.
const MinKeep = 14 * 24 * time.Hour

// Keep says how long a table partitioned by month keeps its rows after they were
// written; 0 is for ever. A month goes as a whole, when its last row is that old
// and none is of a tenant under legal hold.
type Keep struct {
	Table string
	For   time.Duration
}

// WithRetention says what is kept for how long.
func WithRetention(keep ...Keep) Option { return func(s *Service) { s.keep = keep } }

// Month is a partition.
type Month struct {
	Table   string    `db:"table"`
	Month   time.Time `db:"month"` // its first instant, UTC
	Rows    int64     `db:"rows"`  // as the statistics have it
	Bytes   int64     `db:"bytes"` // with its indexes
	Now     time.Time `db:"now"`   // by the database, whose clock dates the rows
	DropsAt time.Time `db:"-"`     // zero: never
	Held    bool      `db:"-"`     // it is due, and stays for a tenant under legal hold
}

func (m Month) end() time.Time { return m.Month.AddDate(0, 1, 0) }

func (m Month) due() bool { return !m.DropsAt.IsZero() && !m.DropsAt.After(m.Now) }

// Retention tells the months that there are of what is kept for a time, the oldest
// first, and when each is dropped.
func (s *Service) Retention(ctx context.Context) ([]Month, error) {
	if err := access.RequirePlatform(ctx, access.EventsRead); err != nil {
		return nil, err
	}
	return s.months(ctx)
}

func (s *Service) months(ctx context.Context) (all []Month, err error) {
	keep := map[string]time.Duration{}
	var tables []string
	for _, k := range s.keep {
		keep[k.Table] = k.For
		tables = append(tables, k.Table)
	}
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) error {
		if all, err = monthsOf(ctx, tx, tables); err != nil {
			return err
		}
		for i := range all {
			m := &all[i]
			if keep[m.Table] > 0 {
				m.DropsAt = m.end().Add(keep[m.Table])
			}
			if m.due() {
				if m.Held, err = monthHeld(ctx, tx, *m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return all, err
}

// DropOld drops the months that are older than is kept, each in a transaction of
// its own. A table that somebody reads for long keeps the others from nothing. It is
// tried once a tick: while a drop waits for its lock, the table's readers wait too.
// A loop calls it.
func (s *Service) DropOld(ctx context.Context) error {
	all, err := s.months(ctx)
	if err != nil {
		return err
	}
	var failed error
	busy := map[string]bool{} // tables
	var oldest time.Time      // month of the events that are left
	for _, m := range all {
		stays := m.Held || !m.due() || busy[m.Table]
		if !stays {
			if err := s.drop(ctx, m); err != nil {
				failed, stays, busy[m.Table] = errors.Join(failed, err), true, true
			}
		}
		if stays && m.Table == eventsTable && oldest.IsZero() {
			oldest = m.Month
		}
	}
	if oldest.IsZero() {
		return failed
	}
	return errors.Join(failed, s.db.AsOperator(ctx, func(tx pg.Tx) error { return trimMarks(ctx, tx, oldest) }))
}

func (s *Service) drop(ctx context.Context, m Month) error {
	var dropped bool
	err := s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		dropped, err = dropMonth(ctx, tx, m)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop %s of %s: %w", m.Month.Format("2006-01"), m.Table, err)
	}
	if dropped { // not by another replica, meanwhile
		s.log.InfoContext(ctx, "month dropped", "table", m.Table, "month", m.Month.Format("2006-01"), "rows", m.Rows, "bytes", m.Bytes)
	}
	return nil
}
