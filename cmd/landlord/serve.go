package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/telemetry"
)

// serverFlags are common to serve and dev.
type serverFlags struct {
	Listen          string        `help:"Public address: REST API and reference." env:"LANDLORD_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDR"`
	PrivateListen   string        `help:"Private address: gateways, metrics, health, pprof. Keep it from strangers: it asks for no credential." env:"LANDLORD_PRIVATE_LISTEN" default:"127.0.0.1:8081" placeholder:"ADDR"`
	ExtAuthzListen  string        `help:"Private address for Envoy's ext_authz, gRPC; without it there is none. Keep it from strangers as well." env:"LANDLORD_EXT_AUTHZ_LISTEN" placeholder:"ADDR"`
	KeyBrand        string        `help:"First part of the API keys that are made: BRAND_live_…" env:"LANDLORD_KEY_BRAND" default:"ll" placeholder:"BRAND"`
	TrustedProxies  []string      `help:"Addresses or CIDRs whose X-Forwarded-For is believed." env:"LANDLORD_TRUSTED_PROXIES" placeholder:"CIDR"`
	LogFormat       string        `help:"How to log: ${enum}." env:"LANDLORD_LOG_FORMAT" enum:"json, text" default:"json"`
	LogLevel        string        `help:"What to log: ${enum}." env:"LANDLORD_LOG_LEVEL" enum:"debug, info, warn, error" default:"info"`
	MaxConns        int32         `help:"Largest number of database connections; 0 lets the driver choose." env:"LANDLORD_MAX_CONNS" default:"0" placeholder:"N"`
	RedisURL        string        `help:"Redis through which replicas share rate limits: redis://, rediss://, unix:// or, of a cluster, redis-cluster:// and rediss-cluster://. Without it each replica keeps its own." env:"LANDLORD_REDIS_URL" name:"redis-url" placeholder:"URL"`
	RedisTimeout    time.Duration `help:"How long a rate limit waits for Redis before the replica decides alone." env:"LANDLORD_REDIS_TIMEOUT" default:"50ms" placeholder:"DURATION"`
	OIDCIssuer      string        `help:"OIDC issuer whose JWTs are credentials, exactly as in their iss claim." env:"LANDLORD_OIDC_ISSUER" name:"oidc-issuer" placeholder:"URL"`
	OIDCAudience    string        `help:"Audience that those JWTs must name." env:"LANDLORD_OIDC_AUDIENCE" name:"oidc-audience" placeholder:"AUDIENCE"`
	OIDCOrgClaim    string        `help:"Claim that makes a JWT a tenant's: its id, slug or external id." env:"LANDLORD_OIDC_ORGANIZATION_CLAIM" name:"oidc-organization-claim" default:"org_id" placeholder:"CLAIM"`
	TokenTTL        ttl           `help:"How long access tokens live unless their issuer says otherwise." env:"LANDLORD_TOKEN_TTL" default:"90d" placeholder:"DURATION"`
	TokenMaxTTL     ttl           `help:"How long access tokens may live at most." env:"LANDLORD_TOKEN_MAX_TTL" default:"366d" placeholder:"DURATION"`
	ScanningKeys    string        `help:"Public keys of GitHub's secret scanning, an https URL or a file: https://api.github.com/meta/public_keys/secret_scanning. Without it GitHub's reports are not taken." env:"LANDLORD_GITHUB_SCANNING_KEYS" name:"github-scanning-keys" placeholder:"URL|FILE"`
	ShutdownTimeout time.Duration `help:"How long open requests may take to end." env:"LANDLORD_SHUTDOWN_TIMEOUT" default:"15s" placeholder:"DURATION"`

	KeyNotices []ttl `help:"How long before its end there are events that tell of an API key." env:"LANDLORD_KEY_NOTICES" default:"30d,7d,1d" placeholder:"DURATION"`

	KeepEvents          ttl `help:"How long events and the deliveries of webhooks are kept, at least 14d; by whole months. 0s is for ever." env:"LANDLORD_KEEP_EVENTS" default:"90d" placeholder:"DURATION"`
	KeepWebhookAttempts ttl `help:"How long the tries of webhooks are kept, likewise." env:"LANDLORD_KEEP_WEBHOOK_ATTEMPTS" default:"90d" placeholder:"DURATION"`

	egressFlags
	deliveryFlags
}

func (f serverFlags) config(log *slog.Logger, keys *secret.Keyring, databaseURL string) (app.Config, error) {
	cfg := app.Config{
		DatabaseURL: databaseURL, MaxConns: f.MaxConns,
		RedisURL: f.RedisURL, RedisTimeout: f.RedisTimeout,
		Listen: f.Listen, PrivateListen: f.PrivateListen, ExtAuthzListen: f.ExtAuthzListen,
		Keys: keys, KeyBrand: f.KeyBrand, GitHubScanningKeys: f.ScanningKeys,
		TokenLimits: operator.Limits{DefaultTTL: time.Duration(f.TokenTTL), MaxTTL: time.Duration(f.TokenMaxTTL)},
		Version:     release(), Logger: log, ShutdownTimeout: f.ShutdownTimeout,
	}
	if err := errors.Join(f.checkKeep("--keep-events", f.KeepEvents), f.checkKeep("--keep-webhook-attempts", f.KeepWebhookAttempts)); err != nil {
		return cfg, err
	}
	cfg.KeepEvents, cfg.KeepWebhookAttempts = time.Duration(f.KeepEvents), time.Duration(f.KeepWebhookAttempts)
	for _, d := range f.KeyNotices {
		cfg.KeyNotices = append(cfg.KeyNotices, time.Duration(d))
	}
	if err := apikey.ValidateNotices(cfg.KeyNotices); err != nil {
		return cfg, fmt.Errorf("--key-notices: %w", err)
	}
	if f.OIDCIssuer != "" {
		cfg.OIDC = operator.OIDC{Issuer: f.OIDCIssuer, Audience: f.OIDCAudience, OrganizationClaim: f.OIDCOrgClaim}
		if err := cfg.OIDC.Validate(); err != nil {
			return cfg, fmt.Errorf("--oidc-issuer, --oidc-audience: %w", err)
		}
	}
	egress, err := f.egressFlags.config()
	if err != nil {
		return cfg, err
	}
	cfg.Egress = egress
	if cfg.Webhooks, err = f.deliveryFlags.config(); err != nil {
		return cfg, err
	}
	for _, s := range f.TrustedProxies {
		p, err := prefix(s)
		if err != nil {
			return cfg, fmt.Errorf("--trusted-proxies: %q is neither an address nor a CIDR", s)
		}
		cfg.TrustedProxies = append(cfg.TrustedProxies, p)
	}
	return cfg, nil
}

// checkKeep refuses to drop what webhooks may still be sent from.
func (f serverFlags) checkKeep(flag string, keep ttl) error {
	if least := max(ttl(event.MinKeep), f.WebhookTTL); keep != 0 && keep < least {
		return fmt.Errorf("%s: at least %s, for webhooks may be tried that long, or 0s for ever", flag, least)
	}
	return nil
}

func prefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// serveCmd runs one replica.
type serveCmd struct {
	serverFlags

	DatabaseURL string `help:"PostgreSQL, as a role without SUPERUSER and BYPASSRLS." env:"LANDLORD_DATABASE_URL" required:"" placeholder:"URL"`
	SecretsFile string `help:"File with the peppers and encryption keys; see landlord secrets." env:"LANDLORD_SECRETS_FILE" required:"" type:"path" placeholder:"FILE"`
}

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, g *Globals) error {
	log, err := telemetry.NewLogger(g.errOut, telemetry.LogConfig{Format: c.LogFormat, Level: c.LogLevel})
	if err != nil {
		return err
	}
	keys, err := secret.Load(c.SecretsFile)
	if err != nil {
		return err
	}
	cfg, err := c.config(log, keys, c.DatabaseURL)
	if err != nil {
		return err
	}
	a, err := app.New(ctx, cfg)
	if err != nil {
		return err
	}
	return a.Run(ctx, func(at app.Addresses) {
		envoy := ""
		if at.ExtAuthz != nil {
			envoy = fmt.Sprintf(", and Envoy's ext_authz on %s", at.ExtAuthz)
		}
		g.done("landlord serves on http://%s (public) and http://%s (private)%s", at.Public, at.Private, envoy)
	})
}

// secretsCmd makes the file that serve reads.
type secretsCmd struct {
	File string `arg:"" type:"path" help:"File to make. It is not overwritten."`
}

// Run implements the command.
func (c *secretsCmd) Run(g *Globals) error {
	if err := secret.Create(c.File, rand.Reader); err != nil {
		return err
	}
	g.done("Made %s. Every replica needs this file; without it no API key verifies and nothing encrypted can be read: keep a copy.", c.File)
	return nil
}
