package tenant

import (
	"context"
	"slices"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// Within reports whether a tenant is root or lies below it. It is what a
// tenant's principal reaches, so it asks nobody for permission; deleted tenants
// are not within anything.
func (s *Service) Within(ctx context.Context, root, tenant id.Tenant) (bool, error) {
	var in bool
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		in, err = isWithin(ctx, tx, root, tenant)
		return err
	})
	return in, err
}

// Subtree returns a tenant and those below it in tree order: each tenant before
// its children, siblings oldest first. How deep a tenant lies is its Depth less
// the root's. levels limits how far down to look; 0 does not.
func (s *Service) Subtree(ctx context.Context, root id.Tenant, levels int, r page.Request) (page.Page[Tenant], error) {
	var none page.Page[Tenant]
	if err := access.Require(ctx, access.TenantsRead, root); err != nil {
		return none, err
	}
	if err := r.Validate(); err != nil {
		return none, err
	}
	if levels < 0 || levels > MaxDepth {
		return none, fault.InvalidField("levels", "out_of_range", "levels is a whole number from 1 to %d.", MaxDepth)
	}
	list := "subtree:" + root.String()
	after, paged, err := page.Decode[[]id.Tenant](list, r.Cursor)
	if err != nil {
		return none, err
	}
	var rows []Tenant
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) error {
		top, err := getTenant(ctx, tx, root)
		if err != nil {
			return err
		}
		if err := visible(ctx, top); err != nil {
			return err
		}
		if !paged {
			after = top.path()
		}
		deepest := MaxDepth
		if levels > 0 {
			deepest = top.Depth() + levels
		}
		rows, err = listSubtree(ctx, tx, top, after, paged, deepest, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(list, r, rows, Tenant.path), nil
}

// Move puts a tenant, with all that lies below it, under another parent; the
// zero parent makes it a root, which only the platform may.
func (s *Service) Move(ctx context.Context, tenant, parent id.Tenant) (Tenant, error) {
	if err := access.Require(ctx, access.TenantsWrite, tenant); err != nil {
		return Tenant{}, err
	}
	who, _ := access.From(ctx)
	if parent.IsZero() {
		if err := access.RequirePlatform(ctx, access.TenantsWrite); err != nil {
			return Tenant{}, err
		}
	} else if err := requireParent(ctx, parent); err != nil {
		return Tenant{}, err
	}
	if tenant == id.InternalTenant {
		return Tenant{}, fault.Conflict("tenant_internal", "The platform's own tenant stays where it is.")
	}
	var after Tenant
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		if err := lockTree(ctx, tx); err != nil {
			return err
		}
		t, err := lockTenant(ctx, tx, tenant)
		if err != nil {
			return err
		}
		after = t
		if err := mayMove(ctx, who, t); err != nil {
			return err
		}
		if t.ParentID == parent {
			return nil
		}
		var above []id.Tenant
		if !parent.IsZero() {
			p, err := getParent(ctx, tx, parent)
			if err != nil {
				return err
			}
			if above = p.path(); slices.Contains(above, tenant) {
				return fault.Conflict("tenant_cycle", "A tenant can't lie below itself.")
			}
			if err := mayBeParent(who, p); err != nil {
				return err
			}
		}
		moved, err := moveSubtree(ctx, tx, t, parent, above)
		if err != nil {
			return err
		}
		if after, err = getTenant(ctx, tx, tenant); err != nil {
			return err
		}
		err = audit.Record(ctx, tx, after.event("tenant.moved", "", map[string]any{"from": t.ParentID, "to": parent, "tenants": moved}))
		if err != nil {
			return err
		}
		return note(ctx, tx, tenant)
	})
	if err != nil {
		return Tenant{}, err
	}
	return after, nil
}

// mayMove says whether a principal may move a tenant. The platform may always:
// it moves the tenants of a reseller who is frozen out of its way.
func mayMove(ctx context.Context, who access.Principal, t Tenant) error {
	switch {
	case who.Platform():
		return nil
	case who.Tenant == t.ID:
		return fault.New(fault.Forbidden, "own_place", "A tenant's own credential can't move it.")
	}
	if err := visible(ctx, t); err != nil {
		return err
	}
	return access.CheckWritable(string(t.Effective()), who)
}

// requireParent is access.Require for the tenant under which another one is to
// be; its answer names the parent.
func requireParent(ctx context.Context, parent id.Tenant) error {
	err := access.Require(ctx, access.TenantsWrite, parent)
	if err != nil && fault.CodeOf(err) == "tenant_not_found" {
		return fault.NotFound("parent")
	}
	return err
}

// parentOf reads the parent of a tenant to be, under the shared tree lock: until
// the transaction ends nobody moves it elsewhere.
func parentOf(ctx context.Context, tx pg.Tx, who access.Principal, parent id.Tenant) (Tenant, error) {
	p, err := lockParent(ctx, tx, parent)
	if err != nil {
		return p, err
	}
	return p, mayBeParent(who, p)
}

// mayBeParent says whether a principal may put tenants below p.
func mayBeParent(who access.Principal, p Tenant) error {
	if p.DeletedAt != nil {
		return fault.NotFound("parent")
	}
	if !who.Platform() && p.Kind != KindReseller && p.Kind != KindEnterprise {
		return fault.InvalidField("parent_id", "not_a_reseller", "Only a reseller or an enterprise has tenants below it.")
	}
	if p.Depth()+1 >= MaxDepth {
		return tooDeep
	}
	return access.CheckWritable(string(p.Effective()), who)
}

var tooDeep = fault.Conflict("tenant_too_deep", "The tree of tenants has at most %d levels.", MaxDepth)
