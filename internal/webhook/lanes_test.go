package webhook

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/id"
)

// The lanes against a model: a queue of so many for each endpoint. Whatever happens
// in whatever order, no bound is passed, and when the requests have ended nothing
// that is due is forgotten.
func TestLanes_model(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		l := newLanes(limits{all: 6, tenant: 4, slow: 3}, func() time.Time { return now })
		m := &laneModel{t: t, l: l, queue: map[id.Webhook]int{}, flying: map[id.Webhook]int{}}
		tenants := []id.Tenant{id.New[id.Tenant](), id.New[id.Tenant]()}
		for i := range 4 {
			to := target{ID: id.New[id.Webhook](), TenantID: tenants[i%2], MaxInFlight: rapid.IntRange(1, 5).Draw(t, "cap")}
			if i == 3 {
				to.RateLimit, to.RatePeriod = new(rapid.IntRange(1, 20).Draw(t, "rate")), PerSecond
			}
			m.targets = append(m.targets, to)
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				to := m.draw(t)
				if l.reserve(to) {
					m.flying[to.ID]++
				} else {
					m.queue[to.ID]++
					l.due(to.ID, 0)
				}
			},
			"claim": func(t *rapid.T) { m.claim(rapid.IntRange(1, 3).Draw(t, "most")) },
			"fail":  func(t *rapid.T) { m.finish(m.draw(t), 0, true) },
			"finish": func(t *rapid.T) {
				m.finish(m.draw(t), time.Duration(rapid.IntRange(0, 1).Draw(t, "slow"))*slowAfter, false)
			},
			"later": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			},
			"tidy": func(*rapid.T) { l.tidy() },
			"":     func(t *rapid.T) { m.check() },
		})
		for n := 0; m.left() > 0; n++ {
			if n > 1000 {
				t.Fatalf("never sent: %v", m.queue)
			}
			now = now.Add(time.Second)
			m.claim(8)
			for _, to := range m.targets {
				for m.flying[to.ID] > 0 {
					m.finish(to, 0, false)
				}
			}
		}
	})
}

type laneModel struct {
	t       *rapid.T
	l       *lanes
	targets []target
	queue   map[id.Webhook]int // due in the database
	flying  map[id.Webhook]int
}

func (m *laneModel) draw(t *rapid.T) target { return rapid.SampledFrom(m.targets).Draw(t, "endpoint") }

func (m *laneModel) claim(most int) {
	picked, _ := m.l.pick(most)
	for _, endpoint := range picked {
		i := slices.IndexFunc(m.targets, func(to target) bool { return to.ID == endpoint })
		a := m.l.admit(m.targets[i])
		if a.most == 0 {
			continue
		}
		got := min(a.most, m.queue[endpoint])
		m.queue[endpoint] -= got
		m.flying[endpoint] += got
		m.l.answer(a, got)
	}
}

func (m *laneModel) finish(to target, took time.Duration, failed bool) {
	if m.flying[to.ID] == 0 {
		return
	}
	m.flying[to.ID]--
	m.l.finished(to.ID, took, 0)
	if failed {
		m.queue[to.ID]++
		m.l.due(to.ID, time.Second)
	}
}

func (m *laneModel) left() (n int) {
	for _, to := range m.targets {
		n += m.queue[to.ID]
	}
	return n
}

func (m *laneModel) check() {
	all, tenants := 0, map[id.Tenant]int{}
	for _, to := range m.targets {
		n := m.flying[to.ID]
		all += n
		tenants[to.TenantID] += n
		if n > to.MaxInFlight {
			m.t.Fatalf("%d requests to an endpoint that takes %d", n, to.MaxInFlight)
		}
	}
	flying, _, _ := m.l.counts()
	if all > 6 || all != flying {
		m.t.Fatalf("%d requests, counted as %d, of 6", all, flying)
	}
	for _, n := range tenants {
		if n > 4 {
			m.t.Fatalf("%d requests of a tenant, of 4", n)
		}
	}
}

// What is slow never takes the slots that are kept for the others.
func TestLanes_slow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	l := newLanes(limits{all: 8, tenant: 8, slow: 6}, func() time.Time { return now })
	slow := target{ID: id.New[id.Webhook](), TenantID: id.New[id.Tenant](), MaxInFlight: 8}
	quick := target{ID: id.New[id.Webhook](), TenantID: id.New[id.Tenant](), MaxInFlight: 8}
	if !l.reserve(slow) {
		t.Fatal("no slot at first")
	}
	l.finished(slow.ID, 2*slowAfter, 0)
	n := 0
	for l.reserve(slow) {
		n++
	}
	if n != 6 {
		t.Errorf("a slow endpoint has %d of 8 slots, want 6", n)
	}
	n = 0
	for l.reserve(quick) {
		n++
	}
	if n != 2 {
		t.Errorf("another has %d of the rest, want 2", n)
	}
	l.finished(slow.ID, 0, 0) // quick again
	if !l.reserve(slow) {
		t.Error("an endpoint that is quick again is held to the limit of the slow ones")
	}
}

// A receiver that asks for a pause is left alone until it is over.
func TestLanes_pause(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	l := newLanes(limits{all: 8, tenant: 8, slow: 6}, func() time.Time { return now })
	to := target{ID: id.New[id.Webhook](), TenantID: id.New[id.Tenant](), MaxInFlight: 8}
	l.reserve(to)
	l.finished(to.ID, 0, time.Minute)
	if l.reserve(to) {
		t.Error("a new event is sent during the pause")
	}
	l.due(to.ID, 0)
	picked, wait := l.pick(8)
	if len(picked) != 0 || wait != time.Minute {
		t.Errorf("picked %v, wait %v", picked, wait)
	}
	now = now.Add(time.Minute)
	if picked, _ = l.pick(8); len(picked) != 1 {
		t.Error("it does not come up after the pause")
	}
}

// Endpoints take turns: one with a long queue does not keep another from its own.
func TestLanes_turns(t *testing.T) {
	t.Parallel()
	l := newLanes(limits{all: 2, tenant: 2, slow: 2}, time.Now)
	var all []target
	for range 3 {
		all = append(all, target{ID: id.New[id.Webhook](), TenantID: id.New[id.Tenant](), MaxInFlight: 10})
		l.due(all[len(all)-1].ID, 0)
	}
	turns := map[id.Webhook]int{}
	for range 30 {
		picked, _ := l.pick(1)
		if len(picked) != 1 {
			t.Fatalf("picked %v", picked)
		}
		i := slices.IndexFunc(all, func(to target) bool { return to.ID == picked[0] })
		a := l.admit(all[i])
		turns[picked[0]]++
		l.answer(a, a.most) // there is always more
		for range a.most {
			l.finished(picked[0], 0, 0)
		}
	}
	for _, to := range all {
		if turns[to.ID] != 10 {
			t.Errorf("turns %v", turns)
		}
	}
}
