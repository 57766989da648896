package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// shop is a database with a catalogue, and a replica.
type shop struct {
	*event.Service
	db      *pg.DB
	catalog *catalog.Service
	tenant  id.Tenant
}

func newShop(t testing.TB) *shop {
	t.Helper()
	db := pgtest.Clone(t)
	s := (&shop{db: db}).replica(t)
	s.apply(t)
	s.tenant = newTenant(t, db)
	return s
}

// replica is another one over the same database.
func (s *shop) replica(t testing.TB) *shop {
	t.Helper()
	c := catalog.New(s.db)
	return &shop{newService(t, s.db, event.WithRules(c.EventRules)), s.db, c, s.tenant}
}

// apply makes the catalogue have these types beside one with a schema.
func (s *shop) apply(t testing.TB, names ...string) {
	t.Helper()
	d := catalog.Document{EventTypes: []catalog.EventType{
		{Name: "render.progress", Schema: map[string]any{
			"type": "object", "required": []any{"percent"},
			"properties": map[string]any{"percent": map[string]any{"type": "number", "maximum": 100}},
		}},
		{Name: "render.started"},
	}}
	for _, n := range names {
		d.EventTypes = append(d.EventTypes, catalog.EventType{Name: n})
	}
	if _, err := s.catalog.Apply(platform(t), d, false); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) publish(t testing.TB, drafts ...event.Draft) []event.Result {
	t.Helper()
	got, err := s.Publish(platform(t), s.tenant, drafts)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// outcomes shows each result in a word, and why it was refused.
func outcomes(results []event.Result) []string {
	var out []string
	for _, r := range results {
		text := string(r.Outcome)
		for _, f := range r.Fields {
			text += " " + f.Field + " " + f.Code
		}
		out = append(out, text)
	}
	return out
}

func TestPublish_readBack(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	project := id.New[id.Project]()
	exec(t, s.db, `INSERT INTO tenant_projects (id, tenant_id, slug, name) VALUES ($1, $2, 'main', 'P')`, project, s.tenant)
	happened := time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.FixedZone("", 3600))
	named := id.New[id.Event]()
	results := s.publish(t,
		event.Draft{Type: "render.started"},
		event.Draft{ID: named, Type: "render.progress", Payload: json.RawMessage(` { "percent" : 12345678901234567890.5e-20, "id": 12345678901234567890 } `), ProjectID: project, OccurredAt: happened},
		event.Draft{Type: "render.started", Payload: json.RawMessage(`{"last": true}`)},
	)
	if diff := cmp.Diff([]string{"published", "published", "published"}, outcomes(results)); diff != "" {
		t.Fatal(diff)
	}
	got := (&reader{s: s.Service, ctx: platform(t), tenant: s.tenant}).upTo(t, 3)
	if diff := cmp.Diff([]string{"render.started", "render.progress", "render.started"}, typesOf(got)); diff != "" {
		t.Error(diff)
	}
	e := got[1]
	want := event.Event{
		ID: named, TenantID: s.tenant, ProjectID: project, Type: "render.progress",
		Payload:   json.RawMessage(`{"id": 12345678901234567890, "percent": 0.123456789012345678905}`), // digit by digit
		ActorType: "service", ActorID: "service_x", RequestID: "req",
		OccurredAt: happened.Truncate(time.Microsecond), CreatedAt: results[1].CreatedAt, Position: e.Position,
	}
	if diff := cmp.Diff(want, e, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Error(diff)
	}
	if got[0].ID != results[0].ID || !got[0].OccurredAt.Equal(got[0].CreatedAt) || string(got[0].Payload) != "{}" {
		t.Errorf("got %+v", got[0])
	}
}

func TestPublish_perItem(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	foreign := id.New[id.Project]()
	exec(t, s.db, `INSERT INTO tenant_projects (id, tenant_id, slug, name) VALUES ($1, $2, 'main', 'P')`, foreign, newTenant(t, s.db))
	twice := id.New[id.Event]()
	big := func(n int) json.RawMessage { return json.RawMessage(`{"x":"` + strings.Repeat("x", n-8) + `"}`) }
	for name, tc := range map[string]struct {
		draft event.Draft
		want  string
	}{
		"good":               {event.Draft{Type: "render.started"}, "published"},
		"unknown":            {event.Draft{Type: "render.paused"}, "refused events[1].type event_type_not_found"},
		"no type":            {event.Draft{}, "refused events[1].type required"},
		"landlord's own":     {event.Draft{Type: "tenant.suspended"}, "refused events[1].type event_reserved"},
		"landlord's noun":    {event.Draft{Type: "api_key.leaked_by_product"}, "refused events[1].type event_reserved"},
		"a noun to come":     {event.Draft{Type: "usage.threshold"}, "refused events[1].type event_reserved"},
		"schema":             {event.Draft{Type: "render.progress", Payload: json.RawMessage(`{"percent": 101}`)}, "refused events[1].payload.percent out_of_range"},
		"schema, left out":   {event.Draft{Type: "render.progress"}, "refused events[1].payload.percent required"},
		"no object":          {event.Draft{Type: "render.started", Payload: json.RawMessage(`[]`)}, "refused events[1].payload wrong_type"},
		"no JSON":            {event.Draft{Type: "render.started", Payload: json.RawMessage(`{`)}, "refused events[1].payload wrong_type"},
		"as large as may be": {event.Draft{Type: "render.started", Payload: big(event.MaxPayload)}, "published"},
		"too large":          {event.Draft{Type: "render.started", Payload: big(event.MaxPayload + 1)}, "refused events[1].payload too_large"},
		"the future":         {event.Draft{Type: "render.started", OccurredAt: time.Now().Add(time.Hour)}, "refused events[1].occurred_at out_of_range"},
		"a clock ahead":      {event.Draft{Type: "render.started", OccurredAt: time.Now().Add(time.Minute)}, "published"},
		"no such project":    {event.Draft{Type: "render.started", ProjectID: id.New[id.Project]()}, "refused events[1].project_id project_not_found"},
		"another's project":  {event.Draft{Type: "render.started", ProjectID: foreign}, "refused events[1].project_id project_not_found"},
		"id twice":           {event.Draft{ID: twice, Type: "render.started"}, "refused events[1].id duplicate"},
	} {
		first := event.Draft{Type: "render.started"}
		if name == "id twice" {
			first.ID = twice
		}
		results := s.publish(t, first, tc.draft, event.Draft{Type: "render.started"})
		if diff := cmp.Diff([]string{"published", tc.want, "published"}, outcomes(results)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		_, err := s.Publish(platform(t), s.tenant, []event.Draft{first, tc.draft}[1:])
		if refused := strings.HasPrefix(tc.want, "refused"); name != "id twice" && refused != (fault.CodeOf(err) == "invalid_request") && err != nil {
			t.Errorf("%s, alone: %v", name, err)
		} else if refused && name != "id twice" && err == nil {
			t.Errorf("%s, alone: went through", name)
		}
	}
	for _, n := range []int{0, event.MaxPublish + 1} {
		if _, err := s.Publish(platform(t), s.tenant, make([]event.Draft, n)); fault.CodeOf(err) != "invalid_request" {
			t.Errorf("%d events: %v", n, err)
		}
	}
}

// The same event again is stored once, whatever the month it was stored in; the
// same id for another event is refused.
func TestPublish_idempotent(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	project := id.New[id.Project]()
	exec(t, s.db, `INSERT INTO tenant_projects (id, tenant_id, slug, name) VALUES ($1, $2, 'main', 'P')`, project, s.tenant)
	d := event.Draft{
		ID: id.New[id.Event](), Type: "render.progress", Payload: json.RawMessage(`{"percent": 1, "note": "é"}`), ProjectID: project,
		OccurredAt: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
	}
	first := s.publish(t, d)
	again := d
	again.Payload = json.RawMessage("{\"note\":\"\\u00e9\",\n\"percent\":1.0}") // the same, written otherwise
	again.OccurredAt = d.OccurredAt.In(time.FixedZone("", 7200))
	repeated := s.publish(t, again)
	if diff := cmp.Diff([]string{"duplicate"}, outcomes(repeated)); diff != "" || !repeated[0].CreatedAt.Equal(first[0].CreatedAt) || repeated[0].ID != d.ID {
		t.Errorf("%s %+v, want %+v", diff, repeated, first)
	}
	for name, change := range map[string]func(*event.Draft){
		"type":         func(d *event.Draft) { d.Type, d.Payload = "render.started", nil },
		"payload":      func(d *event.Draft) { d.Payload = json.RawMessage(`{"percent": 2}`) },
		"project":      func(d *event.Draft) { d.ProjectID = id.Project{} },
		"time":         func(d *event.Draft) { d.OccurredAt = d.OccurredAt.Add(time.Second) },
		"without time": func(d *event.Draft) { d.OccurredAt = time.Time{} },
	} {
		other := d
		change(&other)
		_, err := s.Publish(platform(t), s.tenant, []event.Draft{other})
		if fault.CodeOf(err) != "event_id_reused" || fault.KindOf(err) != fault.ConflictKind {
			t.Errorf("another %s: %v", name, err)
		}
		mixed := s.publish(t, other, event.Draft{Type: "render.started"})
		if diff := cmp.Diff([]string{"refused events[0].id event_id_reused", "published"}, outcomes(mixed)); diff != "" {
			t.Errorf("another %s among others: %s", name, diff)
		}
	}
	// Another tenant's id is nobody's business.
	elsewhere := *s
	elsewhere.tenant = newTenant(t, s.db)
	foreign := d
	foreign.ProjectID = id.Project{}
	if diff := cmp.Diff([]string{"published"}, outcomes(elsewhere.publish(t, foreign))); diff != "" {
		t.Error(diff)
	}
	// Of another month.
	old := event.Draft{ID: id.New[id.Event](), Type: "render.started"}
	exec(t, s.db, `SELECT landlord_make_month_partition('tenant_events', '2026-01-01')`)
	exec(t, s.db, `INSERT INTO tenant_events (id, tenant_id, type, created_at) VALUES ($1, $2, 'render.started', '2026-01-15')`, old.ID, s.tenant)
	if diff := cmp.Diff([]string{"duplicate"}, outcomes(s.publish(t, old))); diff != "" {
		t.Error(diff)
	}
}

// Two replicas are given the same events at once, in every order: each is stored
// once, and nobody waits for ever.
func TestPublish_atOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	replicas := []*shop{s, s.replica(t)}
	replicas[1].tenant = s.tenant
	const publishers, n = 8, 100
	var drafts []event.Draft
	for i := range n {
		drafts = append(drafts, event.Draft{ID: id.New[id.Event](), Type: "render.started", Payload: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
	}
	ctx := platform(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[event.Outcome]int{}
	for p := range publishers {
		mine := slices.Clone(drafts)
		rand.New(rand.NewPCG(3, uint64(p))).Shuffle(n, func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		wg.Go(func() {
			for batch := range slices.Chunk(mine, 30) {
				results, err := replicas[p%2].Publish(ctx, s.tenant, batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, r := range results {
					count[r.Outcome]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[event.Outcome]int{event.Published: n, event.Duplicate: (publishers - 1) * n}, count); diff != "" {
		t.Error(diff)
	}
	var rows, ids int
	write(t, s.db, func(tx pg.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT id) FROM tenant_events WHERE tenant_id = $1`, s.tenant).Scan(&rows, &ids)
	})
	if rows != n || ids != n {
		t.Errorf("%d rows of %d ids", rows, ids)
	}
}

func TestPublish_access(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	draft := []event.Draft{{Type: "render.started"}}
	with := func(status string) id.Tenant {
		tenant := newTenant(t, s.db)
		exec(t, s.db, map[string]string{
			"frozen":    `UPDATE tenants SET status = 'frozen', frozen_at = now(), archive_due_at = now() + interval '30 days' WHERE id = $1`,
			"suspended": `UPDATE tenants SET status = 'suspended', suspended_at = now(), suspension_reason = 'x', status_before_suspension = 'active' WHERE id = $1`,
			"archived":  `UPDATE tenants SET status = 'archived', archived_at = now() WHERE id = $1`,
			"deleted":   `UPDATE tenants SET deleted_at = now() WHERE id = $1`,
		}[status], tenant)
		return tenant
	}
	frozen, suspended, archived, deleted := with("frozen"), with("suspended"), with("archived"), with("deleted")
	own := func(tenant id.Tenant) context.Context { return confined(t, tenant, access.EventsWrite) }
	for name, tc := range map[string]struct {
		ctx    context.Context
		tenant id.Tenant
		code   string
	}{
		"nobody":                    {t.Context(), s.tenant, "credential_required"},
		"no permission":             {platform(t, access.EventsRead), s.tenant, "permission_denied"},
		"another tenant's":          {own(frozen), s.tenant, "tenant_not_found"},
		"a tenant's own":            {own(s.tenant), s.tenant, ""},
		"no such tenant":            {platform(t), id.New[id.Tenant](), "tenant_not_found"},
		"deleted":                   {platform(t), deleted, "tenant_not_found"},
		"frozen":                    {platform(t), frozen, ""},
		"frozen, by its own key":    {own(frozen), frozen, "tenant_frozen"},
		"suspended":                 {platform(t), suspended, ""},
		"suspended, by its own key": {own(suspended), suspended, "tenant_suspended"},
		"archived":                  {platform(t), archived, "tenant_archived"},
		"archived, by its own key":  {own(archived), archived, "tenant_archived"},
	} {
		results, err := s.Publish(tc.ctx, tc.tenant, draft)
		if tc.code == "" && (err != nil || results[0].Outcome != event.Published) || tc.code != "" && fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %v, want %q", name, err, tc.code)
		}
	}
}

// A type that was applied on one replica can be published on another at once, and
// one that was taken away can't.
func TestPublish_catalogueMoves(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	other := s.replica(t)
	other.tenant = s.tenant
	other.publish(t, event.Draft{Type: "render.started"}) // its rules are in memory
	s.apply(t, "render.new")
	if diff := cmp.Diff([]string{"published"}, outcomes(other.publish(t, event.Draft{Type: "render.new"}))); diff != "" {
		t.Error(diff)
	}
	s.apply(t)
	if _, err := other.Publish(platform(t), s.tenant, []event.Draft{{Type: "render.new"}}); fault.CodeOf(err) != "invalid_request" {
		t.Errorf("a type that is gone: %v", err)
	}
	moving := newService(t, s.db, event.WithRules(func(context.Context, int64) (event.Rules, error) {
		return event.Rules{Version: -1, Check: func(*fault.Fields, string, string, json.RawMessage) {}}, nil
	}))
	if _, err := moving.Publish(platform(t), s.tenant, []event.Draft{{Type: "render.started"}}); fault.CodeOf(err) != "database_busy" {
		t.Errorf("a catalogue that never stands still: %v", err)
	}
	if _, err := newService(t, s.db).Publish(platform(t), s.tenant, []event.Draft{{Type: "render.started"}}); fault.CodeOf(err) != "invalid_request" {
		t.Errorf("without rules: %v", err)
	}
}

// However many events, the same few statements.
func TestPublish_statements(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx := platform(t)
	s.publish(t, event.Draft{Type: "render.started"}) // the rules are in memory then
	for name, tc := range map[string]struct {
		drafts func() event.Draft
		want   []string
	}{
		"anonymous": {func() event.Draft { return event.Draft{Type: "render.started"} }, []string{"BEGIN", "SELECT", "INSERT", "COMMIT"}},
		"named":     {func() event.Draft { return event.Draft{ID: id.New[id.Event](), Type: "render.started"} }, []string{"BEGIN", "SELECT", "SELECT", "SELECT", "INSERT", "COMMIT"}},
	} {
		drafts := make([]event.Draft, event.MaxPublish)
		for i := range drafts {
			drafts[i] = tc.drafts()
		}
		who, _ := access.From(ctx)
		sent := pgtest.Statements(t, func(ctx context.Context) {
			if _, err := s.Publish(access.With(ctx, who), s.tenant, drafts); err != nil {
				t.Fatal(err)
			}
		})
		var words []string
		for _, sql := range sent {
			words = append(words, strings.ToUpper(strings.Trim(strings.Fields(sql)[0], ";")))
		}
		if diff := cmp.Diff(tc.want, words); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A room's own events live and die with its transaction.
func TestPublish_inTransaction(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	tenant, other := newTenant(t, db), newTenant(t, db)
	undo := errors.New("undo")
	ctx := access.AsSystem(t.Context(), "loop")
	publish := func(ctx context.Context, result error) error {
		return db.AsOperator(ctx, func(tx pg.Tx) error {
			events := []event.Event{
				{TenantID: tenant, Type: "usage.one", Payload: json.RawMessage(`{"n": 1}`)},
				{TenantID: other, Type: "usage.two", Payload: json.RawMessage(`{}`)},
				{TenantID: tenant, Type: "usage.three", Payload: json.RawMessage(`{}`)},
			}
			if err := errors.Join(event.Publish(ctx, tx), event.Publish(ctx, tx, events...)); err != nil {
				return err
			}
			if events[0].ID.IsZero() || events[2].CreatedAt.IsZero() {
				t.Errorf("got %+v", events)
			}
			return result
		})
	}
	if err := publish(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no principal") {
		t.Errorf("by nobody: %v", err)
	}
	if err := publish(ctx, undo); !errors.Is(err, undo) {
		t.Fatal(err)
	}
	if err := publish(ctx, nil); err != nil {
		t.Fatal(err)
	}
	got := (&reader{s: newService(t, db), ctx: platform(t), tenant: tenant}).upTo(t, 2)
	if diff := cmp.Diff([]string{"usage.one", "usage.three"}, typesOf(got)); diff != "" || got[0].ActorType != "system" || got[0].ActorID != "loop" {
		t.Errorf("%s %+v", diff, got[0])
	}
}
