package secret_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/secret"
)

const (
	pepper1 = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyMTI="
	pepper2 = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
	box1    = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
	box2    = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
)

func ring(t testing.TB, lines ...string) *secret.Keyring {
	t.Helper()
	k, err := secret.Parse(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestNewToken_isTheNumberInBase62(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "raw")
		got, err := secret.NewToken(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		// big.Int's base 62 has the lower-case letters first.
		swapped := strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z':
				return r - 'a' + 'A'
			case 'A' <= r && r <= 'Z':
				return r - 'A' + 'a'
			}
			return r
		}, new(big.Int).SetBytes(raw).Text(62))
		want := strings.Repeat("0", secret.TokenLen-len(swapped)) + swapped
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if !secret.IsBase62(got) {
			t.Fatalf("%s has other characters", got)
		}
	})
}

func TestNewToken_failsWithoutRandomness(t *testing.T) {
	t.Parallel()
	if _, err := secret.NewToken(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Fatal("31 bytes were enough")
	}
}

func TestChecksum(t *testing.T) {
	// The CRC32 of "123456789" is 0xCBF43926 = 3421780262 by the standard's check value.
	if got, want := secret.Checksum("123456789"), "3jZRME"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	whole := "acme_live_" + strings.Repeat("x", 43)
	whole += secret.Checksum(whole)
	if !secret.HasChecksum(whole) {
		t.Error("the checksum isn't accepted")
	}
	for i := range len(whole) {
		changed := []byte(whole)
		changed[i] ^= 1
		if secret.HasChecksum(string(changed)) {
			t.Errorf("a change at %d isn't caught", i)
		}
	}
	if secret.HasChecksum(strings.Replace(whole, "live", "test", 1)) {
		t.Error("another environment isn't caught")
	}
	for _, s := range []string{"", "x", "00000"} {
		if secret.HasChecksum(s) {
			t.Errorf("%q is accepted", s)
		}
	}
	if n := testing.AllocsPerRun(100, func() { secret.HasChecksum(whole) }); n != 0 {
		t.Errorf("HasChecksum allocates %v times", n)
	}
}

func TestParse_refuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"empty":          {"", "no pepper"},
		"no box":         {"pepper v1 " + pepper1, "no box key"},
		"no pepper":      {"box k1 " + box1, "no pepper"},
		"unknown kind":   {"papper v1 " + pepper1, `line 1: a line begins with "pepper", "box" or "import"`},
		"missing field":  {"# x\n\npepper v1", "line 3: want"},
		"extra field":    {"pepper v1 x y", "line 1: want"},
		"bad name":       {"pepper V$1 " + pepper1, "line 1: pepper name must have"},
		"long name":      {"pepper aaaaaaaaaaaaaaaaa " + pepper1, "line 1: pepper name must have"},
		"not base64":     {"pepper v1 !!!", "line 1: pepper v1: not base64"},
		"short":          {"pepper v1 c2hvcnQ=", "line 1: pepper v1: the key has 5 bytes, want 32"},
		"not random":     {"pepper v1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)), "line 1: pepper v1: the key is not random"},
		"same name":      {"pepper v1 " + pepper1 + "\npepper v1 " + pepper2, "line 2: pepper v1 is listed twice"},
		"same key":       {"pepper v1 " + pepper1 + "\npepper v2 " + pepper1, "line 2: pepper v2: this key is already used above"},
		"same key kinds": {"pepper v1 " + pepper1 + "\nbox k1 " + pepper1, "line 2: box k1: this key is already used above"},
		"short import":   {"import old c2hvcnQ=", "line 1: import old: the key has 5 bytes, want 8 to 256"},
		"long import":    {"import old " + base64.StdEncoding.EncodeToString(make([]byte, 257)), "line 1: import old: the key has 257 bytes"},
		"import of ours": {"pepper v1 " + pepper1 + "\nimport old " + pepper1, "line 2: import old: this key is already used above"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := secret.Parse(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if strings.Contains(err.Error(), pepper1[:20]) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestLoad_modes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets")
	if err := secret.Create(path, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if err := secret.Create(path, rand.Reader); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("creating again: %v", err)
	}
	for mode, ok := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o440: true, 0o640: true, 0o644: false, 0o660: false, 0o604: false, 0o601: false,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.Load(path); (err == nil) != ok {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	_, err := secret.Load(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "new"), rand.Reader); err != nil {
		t.Errorf("making one: %v", err)
	}
}

func TestDigest_isTheHMACOfTheSHA256(t *testing.T) {
	t.Parallel()
	k := ring(t, "pepper v2 "+pepper2, "pepper v1 "+pepper1, "box k1 "+box1)
	want := func(pepper, version string) string {
		key, _ := base64.StdEncoding.DecodeString(pepper)
		inner := sha256.Sum256([]byte("token"))
		mac := hmac.New(sha256.New, key)
		mac.Write(inner[:])
		return "hmac-sha256$" + version + "$" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	both := []string{want(pepper2, "v2"), want(pepper1, "v1")}
	if got := k.Digest("token"); got != both[0] {
		t.Errorf("Digest: got %s, want %s", got, both[0])
	}
	if diff := cmp.Diff(both, k.Digests("token")); diff != "" {
		t.Errorf("Digests: %s", diff)
	}
	if diff := cmp.Diff(both, k.DigestsSHA256(sha256.Sum256([]byte("token")))); diff != "" {
		t.Errorf("DigestsSHA256: %s", diff)
	}
	sum := k.Sum("token")
	if !strings.HasSuffix(both[0], base64.RawURLEncoding.EncodeToString(sum[:])) {
		t.Errorf("Sum: got %x", sum)
	}
	for digest, current := range map[string]bool{
		both[0]: true, both[1]: false, "": false, "hmac-sha256$v2": false, "sha256$v2$x": false,
	} {
		if k.IsCurrent(digest) != current {
			t.Errorf("IsCurrent(%q) is %v", digest, !current)
		}
	}
}

func TestSum_concurrentAndWithoutAllocation(t *testing.T) {
	k := ring(t, "pepper v1 "+pepper1, "box k1 "+box1)
	token := "acme_live_" + strings.Repeat("x", 49)
	want := k.Sum(token)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				if k.Sum(token) != want {
					t.Error("the same token has two sums")
				}
				k.Sum(fmt.Sprint(i, j))
			}
		})
	}
	wg.Wait()
	if raceEnabled {
		return
	}
	if n := testing.AllocsPerRun(1000, func() { k.Sum(token) }); n >= 1 {
		t.Errorf("Sum allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { k.Digest(token) }); n > 1 {
		t.Errorf("Digest allocates %v times, want the string only", n)
	}
}

func TestBox(t *testing.T) {
	t.Parallel()
	old := ring(t, "pepper v1 "+pepper1, "box k1 "+box1)
	rotated := ring(t, "pepper v1 "+pepper1, "box k2 "+box2, "box k1 "+box1)
	at := secret.Row{Table: "tenant_webhooks", Column: "secret", ID: "7"}

	sealed := old.Seal(secret.NewText("hunter2"), at)
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("the plaintext shows")
	}
	if bytes.Equal(sealed, old.Seal(secret.NewText("hunter2"), at)) {
		t.Error("two boxes of the same text are equal")
	}
	for name, k := range map[string]*secret.Keyring{"same ring": old, "rotated ring": rotated} {
		got, err := k.Open(sealed, at)
		if err != nil || got.Reveal() != "hunter2" {
			t.Errorf("%s: %q, %v", name, got.Reveal(), err)
		}
	}
	if !old.IsSealedCurrent(sealed) || rotated.IsSealedCurrent(sealed) || rotated.IsSealedCurrent(nil) {
		t.Error("IsSealedCurrent is wrong")
	}
	if _, err := old.Open(rotated.Seal(secret.NewText("x"), at), at); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("an unknown key: %v", err)
	}
	for name, row := range map[string]secret.Row{
		"other id":     {Table: "tenant_webhooks", Column: "secret", ID: "8"},
		"other column": {Table: "tenant_webhooks", Column: "secret_", ID: "7"},
		"other table":  {Table: "tenant_idp_config", Column: "secret", ID: "7"},
		"shifted":      {Table: "tenant_webhookssecret", Column: "", ID: "7"},
	} {
		if _, err := old.Open(sealed, row); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x40
		if _, err := old.Open(changed, at); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := old.Open(sealed[:i], at); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if got, err := old.Open(old.Seal(secret.Text{}, at), at); err != nil || !got.IsZero() {
		t.Errorf("an empty secret: %v", err)
	}
}

func TestText_neverShows(t *testing.T) {
	t.Parallel()
	type inner struct {
		Exported   secret.Text
		unexported secret.Text
		pointer    *secret.Text
	}
	s := secret.NewText("hunter2")
	v := inner{s, s, &s}
	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, v), fmt.Sprintf(verb, &v),
			fmt.Sprintf(verb, []secret.Text{s}), fmt.Sprintf(verb, map[string]any{"k": s}))
	}
	js, err := json.Marshal(map[string]any{"a": s, "b": v, "c": &s})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "a", s, "b", v, "c", &s, "d", []any{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "a", s, "b", v, "c", &s, "d", []any{s})
	shown = append(shown, string(js), log.String(), fmt.Sprint(errors.New(s.String())))
	for _, out := range shown {
		if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("shown in %s", out)
		}
	}
	if got := fmt.Sprintf("%s", s); got != secret.Redacted {
		t.Errorf("got %q", got)
	}
	if _, err := s.Value(); err == nil {
		t.Error("a driver may store it")
	}
	if !s.Equal(secret.NewText("hunter2")) || s.Equal(secret.NewText("hunter3")) || s.Equal(secret.Text{}) {
		t.Error("Equal is wrong")
	}
	var back secret.Text
	if err := json.Unmarshal([]byte(`"hunter2"`), &back); err != nil || !back.Equal(s) {
		t.Errorf("unmarshal: %v", err)
	}
}

func TestKeyring_neverShows(t *testing.T) {
	t.Parallel()
	k := ring(t, "pepper v1 "+pepper1, "box k1 "+box1)
	k.Digest("warm")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		out := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, *k)
		if strings.Contains(out, "foobar") || strings.Contains(out, "102 111 111") {
			t.Errorf("%s shows key material: %s", verb, out)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pepper v1 " + pepper1 + "\nbox k1 " + box1)
	f.Add("# x\r\n\tbox k1 ====")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := secret.Parse(text)
		if (k == nil) == (err == nil) {
			t.Fatal("neither or both")
		}
		if k != nil && !k.IsCurrent(k.Digest("x")) {
			t.Fatal("its own digest isn't current")
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := ring(f, "pepper v1 "+pepper1, "box k1 "+box1)
	at := secret.Row{Table: "t", Column: "c", ID: "1"}
	f.Add(k.Seal(secret.NewText("x"), at))
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := k.Open(sealed, at); err != nil && !errors.Is(err, secret.ErrSealed) {
			t.Fatal(err)
		}
	})
}
