package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// batchSize is the most outcomes that one transaction writes.
	batchSize = 200
	// gatherFor is how long a writer waits for more: what it costs is that a process
	// that dies repeats that many requests more.
	gatherFor = 10 * time.Millisecond
)

// kind says what became of a job.
type kind uint8

const (
	tried     kind = iota // the result says how
	notTried              // to be given back
	wasLate               // it was too old
	wasErased             // the event is no more
)

// outcome is a job that is done.
type outcome struct {
	job
	result

	kind kind
}

// verdict is what an outcome makes of its delivery, unless it arrived.
type verdict struct {
	state  State
	reason string
	wait   time.Duration // before the next try
	tries  int           // 1 if it was tried
}

// verdictOf decides what comes after a failure.
func (e *Engine) verdictOf(o outcome) verdict {
	switch o.kind {
	case wasLate:
		return verdict{state: Failed, reason: WhyExpired}
	case wasErased:
		return verdict{state: Cancelled, reason: WhyErased}
	case notTried:
		return verdict{state: Pending}
	case tried:
	}
	v := verdict{state: Failed, tries: 1}
	wait, again := e.cfg.Schedule.After(o.Attempts+1-o.AttemptsBefore, o.retry, rand.Float64()) //nolint:gosec // jitter needs no secrecy
	switch {
	case o.class == ClassGone:
		v.reason = WhyGone
	case !again:
		v.reason = WhyExhausted
	case !o.ExpiresAt.After(o.at.Add(wait)):
		v.reason = WhyExpired
	default:
		v.state, v.wait = Pending, wait
	}
	return v
}

// writeOutcomes gathers outcomes and writes them, until there are none to come.
func (e *Engine) writeOutcomes(ctx context.Context) {
	trouble := backoff{log: e.cfg.Log, what: "outcomes"}
	for first := range e.outcomes {
		e.writeAll(ctx, e.gather(first), &trouble)
	}
}

// writeAll writes a batch, however long the database is away. What it does not take
// is written one by one, so that one outcome can't keep the others from being
// written; the one itself is left to its claim's end, and tried again.
func (e *Engine) writeAll(ctx context.Context, batch []outcome, trouble *backoff) {
	for tries := 0; ; tries++ {
		err := e.writeBatch(ctx, batch)
		known, ok := errors.AsType[*fault.Error](err)
		switch {
		case err == nil:
			trouble.after(ctx, nil)
			return
		case ok && known.Kind == fault.Unavailable:
			if e.stopping() && tries >= 2 {
				e.cfg.Log.WarnContext(ctx, "outcomes of webhooks were not written: they are sent again", "outcomes", len(batch), "err", err)
				return
			}
			sleep(ctx, trouble.after(ctx, err))
		case len(batch) > 1:
			for _, o := range batch {
				e.writeAll(ctx, []outcome{o}, trouble)
			}
			return
		default:
			e.cfg.Log.ErrorContext(ctx, "an outcome of a webhook can't be written: it is sent again", "delivery", batch[0].ID.String(), "err", err)
			return
		}
	}
}

// gather collects what comes within a moment.
func (e *Engine) gather(first outcome) []outcome {
	batch := append(make([]outcome, 0, 16), first)
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	for len(batch) < batchSize {
		select {
		case o, ok := <-e.outcomes:
			if !ok {
				return batch
			}
			batch = append(batch, o)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// writeBatch writes outcomes in one transaction: the attempts, what becomes of the
// deliveries, and how the endpoints fare.
func (e *Engine) writeBatch(ctx context.Context, batch []outcome) error {
	slices.SortStableFunc(batch, func(a, b outcome) int { return a.at.Add(a.took).Compare(b.at.Add(b.took)) })
	verdicts := make([]verdict, len(batch))
	for i, o := range batch {
		if o.kind != tried || o.class != "" {
			verdicts[i] = e.verdictOf(o)
		}
	}
	fared := fareOf(batch)
	var disabled int
	err := e.db.AsOperator(access.AsSystem(ctx, systemName), func(tx pg.Tx) error {
		b := &pg.Batch{}
		queueAttempts(b, batch)
		queueDelivered(b, batch, e.clock.now())
		queueFailed(b, batch, verdicts, e.clock.now())
		if err := pg.Send(ctx, tx, b); err != nil {
			return err
		}
		var err error
		disabled, err = e.noteFares(access.AsSystem(ctx, systemName), tx, fared)
		return err
	})
	if err != nil {
		return err
	}
	e.stats.disabled.Add(uint64(disabled))
	e.afterBatch(batch, verdicts, fared)
	return nil
}

// afterBatch counts, and remembers what is to be tried again.
func (e *Engine) afterBatch(batch []outcome, verdicts []verdict, fared map[id.Webhook]*fare) {
	e.tally.count(batch)
	for i, o := range batch {
		switch v := verdicts[i]; v.state {
		case "":
			e.stats.delivered.Add(1)
		case Pending:
			e.stats.failed.Add(uint64(v.tries))
			e.lanes.due(o.EndpointID, v.wait)
		default:
			e.stats.failed.Add(uint64(v.tries))
			e.stats.gaveUp.Add(1)
		}
	}
	for endpoint, f := range fared {
		if f.failures > 0 || f.noted {
			e.lanes.note(endpoint, f.failures == 0)
		}
	}
}

// systemName is who acts when the engine does.
const systemName = "webhooks"
