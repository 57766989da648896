package apikey

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// Config is what a Service needs beside its database.
type Config struct {
	Brand    string // first word of new tokens; "" is "ll"
	Verifier *Verifier
	Notices  []time.Duration // how long before its end a key is told of; nil: DefaultNotices
	Now      func() time.Time
	Random   io.Reader
}

// DefaultBrand begins tokens when nothing else is configured.
const DefaultBrand = "ll"

// Service issues, changes and ends keys.
type Service struct {
	db       *pg.DB
	ring     *secret.Keyring
	brand    string
	verifier *Verifier
	notices  notices
	now      func() time.Time
	random   io.Reader
}

var constraints = pg.Constraints{
	"api_keys_tenant_id_name_key":     fault.Conflict("name_taken", "Another live key of this tenant has the name."),
	"api_keys_tenant_id_fkey":         fault.NotFound("tenant"),
	"api_keys_product_fkey":           fault.InvalidField("product", "product_not_found", "There is no such product."),
	"tenant_rate_limits_product_fkey": fault.InvalidField("product", "product_not_found", "There is no such product."),
	"api_keys_project_fkey":           fault.InvalidField("project_id", "project_not_found", "The tenant has no such project."),
}

// New returns a service. It fails on a brand that can't begin tokens, and on notices
// that can't be given.
func New(db *pg.DB, ring *secret.Keyring, c Config) (*Service, error) {
	if c.Brand == "" {
		c.Brand = DefaultBrand
	}
	if err := ValidateBrand(c.Brand); err != nil {
		return nil, err
	}
	if c.Notices == nil {
		c.Notices = DefaultNotices()
	}
	if err := ValidateNotices(c.Notices); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return &Service{
		db: db.With(constraints), ring: ring, brand: c.Brand, verifier: c.Verifier, notices: newNotices(c.Notices), now: c.Now, random: c.Random,
	}, nil
}

// Create issues a key and returns its token, which is shown once and never stored.
func (s *Service) Create(ctx context.Context, p CreateParams) (Key, secret.Text, error) {
	if err := access.Require(ctx, access.APIKeysWrite, p.TenantID); err != nil {
		return Key{}, secret.Text{}, err
	}
	if err := p.validate(s.now()); err != nil {
		return Key{}, secret.Text{}, err
	}
	if err := requireHeld(ctx, p.Scopes); err != nil {
		return Key{}, secret.Text{}, err
	}
	k := Key{
		ID: id.New[id.APIKey](), TenantID: p.TenantID, ProjectID: p.ProjectID, Product: p.Product, Environment: p.Environment,
		Name: p.Name, Description: p.Description, Scopes: p.Scopes, AllowedIPs: p.AllowedIPs, RateLimitRPM: p.RateLimitRPM,
		RateLimits: p.RateLimits, ExpiresAt: p.ExpiresAt, Generation: 1, Metadata: p.Metadata, CreatedBy: actor(ctx),
	}
	var token string
	err := s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) (err error) {
		if err := checkWritable(ctx, tx, p.TenantID); err != nil {
			return err
		}
		if err := s.bind(ctx, tx, &k); err != nil {
			return err
		}
		if err := checkProject(ctx, tx, p.TenantID, p.ProjectID); err != nil {
			return err
		}
		if err := checkDeclared(ctx, tx, p.Product, p.Scopes); err != nil {
			return err
		}
		if k, token, err = s.issue(ctx, tx, k); err != nil {
			return err
		}
		return s.record(ctx, tx, "api_key.created", k, "", map[string]any{
			"environment": k.Environment, "scopes": k.Scopes, "product": k.Product, "prefix": k.Prefix, "last4": k.Last4,
			"expires_at": k.ExpiresAt,
		})
	})
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	return k, secret.NewText(token), nil
}

// issue makes a token for a key and stores the key. A repeated transaction makes
// another token.
func (s *Service) issue(ctx context.Context, tx pg.Tx, k Key) (Key, string, error) {
	token, prefix, last4, err := newToken(s.random, s.brand, k.Environment)
	if err != nil {
		return k, "", err
	}
	k.Prefix, k.Last4 = prefix, last4
	k, err = insertKey(ctx, tx, &k, s.ring.Digest(token), s.notices.mark(k.ExpiresAt, s.now()))
	return k, token, err
}

// Get returns a key of a tenant.
func (s *Service) Get(ctx context.Context, tenant id.Tenant, key id.APIKey) (Key, error) {
	if err := access.Require(ctx, access.APIKeysRead, tenant); err != nil {
		return Key{}, err
	}
	var k Key
	err := s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		k, err = selectKey(ctx, tx, tenant, key)
		return found(err)
	})
	return k, err
}

// StateOf returns what a key is now.
func (s *Service) StateOf(k Key) State { return k.StateAt(s.now()) }

// listName is in the cursors of List.
const listName = "api_keys"

// List returns the keys of a tenant, newest first.
func (s *Service) List(ctx context.Context, f Filter) (page.Page[Key], error) {
	if err := access.Require(ctx, access.APIKeysRead, f.TenantID); err != nil {
		return page.Page[Key]{}, err
	}
	if err := f.validate(); err != nil {
		return page.Page[Key]{}, err
	}
	after, _, err := page.Decode[id.APIKey](listName, f.Page.Cursor)
	if err != nil {
		return page.Page[Key]{}, err
	}
	var keys []Key
	err = s.db.ReadTenant(ctx, f.TenantID, func(tx pg.Tx) (err error) {
		keys, err = listKeys(ctx, tx, f, after, s.now())
		if err != nil || len(keys) > 0 {
			return err
		}
		// None, or no such tenant.
		status, err := selectTenantStatus(ctx, tx, f.TenantID)
		if err == nil && status == "" {
			return fault.NotFound("tenant")
		}
		return err
	})
	if err != nil {
		return page.Page[Key]{}, err
	}
	return page.Of(listName, f.Page, keys, func(k Key) id.APIKey { return k.ID }), nil
}

// searchName is in the cursors of Search.
const searchName = "all_api_keys"

// Search returns keys of all tenants, newest first: every one for the platform, for
// a tenant's own credential those of its tenant and of those below it.
func (s *Service) Search(ctx context.Context, f Filter) (page.Page[TenantKey], error) {
	none := page.Page[TenantKey]{}
	who, err := access.RequireAny(ctx, access.APIKeysRead)
	if err != nil {
		return none, err
	}
	if err := f.validate(); err != nil {
		return none, err
	}
	after, _, err := page.Decode[id.APIKey](searchName, f.Page.Cursor)
	if err != nil {
		return none, err
	}
	var keys []TenantKey
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		keys, err = searchKeys(ctx, tx, f, who.Tenant, after, s.now())
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(searchName, f.Page, keys, func(k TenantKey) id.APIKey { return k.ID }), nil
}

// Update changes a key. A revoked or rotated one is past changing.
func (s *Service) Update(ctx context.Context, p UpdateParams) (Key, error) {
	if err := access.Require(ctx, access.APIKeysWrite, p.TenantID); err != nil {
		return Key{}, err
	}
	var k Key
	err := s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) error {
		was, err := lockKey(ctx, tx, p.TenantID, p.ID)
		if err != nil {
			return found(err)
		}
		if err := checkWritable(ctx, tx, p.TenantID); err != nil {
			return err
		}
		if !p.IfMatch.IsZero() && !was.UpdatedAt.Equal(p.IfMatch) {
			return fault.StaleVersion()
		}
		if err := notEnded(was); err != nil {
			return err
		}
		_, rules, err := bindingRules(ctx, tx, p.TenantID)
		if err != nil {
			return err
		}
		k = was
		fields, err := p.apply(&k, s.now(), rules)
		if err != nil || len(fields) == 0 {
			return err
		}
		if now := s.now(); past(was.ExpiresAt, now) && !past(k.ExpiresAt, now) {
			if err := rules.makeRoom(ctx, tx, p.TenantID, now); err != nil {
				return err
			}
		}
		if slices.Contains(fields, "scopes") {
			if err := checkImported(k); err != nil {
				return err
			}
			added := slices.DeleteFunc(slices.Clone(k.Scopes), func(x string) bool { return slices.Contains(was.Scopes, x) })
			if err := requireHeld(ctx, added); err != nil {
				return err
			}
			if err := checkDeclared(ctx, tx, k.Product, added); err != nil {
				return err
			}
		}
		if k, err = updateKey(ctx, tx, &k, s.notices.mark(k.ExpiresAt, s.now())); err != nil {
			return err
		}
		return s.record(ctx, tx, "api_key.updated", k, "", map[string]any{"changes": differences(was, k, fields)})
	})
	if err != nil {
		return Key{}, err
	}
	s.forget(k.ID)
	return k, nil
}

// Revoke ends a key for good. It is allowed whatever the tenant's status is,
// because a leaked key must be stoppable.
func (s *Service) Revoke(ctx context.Context, tenant id.Tenant, key id.APIKey, reason string) (Key, error) {
	if err := access.Require(ctx, access.APIKeysWrite, tenant); err != nil {
		return Key{}, err
	}
	return s.revoke(ctx, tenant, key, reason)
}

func (s *Service) revoke(ctx context.Context, tenant id.Tenant, key id.APIKey, reason string) (Key, error) {
	reason, err := checkReason(reason)
	if err != nil {
		return Key{}, err
	}
	var k Key
	err = s.db.InTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		if k, err = lockKey(ctx, tx, tenant, key); err != nil {
			return found(err)
		}
		if k.RevokedAt != nil {
			return errRevoked
		}
		if k, err = revokeKey(ctx, tx, tenant, key, reason, s.now()); err != nil {
			return err
		}
		return s.record(ctx, tx, "api_key.revoked", k, reason, map[string]any{"prefix": k.Prefix, "last4": k.Last4, "reason": reason})
	})
	if err != nil {
		return Key{}, err
	}
	s.forget(k.ID)
	return k, nil
}

// Disable stops a key until it is enabled again. Like Revoke it is allowed
// whatever the tenant's status is.
func (s *Service) Disable(ctx context.Context, tenant id.Tenant, key id.APIKey, reason string) (Key, error) {
	return s.turn(ctx, tenant, key, false, reason)
}

// Enable lets a disabled key work again.
func (s *Service) Enable(ctx context.Context, tenant id.Tenant, key id.APIKey, reason string) (Key, error) {
	return s.turn(ctx, tenant, key, true, reason)
}

func (s *Service) turn(ctx context.Context, tenant id.Tenant, key id.APIKey, on bool, reason string) (Key, error) {
	if err := access.Require(ctx, access.APIKeysWrite, tenant); err != nil {
		return Key{}, err
	}
	reason, err := checkReason(reason)
	if err != nil {
		return Key{}, err
	}
	var k Key
	err = s.db.InTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		if k, err = lockKey(ctx, tx, tenant, key); err != nil {
			return found(err)
		}
		if err := notEnded(k); err != nil {
			return err
		}
		action := "api_key.disabled"
		if on {
			action = "api_key.enabled"
			if err := checkWritable(ctx, tx, tenant); err != nil {
				return err
			}
		}
		switch {
		case on && k.IsActive:
			return fault.Conflict("api_key_enabled", "The key is enabled already.")
		case !on && !k.IsActive:
			return fault.Conflict("api_key_disabled", "The key is disabled already.")
		}
		k.turn(on, reason, s.now())
		if k, err = updateKey(ctx, tx, &k, s.notices.mark(k.ExpiresAt, s.now())); err != nil {
			return err
		}
		return s.record(ctx, tx, action, k, reason, map[string]any{"prefix": k.Prefix, "last4": k.Last4, "reason": reason})
	})
	if err != nil {
		return Key{}, err
	}
	s.forget(k.ID)
	return k, nil
}

func checkReason(s string) (string, error) {
	var f fault.Fields
	s = strings.TrimSpace(s)
	checkText(&f, "reason", s, MaxReason)
	return s, f.Err()
}

// Rotate replaces a key by a new one with the same settings, and returns the new
// one with its token. The old one works until its grace ends and answers EXPIRED
// from then on. Of two that rotate a key at the same time one wins.
func (s *Service) Rotate(ctx context.Context, p RotateParams) (Key, secret.Text, error) {
	none := secret.Text{}
	if err := access.Require(ctx, access.APIKeysWrite, p.TenantID); err != nil {
		return Key{}, none, err
	}
	now := s.now()
	var f fault.Fields
	f.Check(p.Grace >= 0 && p.Grace <= MaxGrace, "grace", "out_of_range", "grace is from 0 to %d seconds.", int(MaxGrace/time.Second))
	if at, ok := p.ExpiresAt.Get(); ok {
		checkExpiry(&f, &at, now)
	}
	if err := f.Err(); err != nil {
		return Key{}, none, err
	}
	var k Key
	var token string
	err := s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) error {
		old, err := lockKey(ctx, tx, p.TenantID, p.ID)
		if err != nil {
			return found(err)
		}
		if err := checkWritable(ctx, tx, p.TenantID); err != nil {
			return err
		}
		if err := s.rotatable(ctx, old, now); err != nil {
			return err
		}
		_, rules, err := bindingRules(ctx, tx, p.TenantID)
		if err != nil {
			return err
		}
		k = successor(old, actor(ctx), p.ExpiresAt)
		if latest := rules.latest(now); latest != nil && !p.ExpiresAt.Present() && k.ExpiresAt != nil && k.ExpiresAt.After(*latest) {
			k.ExpiresAt = latest // nobody asked for more: the old key is from before the rule
		}
		if err := rules.bind(&k, now); err != nil {
			return err
		}
		grace := now.Add(p.Grace)
		if _, err := retireKey(ctx, tx, p.TenantID, old.ID, k.ID, grace); err != nil {
			return err
		}
		if k, token, err = s.issue(ctx, tx, k); err != nil {
			return err
		}
		return s.record(ctx, tx, "api_key.rotated", old, "", map[string]any{
			"rotated_to": k.ID.String(), "grace_ends_at": grace, "prefix": k.Prefix, "last4": k.Last4,
		})
	})
	if err != nil {
		return Key{}, none, err
	}
	s.forget(p.ID)
	return k, secret.NewText(token), nil
}

// successor is a new key with the settings of an old one.
func successor(old Key, by string, expires patch.Field[time.Time]) Key {
	k := Key{
		ID: id.New[id.APIKey](), TenantID: old.TenantID, ProjectID: old.ProjectID, Product: old.Product, Environment: old.Environment,
		Name: old.Name, Description: old.Description, Scopes: old.Scopes, AllowedIPs: old.AllowedIPs,
		RateLimitRPM: old.RateLimitRPM, RateLimits: old.RateLimits, ExpiresAt: old.ExpiresAt, RotatedFrom: old.ID, Generation: old.Generation + 1, OriginID: old.origin(),
		Metadata: old.Metadata, CreatedBy: by,
	}
	expires.ApplyPtr(&k.ExpiresAt)
	return k
}

// rotatable refuses keys that don't work any more, and those whose rights the
// caller could not have granted: he is about to learn the new token.
func (s *Service) rotatable(ctx context.Context, k Key, now time.Time) error {
	if err := notEnded(k); err != nil {
		return err
	}
	switch k.StateAt(now) {
	case Disabled:
		return fault.Conflict("api_key_disabled", "The key is disabled: enable it first, or make a new one.")
	case Expired:
		return fault.Conflict("api_key_expired", "The key has expired: extend it first, or make a new one.")
	case Active, Revoked:
	}
	return requireHeld(ctx, k.Scopes)
}

// Verify answers whether a token may do something. Denials are answers, not
// errors. A caller that is confined to a tenant knows only that tenant's keys and
// those below it.
func (s *Service) Verify(ctx context.Context, p *VerifyParams) (Verification, error) {
	who, err := access.RequireAny(ctx, access.APIKeysVerify)
	if err != nil {
		return Verification{}, err
	}
	p.Confine = who.Tenant
	return s.verifier.Check(ctx, p)
}

// VerifyAll is Verify for many questions, each of which is answered as if it were
// asked alone.
func (s *Service) VerifyAll(ctx context.Context, questions []Question) ([]Answer, error) {
	who, err := access.RequireAny(ctx, access.APIKeysVerify)
	if err != nil {
		return nil, err
	}
	for i := range questions {
		questions[i].Confine = who.Tenant
	}
	return s.verifier.CheckAll(ctx, questions)
}

var errRevoked = fault.Conflict("api_key_revoked", "The key is revoked, for good.")

// notEnded refuses to change what can't come back.
func notEnded(k Key) error {
	switch {
	case k.RevokedAt != nil:
		return errRevoked
	case !k.RotatedTo.IsZero():
		return fault.Conflict("api_key_rotated", "The key was replaced by %s: change that one, or revoke this one to end its grace.", k.RotatedTo)
	default:
		return nil
	}
}

// checkImported keeps landlord's own permissions away from keys whose tokens were
// made elsewhere. A key that replaces one by rotation is ours.
func checkImported(k Key) error {
	if k.ImportedAt == nil || len(permissions(k.Scopes)) == 0 {
		return nil
	}
	return fault.InvalidField("scopes", "scope_not_allowed", "An imported key can't have scopes that begin with %s.", managementPrefix)
}

// requireHeld refuses to hand out permissions that the caller does not have.
func requireHeld(ctx context.Context, scopes []string) error {
	who, _ := access.From(ctx)
	for _, p := range permissions(scopes) {
		if !who.Permissions.Has(p) {
			return fault.New(fault.Forbidden, "grant_exceeds_own", "This credential lacks the permission %s and can't give it to a key.", p)
		}
	}
	return nil
}

// actor is who issues, as created_by says it.
func actor(ctx context.Context) string {
	who, _ := access.From(ctx)
	return string(who.Type) + ":" + who.ID
}

func checkWritable(ctx context.Context, tx pg.Tx, tenant id.Tenant) error {
	status, err := selectTenantStatus(ctx, tx, tenant)
	switch {
	case err != nil:
		return err
	case status == "":
		return fault.NotFound("tenant")
	}
	who, _ := access.From(ctx)
	return access.CheckWritable(status, who)
}

// bind makes a new key keep what binds the tenant's keys, of which it is one more.
func (s *Service) bind(ctx context.Context, tx pg.Tx, k *Key) error {
	_, rules, err := bindingRules(ctx, tx, k.TenantID)
	if err != nil {
		return err
	}
	if err := rules.bind(k, s.now()); err != nil {
		return err
	}
	return rules.makeRoom(ctx, tx, k.TenantID, s.now())
}

// checkProject refuses keys for a project that is archived. One that does not
// exist is the foreign key's business.
func checkProject(ctx context.Context, tx pg.Tx, tenant id.Tenant, project id.Project) error {
	if project.IsZero() {
		return nil
	}
	archived, err := selectProjectArchived(ctx, tx, tenant, project)
	switch {
	case pg.IsNoRows(err):
		return nil
	case err != nil:
		return err
	case archived:
		return errProjectArchived
	default:
		return nil
	}
}

var errProjectArchived = fault.Conflict("project_archived", "The project is archived.")

// checkDeclared refuses scopes that the key's product does not declare. A product
// that declares none, and a key for all products, take any.
func checkDeclared(ctx context.Context, tx pg.Tx, product string, scopes []string) error {
	if product == "" {
		return nil
	}
	declared, err := selectScopes(ctx, tx, product)
	if err != nil && !pg.IsNoRows(err) {
		return err
	}
	return undeclared(product, declared, scopes)
}

func undeclared(product string, declared, scopes []string) error {
	if len(declared) == 0 {
		return nil
	}
	var f fault.Fields
	for _, s := range scopes {
		if _, management := managementScope(s); management {
			continue
		}
		set := newScopeSet([]string{s})
		f.Check(slices.ContainsFunc(declared, set.has), "scopes", "scope_not_found", "The product %s declares no scope %s.", product, s)
	}
	return f.Err()
}

// record writes the one audit record of a change, and tells the replicas.
func (s *Service) record(ctx context.Context, tx pg.Tx, action string, k Key, description string, metadata map[string]any) error {
	err := audit.Record(ctx, tx, audit.Event{
		Action: action, TenantID: k.TenantID, ProjectID: k.ProjectID,
		Target:      audit.Target{Type: "api_key", ID: k.ID.String(), Name: k.Name},
		Description: description, Metadata: metadata,
	})
	if err != nil {
		return err
	}
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: "api_key", TenantID: k.TenantID, ID: k.ID.UUID()})
}

// forget makes this replica see a change at once; the others hear of it by the feed.
func (s *Service) forget(key id.APIKey) {
	if s.verifier != nil {
		s.verifier.gens.change(false, key)
	}
}

// differences says what an update changed, from what to what.
func differences(was, is Key, fields []string) map[string]any {
	value := func(k Key) map[string]any {
		return map[string]any{
			"name": k.Name, "description": k.Description, "scopes": k.Scopes, "allowed_ips": k.AllowedIPs,
			"rate_limit_rpm": k.RateLimitRPM, "rate_limits": k.RateLimits, "expires_at": k.ExpiresAt, "is_active": k.IsActive, "metadata": k.Metadata,
		}
	}
	from, to := value(was), value(is)
	out := map[string]any{}
	for _, name := range fields {
		out[name] = map[string]any{"from": from[name], "to": to[name]}
	}
	return out
}

func found(err error) error { return pg.Found(err, "api_key") }
