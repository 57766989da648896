package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// The bounds of a publication.
const (
	MaxPublish = 500       // events of one call
	MaxPayload = 256 << 10 // bytes of a payload as compact JSON
	maxAhead   = 5 * time.Minute
)

// Draft is an event that a product wants to publish.
type Draft struct {
	// ID is the publisher's name for the event, by which a repetition is known; zero
	// makes one, and then a repetition is another event.
	ID         id.Event
	ProjectID  id.Project
	Type       string
	Payload    json.RawMessage // an object; nil is {}
	OccurredAt time.Time       // zero: now
}

// Rules say which types products may publish, and what their payloads hold.
type Rules struct {
	Version int64 // of the catalogue
	// Check adds a complaint for each rule that an event breaks. The paths of the
	// fields begin with at: "events[3].".
	Check func(all *fault.Fields, at, eventType string, payload json.RawMessage)
}

// Outcome is what became of a draft.
type Outcome string

// The outcomes.
const (
	Published Outcome = "published"
	Duplicate Outcome = "duplicate" // it is stored already, as it is
	Refused   Outcome = "refused"
)

// Result is the answer to one draft.
type Result struct {
	ID        id.Event // zero when refused without one
	Outcome   Outcome
	CreatedAt time.Time    // of the stored event; zero when refused
	Fields    fault.Fields // why it was refused
}

// Publish adds events to the caller's transaction, in this order: what has an
// audit record gets its event from audit.Record, this is for the rest. Whoever acts
// in ctx is the actor. An event without an ID is given one.
func Publish(ctx context.Context, tx pg.Tx, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	who, ok := access.From(ctx)
	if !ok {
		return errors.New("publish: no principal in the context")
	}
	for i := range events {
		if events[i].ID.IsZero() {
			events[i].ID = id.New[id.Event]()
		}
		events[i].ActorType, events[i].ActorID, events[i].RequestID = string(who.Type), who.ID, who.RequestID
	}
	if err := insertAll(ctx, tx, events); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	pg.Mark(tx, Committed)
	return nil
}

// errRulesMoved ends a transaction in which another catalogue is in force than
// the one that the events were checked by.
var errRulesMoved = errors.New("the catalogue changed")

// Publish stores events of a tenant, in their order and in one transaction. Each
// has its own result, and one that is refused keeps the others from nothing; only
// when all are is that the error.
func (s *Service) Publish(ctx context.Context, tenant id.Tenant, drafts []Draft) ([]Result, error) {
	if err := access.Require(ctx, access.EventsWrite, tenant); err != nil {
		return nil, err
	}
	if len(drafts) == 0 || len(drafts) > MaxPublish {
		return nil, fault.InvalidField("events", "out_of_range", "A call publishes 1 to %d events.", MaxPublish)
	}
	var known int64
	for range 3 {
		rules, err := s.rules(ctx, known)
		if err != nil {
			return nil, err
		}
		p := s.prepare(tenant, drafts, rules)
		err = s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
			known, err = p.store(ctx, tx)
			return err
		})
		switch {
		case errors.Is(err, errRulesMoved):
			continue
		case err != nil:
			return nil, err
		}
		return p.results, p.refusal()
	}
	return nil, &fault.Error{
		Kind: fault.Unavailable, Code: "database_busy", RetryAfter: time.Second, Err: errRulesMoved,
		Detail: "The catalogue changes all the time: try again shortly.",
	}
}

// publication is a call on its way.
type publication struct {
	tenant  id.Tenant
	rules   int64
	drafts  []Draft
	checked []Result // by the rules of the catalogue
	results []Result
}

// prepare checks what needs no database.
func (s *Service) prepare(tenant id.Tenant, drafts []Draft, rules Rules) *publication {
	p := &publication{tenant: tenant, rules: rules.Version, drafts: slices.Clone(drafts), checked: make([]Result, len(drafts))}
	latest := s.now().Add(maxAhead)
	first := map[id.Event]int{}
	for i := range p.drafts {
		d, r := &p.drafts[i], &p.checked[i]
		r.ID = d.ID
		at := fmt.Sprintf("events[%d].", i)
		if len(d.Payload) == 0 {
			d.Payload = json.RawMessage(`{}`)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, d.Payload); err != nil || compact.Bytes()[0] != '{' {
			r.Fields.Add(at+"payload", "wrong_type", "A payload is a JSON object.")
			continue
		}
		d.Payload = compact.Bytes()
		d.OccurredAt = d.OccurredAt.UTC().Truncate(time.Microsecond) // as it is stored
		r.Fields.Check(len(d.Payload) <= MaxPayload, at+"payload", "too_large", "A payload has at most %d KiB as JSON.", MaxPayload>>10)
		r.Fields.Check(!d.OccurredAt.After(latest), at+"occurred_at", "out_of_range", "This lies in the future.")
		if before, twice := first[d.ID]; twice {
			r.Fields.Add(at+"id", "duplicate", "events[%d] has this id, too.", before)
		} else if !d.ID.IsZero() {
			first[d.ID] = i
		}
		if len(d.Payload) <= MaxPayload {
			rules.Check(&r.Fields, at, d.Type, d.Payload)
		}
	}
	return p
}

// store stores what was not refused. It returns the version of the catalogue that
// is in force, for the next try.
func (p *publication) store(ctx context.Context, tx pg.Tx) (version int64, err error) {
	p.results = slices.Clone(p.checked)
	for i := range p.results { // a transaction may run more than once
		p.results[i].Fields = slices.Clone(p.checked[i].Fields)
	}
	now, err := stateOf(ctx, tx, p.tenant)
	if err != nil {
		return 0, err
	}
	if err := mayPublish(ctx, now.Status); err != nil {
		return 0, err
	}
	if now.Version != p.rules {
		return now.Version, errRulesMoved
	}
	if err := p.checkProjects(ctx, tx); err != nil {
		return 0, err
	}
	if err := p.findDuplicates(ctx, tx); err != nil {
		return 0, err
	}
	var fresh []Event
	var places []int
	for i, d := range p.drafts {
		if r := p.results[i]; len(r.Fields) == 0 && r.Outcome == "" {
			fresh = append(fresh, Event{ID: d.ID, TenantID: p.tenant, ProjectID: d.ProjectID, Type: d.Type, Payload: d.Payload, OccurredAt: d.OccurredAt})
			places = append(places, i)
		}
	}
	if err := Publish(ctx, tx, fresh...); err != nil {
		return 0, err
	}
	for k, i := range places {
		p.results[i].ID, p.results[i].CreatedAt, p.results[i].Outcome = fresh[k].ID, fresh[k].CreatedAt, Published
	}
	for i := range p.results {
		if p.results[i].Outcome == "" {
			p.results[i].Outcome = Refused
		}
	}
	return now.Version, nil
}

// mayPublish says whose events may be published. Products tell what happened, and
// that a tenant is frozen or suspended undoes nothing of it; the tenant's own
// credentials, however, write nothing then. Of an archived tenant only the audit
// log is kept.
func mayPublish(ctx context.Context, status string) error {
	who, _ := access.From(ctx)
	switch {
	case status == "":
		return fault.NotFound("tenant")
	case status == "archived":
		return fault.Conflict("tenant_archived", "The tenant is archived: only its audit log is kept.")
	case who.Platform():
		return nil
	default:
		return access.CheckWritable(status, who)
	}
}

// checkProjects refuses what names a project that is not the tenant's.
func (p *publication) checkProjects(ctx context.Context, tx pg.Tx) error {
	var named []id.Project
	for _, d := range p.drafts {
		if !d.ProjectID.IsZero() && !slices.Contains(named, d.ProjectID) {
			named = append(named, d.ProjectID)
		}
	}
	if len(named) == 0 {
		return nil
	}
	own, err := projectsOf(ctx, tx, p.tenant, named)
	if err != nil {
		return err
	}
	for i, d := range p.drafts {
		p.results[i].Fields.Check(d.ProjectID.IsZero() || slices.Contains(own, d.ProjectID),
			fmt.Sprintf("events[%d].project_id", i), "project_not_found", "The tenant has no such project.")
	}
	return nil
}

// findDuplicates finds what is stored already. The events' partitions have no key
// over all of them, so publishers of an id take turns on a lock that stands for it;
// a few locks stand for all ids of a tenant, that a call holds no more than those.
func (p *publication) findDuplicates(ctx context.Context, tx pg.Tx) error {
	var named []Event
	places := map[id.Event]int{}
	for i, d := range p.drafts {
		if !d.ID.IsZero() && len(p.results[i].Fields) == 0 {
			named = append(named, Event{ID: d.ID, ProjectID: d.ProjectID, Type: d.Type, Payload: d.Payload, OccurredAt: d.OccurredAt})
			places[d.ID] = i
		}
	}
	if len(named) == 0 {
		return nil
	}
	if err := lockIDs(ctx, tx, idLocks(p.tenant, named)); err != nil {
		return err
	}
	found, err := storedOf(ctx, tx, p.tenant, named)
	if err != nil {
		return err
	}
	for _, f := range found {
		i := places[f.ID]
		if f.Same {
			p.results[i].Outcome, p.results[i].CreatedAt = Duplicate, f.CreatedAt
			continue
		}
		p.results[i].Fields.Add(fmt.Sprintf("events[%d].id", i), "event_id_reused", "An event with this id is stored, and is another one.")
	}
	return nil
}

// locksOfTenant is how many locks stand for the ids of a tenant.
const locksOfTenant = 32

// idLocks returns the keys of the locks that stand for the ids, in the order in
// which all take them.
func idLocks(tenant id.Tenant, events []Event) []int64 {
	var keys []int64
	for _, e := range events {
		h := fnv.New64a()
		_, _ = h.Write([]byte("landlord/event_id/"))
		_, _ = h.Write(tenant[:])
		// The last byte of a UUID is random in all versions that are made today.
		_, _ = h.Write([]byte{e.ID[len(e.ID)-1] % locksOfTenant})
		keys = append(keys, int64(h.Sum64()))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// refusal is the error of a publication of which nothing was taken.
func (p *publication) refusal() error {
	var all fault.Fields
	reused := true
	for _, r := range p.results {
		if r.Outcome != Refused {
			return nil
		}
		all = append(all, r.Fields...)
	}
	for _, f := range all {
		reused = reused && f.Code == "event_id_reused"
	}
	if reused {
		e := fault.Conflict("event_id_reused", "An event with this id is stored, and is another one: use a fresh id for each event.")
		e.Fields = all
		return e
	}
	return all.Err()
}
