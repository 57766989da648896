package apikey

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Who depends on a key is told before it ends, once for each notice, and once it
// has ended. What was told is a mark on the key, and commits with the event: how
// much was left by the notice that was given last. The mark only moves towards the
// end, so neither a restart nor a second replica nor a clock that is set back tells
// anything twice; and of notices that were missed together only the nearest is due.
// A new end sets the mark anew.

const (
	// untold is the mark of a key of whose end nothing was told.
	untold int32 = math.MaxInt32
	// noticeBatch is how many keys one transaction takes.
	noticeBatch = 100

	maxNotices    = 10
	shortNotice   = time.Minute // a tick of the loop
	longestNotice = 10 * 366 * 24 * time.Hour
)

// DefaultNotices are how long before its end a key is told of when nothing else is
// configured.
func DefaultNotices() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{30 * day, 7 * day, day}
}

// ValidateNotices tells why keys can't be told of that long before their end.
func ValidateNotices(before []time.Duration) error {
	if len(before) > maxNotices {
		return fmt.Errorf("%d notices of the end of a key are too many: %d at most", len(before), maxNotices)
	}
	for _, d := range before {
		if d < shortNotice || d > longestNotice || d%time.Second != 0 {
			return fmt.Errorf("a notice %s before the end of a key: from a minute to ten years, in whole seconds", d)
		}
	}
	return nil
}

// notices are the marks that there are, in seconds before the end, from the first
// to be given to 0, the end itself.
type notices []int32

func newNotices(before []time.Duration) notices {
	n := notices{0}
	for _, d := range before {
		n = append(n, int32(d/time.Second))
	}
	slices.Sort(n)
	slices.Reverse(n)
	return slices.Compact(n)
}

// mark is the nearest notice whose time has come, untold if none has. It is also
// the mark of an end that is set now: who sets it knows how much is left.
func (n notices) mark(end *time.Time, now time.Time) int32 {
	mark := untold
	for _, left := range n {
		if end != nil && !now.Before(end.Add(-time.Duration(left)*time.Second)) {
			mark = left
		}
	}
	return mark
}

// until is by when a key ends that a notice is due for.
func (n notices) until(now time.Time) []time.Time {
	at := make([]time.Time, len(n))
	for i, left := range n {
		at[i] = now.Add(time.Duration(left) * time.Second)
	}
	return at
}

// endingKey is a key with its mark.
type endingKey struct {
	Key

	Told int32 `db:"expiry_told"`
}

// GiveNotices tells of the keys that are about to end or have ended, as many as
// there are, and returns of how many. Two replicas that do so at the same time
// share the keys. It is recorded as done by the system, under "key_notices".
func (s *Service) GiveNotices(ctx context.Context) (int, error) {
	ctx = access.AsSystem(ctx, "key_notices")
	for told := 0; ; {
		n, err := s.giveNotices(ctx, s.now())
		told += n
		if err != nil || n < noticeBatch {
			return told, err
		}
	}
}

func (s *Service) giveNotices(ctx context.Context, now time.Time) (n int, err error) {
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		ending, err := lockEnding(ctx, tx, s.notices, s.notices.until(now), noticeBatch)
		if n = len(ending); err != nil || n == 0 {
			return err
		}
		keys, marks, events := make([]id.APIKey, n), make([]int32, n), make([]audit.Event, n)
		for i, k := range ending {
			left := s.notices.mark(k.ExpiresAt, now)
			if left >= k.Told {
				return fmt.Errorf("key %s is due by its row and not by the rules", k.ID)
			}
			keys[i], marks[i], events[i] = k.ID, left, notice(k.Key, left, now)
		}
		if err := markTold(ctx, tx, keys, marks); err != nil {
			return err
		}
		return audit.RecordAll(ctx, tx, events)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// notice is what there is to tell of a key's end.
func notice(k Key, left int32, now time.Time) audit.Event {
	e := audit.Event{
		Action: "api_key.expired", TenantID: k.TenantID, ProjectID: k.ProjectID,
		Target: audit.Target{Type: "api_key", ID: k.ID.String(), Name: k.Name},
		Metadata: map[string]any{
			"expires_at": k.ExpiresAt.UTC(), "state": k.StateAt(now), "environment": k.Environment, "prefix": k.Prefix, "last4": k.Last4,
		},
	}
	if left > 0 {
		e.Action, e.Metadata["notice_seconds"] = "api_key.expiring", left
	}
	return e
}
