package operator

import (
	"context"
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

// IssueToken makes a token of a person or a service account and returns it with
// its secret, which is shown once and never stored. Everybody may issue tokens
// of his own; for others the issuer must hold everything that they hold, since
// whoever has the token can act as them.
func (s *Service) IssueToken(ctx context.Context, p IssueParams) (Issued, error) {
	if err := requireSelfOr(ctx, ownerOf(p.OperatorID, p.ServiceID), access.OperatorsWrite); err != nil {
		return Issued{}, err
	}
	now := s.now()
	expires, err := p.validate(now, s.limits)
	if err != nil {
		return Issued{}, err
	}
	issued, err := s.mint(ctx, p, expires)
	if err != nil {
		return Issued{}, err
	}
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		holds, err := lockHolder(ctx, tx, p)
		if err != nil {
			return err
		}
		if err := covers(ctx, holds); err != nil {
			return err
		}
		if issued.AccessToken, err = insertToken(ctx, tx, issued.AccessToken, s.keys.Digest(issued.Secret.Reveal())); err != nil {
			return err
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "token.issued", Target: issued.target(),
			Metadata: map[string]any{"owner": issued.owner(), "expires_at": issued.ExpiresAt},
		})
	})
	return issued, err
}

// mint makes the token; nothing is stored yet.
func (s *Service) mint(ctx context.Context, p IssueParams, expires *time.Time) (Issued, error) {
	prefix := OperatorPrefix
	if !p.ServiceID.IsZero() {
		prefix = ServicePrefix
	}
	text, err := newToken(s.random, prefix)
	if err != nil {
		return Issued{}, err
	}
	who, _ := access.From(ctx)
	by := string(who.Type) + ":" + who.ID
	return Issued{
		Secret: secret.NewText(text),
		AccessToken: AccessToken{
			ID: id.New[id.Token](), OperatorID: p.OperatorID, ServiceID: p.ServiceID, Name: strings.TrimSpace(p.Name),
			Prefix: prefix, Last4: text[len(text)-4:], ExpiresAt: expires, CreatedBy: &by,
		},
	}, nil
}

// lockHolder returns what the future token's owner holds. The lock keeps him
// from being disabled or given more in between.
func lockHolder(ctx context.Context, tx pg.Tx, p IssueParams) (access.Set, error) {
	if !p.OperatorID.IsZero() {
		o, err := operatorForUpdate(ctx, tx, p.OperatorID)
		if err == nil && !o.Enabled() {
			err = fault.Conflict("operator_disabled", "This operator is disabled.")
		}
		return o.Role.Permissions(), err
	}
	a, err := lockService(ctx, tx, p.ServiceID)
	if err == nil && !a.Enabled() {
		err = fault.Conflict("service_disabled", "This service account is disabled.")
	}
	return a.grants(), err
}

// ListTokens returns the tokens of a person or a service account, newest first.
func (s *Service) ListTokens(ctx context.Context, f TokenFilter, r page.Request) (page.Page[AccessToken], error) {
	var none page.Page[AccessToken]
	if err := requireSelfOr(ctx, ownerOf(f.OperatorID, f.ServiceID), access.OperatorsRead); err != nil {
		return none, err
	}
	after, err := start[id.Token](listTokensName, r)
	if err != nil {
		return none, err
	}
	var rows []AccessToken
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		if err := holderExists(ctx, tx, f.OperatorID, f.ServiceID); err != nil {
			return err
		}
		rows, err = tokensByFilter(ctx, tx, f, s.now(), after, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(listTokensName, r, rows, func(t AccessToken) id.Token { return t.ID }), nil
}

func holderExists(ctx context.Context, tx pg.Tx, operator id.Operator, service id.Service) error {
	if !operator.IsZero() {
		_, err := operatorByID(ctx, tx, operator)
		return err
	}
	_, err := serviceByID(ctx, tx, service)
	return err
}

// GetToken returns a token, without its secret. To somebody who may not see
// it, it does not exist.
func (s *Service) GetToken(ctx context.Context, token id.Token) (AccessToken, error) {
	var t AccessToken
	who, err := tokenReader(ctx)
	if err != nil {
		return t, err
	}
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		t, err = tokenByID(ctx, tx, token)
		return err
	})
	if err == nil && who.ID != t.owner() {
		err = hideUnless(ctx, access.OperatorsRead)
	}
	if err != nil {
		return AccessToken{}, err
	}
	return t, nil
}

// RevokeToken ends a token for good, at once. One's own needs no permission.
// Revoking twice is no error, and the first reason stays.
func (s *Service) RevokeToken(ctx context.Context, token id.Token, reason string) (AccessToken, error) {
	var t AccessToken
	who, err := tokenReader(ctx)
	if err != nil {
		return t, err
	}
	if err := checkReason(reason); err != nil {
		return t, err
	}
	err = s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		if t, err = tokenForUpdate(ctx, tx, token); err != nil {
			return err
		}
		if who.ID != t.owner() {
			if err := hideUnless(ctx, access.OperatorsWrite); err != nil {
				return err
			}
		}
		if t.RevokedAt != nil {
			return nil
		}
		if t, err = revokeToken(ctx, tx, token, s.now(), reason); err != nil {
			return err
		}
		if err := changefeed.Note(ctx, tx, changefeed.Change{Kind: kindToken, ID: token.UUID()}); err != nil {
			return err
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "token.revoked", Target: t.target(), Description: reason,
			Metadata: map[string]any{"owner": t.owner()},
		})
	})
	s.forgetOwn(err, kindToken, token.UUID())
	if err != nil {
		return AccessToken{}, err
	}
	return t, nil
}

func (t AccessToken) target() audit.Target {
	return audit.Target{Type: "token", ID: t.ID.String(), Name: t.Name}
}

// tokenReader lets in everybody who could have a token of his own.
func tokenReader(ctx context.Context) (access.Principal, error) {
	who, ok := access.From(ctx)
	if !ok {
		return who, access.RequirePlatform(ctx, access.OperatorsRead)
	}
	return who, nil
}

// hideUnless says that a token doesn't exist to a principal that is confined to
// a tenant, and that the permission is missing to the platform's own.
func hideUnless(ctx context.Context, p access.Permission) error {
	who, _ := access.From(ctx)
	if !who.Platform() {
		return fault.NotFound("token")
	}
	return access.RequirePlatform(ctx, p)
}

func ownerOf(operator id.Operator, service id.Service) string {
	if !operator.IsZero() {
		return operator.String()
	}
	return service.String()
}
