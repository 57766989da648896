package client_test

import (
	"encoding/json"
	"testing"

	"github.com/landlordhq/landlord/client"
)

func TestPatch(t *testing.T) {
	t.Parallel()
	type doc struct {
		A client.Patch[string] `json:"a,omitzero"`
		B client.Patch[string] `json:"b,omitzero"`
		C client.Patch[string] `json:"c,omitzero"`
	}
	b, err := json.Marshal(doc{B: client.Null[string](), C: client.Set("x")})
	if err != nil || string(b) != `{"b":null,"c":"x"}` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestNew_refusesBadURL(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "landlord.example.com", "ftp://x", "http://"} {
		if _, err := client.New(u, ""); err == nil {
			t.Errorf("%q was taken", u)
		}
	}
}
