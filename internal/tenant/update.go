package tenant

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// Update changes what a merge patch names. A change of plan gives the tenant
// what the new plan says, in the same transaction. A patch that changes nothing
// writes nothing.
func (s *Service) Update(ctx context.Context, tenant id.Tenant, p UpdateParams) (Tenant, error) {
	if err := access.Require(ctx, access.TenantsWrite, tenant); err != nil {
		return Tenant{}, err
	}
	who, _ := access.From(ctx)
	var after Tenant
	err := s.db.AsOperator(ctx, func(tx pg.Tx) error {
		t, err := lockTenant(ctx, tx, tenant)
		if err != nil {
			return err
		}
		if err := visible(ctx, t); err != nil {
			return err
		}
		if !p.IfMatch.IsZero() && !p.IfMatch.Equal(t.UpdatedAt) {
			return fault.StaleVersion()
		}
		after = p.apply(t)
		changes := changesOf(t, after)
		if len(changes) == 0 {
			return nil
		}
		if err := mayUpdate(who, t, after, changes); err != nil {
			return err
		}
		if err := s.checkUpdate(after, changes); err != nil {
			return err
		}
		if after, err = updateTenant(ctx, tx, after); err != nil {
			return err
		}
		if _, ok := changes["plan"]; ok {
			if _, err := s.provision(ctx, tx, after.ID, after.Plan); err != nil {
				return err
			}
		}
		if err := audit.Record(ctx, tx, after.event("tenant.updated", "", map[string]any{"changes": changes})); err != nil {
			return err
		}
		return note(ctx, tx, after.ID)
	})
	if err != nil {
		return Tenant{}, err
	}
	return after, nil
}

// change is a field's value before and after.
type change struct {
	From any `json:"from"`
	To   any `json:"to"`
}

func (p UpdateParams) apply(t Tenant) Tenant {
	p.Name.Apply(&t.Name)
	p.Slug.Apply(&t.Slug)
	p.Kind.Apply(&t.Kind)
	p.Plan.Apply(&t.Plan)
	p.ExternalID.Apply(&t.ExternalID)
	p.ERPCustomerID.Apply(&t.ERPCustomerID)
	p.StripeCustomerID.Apply(&t.StripeCustomerID)
	p.ContactName.Apply(&t.ContactName)
	p.ContactEmail.Apply(&t.ContactEmail)
	p.ContactPhone.Apply(&t.ContactPhone)
	p.BillingEmail.Apply(&t.BillingEmail)
	p.AllowedOrigins.Apply(&t.AllowedOrigins)
	if m, ok := p.Metadata.Get(); ok {
		t.Metadata = mergeMetadata(t.Metadata, m)
	} else if p.Metadata.IsNull() {
		t.Metadata = map[string]any{}
	}
	p.TrialEndsAt.ApplyPtr(&t.TrialEndsAt)
	p.ContractStart.ApplyPtr(&t.ContractStart)
	p.ContractEnd.ApplyPtr(&t.ContractEnd)
	p.SalesOwner.Apply(&t.SalesOwner)
	t.normalize()
	return t
}

// fields are what an update can change, by their names on the wire, in the form
// that the audit log keeps.
func (t Tenant) fields() map[string]any {
	at := func(v *time.Time, layout string) any {
		if v == nil {
			return nil
		}
		return v.UTC().Format(layout)
	}
	return map[string]any{
		"name": t.Name, "slug": t.Slug, "kind": t.Kind, "plan": t.Plan,
		"external_id": t.ExternalID, "erp_customer_id": t.ERPCustomerID, "stripe_cust_id": t.StripeCustomerID,
		"contact_name": t.ContactName, "contact_email": t.ContactEmail, "contact_phone": t.ContactPhone, "billing_email": t.BillingEmail,
		"allowed_origins": t.AllowedOrigins, "metadata": t.Metadata,
		"trial_ends_at": at(t.TrialEndsAt, time.RFC3339Nano), "contract_start": at(t.ContractStart, time.DateOnly),
		"contract_end": at(t.ContractEnd, time.DateOnly), "sales_owner": t.SalesOwner,
	}
}

func changesOf(before, after Tenant) map[string]change {
	a, b := before.fields(), after.fields()
	out := map[string]change{}
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			out[k] = change{a[k], b[k]}
		}
	}
	return out
}

var (
	// contacts can be changed while the tenant is frozen: the bill must reach somebody.
	contacts = []string{"contact_name", "contact_email", "contact_phone", "billing_email"}
	// commercial is what the platform alone writes, in every status: it is how a
	// frozen tenant's contract is put in order.
	commercial = []string{"external_id", "erp_customer_id", "stripe_cust_id", "trial_ends_at", "contract_start", "contract_end", "sales_owner"}
)

// mayUpdate says whether a principal may make these changes to a tenant.
func mayUpdate(who access.Principal, t, after Tenant, changes map[string]change) error {
	var f fault.Fields
	gated := false // whether the status of the tenant has a say
	for field := range changes {
		switch {
		case slices.Contains(commercial, field) || field == "slug":
			f.Check(who.Platform(), field, "platform_only", "Only the platform changes %s.", field)
			gated = gated || field == "slug"
		case slices.Contains(contacts, field):
			gated = gated || t.Effective() != Frozen
		case field == "plan", field == "kind":
			f.Check(who.Tenant != t.ID, field, "platform_only", "A tenant's own credential can't change its %s.", field)
			gated = true
		default:
			gated = true
		}
	}
	if _, ok := changes["kind"]; ok {
		f.Check(t.ID != id.InternalTenant && (t.Kind == KindDemo) == (after.Kind == KindDemo), "kind", "immutable", "A demo tenant stays one, and no other becomes one; the internal tenant stays internal.")
		f.Check(who.Platform() || after.Kind != KindInternal && t.Kind != KindInternal, "kind", "platform_only", "Only the platform makes tenants internal.")
	}
	if err := f.Err(); err != nil {
		return err
	}
	if !gated {
		return nil
	}
	return access.CheckWritable(string(t.Effective()), who)
}

// checkUpdate complains about the fields that changed, and about no other: what
// an older rule let in does not stand in the way of today's change.
func (s *Service) checkUpdate(after Tenant, changes map[string]change) error {
	f := after.validate()
	if _, ok := changes["trial_ends_at"]; ok {
		inTrial := after.Status == Trial || after.StatusBeforeSuspension == Trial
		f.Check(inTrial, "trial_ends_at", "not_in_trial", "The tenant is not in trial.")
		f.Check(!inTrial || after.TrialEndsAt != nil, "trial_ends_at", "required", "A trial has an end.")
		f.Check(after.TrialEndsAt == nil || after.TrialEndsAt.After(s.now()), "trial_ends_at", "in_the_past", "The trial must end in the future: freeze the tenant to end it now.")
	}
	_, start := changes["contract_start"]
	f = slices.DeleteFunc(f, func(x fault.Field) bool {
		_, changed := changes[x.Field]
		return !changed && (!start || x.Field != "contract_end")
	})
	return f.Err()
}
