package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/apptest"
)

// Through the client: a person, an account, their tokens, and what the audit
// log says of it all. The client decodes strictly, so a field that it lacks fails.
func TestOperators_throughTheClient(t *testing.T) {
	t.Parallel()
	w := apptest.New(t)
	ctx, c := t.Context(), w.Client
	o := do(c.Operators.Create(ctx, client.CreateOperator{Email: "ada@example.com", Name: "Ada", Role: "admin"}))
	if o.ETag == "" || !o.Enabled {
		t.Errorf("got %+v", o)
	}
	o = do(c.Operators.Update(ctx, o.ID, client.UpdateOperator{Role: client.Set("support"), IfMatch: o.ETag}))
	if got := do(c.Operators.Get(ctx, o.ID)); *got != *o {
		t.Errorf("got %+v, want %+v", got, o)
	}
	if _, err := c.Operators.Update(ctx, o.ID, client.UpdateOperator{Name: client.Set("x"), IfMatch: `"1"`}); client.Code(err) != "stale_version" {
		t.Error(err)
	}
	var emails []string
	for one, err := range c.Operators.All(ctx, client.OperatorFilter{ListOptions: client.ListOptions{Limit: 1}}) {
		if err != nil {
			t.Fatal(err)
		}
		emails = append(emails, one.Email)
	}
	if !slices.Equal(emails, []string{"ada@example.com", "owner@example.com"}) {
		t.Errorf("got %v", emails)
	}

	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	token := do(c.Operators.IssueToken(ctx, o.ID, client.IssueToken{Name: "laptop", ExpiresAt: &expires}))
	ada := w.As(t, token.Token)
	me := do(ada.Whoami(ctx))
	if me.ID != o.ID || me.Type != "user" || !slices.Contains(me.Permissions, "tenants:lifecycle") || slices.Contains(me.Permissions, "operators:write") {
		t.Errorf("got %+v", me)
	}
	if _, err := ada.Operators.Create(ctx, client.CreateOperator{Email: "eve@example.com", Name: "Eve", Role: "owner"}); client.Code(err) != "permission_denied" {
		t.Error(err)
	}
	own := do(ada.Operators.IssueToken(ctx, o.ID, client.IssueToken{Name: "second"}))
	if p := do(ada.Operators.Tokens(ctx, o.ID, client.TokenFilter{Active: true})); len(p.Data) != 2 || p.Data[0].ID != own.ID || !p.Data[1].ExpiresAt.Equal(expires) {
		t.Errorf("got %+v", p.Data)
	}
	if got := do(ada.Tokens.Revoke(ctx, own.ID, "tidy")); got.State != "revoked" || *got.RevokedReason != "tidy" {
		t.Errorf("got %+v", got)
	}
	if got := do(c.Tokens.Get(ctx, own.ID)); got.State != "revoked" {
		t.Errorf("got %+v", got)
	}
	do(c.Operators.Disable(ctx, o.ID, "left"))
	if _, err := ada.Whoami(ctx); client.Code(err) != "credential_invalid" {
		t.Error(err)
	}
	do(c.Operators.Enable(ctx, o.ID))
	do(ada.Whoami(ctx))

	s := do(c.Services.Create(ctx, client.CreateService{Name: "gateway", Permissions: []string{"apikeys:verify"}}))
	s = do(c.Services.Update(ctx, s.ID, client.UpdateService{Permissions: client.Set([]string{"tenants:read"}), Description: client.Set("d")}))
	machine := w.As(t, do(c.Services.IssueToken(ctx, s.ID, client.IssueToken{Name: "prod"})).Token)
	if me := do(machine.Whoami(ctx)); me.Type != "service" || !slices.Equal(me.Permissions, []string{"tenants:read"}) {
		t.Errorf("got %+v", me)
	}
	if p := do(c.Services.Tokens(ctx, s.ID, client.TokenFilter{})); len(p.Data) != 1 {
		t.Errorf("got %+v", p.Data)
	}
	do(c.Services.Disable(ctx, s.ID, ""))
	do(c.Services.Enable(ctx, s.ID))
	if got := do(c.Services.Get(ctx, s.ID)); got.Name != "gateway" {
		t.Errorf("got %+v", got)
	}
	if p := do(c.Services.List(ctx, client.ServiceFilter{Enabled: new(true)})); len(p.Data) != 1 {
		t.Errorf("got %+v", p.Data)
	}
	if err := c.Services.Delete(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Operators.Delete(ctx, o.ID); err != nil {
		t.Fatal(err)
	}

	var actions []string
	for e, err := range c.AuditLog.All(ctx, client.AuditFilter{ActorType: "user", ListOptions: client.ListOptions{Limit: 3}}) {
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, e.Action)
		if e.SourceIP != "127.0.0.1" || e.UserAgent != "landlord-go" || e.RequestID == "" || e.Actor.ID == "" || e.Target == nil {
			t.Errorf("got %+v", e)
		}
	}
	slices.Reverse(actions)
	want := []string{
		"operator.created", "operator.updated", "token.issued", "token.issued", "token.revoked", "operator.disabled", "operator.enabled",
		"service.created", "service.updated", "token.issued", "service.disabled", "service.enabled", "service.deleted", "operator.deleted",
	}
	if !slices.Equal(actions, want) {
		t.Errorf("got %v", actions)
	}
	first := do(c.AuditLog.List(ctx, client.AuditFilter{Action: "operator.*", TargetID: o.ID, Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}))
	if len(first.Data) != 5 {
		t.Errorf("got %+v", first.Data)
	}
	if e := do(c.AuditLog.Get(ctx, first.Data[0].ID)); e.Action != "operator.deleted" {
		t.Errorf("got %+v", e)
	}
}

func do[T any](v *T, err error) *T {
	if err != nil {
		panic(err)
	}
	return v
}
