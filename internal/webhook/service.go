package webhook

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// Config is what a Service needs beside its database.
type Config struct {
	Keys *secret.Keyring
	// CheckURL refuses a URL that would not be sent to, as a fault about field.
	CheckURL func(ctx context.Context, field, url string) error
	// MaxEndpoints is how many a tenant may have whose plan does not say; 0 is 20.
	MaxEndpoints int
	// TTL is how long what is sent again lives: an EngineConfig's. 0 is its default.
	TTL time.Duration
	Now func() time.Time
}

// DefaultMaxEndpoints is how many endpoints a tenant may have by default.
const DefaultMaxEndpoints = 20

// Service is the operations on endpoints. It is safe for concurrent use.
type Service struct {
	db       *pg.DB
	keys     *secret.Keyring
	checkURL func(ctx context.Context, field, url string) error
	most     int
	ttl      time.Duration
	now      func() time.Time
}

var constraints = pg.Constraints{
	"tenant_webhooks_tenant_id_fkey": fault.NotFound("tenant"),
	"tenant_webhooks_project_fkey":   fault.InvalidField("project_id", "project_not_found", "The tenant has no such project."),
}

// NewService returns the operations on endpoints over a database.
func NewService(db *pg.DB, c Config) *Service {
	if c.MaxEndpoints == 0 {
		c.MaxEndpoints = DefaultMaxEndpoints
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	return &Service{db: db.With(constraints), keys: c.Keys, checkURL: c.CheckURL, most: c.MaxEndpoints, ttl: c.TTL, now: c.Now}
}

// Create makes an endpoint and returns it with its signing secrets, one for each
// version of its signatures. They are shown this once.
func (s *Service) Create(ctx context.Context, p CreateParams) (Endpoint, []Secret, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Endpoint{}, nil, err
	}
	if err := p.validate(); err != nil {
		return Endpoint{}, nil, err
	}
	if err := s.checkURL(ctx, "url", p.URL); err != nil {
		return Endpoint{}, nil, err
	}
	secrets, err := firstSecrets(p.Signatures, p.Secret, s.now())
	if err != nil {
		return Endpoint{}, nil, err
	}
	e := Endpoint{
		ID: id.New[id.Webhook](), TenantID: p.TenantID, ProjectID: p.ProjectID, Name: p.Name, URL: p.URL, Events: p.Events,
		Description: p.Description, Metadata: p.Metadata, Signatures: p.Signatures, RateLimit: p.RateLimit, RatePeriod: p.RatePeriod,
		MaxInFlight: p.MaxInFlight,
	}
	headers, err := sealHeaders(s.keys, e.ID, p.Headers)
	if err != nil {
		return Endpoint{}, nil, err
	}
	box, err := sealSecrets(s.keys, e.ID, secrets)
	if err != nil {
		return Endpoint{}, nil, err
	}
	var made Endpoint
	err = s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) error {
		status, err := lockTenant(ctx, tx, p.TenantID)
		if err != nil {
			return err
		}
		if err := checkWritable(ctx, status); err != nil {
			return err
		}
		if err := s.checkRoom(ctx, tx, p.TenantID); err != nil {
			return err
		}
		row, err := insertEndpoint(ctx, tx, &e, headers, box)
		if err != nil {
			return err
		}
		if made, err = s.shown(row); err != nil {
			return err
		}
		return s.record(ctx, tx, "webhook.created", made, "", map[string]any{"url": made.URL, "events": made.Events})
	})
	if err != nil {
		return Endpoint{}, nil, err
	}
	return made, secrets, nil
}

// firstSecrets are those of a new endpoint: the given one for its version, new ones
// for the others.
func firstSecrets(versions []Signature, given secret.Text, now time.Time) ([]Secret, error) {
	var own *Secret
	if !given.IsZero() {
		parsed, err := ParseSecret(given, now)
		if err != nil {
			return nil, errSecret(err)
		}
		if !slices.Contains(versions, parsed.Version) {
			return nil, fault.InvalidField("secret", "secret_malformed", "The secret is of %s, which is not among signatures.", parsed.Version)
		}
		own = &parsed
	}
	out := make([]Secret, len(versions))
	for i, v := range versions {
		if own != nil && own.Version == v {
			out[i] = *own
		} else {
			out[i] = NewSecret(v, now)
		}
	}
	return out, nil
}

func errSecret(err error) error {
	return fault.InvalidField("secret", "secret_malformed", "%s.", upperFirst(err.Error()))
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// checkRoom refuses one more endpoint than a tenant may have. The tenant is locked.
func (s *Service) checkRoom(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	n, err := countEndpoints(ctx, tx, tenant)
	if err != nil {
		return err
	}
	most, err := planEndpoints(ctx, tx, tenant)
	if err != nil {
		return err
	}
	if n >= cmp.Or(most, s.most) {
		return fault.Conflict("webhook_limit_reached", "The tenant has %d endpoints, which is as many as it may have.", n)
	}
	return nil
}

// Get returns an endpoint and the names of its own headers.
func (s *Service) Get(ctx context.Context, tenant id.Tenant, endpoint id.Webhook) (Endpoint, error) {
	var e Endpoint
	err := s.read(ctx, tenant, func(tx pg.Tx) error {
		row, err := selectStored(ctx, tx, tenant, endpoint)
		if err != nil {
			return found(err)
		}
		e, err = s.shown(row)
		return err
	})
	return e, err
}

const endpointList = "webhooks"

// List returns the endpoints of a tenant, newest first.
func (s *Service) List(ctx context.Context, f Filter) (page.Page[Endpoint], error) {
	var none page.Page[Endpoint]
	if err := f.validate(); err != nil {
		return none, err
	}
	before, _, err := page.Decode[id.Webhook](endpointList, f.Page.Cursor)
	if err != nil {
		return none, err
	}
	var rows []Endpoint
	err = s.read(ctx, f.TenantID, func(tx pg.Tx) error {
		list, err := listEndpoints(ctx, tx, f, before)
		if err != nil {
			return err
		}
		rows = make([]Endpoint, len(list))
		for i, row := range list {
			if rows[i], err = s.shown(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return none, err
	}
	return page.Of(endpointList, f.Page, rows, func(e Endpoint) id.Webhook { return e.ID }), nil
}

// Update changes an endpoint. What is on its way already is sent as the endpoint is
// then. An update that changes nothing records nothing.
func (s *Service) Update(ctx context.Context, p UpdateParams) (Endpoint, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Endpoint{}, err
	}
	if url, ok := p.URL.Get(); ok || p.URL.IsNull() {
		if err := s.checkURL(ctx, "url", url); err != nil {
			return Endpoint{}, err
		}
	}
	var out Endpoint
	err := s.change(ctx, p.TenantID, p.ID, p.IfMatch, func(tx pg.Tx, was stored) error {
		headers, err := openHeaders(s.keys, p.ID, was.HeadersBox)
		if err != nil {
			return err
		}
		is := was.Endpoint
		after, err := p.apply(&is, headers)
		if err != nil {
			return err
		}
		if missing := lacking(is.Signatures, was.Signatures); missing != "" {
			if err := s.hasSecret(was, missing); err != nil {
				return err
			}
		}
		changes := changesOf(was.Endpoint, is, !maps.Equal(headers, after))
		if len(changes) == 0 {
			out, err = s.shown(was)
			return err
		}
		box := was.HeadersBox
		if changes["headers"] != nil {
			if box, err = sealHeaders(s.keys, p.ID, after); err != nil {
				return err
			}
		}
		row, err := updateEndpoint(ctx, tx, &is, box)
		if err != nil {
			return err
		}
		if out, err = s.shown(row); err != nil {
			return err
		}
		return s.record(ctx, tx, "webhook.updated", out, "", map[string]any{"changes": changes})
	})
	return out, err
}

// lacking returns a version that is wanted now and was not before.
func lacking(now, before []Signature) Signature {
	for _, v := range now {
		if !slices.Contains(before, v) {
			return v
		}
	}
	return ""
}

// hasSecret refuses to sign with a version that the endpoint has no secret of: the
// receiver could not verify it.
func (s *Service) hasSecret(e stored, v Signature) error {
	secrets, err := openSecrets(s.keys, e.ID, e.SecretsBox)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(live(secrets, s.now()), func(x Secret) bool { return x.Version == v }) {
		return nil
	}
	return fault.InvalidField("signatures", "secret_missing", "The endpoint has no secret of %s: add one first.", v)
}

// live returns the secrets that sign at an instant.
func live(secrets []Secret, now time.Time) []Secret {
	return slices.DeleteFunc(slices.Clone(secrets), func(x Secret) bool { return x.ExpiresAt != nil && !now.Before(*x.ExpiresAt) })
}

// Delete takes an endpoint away for good. Deliveries that wait are cancelled by the
// dispatcher when they come up; the log of what was sent stays until its month goes.
func (s *Service) Delete(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, ifMatch time.Time) error {
	if err := access.Require(ctx, access.WebhooksWrite, tenant); err != nil {
		return err
	}
	return s.change(ctx, tenant, endpoint, ifMatch, func(tx pg.Tx, was stored) error {
		if err := deleteEndpoint(ctx, tx, tenant, endpoint); err != nil {
			return err
		}
		return s.record(ctx, tx, "webhook.deleted", was.Endpoint, "", map[string]any{"url": was.URL, "events": was.Events})
	})
}

// StatusParams changes whether an endpoint is sent to.
type StatusParams struct {
	TenantID id.Tenant
	ID       id.Webhook
	Reason   string
	IfMatch  time.Time
}

// Pause stops sending for a while. What happens meanwhile is kept as skipped, and can
// be recovered.
func (s *Service) Pause(ctx context.Context, p StatusParams) (Endpoint, error) {
	return s.turn(ctx, p, Paused, "webhook.paused")
}

// Disable stops sending until somebody enables the endpoint again.
func (s *Service) Disable(ctx context.Context, p StatusParams) (Endpoint, error) {
	return s.turn(ctx, p, Disabled, "webhook.disabled")
}

// Enable sends again, from now on, to an endpoint that was paused or disabled. Its
// failures are forgotten.
func (s *Service) Enable(ctx context.Context, p StatusParams) (Endpoint, error) {
	return s.turn(ctx, p, Active, "webhook.enabled")
}

func (s *Service) turn(ctx context.Context, p StatusParams, to Status, action string) (Endpoint, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Endpoint{}, err
	}
	var f fault.Fields
	p.Reason = strings.TrimSpace(p.Reason)
	checkText(&f, "reason", p.Reason, MaxReason)
	if err := f.Err(); err != nil {
		return Endpoint{}, err
	}
	var out Endpoint
	err := s.change(ctx, p.TenantID, p.ID, p.IfMatch, func(tx pg.Tx, was stored) error {
		if was.Status == to {
			return errSame(to)
		}
		row, err := updateStatus(ctx, tx, p.TenantID, p.ID, to, p.Reason, s.now())
		if err != nil {
			return err
		}
		if out, err = s.shown(row); err != nil {
			return err
		}
		return s.record(ctx, tx, action, out, p.Reason, map[string]any{"from": was.Status, "reason": p.Reason})
	})
	return out, err
}

// errSame refuses to make an endpoint what it is.
func errSame(is Status) error {
	switch is {
	case Paused:
		return fault.Conflict("webhook_paused", "The endpoint is paused already.")
	case Disabled:
		return fault.Conflict("webhook_disabled", "The endpoint is disabled already.")
	case Active:
	}
	return fault.Conflict("webhook_active", "The endpoint is active already.")
}

// Secrets returns the secrets that sign now, newest first, without their values.
func (s *Service) Secrets(ctx context.Context, tenant id.Tenant, endpoint id.Webhook) ([]Secret, error) {
	var all []Secret
	err := s.read(ctx, tenant, func(tx pg.Tx) error {
		e, err := selectStored(ctx, tx, tenant, endpoint)
		if err != nil {
			return found(err)
		}
		all, err = openSecrets(s.keys, endpoint, e.SecretsBox)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := live(all, s.now())
	slices.SortStableFunc(out, func(a, b Secret) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, nil
}

// RotateParams adds a signing secret and ends the ones before it.
type RotateParams struct {
	TenantID id.Tenant
	ID       id.Webhook
	Version  Signature // "": V1, or what Secret is
	// Secret takes over one that the receiver has; zero makes one.
	Secret secret.Text
	// Overlap is how long the secrets of the version go on signing beside the new one,
	// exactly; 0 ends them at once.
	Overlap time.Duration
}

func (p *RotateParams) next(now time.Time) (Secret, error) {
	var f fault.Fields
	f.Check(p.Overlap >= 0 && p.Overlap <= MaxOverlap, "overlap", "out_of_range", "overlap is from 0 to %d seconds.", int(MaxOverlap/time.Second))
	f.Check(p.Version == "" || p.Version == V1 || p.Version == V1a, "version", "not_one_of", "version is v1 or v1a.")
	if err := f.Err(); err != nil {
		return Secret{}, err
	}
	if p.Secret.IsZero() {
		if p.Version == "" {
			p.Version = V1
		}
		return NewSecret(p.Version, now), nil
	}
	given, err := ParseSecret(p.Secret, now)
	if err != nil {
		return Secret{}, errSecret(err)
	}
	if p.Version != "" && p.Version != given.Version {
		return Secret{}, fault.InvalidField("secret", "secret_malformed", "The secret is of %s, not of %s.", given.Version, p.Version)
	}
	return given, nil
}

// RotateSecret adds a secret, which is shown this once. Requests are signed with it
// and, until the overlap is over, with those before it: a receiver changes over in
// between and loses nothing.
func (s *Service) RotateSecret(ctx context.Context, p RotateParams) (Secret, error) {
	if err := access.Require(ctx, access.WebhooksWrite, p.TenantID); err != nil {
		return Secret{}, err
	}
	now := s.now()
	next, err := p.next(now)
	if err != nil {
		return Secret{}, err
	}
	ends := now.Add(p.Overlap)
	err = s.change(ctx, p.TenantID, p.ID, time.Time{}, func(tx pg.Tx, was stored) error {
		all, err := openSecrets(s.keys, p.ID, was.SecretsBox)
		if err != nil {
			return err
		}
		kept := live(all, now)
		for i := range kept {
			if x := &kept[i]; x.Version == next.Version && (x.ExpiresAt == nil || x.ExpiresAt.After(ends)) {
				x.ExpiresAt = &ends
			}
		}
		kept = append(live(kept, now), next)
		if len(kept) > MaxSecrets {
			return fault.Conflict("secret_limit_reached", "The endpoint signs with %d secrets: wait until some have ended, or rotate without an overlap.", len(kept)-1)
		}
		box, err := sealSecrets(s.keys, p.ID, kept)
		if err != nil {
			return err
		}
		e, err := updateSecrets(ctx, tx, p.TenantID, p.ID, box)
		if err != nil {
			return err
		}
		return s.record(ctx, tx, "webhook.secret_rotated", e.Endpoint, "", map[string]any{"version": next.Version, "others_end_at": ends})
	})
	if err != nil {
		return Secret{}, err
	}
	return next, nil
}

// shown is an endpoint as it is told: with the names of its headers, without their
// values.
func (s *Service) shown(e stored) (Endpoint, error) {
	headers, err := openHeaders(s.keys, e.ID, e.HeadersBox)
	out := e.Endpoint
	out.Headers = slices.Sorted(maps.Keys(headers))
	return out, err
}

// change carries out one change of an endpoint under its row's lock.
func (s *Service) change(ctx context.Context, tenant id.Tenant, endpoint id.Webhook, ifMatch time.Time, fn func(pg.Tx, stored) error) error {
	return s.writing(ctx, tenant, endpoint, lockStored, func(tx pg.Tx, was stored) error {
		if !ifMatch.IsZero() && !was.UpdatedAt.Equal(ifMatch) {
			return fault.StaleVersion()
		}
		return fn(tx, was)
	})
}

// writing carries out something that a tenant must be writable for, with an endpoint
// as lock finds it.
func (s *Service) writing(ctx context.Context, tenant id.Tenant, endpoint id.Webhook,
	lock func(context.Context, pg.Tx, id.Tenant, id.Webhook) (stored, error), fn func(pg.Tx, stored) error,
) error {
	return s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		was, err := lock(ctx, tx, tenant, endpoint)
		if err != nil {
			return found(err)
		}
		status, err := effectiveStatus(ctx, tx, tenant)
		if err != nil {
			return err
		}
		if err := checkWritable(ctx, status); err != nil {
			return err
		}
		return fn(tx, was)
	})
}

func (s *Service) read(ctx context.Context, tenant id.Tenant, fn func(pg.Tx) error) error {
	if err := access.Require(ctx, access.WebhooksRead, tenant); err != nil {
		return err
	}
	return s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		status, err := effectiveStatus(ctx, tx, tenant)
		if err != nil {
			return err
		}
		if status == "" {
			return fault.NotFound("tenant")
		}
		return fn(tx)
	})
}

func checkWritable(ctx context.Context, status string) error {
	who, _ := access.From(ctx)
	return access.CheckWritable(status, who)
}

// record writes the one audit record of a change, and tells the replicas, which keep
// endpoints in memory while they send.
func (s *Service) record(ctx context.Context, tx pg.Tx, action string, e Endpoint, description string, metadata map[string]any) error {
	err := audit.Record(ctx, tx, audit.Event{
		Action: action, TenantID: e.TenantID, ProjectID: e.ProjectID,
		Target:      audit.Target{Type: "webhook", ID: e.ID.String(), Name: e.Name},
		Description: description, Metadata: metadata,
	})
	if err != nil {
		return err
	}
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: feedKind, TenantID: e.TenantID, ID: e.ID.UUID()})
}

func found(err error) error { return pg.Found(err, "webhook") }
