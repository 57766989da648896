package apikey

import (
	"context"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Each rotation adds a generation. All of them name the first one, so that a chain
// is read as what it is and not walked from key to key. It can't fork: a key is
// locked while it is rotated, and rotated once.

// origin is the first generation of the key's chain.
func (k Key) origin() id.APIKey {
	if k.OriginID.IsZero() {
		return k.ID
	}
	return k.OriginID
}

// generationsName is in the cursors of Generations.
const generationsName = "api_key_generations"

// Generations returns the keys that came before and after a key by rotation, itself
// among them, the newest first.
func (s *Service) Generations(ctx context.Context, tenant id.Tenant, key id.APIKey, r page.Request) (page.Page[Key], error) {
	none := page.Page[Key]{}
	if err := access.Require(ctx, access.APIKeysRead, tenant); err != nil {
		return none, err
	}
	if err := r.Validate(); err != nil {
		return none, err
	}
	before, _, err := page.Decode[int](generationsName, r.Cursor)
	if err != nil {
		return none, err
	}
	var keys []Key
	err = s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		k, err := selectKey(ctx, tx, tenant, key)
		if err != nil {
			return found(err)
		}
		keys, err = listGenerations(ctx, tx, tenant, k.origin(), before, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(generationsName, r, keys, func(k Key) int { return k.Generation }), nil
}
