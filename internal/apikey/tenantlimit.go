package apikey

import (
	"context"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/ratelimit"
)

// TenantLimit is a rate limit that all keys of a tenant share. It takes the place
// of the limit of its name that a product declares.
type TenantLimit struct {
	TenantID  id.Tenant `db:"tenant_id"`
	Name      string    `db:"name"`
	Product   string    `db:"product"` // "": whatever product is used, and none
	Limit     int64     `db:"limit_value"`
	Window    int64     `db:"window_secs"`
	Burst     int64     `db:"burst"` // 0: Limit
	NamedOnly bool      `db:"named_only"`
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
}

func (l *TenantLimit) rule() ratelimit.Rule {
	return ratelimit.Rule{Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst, NamedOnly: l.NamedOnly}
}

// PutLimitParams is a whole rate limit of a tenant.
type PutLimitParams struct {
	TenantID id.Tenant
	Product  string // "": any
	Rule     ratelimit.Rule
	IfMatch  time.Time // zero: whatever the version
}

func (p *PutLimitParams) validate() error {
	var f fault.Fields
	p.Rule.Check(&f, "")
	checkText(&f, "product", p.Product, 100)
	return f.Err()
}

// PutLimit gives a tenant a rate limit, or other numbers for one that it has;
// created tells which. Only the platform may: a limit of a tenant can be higher
// than the one of a product whose place it takes. A put that changes nothing
// records nothing.
func (s *Service) PutLimit(ctx context.Context, p PutLimitParams) (l TenantLimit, created bool, err error) {
	if err := access.RequirePlatform(ctx, access.EntitlementsWrite); err != nil {
		return l, false, err
	}
	if err := p.validate(); err != nil {
		return l, false, err
	}
	changed := false
	err = s.db.InTenant(ctx, p.TenantID, func(tx pg.Tx) (err error) {
		l, created, changed, err = putLimit(ctx, tx, p)
		return err
	})
	if err != nil {
		return TenantLimit{}, false, err
	}
	s.forgetLimits(changed, p.TenantID)
	return l, created, nil
}

func putLimit(ctx context.Context, tx pg.Tx, p PutLimitParams) (l TenantLimit, created, changed bool, err error) {
	if err := checkWritable(ctx, tx, p.TenantID); err != nil {
		return l, false, false, err
	}
	if err := lockTenant(ctx, tx, p.TenantID); err != nil {
		return l, false, false, err
	}
	was, err := selectLimit(ctx, tx, p.TenantID, p.Rule.Name)
	created = pg.IsNoRows(err)
	switch {
	case err != nil && !created:
		return l, false, false, err
	case !p.IfMatch.IsZero() && (created || !was.UpdatedAt.Equal(p.IfMatch)):
		return l, false, false, fault.StaleVersion()
	case !created && was.rule() == p.Rule && was.Product == p.Product:
		return was, false, false, nil
	}
	metadata := map[string]any{"to": limitValue(p.Rule, p.Product)}
	action := "rate_limit.created"
	if created {
		n, err := countLimits(ctx, tx, p.TenantID)
		if err != nil {
			return l, false, false, err
		}
		if n >= ratelimit.MaxRules {
			return l, false, false, fault.Conflict("rate_limits_full", "A tenant has at most %d rate limits.", ratelimit.MaxRules)
		}
	} else {
		action, metadata["from"] = "rate_limit.updated", limitValue(was.rule(), was.Product)
	}
	if l, err = upsertLimit(ctx, tx, p); err != nil {
		return l, false, false, err
	}
	return l, created, true, recordLimit(ctx, tx, action, p.TenantID, p.Rule.Name, metadata)
}

// DeleteLimit takes a rate limit away from a tenant; that of a product whose place
// it took is back in force.
func (s *Service) DeleteLimit(ctx context.Context, tenant id.Tenant, name string, ifMatch time.Time) error {
	if err := access.RequirePlatform(ctx, access.EntitlementsWrite); err != nil {
		return err
	}
	err := s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		if err := checkWritable(ctx, tx, tenant); err != nil {
			return err
		}
		if err := lockTenant(ctx, tx, tenant); err != nil {
			return err
		}
		was, err := selectLimit(ctx, tx, tenant, name)
		if err != nil {
			return pg.Found(err, "rate_limit")
		}
		if !ifMatch.IsZero() && !was.UpdatedAt.Equal(ifMatch) {
			return fault.StaleVersion()
		}
		if err := deleteLimit(ctx, tx, tenant, name); err != nil {
			return err
		}
		return recordLimit(ctx, tx, "rate_limit.deleted", tenant, name, map[string]any{"from": limitValue(was.rule(), was.Product)})
	})
	if err == nil {
		s.forgetLimits(true, tenant)
	}
	return err
}

// Limit returns a rate limit of a tenant.
func (s *Service) Limit(ctx context.Context, tenant id.Tenant, name string) (l TenantLimit, err error) {
	err = s.readLimits(ctx, tenant, func(tx pg.Tx) (err error) {
		l, err = selectLimit(ctx, tx, tenant, name)
		return pg.Found(err, "rate_limit")
	})
	return l, err
}

// limitsName is in the cursors of Limits.
const limitsName = "rate_limits"

// Limits lists a tenant's rate limits by name.
func (s *Service) Limits(ctx context.Context, tenant id.Tenant, r page.Request) (p page.Page[TenantLimit], err error) {
	if err := r.Validate(); err != nil {
		return p, err
	}
	after, _, err := page.Decode[string](limitsName, r.Cursor)
	if err != nil {
		return p, err
	}
	err = s.readLimits(ctx, tenant, func(tx pg.Tx) error {
		rows, err := listLimits(ctx, tx, tenant, after, r.Size()+1)
		p = page.Of(limitsName, r, rows, func(l TenantLimit) string { return l.Name })
		return err
	})
	return p, err
}

func (s *Service) readLimits(ctx context.Context, tenant id.Tenant, fn func(pg.Tx) error) error {
	if err := access.Require(ctx, access.EntitlementsRead, tenant); err != nil {
		return err
	}
	return s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) error {
		status, err := selectTenantStatus(ctx, tx, tenant)
		switch {
		case err != nil:
			return err
		case status == "":
			return fault.NotFound("tenant")
		}
		return fn(tx)
	})
}

// forgetLimits makes this replica read the tenant's keys again, before the change
// feed tells it.
func (s *Service) forgetLimits(changed bool, tenant id.Tenant) {
	if changed && s.verifier != nil {
		s.verifier.gens.change(false, tenant)
	}
}

func limitValue(r ratelimit.Rule, product string) map[string]any {
	return map[string]any{"product": product, "limit": r.Limit, "window": r.Window, "burst": r.Burst, "named_only": r.NamedOnly}
}

func recordLimit(ctx context.Context, tx pg.Tx, action string, tenant id.Tenant, name string, metadata map[string]any) error {
	err := audit.Record(ctx, tx, audit.Event{
		Action: action, TenantID: tenant, Metadata: metadata, Target: audit.Target{Type: "rate_limit", ID: name, Name: name},
	})
	if err != nil {
		return err
	}
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: "rate_limit", TenantID: tenant, ID: tenant.UUID()})
}
