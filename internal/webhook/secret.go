package webhook

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// Secret signs requests to an endpoint. An endpoint may have several: each that
// has not ended signs, so that a receiver can change over at leisure.
type Secret struct {
	Version   Signature
	Value     secret.Text // whsec_… of V1, whsk_… of V1a
	CreatedAt time.Time
	ExpiresAt *time.Time // nil: signs until it is taken away
}

// The prefixes of secrets and public keys in the specification.
const (
	prefixV1        = "whsec_"
	prefixV1a       = "whsk_"
	prefixV1aPublic = "whpk_"
)

// secretBytes is the length of the secrets that we make; the specification takes
// 24 to 64 bytes.
const secretBytes = 32

// NewSecret makes a secret.
func NewSecret(v Signature, now time.Time) Secret {
	s := Secret{Version: v, CreatedAt: now}
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw) // never fails on the systems that Go supports
	if v == V1a {
		s.Value = secret.NewText(prefixV1a + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(raw)))
	} else {
		s.Value = secret.NewText(prefixV1 + base64.StdEncoding.EncodeToString(raw))
	}
	return s
}

// ParseSecret takes over a secret that the receiver has already, such as that of a
// sender which landlord replaces. Its prefix tells the version.
func ParseSecret(text secret.Text, now time.Time) (Secret, error) {
	s := Secret{Version: V1, Value: text, CreatedAt: now}
	if strings.HasPrefix(text.Reveal(), prefixV1a) {
		s.Version = V1a
	}
	_, err := s.key()
	return s, err
}

// PublicKey returns what the receiver verifies a V1a signature with, and "" for V1.
func (s Secret) PublicKey() string {
	k, err := s.key()
	if err != nil || s.Version != V1a {
		return ""
	}
	public, _ := k.private.Public().(ed25519.PublicKey)
	return prefixV1aPublic + base64.StdEncoding.EncodeToString(public)
}

// key is a secret as the algorithms take it.
type key struct {
	version Signature
	shared  []byte
	private ed25519.PrivateKey
	until   *time.Time
}

var errSecretForm = errors.New("a signing secret is whsec_ or whsk_ and base64: of 24 to 64 bytes, or of an ed25519 key's 64 bytes")

func (s Secret) key() (key, error) {
	k := key{version: s.Version, until: s.ExpiresAt}
	text := s.Value.Reveal()
	if s.Version == V1a {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, prefixV1a))
		if err != nil || len(raw) != ed25519.PrivateKeySize || !strings.HasPrefix(text, prefixV1a) {
			return key{}, errSecretForm
		}
		k.private = ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if string(k.private) != string(raw) { // the halves don't belong together
			return key{}, errSecretForm
		}
		return k, nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, prefixV1))
	if err != nil || len(raw) < 24 || len(raw) > 64 || !strings.HasPrefix(text, prefixV1) {
		return key{}, errSecretForm
	}
	k.shared = raw
	return k, nil
}

// sealedSecret is a secret inside its box.
type sealedSecret struct {
	Version   Signature  `json:"v"`
	Value     string     `json:"s"`
	CreatedAt time.Time  `json:"c"`
	ExpiresAt *time.Time `json:"e,omitempty"`
}

// place is where an endpoint's box is stored, which it is bound to.
func place(endpoint id.Webhook, column string) secret.Row {
	return secret.Row{Table: "tenant_webhooks", Column: column, ID: endpoint.UUID()}
}

func sealSecrets(keys *secret.Keyring, endpoint id.Webhook, secrets []Secret) ([]byte, error) {
	inside := make([]sealedSecret, len(secrets))
	for i, s := range secrets {
		inside[i] = sealedSecret{Version: s.Version, Value: s.Value.Reveal(), CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt}
	}
	raw, err := json.Marshal(inside)
	if err != nil {
		return nil, fmt.Errorf("seal signing secrets: %w", err)
	}
	return keys.Seal(secret.NewText(string(raw)), place(endpoint, "secret_encrypted")), nil
}

func openSecrets(keys *secret.Keyring, endpoint id.Webhook, box []byte) ([]Secret, error) {
	raw, err := keys.Open(box, place(endpoint, "secret_encrypted"))
	if err != nil {
		return nil, fmt.Errorf("signing secrets of %s: %w", endpoint, err)
	}
	var inside []sealedSecret
	if err := json.Unmarshal([]byte(raw.Reveal()), &inside); err != nil {
		return nil, fmt.Errorf("signing secrets of %s: %w", endpoint, err)
	}
	secrets := make([]Secret, len(inside))
	for i, s := range inside {
		secrets[i] = Secret{Version: s.Version, Value: secret.NewText(s.Value), CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt}
	}
	return secrets, nil
}

func sealHeaders(keys *secret.Keyring, endpoint id.Webhook, headers map[string]string) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(headers)
	if err != nil {
		return nil, fmt.Errorf("seal headers: %w", err)
	}
	return keys.Seal(secret.NewText(string(raw)), place(endpoint, "headers_encrypted")), nil
}

func openHeaders(keys *secret.Keyring, endpoint id.Webhook, box []byte) (headers map[string]string, err error) {
	if len(box) == 0 {
		return nil, nil
	}
	raw, err := keys.Open(box, place(endpoint, "headers_encrypted"))
	if err == nil {
		err = json.Unmarshal([]byte(raw.Reveal()), &headers)
	}
	if err != nil {
		return nil, fmt.Errorf("headers of %s: %w", endpoint, err)
	}
	return headers, nil
}
