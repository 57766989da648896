package app_test

import (
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// Replicas that start after a key has ended tell of it by themselves, and once.
func TestKeyNotices(t *testing.T) {
	t.Parallel()
	urls, keys := pgtest.CloneURLs(t), apptest.NewKeys(t)
	w := &world{World: apptest.On(t, urls.App, keys)}
	w.Tenant, _ = w.newTenant(t)
	k := w.must(t, "POST", "/v1/tenants/"+w.Tenant+"/api-keys", map[string]any{"name": "ends", "expires_at": time.Now().Add(time.Hour)})
	// As if the hour had passed while nobody looked.
	if err := w.DB.AsOperator(t.Context(), func(tx pg.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE api_keys SET expires_at = NOW() WHERE name = 'ends'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		apptest.On(t, urls.App, keys)
	}
	told := func() []any {
		return w.must(t, "GET", "/v1/tenants/"+w.Tenant+"/events?type=api_key.expired", nil)["data"].([]any)
	}
	eventually(t, 30*time.Second, "the key was told of", func() bool { return len(told()) > 0 })
	if list := told(); len(list) != 1 || list[0].(map[string]any)["payload"].(map[string]any)["api_key"].(map[string]any)["id"] != k["id"] {
		t.Errorf("told: %v", list)
	}
}
