package tenant

import (
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// TestList_queries prepares every list that a filter can ask for, each condition
// alone and all of them together.
func TestList_queries(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	one := id.New[id.Tenant]()
	all := Filter{
		Status: Active, EffectiveStatus: Active, Kind: KindCustomer, Plan: "p", Parent: one, ExternalID: "x", ERPCustomerID: "x", StripeCustomerID: "x",
		MetadataKey: "k", MetadataValue: new("v"), Query: "q",
	}
	for name, f := range map[string]Filter{
		"none": {}, "deleted": {Deleted: true}, "status": {Status: Active}, "live": {EffectiveStatus: Trial}, "strict": {EffectiveStatus: Frozen},
		"kind": {Kind: KindDemo}, "plan": {Plan: "p"}, "parent": {Parent: one}, "external": {ExternalID: "x"}, "erp": {ERPCustomerID: "x"},
		"stripe": {StripeCustomerID: "x"}, "key": {MetadataKey: "k"}, "value": {MetadataKey: "k", MetadataValue: new("1")}, "query": {Query: "q"}, "all": all,
	} {
		for _, root := range []id.Tenant{{}, one} {
			for _, paged := range []bool{false, true} {
				err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
					_, err := listTenants(t.Context(), tx, f, root, one, paged, 3)
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// TestPlans holds that what must be quick goes by an index under row-level
// security, which lets only leakproof operators near one.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	one := id.New[id.Tenant]()
	top := Tenant{ID: one}
	list := func(f Filter, root id.Tenant) (string, pg.Named) { return listQuery(f, root, one, true, 50) }
	first, firstArgs := list(Filter{}, id.Tenant{})
	parent, parentArgs := list(Filter{Parent: one}, id.Tenant{})
	external, externalArgs := list(Filter{ExternalID: "x"}, id.Tenant{})
	own, ownArgs := list(Filter{}, one)
	rare, rareArgs := list(Filter{EffectiveStatus: Trial}, id.Tenant{})
	kind, kindArgs := list(Filter{Kind: KindReseller}, id.Tenant{})
	subtree := pg.Named{"after": pathBytes(top.path()), "upto": pathEnd(top), "deepest": 5, "limit": 50}
	move := pg.Named{"tenant": one, "parent": one, "above": uuids(nil), "depth": 0, "path": pathBytes(top.path()), "upto": pathEnd(top)}
	due := pg.Named{"now": "2026-03-01", "limit": 50}
	for name, tc := range map[string]struct {
		sql        string
		args       pg.Named
		index, key string
	}{
		"list":      {first, firstArgs, "tenants_pkey", "(id < "},
		"parent":    {parent, parentArgs, "tenants_parent_idx", "(parent_id = "},
		"external":  {external, externalArgs, "tenants_external_id_key", "(external_id = "},
		"status":    {rare, rareArgs, "tenants_status_trial_idx", "(id < "},
		"kind":      {kind, kindArgs, "tenants_kind_reseller_idx", "(id < "},
		"own":       {own, ownArgs, "tenants_path_idx", "(path >= "},
		"subtree":   {subtreeNextSQL, subtree, "tenants_path_idx", "(path > "},
		"move":      {moveSubtreeSQL, move, "tenants_path_idx", "(path >= "},
		"trials":    {dueTrialsSQL, due, "tenants_trial_ends_idx", "(trial_ends_at <= "},
		"contracts": {dueContractsSQL, due, "tenants_contract_end_idx", "(contract_end < "},
		"archives":  {dueArchivesSQL, due, "tenants_archive_due_idx", "(archive_due_at <= "},
	} {
		var lines []string
		err := db.AsOperator(t.Context(), func(tx pg.Tx) (err error) {
			// The table of a test is small: what matters is which index can be used.
			setting := "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
			if name == "own" || name == "external" { // what is found is sorted; else the order's own index would do
				setting = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"
			}
			if _, err := tx.Exec(t.Context(), setting); err != nil {
				return err
			}
			lines, err = pg.Scalars[string](t.Context(), tx, "EXPLAIN "+tc.sql, tc.args)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		used := false
		for i, line := range lines[:len(lines)-1] {
			used = used || strings.Contains(line, " "+tc.index+" ") && strings.Contains(lines[i+1], "Index Cond: ") && strings.Contains(lines[i+1], tc.key)
		}
		if !used {
			t.Errorf("%s does not look up %s:\n%s", name, tc.index, strings.Join(lines, "\n"))
		}
	}
}
