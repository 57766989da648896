package secret_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/landlordhq/landlord/internal/secret"
)

// Hashes that other programs made: argon2's reference implementation (its test.c) and jBCrypt.
var foreignHashes = []struct{ name, token, hash string }{
	{"argon2id", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	{"argon2id on two lanes", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
	{"bcrypt 2a", "abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
	{"bcrypt 2b", "abc", "$2b$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
	{"bcrypt 2y", "abc", "$2y$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"},
}

func TestSlowHash_ofOthers(t *testing.T) {
	t.Parallel()
	for _, f := range foreignHashes {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h, err := secret.ParseSlowHash(f.hash)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Matches(f.token) {
				t.Error("its token does not match")
			}
			for _, other := range []string{"", f.token + "x", f.token[1:], strings.ToUpper(f.token)} {
				if h.Matches(other) {
					t.Errorf("%q matches", other)
				}
			}
			if want := 1 + strings.Count(f.hash, "p=2"); !secret.IsSlowHash(f.hash) || h.Lanes() != want {
				t.Errorf("IsSlowHash: %v; %d lanes", secret.IsSlowHash(f.hash), h.Lanes())
			}
		})
	}
	if secret.IsSlowHash(ring(t, "pepper v1 "+pepper1, "box k1 "+box1).Digest("x")) {
		t.Error("IsSlowHash takes our own form for one")
	}
}

// bcrypt reads 72 bytes: a longer token must not match whatever comes after them.
func TestSlowHash_longTokensMatchNoBcrypt(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("k", secret.MaxBcryptToken)
	made, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h, err := secret.ParseSlowHash(string(made))
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches(token) || h.Matches(token+"x") {
		t.Errorf("of %d bytes: %v, of one more: %v", len(token), h.Matches(token), h.Matches(token+"x"))
	}
}

func TestParseSlowHash_refuses(t *testing.T) {
	t.Parallel()
	argon := foreignHashes[0].hash
	crypt := foreignHashes[2].hash
	tests := map[string]struct {
		hash string
		want error
	}{
		"empty":             {"", secret.ErrHashMalformed},
		"a token":           {"sk_live_4eC39HqLyjWDarjtT1zdp7dc", secret.ErrHashMalformed},
		"argon2i":           {strings.Replace(argon, "argon2id", "argon2i", 1), secret.ErrHashMalformed},
		"an old version":    {strings.Replace(argon, "v=19", "v=16", 1), secret.ErrHashMalformed},
		"another order":     {strings.Replace(argon, "m=256,t=2", "t=2,m=256", 1), secret.ErrHashMalformed},
		"no passes":         {strings.Replace(argon, "t=2", "t=0", 1), secret.ErrHashMalformed},
		"too little memory": {strings.Replace(argon, "m=256", "m=7", 1), secret.ErrHashMalformed},
		"a short salt":      {strings.Replace(argon, "c29tZXNhbHQ", "c29t", 1), secret.ErrHashMalformed},
		"a short hash":      {argon[:len(argon)-24], secret.ErrHashMalformed},
		"padding":           {argon + "=", secret.ErrHashMalformed},
		"spare bits":        {argon[:len(argon)-1] + "5", secret.ErrHashMalformed},
		"another line":      {argon + "\n", secret.ErrHashMalformed},
		"a long text":       {argon + strings.Repeat("A", 256), secret.ErrHashMalformed},
		"much memory":       {strings.Replace(argon, "m=256", "m=65537", 1), secret.ErrHashCostly},
		"many passes":       {strings.Replace(argon, "m=256,t=2", "m=65536,t=5", 1), secret.ErrHashCostly},
		"more than fits":    {strings.Replace(argon, "m=256,t=2", "m=9999999999,t=9999999999", 1), secret.ErrHashCostly},
		"many lanes":        {strings.Replace(argon, "p=1", "p=5", 1), secret.ErrHashCostly},
		"bcrypt 2x":         {strings.Replace(crypt, "$2a", "$2x", 1), secret.ErrHashMalformed},
		"a cost of 3":       {strings.Replace(crypt, "$06", "$03", 1), secret.ErrHashMalformed},
		"a cost of 15":      {strings.Replace(crypt, "$06", "$15", 1), secret.ErrHashCostly},
		"a cut bcrypt":      {crypt[:len(crypt)-1], secret.ErrHashMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := secret.ParseSlowHash(tt.hash); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	for _, dear := range []string{
		strings.Replace(argon, "m=256,t=2,p=1", "m=65536,t=4,p=4", 1), strings.Replace(crypt, "$06", "$14", 1),
	} {
		if _, err := secret.ParseSlowHash(dear); err != nil {
			t.Errorf("%s, which is the most that is taken: %v", dear, err)
		}
	}
}

func TestDigestsHMAC(t *testing.T) {
	t.Parallel()
	word := base64.StdEncoding.EncodeToString([]byte("hunter22"))
	k := ring(t, "import old "+word, "pepper v2 "+pepper2, "import older "+box2, "pepper v1 "+pepper1, "box k1 "+box1)
	mac := func(key []byte, text []byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(text)
		return m.Sum(nil)
	}
	inner := mac([]byte("hunter22"), []byte("token"))
	pepper, _ := base64.StdEncoding.DecodeString(pepper2)
	want := "hmac-sha256:old$v2$" + base64.RawURLEncoding.EncodeToString(mac(pepper, inner))
	both := k.DigestsHMAC("old", [32]byte(inner))
	if len(both) != 2 || both[0] != want || !strings.HasPrefix(both[1], "hmac-sha256:old$v1$") {
		t.Errorf("got %s, want %s first", both, want)
	}
	all := k.ImportedDigests("token")
	if len(all) != 4 || all[0] != want {
		t.Errorf("ImportedDigests: %q", all)
	}
	if k.IsCurrent(want) {
		t.Error("a digest under an import key is written anew on its next use")
	}
	if !k.HasImportKey("older") || k.HasImportKey("v1") || k.HasImportKey("") {
		t.Error("HasImportKey is wrong")
	}
	if none := ring(t, "pepper v1 "+pepper1, "box k1 "+box1).ImportedDigests("token"); none != nil {
		t.Errorf("without import keys: %q", none)
	}
}

func TestParseSHA256(t *testing.T) {
	t.Parallel()
	want := sha256.Sum256([]byte("token"))
	for name, s := range map[string]string{
		"hex": hex.EncodeToString(want[:]), "upper hex": strings.ToUpper(hex.EncodeToString(want[:])),
		"base64": base64.StdEncoding.EncodeToString(want[:]), "raw url base64": base64.RawURLEncoding.EncodeToString(want[:]),
	} {
		if got, ok := secret.ParseSHA256(s); !ok || got != want {
			t.Errorf("%s: %x, %v", name, got, ok)
		}
	}
	for _, s := range []string{"", "x", hex.EncodeToString(want[:31]), hex.EncodeToString(want[:]) + "00", strings.Repeat("g", 64), base64.StdEncoding.EncodeToString(want[:30])} {
		if _, ok := secret.ParseSHA256(s); ok {
			t.Errorf("%q is taken", s)
		}
	}
}

// Nothing that is accepted costs more than is stated, and what is accepted is looked for among slow hashes.
func FuzzParseSlowHash(f *testing.F) {
	for _, h := range foreignHashes {
		f.Add(h.hash)
	}
	f.Add("$argon2id$v=19$m=65536,t=4,p=4$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := secret.ParseSlowHash(s)
		if err != nil {
			if !errors.Is(err, secret.ErrHashMalformed) && !errors.Is(err, secret.ErrHashCostly) {
				t.Fatal(err)
			}
			return
		}
		if !secret.IsSlowHash(s) || h.Lanes() < 1 || h.Lanes() > secret.MaxArgon2Lanes {
			t.Fatalf("%q: %+v", s, h)
		}
		// Cheap ones are checked, to see that the parameters which pass are ones that the library takes.
		if strings.Contains(s, "m=256,t=2,") || strings.Contains(s, "$04$") {
			if h.Matches("a token that nobody hashed") {
				t.Fatalf("%q matches anything", s)
			}
		}
	})
}
