package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// algorithm is the first part of an encoded digest.
const algorithm = "hmac-sha256"

// Sum is the raw digest of a token under one pepper: a cache key that gives nothing away.
type Sum [sha256.Size]byte

// pepper is a named HMAC key. Its states are pooled: making one costs two blocks of SHA-256 and several allocations,
// and the verify path needs one for each request.
type pepper struct {
	version string
	states  sync.Pool // of *macState
}

// macState keeps its buffers beside the hash, since what is passed to an interface method escapes to the heap.
type macState struct {
	mac hash.Hash
	tok []byte
	in  [sha256.Size]byte
	out [sha256.Size]byte
}

func newPepper(version string, key []byte) *pepper {
	p := &pepper{version: version}
	p.states.New = func() any { return &macState{mac: hmac.New(sha256.New, key), tok: make([]byte, 0, 128)} }
	return p
}

// sum returns HMAC(pepper, SHA-256(token)).
func (p *pepper) sum(token string) Sum {
	s := p.states.Get().(*macState) //nolint:forcetypeassert // the pool holds nothing else
	s.tok = append(s.tok[:0], token...)
	s.in = sha256.Sum256(s.tok)
	clear(s.tok) // the pool must not keep plaintext
	return p.finish(s)
}

// wrap returns HMAC(pepper, inner) where inner already is a SHA-256.
func (p *pepper) wrap(inner [sha256.Size]byte) Sum {
	s := p.states.Get().(*macState) //nolint:forcetypeassert // the pool holds nothing else
	s.in = inner
	return p.finish(s)
}

func (p *pepper) finish(s *macState) Sum {
	s.mac.Reset()
	s.mac.Write(s.in[:])
	s.mac.Sum(s.out[:0])
	sum := Sum(s.out)
	p.states.Put(s)
	return sum
}

// encode returns the stored form: the algorithm and pepper are named in it, so that rows of several kinds and ages
// live in one column. foreign names the import key that the inner digest was made with; "" for a SHA-256.
func (p *pepper) encode(foreign string, sum Sum) string {
	var buf [len(algorithm) + 2*maxName + 3 + 43]byte // fits, and stays on the stack
	b := append(buf[:0], algorithm...)
	if foreign != "" {
		b = append(b, ':')
		b = append(b, foreign...)
	}
	b = append(b, '$')
	b = append(b, p.version...)
	b = append(b, '$')
	b = base64.RawURLEncoding.AppendEncode(b, sum[:])
	return string(b)
}

// Sum returns the token's raw digest under the current pepper. It does not allocate: it is the cache key of the verify
// path.
func (k *Keyring) Sum(token string) Sum { return k.peppers[0].sum(token) }

// Digest returns the token's stored form under the current pepper: "hmac-sha256$v1$<base64url>".
func (k *Keyring) Digest(token string) string {
	p := k.peppers[0]
	return p.encode("", p.sum(token))
}

// Digests returns the token's stored forms under every pepper, current first: a look-up asks for any of them.
func (k *Keyring) Digests(token string) []string {
	return k.encodeAll(sha256.Sum256([]byte(token)))
}

// DigestsSHA256 is Digests for a token of which only the SHA-256 is known.
func (k *Keyring) DigestsSHA256(inner [sha256.Size]byte) []string { return k.encodeAll(inner) }

func (k *Keyring) encodeAll(inner [sha256.Size]byte) []string {
	out := make([]string, len(k.peppers))
	for i, p := range k.peppers {
		out[i] = p.encode("", p.wrap(inner))
	}
	return out
}

// HasImportKey reports whether the secrets file has an import key of the name.
func (k *Keyring) HasImportKey(name string) bool { return k.importKey(name) != nil }

func (k *Keyring) importKey(name string) *importKey {
	for _, f := range k.imports {
		if f.name == name {
			return f
		}
	}
	return nil
}

// DigestsHMAC is Digests for a token of which only the HMAC-SHA-256 under a named import key is known:
// "hmac-sha256:NAME$v1$<base64url>". The pepper goes over it, as over a SHA-256.
func (k *Keyring) DigestsHMAC(name string, inner [sha256.Size]byte) []string {
	out := make([]string, len(k.peppers))
	for i, p := range k.peppers {
		out[i] = p.encode(name, p.wrap(inner))
	}
	return out
}

// ImportedDigests returns the stored forms of a token under every import key and every pepper: what a look-up asks for
// beside Digests. Mostly there is no import key, and it is nil.
func (k *Keyring) ImportedDigests(token string) []string {
	var out []string
	for _, f := range k.imports {
		mac := hmac.New(sha256.New, f.key)
		mac.Write([]byte(token))
		out = append(out, k.DigestsHMAC(f.name, [sha256.Size]byte(mac.Sum(nil)))...)
	}
	return out
}

// ParseSHA256 reads 32 bytes as others write them: 64 hexadecimal digits, or base64, standard or URL, padded or not.
func ParseSHA256(s string) (sum [sha256.Size]byte, ok bool) {
	if len(s) == hex.EncodedLen(len(sum)) {
		_, err := hex.Decode(sum[:], []byte(s))
		return sum, err == nil
	}
	b, err := decodeBase64(s)
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [sha256.Size]byte(b), true
}

// IsCurrent reports whether a stored digest was made with the current pepper, of the token's SHA-256; when not, rewrite it
// on its next use.
func (k *Keyring) IsCurrent(digest string) bool {
	alg, rest, _ := strings.Cut(digest, "$")
	version, _, ok := strings.Cut(rest, "$")
	return ok && alg == algorithm && version == k.peppers[0].version
}
