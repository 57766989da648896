package apikey

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// importing is an item on its way.
type importing struct {
	at     int // its place in the call
	key    Key
	hashes []string // in which its token may be stored, the first of which it is to be
	stated HashAlgorithm
	told   int32     // the mark of its end
	is     id.APIKey // the tenant's key that the token is already
}

// slow reports whether the key can't be looked up by its token.
func (x *importing) slow() bool { return x.stated.Slow() }

// Import makes keys of tokens that were issued elsewhere, and says of each item, in
// their order, what became of it: one that is refused spoils no other. All that are
// accepted are made in one transaction, with an audit record and an event each.
//
// A token is one key in the whole installation. Who sends a token, or the hash of
// one, that is a key already is told so, and nothing of whose it is.
func (s *Service) Import(ctx context.Context, tenant id.Tenant, items []ImportItem) ([]ImportResult, error) {
	if err := access.Require(ctx, access.APIKeysWrite, tenant); err != nil {
		return nil, err
	}
	var f fault.Fields
	f.Check(len(items) > 0, "items", "too_few", "There is nothing to import.")
	f.Check(len(items) <= MaxImport, "items", "too_many", "One call imports at most %d keys.", MaxImport)
	if err := f.Err(); err != nil {
		return nil, err
	}
	checked := make([]ImportResult, len(items))
	batch := s.prepare(ctx, tenant, items, checked)
	var results []ImportResult
	var begins []form
	err := s.db.InTenant(ctx, tenant, func(tx pg.Tx) error {
		results, begins = slices.Clone(checked), nil // the transaction may be repeated
		if err := checkWritable(ctx, tx, tenant); err != nil {
			return err
		}
		made, err := s.admit(ctx, tx, tenant, slices.Clone(batch), results)
		if err != nil || len(made) == 0 {
			return err
		}
		for _, x := range made {
			results[x.at].Key = x.key.ID
		}
		begins = formsOf(made)
		return recordImport(ctx, tx, tenant, made, begins)
	})
	if err != nil {
		return nil, err
	}
	if s.verifier != nil && len(begins) > 0 {
		s.verifier.heardOf(begins)
	}
	return results, nil
}

// prepare checks each item by itself and against the others of the call.
func (s *Service) prepare(ctx context.Context, tenant id.Tenant, items []ImportItem, results []ImportResult) []*importing {
	who, _ := access.From(ctx)
	now := s.now()
	names, hashes := map[string]bool{}, map[string]bool{}
	var batch []*importing
	for i, item := range items {
		item.TenantID = tenant
		stored, err := item.prepare(s.ring, who.Platform(), now)
		if err == nil {
			var f fault.Fields
			f.Check(!names[item.Name], "name", "duplicate", "An earlier item of this call has the name.")
			f.Check(!hashes[stored[0]], "token", "duplicate", "An earlier item of this call has the same token.")
			names[item.Name], hashes[stored[0]] = true, true
			err = f.Err()
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		created := now
		if item.CreatedAt != nil {
			created = *item.CreatedAt
		}
		batch = append(batch, &importing{at: i, hashes: stored, stated: item.Hash.Algorithm, key: Key{
			ID: id.New[id.APIKey](), TenantID: tenant, ProjectID: item.ProjectID, Product: item.Product, Environment: item.Environment,
			Name: item.Name, Description: item.Description, Prefix: item.Prefix, Last4: item.Last4, Scopes: item.Scopes,
			AllowedIPs: item.AllowedIPs, RateLimitRPM: item.RateLimitRPM, RateLimits: item.RateLimits, ExpiresAt: item.ExpiresAt,
			Metadata: item.Metadata, CreatedBy: actor(ctx), CreatedAt: created, LastUsedAt: item.LastUsedAt, UsageCount: item.UsageCount,
		}})
	}
	return batch
}

// admit makes those of the batch that the database has nothing against, and notes
// why it refuses the others.
func (s *Service) admit(ctx context.Context, tx pg.Tx, tenant id.Tenant, batch []*importing, results []ImportResult) ([]*importing, error) {
	_, rules, err := bindingRules(ctx, tx, tenant)
	if err != nil {
		return nil, err
	}
	now := s.now()
	batch = keep(batch, results, func(x *importing) error { return rules.bind(&x.key, now) })
	for _, check := range []func(context.Context, pg.Tx, id.Tenant, []*importing) (func(*importing) error, error){
		importProjects, importScopes, importTokens, importCrowds,
	} {
		refuse, err := check(ctx, tx, tenant, batch)
		if err != nil {
			return nil, err
		}
		batch = keep(batch, results, refuse)
	}
	if len(batch) == 0 {
		return nil, nil
	}
	room, err := rules.room(ctx, tx, tenant, now)
	if err != nil {
		return nil, err
	}
	batch = keep(batch, results, func(*importing) error {
		if room--; room < 0 {
			return rules.errFull()
		}
		return nil
	})
	for _, x := range batch {
		x.told = s.notices.mark(x.key.ExpiresAt, now)
	}
	inserted, err := insertKeys(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	if len(inserted) == len(batch) {
		return batch, nil
	}
	// What was not made is somebody's by now: the token, or the name.
	left := slices.DeleteFunc(slices.Clone(batch), func(x *importing) bool { return inserted[x.key.ID] })
	brought, err := importTokens(ctx, tx, tenant, left)
	if err != nil {
		return nil, err
	}
	keep(left, results, func(x *importing) error {
		return cmp.Or(brought(x), error(constraints["api_keys_tenant_id_name_key"]))
	})
	return slices.DeleteFunc(batch, func(x *importing) bool { return !inserted[x.key.ID] }), nil
}

var errTokenTaken = fault.Conflict("token_taken", "This token is another key already.")

// keep leaves out what is refused, noting why.
func keep(batch []*importing, results []ImportResult, refuse func(*importing) error) []*importing {
	return slices.DeleteFunc(batch, func(x *importing) bool {
		err := refuse(x)
		if err != nil {
			results[x.at] = ImportResult{Key: x.is, Err: err}
		}
		return err != nil
	})
}

// importProjects reads the projects that the batch names.
func importProjects(ctx context.Context, tx pg.Tx, tenant id.Tenant, batch []*importing) (func(*importing) error, error) {
	var named []id.Project
	for _, x := range batch {
		if !x.key.ProjectID.IsZero() {
			named = append(named, x.key.ProjectID)
		}
	}
	archived := map[id.Project]bool{}
	if len(named) > 0 {
		var err error
		if archived, err = selectProjects(ctx, tx, tenant, named); err != nil {
			return nil, err
		}
	}
	return func(x *importing) error {
		switch is, ok := archived[x.key.ProjectID]; {
		case x.key.ProjectID.IsZero():
			return nil
		case !ok:
			return constraints["api_keys_project_fkey"]
		case is:
			return errProjectArchived
		default:
			return nil
		}
	}, nil
}

// importScopes reads what the products that the batch names declare.
func importScopes(ctx context.Context, tx pg.Tx, _ id.Tenant, batch []*importing) (func(*importing) error, error) {
	var named []string
	for _, x := range batch {
		if x.key.Product != "" {
			named = append(named, x.key.Product)
		}
	}
	declared := map[string][]string{}
	if len(named) > 0 {
		var err error
		if declared, err = selectDeclared(ctx, tx, named); err != nil {
			return nil, err
		}
	}
	return func(x *importing) error {
		if x.key.Product == "" {
			return nil
		}
		scopes, ok := declared[x.key.Product]
		if !ok {
			return constraints["api_keys_product_fkey"]
		}
		return undeclared(x.key.Product, scopes, x.key.Scopes)
	}, nil
}

// importTokens reads which of the tokens are keys already, whosever and under
// whichever pepper. Of another tenant's key nothing is told.
func importTokens(ctx context.Context, tx pg.Tx, tenant id.Tenant, batch []*importing) (func(*importing) error, error) {
	var all []string
	for _, x := range batch {
		all = append(all, x.hashes...)
	}
	known, err := selectKnown(ctx, tx, all)
	return func(x *importing) error {
		for _, h := range x.hashes {
			switch k, ok := known[h]; {
			case ok && k.TenantID == tenant:
				x.is = k.ID
				return fault.Conflict("already_imported", "This token is the tenant's key %s already.", k.ID)
			case ok:
				return errTokenTaken
			}
		}
		return nil
	}, err
}

// importCrowds counts the keys of the installation that begin like those of the
// batch and can't be looked up by their tokens. Two imports take turns at it.
func importCrowds(ctx context.Context, tx pg.Tx, _ id.Tenant, batch []*importing) (func(*importing) error, error) {
	var begins []string
	for _, x := range batch {
		if x.slow() {
			begins = append(begins, x.key.Prefix)
		}
	}
	crowd := map[string]int{}
	if len(begins) > 0 {
		var err error
		if crowd, err = countSlowKeys(ctx, tx, begins); err != nil {
			return nil, err
		}
	}
	return func(x *importing) error {
		if !x.slow() {
			return nil
		}
		if crowd[x.key.Prefix] >= MaxSlowKeys {
			return fault.InvalidField("prefix", "prefix_crowded",
				"%d keys with such hashes begin with %s already: send more of the token's beginning.", MaxSlowKeys, x.key.Prefix)
		}
		crowd[x.key.Prefix]++
		return nil
	}, nil
}

// formsOf returns how the tokens of the batch begin, each form once.
func formsOf(batch []*importing) []form {
	var out []form
	seen := map[form]bool{}
	for _, x := range batch {
		f := form{x.key.Prefix, x.slow()}
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// recordImport writes the audit record and the event of each key, and tells the
// replicas of all of them at once.
func recordImport(ctx context.Context, tx pg.Tx, tenant id.Tenant, made []*importing, begins []form) error {
	events := make([]audit.Event, len(made))
	for i, x := range made {
		k := x.key
		metadata := map[string]any{
			"environment": k.Environment, "scopes": k.Scopes, "product": k.Product, "prefix": k.Prefix, "last4": k.Last4,
			"expires_at": k.ExpiresAt, "imported_as": "token",
		}
		if x.stated != "" {
			metadata["imported_as"] = x.stated
		}
		events[i] = audit.Event{
			Action: "api_key.imported", TenantID: k.TenantID, ProjectID: k.ProjectID,
			Target: audit.Target{Type: "api_key", ID: k.ID.String(), Name: k.Name}, Metadata: metadata,
		}
	}
	if err := audit.RecordAll(ctx, tx, events); err != nil {
		return fmt.Errorf("record an import: %w", err)
	}
	return changefeed.Note(ctx, tx, changefeed.Change{Kind: importKind, TenantID: tenant, ID: encodeForms(begins)})
}
