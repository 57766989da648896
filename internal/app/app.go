package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/api"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/entitlement"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/gateway"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/idempotency"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/project"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/scanning"
	"github.com/landlordhq/landlord/internal/telemetry"
	"github.com/landlordhq/landlord/internal/tenant"
	"github.com/landlordhq/landlord/internal/webhook"
	"github.com/landlordhq/landlord/internal/worker"
)

// App is one replica.
type App struct {
	cfg     Config
	log     *slog.Logger
	db      *pg.DB
	metrics *telemetry.Metrics
	loops   *worker.Group
	api     *api.API

	idempotency *idempotency.Store
	operators   *operator.Service
	audits      *audit.Service
	catalog     *catalog.Service
	tenants     *tenant.Service
	projects    *project.Service
	events      *event.Service
	grants      *entitlement.Service
	limits      *ratelimit.Shared[apikey.Bucket] // nil without Redis
	verifier    *apikey.Verifier
	keys        *apikey.Service
	gateway     *gateway.Gateway
	webhooks    *webhook.Service
	feed        *changefeed.Feed
	outbound    *outbound.Client // for URLs of tenants
	deliveries  *webhook.Engine

	closers []func(context.Context) // run last to first by Close
	public  http.Handler
	private http.Handler
	once    sync.Once
}

// New makes a replica. It starts nothing and needs no database yet.
func New(ctx context.Context, cfg Config) (*App, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ShutdownTimeout == 0 {
		cfg.ShutdownTimeout = 15 * time.Second
	}
	if cfg.Keys == nil {
		return nil, errors.New("no secrets: peppers and encryption keys are needed")
	}
	if cfg.MaxConns < 0 || cfg.MaxConns == 1 {
		return nil, fmt.Errorf("%d database connections are too few: 2 at least, as a background loop holds its lock on one and works on another", cfg.MaxConns)
	}
	db, err := pg.Open(ctx, pg.Config{URL: cfg.DatabaseURL, MaxConns: cfg.MaxConns})
	if err != nil {
		return nil, err
	}
	a := &App{
		cfg: cfg, log: cfg.Logger, db: db,
		metrics: telemetry.NewMetrics(telemetry.ReadBuild(cfg.Version)),
	}
	a.closers = append(a.closers, func(context.Context) { db.Close() })
	if err := a.compose(ctx); err != nil {
		a.Close(ctx)
		return nil, err
	}
	return a, nil
}

// compose makes the services and hands them to the faces.
func (a *App) compose(ctx context.Context) error {
	a.idempotency = idempotency.New(a.db, a.cfg.Keys, a.cfg.Now)
	a.feed = changefeed.New(a.db, a.log)
	a.audits = audit.New(a.db)
	a.catalog = catalog.New(a.db, catalog.WithClock(a.cfg.Now))
	a.grants = entitlement.New(a.db, entitlement.WithClock(a.cfg.Now))
	a.projects = project.New(a.db, project.WithClock(a.cfg.Now))
	a.events = event.New(a.db, event.WithLogger(a.log), event.WithClock(a.cfg.Now), event.WithRules(a.catalog.EventRules),
		event.WithRetention(a.retention()...), event.WithRecord(recordErasure))
	a.closers = append(a.closers, func(context.Context) { a.events.Release() })
	a.tenants = tenant.New(a.db, a.provision, tenant.WithClock(a.cfg.Now))
	a.operators = operator.New(a.db, a.cfg.Keys, a.operatorOptions()...)
	if err := a.openLimits(); err != nil {
		return err
	}
	if err := a.openEgress(); err != nil {
		return err
	}
	if err := a.openDeliveries(); err != nil {
		return err
	}
	a.verifier = apikey.NewVerifier(a.db, a.cfg.Keys, apikey.VerifierConfig{
		Fresh: a.fresh, Within: a.tenants.Within, Shared: a.limits, Now: a.cfg.Now, Log: a.log,
	})
	keys, err := apikey.New(a.db, a.cfg.Keys, apikey.Config{Brand: a.cfg.KeyBrand, Verifier: a.verifier, Notices: a.cfg.KeyNotices, Now: a.cfg.Now})
	if err != nil {
		return err
	}
	a.keys = keys
	a.webhooks = webhook.NewService(a.db, webhook.Config{
		Keys: a.cfg.Keys, Now: a.cfg.Now, TTL: a.cfg.Webhooks.TTL,
		CheckURL: func(ctx context.Context, field, url string) error { return a.outbound.CheckURL(ctx, field, url, true) },
	})
	a.feed.Observe(a.metrics.ObserveChange)
	a.feed.Subscribe(a.operators.Forget, a.operators.ForgetAll)
	a.feed.Subscribe(a.verifier.Apply, a.verifier.Forget)
	a.feed.Subscribe(a.deliveries.Apply, a.deliveries.Wake)
	a.gateway = gateway.New(gateway.Config{Verifier: a.verifier, TrustedProxies: a.cfg.TrustedProxies, Log: a.log, Now: a.cfg.Now, Observe: a.metrics.ObserveDecision})

	loops, err := worker.New(worker.Config{
		Lock: a.db.TryLock, Log: a.log,
		Observe: func(t worker.Tick) { a.metrics.ObserveLoop(t.Loop, string(t.Outcome), t.Took) },
	}, a.loopTable()...)
	if err != nil {
		return fmt.Errorf("make loops: %w", err)
	}
	a.loops = loops

	scanner, err := scanning.New(ctx, scanning.Config{Keys: a.cfg.GitHubScanningKeys, Client: a.outbound, Now: a.cfg.Now, Log: a.log})
	if err != nil {
		return err
	}
	a.api = api.New(api.Services{
		Authenticate: a.authenticate, Holder: a.verifier.Holder, ClientIP: a.clientIP, Idempotency: a.idempotency, Settle: a.settle,
		Logger: a.log, Version: a.cfg.Version, Scanning: scanner,
		ResolveTenant: a.resolveTenant, Operators: a.operators, Audit: a.audits, Tenants: a.tenants, APIKeys: a.keys,
		Catalog: a.catalog, Entitlements: a.grants, Projects: a.projects, Webhooks: a.webhooks,
		Events: a.events,
	})
	a.public = a.publicMux()
	a.private = a.privateMux()
	a.poolMetrics()
	a.feedMetrics()
	a.verifyMetrics()
	a.deliveryMetrics()
	return nil
}

func (a *App) operatorOptions() []operator.Option {
	opts := []operator.Option{
		operator.WithClock(a.cfg.Now), operator.WithLogger(a.log), operator.WithLimits(a.cfg.TokenLimits),
		operator.WithFresh(a.fresh), operator.WithTree(a.tenants.Within),
	}
	if a.cfg.OIDC.Issuer != "" {
		opts = append(opts, operator.WithOIDC(a.cfg.OIDC, a.tenants.ByClaim))
	}
	return opts
}

// ApplyCatalogOnce applies a catalogue from files and folders to an installation that never
// had one, and says whether it did. Later changes are landlord apply's.
func (a *App) ApplyCatalogOnce(ctx context.Context, fsys fs.FS, names ...string) (bool, error) {
	ctx = access.AsSystem(ctx, "dev")
	if _, at, err := a.catalog.Current(ctx); err != nil || at.Version > 0 {
		return false, err
	}
	var files []string
	for _, name := range names {
		more, err := catalog.Files(fsys, name)
		if err != nil {
			return false, err
		}
		files = append(files, more...)
	}
	doc, err := catalog.Load(fsys, files...)
	if err != nil {
		return false, err
	}
	applied, err := a.catalog.Apply(ctx, doc, false)
	return len(applied.Changes) > 0, err
}

// provision gives a tenant what its plan says, in the transaction that makes it.
func (a *App) provision(ctx context.Context, tx pg.Tx, t id.Tenant, plan string) (tenant.Provisioned, error) {
	given, err := a.grants.ApplyPlan(ctx, tx, t, plan)
	return tenant.Provisioned{TrialDays: given.TrialDays}, err
}

// fresh reports whether this replica has seen every change that committed up to a
// second ago. The lease is on the process's own clock, which no one can set.
func (a *App) fresh() bool { return a.feed.Fresh(time.Now()) }

// settle lets a caller read what he wrote. When the feed is not fresh, caches
// answer nothing anyway, and there is nothing to wait for.
func (a *App) settle(ctx context.Context) {
	if !a.fresh() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	_ = a.feed.Sync(ctx) // the lease bounds what is missed
}

// Bootstrap makes the first owner and returns his token. With recovery it gives
// a new token although there is an owner.
func (a *App) Bootstrap(ctx context.Context, email, name string, recovery bool) (string, error) {
	// Mostly nothing has served on this database yet, and its audit log has no place for this.
	if err := a.ensurePartitions(ctx); err != nil {
		return "", err
	}
	_, issued, err := a.operators.Bootstrap(ctx, operator.BootstrapParams{Email: email, Name: name, ForceRecover: recovery})
	if err != nil {
		return "", err
	}
	return issued.Secret.Reveal(), nil
}

// loopTable lists everything that runs by itself. Each works from the state of
// the database, so a tick that was missed is made up by the next.
func (a *App) loopTable() []worker.Loop {
	return []worker.Loop{
		{Name: "idempotency_sweep", Every: 10 * time.Minute, Jitter: time.Minute, Run: func(ctx context.Context) error {
			for {
				if n, err := a.idempotency.Sweep(ctx); err != nil || n == 0 {
					return err
				}
			}
		}},
		{Name: "tenant_lifecycle", Every: 30 * time.Second, Jitter: 5 * time.Second, Run: func(ctx context.Context) error {
			_, err := a.tenants.Tick(ctx, a.cfg.Now())
			return err
		}},
		{Name: "key_use_flush", Every: time.Second, PerReplica: true, Run: a.verifier.Flush},
		{Name: "key_use_trim", Every: time.Hour, Jitter: time.Minute, Run: a.verifier.TrimFlushes},
		{Name: "key_notices", Every: time.Minute, Jitter: 10 * time.Second, Run: func(ctx context.Context) error {
			_, err := a.keys.GiveNotices(ctx)
			return err
		}},
		{Name: "imported_forms", Every: time.Second, PerReplica: true, Run: a.verifier.Refresh},
		{Name: "change_feed_trim", Every: 10 * time.Minute, Jitter: time.Minute, Run: a.trimFeed},
		{Name: "token_use_flush", Every: 10 * time.Second, PerReplica: true, Run: a.operators.Flush},
		{Name: "event_mark", Every: time.Minute, Run: a.events.Mark},
		{Name: "month_drop", Every: time.Hour, Jitter: time.Minute, Run: a.events.DropOld},
		{Name: "partition_ensure", Every: time.Hour, Jitter: time.Minute, Run: a.ensurePartitions},
	}
}

func (a *App) publicMux() http.Handler {
	health := http.NewServeMux()
	health.HandleFunc("GET /livez", a.livez)
	health.HandleFunc("GET /readyz", a.readyz)
	return a.metrics.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.URL.Path == "/livez" || r.URL.Path == "/readyz") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			health.ServeHTTP(w, r)
			return
		}
		a.api.ServeHTTP(w, r)
	}))
}

func (a *App) privateMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", a.livez)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.Handle("GET /gateway/nginx", a.gateway.Nginx())
	mux.Handle("/gateway/forward-auth", a.gateway.ForwardAuth()) // with whatever method the gateway asks
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (a *App) poolMetrics() {
	a.metrics.Gauge("landlord_database_connections_in_use", "Connections of the pool that run something.", func() float64 {
		return float64(a.db.Stat().AcquiredConns())
	})
	a.metrics.Gauge("landlord_database_connections_max", "Largest size of the pool.", func() float64 {
		return float64(a.db.Stat().MaxConns())
	})
}

func (a *App) feedMetrics() {
	stats := func() changefeed.Stats { return a.feed.Stats(time.Now()) }
	a.metrics.Gauge("landlord_change_feed_age_seconds", "Since the last look at what changed; from 1 s on nothing is answered from memory.", func() float64 {
		return stats().Age.Seconds()
	})
	a.metrics.Counter("landlord_change_feed_changes_total", "Changes heard of.", func() float64 { return float64(stats().Changes) })
	a.metrics.Counter("landlord_change_feed_resets_total", "Times that everything in memory was dropped; 1 is the start.", func() float64 {
		return float64(stats().Resets)
	})
	a.metrics.Counter("landlord_change_feed_sessions_total", "Database sessions of the feed; more than 1 means that some were lost.", func() float64 {
		return float64(stats().Sessions)
	})
}

func (a *App) verifyMetrics() {
	counter := func(name, help string, of func(apikey.Stats) uint64) {
		a.metrics.Counter("landlord_verify_"+name, help, func() float64 { return float64(of(a.verifier.Stats())) })
	}
	counter("cache_hits_total", "Keys found in memory.", func(s apikey.Stats) uint64 { return s.Hits })
	counter("cache_absent_hits_total", "Unknown keys found in memory as unknown.", func(s apikey.Stats) uint64 { return s.AbsentHits })
	counter("cache_misses_total", "Keys that the database was asked for.", func(s apikey.Stats) uint64 { return s.Misses })
	counter("cache_late_misses_total", "Look-ups that memory was not trusted with, because the change feed was late.", func(s apikey.Stats) uint64 { return s.Late })
	counter("statements_total", "Statements sent for that; misses that meet share one.", func(s apikey.Stats) uint64 { return s.Statements })
	counter("slow_checks_total", "Argon2id and bcrypt hashes of imported keys computed.", func(s apikey.Stats) uint64 { return s.SlowChecks })
	counter("slow_checks_refused_total", "Those refused with key_check_busy, because too many others waited.", func(s apikey.Stats) uint64 { return s.SlowBusy })
	a.metrics.Gauge("landlord_verify_cache_entries", "Keys in memory.", func() float64 { return float64(a.verifier.Stats().Entries) })
	a.metrics.Gauge("landlord_verify_cache_bytes", "About what those take.", func() float64 { return float64(a.verifier.Stats().Bytes) })
	a.metrics.Gauge("landlord_verify_cache_absent_entries", "Unknown keys in memory.", func() float64 { return float64(a.verifier.Stats().Absent) })
}

// Public is the face for tenants, operators and services.
func (a *App) Public() http.Handler { return a.public }

// Private is the face for gateways and the platform's own machinery. It has no
// credentials of its own: bind it to an address that only they reach.
func (a *App) Private() http.Handler { return a.private }

// ExtAuthz returns a server of the face for Envoy, which speaks gRPC; its listener is as private.
func (a *App) ExtAuthz() *gateway.ExtAuthz { return a.gateway.NewExtAuthz() }

// DB is the replica's pool, for commands that work without a server.
func (a *App) DB() *pg.DB { return a.db }

// Start checks the database and begins the feed and the loops.
func (a *App) Start(ctx context.Context) error {
	if err := a.checkDatabase(ctx); err != nil {
		return err
	}
	if err := a.ensurePartitions(ctx); err != nil {
		return err
	}
	if err := a.catalog.Seed(ctx); err != nil {
		return err
	}
	if err := a.events.Reorder(ctx); err != nil {
		return err
	}
	// Before anybody can ask: a replica that does not know of them turns imported keys away.
	if err := a.verifier.Refresh(ctx); err != nil {
		return err
	}
	if a.limits != nil {
		a.limits.Start(ctx)
	}
	a.feed.Start(context.WithoutCancel(ctx))
	a.closers = append(a.closers, func(context.Context) { a.feed.Close() })
	a.deliveries.Start(ctx, a.db)
	a.closers = append(a.closers, a.stopDeliveries)
	a.loops.Start(context.WithoutCancel(ctx))
	a.closers = append(a.closers, func(ctx context.Context) {
		a.loops.Close()
		// What is counted in memory is written last, when nothing counts any more. A
		// database that is away must not keep the process from ending.
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := a.operators.Flush(ctx); err != nil {
			a.log.Error("uses of tokens were not written", "error", err)
		}
		if err := a.verifier.Close(ctx); err != nil {
			a.log.Error("uses of keys were not written", "error", err)
		}
	})
	return nil
}

// flushTimeout is how long the stop waits for the database to take what is
// counted in memory.
const flushTimeout = 5 * time.Second

// Run starts the replica, serves its listeners until ctx ends, and stops in
// order. ready, if not nil, is called with the addresses once all listen.
func (a *App) Run(ctx context.Context, ready func(Addresses)) error {
	defer a.Close(context.WithoutCancel(ctx))
	if err := a.Start(ctx); err != nil {
		return err
	}
	failed := make(chan error, 3)
	all, at, err := a.listenAll(ctx, failed)
	if err != nil {
		return err
	}
	serving := []any{"public", at.Public.String(), "private", at.Private.String(), "version", a.cfg.Version}
	if at.ExtAuthz != nil {
		serving = append(serving, "ext_authz", at.ExtAuthz.String())
	}
	a.log.Info("serving", serving...)
	if ready != nil {
		ready(at)
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.log.Info("stopping")
	a.events.Release() // requests that wait for events end now
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownTimeout)
	defer cancel()
	// Webhooks under way end beside the requests, within the same time.
	var sending sync.WaitGroup
	sending.Go(func() { a.deliveries.Stop(stop) })
	defer sending.Wait()
	// The public side first: gateways keep asking until nobody sends them anything.
	for _, l := range all {
		err = errors.Join(err, l.stop(stop))
	}
	return err
}

// Close stops what Start began, flushes and closes the pool. It is safe to call
// more than once.
func (a *App) Close(ctx context.Context) {
	a.once.Do(func() {
		for _, v := range slices.Backward(a.closers) {
			v(ctx)
		}
	})
}
