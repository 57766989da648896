package operator_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}

func keyring(t testing.TB) *secret.Keyring {
	t.Helper()
	text, err := secret.Generate(strings.NewReader(strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 8)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func room(t testing.TB, db *pg.DB, opts ...operator.Option) *operator.Service {
	t.Helper()
	opts = append([]operator.Option{operator.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	return operator.New(db, keyring(t), opts...)
}

// as acts as a platform principal of a name with permissions.
func as(t testing.TB, who string, permissions ...access.Permission) context.Context {
	t.Helper()
	return access.With(t.Context(), access.Principal{
		Type: access.Service, ID: who, Name: who, Permissions: access.NewSet(permissions...), RequestID: id.New[id.Event]().String(),
	})
}

func asOwner(t testing.TB) context.Context {
	t.Helper()
	return as(t, "test-owner", access.All()...)
}

func email() string { return id.New[id.Operator]().Hex() + "@example.com" }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func person(t testing.TB, s *operator.Service, role access.Role) operator.Operator {
	t.Helper()
	o, err := s.Create(asOwner(t), operator.CreateParams{Email: email(), Name: "Ada", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func account(t testing.TB, s *operator.Service, tenant id.Tenant, permissions ...access.Permission) operator.ServiceAccount {
	t.Helper()
	a, err := s.CreateService(asOwner(t), operator.CreateServiceParams{
		Name: id.New[id.Service]().Hex(), Permissions: permissions, TenantID: tenant,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tenant(t testing.TB, db *pg.DB, parent id.Tenant) id.Tenant {
	t.Helper()
	n := id.New[id.Tenant]()
	exec(t, db, `INSERT INTO tenants (id, slug, name, status, parent_id, ancestors)
		SELECT $1::uuid, 't' || left(md5($1::uuid::text), 20), 'T', 'active', $2::uuid,
			COALESCE((SELECT ancestors || id FROM tenants WHERE id = $2::uuid), '{}')`, n, parent)
	return n
}

func exec(t testing.TB, db *pg.DB, sql string, args ...any) {
	t.Helper()
	err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// recorded returns the actions that a context's request left in the audit log,
// and checks that each has its event beside it.
func recorded(t testing.TB, db *pg.DB, ctx context.Context) []string {
	t.Helper()
	who, _ := access.From(ctx)
	log, err := audit.New(db).List(asOwner(t), audit.Filter{RequestID: who.RequestID}, page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	actions := []string{}
	for _, e := range log.Data {
		actions = append(actions, e.Action)
		err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
			got, err := event.ByID(t.Context(), tx, id.InternalTenant, id.Event(e.ID))
			if err == nil && got.Type != e.Action {
				t.Errorf("the event beside %s is %s", e.Action, got.Type)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: no event beside it: %v", e.Action, err)
		}
	}
	return actions
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if got := fault.CodeOf(err); err == nil || got != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestOperator_life(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := room(t, db)
	ctx := asOwner(t)
	address := email()
	o, err := s.Create(ctx, operator.CreateParams{Email: "  " + strings.ToUpper(address), Name: "Ada", Role: access.Support})
	if err != nil {
		t.Fatal(err)
	}
	if o.Email != address || o.Role != access.Support || !o.Enabled() {
		t.Errorf("got %+v", o)
	}
	if diff := cmp.Diff([]string{"operator.created"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.Create(ctx, operator.CreateParams{Email: address, Name: "Eve", Role: access.Viewer})
	wantCode(t, err, "email_taken")

	ctx = asOwner(t)
	changed, err := s.Update(ctx, o.ID, operator.UpdateParams{Role: patch.Set(access.Viewer), IfMatch: o.UpdatedAt})
	if err != nil || changed.Role != access.Viewer || changed.Name != "Ada" {
		t.Fatal(changed, err)
	}
	if diff := cmp.Diff([]string{"operator.updated"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.Update(asOwner(t), o.ID, operator.UpdateParams{Name: patch.Set("Grace"), IfMatch: o.UpdatedAt})
	wantCode(t, err, "stale_version")

	ctx = asOwner(t)
	for range 2 { // the second time there is nothing to do
		if o, err = s.Disable(ctx, o.ID, "left"); err != nil || o.Enabled() {
			t.Fatal(o, err)
		}
	}
	if diff := cmp.Diff([]string{"operator.disabled"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	if o, err = s.Enable(asOwner(t), o.ID); err != nil || !o.Enabled() {
		t.Fatal(o, err)
	}
	got, err := s.Get(asOwner(t), o.ID)
	if diff := cmp.Diff(o, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	list, err := s.List(asOwner(t), operator.Filter{Email: strings.ToUpper(address)}, page.Request{})
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != o.ID {
		t.Error(list, err)
	}
	ctx = asOwner(t)
	if err := s.Delete(ctx, o.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"operator.deleted"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.Get(asOwner(t), o.ID)
	wantCode(t, err, "operator_not_found")
}

func TestOperator_validates(t *testing.T) {
	t.Parallel()
	s := room(t, pgtest.New(t))
	for name, tc := range map[string]struct {
		p     operator.CreateParams
		field string
	}{
		"no address":        {operator.CreateParams{Name: "Ada", Role: access.Owner}, "email"},
		"no such address":   {operator.CreateParams{Email: "ada", Name: "Ada", Role: access.Owner}, "email"},
		"display name":      {operator.CreateParams{Email: "Ada <ada@example.com>", Name: "Ada", Role: access.Owner}, "email"},
		"long address":      {operator.CreateParams{Email: strings.Repeat("a", 250) + "@example.com", Name: "Ada", Role: access.Owner}, "email"},
		"no name":           {operator.CreateParams{Email: email(), Name: " ", Role: access.Owner}, "name"},
		"long name":         {operator.CreateParams{Email: email(), Name: strings.Repeat("é", 201), Role: access.Owner}, "name"},
		"control character": {operator.CreateParams{Email: email(), Name: "a\x00b", Role: access.Owner}, "name"},
		"role":              {operator.CreateParams{Email: email(), Name: "Ada", Role: "root"}, "role"},
		"no issuer":         {operator.CreateParams{Email: email(), Name: "Ada", Role: access.Owner, OIDCSubject: "x"}, "oidc_subject"},
	} {
		_, err := s.Create(asOwner(t), tc.p)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.InvalidKind || len(f.Fields) != 1 || f.Fields[0].Field != tc.field {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := s.Update(asOwner(t), id.New[id.Operator](), operator.UpdateParams{Name: patch.Null[string]()})
	wantCode(t, err, "invalid_request")
	_, err = s.CreateService(asOwner(t), operator.CreateServiceParams{Name: "x", Permissions: []access.Permission{"tenants:fly"}})
	wantCode(t, err, "invalid_request")
	_, err = s.List(asOwner(t), operator.Filter{}, page.Request{Cursor: "x"})
	wantCode(t, err, "cursor_malformed")
}

func TestOperator_permissions(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := room(t, db)
	owner, viewer := person(t, s, access.Owner), person(t, s, access.Viewer)
	narrow := as(t, "narrow", access.OperatorsRead, access.OperatorsWrite)
	confined := access.With(t.Context(), access.Principal{
		Type: access.Service, ID: "service_x", Tenant: tenant(t, db, id.Tenant{}), Permissions: access.NewSet(access.All()...),
	})
	create := func(ctx context.Context, role access.Role) error {
		_, err := s.Create(ctx, operator.CreateParams{Email: email(), Name: "Ada", Role: role})
		return err
	}
	grant := func(ctx context.Context, p ...access.Permission) error {
		_, err := s.CreateService(ctx, operator.CreateServiceParams{Name: email(), Permissions: p})
		return err
	}
	issue := func(ctx context.Context, o id.Operator) error {
		_, err := s.IssueToken(ctx, operator.IssueParams{OperatorID: o, Name: "t"})
		return err
	}
	update := func(ctx context.Context, o id.Operator, p operator.UpdateParams) error {
		_, err := s.Update(ctx, o, p)
		return err
	}
	self := access.With(t.Context(), access.Principal{Type: access.User, ID: viewer.ID.String(), Permissions: access.Viewer.Permissions()})
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"nobody":                        {create(t.Context(), access.Viewer), "credential_required"},
		"no permission":                 {create(as(t, "x", access.TenantsWrite), access.Viewer), "permission_denied"},
		"a tenant's principal":          {create(confined, access.Viewer), "platform_only"},
		"more than one's own":           {create(narrow, access.Viewer), "grant_exceeds_own"},
		"grant of one's own":            {grant(narrow, access.OperatorsRead), ""},
		"grant of more":                 {grant(narrow, access.OperatorsRead, access.TenantsRead), "grant_exceeds_own"},
		"token of somebody stronger":    {issue(narrow, owner.ID), "grant_exceeds_own"},
		"demoting somebody stronger":    {update(narrow, owner.ID, operator.UpdateParams{Name: patch.Set("Low")}), "grant_exceeds_own"},
		"promoting oneself":             {update(self, viewer.ID, operator.UpdateParams{Role: patch.Set(access.Owner)}), "permission_denied"},
		"a token of one's own":          {issue(self, viewer.ID), ""},
		"a token of another":            {issue(self, owner.ID), "permission_denied"},
		"a person who is not there":     {issue(asOwner(t), id.New[id.Operator]()), "operator_not_found"},
		"changing who is not there":     {update(asOwner(t), id.New[id.Operator](), operator.UpdateParams{Name: patch.Set("x")}), "operator_not_found"},
		"disabling by the confined one": {second(s.Disable(confined, viewer.ID, "")), "platform_only"},
	} {
		if got := tc.err; tc.code == "" && got != nil || tc.code != "" && (got == nil || fault.CodeOf(got) != tc.code) {
			t.Errorf("%s: got %v, want %q", name, got, tc.code)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Whatever two owners do to each other at the same moment, one is left.
func TestOperator_lastOwner(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := room(t, db)
	first := person(t, s, access.Owner)
	for name, err := range map[string]error{
		"demote":  second(s.Update(asOwner(t), first.ID, operator.UpdateParams{Role: patch.Set(access.Admin)})),
		"disable": second(s.Disable(asOwner(t), first.ID, "")),
		"delete":  s.Delete(asOwner(t), first.ID),
	} {
		if fault.CodeOf(err) != "last_owner" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for round := range 5 {
		other := person(t, s, access.Owner)
		start := make(chan struct{})
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for n, target := range []id.Operator{first.ID, other.ID} {
			wg.Go(func() {
				<-start
				if n == round%2 {
					errs[n] = second(s.Update(asOwner(t), target, operator.UpdateParams{Role: patch.Set(access.Viewer)}))
				} else {
					errs[n] = second(s.Disable(asOwner(t), target, ""))
				}
			})
		}
		close(start)
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: got %v and %v, want exactly one refused", round, errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil && fault.CodeOf(err) != "last_owner" {
				t.Fatal(err)
			}
		}
		if errs[0] == nil {
			first = other
		}
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	db := pgtest.Clone(t)
	s := room(t, db)
	// Two at once: one wins.
	start := make(chan struct{})
	tokens, errs := make([]operator.Issued, 2), make([]error, 2)
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			<-start
			_, tokens[n], errs[n] = s.Bootstrap(t.Context(), operator.BootstrapParams{Email: email(), Name: "Ada"})
		})
	}
	close(start)
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatal(errs)
	}
	for n := range 2 {
		if errs[n] != nil {
			wantCode(t, errs[n], "already_bootstrapped")
			continue
		}
		p, err := s.Authenticate(t.Context(), tokens[n].Secret.Reveal())
		if err != nil || !p.Permissions.Has(access.OperatorsWrite) || !p.Platform() {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	if ok, err := s.Bootstrapped(t.Context()); !ok || err != nil {
		t.Error(ok, err)
	}
	// An existing viewer who was disabled is recovered as owner.
	viewer := person(t, s, access.Viewer)
	must(s.Disable(asOwner(t), viewer.ID, ""))
	o, issued, err := s.Bootstrap(t.Context(), operator.BootstrapParams{Email: viewer.Email, ForceRecover: true})
	if err != nil || o.ID != viewer.ID || o.Role != access.Owner || !o.Enabled() || o.Name != "Ada" {
		t.Fatal(o, err)
	}
	if _, err := s.Authenticate(t.Context(), issued.Secret.Reveal()); err != nil {
		t.Error(err)
	}
	log := must(audit.New(db).List(asOwner(t), audit.Filter{Action: "operator.bootstrapped"}, page.Request{}))
	if len(log.Data) != 2 || *log.Data[0].ActorID != "bootstrap" || strings.Contains(string(log.Data[0].Metadata), issued.Secret.Reveal()) {
		t.Errorf("got %+v", log.Data)
	}
}

func TestService_life(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := room(t, db)
	ctx := asOwner(t)
	a, err := s.CreateService(ctx, operator.CreateServiceParams{
		Name: email(), Description: "renders", Permissions: []access.Permission{access.TenantsRead, access.APIKeysVerify, access.TenantsRead},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]access.Permission{access.APIKeysVerify, access.TenantsRead}, a.Permissions); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"service.created"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.CreateService(asOwner(t), operator.CreateServiceParams{Name: a.Name})
	wantCode(t, err, "name_taken")
	_, err = s.CreateService(asOwner(t), operator.CreateServiceParams{Name: email(), TenantID: id.New[id.Tenant]()})
	wantCode(t, err, "tenant_not_found")

	ctx = asOwner(t)
	b, err := s.UpdateService(ctx, a.ID, operator.UpdateServiceParams{
		Permissions: patch.Set([]access.Permission{access.TenantsRead}), Description: patch.Null[string](), IfMatch: a.UpdatedAt,
	})
	if err != nil || b.Description != "" || len(b.Permissions) != 1 {
		t.Fatal(b, err)
	}
	if diff := cmp.Diff([]string{"service.updated"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	// Without an effective change nothing is written.
	ctx = asOwner(t)
	if c := must(s.UpdateService(ctx, a.ID, operator.UpdateServiceParams{Name: patch.Set(b.Name)})); !c.UpdatedAt.Equal(b.UpdatedAt) {
		t.Error("updated_at moved")
	}
	if got := recorded(t, db, ctx); len(got) != 0 {
		t.Error(got)
	}
	list := must(s.ListServices(asOwner(t), operator.ServiceFilter{}, page.Request{Limit: 1}))
	if len(list.Data) != 1 {
		t.Error(list)
	}
	must(s.DisableService(asOwner(t), a.ID, "leaked"))
	_, err = s.IssueToken(asOwner(t), operator.IssueParams{ServiceID: a.ID, Name: "t"})
	wantCode(t, err, "service_disabled")
	must(s.EnableService(asOwner(t), a.ID))
	ctx = asOwner(t)
	if err := s.DeleteService(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"service.deleted"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.GetService(asOwner(t), a.ID)
	wantCode(t, err, "service_not_found")
}

func TestService_confined(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	own := tenant(t, db, id.Tenant{})
	child, stranger := tenant(t, db, own), tenant(t, db, id.Tenant{})
	s := room(t, db, operator.WithTree(func(_ context.Context, ancestor, other id.Tenant) (bool, error) {
		return ancestor == own && (other == own || other == child), nil
	}))
	_, err := s.CreateService(asOwner(t), operator.CreateServiceParams{
		Name: email(), TenantID: own, Permissions: []access.Permission{access.TenantsRead, access.APIKeysVerify},
	})
	wantCode(t, err, "invalid_request")
	a := account(t, s, own, access.TenantsRead)
	issued := must(s.IssueToken(asOwner(t), operator.IssueParams{ServiceID: a.ID, Name: "t"}))
	p, err := s.Authenticate(t.Context(), issued.Secret.Reveal())
	if err != nil || p.Tenant != own || p.Type != access.Service {
		t.Fatal(p, err)
	}
	ctx := access.With(t.Context(), p)
	for _, in := range []id.Tenant{own, child} {
		if err := access.Require(ctx, access.TenantsRead, in); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, access.Require(ctx, access.TenantsRead, stranger), "tenant_not_found")
	_, err = s.List(ctx, operator.Filter{}, page.Request{})
	wantCode(t, err, "platform_only")
	if me, err := s.GetService(ctx, a.ID); err != nil || me.ID != a.ID {
		t.Error(me, err)
	}
	other := must(s.IssueToken(asOwner(t), operator.IssueParams{OperatorID: person(t, s, access.Viewer).ID, Name: "t"}))
	_, err = s.GetToken(ctx, other.ID)
	wantCode(t, err, "token_not_found")
	_, err = s.RevokeToken(ctx, other.ID, "")
	wantCode(t, err, "token_not_found")

	// What a suspended tenant's account may do is nothing, and so below it.
	exec(t, db, `UPDATE tenants SET status = 'suspended', suspended_at = now(), suspension_reason = 'x', status_before_suspension = 'active' WHERE id = $1`, own)
	_, err = s.Authenticate(t.Context(), issued.Secret.Reveal())
	wantCode(t, err, "tenant_suspended")
	below := must(s.IssueToken(asOwner(t), operator.IssueParams{ServiceID: account(t, s, child, access.TenantsRead).ID, Name: "t"}))
	_, err = s.Authenticate(t.Context(), below.Secret.Reveal())
	wantCode(t, err, "tenant_suspended")
}

func TestToken_life(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now := time.Now()
	clock := func() time.Time { return now }
	s := room(t, db, operator.WithClock(clock), operator.WithLimits(operator.Limits{DefaultTTL: time.Hour, MaxTTL: 48 * time.Hour}))
	o := person(t, s, access.Admin)
	ctx := asOwner(t)
	issued, err := s.IssueToken(ctx, operator.IssueParams{OperatorID: o.ID, Name: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	text := issued.Secret.Reveal()
	if !strings.HasPrefix(text, "llop_") || len(text) != len("llop_")+49 || !strings.HasSuffix(text, issued.Last4) || !secret.HasChecksum(text) {
		t.Errorf("got %q", text)
	}
	if diff := cmp.Diff([]string{"token.issued"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	late := now.Add(49 * time.Hour)
	_, err = s.IssueToken(asOwner(t), operator.IssueParams{OperatorID: o.ID, Name: "t", ExpiresAt: &late})
	wantCode(t, err, "invalid_request")
	past := now.Add(-time.Second)
	_, err = s.IssueToken(asOwner(t), operator.IssueParams{OperatorID: o.ID, Name: "t", ExpiresAt: &past})
	wantCode(t, err, "invalid_request")

	origin := access.WithOrigin(t.Context(), access.Origin{SourceIP: netip.MustParseAddr("2001:db8::7")})
	p, err := s.Authenticate(origin, text)
	if err != nil || p.ID != o.ID.String() || p.Type != access.User || p.Permissions.Has(access.OperatorsWrite) {
		t.Fatal(p, err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := must(s.GetToken(asOwner(t), issued.ID))
	if got.LastUsedAt == nil || got.LastUsedAt.Sub(now).Abs() > time.Millisecond || got.LastUsedIP.String() != "2001:db8::7" || got.StateAt(now) != operator.Active {
		t.Errorf("got %+v", got)
	}
	if seen := must(s.Get(asOwner(t), o.ID)); seen.LastSeenAt == nil || !seen.UpdatedAt.Equal(o.UpdatedAt) {
		t.Errorf("got %+v", seen)
	}
	first := *got.LastUsedAt
	now = now.Add(30 * time.Second) // within the minute nothing is written again
	must(s.Authenticate(t.Context(), text))
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := must(s.GetToken(asOwner(t), issued.ID)); !got.LastUsedAt.Equal(first) {
		t.Errorf("last used moved by %s", got.LastUsedAt.Sub(first))
	}

	ctx = asOwner(t)
	for _, reason := range []string{"lost", "again"} {
		got = must(s.RevokeToken(ctx, issued.ID, reason))
	}
	if got.StateAt(now) != operator.Revoked || *got.RevokedReason != "lost" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"token.revoked"}, recorded(t, db, ctx)); diff != "" {
		t.Error(diff)
	}
	_, err = s.Authenticate(t.Context(), text)
	wantCode(t, err, "credential_invalid")
	all := must(s.ListTokens(asOwner(t), operator.TokenFilter{OperatorID: o.ID}, page.Request{}))
	live := must(s.ListTokens(asOwner(t), operator.TokenFilter{OperatorID: o.ID, Live: true}, page.Request{}))
	if len(all.Data) != 1 || len(live.Data) != 0 {
		t.Error(all, live)
	}
	_, err = s.ListTokens(asOwner(t), operator.TokenFilter{OperatorID: id.New[id.Operator]()}, page.Request{})
	wantCode(t, err, "operator_not_found")
	_, err = s.RevokeToken(asOwner(t), id.New[id.Token](), "")
	wantCode(t, err, "token_not_found")
}

func TestLists_pages(t *testing.T) {
	t.Parallel()
	s := room(t, pgtest.New(t))
	a := account(t, s, id.Tenant{}, access.TenantsRead)
	var want []id.Token
	for range 5 {
		want = append([]id.Token{must(s.IssueToken(asOwner(t), operator.IssueParams{ServiceID: a.ID, Name: "t"})).ID}, want...)
	}
	var got []id.Token
	r := page.Request{Limit: 2}
	for {
		p := must(s.ListTokens(asOwner(t), operator.TokenFilter{ServiceID: a.ID}, r))
		for _, token := range p.Data {
			got = append(got, token.ID)
		}
		if p.Next == "" {
			break
		}
		r.Cursor = p.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
