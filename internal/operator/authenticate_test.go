package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func newKeys(t testing.TB) *secret.Keyring {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func quiet(opts ...Option) []Option {
	return append([]Option{WithLogger(slog.New(slog.DiscardHandler))}, opts...)
}

func boss(t testing.TB) context.Context {
	t.Helper()
	return access.AsSystem(t.Context(), "test")
}

func newPerson(t testing.TB, s *Service, role access.Role) (Operator, string) {
	t.Helper()
	o, err := s.Create(boss(t), CreateParams{Email: id.New[id.Operator]().Hex() + "@example.com", Name: "Ada", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return o, newIssued(t, s, IssueParams{OperatorID: o.ID, Name: "t"}).Secret.Reveal()
}

func newIssued(t testing.TB, s *Service, p IssueParams) Issued {
	t.Helper()
	issued, err := s.IssueToken(boss(t), p)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// authCode returns the code that a credential is answered with, "" for success.
func authCode(t testing.TB, s *Service, bearer string) string {
	t.Helper()
	_, err := s.Authenticate(t.Context(), bearer)
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

func TestAuthenticate_malformed(t *testing.T) {
	t.Parallel()
	db, err := pg.Open(t.Context(), pg.Config{URL: "postgres://nobody@127.0.0.1:1/none"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := New(db, newKeys(t), quiet()...) // whatever asks the database fails as unavailable
	good, err := newToken(rand.Reader, OperatorPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for name, bearer := range map[string]string{
		"empty": "", "prefix only": "llop_", "other prefix": "sk_live_" + good[5:], "short": good[:len(good)-1], "long": good + "0",
		"changed": strings.Replace(good, good[10:11], string(good[10]^1), 1), "service prefix": "llsvc_" + good[5:],
		"not base62": good[:20] + "-" + good[21:], "spaces": " " + good, "jwt without an issuer": "eyJ.e30.x",
	} {
		if got := authCode(t, s, bearer); got != "credential_invalid" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := authCode(t, s, good); got != "database_unavailable" {
		t.Errorf("well-formed: got %q", got)
	}
	if !s.Handles(good) || s.Handles("ll_live_x") || s.Handles("eyJ.e30.x") {
		t.Error("Handles is wrong")
	}
}

func TestAuthenticate_states(t *testing.T) {
	t.Parallel()
	c := &clock{t: time.Now()}
	s := New(pgtest.New(t), newKeys(t), quiet(WithClock(c.now))...)
	o, text := newPerson(t, s, access.Viewer)
	short := c.now().Add(time.Minute)
	brief := newIssued(t, s, IssueParams{OperatorID: o.ID, Name: "t", ExpiresAt: &short}).Secret.Reveal()
	unknown, err := newToken(rand.Reader, ServicePrefix)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, u := authCode(t, s, text), authCode(t, s, brief), authCode(t, s, unknown); a != "" || b != "" || u != "credential_invalid" {
		t.Fatal(a, b, u)
	}
	c.advance(time.Minute) // at that very instant it is over
	if got := authCode(t, s, brief); got != "credential_expired" {
		t.Errorf("expired: got %q", got)
	}
	if _, err := s.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, s, text); got != "credential_invalid" {
		t.Errorf("disabled: got %q", got)
	}
	if _, err := s.Enable(boss(t), o.ID); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, s, text); got != "" {
		t.Errorf("enabled again: got %q", got)
	}
	if err := s.Delete(boss(t), o.ID); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, s, text); got != "credential_invalid" {
		t.Errorf("deleted: got %q", got)
	}
}

// While fresh, nothing is read again until a change says so; without freshness,
// everything is.
func TestAuthenticate_cache(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var fresh atomic.Bool
	fresh.Store(true)
	s := New(db, newKeys(t), quiet(WithFresh(fresh.Load))...)
	o, text := newPerson(t, s, access.Viewer)
	reads := func(bearer string) int {
		t.Helper()
		return len(pgtest.Statements(t, func(ctx context.Context) { _, _ = s.Authenticate(ctx, bearer) }))
	}
	unknown, err := newToken(rand.Reader, OperatorPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for name, bearer := range map[string]string{"known": text, "unknown": unknown} {
		if first, again := reads(bearer), reads(bearer); first == 0 || again != 0 {
			t.Errorf("%s: %d statements, then %d", name, first, again)
		}
	}
	fresh.Store(false)
	if reads(text) == 0 {
		t.Error("not fresh, and the database was not asked")
	}
	fresh.Store(true)

	// Disabled by another replica: only the feed tells.
	other := New(db, newKeys(t), quiet()...)
	if _, err := other.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	s.Forget([]changefeed.Change{{Kind: "project"}, {Kind: kindOperator, ID: id.New[id.Operator]().UUID()}, {Kind: kindService}, {Kind: kindTenant}})
	if got := authCode(t, s, text); got != "" {
		t.Errorf("nothing of his changed: got %q", got)
	}
	s.Forget([]changefeed.Change{{Kind: kindOperator, ID: o.ID.UUID()}})
	if got := authCode(t, s, text); got != "credential_invalid" {
		t.Errorf("after the feed told: got %q", got)
	}
	if _, err := other.Enable(boss(t), o.ID); err != nil {
		t.Fatal(err)
	}
	s.ForgetAll()
	if got := authCode(t, s, text); got != "" {
		t.Errorf("after everything was forgotten: got %q", got)
	}
	if _, err := s.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, s, text); got != "credential_invalid" {
		t.Errorf("disabled by this replica itself: got %q", got)
	}
}

// What was read before a change must not be stored after it.
func TestCache_raceWithForget(t *testing.T) {
	t.Parallel()
	c := newCache()
	key := secret.Sum{1}
	now := time.Now()
	g := grant{Token: id.New[id.Token](), OperatorID: id.New[id.Operator](), actor: "operator_x"}
	before := c.generation.Load()
	c.forget(func(grant) bool { return false }, true)
	c.put(key, g, before, now)
	if _, ok := c.get(key, now); ok {
		t.Error("an outdated grant was stored")
	}
	c.put(key, g, c.generation.Load(), now)
	if _, ok := c.get(key, now); !ok {
		t.Error("a current grant was not stored")
	}
}

func TestAuthenticate_notesTheMutations(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := New(db, newKeys(t), quiet()...)
	o, _ := newPerson(t, s, access.Viewer)
	issued := newIssued(t, s, IssueParams{OperatorID: o.ID, Name: "t"})
	if _, err := s.RevokeToken(boss(t), issued.ID, ""); err != nil {
		t.Fatal(err)
	}
	for ref, kind := range map[string]string{o.ID.UUID(): kindOperator, issued.ID.UUID(): kindToken} {
		err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
			n, err := pg.Scalars[string](t.Context(), tx, `SELECT kind FROM change_feed WHERE ref = $1`, ref)
			if err == nil && (len(n) != 1 || n[0] != kind) {
				t.Errorf("got %v, want one of %s", n, kind)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A token made under a retired pepper works, and moves to the current one.
func TestAuthenticate_pepperRotation(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *secret.Keyring {
		k, err := secret.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	onlyPepper := func(text, name string) string {
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "pepper v1"); ok {
				return "pepper " + name + rest
			}
		}
		return ""
	}
	old := New(db, parse(text), quiet()...)
	_, token := newPerson(t, old, access.Viewer)
	both := New(db, parse(onlyPepper(second, "v2")+text), quiet()...)
	if got := authCode(t, both, token); got != "" {
		t.Fatalf("with both peppers: %q", got)
	}
	if err := both.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, New(db, parse(strings.ReplaceAll(second, "v1", "v2")), quiet()...), token); got != "" {
		t.Errorf("with the new pepper alone: %q", got)
	}
}

func TestFlush_keepsWhatItCouldNotWrite(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c := &clock{t: time.Now()}
	s := New(db, newKeys(t), quiet(WithClock(c.now))...)
	_, text := newPerson(t, s, access.Viewer)
	if got := authCode(t, s, text); got != "" {
		t.Fatal(got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(gone); err == nil {
		t.Fatal("no error")
	}
	if len(s.uses.tokens) != 1 || len(s.uses.people) != 1 {
		t.Errorf("got %+v", &s.uses)
	}
	if err := s.Flush(t.Context()); err != nil || len(s.uses.tokens) != 0 {
		t.Error(err, len(s.uses.tokens))
	}
}

func TestJWT_person(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	f := newFakeIssuer(t)
	c := &clock{t: time.Now()}
	s := New(db, newKeys(t), quiet(WithClock(c.now), WithOIDC(OIDC{Issuer: f.URL, Audience: audience}, nil))...)
	o, own := newPerson(t, s, access.Support)
	subject := id.New[id.Token]().Hex()
	with := func(over map[string]any) string {
		over["sub"] = subject
		return f.token("k1", c.now(), over)
	}
	for name, over := range map[string]map[string]any{
		"no address": {}, "unverified address": {"email": o.Email}, "unverified, said so": {"email": o.Email, "email_verified": false},
		"another's address": {"email": "x@example.com", "email_verified": true},
	} {
		if got := authCode(t, s, with(over)); got != "credential_invalid" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	origin := access.WithOrigin(t.Context(), access.Origin{SourceIP: netip.MustParseAddr("192.0.2.9"), RequestID: subject})
	for range 2 { // linked once
		p, err := s.Authenticate(origin, with(map[string]any{"email": strings.ToUpper(o.Email), "email_verified": true}))
		if err != nil {
			t.Fatal(err)
		}
		p.Permissions = nil
		if diff := cmp.Diff(access.Principal{Type: access.User, ID: o.ID.String(), Name: "Ada"}, p, sameAddr); diff != "" {
			t.Error(diff)
		}
	}
	log, err := audit.New(db).List(boss(t), audit.Filter{RequestID: subject}, page.Request{})
	if err != nil || len(log.Data) != 1 || log.Data[0].Action != "operator.linked" || *log.Data[0].ActorID != o.ID.String() ||
		log.Data[0].SourceIP.String() != "192.0.2.9" {
		t.Errorf("got %+v, %v", log.Data, err)
	}
	// From now on the subject counts, whatever the address says.
	if got := authCode(t, s, with(map[string]any{})); got != "" {
		t.Errorf("by subject: got %q", got)
	}
	// Another subject with the same address is not him.
	subject += "x"
	if got := authCode(t, s, with(map[string]any{"email": o.Email, "email_verified": true})); got != "credential_invalid" {
		t.Errorf("another subject: got %q", got)
	}
	subject = strings.TrimSuffix(subject, "x")
	if _, err := s.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := authCode(t, s, with(map[string]any{})); got != "credential_invalid" {
		t.Errorf("disabled: got %q", got)
	}
	// While the issuer is down, other credentials work.
	if _, err := s.Enable(boss(t), o.ID); err != nil {
		t.Fatal(err)
	}
	f.down.Store(true)
	c.advance(keysFresh + keysUsable)
	if got := authCode(t, s, with(map[string]any{})); got != "issuer_unavailable" {
		t.Errorf("issuer down: got %q", got)
	}
	if got := authCode(t, s, own); got != "" {
		t.Errorf("issuer down, own token: got %q", got)
	}
}

func TestJWT_disabledIsNotLinked(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	s := New(pgtest.New(t), newKeys(t), quiet(WithOIDC(OIDC{Issuer: f.URL, Audience: audience}, nil))...)
	o, _ := newPerson(t, s, access.Support)
	if _, err := s.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	raw := f.token("k1", time.Now(), map[string]any{"sub": o.Email, "email": o.Email, "email_verified": true})
	if got := authCode(t, s, raw); got != "credential_invalid" {
		t.Errorf("got %q", got)
	}
	if got, err := s.Get(boss(t), o.ID); err != nil || got.OIDCSubject != nil {
		t.Error(got, err)
	}
}

func TestJWT_preLinked(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer(t)
	s := New(pgtest.New(t), newKeys(t), quiet(WithOIDC(OIDC{Issuer: f.URL, Audience: audience}, nil))...)
	subject := id.New[id.Token]().Hex()
	create := func() error {
		_, err := s.Create(boss(t), CreateParams{Email: id.New[id.Token]().Hex() + "@example.com", Name: "Ada", Role: access.Viewer, OIDCSubject: subject})
		return err
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	if err := create(); fault.CodeOf(err) != "identity_taken" {
		t.Error(err)
	}
	if got := authCode(t, s, f.token("k1", time.Now(), map[string]any{"sub": subject})); got != "" {
		t.Error(got)
	}
}

func TestJWT_tenant(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	f := newFakeIssuer(t)
	own := id.New[id.Tenant]()
	slug := "j" + own.Hex()[12:]
	setStatus := func(sql string) {
		t.Helper()
		if err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
			_, err := tx.Exec(t.Context(), sql, own)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	setStatus(`INSERT INTO tenants (id, slug, name, status) VALUES ($1::uuid, 'j' || substr(replace($1::uuid::text, '-', ''), 13), 'T', 'active')`)
	outage := fault.New(fault.Unavailable, "database_unavailable", "down")
	s := New(db, newKeys(t), quiet(WithOIDC(OIDC{Issuer: f.URL, Audience: audience, OrganizationClaim: "organization"},
		func(_ context.Context, claim string) (id.Tenant, error) {
			switch claim {
			case slug:
				return own, nil
			case "outage":
				return id.Tenant{}, outage
			default:
				return id.Tenant{}, fault.NotFound("tenant")
			}
		}))...)
	token := func(org any) string {
		return f.token("k1", time.Now(), map[string]any{
			"sub": "u7", "organization": org, "name": "Tom",
			"scope": "openid tenants:read apikeys:write apikeys:verify operators:write nonsense",
		})
	}
	p, err := s.Authenticate(t.Context(), token(map[string]any{slug: map[string]any{"id": "x"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := access.Principal{
		Type: access.User, ID: "oidc:u7", Name: "Tom", Tenant: own,
		Permissions: access.NewSet(access.TenantsRead, access.APIKeysWrite),
	}
	if diff := cmp.Diff(want, p, sameAddr); diff != "" {
		t.Error(diff)
	}
	for name, tc := range map[string]struct {
		org  any
		code string
	}{
		"unknown": {"nobody", "credential_invalid"},
		"two":     {[]string{slug, "other"}, "credential_invalid"},
		"empty":   {"", "credential_invalid"},
		"number":  {7, "credential_invalid"},
		"outage":  {"outage", "database_unavailable"},
	} {
		if got := authCode(t, s, token(tc.org)); got != tc.code {
			t.Errorf("%s: got %q, want %q", name, got, tc.code)
		}
	}
	setStatus(`UPDATE tenants SET status = 'suspended', suspended_at = now(), suspension_reason = 'x', status_before_suspension = 'active' WHERE id = $1`)
	if got := authCode(t, s, token(slug)); got != "tenant_suspended" {
		t.Errorf("suspended: got %q", got)
	}
	setStatus(`UPDATE tenants SET status = 'frozen', frozen_at = now() WHERE id = $1`)
	if got := authCode(t, s, token(slug)); got != "" {
		t.Errorf("frozen may read: got %q", got)
	}
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	s := New(pgtest.New(t), newKeys(t), quiet()...)
	if _, err := s.Whoami(t.Context()); fault.KindOf(err) != fault.Unauthenticated {
		t.Error(err)
	}
	o, text := newPerson(t, s, access.Viewer)
	p, err := s.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	me, err := s.Whoami(access.With(t.Context(), p))
	want := Me{Type: access.User, ID: o.ID.String(), Name: "Ada", Permissions: access.Viewer.Permissions().List()}
	if diff := cmp.Diff(want, me); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestRefusal_isSilent(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	s := New(pgtest.New(t), newKeys(t), WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	o, text := newPerson(t, s, access.Viewer)
	if _, err := s.Disable(boss(t), o.ID, ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.Authenticate(t.Context(), text)
	var f *fault.Error
	if !errors.As(err, &f) || strings.Contains(f.Error(), "disabled") {
		t.Errorf("the caller learns %v", err)
	}
	if !strings.Contains(logged.String(), "is disabled") || strings.Contains(logged.String(), text) {
		t.Errorf("logged %s", logged.String())
	}
}

func FuzzWellFormed(f *testing.F) {
	token, err := newToken(rand.Reader, OperatorPrefix)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("llsvc_")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if wellFormed(s) && !secret.HasChecksum(s) {
			t.Errorf("%q", s)
		}
	})
}
