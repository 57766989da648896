package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// refusal is why a bearer is turned away. The caller learns whether it has run
// out and nothing else.
type refusal struct {
	expired bool
	reason  error
}

func (r *refusal) Error() string { return r.reason.Error() }

func invalid(format string, args ...any) error {
	return &refusal{false, fmt.Errorf(format, args...)}
}

func expired(format string, args ...any) error {
	return &refusal{true, fmt.Errorf(format, args...)}
}

// Authenticate turns a bearer credential into its principal. Unknown, malformed,
// revoked and disabled ones are credential_invalid, all alike; one that has run
// out is credential_expired. A database or issuer that can't be asked is 503,
// never an answer about the credential.
func (s *Service) Authenticate(ctx context.Context, bearer string) (access.Principal, error) {
	now := s.now()
	g, err := s.grantOf(ctx, bearer, now)
	var p access.Principal
	if err == nil {
		p, err = s.principal(&g, now)
	}
	if err != nil {
		return access.Principal{}, s.refuse(ctx, &g, err)
	}
	s.uses.note(&g, now, access.OriginOf(ctx).SourceIP)
	return p, nil
}

// refuse logs why a bearer is turned away and returns what its sender is told.
func (s *Service) refuse(ctx context.Context, g *grant, err error) error {
	no, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	s.log.InfoContext(ctx, "credential refused", "expired", no.expired, "reason", no.reason.Error(), "token_id", g.Token.String(),
		"source_ip", access.OriginOf(ctx).SourceIP, "request_id", access.OriginOf(ctx).RequestID)
	if no.expired {
		return fault.New(fault.Unauthenticated, "credential_expired", "The credential has expired.")
	}
	return fault.New(fault.Unauthenticated, "credential_invalid", "The credential is not valid.")
}

// grantOf finds what a bearer stands for, in memory or in the database.
func (s *Service) grantOf(ctx context.Context, bearer string, now time.Time) (grant, error) {
	// The form is looked at only when memory doesn't know the bearer: what it knows had it.
	key := s.keys.Sum(bearer)
	if s.fresh() {
		if g, ok := s.cache.get(key, now); ok {
			return g, nil
		}
	}
	jwt := s.issuer != nil && looksLikeJWT(bearer)
	if !jwt && !wellFormed(bearer) {
		return grant{}, invalid("malformed token")
	}
	// What is read from here on may be stored only if nothing changed meanwhile.
	generation := s.cache.generation.Load()
	var g grant
	var err error
	if jwt {
		g, err = s.jwtGrant(ctx, bearer, now)
	} else {
		g, err = s.tokenGrant(ctx, bearer)
	}
	if err != nil {
		return g, err
	}
	s.cache.put(key, g, generation, now)
	return g, nil
}

// principal decides at an instant whether a grant still acts, and as whom.
func (s *Service) principal(g *grant, now time.Time) (access.Principal, error) {
	switch {
	case g.unknown():
		return access.Principal{}, invalid("unknown token")
	case g.RevokedAt != nil:
		return access.Principal{}, invalid("revoked token")
	case g.DisabledAt != nil:
		return access.Principal{}, invalid("%s is disabled", g.actor)
	case g.ExpiresAt != nil && !now.Before(*g.ExpiresAt):
		return access.Principal{}, expired("expired at %s", g.ExpiresAt)
	case g.TenantStatus == "suspended":
		return access.Principal{}, fault.New(fault.Forbidden, "tenant_suspended", "The tenant is suspended.")
	case g.TenantStatus == "archived":
		return access.Principal{}, fault.New(fault.Forbidden, "tenant_archived", "The tenant is archived.")
	}
	p := access.Principal{Type: access.User, ID: g.actor, Name: g.Name, Tenant: g.TenantID, Permissions: g.permissions}
	if !g.ServiceID.IsZero() {
		p.Type = access.Service
	}
	if tenant := g.TenantID; !tenant.IsZero() && s.tree != nil {
		p.Within = func(ctx context.Context, other id.Tenant) (bool, error) { return s.tree(ctx, tenant, other) }
	}
	return p, nil
}

// tokenGrant reads a token of ours. One that is not there is an empty grant,
// which is remembered too.
func (s *Service) tokenGrant(ctx context.Context, bearer string) (grant, error) {
	var g grant
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		g, err = grantByDigest(ctx, tx, s.keys.Digests(bearer))
		if pg.IsNoRows(err) {
			g, err = grant{}, nil
		}
		return err
	})
	if err != nil {
		return grant{}, err
	}
	g.settle()
	if !g.unknown() && !s.keys.IsCurrent(g.Digest) {
		s.uses.redigest(g.Token, s.keys.Digest(bearer))
	}
	g.Digest = ""
	return g, nil
}

// jwtGrant verifies a JWT and finds whom it stands for.
func (s *Service) jwtGrant(ctx context.Context, bearer string, now time.Time) (grant, error) {
	c, err := s.issuer.verify(ctx, bearer)
	if err != nil {
		return grant{}, err
	}
	var g grant
	if c.Organization != nil {
		g, err = s.tenantGrant(ctx, c)
	} else {
		g, err = s.personGrant(ctx, c)
	}
	if err != nil {
		return grant{}, err
	}
	g.ExpiresAt = &c.Expires
	// A signing key that the issuer withdraws must not live on in our memory.
	g.keepUntil = now.Add(keysFresh)
	return g, nil
}

// tenantGrant is for people of a tenant: what the token's scopes say, within
// what a tenant may hold.
func (s *Service) tenantGrant(ctx context.Context, c claims) (grant, error) {
	claim, err := organization(c.Organization)
	if err != nil {
		return grant{}, err
	}
	if s.tenantByClaim == nil {
		return grant{}, invalid("jwt of organization %.64q, and organizations are not mapped to tenants", claim)
	}
	tenant, err := s.tenantByClaim(access.AsSystem(ctx, "authentication"), claim)
	if fault.KindOf(err) == fault.NotFoundKind && err != nil {
		return grant{}, invalid("jwt of organization %.64q, which is no tenant", claim)
	}
	if err != nil {
		return grant{}, err
	}
	g := grant{actor: "oidc:" + c.Subject, Name: first(c.Name, c.Email), TenantID: tenant}
	scopes := make([]access.Permission, len(c.Scopes))
	for i, scope := range c.Scopes {
		scopes[i] = access.Permission(scope)
	}
	g.permissions = toSet(scopes, true)
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		g.TenantStatus, err = tenantStatus(ctx, tx, tenant)
		return err
	})
	return g, err
}

// personGrant is for operators: the one linked to the subject, or, the first
// time, the one with the e-mail address that the issuer verified.
func (s *Service) personGrant(ctx context.Context, c claims) (grant, error) {
	var o Operator
	var found, link bool
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		o, link, err = s.personOf(ctx, tx, c)
		found = err == nil
		if pg.IsNoRows(err) {
			return nil
		}
		return err
	})
	if err == nil && found && link {
		o, found, err = s.link(ctx, c)
	}
	switch {
	case err != nil:
		return grant{}, err
	case !found:
		return grant{}, invalid("jwt of %.64q, who is no operator", c.Subject)
	}
	g := grant{OperatorID: o.ID, Name: o.Name, Role: o.Role, DisabledAt: o.DisabledAt}
	g.settle()
	return g, nil
}

// personOf returns the operator of an identity and whether he is still to be
// linked. A disabled person is not linked: he may have left, and his address
// gone to somebody else.
func (s *Service) personOf(ctx context.Context, tx pg.Tx, c claims) (Operator, bool, error) {
	o, err := operatorByIdentity(ctx, tx, s.issuer.config.Issuer, c.Subject)
	if !pg.IsNoRows(err) || c.Email == "" {
		return o, false, err
	}
	o, err = unlinkedByEmail(ctx, tx, c.Email)
	return o, true, err
}

// link ties an identity to the operator with its verified e-mail address, once.
func (s *Service) link(ctx context.Context, c claims) (o Operator, found bool, err error) {
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		var todo bool
		if o, todo, err = s.personOf(ctx, tx, c); err != nil || !todo {
			found = err == nil // another request was faster
			if pg.IsNoRows(err) {
				return nil
			}
			return err
		}
		if o, err = linkOperator(ctx, tx, o.ID, s.issuer.config.Issuer, c.Subject); err != nil {
			if pg.IsNoRows(err) {
				return nil
			}
			return err
		}
		found = true
		origin := access.OriginOf(ctx)
		ctx := access.With(ctx, access.Principal{
			Type: access.User, ID: o.ID.String(), Name: o.Name,
			SourceIP: origin.SourceIP, UserAgent: origin.UserAgent, RequestID: origin.RequestID,
		})
		return s.recordOperator(ctx, tx, "operator.linked", o, "", map[string]any{"email": o.Email, "issuer": s.issuer.config.Issuer})
	})
	return o, found, err
}

// Me is who the principal of a request is.
type Me struct {
	Type        access.ActorType
	ID          string
	Name        string
	TenantID    id.Tenant // zero: not confined
	Permissions []access.Permission
}

// Whoami answers who the caller is. It needs a credential and no permission.
func (s *Service) Whoami(ctx context.Context) (Me, error) {
	who, ok := access.From(ctx)
	if !ok {
		return Me{}, fault.New(fault.Unauthenticated, "credential_required", "This needs a credential: send Authorization: Bearer with a token or key.")
	}
	return Me{Type: who.Type, ID: who.ID, Name: who.Name, TenantID: who.Tenant, Permissions: who.Permissions.List()}, nil
}

// Forget drops what is remembered about what changed. The change feed calls it.
func (s *Service) Forget(changes []changefeed.Change) {
	s.cache.forget(func(g grant) bool {
		return slices.ContainsFunc(changes, g.concerns)
	}, slices.ContainsFunc(changes, ours))
}

// ForgetAll drops everything, for when changes may have been missed.
func (s *Service) ForgetAll() { s.cache.forget(func(grant) bool { return true }, true) }

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
