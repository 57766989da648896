//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// bound is the promise of docs/reliability.md: a request that is sent later than this after a change was answered is
// answered by the change, wherever it is sent to.
const bound = time.Second

// patience is for an answer, of a machine that tests several packages.
const patience = 5 * time.Second

// subject is what a trial changes: a tenant below a reseller, with a project, a product and two keys.
type subject struct {
	reseller, tenant, project string
	product                   string
	free, bound               *client.IssuedAPIKey // one for all projects, one for the project

	commit    chan struct{} // of the trial with a late commit
	committed chan error
}

// question is asked of every replica, over both faces, all the time; from and to are its answers before and after.
type question struct {
	key      *client.IssuedAPIKey // nil: the free one
	scope    string
	project  string
	from, to string
}

// kind is one way in which a key stops to be good for something, or starts.
type kind struct {
	name    string
	product func(lane int) string // "" and nil: images
	prepare func(ctx context.Context, c *cluster, s *subject) error
	ask     func(s *subject) []question
	// change makes the change, and tells when it is to be seen if not on its return.
	change func(ctx context.Context, api *client.Client, s *subject) (at time.Time, err error)
}

// writes asks for what a key may do and then may not.
func writes(to string) func(*subject) []question {
	return func(*subject) []question { return []question{{scope: "images:write", from: "VALID", to: to}} }
}

func at(err error) (time.Time, error) { return time.Time{}, err }

func kinds() []kind {
	keyUpdate := func(in client.UpdateAPIKey) func(context.Context, *client.Client, *subject) (time.Time, error) {
		return func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
			_, err := api.APIKeys.Update(ctx, s.tenant, s.free.ID, in)
			return at(err)
		}
	}
	const soon = 1500 * time.Millisecond // enough for the change itself to be made while other packages are tested
	return []kind{
		{
			name: "revoke", ask: writes("REVOKED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.APIKeys.Revoke(ctx, s.tenant, s.free.ID, "leaked")
				return at(err)
			},
		},
		{
			name: "rotate without grace", ask: writes("EXPIRED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.APIKeys.Rotate(ctx, s.tenant, s.free.ID, client.RotateAPIKey{})
				return at(err)
			},
		},
		{name: "disable the key", ask: writes("DISABLED"), change: keyUpdate(client.UpdateAPIKey{IsActive: client.Set(false)})},
		{name: "shrink scopes", ask: writes("INSUFFICIENT_SCOPE"), change: keyUpdate(client.UpdateAPIKey{Scopes: client.Set([]string{"images:read"})})},
		{name: "shrink addresses", ask: writes("IP_NOT_ALLOWED"), change: keyUpdate(client.UpdateAPIKey{AllowedIPs: client.Set([]string{"198.51.100.0/24"})})},
		{
			name: "let the key expire", ask: writes("EXPIRED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				end := time.Now().Add(soon).Truncate(time.Microsecond)
				_, err := api.APIKeys.Update(ctx, s.tenant, s.free.ID, client.UpdateAPIKey{ExpiresAt: client.Set(end)})
				return end, err
			},
		},
		{
			name: "shrink addresses by policy", ask: writes("IP_NOT_ALLOWED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.APIKeys.PutPolicy(ctx, s.tenant, client.PutKeyPolicy{AllowedIPs: []string{"198.51.100.0/24"}})
				return at(err)
			},
		},
		{
			name: "bar the environment by the reseller's policy", ask: writes("ENVIRONMENT_MISMATCH"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.APIKeys.PutPolicy(ctx, s.reseller, client.PutKeyPolicy{Environments: []string{"test"}})
				return at(err)
			},
		},
		{
			name: "suspend the tenant", ask: writes("TENANT_SUSPENDED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Tenants.Suspend(ctx, s.tenant, "abuse")
				return at(err)
			},
		},
		{
			name: "suspend its reseller", ask: writes("TENANT_SUSPENDED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Tenants.Suspend(ctx, s.reseller, "abuse")
				return at(err)
			},
		},
		{
			name: "resume its reseller",
			ask: func(*subject) []question {
				return []question{{scope: "images:write", from: "TENANT_SUSPENDED", to: "VALID"}}
			},
			prepare: func(ctx context.Context, c *cluster, s *subject) error {
				_, err := c.clients[0].Tenants.Suspend(ctx, s.reseller, "by mistake")
				return err
			},
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Tenants.Resume(ctx, s.reseller, "it was a mistake")
				return at(err)
			},
		},
		{
			name: "move below a suspended reseller", ask: writes("TENANT_SUSPENDED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				other, err := api.Tenants.Create(ctx, client.CreateTenant{Name: "Suspended", Slug: slug(), Kind: "reseller", Status: "active"})
				if err != nil {
					return at(err)
				}
				if _, err := api.Tenants.Suspend(ctx, other.ID, "abuse"); err != nil {
					return at(err)
				}
				_, err = api.Tenants.Move(ctx, s.tenant, other.ID)
				return at(err)
			},
		},
		{
			name: "freeze the tenant",
			ask: func(*subject) []question {
				return []question{
					{scope: "images:write", from: "VALID", to: "TENANT_FROZEN"},
					{scope: "images:read", from: "VALID", to: "VALID read-only"},
				}
			},
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Tenants.Freeze(ctx, s.tenant, "not paid")
				return at(err)
			},
		},
		{
			name: "archive the tenant",
			ask: func(*subject) []question {
				return []question{{scope: "images:read", from: "VALID read-only", to: "TENANT_ARCHIVED"}}
			},
			prepare: func(ctx context.Context, c *cluster, s *subject) error {
				_, err := c.clients[0].Tenants.Freeze(ctx, s.tenant, "not paid")
				return err
			},
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Tenants.Archive(ctx, s.tenant, "closed")
				return at(err)
			},
		},
		{
			name: "archive the project",
			ask: func(s *subject) []question {
				return []question{
					{key: s.bound, scope: "images:write", from: "VALID", to: "PROJECT_ARCHIVED"},
					{key: s.free, scope: "images:write", project: s.project, from: "VALID", to: "PROJECT_ARCHIVED"},
				}
			},
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Projects.Archive(ctx, s.tenant, s.project)
				return at(err)
			},
		},
		{
			name: "disable the entitlement", ask: writes("NOT_ENTITLED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				_, err := api.Entitlements.Put(ctx, s.tenant, s.product, client.PutEntitlement{Enabled: new(false)})
				return at(err)
			},
		},
		{
			name: "delete the entitlement", ask: writes("NOT_ENTITLED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				return at(api.Entitlements.Delete(ctx, s.tenant, s.product, ""))
			},
		},
		{
			name: "let the entitlement expire", ask: writes("NOT_ENTITLED"),
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				end := time.Now().Add(soon).Truncate(time.Microsecond)
				_, err := api.Entitlements.Put(ctx, s.tenant, s.product, client.PutEntitlement{ExpiresAt: &end})
				return end, err
			},
		},
		{
			name: "declare a scope as writing", product: laneProduct,
			prepare: func(ctx context.Context, c *cluster, s *subject) error {
				_, err := c.clients[0].Tenants.Freeze(ctx, s.tenant, "not paid")
				return err
			},
			ask: func(s *subject) []question {
				return []question{{scope: laneScope(s.product), from: "VALID read-only", to: "TENANT_FROZEN"}}
			},
			change: func(ctx context.Context, api *client.Client, s *subject) (time.Time, error) {
				return at(catalogue.declare(ctx, api, s.product, "write"))
			},
		},
		{
			// The change takes its number in the feed first and commits last, with others committed and heard of in between.
			name: "revoke in a transaction that commits late", ask: writes("REVOKED"),
			prepare: func(ctx context.Context, c *cluster, s *subject) error {
				if err := s.openTransaction(ctx, c.database()); err != nil {
					return err
				}
				for range 3 {
					if _, err := c.clients[0].APIKeys.Update(ctx, s.tenant, s.bound.ID, client.UpdateAPIKey{Description: client.Set(slug())}); err != nil {
						return err
					}
					time.Sleep(30 * time.Millisecond) // several polls
				}
				return nil
			},
			change: func(_ context.Context, _ *client.Client, s *subject) (time.Time, error) {
				close(s.commit)
				return at(<-s.committed)
			},
		},
	}
}

// openTransaction revokes the key in a transaction of its own, which commits when the trial says so.
func (s *subject) openTransaction(ctx context.Context, db *pg.DB) error {
	s.commit, s.committed = make(chan struct{}), make(chan error, 1)
	tenant, err := id.Parse[id.Tenant](s.tenant)
	if err != nil {
		return err
	}
	key, err := id.Parse[id.APIKey](s.free.ID)
	if err != nil {
		return err
	}
	open := make(chan struct{})
	go func() {
		s.committed <- db.AsOperator(ctx, func(tx pg.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE api_keys SET revoked_at = NOW() WHERE tenant_id = $1 AND id = $2`, tenant, key); err != nil {
				return err
			}
			if err := changefeed.Note(ctx, tx, changefeed.Change{Kind: "api_key", TenantID: tenant, ID: key.UUID()}); err != nil {
				return err
			}
			close(open)
			select {
			case <-s.commit:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	select {
	case <-open:
		return nil
	case err := <-s.committed:
		return err
	}
}

func slug() string { return fmt.Sprintf("t-%016x", rand.Uint64()) }

const lanes = 4

func laneProduct(lane int) string { return fmt.Sprintf("jobs%d", lane) }

// laneScope is the one scope of such a product.
func laneScope(product string) string { return product + ":run" }

// catalogueState is the catalogue that all trials share; an apply replaces all of it.
type catalogueState struct {
	mu     sync.Mutex
	access map[string]string // of the one scope, by product
}

var catalogue = &catalogueState{access: map[string]string{}}

func (c *catalogueState) declare(ctx context.Context, api *client.Client, product, access string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.access[product] = access
	doc := client.CatalogDocument{Products: []client.ProductManifest{{
		Name: "images", Title: "Images", SupportsProjects: true,
		Scopes: []client.Scope{{Name: "images:write", Access: "write"}, {Name: "images:read", Access: "read"}},
	}}}
	for lane := range lanes {
		name := laneProduct(lane)
		doc.Products = append(doc.Products, client.ProductManifest{
			Name: name, Title: name, SupportsProjects: true,
			Scopes: []client.Scope{{Name: laneScope(name), Access: cmp.Or(c.access[name], "read")}},
		})
	}
	_, err := api.Catalog.Apply(ctx, doc, false)
	return err
}

func (c *cluster) newSubject(ctx context.Context, k kind, lane int) (*subject, error) {
	s := &subject{product: "images"}
	api := c.clients[lane%len(c.clients)]
	if k.product != nil {
		s.product = k.product(lane)
		if err := catalogue.declare(ctx, api, s.product, "read"); err != nil {
			return nil, err
		}
	}
	reseller, err := api.Tenants.Create(ctx, client.CreateTenant{Name: "Reseller", Slug: slug(), Kind: "reseller", Status: "active"})
	if err != nil {
		return nil, err
	}
	tenant, err := api.Tenants.Create(ctx, client.CreateTenant{Name: "Tenant", Slug: slug(), ParentID: reseller.ID, Status: "active"})
	if err != nil {
		return nil, err
	}
	s.reseller, s.tenant = reseller.ID, tenant.ID
	if _, err := api.Entitlements.Put(ctx, s.tenant, s.product, client.PutEntitlement{}); err != nil {
		return nil, err
	}
	project, err := api.Projects.Create(ctx, s.tenant, client.CreateProject{Name: "Project"})
	if err != nil {
		return nil, err
	}
	s.project = project.ID
	in := client.CreateAPIKey{
		Name: "free", Scopes: []string{"images:*", s.product + ":*"}, RateLimitRPM: 1_000_000, AllowedIPs: []string{"192.0.2.0/24", "198.51.100.0/24"},
	}
	if s.free, err = api.APIKeys.Create(ctx, s.tenant, in); err != nil {
		return nil, err
	}
	in.Name, in.ProjectID = "bound", s.project
	if s.bound, err = api.APIKeys.Create(ctx, s.tenant, in); err != nil {
		return nil, err
	}
	if k.prepare != nil {
		return s, k.prepare(ctx, c, s)
	}
	return s, nil
}

// endCaller is whom the gateway and the service ask for.
const endCaller = "192.0.2.7"

// unavailable is the answer of a replica that can't know.
const unavailable = "503"

// overHTTP asks POST /v1/keys/verify.
func (c *cluster) overHTTP(ctx context.Context, r *replica, s *subject, q question) string {
	body, err := json.Marshal(client.VerifyKey{Key: q.key.Token, Product: s.product, Scopes: []string{q.scope}, Project: q.project, IP: endCaller})
	if err != nil {
		return err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.public+"/v1/keys/verify", strings.NewReader(string(body)))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.owner)
	resp, err := c.http.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close() // only read from
	b, err := io.ReadAll(resp.Body)
	var v client.KeyVerification
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode == http.StatusServiceUnavailable:
		return unavailable
	case resp.StatusCode != http.StatusOK || json.Unmarshal(b, &v) != nil || v.Valid != (v.Outcome == "VALID"):
		return fmt.Sprintf("%d %s", resp.StatusCode, b)
	case v.Valid && v.ReadOnly:
		return "VALID read-only"
	default:
		return v.Outcome
	}
}

// asGateway asks as nginx does.
func (c *cluster) asGateway(ctx context.Context, r *replica, s *subject, q question) string {
	query := url.Values{"product": {s.product}, "scope": {q.scope}}
	if q.project != "" {
		query.Set("project", q.project)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.private+"/gateway/nginx?"+query.Encode(), nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Api-Key", q.key.Token)
	req.Header.Set("X-Forwarded-For", endCaller)
	resp, err := c.http.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close() // only read from
	outcome := resp.Header.Get("X-Landlord-Outcome")
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return unavailable
	case resp.StatusCode == http.StatusInternalServerError, outcome == "", (resp.StatusCode == http.StatusNoContent) != (outcome == "VALID"):
		return fmt.Sprintf("%d %s", resp.StatusCode, outcome)
	case outcome == "VALID" && resp.Header.Get("X-Landlord-Read-Only") == "true":
		return "VALID read-only"
	default:
		return outcome
	}
}

// seen is one answer.
type seen struct {
	sent, received time.Time
	answer         string
}

// observer asks one replica one question over one face, over and over.
type observer struct {
	name string
	question
	ask func(context.Context) string

	mu  sync.Mutex
	log []seen
}

func (o *observer) run(ctx context.Context, hurry *atomic.Bool) {
	for ctx.Err() == nil {
		sent := time.Now()
		answer := o.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		o.log = append(o.log, seen{sent, time.Now(), answer})
		o.mu.Unlock()
		pause := 8 * time.Millisecond
		if hurry.Load() {
			pause = time.Millisecond
		}
		time.Sleep(pause/2 + rand.N(pause))
	}
}

func (o *observer) all() []seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.log)
}

// knows reports whether the last n answers are all want.
func (o *observer) knows(want string, n int) bool {
	log := o.all()
	return len(log) >= n && !slices.ContainsFunc(log[len(log)-n:], func(s seen) bool { return s.answer != want })
}

// trial is one change under watch.
type trial struct {
	kind      kind
	fault     *fault // nil: none
	subject   *subject
	observers []*observer

	begun    time.Time // the change was asked for
	answered time.Time // it was done, and is to be seen from then on
}

// result is how fast the change was seen.
type result struct {
	lag   time.Duration // until the last observer had its first new answer
	stale time.Duration // after which the last request was sent that got an old answer
	asked int           // questions
	away  int           // of which answered 503
	slow  time.Duration // longest of those
}

// run makes a trial. Everything is asked all the time, before, during and after the change.
func (c *cluster) run(ctx context.Context, k kind, f *fault, lane int) (result, error) {
	s, err := c.newSubject(ctx, k, lane)
	if err != nil {
		return result{}, fmt.Errorf("prepare: %w", err)
	}
	t := &trial{kind: k, fault: f, subject: s}
	for _, q := range k.ask(s) {
		if q.key == nil {
			q.key = s.free
		}
		for _, r := range c.replicas {
			t.observers = append(t.observers,
				&observer{name: r.name + ", HTTP, " + q.scope, question: q, ask: func(ctx context.Context) string { return c.overHTTP(ctx, r, s, q) }},
				&observer{name: r.name + ", gateway, " + q.scope, question: q, ask: func(ctx context.Context) string { return c.asGateway(ctx, r, s, q) }})
		}
	}
	var hurry atomic.Bool
	watch, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, o := range t.observers {
		watchers.Go(func() { o.run(watch, &hurry) })
	}
	defer func() { stop(); watchers.Wait() }()
	if err := t.await(ctx, 10*time.Second, func(o *observer) bool { return o.knows(o.from, 3) }); err != nil {
		return result{}, fmt.Errorf("before the change: %w", err)
	}
	if err := c.change(ctx, t, lane, &hurry); err != nil {
		return result{}, err
	}
	stop()
	watchers.Wait()
	return t.judge()
}

// change makes the change and what goes wrong around it, and waits until it was seen for long enough.
func (c *cluster) change(ctx context.Context, t *trial, lane int, hurry *atomic.Bool) error {
	undo, linger := func() {}, bound+100*time.Millisecond
	if t.fault != nil {
		linger = t.fault.linger
		undo = t.fault.before(c)
		defer undo()
	}
	hurry.Store(true)
	time.Sleep(10 * time.Millisecond)
	// Another change of the same key at about the same time has every replica load it anew, so that loads are in flight.
	var other sync.WaitGroup
	other.Go(func() {
		if t.subject.commit != nil || t.fault != nil {
			return
		}
		time.Sleep(rand.N(8 * time.Millisecond))
		_, _ = c.clients[(lane+1)%len(c.clients)].APIKeys.Update(ctx, t.subject.tenant, t.subject.free.ID, client.UpdateAPIKey{Description: client.Set(slug())})
	})
	time.Sleep(rand.N(8 * time.Millisecond))
	t.begun = time.Now()
	at, err := t.kind.change(ctx, c.clients[lane%len(c.clients)], t.subject)
	t.answered = time.Now()
	other.Wait()
	if err != nil {
		return fmt.Errorf("the change: %w", err)
	}
	if !at.IsZero() {
		t.begun = at
		if at.After(t.answered) {
			t.answered = at
		}
	}
	if t.fault != nil && t.fault.after != nil {
		again := t.fault.after(c)
		defer again()
		defer undo() // the first first
		time.Sleep(time.Until(t.answered.Add(linger)))
		undo()
		again()
	} else {
		time.Sleep(time.Until(t.answered.Add(150 * time.Millisecond)))
		hurry.Store(false)
		if t.fault != nil && t.fault.during != nil {
			time.Sleep(time.Until(t.answered.Add(bound + 300*time.Millisecond)))
			t.fault.during(c)
		}
		time.Sleep(time.Until(t.answered.Add(linger)))
		undo()
	}
	hurry.Store(false)
	if err := t.await(ctx, 20*time.Second, func(o *observer) bool { return o.knows(o.to, 3) }); err != nil {
		return fmt.Errorf("after the change: %w", err)
	}
	return nil
}

func (t *trial) await(ctx context.Context, d time.Duration, ok func(*observer) bool) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for _, o := range t.observers {
		for !ok(o) {
			select {
			case <-ctx.Done():
				log := o.all()
				return fmt.Errorf("%s: last answers %v", o.name, log[max(0, len(log)-5):])
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	return nil
}

// judge holds every answer to the promise.
func (t *trial) judge() (r result, err error) {
	var wrong []error
	for _, o := range t.observers {
		var known, heard time.Time // when the first new answer came, and when that was asked for
		for _, s := range o.all() {
			r.asked++
			late := s.sent.Sub(t.answered)
			fail := func(why string) {
				wrong = append(wrong, fmt.Errorf("%s: %s: %s, sent %v and received %v after the change was answered",
					o.name, why, s.answer, late, s.received.Sub(t.answered)))
			}
			switch {
			case s.answer == o.to:
				if known.IsZero() {
					known, heard = s.received, s.sent
				}
				if s.received.Before(t.begun) {
					fail("too early")
				}
			case s.answer == o.from:
				if late >= bound {
					fail("stale")
				}
				if !known.IsZero() && s.sent.After(known) {
					fail("back again")
				}
				r.stale = max(r.stale, late)
			case s.answer == unavailable && t.fault != nil && t.fault.mayBeAway:
				r.away++
				r.slow = max(r.slow, s.received.Sub(s.sent))
			default:
				fail("wrong")
			}
		}
		r.lag = max(r.lag, known.Sub(t.answered))
		if late := heard.Sub(t.answered); t.fault == nil && late > bound {
			wrong = append(wrong, fmt.Errorf("%s: first seen by what was asked %v after the change was answered", o.name, late))
		}
	}
	if t.fault == nil && r.lag > patience { // an answer that is slow is not an old one, but there is a limit
		wrong = append(wrong, fmt.Errorf("seen everywhere only %v after the change was answered", r.lag))
	}
	return r, errors.Join(wrong[:min(len(wrong), 5)]...)
}

// fault is what goes wrong while something is revoked.
type fault struct {
	name      string
	before    func(c *cluster) (undo func()) // the change
	after     func(c *cluster) (undo func()) // it was answered; may be nil
	during    func(c *cluster)               // a while later; may be nil
	linger    time.Duration                  // how long it stays so after the change
	mayBeAway bool                           // the database can't be reached by all: 503 is right
}

func nothing() {}

func faults() []fault {
	return []fault{
		{
			name: "the feeds' sessions terminated", linger: 1500 * time.Millisecond,
			before: func(c *cluster) func() {
				c.exec(`SELECT pg_terminate_backend(pid) ` + feeds)
				return nothing
			},
		},
		{
			name: "the feeds' backends frozen", linger: 3500 * time.Millisecond,
			before: func(c *cluster) func() { return c.freeze(c.pids(`SELECT pid ` + feeds)...) },
			during: func(c *cluster) {
				for _, r := range c.replicas {
					if status, body := c.get(r.private + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"change_feed":"behind"`) {
						c.t.Errorf("%s is ready without its feed: %d %s", r.name, status, body)
					}
					if age := c.metric(r, "landlord_change_feed_age_seconds"); age < bound.Seconds() || age > 10 {
						c.t.Errorf("%s: its feed is %v s old", r.name, age)
					}
				}
			},
		},
		{
			name: "the feeds kept away", linger: 3 * time.Second,
			before: func(c *cluster) func() {
				stop := make(chan struct{})
				var again sync.WaitGroup
				again.Go(func() {
					c.superuser(func(ctx context.Context, conn *pgx.Conn) error {
						for {
							if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) `+feeds); err != nil {
								return err
							}
							select {
							case <-stop:
								return nil
							case <-time.After(5 * time.Millisecond):
							}
						}
					})
				})
				return sync.OnceFunc(func() { close(stop); again.Wait() })
			},
		},
		{
			name: "a replica paused", linger: 1800 * time.Millisecond,
			before: func(c *cluster) func() { return c.freeze(c.replicas[1].cmd.Process.Pid) },
		},
		{
			name: "PostgreSQL restarted", linger: 1500 * time.Millisecond, mayBeAway: true,
			before: func(*cluster) func() { return nothing },
			after: func(c *cluster) func() {
				c.restart()
				return nothing
			},
		},
		{
			name: "PostgreSQL frozen", linger: 4 * time.Second, mayBeAway: true,
			// The feeds first, or they would hear of the change.
			before: func(c *cluster) func() { return c.freeze(c.pids(`SELECT pid ` + feeds)...) },
			after: func(c *cluster) func() {
				all := c.pids(`SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name <> '` + changefeed.AppName + `'`)
				return c.freeze(append(all, c.postmaster())...)
			},
		},
		{
			name: "a replica cut off", linger: 4 * time.Second, mayBeAway: true,
			before: func(c *cluster) func() {
				c.wire.Sever()
				return c.wire.Mend
			},
		},
	}
}

// What is revoked is revoked everywhere, within the bound, whatever happens. How fast is in the log of this test, and in
// docs/reliability.md.
func TestRevocation(t *testing.T) {
	c := newCluster(t, 3)
	if err := catalogue.declare(t.Context(), c.clients[0], "", ""); err != nil {
		t.Fatal(err)
	}
	long := os.Getenv("LANDLORD_TEST_LONG") != ""
	t.Run("at peace", func(t *testing.T) {
		rounds := 3
		if long {
			rounds = 12
		}
		c.trials(t, rounds)
	})
	t.Run("under faults", func(t *testing.T) {
		some := []string{"revoke", "suspend its reseller", "disable the entitlement", "freeze the tenant", "archive the project"}
		var chosen []kind
		for _, k := range kinds() {
			if slices.Contains(some, k.name) {
				chosen = append(chosen, k)
			}
		}
		for i, f := range faults() {
			if !long {
				chosen = chosen[:1]
			}
			c.faultTrials(t, chosen, f, i)
		}
	})
	t.Run("warm", c.warm)
}

// trials makes trials of every kind, several at a time.
func (c *cluster) trials(t *testing.T, rounds int) {
	var work []kind
	for range rounds {
		work = append(work, kinds()...)
	}
	rand.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
	next := make(chan kind)
	var mu sync.Mutex
	var results []result
	var running sync.WaitGroup
	for lane := range lanes {
		running.Go(func() {
			for k := range next {
				r, err := c.run(t.Context(), k, nil, lane)
				mu.Lock()
				if err != nil {
					t.Errorf("%s: %v", k.name, err)
				} else {
					results = append(results, r)
				}
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	for _, k := range work {
		next <- k
	}
	close(next)
	running.Wait()
	if len(results) == 0 {
		t.Fatal("no trial went well")
	}
	c.report(t, "at peace", results, time.Since(began))
}

func (c *cluster) faultTrials(t *testing.T, of []kind, f fault, lane int) {
	began := time.Now()
	var results []result
	for _, k := range of {
		if f.name == "a replica paused" || f.name == "a replica cut off" {
			lane = 0 // the change is asked of one that works
		}
		r, err := c.run(t.Context(), k, &f, lane%lanes)
		if err != nil {
			t.Errorf("%s: %s: %v", f.name, k.name, err)
			continue
		}
		results = append(results, r)
		c.ready() // without a restart of any replica
	}
	c.report(t, f.name, results, time.Since(began))
}

func (c *cluster) report(t *testing.T, name string, results []result, took time.Duration) {
	if len(results) == 0 {
		return
	}
	slices.SortFunc(results, func(a, b result) int { return cmp.Compare(a.lag, b.lag) })
	asked, away, slow, stale := 0, 0, time.Duration(0), time.Duration(0)
	for _, r := range results {
		asked, away, slow, stale = asked+r.asked, away+r.away, max(slow, r.slow), max(stale, r.stale)
	}
	n := len(results)
	ms := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	t.Logf("%s: %d trials, %d answers (%d of them 503, after at most %v): seen by every replica and face p50 %v, p95 %v, max %v "+
		"after the change was answered; last request with the old answer sent %v after it; in %v",
		name, n, asked, away, ms(slow), ms(results[n/2].lag), ms(results[n*95/100].lag), ms(results[n-1].lag), ms(stale), took.Round(time.Millisecond))
}

// warm shows that verifications ask the database nothing: neither the server's own count of statements nor the replicas'
// grows with them.
func (c *cluster) warm(t *testing.T) {
	var there bool
	c.superuser(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')`).Scan(&there)
	})
	if !there {
		t.Fatal("this test needs the contrib modules of PostgreSQL; get them with: make deps")
	}
	c.exec(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`)
	c.restart()
	c.ready()
	c.exec(`CREATE EXTENSION pg_stat_statements`)

	const keys, rounds = 10, 100
	var observers []func(context.Context) string
	for range keys {
		s, err := c.newSubject(t.Context(), kind{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		q := question{key: s.free, scope: "images:write"}
		for _, r := range c.replicas {
			observers = append(observers,
				func(ctx context.Context) string { return c.overHTTP(ctx, r, s, q) },
				func(ctx context.Context) string { return c.asGateway(ctx, r, s, q) })
		}
	}
	askAll := func() {
		t.Helper()
		for _, ask := range observers {
			if a := ask(t.Context()); a != "VALID" {
				t.Fatalf("answered %s", a)
			}
		}
	}
	const hits, misses, statements = "landlord_verify_cache_hits_total", "landlord_verify_cache_misses_total", "landlord_verify_statements_total"
	const late = "landlord_verify_cache_late_misses_total"
	sum := func(name string) (n float64) {
		for _, r := range c.replicas {
			n += c.metric(r, name)
		}
		return n
	}
	eventually(t, 20*time.Second, "every replica is warm, and hears of no change any more", func() bool {
		askAll()
		before := sum(statements)
		time.Sleep(300 * time.Millisecond) // more than a poll of the feed
		askAll()
		return sum(statements) == before
	})
	// A replica that a busy machine kept from looking at the feed for a second has to ask the database, and counts that. Nothing
	// else may bring a question to it; and what is mostly late is not warm, and shows nothing.
	const tries = 5
	for try := 1; ; try++ {
		c.exec(`SELECT pg_stat_statements_reset()`)
		began, h, m, l, s := time.Now(), sum(hits), sum(misses), sum(late), sum(statements)
		for range rounds {
			askAll()
		}
		took, asked := time.Since(began), float64(rounds*len(observers))
		busy, verify := c.statements()
		h, m, l, s = sum(hits)-h, sum(misses)-m, sum(late)-l, sum(statements)-s
		told := fmt.Sprintf("%v verifications in %v: %v hits, %v misses, of which %v while the feed was late, and %v statements, of which the server saw %d",
			asked, took.Round(time.Millisecond), h, m, l, s, verify)
		if h+m != asked || m != l || s > m || float64(verify) > s {
			t.Fatal(told)
		}
		if h < 0.9*asked && try < tries {
			t.Log(told + ": once more")
			continue
		}
		if h < 0.9*asked {
			t.Error(told)
		}
		// What time costs, not traffic: as much as replicas that nobody asks send in that time, and the use of keys, which each
		// replica writes once a second in a transaction. Loops that run seldom may fall into this. Who is late asks about the
		// caller's token too.
		c.exec(`SELECT pg_stat_statements_reset()`)
		time.Sleep(took)
		idle, _ := c.statements()
		if most := 2*idle + len(c.replicas)*(4*int(took.Seconds())+40) + 8*int(l); busy > most {
			t.Errorf("%s: %d statements of all kinds, %d without them, want at most %d", told, busy, idle, most)
		}
		t.Logf("%s; of all replicas together there were %d statements of all kinds, %d without verifications", told, busy, idle)
		break
	}

	// The same with feeds that hang: everything is asked of the database, for that reason, until they are back.
	thaw := c.freeze(c.pids(`SELECT pid ` + feeds)...)
	defer thaw()
	for _, r := range c.replicas {
		eventually(t, 5*time.Second, r.name+" is late", func() bool { return c.metric(r, "landlord_change_feed_age_seconds") > bound.Seconds() })
	}
	m, l := sum(misses), sum(late)
	askAll()
	if m, l = sum(misses)-m, sum(late)-l; m != float64(len(observers)) || l != m {
		t.Errorf("%d verifications without the feed were %v misses, %v of them while it was late", len(observers), m, l)
	}
	thaw()
	eventually(t, 20*time.Second, "every replica is warm again", func() bool {
		before := sum(misses)
		askAll()
		return sum(misses) == before
	})
}

// statements is how many the replicas sent since the count was reset, and how many of them look for a key.
func (c *cluster) statements() (all, verify int) {
	c.superuser(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(calls) FILTER (WHERE query ~ 'k.hash = ANY'), 0)
			FROM pg_stat_statements WHERE userid = 'landlord'::regrole`).Scan(&all, &verify)
	})
	return all, verify
}
