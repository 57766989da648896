package apikey

import (
	"context"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Self is what a key is told about itself: all but its token, which it is.
type Self struct {
	Key

	TenantSlug   string   `db:"tenant_slug"`
	TenantName   string   `db:"tenant_name"`
	TenantStatus string   `db:"tenant_status"` // the effective one
	Products     []string `db:"products"`      // that it may be used for now
}

// Holder turns an API key into a principal that may do nothing but end that key.
// Possession is proof enough for it, whatever the key's and its tenant's state is,
// from whichever address and beyond its rate limit: a key that leaked must be
// stoppable by who finds it, and a thief gains nothing by it. It is no use of the key.
func (v *Verifier) Holder(ctx context.Context, token string) (access.Principal, error) {
	e, formed, err := v.lookup(ctx, token)
	switch {
	case err != nil:
		return access.Principal{}, err
	case !formed || e == nil:
		return access.Principal{}, errCredential
	default:
		return access.Principal{Type: access.APIKey, ID: e.id.String(), Name: e.name, Tenant: e.tenant}, nil
	}
}

// Self returns the key that the caller's credential is.
func (s *Service) Self(ctx context.Context) (Self, error) {
	tenant, key, err := self(ctx)
	if err != nil {
		return Self{}, err
	}
	var out Self
	err = s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		out, err = selectSelf(ctx, tx, tenant, key, s.now())
		return found(err)
	})
	return out, err
}

// RevokeSelf ends the key that the caller's credential is, for good.
func (s *Service) RevokeSelf(ctx context.Context, reason string) (Key, error) {
	tenant, key, err := self(ctx)
	if err != nil {
		return Key{}, err
	}
	return s.revoke(ctx, tenant, key, reason)
}

// self is which key the caller's credential is.
func self(ctx context.Context) (tenant id.Tenant, key id.APIKey, err error) {
	who, ok := access.From(ctx)
	if !ok || who.Type != access.APIKey {
		return tenant, key, fault.New(fault.Forbidden, "api_key_required", "This is about the API key that asks: send one as the credential.")
	}
	key, err = id.Parse[id.APIKey](who.ID)
	return who.Tenant, key, err
}
