package apikey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

// newNoticeWorld has a database of its own: notices are given for all keys of one.
func newNoticeWorld(t *testing.T) *world {
	t.Helper()
	db, err := pg.Open(t.Context(), pg.Config{URL: pgtest.CloneURLs(t).App})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return newWorldIn(t, db)
}

// server is the keys' service of another replica, or of one that was started again.
func (w *world) server(before ...time.Duration) *apikey.Service {
	w.t.Helper()
	s, err := apikey.New(w.db, w.ring, apikey.Config{Notices: before, Now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) ending(in time.Duration) apikey.Key {
	w.t.Helper()
	k, _ := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(in)) })
	return k
}

func (w *world) give(s *apikey.Service) int {
	w.t.Helper()
	n, err := s.GiveNotices(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// notices lists what was told of a key's end, in order: how long before, or "expired".
// Each has an audit record by the system, under the id of the event.
func (w *world) notices(key id.APIKey) []string {
	w.t.Helper()
	var list []string
	err := w.db.ReadOperator(w.t.Context(), func(tx pg.Tx) error {
		rows, err := tx.Query(w.t.Context(), `SELECT e.type, e.payload, a.actor_type || ' ' || a.actor_id
			FROM tenant_events e
			LEFT JOIN audit_log a ON a.event_id = e.id AND a.action = e.type AND a.tenant_id = e.tenant_id AND a.target_id = $1
			WHERE e.payload #>> '{api_key,id}' = $1 AND e.type IN ('api_key.expiring', 'api_key.expired')
			ORDER BY e.seq`, key.String())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind string
			var by *string
			var payload struct {
				Metadata struct {
					Notice int64 `json:"notice_seconds"`
				}
			}
			if err := rows.Scan(&kind, &payload, &by); err != nil {
				return err
			}
			if by == nil || *by != "system key_notices" {
				w.t.Errorf("%s of %s has no audit record", kind, key)
			}
			left := time.Duration(payload.Metadata.Notice) * time.Second
			switch {
			case kind == "api_key.expired" && left == 0:
				list = append(list, "expired")
			case left%day == 0 && left > 0:
				list = append(list, fmt.Sprint(int(left/day), "d"))
			default:
				list = append(list, left.String())
			}
		}
		return rows.Err()
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) wantTold(what string, key id.APIKey, want ...string) {
	w.t.Helper()
	if got := w.notices(key); !slices.Equal(got, want) {
		w.t.Errorf("%s: told %v, want %v", what, got, want)
	}
}

// Each notice is given when its time has come and once, by three replicas that all
// look each hour, one of which is started again and again.
func TestNotices(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k := w.ending(32 * day)
	never, _ := w.create()
	soon, today := w.ending(5*day), w.ending(time.Hour)
	exact := w.ending(30 * day)
	replicas := []*apikey.Service{w.keys, w.server()}
	began, at := w.clock.now(), []time.Duration{}
	for step := time.Duration(0); step <= 33*day; step += 6 * time.Hour {
		var wg sync.WaitGroup
		before := len(w.notices(k.ID))
		for _, s := range append(replicas, w.server()) {
			wg.Go(func() {
				if _, err := s.GiveNotices(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(w.notices(k.ID)) > before {
			at = append(at, w.clock.now().Sub(began))
		}
		w.clock.advance(6 * time.Hour)
	}
	w.wantTold("32 days", k.ID, "30d", "7d", "1d", "expired")
	if want := []time.Duration{2 * day, 25 * day, 31 * day, 32 * day}; !slices.Equal(at, want) {
		t.Errorf("told after %v, want %v", at, want)
	}
	w.wantTold("never", never.ID)
	w.wantTold("5 days, of which who made it knows", soon.ID, "1d", "expired")
	w.wantTold("an hour", today.ID, "expired")
	w.wantTold("30 days", exact.ID, "7d", "1d", "expired")
}

// What is told, and that it moves neither the version of the key nor anything else
// of it.
func TestNotices_payload(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k, _ := w.create(func(p *apikey.CreateParams) {
		p.ProjectID, p.ExpiresAt = w.project, new(w.clock.now().Add(8*day))
	})
	k, err := w.keys.Disable(w.ctx(), w.tenant, k.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	payload := func(kind string) (project id.Project, p map[string]any) {
		t.Helper()
		err := w.db.ReadOperator(t.Context(), func(tx pg.Tx) error {
			var raw json.RawMessage
			if err := tx.QueryRow(t.Context(), `SELECT project_id, payload FROM tenant_events WHERE tenant_id = $1 AND type = $2`, w.tenant, kind).Scan(&project, &raw); err != nil {
				return err
			}
			return json.Unmarshal(raw, &p)
		})
		if err != nil {
			t.Fatal(err)
		}
		return project, p
	}
	metadata := map[string]any{
		"expires_at": k.ExpiresAt.UTC().Format(time.RFC3339), "state": "disabled", "environment": "live", "prefix": k.Prefix, "last4": k.Last4,
		"notice_seconds": 604800.0,
	}
	want := map[string]any{"api_key": map[string]any{"type": "api_key", "id": k.ID.String(), "name": k.Name}, "metadata": metadata}
	w.clock.advance(day)
	w.give(w.keys)
	project, got := payload("api_key.expiring")
	if d := cmp.Diff(want, got); d != "" || project != w.project {
		t.Error(project, d)
	}
	w.clock.advance(7 * day)
	w.give(w.keys)
	delete(metadata, "notice_seconds")
	project, got = payload("api_key.expired")
	if d := cmp.Diff(want, got); d != "" || project != w.project {
		t.Error(project, d)
	}
	is, err := w.keys.Get(w.ctx(), w.tenant, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(k, is); d != "" {
		t.Error(d)
	}
}

// Of what was missed while nobody looked, the nearest alone is told.
func TestNotices_missed(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k, long, brief := w.ending(40*day), w.ending(300*day), w.ending(12*day)
	w.clock.advance(35 * day)
	if n := w.give(w.keys); n != 2 {
		t.Errorf("%d keys were told of", n)
	}
	w.wantTold("5 days are left", k.ID, "7d")
	w.wantTold("265 days are left", long.ID)
	w.wantTold("over for long", brief.ID, "expired")
	w.clock.advance(300 * day)
	w.give(w.server())
	w.wantTold("over", k.ID, "7d", "expired")
	w.wantTold("over as well", long.ID, "expired")
	for range 3 {
		if n := w.give(w.server()); n != 0 {
			t.Errorf("%d keys were told of again", n)
		}
	}
}

// A clock that is set back and forth tells nothing twice.
func TestNotices_clockSteps(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k := w.ending(31 * day)
	for _, step := range []time.Duration{2 * day, -10 * day, 10 * day, 23 * day, -20 * day, 20 * day, 5 * day, -30 * day, 30 * day, day, -40 * day, 41 * day} {
		w.clock.advance(step)
		w.give(w.keys)
	}
	w.wantTold("in the end", k.ID, "30d", "7d", "1d", "expired")
}

// A new end is told of anew, the same one is not, and neither is what else changes.
func TestNotices_newEnd(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k := w.ending(20 * day)
	change := func(p apikey.UpdateParams) {
		t.Helper()
		p.TenantID, p.ID = w.tenant, k.ID
		if _, err := w.keys.Update(w.ctx(), p); err != nil {
			t.Fatal(err)
		}
		w.give(w.keys)
	}
	w.clock.advance(14 * day)
	w.give(w.keys)
	w.wantTold("6 days are left", k.ID, "7d")
	change(apikey.UpdateParams{Name: patch.Set("other"), ExpiresAt: patch.Set(*k.ExpiresAt)})
	change(apikey.UpdateParams{IsActive: patch.Set(false)})
	change(apikey.UpdateParams{IsActive: patch.Set(true)})
	w.wantTold("the same end", k.ID, "7d")
	change(apikey.UpdateParams{ExpiresAt: patch.Set(w.clock.now().Add(8 * day))})
	w.wantTold("extended", k.ID, "7d")
	w.clock.advance(day)
	w.give(w.keys)
	w.wantTold("7 days are left again", k.ID, "7d", "7d")
	change(apikey.UpdateParams{ExpiresAt: patch.Set(w.clock.now().Add(12 * time.Hour))})
	w.wantTold("cut short", k.ID, "7d", "7d")
	w.clock.advance(12 * time.Hour)
	w.give(w.keys)
	w.wantTold("over", k.ID, "7d", "7d", "expired")
	change(apikey.UpdateParams{ExpiresAt: patch.Set(w.clock.now().Add(2 * day))})
	w.clock.advance(2 * day)
	w.give(w.keys)
	w.wantTold("over again", k.ID, "7d", "7d", "expired", "expired")
	change(apikey.UpdateParams{ExpiresAt: patch.Null[time.Time]()})
	w.clock.advance(100 * day)
	if n := w.give(w.keys); n != 0 {
		t.Errorf("%d keys were told of", n)
	}
}

// Nobody depends on a key that was revoked or replaced; on its successor they do.
func TestNotices_ended(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	revoked, rotated := w.ending(40*day), w.ending(40*day)
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: rotated.ID, Grace: 20 * day})
	if err != nil {
		t.Fatal(err)
	}
	brought, _, err := w.keys.Create(w.ctx(), apikey.CreateParams{TenantID: w.tenant, Environment: apikey.Live, Name: "x", ExpiresAt: new(w.clock.now().Add(40 * day))})
	if err != nil {
		t.Fatal(err)
	}
	results, err := w.keys.Import(w.ctx(), w.tenant, []apikey.ImportItem{
		{CreateParams: apikey.CreateParams{Environment: apikey.Live, Name: "y", ExpiresAt: new(w.clock.now().Add(5 * day))}, Token: secret.NewText(foreignToken())},
	})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	for range 41 {
		w.clock.advance(day)
		w.give(w.keys)
	}
	w.wantTold("revoked", revoked.ID)
	w.wantTold("replaced", rotated.ID)
	w.wantTold("its successor", next.ID, "30d", "7d", "1d", "expired")
	w.wantTold("another", brought.ID, "30d", "7d", "1d", "expired")
	w.wantTold("imported", results[0].Key, "1d", "expired")
}

// Servers may be given other notices: those that were given stay given, and the
// next one comes from the new ones.
func TestNotices_configured(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	k := w.ending(100 * day)
	w.clock.advance(71 * day) // 29 are left
	w.give(w.keys)
	other := w.server(90*day, 14*day, 12*time.Hour, 14*day)
	w.give(other)
	w.wantTold("90 days are passed", k.ID, "30d")
	w.clock.advance(15 * day)
	w.give(w.keys)
	w.give(other)
	w.give(w.keys)
	w.wantTold("14 days are left", k.ID, "30d", "14d")
	w.clock.advance(14*day - 12*time.Hour)
	w.give(other)
	w.give(w.keys) // the notice of a day comes too late
	w.wantTold("half a day is left", k.ID, "30d", "14d", "12h0m0s")
	silent := w.server([]time.Duration{}...)
	w.clock.advance(12 * time.Hour)
	w.give(silent)
	w.wantTold("over", k.ID, "30d", "14d", "12h0m0s", "expired")
	for _, wrong := range [][]time.Duration{{0}, {time.Second}, {-day}, {20 * 366 * day}, {day + time.Millisecond}, slices.Repeat([]time.Duration{day}, 11)} {
		if _, err := apikey.New(w.db, w.ring, apikey.Config{Notices: wrong}); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}

// Many keys at once, more than a batch takes, and many replicas that share them, of
// which some fail at their commit: each key is told of once.
func TestNotices_once(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	const many = 730
	w.exec(`INSERT INTO api_keys (tenant_id, name, prefix, last4, hash, expires_at)
		SELECT $1, 'many ' || n, 'll_live_x', 'abcd', 'many' || n, $2::timestamptz + n * INTERVAL '1 second' FROM generate_series(1, $3::int) n`,
		w.tenant, w.clock.now().Add(6*day), many)
	broken := errors.New("the commit fails")
	failing := pg.WithCommitHook(t.Context(), func(context.Context, pg.Tx) error { return broken })
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			s := w.server()
			for range 3 {
				if _, err := s.GiveNotices(failing); err != nil && !errors.Is(err, broken) {
					t.Error(err)
				}
				if i > 0 { // one of them never gets anything done
					if _, err := s.GiveNotices(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	w.give(w.keys) // what a failure held when the others looked last
	for what, sql := range map[string]string{
		"events":  `SELECT count(*) || ' of ' || count(DISTINCT payload #>> '{api_key,id}') FROM tenant_events WHERE tenant_id = $1 AND type = 'api_key.expiring'`,
		"records": `SELECT count(*) || ' of ' || count(DISTINCT target_id) FROM audit_log WHERE tenant_id = $1 AND action = 'api_key.expiring'`,
		"marks":   `SELECT count(*) FILTER (WHERE expiry_told = 604800) || ' of ' || count(*) FROM api_keys WHERE tenant_id = $1 AND expires_at IS NOT NULL`,
	} {
		if got := count[string](t, w.db, sql, w.tenant); got != fmt.Sprintf("%d of %d", many, many) {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// A notice and a change of the end that meet take turns: none is given for an end
// that is no more.
func TestNotices_beside(t *testing.T) {
	t.Parallel()
	w := newNoticeWorld(t)
	var keys []apikey.Key
	for range 40 {
		keys = append(keys, w.ending(8*day))
	}
	w.clock.advance(2 * day)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for j, k := range keys {
				if j%2 != i {
					continue
				}
				_, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k.ID, ExpiresAt: patch.Set(w.clock.now().Add(100 * day))})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				if _, err := w.keys.GiveNotices(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.give(w.keys); n != 0 {
		t.Errorf("%d keys that end in 100 days were told of", n)
	}
	const late = `SELECT count(*) FROM tenant_events e
		JOIN tenant_events u ON u.tenant_id = e.tenant_id AND u.type = 'api_key.updated' AND u.payload #>> '{api_key,id}' = e.payload #>> '{api_key,id}'
		WHERE e.tenant_id = $1 AND e.type = 'api_key.expiring' AND e.seq > u.seq`
	if n := count[int](t, w.db, late, w.tenant); n != 0 {
		t.Errorf("%d were told of after they had another end", n)
	}
}
