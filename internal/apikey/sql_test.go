package apikey

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// TestLists_queries runs every list that a filter can ask for, each condition
// alone and all of them together.
func TestLists_queries(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	now := time.Now()
	all := Filter{
		ProjectID: id.New[id.Project](), Product: "p", Environment: Live, State: Active, Prefix: "ll_live_abcd", Last4: "abcd", CreatedBy: "user:x",
		ExpiringBefore: &now,
	}
	filters := map[string]Filter{
		"none": {}, "project": {ProjectID: all.ProjectID}, "product": {Product: "p"}, "environment": {Environment: Test}, "prefix": {Prefix: "ll_"},
		"last4": {Last4: "abcd"}, "created by": {CreatedBy: "x"}, "ending": {ExpiringBefore: &now}, "all": all,
	}
	for _, s := range States() {
		filters[string(s)] = Filter{State: s}
		filters[string(s)+", ending"] = Filter{State: s, ExpiringBefore: &now}
	}
	for name, f := range filters {
		for _, after := range []id.APIKey{{}, id.New[id.APIKey]()} {
			f.TenantID = id.New[id.Tenant]()
			err := db.ReadOperator(t.Context(), func(tx pg.Tx) error {
				if _, err := listKeys(t.Context(), tx, f, after, now); err != nil {
					return err
				}
				if _, err := searchKeys(t.Context(), tx, f, id.Tenant{}, after, now); err != nil {
					return err
				}
				_, err := searchKeys(t.Context(), tx, f, f.TenantID, after, now)
				return err
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// manyKeys fills the table: 200 tenants, one of them with children, and 60,000
// keys of all ages.
const manyKeys = `
INSERT INTO tenants (id, slug, name, status)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'many-' || n, 'Many', 'active' FROM generate_series(1000, 1199) n;
INSERT INTO tenants (id, slug, name, status, parent_id, ancestors)
SELECT lpad(to_hex(n + 1000), 32, '0')::uuid, 'child-' || n, 'Child', 'active', lpad(to_hex(1000), 32, '0')::uuid, ARRAY[lpad(to_hex(1000), 32, '0')::uuid]
FROM generate_series(1000, 1004) n;
INSERT INTO api_keys (id, tenant_id, name, prefix, last4, hash, created_by, expires_at)
SELECT gen_random_uuid(), lpad(to_hex(1000 + n % 200), 32, '0')::uuid, 'key ' || n, 'll_live_' || substr(md5(n::text), 1, 4), substr(md5(n::text), 5, 4),
	'h' || n, 'user:' || n % 3000, NOW() + n * INTERVAL '1 minute'
FROM generate_series(1, 60000) n`

// Searches among many keys read few of them: each goes by the index that finds
// the fewest, under row-level security.
func TestSearch_plans(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	urls := pgtest.CloneURLs(t)
	db, err := pg.Open(ctx, pg.Config{URL: urls.App})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owner, err := pg.Open(ctx, pg.Config{URL: urls.Owner})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if err := owner.AsOperator(ctx, func(tx pg.Tx) error {
		for sql := range strings.SplitSeq(manyKeys+";\nANALYZE tenants, api_keys", ";\n") {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	testEndingPlan(t, db)
	now, root := time.Now(), id.Tenant{14: 1000 >> 8, 15: 1000 & 0xff}
	request := page.Request{Limit: 50}
	for name, tc := range map[string]struct {
		f     Filter
		root  id.Tenant
		index string // that is read for keys
		most  int    // rows of keys that are read
	}{
		"newest":           {Filter{}, id.Tenant{}, "api_keys_pkey", 51},
		"a whole prefix":   {Filter{Prefix: "ll_live_c4ca"}, id.Tenant{}, "api_keys_prefix_pattern_idx", 20},
		"half a prefix":    {Filter{Prefix: "ll_live_c4"}, id.Tenant{}, "api_keys_prefix_pattern_idx", 400},
		"any prefix":       {Filter{Prefix: "ll_live_"}, id.Tenant{}, "api_keys_pkey", 51},
		"last4":            {Filter{Last4: "4238"}, id.Tenant{}, "api_keys_last4_idx", 20},
		"ending":           {Filter{ExpiringBefore: new(now.Add(time.Hour))}, id.Tenant{}, "api_keys_expires_idx", 100},
		"active, ending":   {Filter{State: Active, ExpiringBefore: new(now.Add(time.Hour))}, id.Tenant{}, "api_keys_expires_idx", 100},
		"by somebody":      {Filter{CreatedBy: "user:7"}, id.Tenant{}, "api_keys_created_by_idx", 60},
		"of a subtree":     {Filter{}, root, "api_keys_", 400},
		"and its prefix":   {Filter{Prefix: "ll_live_c4ca"}, root, "api_keys_", 400},
		"and what is last": {Filter{Last4: "4238"}, root, "api_keys_", 400},
	} {
		tc.f.Page = request
		sql, args := searchQuery(tc.f, tc.root, id.APIKey{}, now)
		var plans []struct{ Plan planNode }
		err := db.ReadOperator(ctx, func(tx pg.Tx) error {
			return tx.QueryRow(ctx, "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, args).Scan(&plans)
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		read, indexes := plans[0].Plan.keysRead()
		if read > tc.most || !strings.Contains(indexes, tc.index) {
			t.Errorf("%s: %d keys were read, by%s; want at most %d, by %s", name, read, indexes, tc.most, tc.index)
		}
	}
}

// What is told of the ends of keys is found without looking at those that are not
// due: neither at what was told nor at what ends later.
func testEndingPlan(t *testing.T, db *pg.DB) {
	t.Helper()
	n := newNotices(DefaultNotices())
	now := time.Now()
	if err := db.AsOperator(t.Context(), func(tx pg.Tx) error {
		// 43,200 keys end within 30 days, and all but 5 are told of; 10 of those of which nothing was told are due, too.
		if _, err := tx.Exec(t.Context(), `UPDATE api_keys SET expiry_told = CASE WHEN expires_at < $1 THEN 86400 WHEN expires_at < $2 THEN 604800 ELSE 2592000 END
			WHERE expires_at < $3`, now.Add(24*time.Hour), now.Add(7*24*time.Hour-5*time.Minute), now.Add(30*24*time.Hour-10*time.Minute)); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `ANALYZE api_keys`); err != nil {
			return err
		}
		var plans []struct{ Plan planNode }
		if err := tx.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+lockEndingSQL, pg.Named{
			"notices": []int32(n), "until": n.until(now), "limit": noticeBatch,
		}).Scan(&plans); err != nil {
			return err
		}
		if read, indexes := plans[0].Plan.keysRead(); read > 40 || !strings.Contains(indexes, "api_keys_expiry_told_idx") || plans[0].Plan.Rows < 10 {
			t.Errorf("%d keys were read for %v that are due, by%s", read, plans[0].Plan.Rows, indexes)
		}
		return errUndone
	}); !errors.Is(err, errUndone) {
		t.Fatal(err)
	}
}

// errUndone rolls a test's changes back.
var errUndone = errors.New("undone")

// planNode is what EXPLAIN says of a step.
type planNode struct {
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Rows     float64    `json:"Actual Rows"`
	Removed  float64    `json:"Rows Removed by Filter"`
	Loops    float64    `json:"Actual Loops"`
	Plans    []planNode `json:"Plans"`
}

// keysRead counts the rows of api_keys that a plan looked at, and names the indexes that it used.
func (n planNode) keysRead() (read int, indexes string) {
	if n.Relation == "api_keys" {
		read = int((n.Rows + n.Removed) * n.Loops)
	}
	if n.Index != "" {
		indexes = " " + n.Index
	}
	for _, p := range n.Plans {
		r, i := p.keysRead()
		read, indexes = read+r, indexes+i
	}
	return read, indexes
}
