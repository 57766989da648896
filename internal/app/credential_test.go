package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// issuer is an OIDC issuer on loopback; sign makes its JWTs.
func issuer(t *testing.T) (url string, sign func(claims map[string]any) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig"}}})
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, func(claims map[string]any) string {
		claims["iss"], claims["aud"], claims["exp"] = s.URL, "landlord", time.Now().Add(time.Minute).Unix()
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
}

// A JWT of the issuer is an operator's credential, or, with an organization, that
// of the tenant's people: theirs and what is below it, and nothing else.
func TestCredential_jwt(t *testing.T) {
	t.Parallel()
	url, sign := issuer(t)
	w := apptest.New(t, func(c *app.Config) { c.OIDC = operator.OIDC{Issuer: url, Audience: "landlord"} })
	owner := do(w.As(t, sign(map[string]any{"sub": "u1", "email": "owner@example.com", "email_verified": true})).Whoami(t.Context()))
	if owner.Type != "user" || owner.Name != "Olivia Owner" || owner.TenantID != "" {
		t.Errorf("got %+v", owner)
	}
	create := func(body map[string]any) string {
		r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/tenants", Token: w.Owner, Body: body})
		if r.Status != http.StatusCreated {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		return r.JSON(t)["id"].(string)
	}
	reseller := create(map[string]any{"name": "Reseller", "slug": "reseller", "kind": "reseller", "external_id": "crm-1"})
	below := create(map[string]any{"name": "Below", "slug": "below", "parent_id": reseller})
	create(map[string]any{"name": "Other", "slug": "other"})
	for _, claim := range []string{"reseller", "crm-1", reseller} {
		raw := sign(map[string]any{"sub": "u2", "org_id": claim, "scope": "tenants:read audit:read"})
		if me := do(w.As(t, raw).Whoami(t.Context())); me.TenantID != reseller || me.ID != "oidc:u2" || len(me.Permissions) != 2 {
			t.Errorf("%s: got %+v", claim, me)
		}
		for path, want := range map[string]int{
			"/v1/tenants/slug:reseller": 200, "/v1/tenants/" + below: 200, "/v1/tenants/" + below + "/audit-log": 200,
			"/v1/tenants/slug:other": 404, "/v1/tenants/slug:other/audit-log": 404, "/v1/audit-log": 403, "/v1/operators": 403,
		} {
			if got := w.Do(t, apptest.Request{Method: "GET", Path: path, Token: raw}); got.Status != want {
				t.Errorf("%s: GET %s: %d %s, want %d", claim, path, got.Status, got.Body, want)
			}
		}
	}
	if _, err := w.As(t, sign(map[string]any{"sub": "u2", "org_id": "nobody"})).Whoami(t.Context()); client.Code(err) != "credential_invalid" {
		t.Error(err)
	}
}

// What one replica revokes, the others refuse within a second.
func TestCredential_revokedEverywhere(t *testing.T) {
	t.Parallel()
	urls, keys := pgtest.CloneURLs(t), apptest.NewKeys(t)
	a := apptest.On(t, urls.App, keys)
	b := apptest.On(t, urls.App, keys)
	me := do(a.Client.Whoami(t.Context()))
	token := do(a.Client.Operators.IssueToken(t.Context(), me.ID, client.IssueToken{Name: "laptop"}))
	there := b.As(t, token.Token)
	for range 5 { // in its memory by now
		do(there.Whoami(t.Context()))
	}
	do(a.Client.Tokens.Revoke(t.Context(), token.ID, "lost"))
	for revoked := time.Now(); ; {
		_, err := there.Whoami(t.Context())
		if client.Code(err) == "credential_invalid" {
			return
		}
		if err != nil || time.Since(revoked) > time.Second {
			t.Fatalf("after %s: %v", time.Since(revoked), err)
		}
	}
}
