package app

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/webhook"
)

// Config is everything that a server is told. cmd/landlord fills it from flags
// and the environment; nothing below reads either.
type Config struct {
	DatabaseURL string // of the unprivileged role
	MaxConns    int32  // 0: pgx's default

	Listen        string // public: API, console, portal
	PrivateListen string // private: gateways, metrics, health, pprof

	// ExtAuthzListen is private too, for Envoy's ext_authz over gRPC; "" is nowhere.
	ExtAuthzListen string

	// RedisURL is where replicas share rate limits (ratelimit.SharedConfig.URL says its forms); "" leaves each replica
	// its own. RedisTimeout is the longest a decision waits for it; 0 is ratelimit.DefaultTimeout.
	RedisURL     string
	RedisTimeout time.Duration

	Keys     *secret.Keyring
	KeyBrand string // first part of an API key: BRAND_live_…; "" is the default

	// KeyNotices are how long before its end an API key is told of; nil is apikey.DefaultNotices.
	KeyNotices []time.Duration

	// OIDC is the issuer whose JWTs are credentials; none without an Issuer.
	OIDC operator.OIDC

	// TokenLimits bound the life of access tokens; zero is operator.DefaultLimits.
	TokenLimits operator.Limits

	// Egress says what URLs of tenants may lead to. Its zero value is public https URLs.
	Egress outbound.Config

	// Webhooks says how they are sent: the schedule, the limits, when an endpoint is disabled. What else an engine needs, app knows.
	Webhooks webhook.EngineConfig

	// KeepEvents is how long events and their webhooks' deliveries are kept, and KeepWebhookAttempts how long each try of
	// those; 0 is for ever.
	KeepEvents          time.Duration
	KeepWebhookAttempts time.Duration

	// GitHubScanningKeys is where the public keys of GitHub's secret scanning are: an https URL or a file; "" takes no reports.
	GitHubScanningKeys string

	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	Version         string
	Logger          *slog.Logger
	Now             func() time.Time // nil: the system's clock
	ShutdownTimeout time.Duration    // how long open requests may take to end; 0: 15 s
}
