package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// The contract of every operation: what a good request gets, and what a caller
// without a credential, with another tenant's credential or with bad input gets.
// Each noun has its part of the table in contract_NOUN_test.go; an operation of
// openapi.json without a row fails TestContract_isComplete.

// contract is the row of one operation.
type contract struct {
	// good makes a request that succeeds. It is called for every case afresh, so
	// that one case's change is not another's surprise. It prepares what it needs.
	good   func(t *testing.T, w *world) apptest.Request
	status int // of success
	// writes is set for operations that change something: exactly one audit
	// record and one event must be written, each with the request's id.
	writes bool
	// publishes is set for what products tell: one event, which is no change of the
	// registry and has no audit record.
	publishes bool
	// foreign is the status that the credential of another tenant gets: 404 for
	// what belongs to a tenant, 403 for what is the platform's. 200 needs a reason
	// in foreignWhy, such as a list that shows each caller his own.
	foreign    int
	foreignWhy string
	// self is set where the credential is what the operation is about: it acts on
	// another tenant's as that tenant.
	self bool
	// bad are requests that must be refused, each a change of the good one.
	bad []bad
}

// bad is one way to get it wrong.
type bad struct {
	name   string
	edit   func(r *apptest.Request)
	status int
	code   string // of the problem, or of one of its fields
}

// contracts collects the parts. Each noun's file adds its own.
func contracts() map[string]contract {
	all := map[string]contract{}
	for _, part := range []map[string]contract{
		tenantContracts(), operatorContracts(), serviceContracts(), tokenContracts(), auditContracts(), apiKeyContracts(), rateLimitContracts(),
		catalogContracts(), entitlementContracts(), projectContracts(), eventContracts(), webhookContracts(),
	} {
		for op, c := range part {
			if _, twice := all[op]; twice {
				panic("two contracts for " + op)
			}
			all[op] = c
		}
	}
	return all
}

// world is one replica with two tenants that know nothing of each other.
type world struct {
	*apptest.World
	Tenant   string // id of a tenant
	Key      string // an API key of that tenant, with every right a tenant's key can have
	Stranger string // id of another tenant
	Foreign  string // an API key of the other one
	n        int
	mu       sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: apptest.New(t)}
	w.must(t, "POST", "/v1/catalog/apply", contractCatalog(""))
	has := func(id string) bool {
		return slices.ContainsFunc(operations(t, w), func(o operation) bool { return o.id == id })
	}
	if has("create-api-key") && has("create-tenant") {
		w.Tenant, w.Key = w.newTenant(t)
		w.Stranger, w.Foreign = w.newTenant(t)
	} else {
		w.Tenant, w.Key = w.rawTenant(t)
		w.Stranger, w.Foreign = w.rawTenant(t)
	}
	return w
}

// unique returns a name that was not used before in this world.
func (w *world) unique(prefix string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return fmt.Sprintf("%s-%d", prefix, w.n)
}

// newTenant makes a tenant and an API key that may do in it all that a key can.
func (w *world) newTenant(t *testing.T) (tenant, key string) {
	t.Helper()
	slug := w.unique("contract")
	tenant = w.must(t, "POST", "/v1/tenants", map[string]any{"name": slug, "slug": slug, "plan": "starter", "status": "active"})["id"].(string)
	var scopes []string
	for _, p := range access.All() {
		if p.TenantGrantable() {
			scopes = append(scopes, "landlord:"+string(p))
		}
	}
	made := w.must(t, "POST", "/v1/tenants/"+tenant+"/api-keys", map[string]any{"name": "management", "scopes": scopes})
	return tenant, made["token"].(string)
}

// rawTenant makes a tenant and, in place of an API key, the token of a service
// account that is confined to it, while the API can't make them yet.
func (w *world) rawTenant(t *testing.T) (tenant, token string) {
	t.Helper()
	made, slug := id.New[id.Tenant](), w.unique("contract")
	if err := w.DB.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO tenants (id, slug, name, status) VALUES ($1, $2, $2, 'active')`, made, slug)
		if err != nil {
			return err
		}
		return audit.Record(access.AsSystem(t.Context(), "test"), tx, audit.Event{Action: "tenant.created", TenantID: made})
	}); err != nil {
		t.Fatal(err)
	}
	var all []access.Permission
	for _, p := range access.All() {
		if p.TenantGrantable() {
			all = append(all, p)
		}
	}
	s := w.must(t, "POST", "/v1/services", map[string]any{"name": slug, "permissions": all, "tenant_id": made})
	return made.String(), w.must(t, "POST", "/v1/services/"+s["id"].(string)+"/tokens", map[string]any{"name": slug})["token"].(string)
}

// must sends a request as the owner and returns the answer, which must be a success.
func (w *world) must(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	r := w.Do(t, apptest.Request{Method: method, Path: path, Token: w.Owner, Body: body})
	if r.Status < 200 || r.Status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	if len(r.Body) == 0 {
		return nil
	}
	return r.JSON(t)
}

// set returns an edit that gives a field of the JSON body another value.
func set(field string, value any) func(*apptest.Request) {
	return func(r *apptest.Request) {
		body := maps.Clone(asObject(r.Body))
		body[field] = value
		r.Body = body
	}
}

// unset returns an edit that leaves a field of the JSON body out.
func unset(field string) func(*apptest.Request) {
	return func(r *apptest.Request) {
		body := maps.Clone(asObject(r.Body))
		delete(body, field)
		r.Body = body
	}
}

// raw returns an edit that sends another body.
func raw(body string) func(*apptest.Request) {
	return func(r *apptest.Request) { r.Body = body }
}

// query returns an edit that adds to the query string.
func query(q string) func(*apptest.Request) {
	return func(r *apptest.Request) {
		sep := "?"
		if strings.Contains(r.Path, "?") {
			sep = "&"
		}
		r.Path += sep + q
	}
}

// path returns an edit that replaces a part of the path.
func path(old, with string) func(*apptest.Request) {
	return func(r *apptest.Request) { r.Path = strings.Replace(r.Path, old, with, 1) }
}

func asObject(body any) map[string]any {
	switch b := body.(type) {
	case nil:
		return map[string]any{}
	case map[string]any:
		return b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(raw, &m); err != nil {
			panic(err)
		}
		return m
	}
}

// badBodies are refused by every operation that takes a JSON body.
var badBodies = []bad{
	{"no JSON", raw(`{"name":`), 400, "json_malformed"},
	{"not UTF-8", raw("{\"name\":\"\xff\"}"), 400, "invalid_text"},
	{"a NUL character", raw(`{"name":"a\u0000b"}`), 400, "invalid_text"},
	{"an unknown field", set("no_such_field", 1), 422, "unknown_field"},
	{"another media type", func(r *apptest.Request) { r.Header = map[string]string{"Content-Type": "text/csv"} }, 415, "unsupported_media_type"},
	{"an array", raw(`[]`), 422, "wrong_type"},
	{"too large a body", raw(`{"name":"` + strings.Repeat("x", 9<<20) + `"}`), 413, "body_too_large"},
}

// badLists are refused by every list.
var badLists = []bad{
	{"limit 0", query("limit=0"), 422, "out_of_range"},
	{"limit 201", query("limit=201"), 422, "out_of_range"},
	{"a limit that is no number", query("limit=many"), 422, "wrong_type"},
	{"a cursor of its own invention", query("cursor=bm8"), 400, "cursor_malformed"},
	{"an unknown parameter", query("no_such_parameter=1"), 422, "unknown_parameter"},
}

// operation is one entry of the OpenAPI document.
type operation struct {
	id, method, path string
	body             bool
	list             bool
	tenant           bool // lies below a tenant
}

func operations(t *testing.T, w *world) []operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string          `json:"operationId"`
			RequestBody json.RawMessage `json:"requestBody"`
			Parameters  []struct {
				Name string `json:"name"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	r := w.Do(t, apptest.Request{Method: "GET", Path: "/openapi.json"})
	if err := json.Unmarshal(r.Body, &doc); err != nil || r.Status != http.StatusOK {
		t.Fatalf("openapi.json: %d %v", r.Status, err)
	}
	var ops []operation
	for path, methods := range doc.Paths {
		for method, o := range methods {
			op := operation{id: o.OperationID, method: strings.ToUpper(method), path: path, body: o.RequestBody != nil, tenant: strings.Contains(path, "{tenant}")}
			for _, p := range o.Parameters {
				op.list = op.list || p.Name == "cursor"
			}
			ops = append(ops, op)
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return ops
}

// TestContract runs every row of the table against a real replica.
func TestContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	table := contracts()
	ops := operations(t, w)
	for id := range table {
		if !slices.ContainsFunc(ops, func(o operation) bool { return o.id == id }) {
			t.Errorf("the table has %s, openapi.json has not", id)
		}
	}
	for _, o := range ops {
		c, ok := table[o.id]
		if !ok {
			t.Errorf("%s (%s %s) has no contract: add it to contract_NOUN_test.go", o.id, o.method, o.path)
			continue
		}
		t.Run(o.id, func(t *testing.T) {
			t.Parallel()
			checkContract(t, w, o, c)
		})
	}
}

func checkContract(t *testing.T, w *world, o operation, c contract) {
	if c.good == nil || c.status == 0 || (c.foreign == 0) != c.self {
		t.Fatal("the row is not complete: good, status and foreign are needed")
	}
	t.Run("success", func(t *testing.T) {
		r := c.good(t, w)
		if r.Token == "" {
			r.Token = w.Owner
		}
		id := "contract-" + strings.ReplaceAll(w.unique(o.id), "_", "-")
		withHeader(&r, "X-Request-Id", id)
		got := w.Do(t, r)
		if got.Status != c.status {
			t.Fatalf("%s %s: %d %s, want %d", r.Method, r.Path, got.Status, got.Body, c.status)
		}
		records, events := w.written(t, id)
		wantRecords, wantEvents := 0, 0
		if c.writes {
			wantRecords, wantEvents = 1, 1
		}
		if c.publishes {
			wantEvents = 1
		}
		if records != wantRecords || len(events) != wantEvents {
			t.Errorf("%d audit records and %d events were written, want %d and %d", records, len(events), wantRecords, wantEvents)
		}
		for _, e := range events {
			if !c.publishes {
				checkPayload(t, e)
			}
		}
	})
	t.Run("no credential", func(t *testing.T) {
		r := c.good(t, w)
		for name, token := range map[string]string{"none": "", "unknown": "llop_0000000000000000000000000000000000000000000000000", "not a bearer": "x y"} {
			r.Token = token
			got := w.Do(t, r)
			if got.Status != http.StatusUnauthorized || !strings.HasPrefix(got.Code(), "credential_") || got.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
	})
	t.Run("another tenant's credential", func(t *testing.T) {
		if c.self {
			r := c.good(t, w)
			r.Token = w.Owner
			if got := w.Do(t, r); got.Status != http.StatusForbidden && got.Status != http.StatusUnauthorized {
				t.Errorf("a credential that is no such thing: %d %s", got.Status, got.Body)
			}
			return
		}
		r := c.good(t, w)
		r.Token = w.Foreign
		got := w.Do(t, r)
		if got.Status != c.foreign {
			t.Fatalf("%d %s, want %d", got.Status, got.Body, c.foreign)
		}
		if c.foreign < 300 && c.foreignWhy == "" {
			t.Error("a foreign credential that succeeds needs foreignWhy")
		}
		if o.tenant && c.foreign != http.StatusNotFound && c.foreignWhy == "" {
			t.Error("below a tenant, another tenant's credential gets 404")
		}
	})
	cases := slices.Clone(c.bad)
	if o.body {
		cases = append(cases, badBodies...)
	}
	if o.list {
		cases = append(cases, badLists...)
	}
	if len(cases) == 0 {
		cases = []bad{{"an unknown parameter", query("no_such_parameter=1"), 422, "unknown_parameter"}}
	}
	t.Run("bad input", func(t *testing.T) {
		for _, b := range cases {
			r := c.good(t, w)
			if r.Token == "" {
				r.Token = w.Owner
			}
			b.edit(&r)
			got := w.Do(t, r)
			if got.Status != b.status || !hasCode(t, got, b.code) {
				t.Errorf("%s: %d %s, want %d %s", b.name, got.Status, clip(got.Body), b.status, b.code)
			}
		}
	})
}

func withHeader(r *apptest.Request, name, value string) {
	h := maps.Clone(r.Header)
	if h == nil {
		h = map[string]string{}
	}
	h[name] = value
	r.Header = h
}

// hasCode looks for a code in a problem: its own, or that of one of its fields.
func hasCode(t *testing.T, r apptest.Response, code string) bool {
	t.Helper()
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") {
		return false
	}
	p := r.JSON(t)
	if p["request_id"] == nil || p["detail"] == "" || p["title"] == nil || p["instance"] == nil {
		t.Errorf("the problem is not whole: %s", r.Body)
	}
	if p["code"] == code {
		return true
	}
	fields, _ := p["errors"].([]any)
	return slices.ContainsFunc(fields, func(f any) bool {
		m, ok := f.(map[string]any)
		return ok && m["code"] == code
	})
}

func clip(b []byte) string {
	if len(b) > 400 {
		return string(b[:400]) + "…"
	}
	return string(b)
}

// happening is an event that a request wrote.
type happening struct {
	Type    string          `db:"type"`
	Payload json.RawMessage `db:"payload"`
}

// written tells what a request left in the audit log and in the outbox.
func (w *world) written(t *testing.T, requestID string) (records int, events []happening) {
	t.Helper()
	err := w.DB.ReadOperator(t.Context(), func(tx pg.Tx) (err error) {
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE request_id = $1`, requestID).Scan(&records); err != nil {
			return err
		}
		events, err = pg.Collect[happening](t.Context(), tx, `SELECT type, payload FROM tenant_events WHERE request_id = $1`, requestID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, events
}

// checkPayload holds one of landlord's own events to the schema that the
// catalogue shows of its type.
func checkPayload(t *testing.T, e happening) {
	t.Helper()
	types := catalog.BuiltInEventTypes()
	i := slices.IndexFunc(types, func(known catalog.EventType) bool { return known.Name == e.Type })
	if i < 0 {
		t.Errorf("%s is not among catalog.BuiltInEventTypes", e.Type)
		return
	}
	schema, err := catalog.CompileSchema(types[i].Schema)
	if err != nil {
		t.Fatal(err)
	}
	var broken fault.Fields
	if schema.Validate(&broken, "payload", e.Payload); len(broken) > 0 {
		t.Errorf("%s is not what its schema says: %v\n%s", e.Type, broken, e.Payload)
	}
}
