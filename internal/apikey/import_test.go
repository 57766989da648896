package apikey_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/secret"
)

// importKey is what another system made the HMACs of its tokens with.
const importKey = "another system's secret"

// newImportWorld is a world whose secrets file has an import key, named old.
func newImportWorld(t *testing.T, change ...func(*apikey.VerifierConfig)) *world {
	t.Helper()
	return withImportKey(newWorld(t, change...), change...)
}

func withImportKey(w *world, change ...func(*apikey.VerifierConfig)) *world {
	w.t.Helper()
	w.secrets += "\nimport old " + base64.StdEncoding.EncodeToString([]byte(importKey))
	w.ring = parseRing(w.t, w.secrets)
	if err := w.verifier.Close(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.verifier = w.replica(change...)
	var err error
	if w.keys, err = apikey.New(w.db, w.ring, apikey.Config{Verifier: w.verifier, Now: w.clock.now}); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// replica is another verifier on the same database, which has just started.
func (w *world) replica(change ...func(*apikey.VerifierConfig)) *apikey.Verifier {
	w.t.Helper()
	c := apikey.VerifierConfig{Fresh: w.fresh.Load, Now: w.clock.now}
	for _, f := range change {
		f(&c)
	}
	v := apikey.NewVerifier(w.db, w.ring, c)
	w.t.Cleanup(func() { _ = v.Close(context.WithoutCancel(w.t.Context())) })
	if err := v.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// foreignToken is a token as others make them.
func foreignToken() string { return "sk_" + strings.ToLower(rand.Text()) + rand.Text() }

func bcryptOf(t testing.TB, token string) apikey.ForeignHash {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return apikey.ForeignHash{Algorithm: apikey.HashBcrypt, Value: string(h)}
}

func argon2Of(token string) apikey.ForeignHash {
	b64 := base64.RawStdEncoding.EncodeToString
	salt := []byte(rand.Text())
	return apikey.ForeignHash{
		Algorithm: apikey.HashArgon2id, Value: fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", b64(salt), b64(argon2.IDKey([]byte(token), salt, 1, 64, 1, 32))),
	}
}

func sha256Of(token string) apikey.ForeignHash {
	sum := sha256.Sum256([]byte(token))
	return apikey.ForeignHash{Algorithm: apikey.HashSHA256, Value: hex.EncodeToString(sum[:])}
}

func hmacOf(token string) apikey.ForeignHash {
	m := hmac.New(sha256.New, []byte(importKey))
	m.Write([]byte(token))
	return apikey.ForeignHash{Algorithm: apikey.HashHMAC, Key: "old", Value: base64.StdEncoding.EncodeToString(m.Sum(nil))}
}

// item is an import of a token; change adjusts it.
func item(token string, change ...func(*apikey.ImportItem)) apikey.ImportItem {
	x := apikey.ImportItem{CreateParams: apikey.CreateParams{
		Environment: apikey.Live, Name: "imported " + rand.Text(), Scopes: []string{"renders:*"},
	}, Token: secret.NewText(token)}
	for _, f := range change {
		f(&x)
	}
	return x
}

// as imports the hash instead of the token, and how the token begins.
func as(h apikey.ForeignHash, prefix string) func(*apikey.ImportItem) {
	return func(x *apikey.ImportItem) { x.Token, x.Hash, x.Prefix = secret.Text{}, h, prefix }
}

func (w *world) bring(items ...apikey.ImportItem) []apikey.ImportResult {
	w.t.Helper()
	results, err := w.keys.Import(w.ctx(), w.tenant, items)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(results) != len(items) {
		w.t.Fatalf("%d results of %d items", len(results), len(items))
	}
	return results
}

// mustBring imports what must not be refused.
func (w *world) mustBring(items ...apikey.ImportItem) []id.APIKey {
	w.t.Helper()
	var keys []id.APIKey
	for i, r := range w.bring(items...) {
		if r.Err != nil {
			w.t.Fatalf("item %d: %v", i, r.Err)
		}
		keys = append(keys, r.Key)
	}
	return keys
}

func outcomeOf(t testing.TB, v *apikey.Verifier, token string) apikey.Outcome {
	t.Helper()
	a, err := v.Check(t.Context(), &apikey.VerifyParams{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return a.Outcome
}

// In whatever form a key comes, its token works on every replica, nothing is written when it is verified, and after its
// first use its stored form is the current one.
func TestImport_forms(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		token string
		as    func(token string) func(*apikey.ImportItem)
	}{
		"a token":           {foreignToken(), nil},
		"a token of ours":   {randomToken(), nil},
		"sha256":            {foreignToken(), func(t string) func(*apikey.ImportItem) { return as(sha256Of(t), "") }},
		"sha256, prefix":    {foreignToken(), func(t string) func(*apikey.ImportItem) { return as(sha256Of(t), t[:12]) }},
		"hmac-sha256":       {foreignToken(), func(t string) func(*apikey.ImportItem) { return as(hmacOf(t), t[:4]) }},
		"argon2id":          {foreignToken(), func(t string) func(*apikey.ImportItem) { return as(argon2Of(t), t[:8]) }},
		"bcrypt":            {foreignToken(), func(s string) func(*apikey.ImportItem) { return as(bcryptOf(t, s), s[:12]) }},
		"bcrypt, ours":      {randomToken(), func(s string) func(*apikey.ImportItem) { return as(bcryptOf(t, s), s[:12]) }},
		"the longest token": {strings.Repeat("0123456789abcde", 17), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t)
			before := w.replica()
			x := item(tc.token)
			if tc.as != nil {
				tc.as(tc.token)(&x)
			}
			key := w.mustBring(x)[0]
			before.Apply(w.changes()) // it runs already, and hears of the import
			after := w.replica()      // it starts later
			for name, v := range map[string]*apikey.Verifier{"importer": w.verifier, "started before": before, "started after": after} {
				sent := pgtest.Statements(t, func(ctx context.Context) {
					a, err := v.Check(ctx, &apikey.VerifyParams{Token: tc.token, Scopes: []string{"renders:create"}})
					if err != nil || a.Outcome != apikey.Valid || a.KeyID != key || a.TenantID != w.tenant {
						t.Errorf("%s: %+v, %v", name, a, err)
					}
				})
				for _, sql := range sent {
					if strings.Contains(sql, "UPDATE") || strings.Contains(sql, "INSERT") {
						t.Errorf("%s writes: %s", name, sql)
					}
				}
				if sent := pgtest.Statements(t, func(ctx context.Context) {
					if a, err := v.Check(ctx, &apikey.VerifyParams{Token: tc.token}); err != nil || a.Outcome != apikey.Valid {
						t.Error(a.Outcome, err)
					}
				}); len(sent) != 0 {
					t.Errorf("%s, warm: %q", name, sent)
				}
				for _, wrong := range []string{tc.token[:len(tc.token)-1], tc.token + "x", strings.ToUpper(tc.token)} {
					if o := outcomeOf(t, v, wrong); o != apikey.NotFound && o != apikey.Malformed {
						t.Errorf("%s: %s answers %s", name, wrong, o)
					}
				}
			}
			if err := w.verifier.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if hash := count[string](t, w.db, `SELECT hash FROM api_keys WHERE id = $1`, key); hash != w.ring.Digest(tc.token) {
				t.Errorf("after its first use it is stored as %s", hash)
			}
			later := w.replica()
			if o := outcomeOf(t, later, tc.token); o != apikey.Valid || later.Stats().SlowChecks != 0 {
				t.Errorf("upgraded: %s, %+v", o, later.Stats())
			}
		})
	}
}

// changes are all that the feed has.
func (w *world) changes() []changefeed.Change {
	w.t.Helper()
	var out []changefeed.Change
	err := w.db.ReadOperator(w.t.Context(), func(tx pg.Tx) error {
		rows, err := tx.Query(w.t.Context(), `SELECT kind, tenant_id, ref FROM change_feed WHERE tenant_id = $1 ORDER BY seq`, w.tenant)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c changefeed.Change
			if err := rows.Scan(&c.Kind, &c.TenantID, &c.ID); err != nil {
				return err
			}
			out = append(out, c)
		}
		return rows.Err()
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestImport_keeps(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	made, used, ends := w.clock.now().Add(-1000*time.Hour), w.clock.now().Add(-time.Hour), w.clock.now().Add(time.Hour)
	token := foreignToken()
	keys := w.mustBring(
		item(token, func(x *apikey.ImportItem) {
			x.Name, x.Product, x.ProjectID, x.Environment, x.ExpiresAt = " First ", w.product, w.project, apikey.Test, &ends
			x.CreatedAt, x.LastUsedAt, x.UsageCount = &made, &used, 4711
			x.Metadata = map[string]any{"plan": "old"}
			x.RateLimits = []ratelimit.Rule{{Name: "renders", Limit: 7, Window: 60}}
		}),
		item(foreignToken(), as(sha256Of(foreignToken()), "")),
		item(randomToken()),
		item("0123456789abcdef"),
	)
	k, err := w.keys.Get(w.ctx(), w.tenant, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if k.Name != "First" || k.Product != w.product || k.ProjectID != w.project || k.Environment != apikey.Test || !k.ExpiresAt.Equal(ends) ||
		!k.CreatedAt.Equal(made) || !k.LastUsedAt.Equal(used) || k.UsageCount != 4711 || k.Metadata["plan"] != "old" || k.ImportedAt == nil ||
		k.CreatedBy != "user:operator_1" || k.RateLimitRPM != 600 || len(k.RateLimits) != 1 || k.RateLimits[0].Limit != 7 {
		t.Errorf("%+v", k)
	}
	if k.Prefix != token[:12] || k.Last4 != token[len(token)-4:] {
		t.Errorf("of %s it shows %s and %s", token, k.Prefix, k.Last4)
	}
	if k, _ := w.keys.Get(w.ctx(), w.tenant, keys[1]); k.Prefix != "" || k.Last4 != "" {
		t.Errorf("of a bare hash it shows %q and %q", k.Prefix, k.Last4)
	}
	if k, _ := w.keys.Get(w.ctx(), w.tenant, keys[2]); !strings.HasPrefix(k.Prefix, "ll_live_") || len(k.Prefix) != 12 {
		t.Errorf("of a token of ours it shows %q", k.Prefix)
	}
	if k, _ := w.keys.Get(w.ctx(), w.tenant, keys[3]); k.Prefix != "0123" || k.Last4 != "" {
		t.Errorf("of the shortest token it shows %q and %q", k.Prefix, k.Last4)
	}
	w.check(apikey.VerifyParams{Token: token})
	if err := w.verifier.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k, _ := w.keys.Get(w.ctx(), w.tenant, keys[0]); k.UsageCount != 4712 || k.LastUsedAt.Before(used) {
		t.Errorf("after another use: %d, %s", k.UsageCount, k.LastUsedAt)
	}
	for _, table := range []string{"api_keys", "audit_log", "tenant_events", "change_feed"} {
		if n := count[int](t, w.db, `SELECT count(*) FROM `+table+` x WHERE strpos(x::text, $1) > 0`, token[20:]); n != 0 {
			t.Errorf("%s holds the token", table)
		}
	}
	for _, key := range keys {
		for _, sql := range []string{
			`SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'api_key.imported' AND target_id = $2 AND crud = 'c'`,
			`SELECT count(*) FROM tenant_events WHERE tenant_id = $1 AND type = 'api_key.imported' AND payload -> 'api_key' ->> 'id' = $2`,
		} {
			if n := count[int](t, w.db, sql, w.tenant, key.String()); n != 1 {
				t.Errorf("%d of %s", n, sql)
			}
		}
	}

	// It is replaced by a key of ours.
	next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: keys[0], Grace: time.Minute})
	if err != nil || next.ImportedAt != nil || !strings.HasPrefix(next.Prefix, "ll_test_") {
		t.Errorf("%+v, %v", next, err)
	}
}

// Each item that is refused says why, and the others are made.
func TestImport_refuses(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	archived := w.newProject(w.tenant)
	w.exec(`UPDATE tenant_projects SET status = 'archived', archived_at = NOW() WHERE id = $1`, archived)
	future, past := w.clock.now().Add(time.Hour), w.clock.now().Add(-time.Hour)
	dear := bcryptOf(t, foreignToken())
	dear.Value = strings.Replace(dear.Value, "$04$", "$15$", 1)
	token := foreignToken()
	other := func(f func(*apikey.ImportItem)) apikey.ImportItem { return item(foreignToken(), f) }
	cases := []struct {
		name, field, code string
		item              apikey.ImportItem
	}{
		{"neither token nor hash", "token", "required", item("")},
		{"both", "hash", "not_applicable", other(func(x *apikey.ImportItem) { x.Hash = sha256Of("x") })},
		{"a short token", "token", "token_malformed", item("0123456789abcde")},
		{"a long token", "token", "token_malformed", item(strings.Repeat("0123456789abcdef", 16))},
		{"a blank in the token", "token", "token_malformed", item("0123456789 abcdefg")},
		{"another script", "token", "token_malformed", item("0123456789abcdefgü")},
		{"a placeholder", "token", "token_weak", item("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")},
		{"another environment", "environment", "invalid", item(randomToken(), func(x *apikey.ImportItem) { x.Environment = apikey.Test })},
		{"another beginning", "prefix", "invalid", other(func(x *apikey.ImportItem) { x.Prefix = "pk_" })},
		{"all but the whole token", "prefix", "too_long", item(token, func(x *apikey.ImportItem) { x.Prefix = token[:len(token)-11] })},
		{"another end", "last4", "invalid", other(func(x *apikey.ImportItem) { x.Last4 = "____" })},
		{"a long end", "last4", "wrong_format", other(func(x *apikey.ImportItem) { x.Last4 = "12345" })},
		{"a blank beginning", "prefix", "invalid_text", item("", as(sha256Of("x"), "a b"))},
		{"an unknown algorithm", "hash.algorithm", "not_one_of", item("", as(apikey.ForeignHash{Algorithm: "md5", Value: "x"}, ""))},
		{"a short hash", "hash.value", "hash_malformed", item("", as(apikey.ForeignHash{Algorithm: apikey.HashSHA256, Value: "00ff"}, ""))},
		{"no import key", "hash.key", "required", item("", as(apikey.ForeignHash{Algorithm: apikey.HashHMAC, Value: sha256Of("x").Value}, ""))},
		{"an unknown import key", "hash.key", "import_key_not_found", item("", as(apikey.ForeignHash{Algorithm: apikey.HashHMAC, Key: "older", Value: sha256Of("x").Value}, ""))},
		{"a key that nothing takes", "hash.key", "not_applicable", item("", as(apikey.ForeignHash{Algorithm: apikey.HashSHA256, Key: "old", Value: sha256Of("x").Value}, ""))},
		{"a malformed bcrypt", "hash.value", "hash_malformed", item("", as(apikey.ForeignHash{Algorithm: apikey.HashBcrypt, Value: "$2b$10$x"}, "12345678"))},
		{"a bcrypt that is said to be argon2id", "hash.value", "hash_malformed", item("", as(apikey.ForeignHash{Algorithm: apikey.HashArgon2id, Value: bcryptOf(t, "x").Value}, "12345678"))},
		{"a dear bcrypt", "hash.value", "hash_too_costly", item("", as(dear, "12345678"))},
		{"a bcrypt without beginning", "prefix", "required", item("", as(bcryptOf(t, "x"), ""))},
		{"a bcrypt with a short beginning", "prefix", "too_short", item("", as(bcryptOf(t, "x"), "1234567"))},
		{"a permission", "scopes", "scope_not_allowed", other(func(x *apikey.ImportItem) { x.Scopes = []string{"landlord:apikeys:read"} })},
		{"no name", "name", "required", other(func(x *apikey.ImportItem) { x.Name = "" })},
		{"no environment", "environment", "not_one_of", other(func(x *apikey.ImportItem) { x.Environment = "prod" })},
		{"an end in the past", "expires_at", "in_the_past", other(func(x *apikey.ImportItem) { x.ExpiresAt = &past })},
		{"made in the future", "created_at", "in_the_future", other(func(x *apikey.ImportItem) { x.CreatedAt = &future })},
		{"used in the future", "last_used_at", "in_the_future", other(func(x *apikey.ImportItem) { x.LastUsedAt = &future })},
		{"a negative count", "usage_count", "out_of_range", other(func(x *apikey.ImportItem) { x.UsageCount = -1 })},
		{"an unknown product", "product", "product_not_found", other(func(x *apikey.ImportItem) { x.Product = "nothing" })},
		{"an undeclared scope", "scopes", "scope_not_found", other(func(x *apikey.ImportItem) { x.Product, x.Scopes = w.product, []string{"stats:delete"} })},
		{"an unknown project", "project_id", "project_not_found", other(func(x *apikey.ImportItem) { x.ProjectID = id.New[id.Project]() })},
		{"another tenant's project", "project_id", "project_not_found", other(func(x *apikey.ImportItem) { x.ProjectID = w.newProject(w.newTenant(id.Tenant{})) })},
	}
	items := make([]apikey.ImportItem, 0, len(cases)+2)
	for _, c := range cases {
		items = append(items, c.item)
	}
	items = append(items, item(foreignToken(), func(x *apikey.ImportItem) { x.ProjectID = archived }), item(token))
	results := w.bring(items...)
	for i, c := range cases {
		if results[i].Err == nil || !results[i].Key.IsZero() {
			t.Errorf("%s: %+v", c.name, results[i])
			continue
		}
		t.Run(c.name, func(t *testing.T) { wantField(t, results[i].Err, c.field, c.code) })
	}
	wantCode(t, results[len(cases)].Err, "project_archived")
	if last := results[len(cases)+1]; last.Err != nil || w.outcome(token) != apikey.Valid {
		t.Errorf("the good one among them: %+v", last)
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM api_keys WHERE tenant_id = $1`, w.tenant); n != 1 {
		t.Errorf("%d keys were made", n)
	}

	for name, items := range map[string][]apikey.ImportItem{"too_few": nil, "too_many": make([]apikey.ImportItem, apikey.MaxImport+1)} {
		_, err := w.keys.Import(w.ctx(), w.tenant, items)
		wantField(t, err, "items", name)
	}
	k := w.mustBring(item(foreignToken()))[0]
	_, err := w.keys.Update(w.ctx(), apikey.UpdateParams{TenantID: w.tenant, ID: k, Scopes: patch.Set([]string{"landlord:apikeys:read"})})
	wantField(t, err, "scopes", "scope_not_allowed")
}

func TestImport_whoMay(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	own := access.With(t.Context(), access.Principal{
		Type: access.APIKey, ID: "key_1", Tenant: w.tenant, Permissions: access.NewSet(access.APIKeysWrite),
	})
	token := foreignToken()
	results, err := w.keys.Import(own, w.tenant, []apikey.ImportItem{
		item(token), item("", as(bcryptOf(t, "x"), "sk_12345")), item("", as(argon2Of("x"), "sk_12345")),
	})
	if err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	for _, r := range results[1:] {
		wantField(t, r.Err, "hash.algorithm", "platform_only")
	}
	_, err = w.keys.Import(own, w.newTenant(id.Tenant{}), []apikey.ImportItem{item(foreignToken())})
	wantCode(t, err, "tenant_not_found")
	reader := access.With(t.Context(), access.Principal{Type: access.User, ID: "o", Permissions: access.NewSet(access.APIKeysRead)})
	_, err = w.keys.Import(reader, w.tenant, []apikey.ImportItem{item(foreignToken())})
	wantCode(t, err, "permission_denied")
	_, err = w.keys.Import(w.ctx(), id.New[id.Tenant](), []apikey.ImportItem{item("")})
	wantCode(t, err, "tenant_not_found")
	w.setStatus(w.tenant, "frozen")
	_, err = w.keys.Import(own, w.tenant, []apikey.ImportItem{item(foreignToken())})
	wantCode(t, err, "tenant_frozen")
}

// A token is one key in the installation, and a name one live key of the tenant.
func TestImport_conflicts(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	token, theirs := foreignToken(), foreignToken()
	named := func(name string) func(*apikey.ImportItem) { return func(x *apikey.ImportItem) { x.Name = name } }
	first := w.mustBring(item(token, named("first")))[0]
	other := w.newTenant(id.Tenant{})
	if r, err := w.keys.Import(w.ctx(), other, []apikey.ImportItem{item(theirs)}); err != nil || r[0].Err != nil {
		t.Fatal(r, err)
	}
	fresh := foreignToken()
	results := w.bring(
		item(token, named("second")),
		item(theirs),
		item(foreignToken(), named("first")),
		item(fresh, named("fourth")),
		item(foreignToken(), named("fourth")),
		item(fresh, named("fifth")),
		item("", as(sha256Of(fresh), ""), named("sixth")),
	)
	for i, want := range []string{"already_imported", "token_taken", "name_taken", "", "invalid_request", "invalid_request", "invalid_request"} {
		switch r := results[i]; {
		case want == "":
			if r.Err != nil {
				t.Errorf("item %d: %v", i, r.Err)
			}
		case fault.CodeOf(r.Err) != want:
			t.Errorf("item %d: %v, want %s", i, r.Err, want)
		}
	}
	if results[0].Key != first || !results[1].Key.IsZero() {
		t.Errorf("%+v", results[:2])
	}
	wantField(t, results[4].Err, "name", "duplicate")
	wantField(t, results[5].Err, "token", "duplicate")
	wantField(t, results[6].Err, "token", "duplicate")
	if r := w.bring(item("", as(sha256Of(token), ""))); r[0].Key != first || fault.CodeOf(r[0].Err) != "already_imported" {
		t.Errorf("%+v", r)
	}
	if v := w.check(apikey.VerifyParams{Token: theirs}); v.TenantID != other {
		t.Errorf("the other tenant's token is %s's", v.TenantID)
	}
	// The name is free again, the token is not.
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, first, ""); err != nil {
		t.Fatal(err)
	}
	results = w.bring(item(foreignToken(), named("first")), item(token))
	if results[0].Err != nil || fault.CodeOf(results[1].Err) != "already_imported" || w.outcome(token) != apikey.KeyRevoked {
		t.Errorf("%+v, %s", results, w.outcome(token))
	}
}

// A token is known whatever form it is stored in: under a retired pepper, and as an HMAC that was not used yet.
func TestImport_knowsOldForms(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	_, issued := w.create()
	brought := foreignToken()
	w.mustBring(item("", as(hmacOf(brought), "sk_")))
	pepper := make([]byte, 32)
	_, _ = rand.Read(pepper)
	w.ring = parseRing(t, "pepper v2 "+base64.StdEncoding.EncodeToString(pepper)+"\n"+w.secrets)
	v := w.replica()
	keys, err := apikey.New(w.db, w.ring, apikey.Config{Verifier: v, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	results, err := keys.Import(w.ctx(), w.tenant, []apikey.ImportItem{
		item(issued), item("", as(sha256Of(issued), "")), item(brought), item("", as(hmacOf(brought), "")),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if fault.CodeOf(r.Err) != "already_imported" && i != 1 && i != 3 || r.Err == nil {
			t.Errorf("item %d: %v", i, r.Err)
		}
	}
	for _, token := range []string{issued, brought} {
		if o := outcomeOf(t, v, token); o != apikey.Valid {
			t.Errorf("%s answers %s", token, o)
		}
	}
}

// Two bcrypt hashes of one token can't be told to be: the first imported is the token's key, before and after it was used.
func TestImport_twoHashesOfOneToken(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	token := foreignToken()
	keys := w.mustBring(item("", as(bcryptOf(t, token), token[:8])), item("", as(bcryptOf(t, token), token[:8])))
	for _, v := range []*apikey.Verifier{w.verifier, w.replica(), w.replica()} {
		a, err := v.Check(t.Context(), &apikey.VerifyParams{Token: token})
		if err != nil || a.KeyID != keys[0] {
			t.Fatalf("%+v, %v", a, err)
		}
		if err := v.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// Where both were matched, the digest is stored once, and the flush goes on.
	w.exec(`UPDATE api_keys SET hash = $2 WHERE id = $1`, keys[0], bcryptOf(t, "somebody else's token").Value)
	if a, err := w.replica().Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || a.KeyID != keys[1] {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestImport_crowds(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	begin := "sk_" + strings.ToLower(rand.Text())[:8]
	var items []apikey.ImportItem
	for range apikey.MaxSlowKeys + 1 {
		items = append(items, item("", as(argon2Of(begin+rand.Text()), begin)))
	}
	results := w.bring(items...)
	for _, r := range results[:apikey.MaxSlowKeys] {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	wantField(t, results[apikey.MaxSlowKeys].Err, "prefix", "prefix_crowded")
	// They are counted over all tenants, and by the whole beginning.
	results, err := w.keys.Import(w.ctx(), w.newTenant(id.Tenant{}), []apikey.ImportItem{
		item("", as(argon2Of(begin+rand.Text()), begin)), item("", as(argon2Of(begin+rand.Text()), begin+"1")), item("", as(sha256Of(foreignToken()), begin)),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantField(t, results[0].Err, "prefix", "prefix_crowded")
	if results[1].Err != nil || results[2].Err != nil {
		t.Errorf("%+v", results)
	}
}

// What binds keys that are issued binds those that are imported: policies, and the tenant's plan.
func TestImport_bounds(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.putPolicy(apikey.PutPolicyParams{Environments: []apikey.Environment{apikey.Live}})
	w.plan(`{"max_age_days": 30, "rate_limit_rpm": 42, "max_keys": 3}`)
	there := foreignToken()
	first := w.mustBring(item(there))[0]
	late := w.clock.now().Add(31 * day)
	results := w.bring(
		item(foreignToken(), func(x *apikey.ImportItem) { x.Environment = apikey.Test }),
		item(foreignToken(), func(x *apikey.ImportItem) { x.ExpiresAt = &late }),
		item(there),
		item(foreignToken()), item(foreignToken()), item(foreignToken()),
	)
	wantField(t, results[0].Err, "environment", "environment_not_allowed")
	wantField(t, results[1].Err, "expires_at", "beyond_max_age")
	wantCode(t, results[2].Err, "already_imported")
	if results[3].Err != nil || results[4].Err != nil {
		t.Errorf("%v, %v", results[3].Err, results[4].Err)
	}
	wantCode(t, results[5].Err, "api_key_limit_reached")
	k, err := w.keys.Get(w.ctx(), w.tenant, first)
	if err != nil || k.RateLimitRPM != 42 {
		t.Errorf("%+v, %v", k, err)
	}
	wantEnd(t, "what the plan says", k, new(w.clock.now().Add(30*day)))
}

// An end that no count of nanoseconds can say is still to come.
func TestCheck_farEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, token := w.create(func(p *apikey.CreateParams) { p.ExpiresAt = new(time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)) })
	if v := w.check(apikey.VerifyParams{Token: token}); v.Outcome != apikey.Valid || v.ExpiresAt.Before(w.clock.now()) {
		t.Errorf("%+v", v)
	}
}

// Several that import at once: no more than the bound, and each token once.
func TestImport_atOnce(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	begin := "sk_" + strings.ToLower(rand.Text())[:8]
	var tokens []string
	for range 20 {
		tokens = append(tokens, foreignToken())
	}
	const importers = 6
	var mu sync.Mutex
	made := map[string]int{}
	var all sync.WaitGroup
	for i := range importers {
		all.Go(func() {
			var items []apikey.ImportItem
			for j := range tokens {
				if i%2 == 1 {
					j = len(tokens) - 1 - j
				}
				items = append(items, item(tokens[j], func(x *apikey.ImportItem) { x.Name = tokens[j] }))
			}
			for range 2 {
				items = append(items, item("", as(argon2Of(begin+rand.Text()), begin)))
			}
			results, err := w.keys.Import(w.ctx(), w.tenant, items)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for n, r := range results {
				switch {
				case r.Err == nil && n < len(tokens):
					made[items[n].Name]++
				case r.Err == nil:
					made[begin]++
				case n < len(tokens) && fault.CodeOf(r.Err) != "already_imported":
					t.Errorf("%v", r.Err)
				}
			}
		})
	}
	all.Wait()
	if made[begin] != apikey.MaxSlowKeys {
		t.Errorf("%d keys begin alike", made[begin])
	}
	for _, token := range tokens {
		if made[token] != 1 || w.outcome(token) != apikey.Valid {
			t.Errorf("a token was imported %d times", made[token])
		}
	}
}

// However many keys, the statements are few; the records and events of all of them travel at once.
func TestImport_statements(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	items := make([]apikey.ImportItem, apikey.MaxImport)
	for i := range items {
		items[i] = item(foreignToken(), func(x *apikey.ImportItem) { x.Product, x.ProjectID = w.product, w.project })
	}
	g.Reset()
	w.mustBring(items...)
	statements := 0
	for _, sql := range g.Statements() {
		if !strings.Contains(sql, "INTO audit_log") && !strings.Contains(sql, "INTO tenant_events") {
			statements++
		}
	}
	if statements > 15 {
		t.Errorf("%d statements beside the records and events", statements)
	}
	if n := count[int](t, w.db, `SELECT count(*) FROM change_feed WHERE kind = 'api_key_import' AND tenant_id = $1`, w.tenant); n != 1 {
		t.Errorf("%d changes were noted", n)
	}
}

// Without imports a token of another form costs nothing; with some, only one that begins like them does.
func TestForms_shieldTheDatabase(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	flood := func(begin string) (outcomes map[apikey.Outcome]int) {
		outcomes = map[apikey.Outcome]int{}
		for range 50 {
			outcomes[w.outcome(begin+foreignToken())]++
		}
		return outcomes
	}
	g.Reset()
	if got := flood(""); got[apikey.Malformed] != 50 || len(g.Statements()) != 0 {
		t.Errorf("without imports: %v, %d statements", got, len(g.Statements()))
	}
	w.mustBring(item("acme_"+foreignToken()), item("", as(sha256Of("beta_"+foreignToken()), "beta_")))
	g.Reset()
	if got := flood(""); got[apikey.Malformed] != 50 || len(g.Statements()) != 0 {
		t.Errorf("beside imports: %v, %d statements", got, len(g.Statements()))
	}
	for _, bad := range []string{"", "beta_", "beta_ " + foreignToken(), "beta_\x00" + foreignToken(), "beta_" + strings.Repeat(foreignToken(), 10)} {
		if o := w.outcome(bad); o != apikey.Malformed {
			t.Errorf("%q answers %s", bad, o)
		}
	}
	if n := len(g.Statements()); n != 0 {
		t.Errorf("%d statements", n)
	}
	if got := flood("beta_"); got[apikey.NotFound] != 50 || g.lookups() != 50 {
		t.Errorf("what begins like an import: %v, %d statements", got, g.lookups())
	}
	// A key of which nothing is known opens the door to all that could be a token.
	w.mustBring(item("", as(sha256Of(foreignToken()), "")))
	g.Reset()
	if got := flood(""); got[apikey.NotFound] != 50 || g.lookups() != 50 {
		t.Errorf("after a bare hash: %v, %d statements", got, g.lookups())
	}
}

// Who asks for a token before it is imported is not told afterwards that it does not exist.
func TestImport_afterItWasAskedFor(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(token string) func(*apikey.ImportItem){
		"fast": func(string) func(*apikey.ImportItem) { return func(*apikey.ImportItem) {} },
		"slow": func(token string) func(*apikey.ImportItem) { return as(argon2Of(token), token[:8]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t)
			token := randomToken() // of our form: any replica looks for it
			other := w.replica()
			for _, v := range []*apikey.Verifier{w.verifier, other, w.verifier, other} {
				if o := outcomeOf(t, v, token); o != apikey.NotFound {
					t.Fatal(o)
				}
			}
			w.mustBring(item(token, how(token)))
			if o := w.outcome(token); o != apikey.Valid {
				t.Errorf("where it was imported: %s", o)
			}
			other.Apply(w.changes())
			if o := outcomeOf(t, other, token); o != apikey.Valid {
				t.Errorf("elsewhere: %s", o)
			}
		})
	}
}

// A look-up that found nothing and is still on its way when the key is imported is no answer to who asks after that.
func TestImport_whileItIsAskedFor(t *testing.T) {
	t.Parallel()
	w, g := newGatedWorld(t)
	token := randomToken()
	open := g.shut()
	defer open()
	before := w.ask(apikey.VerifyParams{Token: token})
	g.await(t, 1)
	w.mustBring(item(token))
	after := w.ask(apikey.VerifyParams{Token: token})
	open()
	mustAnswer(t, "who asked before", before, apikey.NotFound)
	mustAnswer(t, "who asked after", after, apikey.Valid)
}

// A replica whose feed is away learns of imports from the database, and one whose feed has just come back too.
func TestRefresh(t *testing.T) {
	t.Parallel()
	w := withImportKey(newWorldIn(t, pgtest.Clone(t))) // a bare hash of another test's would let every token past
	other := w.replica()
	statements := func() int {
		return len(pgtest.Statements(t, func(ctx context.Context) {
			if err := other.Refresh(ctx); err != nil {
				t.Error(err)
			}
		}))
	}
	if n := statements(); n != 0 {
		t.Errorf("with a fresh feed it sends %d statements", n)
	}
	lost, missed := foreignToken(), foreignToken()
	w.mustBring(item(lost))
	w.fresh.Store(false)
	if o := outcomeOf(t, other, lost); o != apikey.Malformed {
		t.Errorf("before it looked: %s", o)
	}
	if n := statements(); n == 0 {
		t.Error("without a fresh feed it does not look")
	}
	if o := outcomeOf(t, other, lost); o != apikey.Valid {
		t.Errorf("after it looked: %s", o)
	}
	w.fresh.Store(true)
	w.mustBring(item(missed))
	other.Forget()
	if n := statements(); n == 0 {
		t.Error("after it missed something it does not look")
	}
	if o := outcomeOf(t, other, missed); o != apikey.Valid {
		t.Errorf("after it looked again: %s", o)
	}
	if n := statements(); n != 0 {
		t.Errorf("when it has heard everything it sends %d statements", n)
	}

	// A database that is away leaves it not knowing, and it looks again.
	other.Forget()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := other.Refresh(ctx); err == nil {
		t.Error("no error without a database")
	}
	if n := statements(); n == 0 {
		t.Error("after a failure it does not look")
	}
}

// A flood of tokens that begin like a key with a slow hash computes no more hashes at a time than it may, refuses what does not
// get its turn, and leaves the verification of other keys alone; the key itself gets through when the flood is over.
func TestSlow_flood(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t, func(c *apikey.VerifierConfig) { c.SlowChecks = 1 })
	_, good := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = apikey.MaxRPM })
	token := foreignToken()
	hash, err := bcrypt.GenerateFromPassword([]byte(token), 8)
	if err != nil {
		t.Fatal(err)
	}
	w.mustBring(item("", as(apikey.ForeignHash{Algorithm: apikey.HashBcrypt, Value: string(hash)}, token[:8])))
	if o := w.outcome(good); o != apikey.Valid {
		t.Fatal(o)
	}
	const strangers, each = 40, 5
	var flood, witness sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]int{}
	over := make(chan struct{})
	warm := 0
	witness.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if sent := pgtest.Statements(t, func(ctx context.Context) {
				if a, err := w.verifier.Check(ctx, &apikey.VerifyParams{Token: good}); err != nil || a.Outcome != apikey.Valid {
					t.Error(a.Outcome, err)
				}
			}); len(sent) != 0 {
				t.Errorf("a warm verification sends %q", sent)
			}
			warm++
		}
	})
	for range strangers {
		flood.Go(func() {
			for range each {
				bad := token[:8] + rand.Text()
				for range 2 { // the second time it is known not to be the key, or was not looked at
					a, err := w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: bad})
					mu.Lock()
					if err != nil {
						outcomes[fault.CodeOf(err)]++
						if f := fault.As(err); f.Kind != fault.Unavailable || f.RetryAfter == 0 {
							t.Error(err)
						}
					} else {
						outcomes[string(a.Outcome)]++
					}
					mu.Unlock()
				}
			}
		})
	}
	flood.Wait()
	close(over)
	witness.Wait()
	s := w.verifier.Stats()
	if s.SlowPeak != 1 || s.SlowBusy == 0 || s.SlowChecks+s.SlowBusy > 2*strangers*each || outcomes["key_check_busy"] == 0 ||
		outcomes["VALID"] != 0 || outcomes["NOT_FOUND"] < int(s.SlowChecks) || warm == 0 {
		t.Errorf("%v, %d warm verifications beside, %+v", outcomes, warm, s)
	}
	if o := w.outcome(token); o != apikey.Valid {
		t.Errorf("after the flood the key answers %s", o)
	}
	made := w.verifier.Stats().SlowChecks
	for range 10 {
		w.outcome(token)
	}
	if n := w.verifier.Stats().SlowChecks; n != made {
		t.Errorf("%d more hashes for a key that was seen", n-made)
	}
}

// Everybody asks for one key with a slow hash at the same moment: it is computed once.
func TestSlow_stampede(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	token := foreignToken()
	w.mustBring(item("", as(bcryptOf(t, token), token[:8])))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if a, err := w.verifier.Check(t.Context(), &apikey.VerifyParams{Token: token}); err != nil || a.Outcome != apikey.Valid {
				t.Error(a.Outcome, err)
			}
		})
	}
	all.Wait()
	if n := w.verifier.Stats().SlowChecks; n != 1 {
		t.Errorf("%d hashes were computed", n)
	}
	// A wrong token is computed once too, and not again when nobody remembers that it is absent.
	wrong := token[:8] + rand.Text()
	for range 3 {
		if o := w.outcome(wrong); o != apikey.NotFound {
			t.Error(o)
		}
		w.verifier.Forget()
	}
	if n := w.verifier.Stats().SlowChecks; n != 2 {
		t.Errorf("%d hashes were computed", n)
	}
}

// Who does not wait for the check gets an error, not a denial, and the check is not lost.
func TestSlow_callerLeaves(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	token := foreignToken()
	w.mustBring(item("", as(argon2Of(token), token[:8])))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := w.verifier.Check(ctx, &apikey.VerifyParams{Token: token}); err == nil || !errors.Is(err, context.Canceled) && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%s, %v", a.Outcome, err)
	}
	if o := w.outcome(token); o != apikey.Valid {
		t.Error(o)
	}
}
