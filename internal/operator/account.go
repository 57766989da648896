package operator

import (
	"context"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
)

// CreateService adds a service account. The creator must hold everything that
// he grants.
func (s *Service) CreateService(ctx context.Context, p CreateServiceParams) (ServiceAccount, error) {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return ServiceAccount{}, err
	}
	if err := p.validate(); err != nil {
		return ServiceAccount{}, err
	}
	if err := covers(ctx, access.NewSet(p.Permissions...)); err != nil {
		return ServiceAccount{}, err
	}
	a := ServiceAccount{
		ID: id.New[id.Service](), Name: p.Name, Description: p.Description,
		Permissions: sorted(p.Permissions), TenantID: p.TenantID,
	}
	err := s.db.AsOperator(ctx, func(tx pg.Tx) (err error) {
		if a, err = insertService(ctx, tx, a); err != nil {
			return err
		}
		return s.recordService(ctx, tx, "service.created", a, "", map[string]any{"permissions": a.Permissions})
	})
	return a, err
}

// GetService returns a service account. An account may read itself.
func (s *Service) GetService(ctx context.Context, service id.Service) (ServiceAccount, error) {
	if err := requireSelfOr(ctx, service.String(), access.OperatorsRead); err != nil {
		return ServiceAccount{}, err
	}
	var a ServiceAccount
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		a, err = serviceByID(ctx, tx, service)
		return err
	})
	return a, err
}

// ListServices returns service accounts, newest first.
func (s *Service) ListServices(ctx context.Context, f ServiceFilter, r page.Request) (page.Page[ServiceAccount], error) {
	var none page.Page[ServiceAccount]
	if err := access.RequirePlatform(ctx, access.OperatorsRead); err != nil {
		return none, err
	}
	after, err := start[id.Service](listServicesName, r)
	if err != nil {
		return none, err
	}
	var rows []ServiceAccount
	err = s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		rows, err = servicesByFilter(ctx, tx, f, after, r.Size()+1)
		return err
	})
	if err != nil {
		return none, err
	}
	return page.Of(listServicesName, r, rows, func(a ServiceAccount) id.Service { return a.ID }), nil
}

// UpdateService changes a service account. Its tokens have the new permissions
// at once.
func (s *Service) UpdateService(ctx context.Context, service id.Service, p UpdateServiceParams) (ServiceAccount, error) {
	return s.changeService(ctx, service, p.IfMatch, func(a *ServiceAccount) (string, string, map[string]any, error) {
		if err := p.validate(!a.TenantID.IsZero()); err != nil {
			return "", "", nil, err
		}
		before := *a
		p.Name.Apply(&a.Name)
		p.Description.Apply(&a.Description)
		if list, ok := p.Permissions.Get(); ok || p.Permissions.IsNull() {
			a.Permissions = sorted(list)
		}
		meta := map[string]any{}
		changed(meta, "name", before.Name, a.Name)
		changed(meta, "description", before.Description, a.Description)
		if !slices.Equal(before.Permissions, a.Permissions) {
			meta["permissions"] = map[string]any{"from": before.Permissions, "to": a.Permissions}
		}
		if len(meta) == 0 {
			return "", "", nil, nil
		}
		return "service.updated", "", meta, nil
	})
}

// DisableService stops an account's tokens from working until it is enabled.
// Disabling twice is no error.
func (s *Service) DisableService(ctx context.Context, service id.Service, reason string) (ServiceAccount, error) {
	if err := checkReason(reason); err != nil {
		return ServiceAccount{}, err
	}
	return s.changeService(ctx, service, time.Time{}, func(a *ServiceAccount) (string, string, map[string]any, error) {
		if !a.Enabled() {
			return "", "", nil, nil
		}
		now := s.now()
		a.DisabledAt = &now
		return "service.disabled", reason, nil, nil
	})
}

// EnableService lets a disabled account's tokens work again.
func (s *Service) EnableService(ctx context.Context, service id.Service) (ServiceAccount, error) {
	return s.changeService(ctx, service, time.Time{}, func(a *ServiceAccount) (string, string, map[string]any, error) {
		if a.Enabled() {
			return "", "", nil, nil
		}
		a.DisabledAt = nil
		return "service.enabled", "", nil, nil
	})
}

// DeleteService removes an account and its tokens.
func (s *Service) DeleteService(ctx context.Context, service id.Service) error {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return err
	}
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		a, err := lockService(ctx, tx, service)
		if err != nil {
			return err
		}
		if err := covers(ctx, a.grants()); err != nil {
			return err
		}
		if err := deleteService(ctx, tx, service); err != nil {
			return err
		}
		return s.recordService(ctx, tx, "service.deleted", a, "", map[string]any{"permissions": a.Permissions})
	})
	s.forgetOwn(err, kindService, service.UUID())
	return err
}

func (s *Service) changeService(
	ctx context.Context, service id.Service, ifMatch time.Time,
	edit func(*ServiceAccount) (action, reason string, meta map[string]any, err error),
) (ServiceAccount, error) {
	if err := access.RequirePlatform(ctx, access.OperatorsWrite); err != nil {
		return ServiceAccount{}, err
	}
	var a ServiceAccount
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		before, err := lockService(ctx, tx, service)
		if err != nil {
			return err
		}
		if !ifMatch.IsZero() && !before.UpdatedAt.Equal(ifMatch) {
			return fault.StaleVersion()
		}
		a = before
		action, reason, meta, err := edit(&a)
		if err != nil || action == "" {
			return err
		}
		if err := covers(ctx, before.grants(), a.grants()); err != nil {
			return err
		}
		if a, err = updateService(ctx, tx, a); err != nil {
			return err
		}
		return s.recordService(ctx, tx, action, a, reason, meta)
	})
	s.forgetOwn(err, kindService, service.UUID())
	return a, err
}

// recordService files the record under the platform also for a confined account:
// who may act on a tenant is the platform's own affair.
func (s *Service) recordService(ctx context.Context, tx pg.Tx, action string, a ServiceAccount, reason string, meta map[string]any) error {
	if err := changefeed.Note(ctx, tx, changefeed.Change{Kind: kindService, ID: a.ID.UUID()}); err != nil {
		return err
	}
	if meta == nil {
		meta = map[string]any{}
	}
	if !a.TenantID.IsZero() {
		meta["tenant_id"] = a.TenantID
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: action, Description: reason, Metadata: meta,
		Target: audit.Target{Type: "service", ID: a.ID.String(), Name: a.Name},
	})
}

// sorted returns the permissions once each, in order.
func sorted(list []access.Permission) []access.Permission { return access.NewSet(list...).List() }
