package apikey_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
)

// chain rotates a key some times and returns all generations, the newest first.
func (w *world) chain(k apikey.Key, rotations int) []id.APIKey {
	w.t.Helper()
	ids := []id.APIKey{k.ID}
	for range rotations {
		next, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: ids[0]})
		if err != nil {
			w.t.Fatal(err)
		}
		ids = slices.Insert(ids, 0, next.ID)
	}
	return ids
}

func (w *world) generations(key id.APIKey, limit int) (ids []id.APIKey, numbers []int) {
	w.t.Helper()
	for r := (page.Request{Limit: limit}); ; {
		p, err := w.keys.Generations(w.ctx(), w.tenant, key, r)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, k := range p.Data {
			ids, numbers = append(ids, k.ID), append(numbers, k.Generation)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			return ids, numbers
		}
	}
}

// A chain is the same from each of its keys and in pages of any size, and ends
// where it ends: other keys, rotated too, are none of it.
func TestGenerations(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	k, _ := w.create()
	other, _ := w.create()
	want := w.chain(k, 4)
	w.chain(other, 2)
	alone, _ := w.create()
	for _, limit := range []int{1, 2, 5, 50} {
		for _, key := range want {
			got, numbers := w.generations(key, limit)
			if !slices.Equal(got, want) || !slices.Equal(numbers, []int{5, 4, 3, 2, 1}) {
				t.Errorf("from %s, by %d: %v %v, want %v", key, limit, got, numbers, want)
			}
		}
	}
	if got, numbers := w.generations(alone.ID, 50); !slices.Equal(got, []id.APIKey{alone.ID}) || !slices.Equal(numbers, []int{1}) {
		t.Errorf("never rotated: %v %v", got, numbers)
	}
	// One that was brought is the first generation, too.
	brought := w.mustBring(item(foreignToken()))[0]
	ids := w.chain(apikey.Key{ID: brought}, 1)
	if got, numbers := w.generations(brought, 50); !slices.Equal(got, ids) || !slices.Equal(numbers, []int{2, 1}) {
		t.Errorf("brought: %v %v, want %v", got, numbers, ids)
	}
	// A revoked generation stays one.
	if _, err := w.keys.Revoke(w.ctx(), w.tenant, want[2], ""); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.generations(want[0], 50); !slices.Equal(got, want) {
		t.Errorf("with a revoked one: %v, want %v", got, want)
	}
}

func TestGenerations_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := w.create()
	stranger := w.newTenant(id.Tenant{})
	own := access.With(t.Context(), access.Principal{Type: access.APIKey, ID: "key_x", Tenant: stranger, Permissions: access.NewSet(access.All()...)})
	_, err := w.keys.Generations(own, stranger, k.ID, page.Request{})
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Generations(w.ctx(), w.tenant, id.New[id.APIKey](), page.Request{})
	wantCode(t, err, "api_key_not_found")
	_, err = w.keys.Generations(w.ctx(), w.tenant, k.ID, page.Request{Limit: -1})
	wantField(t, err, "limit", "out_of_range")
	_, err = w.keys.Generations(w.ctx(), w.tenant, k.ID, page.Request{Cursor: page.Encode("api_keys", k.ID)})
	wantCode(t, err, "cursor_malformed")
}

// Whoever rotates at the same time, the chain has no two keys of a generation.
func TestGenerations_concurrently(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, _ := w.create()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				p, err := w.keys.Generations(w.ctx(), w.tenant, k.ID, page.Request{Limit: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := w.keys.Rotate(w.ctx(), apikey.RotateParams{TenantID: w.tenant, ID: p.Data[0].ID}); err != nil {
					wantCode(t, err, "api_key_rotated")
				}
			}
		})
	}
	wg.Wait()
	_, numbers := w.generations(k.ID, 50)
	for i, n := range numbers {
		if n != len(numbers)-i {
			t.Fatalf("%v", numbers)
		}
	}
	if len(numbers) < 6 { // each of a goroutine's turns adds one, or lost to one that did
		t.Errorf("%d generations", len(numbers))
	}
}
