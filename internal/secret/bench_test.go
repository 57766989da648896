package secret_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/secret"
)

func BenchmarkSum(b *testing.B) {
	k := ring(b, "pepper v1 "+pepper1, "box k1 "+box1)
	token := "acme_live_" + strings.Repeat("x", 49)
	b.ReportAllocs()
	for b.Loop() {
		k.Sum(token)
	}
}

func BenchmarkDigests_twoPeppers(b *testing.B) {
	k := ring(b, "pepper v2 "+pepper2, "pepper v1 "+pepper1, "box k1 "+box1)
	token := "acme_live_" + strings.Repeat("x", 49)
	b.ReportAllocs()
	for b.Loop() {
		k.Digests(token)
	}
}

func BenchmarkHasChecksum(b *testing.B) {
	token := "acme_live_" + strings.Repeat("x", 43)
	token += secret.Checksum(token)
	b.ReportAllocs()
	for b.Loop() {
		secret.HasChecksum(token)
	}
}

func BenchmarkNewToken(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := secret.NewToken(rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := ring(b, "pepper v1 "+pepper1, "box k1 "+box1)
	at := secret.Row{Table: "tenant_webhooks", Column: "secret", ID: "7"}
	sealed := k.Seal(secret.NewText("hunter2"), at)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(sealed, at); err != nil {
			b.Fatal(err)
		}
	}
}
