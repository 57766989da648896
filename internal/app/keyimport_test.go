package app_test

import (
	"crypto/rand"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/apptest"
)

// Each item of an import is answered by itself, whatever is wrong with it, and in order.
func TestImport_items(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := "old_" + rand.Text()
	items := []struct {
		raw         string
		code, field string
	}{
		{`{"name": "a", "token": "` + token + `"}`, "", ""},
		{`{"name": "b", "token": 1}`, "wrong_type", "token"},
		{`{"name": "c", "tokn": "x"}`, "unknown_field", "tokn"},
		{`{"token": "x"}`, "required", ""},
		{`{"name": "e", "token": "x", "environment": "prod"}`, "not_one_of", "environment"},
		{`{"name": "f", "hash": {"algorithm": "md5", "value": "x"}}`, "not_one_of", "hash.algorithm"},
		{`{"name": "g", "hash": {"algorithm": "sha256", "value": "x"}}`, "hash_malformed", "hash.value"},
		{`{"name": "h", "token": "old_` + rand.Text() + `", "allowed_ips": ["here"]}`, "network_malformed", "allowed_ips[0]"},
		{`{"name": "i", "token": "old_` + rand.Text() + `", "expires_at": "tomorrow"}`, "wrong_format", "expires_at"},
		{`{"name": "j", "token": "old_` + rand.Text() + `", "project_id": "x"}`, "id_malformed", ""},
		{`{"name": "k", "token": "old_` + rand.Text() + `", "usage_count": -1}`, "out_of_range", "usage_count"},
		{`{"name": "l", "token": "old_` + rand.Text() + `", "rate_limits": [{"name": "key", "limit": 1, "window": 1}]}`, "name_reserved", "rate_limits[0].name"},
		{`"x"`, "wrong_type", ""},
		{`null`, "wrong_type", ""},
		{`[]`, "wrong_type", ""},
		{`{"name": "a", "token": "old_` + rand.Text() + `"}`, "duplicate", "name"},
		{`{"name": "z", "token": "old_` + rand.Text() + `"}`, "", ""},
	}
	raw := make([]json.RawMessage, len(items))
	for i, x := range items {
		raw[i] = json.RawMessage(x.raw)
	}
	r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/tenants/" + w.Tenant + "/api-keys/import", Token: w.Owner, Body: map[string]any{"items": raw}})
	var got struct {
		Imported, Refused int
		Results           []struct {
			ID    string
			Error *struct {
				Code   string
				Errors []struct{ Field, Code string }
			}
		}
	}
	if err := json.Unmarshal(r.Body, &got); err != nil || r.Status != 200 || got.Imported != 2 || got.Refused != len(items)-2 || len(got.Results) != len(items) {
		t.Fatalf("%d %v %s", r.Status, err, r.Body)
	}
	for i, x := range items {
		is := got.Results[i]
		switch {
		case x.code == "":
			if is.Error != nil || is.ID == "" {
				t.Errorf("item %d: %+v", i, is)
			}
		case is.Error == nil || is.ID != "" || len(is.Error.Errors) == 0:
			t.Errorf("item %d: %+v", i, is)
		default:
			if d := cmp.Diff([2]string{x.code, x.field}, [2]string{is.Error.Errors[0].Code, is.Error.Errors[0].Field}); d != "" {
				t.Errorf("item %d, %s: %s", i, x.raw, d)
			}
		}
	}

	// With an Idempotency-Key the same answer comes twice, and the keys are made once.
	again := map[string]any{"items": []any{map[string]any{"name": "once", "token": "old_" + rand.Text()}}}
	request := apptest.Request{
		Method: "POST", Path: "/v1/tenants/" + w.Tenant + "/api-keys/import", Token: w.Owner, Body: again,
		Header: map[string]string{"Idempotency-Key": "import-" + rand.Text()},
	}
	first, second := w.Do(t, request), w.Do(t, request)
	if first.Status != 200 || string(first.Body) != string(second.Body) || second.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s\n%d %s", first.Status, first.Body, second.Status, second.Body)
	}

	// The token is a credential of its tenant, without a permission.
	if r := w.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant, Token: token}); r.Status != 403 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if r := w.Do(t, apptest.Request{Method: "GET", Path: "/v1/tenants/" + w.Tenant, Token: token + "x"}); r.Status != 401 {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}
