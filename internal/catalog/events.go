package catalog

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/pg"
)

// eventRules are what products may publish, after one version of the catalogue:
// the schemas compiled, once.
type eventRules struct {
	version int64
	schemas map[string]*Schema // by type
}

// EventRules returns what products may publish, after the catalogue at a version
// or a later one. Who publishes says which version is in force; as long as that is
// the one in memory, nothing is read.
func (s *Service) EventRules(ctx context.Context, atLeast int64) (event.Rules, error) {
	r := s.events.Load()
	if r == nil || r.version < atLeast {
		var err error
		if r, err = s.loadEventRules(ctx); err != nil {
			return event.Rules{}, err
		}
		s.events.Store(r)
	}
	return event.Rules{Version: r.version, Check: r.check}, nil
}

func (s *Service) loadEventRules(ctx context.Context) (*eventRules, error) {
	r := &eventRules{schemas: map[string]*Schema{}}
	var types []EventType
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) error {
		// The version first: types that are newer than theirs are read anew.
		state, err := pg.One[State](ctx, tx, selectState)
		if err != nil {
			return err
		}
		r.version = state.Version
		types, err = pg.Collect[EventType](ctx, tx, ownEventTypes)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, t := range types {
		schema, err := CompileSchema(t.Schema)
		if err != nil {
			return nil, err // Apply has compiled it before
		}
		r.schemas[t.Name] = schema
	}
	return r, nil
}

func (r *eventRules) check(all *fault.Fields, at, eventType string, payload json.RawMessage) {
	schema, known := r.schemas[eventType]
	switch {
	case eventType == "":
		all.Add(at+"type", "required", "An event has a type.")
	case isReservedEvent(eventType):
		all.Add(at+"type", "event_reserved", "Events of %s are landlord's own: products can't publish them.", nounOf(eventType))
	case !known:
		all.Add(at+"type", "event_type_not_found", "The catalogue has no event type %.100s.", eventType)
	default:
		schema.Validate(all, at+"payload", payload)
	}
}

func nounOf(eventType string) string {
	noun, _, _ := strings.Cut(eventType, ".")
	return noun
}

// reservedNouns are those of landlord's own things, whose events products neither
// define nor publish: also of those that have none yet.
var reservedNouns = []string{
	"audit", "billing", "branding", "domain", "event", "export", "import", "landlord",
	"limit", "plan", "request_log", "session", "setting", "sso", "usage", "webhook",
}

// isReservedEvent reports whether a type's noun is one of landlord's.
func isReservedEvent(eventType string) bool {
	noun := nounOf(eventType)
	return slices.Contains(reservedNouns, noun) ||
		slices.ContainsFunc(builtInEvents, func(e EventType) bool { return nounOf(e.Name) == noun })
}
