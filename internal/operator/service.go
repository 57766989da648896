package operator

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
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

// Limits bound the life of access tokens.
type Limits struct {
	DefaultTTL time.Duration // when the caller names no expiry
	MaxTTL     time.Duration
}

// DefaultLimits are what New uses unless told.
var DefaultLimits = Limits{DefaultTTL: 90 * 24 * time.Hour, MaxTTL: 366 * 24 * time.Hour}

// Service holds the operations on people, service accounts and tokens. It is
// safe for concurrent use.
type Service struct {
	db            *pg.DB
	keys          *secret.Keyring
	limits        Limits
	now           func() time.Time
	random        io.Reader
	log           *slog.Logger
	fresh         func() bool
	tree          Tree
	tenantByClaim TenantByClaim
	oidc          *OIDC
	issuer        *issuer
	cache         *cache
	uses          uses
}

// Tree reports whether tenant is ancestor or lies below it.
type Tree func(ctx context.Context, ancestor, tenant id.Tenant) (bool, error)

// TenantByClaim finds the tenant that an organization claim names by id, slug or
// external id; fault.NotFound when there is none.
type TenantByClaim func(ctx context.Context, claim string) (id.Tenant, error)

// Option changes how a Service works.
type Option func(*Service)

// WithLimits bounds the life of tokens. What is zero stays at its default.
func WithLimits(l Limits) Option {
	return func(s *Service) {
		if l.MaxTTL > 0 {
			s.limits.MaxTTL = l.MaxTTL
		}
		if l.DefaultTTL > 0 {
			s.limits.DefaultTTL = l.DefaultTTL
		}
		s.limits.DefaultTTL = min(s.limits.DefaultTTL, s.limits.MaxTTL)
	}
}

// WithClock sets the clock; tests do.
func WithClock(now func() time.Time) Option { return func(s *Service) { s.now = now } }

// WithLogger sets where the reasons of refused credentials go.
func WithLogger(l *slog.Logger) Option { return func(s *Service) { s.log = l } }

// WithFresh tells Authenticate whether what it remembers can be trusted: the
// change feed's lease. Without it, every authentication reads the database.
func WithFresh(fresh func() bool) Option { return func(s *Service) { s.fresh = fresh } }

// WithTree lets accounts that are confined to a tenant reach those below it.
func WithTree(t Tree) Option { return func(s *Service) { s.tree = t } }

// WithOIDC accepts JWTs of an issuer. Tokens with an organization claim act for
// the tenant that byClaim finds; nil refuses them.
func WithOIDC(c OIDC, byClaim TenantByClaim) Option {
	return func(s *Service) { s.oidc, s.tenantByClaim = &c, byClaim }
}

var constraints = pg.Constraints{
	"operators_email_key":             fault.Conflict("email_taken", "There is an operator with this e-mail address."),
	"operators_issuer_subject_key":    fault.Conflict("identity_taken", "This identity is linked to another operator."),
	"service_accounts_name_key":       fault.Conflict("name_taken", "There is a service account with this name."),
	"service_accounts_tenant_id_fkey": fault.NotFound("tenant"),
}

// New returns the room's service.
func New(db *pg.DB, keys *secret.Keyring, opts ...Option) *Service {
	s := &Service{
		db: db.With(constraints), keys: keys, limits: DefaultLimits, now: time.Now, random: rand.Reader,
		log: slog.Default(), fresh: func() bool { return false }, cache: newCache(),
	}
	for _, o := range opts {
		o(s)
	}
	if s.oidc != nil {
		s.issuer = newIssuer(*s.oidc, s.now, s.log)
	}
	return s
}

// Create adds a person. The creator must hold everything that the role gives.
func (s *Service) Create(ctx context.Context, p CreateParams) (Operator, error) {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return Operator{}, err
	}
	if err := p.validate(); err != nil {
		return Operator{}, err
	}
	if err := covers(ctx, p.Role.Permissions()); err != nil {
		return Operator{}, err
	}
	o := Operator{ID: id.New[id.Operator](), Email: p.Email, Name: p.Name, Role: p.Role}
	if p.OIDCSubject != "" {
		if s.issuer == nil {
			return Operator{}, fault.InvalidField("oidc_subject", "invalid", "This server has no OIDC issuer to link to.")
		}
		o.OIDCIssuer, o.OIDCSubject = &s.issuer.config.Issuer, &p.OIDCSubject
	}
	err := s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		if o, err = insertOperator(ctx, tx, o); err != nil {
			return err
		}
		return s.recordOperator(ctx, tx, "operator.created", o, "", map[string]any{"email": o.Email, "role": o.Role})
	})
	return o, err
}

// Get returns a person. Everybody may read himself.
func (s *Service) Get(ctx context.Context, operator id.Operator) (Operator, error) {
	if err := requireSelfOr(ctx, operator.String(), access.OperatorsRead); err != nil {
		return Operator{}, err
	}
	var o Operator
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		o, err = operatorByID(ctx, tx, operator)
		return err
	})
	return o, err
}

// List returns people, newest first.
func (s *Service) List(ctx context.Context, f Filter, r page.Request) (page.Page[Operator], error) {
	var none page.Page[Operator]
	if err := access.RequirePlatform(ctx, access.OperatorsRead); err != nil {
		return none, err
	}
	after, err := start[id.Operator](listOperatorsName, r)
	if err != nil {
		return none, err
	}
	if f.Role != "" && !f.Role.Valid() {
		return none, fault.InvalidField("role", "not_one_of", "role is owner, admin, support or viewer.")
	}
	var rows []Operator
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		rows, err = operatorsByFilter(ctx, tx, f, after, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(listOperatorsName, r, rows, func(o Operator) id.Operator { return o.ID }), nil
}

// Update changes a person's name or role. The last enabled owner stays one.
func (s *Service) Update(ctx context.Context, operator id.Operator, p UpdateParams) (Operator, error) {
	if err := p.validate(); err != nil {
		return Operator{}, err
	}
	return s.change(ctx, operator, p.IfMatch, func(o *Operator) (string, string, map[string]any) {
		before := *o
		p.Name.Apply(&o.Name)
		p.Role.Apply(&o.Role)
		meta := map[string]any{}
		changed(meta, "name", before.Name, o.Name)
		changed(meta, "role", before.Role, o.Role)
		if len(meta) == 0 {
			return "", "", nil
		}
		return "operator.updated", "", meta
	})
}

// Disable stops a person from acting, at once and until enabled. It does not
// touch his tokens, which work again afterwards. Disabling twice is no error.
func (s *Service) Disable(ctx context.Context, operator id.Operator, reason string) (Operator, error) {
	if err := checkReason(reason); err != nil {
		return Operator{}, err
	}
	return s.change(ctx, operator, time.Time{}, func(o *Operator) (string, string, map[string]any) {
		if !o.Enabled() {
			return "", "", nil
		}
		now := s.now()
		o.DisabledAt = &now
		return "operator.disabled", reason, nil
	})
}

// Enable lets a disabled person act again.
func (s *Service) Enable(ctx context.Context, operator id.Operator) (Operator, error) {
	return s.change(ctx, operator, time.Time{}, func(o *Operator) (string, string, map[string]any) {
		if o.Enabled() {
			return "", "", nil
		}
		o.DisabledAt = nil
		return "operator.enabled", "", nil
	})
}

// Delete removes a person and his tokens. The audit log keeps his name beside
// what he did; to keep the person on the list, disable him.
func (s *Service) Delete(ctx context.Context, operator id.Operator) error {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return err
	}
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		o, owners, err := lockOperator(ctx, tx, operator)
		if err != nil {
			return err
		}
		if err := covers(ctx, o.Role.Permissions()); err != nil {
			return err
		}
		if lastOwner(o, owners) {
			return errLastOwner
		}
		if err := deleteOperator(ctx, tx, operator); err != nil {
			return err
		}
		return s.recordOperator(ctx, tx, "operator.deleted", o, "", map[string]any{"email": o.Email, "role": o.Role})
	})
	s.forgetOwn(err, kindOperator, operator.UUID())
	return err
}

var errLastOwner = fault.Conflict("last_owner", "This is the last enabled owner: make another operator owner first.")

// lastOwner reports whether nobody else could undo what o is about to lose.
func lastOwner(o Operator, owners []id.Operator) bool {
	return o.Role == access.Owner && o.Enabled() && len(owners) == 1 && owners[0] == o.ID
}

// change applies edit to a person. edit returns the action, its reason and what
// changed, or no action when there is nothing to do.
func (s *Service) change(
	ctx context.Context, operator id.Operator, ifMatch time.Time, edit func(*Operator) (action, reason string, meta map[string]any),
) (Operator, error) {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return Operator{}, err
	}
	var o Operator
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		// Owners first and in order, so that two demotions wait for each other
		// instead of each seeing the other's owner.
		before, owners, err := lockOperator(ctx, tx, operator)
		if err != nil {
			return err
		}
		if !ifMatch.IsZero() && !before.UpdatedAt.Equal(ifMatch) {
			return fault.StaleVersion()
		}
		o = before
		action, reason, meta := edit(&o)
		if action == "" {
			return nil
		}
		// Both what he has and what he gets: nobody weaker may touch him.
		if err := covers(ctx, before.Role.Permissions(), o.Role.Permissions()); err != nil {
			return err
		}
		if lastOwner(before, owners) && (o.Role != access.Owner || !o.Enabled()) {
			return errLastOwner
		}
		if o, err = updateOperator(ctx, tx, o); err != nil {
			return err
		}
		return s.recordOperator(ctx, tx, action, o, reason, meta)
	})
	s.forgetOwn(err, kindOperator, operator.UUID())
	return o, err
}

// forgetOwn applies a change of this replica's at once. The others, and this one
// again, hear of it from the change feed.
func (s *Service) forgetOwn(err error, kind, ref string) {
	if err == nil {
		s.Forget([]changefeed.Change{{Kind: kind, ID: ref}})
	}
}

func (s *Service) recordOperator(ctx context.Context, tx pg.Tx, action string, o Operator, reason string, meta map[string]any) error {
	if err := changefeed.Note(ctx, tx, changefeed.Change{Kind: kindOperator, ID: o.ID.UUID()}); err != nil {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: action, Description: reason, Metadata: meta,
		Target: audit.Target{Type: "operator", ID: o.ID.String(), Name: o.Name},
	})
}

// covers refuses to give, or to touch somebody who has, more than the principal
// holds himself.
func covers(ctx context.Context, sets ...access.Set) error {
	who, _ := access.From(ctx)
	for _, set := range sets {
		for _, p := range set.List() {
			if !who.Permissions.Has(p) {
				return fault.New(fault.Forbidden, "grant_exceeds_own", "You can't give, or manage who holds, what you don't hold yourself: %s.", p)
			}
		}
	}
	return nil
}

// requireSelfOr lets a principal at what is its own, and others with a permission.
func requireSelfOr(ctx context.Context, owner string, p access.Permission) error {
	if who, ok := access.From(ctx); ok && owner != "" && who.ID == owner {
		return nil
	}
	return access.RequirePlatform(ctx, p)
}

func checkReason(reason string) error {
	var f fault.Fields
	checkText(&f, "reason", reason, maxReason, false)
	return f.Err()
}

// changed notes a field's change for the audit log.
func changed[T comparable](meta map[string]any, field string, from, to T) {
	if from != to {
		meta[field] = map[string]any{"from": from, "to": to}
	}
}

// start reads where a page of a list begins.
func start[K any](list string, r page.Request) (*K, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	key, ok, err := page.Decode[K](list, r.Cursor)
	if err != nil || !ok {
		return nil, err
	}
	return &key, nil
}
