package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyLen is the length of peppers and box keys: 256 bits.
const keyLen = 32

// maxName is the longest name of a pepper or box key; it is stored with everything the key makes.
const maxName = 16

// The length of import keys, in bytes. They are what another system chose, which may be a word.
const (
	minImportKey = 8
	maxImportKey = 256
)

// Keyring holds the peppers and box keys of an installation: for each, one current and any number retired; and the HMAC
// keys of other systems whose API keys were imported. It is immutable and safe for concurrent use.
type Keyring struct {
	peppers []*pepper    // current first
	boxes   []*box       // current first
	imports []*importKey // mostly none
}

// importKey is the key that another system made the HMAC-SHA-256 of its tokens with.
type importKey struct {
	name string
	key  []byte
}

type box struct {
	id   string
	aead cipher.AEAD
}

// Parse reads a secrets file's text:
//
//	# comment
//	pepper v2 <base64 of 32 bytes>        the first pepper is current,
//	pepper v1 <base64 of 32 bytes>        the others are retired
//	box    k1 <base64 of 32 bytes>        likewise
//	import old <base64 of 8 to 256 bytes>  the HMAC key that another system's API keys were hashed with
//
// Names have 1 to 16 lower-case letters and digits, are stored beside what the key made, and so must never change
// their meaning. Parse refuses a file without a pepper or a box key, short keys, keys that are plainly not random, and a
// name or key used twice. Its errors name the line, never the key.
func Parse(text string) (*Keyring, error) {
	k := &Keyring{}
	names := map[string]bool{}
	var keys [][]byte
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := k.add(fields, names, &keys); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	switch {
	case len(k.peppers) == 0:
		return nil, errors.New("no pepper")
	case len(k.boxes) == 0:
		return nil, errors.New("no box key")
	}
	return k, nil
}

func (k *Keyring) add(fields []string, names map[string]bool, keys *[][]byte) error {
	if len(fields) != 3 {
		return errors.New(`want "pepper NAME BASE64", "box NAME BASE64" or "import NAME BASE64"`)
	}
	kind, name := fields[0], fields[1]
	if !validName(name) {
		return fmt.Errorf("%s name must have 1 to 16 lower-case letters and digits", kind)
	}
	if names[kind+" "+name] {
		return fmt.Errorf("%s %s is listed twice", kind, name)
	}
	names[kind+" "+name] = true
	decode := decodeKey
	if kind == "import" {
		decode = decodeImportKey
	}
	key, err := decode(fields[2])
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	for _, other := range *keys {
		if bytes.Equal(key, other) {
			return fmt.Errorf("%s %s: this key is already used above", kind, name)
		}
	}
	*keys = append(*keys, key)
	switch kind {
	case "pepper":
		k.peppers = append(k.peppers, newPepper(name, key))
	case "box":
		block, err := aes.NewCipher(key)
		if err != nil {
			return fmt.Errorf("box %s: %w", name, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return fmt.Errorf("box %s: %w", name, err)
		}
		k.boxes = append(k.boxes, &box{id: name, aead: aead})
	case "import":
		k.imports = append(k.imports, &importKey{name, key})
	default:
		return errors.New(`a line begins with "pepper", "box" or "import"`)
	}
	return nil
}

// decodeKey takes padded or raw, standard or URL base64, since keys come from openssl, from secret managers and from us.
func decodeKey(s string) ([]byte, error) {
	key, err := decodeBase64(s)
	if err != nil {
		return nil, err
	}
	if len(key) != keyLen {
		return nil, fmt.Errorf("the key has %d bytes, want %d", len(key), keyLen)
	}
	// 32 random bytes have fewer than 8 distinct values with probability below 2^-100: this is a placeholder.
	distinct := map[byte]bool{}
	for _, b := range key {
		distinct[b] = true
	}
	if len(distinct) < 8 {
		return nil, errors.New("the key is not random")
	}
	return key, nil
}

func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64") // the decoder's error quotes the input's position only, but says no more
	}
	return b, nil
}

func decodeImportKey(s string) ([]byte, error) {
	key, err := decodeBase64(s)
	if err == nil && (len(key) < minImportKey || len(key) > maxImportKey) {
		err = fmt.Errorf("the key has %d bytes, want %d to %d", len(key), minImportKey, maxImportKey)
	}
	return key, err
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || 'z' < c) && (c < '0' || '9' < c) {
			return false
		}
	}
	return true
}

// Load reads the secrets file at path. It refuses a file that others than its owner and group may read, or that its
// group may write.
func Load(path string) (*Keyring, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("secrets file: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("secrets file: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("secrets file %s is a directory", path)
	}
	if perm := info.Mode().Perm(); perm&0o027 != 0 {
		return nil, fmt.Errorf("secrets file %s has mode %#o: others may read or change it; run chmod 600 on it "+
			"(or set defaultMode: 0400 on the volume)", path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("secrets file: %w", err)
	}
	k, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("secrets file %s: %w", path, err)
	}
	return k, nil
}

// Generate returns the text of a new secrets file with one pepper, v1, and one box key, k1.
func Generate(r io.Reader) (string, error) {
	var raw [2 * keyLen]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return fmt.Sprintf(`# Secrets of this landlord installation. Keep a copy where the database's backups are not.
# Losing a pepper invalidates the API keys made with it; losing a box key loses the webhook and IdP secrets it sealed.
# To rotate, add a line with a new name ABOVE the others of its kind: the first is used for everything new, the others
# only to read what they made.
pepper v1 %s
box k1 %s
`, base64.StdEncoding.EncodeToString(raw[:keyLen]), base64.StdEncoding.EncodeToString(raw[keyLen:])), nil
}

// Create writes a generated secrets file at path, mode 0600. It fails with fs.ErrExist when there is a file already:
// overwriting one would invalidate every key in the database.
func Create(path string, r io.Reader) error {
	text, err := Generate(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("secrets file: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("secrets file: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// LoadOrCreate loads the secrets file at path, making it first when there is none. For `landlord dev` and the tests: a
// production start must not invent secrets because a mount is missing.
func LoadOrCreate(path string, r io.Reader) (*Keyring, error) {
	if err := Create(path, r); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return Load(path)
}
