package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// fare is how an endpoint fared in a batch.
type fare struct {
	failures int  // since the last success of the batch, or its begin
	reset    bool // there was a success
	status   int  // of the last answer; 0 when there was none
	gone     bool // it answered 410
	noted    bool // a success that was written down
}

// fareOf sums up a batch, which is in the order in which the requests ended.
func fareOf(batch []outcome) map[id.Webhook]*fare {
	all := map[id.Webhook]*fare{}
	for _, o := range batch {
		if o.kind != tried {
			continue
		}
		f := all[o.EndpointID]
		if f == nil {
			f = &fare{}
			all[o.EndpointID] = f
		}
		f.status = o.answer.Status
		if o.class == "" {
			f.failures, f.reset = 0, true
			continue
		}
		f.failures++
		f.gone = f.gone || o.class == ClassGone
	}
	return all
}

// noteFares writes down how endpoints fared, warns of those that are on their way to
// being disabled, and disables those that have got there; it returns how many.
func (e *Engine) noteFares(ctx context.Context, tx pg.Tx, fared map[id.Webhook]*fare) (disabled int, err error) {
	var well, ill []id.Webhook
	for _, endpoint := range slices.SortedFunc(maps.Keys(fared), func(a, b id.Webhook) int { return cmp.Compare(a.UUID(), b.UUID()) }) {
		switch f := fared[endpoint]; {
		case f.failures > 0:
			ill = append(ill, endpoint)
		case !e.lanes.wellNoted(endpoint):
			f.noted = true
			well = append(well, endpoint)
		}
	}
	if len(well)+len(ill) == 0 {
		return 0, nil
	}
	now := e.clock.now()
	b := &pg.Batch{}
	b.Queue(lockEndpoints, slices.Concat(well, ill))
	if len(well) > 0 {
		b.Queue(noteSuccesses, well, column(well, func(w id.Webhook) int { return fared[w].status }), now)
	}
	if err := pg.Send(ctx, tx, b); err != nil || len(ill) == 0 {
		return 0, err
	}
	all, err := pg.Collect[health](ctx, tx, noteFailures, ill,
		column(ill, func(w id.Webhook) int { return fared[w].failures }),
		column(ill, func(w id.Webhook) int { return fared[w].status }),
		column(ill, func(w id.Webhook) bool { return fared[w].reset }), now)
	if err != nil {
		return 0, err
	}
	for _, h := range all {
		did, err := e.judgeHealth(ctx, tx, h, fared[h.ID].gone, now)
		if err != nil {
			return 0, err
		}
		if did {
			disabled++
		}
	}
	return disabled, nil
}

func column[T any](endpoints []id.Webhook, of func(id.Webhook) T) []T {
	out := make([]T, len(endpoints))
	for i, w := range endpoints {
		out[i] = of(w)
	}
	return out
}

// warnings are how far towards being disabled an endpoint is when its owner and the
// platform are told, in percent.
var warnings = []int{50, 70, 90}

// judgeHealth disables an endpoint, or warns.
func (e *Engine) judgeHealth(ctx context.Context, tx pg.Tx, h health, gone bool, now time.Time) (disabled bool, err error) {
	progress := e.progress(h)
	switch {
	case h.Status == Disabled:
		return false, nil
	case gone:
		return e.disable(ctx, tx, h, ReasonGone, now)
	case progress >= 100:
		return e.disable(ctx, tx, h, ReasonFailing, now)
	}
	reached := 0
	for _, percent := range warnings {
		if progress >= percent {
			reached = percent
		}
	}
	if reached <= h.Warned {
		return false, nil
	}
	if _, err := tx.Exec(ctx, noteWarning, h.ID, reached); err != nil {
		return false, err
	}
	return false, tell(ctx, tx, h, "webhook.failing", fmt.Sprintf("%d failures in a row.", h.Failures), map[string]any{"percent": reached})
}

// progress is how far an endpoint is on its way to being disabled: it takes both the
// failures and the time.
func (e *Engine) progress(h health) int {
	failures := float64(h.Failures) / float64(e.cfg.DisableAfter)
	if e.cfg.DisableMinimum <= 0 {
		return int(100 * failures)
	}
	return int(100 * min(failures, h.FailingSeconds/e.cfg.DisableMinimum.Seconds()))
}

func (e *Engine) disable(ctx context.Context, tx pg.Tx, h health, reason string, now time.Time) (bool, error) {
	tag, err := tx.Exec(ctx, disableEndpoint, h.ID, reason, now)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	if err := tell(ctx, tx, h, "webhook.disabled", reason, map[string]any{"reason": reason}); err != nil {
		return false, err
	}
	return true, changefeed.Note(ctx, tx, changefeed.Change{Kind: feedKind, TenantID: h.TenantID, ID: h.ID.UUID()})
}

// tell records what happened to an endpoint for its tenant, and files the event with
// the platform too, whose people can do something about it.
func tell(ctx context.Context, tx pg.Tx, h health, action, description string, what map[string]any) error {
	what["consecutive_failures"] = h.Failures
	target := audit.Target{Type: "webhook", ID: h.ID.String(), Name: h.Name}
	if err := audit.Record(ctx, tx, audit.Event{
		Action: action, TenantID: h.TenantID, Target: target, Description: description, Metadata: what,
	}); err != nil {
		return err
	}
	payload, err := json.Marshal(map[string]any{"webhook": target, "tenant_id": h.TenantID, "metadata": what})
	if err != nil {
		return err
	}
	b := &pg.Batch{}
	event.Queue(b, event.Event{
		ID: id.New[id.Event](), TenantID: id.InternalTenant, Type: action, Payload: payload, ActorType: "system", ActorID: systemName,
	})
	return pg.Send(ctx, tx, b)
}
