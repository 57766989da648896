package scanning

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/outbound"
)

// The bounds of what is kept of the keys and asked for.
const (
	keysFresh  = time.Hour      // older keys are fetched again before they are used
	keysUsable = 24 * time.Hour // while their URL does not answer, they serve until this age
	keysPause  = time.Minute    // between two fetches
	keysWait   = 5 * time.Second
	keysReply  = 1 << 20 // bytes of a list of keys
	maxKeys    = 64      // of a list
	maxHeader  = 512     // bytes of a key's name or a signature
)

// Config says where the public keys are.
type Config struct {
	// Keys is the https URL of a list of keys in GitHub's form, or the path of a file
	// with one; "" is that nothing is listened to.
	Keys   string
	Client *outbound.Client // fetches that URL; it says which may be fetched
	Now    func() time.Time
	Log    *slog.Logger
}

// Verifier checks signatures. It is safe for concurrent use.
type Verifier struct {
	address string // "": the keys are pinned
	client  *outbound.Client
	now     func() time.Time
	log     *slog.Logger
	flight  singleflight.Group

	mu      sync.Mutex
	keys    map[string]*ecdsa.PublicKey
	fetched time.Time // zero: never
	tried   time.Time // when a fetch last ended, well or not
	failure error     // of the last fetch
}

// New returns a verifier, or nil when nothing is configured. It reads a file of
// keys now, and a URL when the first request comes.
func New(ctx context.Context, c Config) (*Verifier, error) {
	if c.Keys == "" {
		return nil, nil
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{client: c.Client, now: c.Now, log: c.Log}
	if strings.Contains(c.Keys, "://") {
		if err := c.Client.CheckURL(ctx, "github_scanning_keys", c.Keys, false); err != nil {
			return nil, fmt.Errorf("keys of secret scanning: %w", err)
		}
		v.address = c.Keys
		return v, nil
	}
	raw, err := os.ReadFile(filepath.Clean(c.Keys))
	if err != nil {
		return nil, fmt.Errorf("keys of secret scanning: %w", err)
	}
	if v.keys, err = parseKeys(raw); err != nil {
		return nil, fmt.Errorf("keys of secret scanning, %s: %w", c.Keys, err)
	}
	return v, nil
}

// Verify reports whether the key of that name signed the body. Whatever is wrong
// is a fault; one of kind Unavailable says that nothing can be said.
func (v *Verifier) Verify(ctx context.Context, key, signature string, body []byte) error {
	if key == "" || signature == "" {
		return fault.New(fault.Forbidden, "signature_required",
			"Send Github-Public-Key-Identifier and Github-Public-Key-Signature, of the body as it is.")
	}
	if len(key) > maxHeader || len(signature) > maxHeader {
		return errSignature
	}
	public, err := v.key(ctx, key)
	if err != nil {
		return err
	}
	der, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return errSignature
	}
	sum := sha256.Sum256(body)
	if !ecdsa.VerifyASN1(public, sum[:], der) {
		return errSignature
	}
	return nil
}

var (
	errSignature = fault.New(fault.Forbidden, "signature_invalid", "The signature is not of this body by the named key.")
	errUnknown   = fault.New(fault.Forbidden, "signature_key_unknown", "The key that is said to have signed is not among the scanner's.")
)

// key returns the key of a name.
func (v *Verifier) key(ctx context.Context, name string) (*ecdsa.PublicKey, error) {
	if v.address == "" {
		if k := v.keys[name]; k != nil {
			return k, nil
		}
		return nil, errUnknown
	}
	now := v.now()
	v.mu.Lock()
	k, age, pausing, failure := v.keys[name], now.Sub(v.fetched), now.Sub(v.tried) < keysPause, v.failure
	v.mu.Unlock()
	if pausing || k != nil && age <= keysFresh {
		return usable(k, age, failure)
	}
	// One fetch at a time, which no caller's leaving interrupts.
	done := v.flight.DoChan("keys", func() (any, error) { return nil, v.refresh(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, unreachable(ctx.Err())
	case r := <-done:
		v.mu.Lock()
		k, age = v.keys[name], v.now().Sub(v.fetched)
		v.mu.Unlock()
		return usable(k, age, r.Err)
	}
}

// usable tells a key that is not there from one that could not be asked for.
func usable(k *ecdsa.PublicKey, age time.Duration, failure error) (*ecdsa.PublicKey, error) {
	switch {
	case k != nil && age <= keysUsable:
		return k, nil
	case failure != nil:
		return nil, unreachable(failure)
	default:
		return nil, errUnknown
	}
}

func unreachable(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "signature_keys_unavailable", RetryAfter: keysPause, Err: err,
		Detail: "The scanner's public keys can't be read right now, so the signature can't be checked.",
	}
}

// refresh fetches the keys, unless somebody did a moment ago.
func (v *Verifier) refresh(ctx context.Context) error {
	v.mu.Lock()
	pausing, failure := v.now().Sub(v.tried) < keysPause, v.failure
	v.mu.Unlock()
	if pausing {
		return failure
	}
	keys, err := v.fetch(ctx)
	v.mu.Lock()
	v.tried, v.failure = v.now(), err
	if err == nil {
		v.keys, v.fetched = keys, v.tried
	}
	v.mu.Unlock()
	if err != nil {
		v.log.WarnContext(ctx, "public keys of secret scanning were not read", "url", v.address, "error", err)
	}
	return err
}

func (v *Verifier) fetch(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	answer, err := v.client.Do(ctx, outbound.Request{
		URL: v.address, Header: http.Header{"Accept": {"application/json"}}, Timeout: keysWait, MaxBody: keysReply, Whole: true,
	})
	if err != nil {
		return nil, err
	}
	if answer.Status != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", v.address, answer.Status)
	}
	return parseKeys(answer.Body)
}

// parseKeys reads a list of keys. Those that are not for ECDSA P-256 are for others.
func parseKeys(raw []byte) (map[string]*ecdsa.PublicKey, error) {
	var list struct {
		Keys []struct {
			Name string `json:"key_identifier"`
			PEM  string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("list of keys: %w", err)
	}
	if len(list.Keys) > maxKeys {
		return nil, fmt.Errorf("list of keys: %d keys, want at most %d", len(list.Keys), maxKeys)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range list.Keys {
		block, _ := pem.Decode([]byte(k.PEM))
		if block == nil || k.Name == "" {
			continue
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			continue
		}
		if public, ok := parsed.(*ecdsa.PublicKey); ok && public.Curve == elliptic.P256() {
			keys[k.Name] = public
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("list of keys: no usable one")
	}
	return keys, nil
}
