package operator

import (
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// BenchmarkAuthenticate is what every request pays: from memory, by the database
// when this replica is not fresh, and for a JWT.
func BenchmarkAuthenticate(b *testing.B) {
	f := newFakeIssuer(b)
	fresh := true
	s := New(pgtest.New(b), newKeys(b), quiet(WithFresh(func() bool { return fresh }), WithOIDC(OIDC{Issuer: f.URL, Audience: audience}, nil))...)
	o, text := newPerson(b, s, access.Admin)
	jwt := f.token("k1", time.Now(), map[string]any{"sub": o.Email, "email": o.Email, "email_verified": true})
	for name, bc := range map[string]struct {
		bearer string
		fresh  bool
	}{
		"warm": {text, true}, "database": {text, false}, "jwt warm": {jwt, true}, "jwt database": {jwt, false}, "malformed": {text[:20], true},
	} {
		b.Run(name, func(b *testing.B) {
			fresh = bc.fresh
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Authenticate(b.Context(), bc.bearer)
			}
		})
	}
}
