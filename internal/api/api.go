package api

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/catalog"
	"github.com/landlordhq/landlord/internal/entitlement"
	"github.com/landlordhq/landlord/internal/event"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/idempotency"
	"github.com/landlordhq/landlord/internal/operator"
	"github.com/landlordhq/landlord/internal/project"
	"github.com/landlordhq/landlord/internal/scanning"
	"github.com/landlordhq/landlord/internal/tenant"
	"github.com/landlordhq/landlord/internal/webhook"
)

// Services is what the face translates to. The composition root fills it.
type Services struct {
	// Authenticate turns the bearer of a request into a principal.
	Authenticate func(ctx context.Context, bearer string) (access.Principal, error)
	// Holder does that with an API key that its holder wants to end, in whatever
	// state the key is.
	Holder func(ctx context.Context, bearer string) (access.Principal, error)
	// ClientIP says where a request came from, behind trusted proxies.
	ClientIP    func(r *http.Request) netip.Addr
	Idempotency *idempotency.Store
	// Settle waits, for a bounded time, until this replica's own caches have seen
	// what the caller has just changed: who revokes a key and then tries it here
	// must not find it alive.
	Settle  func(ctx context.Context)
	Logger  *slog.Logger
	Version string

	// ResolveTenant turns what a path names a tenant by ("tenant_…", a bare UUID,
	// "slug:NAME") into its id. Whether it is the caller's, the operation asks.
	ResolveTenant func(ctx context.Context, ref string) (id.Tenant, error)

	// Scanning checks what GitHub's secret scanning sends; nil takes nothing.
	Scanning *scanning.Verifier

	Operators *operator.Service
	Audit     *audit.Service
	Tenants   *tenant.Service
	APIKeys   *apikey.Service

	Catalog      *catalog.Service
	Entitlements *entitlement.Service
	Projects     *project.Service
	Events       *event.Service
	Webhooks     *webhook.Service
}

// API is the REST face. It is an http.Handler.
type API struct {
	s       Services
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	ops     map[string]op // by the mux's pattern
	fixed   map[fixed]string
	handler http.Handler
}

// MaxBody is the largest request body in bytes, unless an operation states its own.
const MaxBody = 1 << 20

// humaOnce guards the framework's package-level hooks, which are the same for
// every API of the process.
var humaOnce sync.Once

// New returns the face over services.
func New(s Services) *API {
	humaOnce.Do(func() {
		huma.NewError = newProblem
		huma.NewErrorWithContext = func(c huma.Context, status int, msg string, errs ...error) huma.StatusError {
			p := problemOf(newProblem(status, msg, errs...))
			r, _ := humago.Unwrap(c)
			return p.filled(r)
		}
		huma.DefaultArrayNullable = false
		// Else a "NAME" beside "name" is not validated, and decoded over it.
		huma.ValidateStrictCasing = true
	})
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.Version == "" {
		s.Version = "dev"
	}
	a := &API{s: s, log: s.Logger, mux: http.NewServeMux(), ops: map[string]op{}, fixed: map[fixed]string{}}
	a.huma = humago.New(a.mux, a.config())
	a.routes()
	a.describe()
	a.handler = a.middleware(a.mux)
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// OpenAPI returns the document that describes the face.
func (a *API) OpenAPI() ([]byte, error) {
	raw, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func (a *API) config() huma.Config {
	format := huma.Format{Marshal: marshalJSON, Unmarshal: unmarshalJSON}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Landlord", Version: "1",
				Description: "The tenant registry and control plane: who the tenants are, what they may use, which keys are theirs, and what was done.\n\n" +
					"Every error is an RFC 9457 problem document with a stable code.",
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {
						Type: "http", Scheme: "bearer",
						Description: "An operator's token, a service account's token, a tenant's API key with landlord: scopes, or a JWT of the platform's OIDC issuer.",
					},
				},
			},
		},
		Formats: map[string]huma.Format{
			"application/json": format, "json": format,
			"application/merge-patch+json": format,
		},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}
