//go:build unix

package apikey_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

func (w *world) checkAll(v *apikey.Verifier, questions ...apikey.VerifyParams) []apikey.Answer {
	w.t.Helper()
	batch := make([]apikey.Question, len(questions))
	for i, p := range questions {
		batch[i].VerifyParams = p
	}
	answers, err := v.CheckAll(w.t.Context(), batch)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(answers) != len(questions) {
		w.t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

func outcomesOf(answers []apikey.Answer) []apikey.Outcome {
	out := make([]apikey.Outcome, len(answers))
	for i, a := range answers {
		out[i] = a.Outcome
	}
	return out
}

// Each question of a batch gets the answer that it gets alone, cold and warm.
func TestCheckAll_asAlone(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	archived, foreign := w.newProject(w.tenant), w.newProject(w.newTenant(id.Tenant{}))
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, archived)
	frozen, suspended := w.newTenant(id.Tenant{}), w.newTenant(id.Tenant{})
	in := func(tenant id.Tenant, change ...func(*apikey.CreateParams)) string {
		_, token := w.create(append(change, func(p *apikey.CreateParams) { p.TenantID = tenant })...)
		return token
	}
	cold, icy := in(frozen), in(suspended)
	w.setStatus(frozen, "frozen")
	w.setStatus(suspended, "suspended")
	plain, homely := in(w.tenant), in(w.tenant, func(p *apikey.CreateParams) { p.AllowedIPs = homes })
	project := in(w.tenant, func(p *apikey.CreateParams) { p.ProjectID = w.project })
	test := in(w.tenant, func(p *apikey.CreateParams) { p.Environment, p.Scopes = apikey.Test, nil })
	brief := in(w.tenant, func(p *apikey.CreateParams) { p.ExpiresAt = new(w.clock.now().Add(time.Minute)) })
	gone, revoked := w.create()
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	off, disabled := w.create()
	if _, err := w.keys.Disable(w.ctx(), w.tenant, off.ID, ""); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	foreignOne, hashed, slow := foreignToken(), foreignToken(), foreignToken()
	w.mustBring(item(foreignOne), item(hashed, as(sha256Of(hashed), "")), item(slow, as(bcryptOf(t, slow), slow[:12])))
	questions := []apikey.VerifyParams{
		{Token: plain},
		{Token: plain, Product: w.product, Scopes: []string{"renders:create"}},
		{Token: plain, Product: "nothing"},
		{Token: plain, Scopes: []string{"other:read"}},
		{Token: plain, Project: w.project},
		{Token: plain, Project: archived},
		{Token: plain, Project: foreign},
		{Token: plain, Project: id.New[id.Project]()},
		{Token: plain, Environment: apikey.Test},
		{Token: homely},
		{Token: homely, IP: home},
		{Token: homely, IP: away},
		{Token: project, Project: w.project},
		{Token: project, Project: archived},
		{Token: test, Environment: apikey.Test},
		{Token: brief},
		{Token: revoked},
		{Token: disabled},
		{Token: cold},
		{Token: cold, Write: true},
		{Token: icy},
		{Token: randomToken()},
		{Token: "x"},
		{Token: plain + "x"},
		{Token: foreignOne},
		{Token: hashed},
		{Token: slow},
		{Token: slow[:20] + foreignToken()},
		{Token: plain, Cost: 601},
		{Token: plain, Confine: w.tenant},
		{Token: cold, Confine: w.tenant},
		{Token: plain, Scopes: []string{"*"}},
		{Token: plain, Cost: -1},
	}
	for i := range questions {
		questions[i].Peek = true
	}
	same := []cmp.Option{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b error) bool { return fault.CodeOf(a) == fault.CodeOf(b) })}
	replica, alone := w.replica(), w.replica()
	for _, state := range []string{"cold", "warm"} {
		answers := w.checkAll(replica, questions...)
		seen := map[apikey.Outcome]bool{}
		for i := range questions {
			p := questions[i]
			var want apikey.Answer
			want.Verification, want.Err = alone.Check(t.Context(), &p)
			seen[want.Outcome] = true
			if d := cmp.Diff(want, answers[i], same...); d != "" {
				t.Errorf("%s, question %d: %s", state, i, d)
			}
		}
		for _, o := range apikey.Outcomes() {
			// The usage limit is nobody's here, and an archived tenant is denied as a suspended one.
			if !seen[o] && o != apikey.LimitExceeded && o != apikey.TenantArchived {
				t.Errorf("no question was answered %s", o)
			}
		}
	}
}

// A key that is asked about twice spends and counts twice; what is malformed
// spoils nothing; and each is answered in its place.
func TestCheckAll_counts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, token := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 2 })
	other, second := w.create()
	wrong := errors.New("unreadable")
	answers, err := w.verifier.CheckAll(t.Context(), []apikey.Question{
		{VerifyParams: apikey.VerifyParams{Token: token}},
		{Wrong: wrong},
		{VerifyParams: apikey.VerifyParams{Token: token}},
		{VerifyParams: apikey.VerifyParams{Token: second}},
		{VerifyParams: apikey.VerifyParams{Token: token}},
		{VerifyParams: apikey.VerifyParams{Token: token, Environment: "prod"}},
		{VerifyParams: apikey.VerifyParams{Token: second, Peek: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []apikey.Outcome{apikey.Valid, "", apikey.Valid, apikey.Valid, apikey.RateLimited, "", apikey.Valid}
	if got := outcomesOf(answers); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !errors.Is(answers[1].Err, wrong) {
		t.Error(answers[1].Err)
	}
	wantField(t, answers[5].Err, "environment", "not_one_of")
	if answers[0].Limit.Remaining != 1 || answers[2].Limit.Remaining != 0 {
		t.Errorf("%d and %d are left", answers[0].Limit.Remaining, answers[2].Limit.Remaining)
	}
	if err := w.verifier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, n := range map[id.APIKey]int64{k.ID: 2, other.ID: 1} {
		if got := count[int64](t, w.db, `SELECT usage_count FROM api_keys WHERE id = $1`, key); got != n {
			t.Errorf("%d uses, want %d", got, n)
		}
	}
	for name, n := range map[string]int{"too_few": 0, "too_many": apikey.MaxBatch + 1} {
		_, err := w.verifier.CheckAll(t.Context(), make([]apikey.Question, n))
		wantField(t, err, "items", name)
	}
}

// Who is confined to a tenant learns of no other's keys, whatever a question says.
func TestVerifyAll_confined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, own := w.create()
	stranger := w.newTenant(id.Tenant{})
	_, other := w.create(func(p *apikey.CreateParams) { p.TenantID = stranger })
	as := func(tenant id.Tenant, can ...access.Permission) context.Context {
		return access.With(t.Context(), access.Principal{Type: access.Service, Tenant: tenant, Permissions: access.NewSet(can...)})
	}
	questions := func() []apikey.Question {
		return []apikey.Question{
			{VerifyParams: apikey.VerifyParams{Token: own}},
			{VerifyParams: apikey.VerifyParams{Token: other}},
			{VerifyParams: apikey.VerifyParams{Token: other, Confine: stranger}},
		}
	}
	for name, tc := range map[string]struct {
		tenant id.Tenant
		want   []apikey.Outcome
	}{
		"the platform": {id.Tenant{}, []apikey.Outcome{apikey.Valid, apikey.Valid, apikey.Valid}},
		"the tenant":   {w.tenant, []apikey.Outcome{apikey.Valid, apikey.NotFound, apikey.NotFound}},
		"a stranger":   {w.newTenant(id.Tenant{}), []apikey.Outcome{apikey.NotFound, apikey.NotFound, apikey.NotFound}},
	} {
		answers, err := w.keys.VerifyAll(as(tc.tenant, access.APIKeysVerify), questions())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := outcomesOf(answers); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		for i, a := range answers {
			if a.Outcome == apikey.NotFound && a.TenantID != (id.Tenant{}) {
				t.Errorf("%s, question %d: told of tenant %s", name, i, a.TenantID)
			}
		}
	}
	_, err := w.keys.VerifyAll(as(w.tenant, access.APIKeysRead), questions())
	wantCode(t, err, "permission_denied")
	_, err = w.keys.VerifyAll(t.Context(), questions())
	wantCode(t, err, "credential_required")
}

// All that is not in memory costs one round trip, the projects that are named one
// more, and what is in memory none.
func TestCheckAll_roundTrips(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	wire := pgtest.NewWire(t, address.Host)
	address.Host = wire.Address()
	db, err := pg.Open(t.Context(), pg.Config{URL: address.String(), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := newWorldIn(t, db)
	batch := func(projects int) (questions []apikey.VerifyParams) {
		for range 40 {
			_, token := w.create()
			questions = append(questions, apikey.VerifyParams{Token: token}, apikey.VerifyParams{Token: token}, apikey.VerifyParams{Token: randomToken()}, apikey.VerifyParams{Token: "x"})
		}
		for i := range projects {
			questions[4*i].Project = w.newProject(w.tenant)
		}
		return questions
	}
	w.checkAll(w.verifier, batch(2)...) // the connection learns the statements
	for name, tc := range map[string]struct {
		questions []apikey.VerifyParams
		want      int64
	}{
		"keys": {batch(0), 1}, "keys and projects": {batch(5), 2}, "nothing to look for": {[]apikey.VerifyParams{{Token: "x"}}, 0},
	} {
		for i, want := range []int64{tc.want, 0} {
			before, statements := wire.RoundTrips(), w.verifier.Stats().Statements
			w.checkAll(w.verifier, tc.questions...)
			if n := wire.RoundTrips() - before; n != want {
				t.Errorf("%s, time %d: %d round trips, want %d", name, i+1, n, want)
			}
			if n := w.verifier.Stats().Statements - statements; n != uint64(want) {
				t.Errorf("%s, time %d: %d statements counted, want %d", name, i+1, n, want)
			}
		}
	}
}

// Without the database nothing is answered, and nothing of what is in memory spent.
func TestCheckAll_databaseGone(t *testing.T) {
	t.Parallel()
	db, err := pg.Open(t.Context(), pg.Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldIn(t, db)
	_, token := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	w.check(apikey.VerifyParams{Token: token, Peek: true})
	_, unasked := w.create()
	db.Close()
	_, err = w.verifier.CheckAll(t.Context(), []apikey.Question{
		{VerifyParams: apikey.VerifyParams{Token: token}}, {VerifyParams: apikey.VerifyParams{Token: unasked}},
	})
	wantCode(t, err, "database_unavailable")
	if got := outcomesOf(w.checkAll(w.verifier, apikey.VerifyParams{Token: token})); got[0] != apikey.Valid {
		t.Errorf("what is in memory alone: %v", got)
	}
}

// What a batch read before a change must not stay in memory after it.
func TestCheckAll_loadEndsAfterTheChange(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	k, token := w.create()
	open := g.shut()
	defer open()
	done := make(chan []apikey.Answer, 1)
	ctx := t.Context()
	go func() {
		answers, _ := w.verifier.CheckAll(ctx, []apikey.Question{{VerifyParams: apikey.VerifyParams{Token: token, Peek: true}}})
		done <- answers
	}()
	g.await(t, 1)
	w.exec(`UPDATE api_keys SET revoked_at = NOW() WHERE id = $1`, k.ID)
	w.verifier.Apply([]changefeed.Change{{Kind: "api_key", TenantID: w.tenant, ID: k.ID.UUID()}})
	open()
	if answers := <-done; len(answers) != 1 { // it asked before the change, and may be told either
		t.Errorf("%+v", answers)
	}
	if got := outcomesOf(w.checkAll(w.verifier, apikey.VerifyParams{Token: token})); got[0] != apikey.KeyRevoked {
		t.Errorf("after the change: %v", got)
	}
}
