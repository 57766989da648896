//go:build unix

package apikey_test

import (
	"net/url"
	"testing"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// What is known costs the database nothing, what is not one round trip: counted on the wire.
func TestCheck_roundTrips(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	wire := pgtest.NewWire(t, address.Host)
	address.Host = wire.Address()
	db, err := pg.Open(t.Context(), pg.Config{URL: address.String(), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := newWorldIn(t, db)
	var tokens []string
	for range 4 {
		_, token := w.create()
		tokens = append(tokens, token)
	}
	ask := func(p apikey.VerifyParams, want apikey.Outcome) int64 {
		t.Helper()
		before := wire.RoundTrips()
		if o := w.check(p).Outcome; o != want {
			t.Fatalf("%s, want %s", o, want)
		}
		return wire.RoundTrips() - before
	}
	// The connection learns the two statements.
	ask(apikey.VerifyParams{Token: tokens[0], Project: w.project}, apikey.Valid)
	for name, tc := range map[string]struct {
		p    apikey.VerifyParams
		want apikey.Outcome
		cold int64
	}{
		"a key":             {apikey.VerifyParams{Token: tokens[1], Product: w.product, Scopes: []string{"renders:create"}}, apikey.Valid, 1},
		"an unknown key":    {apikey.VerifyParams{Token: randomToken()}, apikey.NotFound, 1},
		"not even a token":  {apikey.VerifyParams{Token: tokens[2] + "x"}, apikey.Malformed, 0},
		"a project":         {apikey.VerifyParams{Token: tokens[0], Project: w.newProject(w.tenant)}, apikey.Valid, 1},
		"a key and project": {apikey.VerifyParams{Token: tokens[3], Project: w.newProject(w.tenant)}, apikey.Valid, 2},
	} {
		if n := ask(tc.p, tc.want); n != tc.cold {
			t.Errorf("%s: %d round trips, want %d", name, n, tc.cold)
		}
		for range 3 {
			if n := ask(tc.p, tc.want); n != 0 {
				t.Errorf("%s, again: %d round trips", name, n)
			}
		}
	}
}
