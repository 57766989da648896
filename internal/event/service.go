package event

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Service is the events' operations. It is safe for concurrent use.
type Service struct {
	db    *pg.DB
	log   *slog.Logger
	now   func() time.Time
	rules func(ctx context.Context, atLeast int64) (Rules, error)
	keep  []Keep
	// record records an erasure. The audit log's room imports this one.
	record func(ctx context.Context, tx pg.Tx, tenant id.Tenant, e Erased, reason string) error
	*follower
	unwatch func()
}

// Option changes a Service.
type Option func(*Service)

// WithLogger says where to log.
func WithLogger(l *slog.Logger) Option { return func(s *Service) { s.log = l } }

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

// WithRules says what products may publish, after the catalogue at a version or a
// later one. Without it they may publish nothing.
func WithRules(rules func(ctx context.Context, atLeast int64) (Rules, error)) Option {
	return func(s *Service) { s.rules = rules }
}

// noRules know no type.
func noRules(_ context.Context, atLeast int64) (Rules, error) {
	return Rules{Version: atLeast, Check: func(all *fault.Fields, at, _ string, _ json.RawMessage) {
		all.Add(at+"type", "event_type_not_found", "The catalogue has no such event type.")
	}}, nil
}

// unrecorded refuses to erase: what is deleted is recorded.
func unrecorded(context.Context, pg.Tx, id.Tenant, Erased, string) error {
	return errors.New("erase: nobody records it")
}

// New returns the events' operations over a database.
func New(db *pg.DB, opts ...Option) *Service {
	s := &Service{db: db, log: slog.New(slog.DiscardHandler), now: time.Now, rules: noRules, record: unrecorded}
	for _, o := range opts {
		o(s)
	}
	s.follower = newFollower(s.arrivals, s.log)
	s.unwatch = db.Watch(Committed, s.nudge)
	return s
}

// Release lets all go who wait for events, each with what there is, and everybody
// who comes later at once. A replica that stops calls it before it waits for its
// requests.
func (s *Service) Release() {
	s.unwatch()
	s.release()
}

// MaxWait is the longest that a reader waits for an event to come.
const MaxWait = 20 * time.Second

// ReadParams say what to read, and from where.
type ReadParams struct {
	Filter
	Limit  int    // events at most, as in page.Request
	Cursor string // Stream.Next of an earlier read; "" begins with the oldest event that is kept, or at Since
	Latest bool   // begin with what comes from now on, instead of a Cursor
	// Wait is how long to wait for an event when there is none.
	Wait time.Duration
}

func (p ReadParams) validate() error {
	if err := (page.Request{Limit: p.Limit}).Validate(); err != nil {
		return err
	}
	var bad fault.Fields
	bad.Check(p.Wait >= 0 && p.Wait <= MaxWait, "wait", "out_of_range", "wait is from 0 to %d seconds.", int(MaxWait.Seconds()))
	bad.Check(!p.Latest || p.Cursor == "", "after", "not_applicable", "A cursor says where to begin; after=latest would skip what it has not seen.")
	if err := bad.Err(); err != nil {
		return err
	}
	return p.Filter.validate()
}

// Stream is a piece of the order of events.
type Stream struct {
	Data []Event
	Next string // where to read on; always there, and further on even when Data is empty
	More bool   // whether there is more to read already
}

// List reads events of all tenants, in order.
func (s *Service) List(ctx context.Context, p ReadParams) (Stream, error) {
	if err := access.RequirePlatform(ctx, access.EventsRead); err != nil {
		return Stream{}, err
	}
	return s.read(ctx, id.Tenant{}, p)
}

// ListOf reads events of a tenant, in order. The tenants below it have events of
// their own.
func (s *Service) ListOf(ctx context.Context, tenant id.Tenant, p ReadParams) (Stream, error) {
	if err := access.Require(ctx, access.EventsRead, tenant); err != nil {
		return Stream{}, err
	}
	return s.read(ctx, tenant, p)
}

// Get returns one event of a tenant.
func (s *Service) Get(ctx context.Context, tenant id.Tenant, event id.Event) (Event, error) {
	if err := access.Require(ctx, access.EventsRead, tenant); err != nil {
		return Event{}, err
	}
	var e Event
	err := s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		e, err = ByID(ctx, tx, tenant, event)
		return pg.Found(err, "event")
	})
	return e, err
}

// cursorName is the name of both lists: a place in the order is the same in each.
const cursorName = "events"

// read reads a page, or waits for one.
func (s *Service) read(ctx context.Context, tenant id.Tenant, p ReadParams) (Stream, error) {
	if err := p.validate(); err != nil {
		return Stream{}, err
	}
	from, begun, err := page.Decode[Position](cursorName, p.Cursor)
	if err != nil {
		return Stream{}, err
	}
	r := reading{tenant: tenant, filter: p.Filter, limit: page.Request{Limit: p.Limit}.Size(), from: from, begun: begun, latest: p.Latest}
	patience, cancel := context.WithTimeout(ctx, p.Wait)
	defer cancel()
	for {
		if err := s.page(ctx, &r); err != nil {
			return Stream{}, err
		}
		if len(r.found) > 0 || r.more || p.Wait == 0 || !s.wait(patience, tenant, r.from) {
			return Stream{Data: r.found, Next: page.Encode(cursorName, r.from), More: r.more}, ctx.Err()
		}
	}
}

// look is how many events a page goes through at most. One whose filter leaves
// nearly everything out may come back empty, but it comes back, and has moved on.
const look = 10_000

// reading is a read under way. Each page moves from behind what it went through.
type reading struct {
	tenant id.Tenant // zero: all
	filter Filter
	limit  int
	from   Position
	begun  bool // from is a place that was read up to
	latest bool // where to begin: behind everything

	found []Event
	more  bool
}

// page reads the next page. A read that failed has not moved.
func (s *Service) page(ctx context.Context, r *reading) error {
	var next reading
	err := s.inOrder(ctx, r.tenant, func(tx pg.Tx) (err error) {
		next = *r
		// Taken before the rows are read, the bounds are true of them.
		b, err := boundsAt(ctx, tx, r.filter.Since, r.tenant)
		switch {
		case err != nil:
			return err
		case b.Status == "" && !r.tenant.IsZero():
			return fault.NotFound("tenant")
		case !next.begun:
			next.begin(b)
		case next.from.XID > b.Next:
			return fault.Conflict("cursor_expired", "This cursor lies ahead of the database, which was restored: begin anew without a cursor, or with after=latest.")
		}
		if err := next.fill(ctx, tx, b); err != nil {
			return err
		}
		// Read after the rows: a month that was dropped before them is told of.
		f, err := floorOf(ctx, tx)
		if err == nil && r.begun && r.from.Before(f.Position) {
			err = expired(f)
		}
		return err
	})
	if err == nil {
		*r = next
	}
	return err
}

// begin finds the place to begin at.
func (r *reading) begin(b bounds) {
	r.begun = true
	if r.latest {
		r.from = b.end()
	} else {
		r.from = Position{XID: b.Mark}
	}
}

// fill reads the page's events and moves on.
func (r *reading) fill(ctx context.Context, tx pg.Tx, b bounds) (err error) {
	over := span{tenant: r.tenant, after: r.from, settled: b.Settled}
	end := b.end() // of what this page goes through
	var upTo Position
	cut := false
	if r.filter.sparse() {
		if upTo, cut, err = lookEnd(ctx, tx, over, look); err != nil {
			return err
		}
		if cut {
			end = upTo
		}
	}
	if r.found, err = eventsOf(ctx, tx, over, upTo, r.filter, r.limit+1); err != nil {
		return err
	}
	r.more = cut
	if len(r.found) > r.limit {
		r.found, r.more = r.found[:r.limit], true
		end = r.found[r.limit-1].Position
	}
	if r.from.Before(end) { // a cursor may be ahead of what is settled
		r.from = end
	}
	return nil
}

func expired(f floor) error {
	return fault.Conflict("cursor_expired", "Events behind this cursor are not kept any more: what was written before %s is gone. "+
		"Begin anew without a cursor, or with after=latest.", f.Dropped.UTC().Format(time.RFC3339))
}

// inOrder reads along the order, in the scope of a tenant, or of all.
func (s *Service) inOrder(ctx context.Context, tenant id.Tenant, fn func(pg.Tx) error) error {
	along := func(tx pg.Tx) error {
		if err := planInOrder(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	}
	if tenant.IsZero() {
		return s.db.ReadOperator(ctx, along)
	}
	return s.db.ReadTenant(ctx, tenant, along)
}

// Mark notes where in the order the present lies, for those who will ask for
// events since then. A loop calls it.
func (s *Service) Mark(ctx context.Context) error {
	return s.db.AsOperator(ctx, func(tx pg.Tx) error { return mark(ctx, tx) })
}

// Reorder gives events that came with a dump of another server a place in this
// one's order. A replica calls it when it starts.
func (s *Service) Reorder(ctx context.Context) error {
	var n int64
	err := s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		n, err = reorder(ctx, tx)
		return err
	})
	if n > 0 {
		s.log.WarnContext(ctx, "events of another server were put into the order of this one", "events", n)
	}
	return err
}

func (s *Service) arrivals(ctx context.Context, after Position, limit int) (all []arrival, err error) {
	err = s.inOrder(ctx, id.Tenant{}, func(tx pg.Tx) error {
		all, err = arrivals(ctx, tx, after, limit)
		return err
	})
	return all, err
}
