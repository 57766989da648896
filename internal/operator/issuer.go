package operator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/landlordhq/landlord/internal/fault"
)

// The bounds of what is kept of the issuer and asked of it.
const (
	keysFresh   = 10 * time.Minute // older keys are fetched again before they are used
	keysUsable  = time.Hour        // while the issuer is down, keys serve until this age
	keysPause   = 10 * time.Second // between two fetches that strangers' tokens or failures cause
	keysMax     = 64               // keys in a set
	issuerReply = 1 << 20          // bytes of a discovery document or key set
	issuerWait  = 5 * time.Second  // for one request to the issuer
	clockSkew   = time.Minute      // between the issuer's clock and ours
	maxJWT      = 16 << 10         // bytes of a token
)

// signingAlgorithms are the only ones accepted. Symmetric ones and "none" are
// not among them, so a public key can't be passed off as a shared secret.
var signingAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}

// OIDC says which issuer's JWTs are accepted beside landlord's own tokens.
type OIDC struct {
	Issuer   string // exactly as in the tokens' iss claim; an https URL, or http on loopback
	Audience string // required in aud
	// OrganizationClaim names the claim that makes a token a tenant's: a string
	// ("org_id"), or Keycloak's map or list of organizations ("organization").
	OrganizationClaim string // "" is "org_id"
	Client            *http.Client
}

// Validate refuses what can't be used safely.
func (o OIDC) Validate() error {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("oidc issuer %q is not a URL without query and fragment", o.Issuer)
	}
	host := u.Hostname()
	loopback := host == "localhost" || host == "127.0.0.1" || host == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return fmt.Errorf("oidc issuer %q is not an https URL", o.Issuer)
	}
	if o.Audience == "" {
		return errors.New("an oidc issuer needs an audience: without one, tokens made for other services would be accepted")
	}
	return nil
}

// claims are what we read of a verified token.
type claims struct {
	Subject      string
	Email        string // only when the issuer says that it verified it
	Name         string
	Organization json.RawMessage // nil when there is none
	Scopes       []string
	Expires      time.Time
}

// issuer verifies JWTs of one OIDC issuer. Discovery and keys are fetched on
// first need, so that landlord starts while the issuer is down.
type issuer struct {
	config OIDC
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	flight singleflight.Group

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when keys were fetched; zero: never
	tried   time.Time // when a fetch last ended, well or not
	failure error     // of the last fetch
}

func newIssuer(c OIDC, now func() time.Time, log *slog.Logger) *issuer {
	client := c.Client
	if client == nil {
		client = &http.Client{Timeout: issuerWait}
	}
	if c.OrganizationClaim == "" {
		c.OrganizationClaim = "org_id"
	}
	return &issuer{config: c, client: client, now: now, log: log}
}

// looksLikeJWT reports whether a credential has the form of one, without reading it.
func looksLikeJWT(s string) bool {
	return strings.HasPrefix(s, "ey") && strings.Count(s, ".") == 2
}

// verify returns the claims of a token that the issuer signed for us and that is
// valid now. errInvalid and errExpired say that it is not; a fault says that the
// issuer could not be asked.
func (i *issuer) verify(ctx context.Context, raw string) (claims, error) {
	if len(raw) > maxJWT {
		return claims{}, invalid("jwt longer than %d bytes", maxJWT)
	}
	header, err := readHeader(raw)
	if err != nil {
		return claims{}, err
	}
	candidates, err := i.candidates(ctx, header)
	if err != nil {
		return claims{}, err
	}
	set := &oidc.StaticKeySet{}
	for _, k := range candidates {
		set.PublicKeys = append(set.PublicKeys, k.Key)
	}
	// Times are checked below: the library has no skew for exp and 5 minutes for nbf.
	verifier := oidc.NewVerifier(i.config.Issuer, set, &oidc.Config{
		ClientID: i.config.Audience, SupportedSigningAlgs: signingAlgorithms, SkipExpiryCheck: true,
	})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return claims{}, invalid("%w", err)
	}
	return i.read(token)
}

func (i *issuer) read(token *oidc.IDToken) (claims, error) {
	var extra struct {
		NotBefore     float64         `json:"nbf"`
		Email         string          `json:"email"`
		EmailVerified json.RawMessage `json:"email_verified"`
		Name          string          `json:"name"`
		Scope         json.RawMessage `json:"scope"`
		Permissions   []string        `json:"permissions"`
	}
	var all map[string]json.RawMessage
	if err := errors.Join(token.Claims(&extra), token.Claims(&all)); err != nil {
		return claims{}, invalid("read claims: %w", err)
	}
	now := i.now()
	switch {
	case token.Subject == "":
		return claims{}, invalid("no sub claim")
	case token.Expiry.Unix() <= 0:
		return claims{}, invalid("no exp claim")
	case !now.Before(token.Expiry.Add(clockSkew)):
		return claims{}, expired("jwt expired at %s", token.Expiry)
	case now.Add(clockSkew).Before(time.Unix(int64(extra.NotBefore), 0)):
		return claims{}, invalid("jwt not valid before %s", time.Unix(int64(extra.NotBefore), 0))
	case now.Add(clockSkew).Before(token.IssuedAt):
		return claims{}, invalid("jwt issued in the future, at %s", token.IssuedAt)
	}
	c := claims{Subject: token.Subject, Name: extra.Name, Expires: token.Expiry.Add(clockSkew), Scopes: extra.Permissions}
	// Some issuers send the boolean as text.
	if v := string(extra.EmailVerified); v == "true" || v == `"true"` {
		c.Email = strings.ToLower(extra.Email)
	}
	if org, ok := all[i.config.OrganizationClaim]; ok && string(org) != "null" {
		c.Organization = org
	}
	var text string
	var list []string
	switch {
	case extra.Scope == nil:
	case json.Unmarshal(extra.Scope, &text) == nil:
		c.Scopes = append(c.Scopes, strings.Fields(text)...)
	case json.Unmarshal(extra.Scope, &list) == nil:
		c.Scopes = append(c.Scopes, list...)
	}
	return c, nil
}

// organization reads the organization claim: a string; or Keycloak's list of
// aliases or map of alias to {"id": …}, of which there must be exactly one,
// since a token that speaks for two tenants speaks for neither.
func organization(raw json.RawMessage) (string, error) {
	var text string
	var list []string
	var named map[string]struct {
		ID string `json:"id"`
	}
	switch {
	case json.Unmarshal(raw, &text) == nil:
		list = []string{text}
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &named) == nil:
		for alias := range named {
			list = append(list, alias)
		}
	default:
		return "", invalid("organization claim is neither text, list nor map")
	}
	if len(list) != 1 || list[0] == "" {
		return "", invalid("organization claim names %d organizations", len(list))
	}
	return list[0], nil
}

type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// readHeader reads the unverified header to choose a key by, and refuses early
// what no key could make valid. Logout tokens and the like share the issuer, the
// audience and the keys of access tokens, so typ is checked as well.
func readHeader(raw string) (header, error) {
	encoded, _, _ := strings.Cut(raw, ".")
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return header{}, invalid("jwt header: %w", err)
	}
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return header{}, invalid("jwt header: %w", err)
	}
	if !slices.Contains(signingAlgorithms, h.Algorithm) {
		return header{}, invalid("jwt algorithm %.16q is not accepted", h.Algorithm)
	}
	switch strings.ToLower(strings.TrimPrefix(h.Type, "application/")) {
	case "", "jwt", "at+jwt":
		return h, nil
	default:
		return header{}, invalid("jwt type %.32q is not an access token", h.Type)
	}
}

// candidates returns the issuer's keys that may have signed a token.
func (i *issuer) candidates(ctx context.Context, h header) ([]jose.JSONWebKey, error) {
	now := i.now()
	i.mu.Lock()
	keys, age, pausing, failure := i.keys, now.Sub(i.fetched), now.Sub(i.tried) < keysPause, i.failure
	i.mu.Unlock()
	matching := match(keys, h)
	if age <= keysFresh && (len(matching) > 0 || pausing) {
		return orUnknown(matching, h, failure)
	}
	if pausing { // stale keys, and the issuer just failed
		return usable(matching, age, failure)
	}
	// One fetch at a time, which no caller's leaving interrupts.
	done := i.flight.DoChan("keys", func() (any, error) {
		return nil, i.refresh(context.WithoutCancel(ctx))
	})
	select {
	case <-ctx.Done():
		return nil, unreachable(ctx.Err())
	case r := <-done:
		i.mu.Lock()
		keys, age = i.keys, now.Sub(i.fetched)
		i.mu.Unlock()
		if r.Err != nil {
			return usable(match(keys, h), age, r.Err)
		}
		return orUnknown(match(keys, h), h, nil)
	}
}

// orUnknown tells a key that the issuer doesn't have from one that we could not
// ask about, because the last fetch failed.
func orUnknown(matching []jose.JSONWebKey, h header, failure error) ([]jose.JSONWebKey, error) {
	switch {
	case len(matching) > 0:
		return matching, nil
	case failure != nil:
		return nil, unreachable(failure)
	default:
		return nil, invalid("jwt is signed by an unknown key %.64q", h.KeyID)
	}
}

func usable(matching []jose.JSONWebKey, age time.Duration, failure error) ([]jose.JSONWebKey, error) {
	if len(matching) > 0 && age <= keysUsable {
		return matching, nil
	}
	return nil, unreachable(failure)
}

func match(keys []jose.JSONWebKey, h header) []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, k := range keys {
		if (h.KeyID == "" || k.KeyID == h.KeyID) && (k.Algorithm == "" || k.Algorithm == h.Algorithm) {
			out = append(out, k)
		}
	}
	return out
}

// refresh fetches the discovery document and the keys. The document is read
// every time: it is small, and an issuer may move its keys.
func (i *issuer) refresh(ctx context.Context) error {
	keys, err := i.fetch(ctx)
	i.mu.Lock()
	i.tried, i.failure = i.now(), err
	if err == nil {
		i.keys, i.fetched = keys, i.tried
	}
	i.mu.Unlock()
	if err != nil {
		i.log.WarnContext(ctx, "oidc issuer did not answer", "issuer", i.config.Issuer, "error", err)
	}
	return err
}

func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := i.get(ctx, strings.TrimSuffix(i.config.Issuer, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if discovery.Issuer != i.config.Issuer {
		return nil, fmt.Errorf("discovery: the issuer calls itself %.200q, not %q", discovery.Issuer, i.config.Issuer)
	}
	if scheme, _, _ := strings.Cut(i.config.Issuer, ":"); !strings.HasPrefix(discovery.JWKSURI, scheme+"://") {
		return nil, fmt.Errorf("discovery: jwks_uri %.200q is not an %s URL", discovery.JWKSURI, scheme)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.get(ctx, discovery.JWKSURI, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) > keysMax {
		return nil, fmt.Errorf("key set: %d keys, want at most %d", len(set.Keys), keysMax)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		// A key of a kind that we don't know is for others (RFC 7517, section 5).
		if json.Unmarshal(raw, &k) != nil || !k.IsPublic() || !k.Valid() || k.Use == "enc" {
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("key set: no usable signing key")
	}
	return keys, nil
}

func (i *issuer) get(ctx context.Context, address string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, issuerWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, issuerReply+1))
	if err != nil {
		return err
	}
	if len(b) > issuerReply {
		return fmt.Errorf("%s answered more than %d bytes", address, issuerReply)
	}
	return json.Unmarshal(b, into)
}

// unreachable is what holders of a JWT get while the issuer is down; other
// credentials are not concerned.
func unreachable(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "issuer_unavailable", RetryAfter: keysPause, Err: err,
		Detail: "The identity provider can't be reached right now, so this token can't be checked.",
	}
}
