package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/gateway"
)

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// fromEnvoy is a question with raw headers, which are given by turns.
func fromEnvoy(extensions map[string]string, method string, header ...string) *authv3.CheckRequest {
	h := &corev3.HeaderMap{}
	for i := 0; i < len(header); i += 2 {
		h.Headers = append(h.Headers, &corev3.HeaderValue{Key: header[i], RawValue: []byte(header[i+1])})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: source("192.0.2.1"), ContextExtensions: extensions,
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: method, Path: "/renders", HeaderMap: h}},
	}}
}

func source(address string) *authv3.AttributeContext_Peer {
	return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: address}}}}
}

func overwrite(header ...string) (options []*corev3.HeaderValueOption) {
	for i := 0; i < len(header); i += 2 {
		options = append(options, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: header[i], Value: header[i+1]}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return options
}

func metadata(t *testing.T, of map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(of)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each kind of answer, with all its fields.
func TestExtAuthz_answers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, token := w.create()
	_, bare := w.create(func(p *apikey.CreateParams) { p.Scopes = nil })
	slowKey, slow := w.create(func(p *apikey.CreateParams) { p.RateLimitRPM = 1 })
	landlord := authv3.NewAuthorizationClient(dial(t, serveExtAuthz(t, w.gateway)))
	w.stopClock() // the limits count in seconds

	whose := func(k apikey.Key, outcome string) *structpb.Struct {
		return metadata(t, map[string]any{
			"outcome": outcome, "tenant_id": w.tenant.String(), "tenant_slug": "acme", "key_id": k.ID.String(), "project_id": "-", "environment": "live",
		})
	}
	problem := []string{"content-type", "application/problem+json", "cache-control", "no-store"}
	denied := func(code codes.Code, status int, body string, m *structpb.Struct, header ...string) *authv3.CheckResponse {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(code)}, DynamicMetadata: m,
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Body: body, Headers: overwrite(append(problem, header...)...),
			}},
		}
	}
	allowed := func(k apikey.Key, scopes, policy, state string, remove ...string) *authv3.CheckResponse {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{}, DynamicMetadata: whose(k, "VALID"),
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers: overwrite("x-landlord-tenant-id", w.tenant.String(), "x-landlord-tenant-slug", "acme", "x-landlord-key-id", k.ID.String(),
					"x-landlord-project-id", "-", "x-landlord-environment", "live", "x-landlord-scopes", scopes, "x-landlord-read-only", "false"),
				HeadersToRemove:      remove,
				ResponseHeadersToAdd: overwrite("ratelimit-policy", policy, "ratelimit", state),
			}},
		}
	}
	const challenge = `Bearer realm="landlord"`
	for _, tc := range []struct {
		name       string
		extensions map[string]string
		header     []string
		want       *authv3.CheckResponse
	}{
		{
			"let through",
			map[string]string{"product": "render", "scope": "renders:create renders:read", "environment": "live"},
			[]string{"authorization", "Bearer " + token},
			allowed(key, "renders:*", `"key";q=600;w=60`, `"key";r=599;t=1`, "x-landlord-outcome", "x-api-key", "authorization"),
		},
		{
			"the key is the backend's too",
			map[string]string{"keep_key": "true"},
			[]string{"authorization", "Bearer " + slow},
			allowed(slowKey, "renders:*", `"key";q=1;w=60`, `"key";r=0;t=60`, "x-landlord-outcome"),
		},
		{
			"rate limited", nil,
			[]string{"authorization", "Bearer " + slow},
			denied(codes.PermissionDenied, 429, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"Too many requests. Try again after Retry-After.","code":"rate_limited","violated-policies":["key"]}`,
				whose(slowKey, "RATE_LIMITED"), "ratelimit-policy", `"key";q=1;w=60`, "ratelimit", `"key";r=0;t=60`, "retry-after", "60"),
		},
		{
			"nothing", nil, nil,
			denied(codes.Unauthenticated, 401, `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Send an API key, as Authorization: Bearer KEY or X-API-Key.","code":"credential_required"}`,
				metadata(t, map[string]any{"outcome": "NO_CREDENTIAL"}), "www-authenticate", challenge),
		},
		{
			"a stranger", nil,
			[]string{"x-api-key", "x"},
			denied(codes.Unauthenticated, 401, `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The API key is not valid.","code":"credential_invalid"}`,
				metadata(t, map[string]any{"outcome": "MALFORMED"}), "www-authenticate", challenge+`, error="invalid_token"`),
		},
		{
			"misconfigured",
			map[string]string{"scopes": "renders:create"},
			[]string{"x-api-key", token},
			denied(codes.PermissionDenied, 500, `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"The gateway is misconfigured.","code":"misconfigured"}`,
				metadata(t, map[string]any{"outcome": "MISCONFIGURED"})),
		},
	} {
		got, err := landlord.Check(t.Context(), fromEnvoy(tc.extensions, "GET", tc.header...))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if d := cmp.Diff(tc.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", tc.name, d)
		}
	}

	got, err := landlord.Check(t.Context(), fromEnvoy(map[string]string{"product": "render", "scope": "renders:create renders:read"}, "GET", "x-api-key", bare))
	want := challenge + `, error="insufficient_scope", scope="renders:create renders:read"`
	if err != nil || got.GetDeniedResponse().GetStatus().GetCode() != typev3.StatusCode_Forbidden || headerOf(got.GetDeniedResponse().GetHeaders(), "www-authenticate") != want {
		t.Errorf("%v %v", err, got)
	}
	got, err = landlord.Check(t.Context(), fromEnvoy(nil, "GET", "authorization", "Basic eDp5", "x-api-key", token))
	if d := cmp.Diff([]string{"x-landlord-outcome", "x-api-key"}, got.GetOkResponse().GetHeadersToRemove()); err != nil || d != "" {
		t.Errorf("a scheme that is the backend's own: %v %s", err, d)
	}

	// What we can't decide is our failure, not the client's.
	w.fresh.Store(false)
	w.db.Close()
	got, err = landlord.Check(t.Context(), fromEnvoy(nil, "GET", "x-api-key", token))
	if err != nil {
		t.Fatal(err)
	}
	failed := &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.Unavailable)}, DynamicMetadata: metadata(t, map[string]any{"outcome": "UNAVAILABLE"}),
		HttpResponse: &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable}, Headers: overwrite(append(problem, "retry-after", "1")...),
			Body: `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The API key can't be checked at the moment. Try again after Retry-After.","code":"unavailable"}`,
		}},
	}
	if d := cmp.Diff(failed, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if got, err = landlord.Check(t.Context(), fromEnvoy(map[string]string{"errors": "grpc"}, "GET", "x-api-key", token)); status.Code(err) != codes.Unavailable {
		t.Errorf("for an older Envoy: %v %v", got, err)
	}
	if got, err = landlord.Check(t.Context(), fromEnvoy(map[string]string{"errors": "grpc"}, "GET")); err != nil || got.GetDeniedResponse() == nil {
		t.Errorf("a denial is no error: %v %v", got, err)
	}
}

func headerOf(options []*corev3.HeaderValueOption, name string) string {
	for _, o := range options {
		if o.GetHeader().GetKey() == name {
			return o.GetHeader().GetValue()
		}
	}
	return ""
}

// How a credential, the method and the client's address are read, in whichever
// encoding, and whatever is missing.
func TestExtAuthz_questions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	_, token := w.create()
	_, other := w.create()
	_, listed := w.create(func(p *apikey.CreateParams) { p.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	frozen := fromEnvoy(nil, "DELETE", "x-api-key", token)
	landlord := authv3.NewAuthorizationClient(dial(t, serveExtAuthz(t, w.gateway)))

	changed := func(r *authv3.CheckRequest, change func(*authv3.AttributeContext)) *authv3.CheckRequest {
		change(r.Attributes)
		return r
	}
	inMap := func(h map[string]string) *authv3.CheckRequest {
		return changed(fromEnvoy(nil, "GET"), func(a *authv3.AttributeContext) { a.Request.Http.HeaderMap, a.Request.Http.Headers = nil, h })
	}
	from := func(address string, header ...string) *authv3.CheckRequest {
		return changed(fromEnvoy(nil, "GET", append([]string{"x-api-key", listed}, header...)...), func(a *authv3.AttributeContext) { a.Source = source(address) })
	}
	for name, tc := range map[string]struct {
		request *authv3.CheckRequest
		outcome string
	}{
		"raw":                          {fromEnvoy(nil, "GET", "authorization", "bearer "+token), "VALID"},
		"raw, twice alike":             {fromEnvoy(nil, "GET", "authorization", "Bearer "+token, "x-api-key", token), "VALID"},
		"raw, two keys":                {fromEnvoy(nil, "GET", "authorization", "Bearer "+token, "x-api-key", other), "AMBIGUOUS_CREDENTIAL"},
		"raw, a header twice":          {fromEnvoy(nil, "GET", "x-api-key", token, "x-api-key", token), "AMBIGUOUS_CREDENTIAL"},
		"raw, authorization twice":     {fromEnvoy(nil, "GET", "authorization", "Basic eDp5", "authorization", "Bearer "+token), "AMBIGUOUS_CREDENTIAL"},
		"raw, not UTF-8":               {fromEnvoy(nil, "GET", "x-api-key", "\xff\xfe", "x-else", "\xff"), "MALFORMED"},
		"raw, in the other field":      {changed(fromEnvoy(nil, "GET", "x-api-key", ""), func(a *authv3.AttributeContext) { a.Request.Http.HeaderMap.Headers[0].Value = token }), "VALID"},
		"map":                          {inMap(map[string]string{"authorization": "Bearer " + token}), "VALID"},
		"map, other header":            {inMap(map[string]string{"x-api-key": token, "authorization": "Basic eDp5"}), "VALID"},
		"map, two keys":                {inMap(map[string]string{"authorization": "Bearer " + token, "x-api-key": other}), "AMBIGUOUS_CREDENTIAL"},
		"map, a header twice":          {inMap(map[string]string{"x-api-key": token + "," + token}), "AMBIGUOUS_CREDENTIAL"},
		"map, authorization twice":     {inMap(map[string]string{"authorization": "Bearer " + token + ",Bearer " + token}), "AMBIGUOUS_CREDENTIAL"},
		"map, names not in lower case": {inMap(map[string]string{"X-API-Key": token}), "VALID"},
		"both encodings":               {changed(fromEnvoy(nil, "GET", "x-api-key", token), func(a *authv3.AttributeContext) { a.Request.Http.Headers = map[string]string{"x-api-key": token} }), "AMBIGUOUS_CREDENTIAL"},
		"nothing at all":               {&authv3.CheckRequest{}, "NO_CREDENTIAL"},
		"no request":                   {&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Source: source("192.0.2.1")}}, "NO_CREDENTIAL"},
		"no HTTP":                      {&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}}, "NO_CREDENTIAL"},
		"no headers":                   {changed(fromEnvoy(nil, "GET"), func(a *authv3.AttributeContext) { a.Request.Http.HeaderMap = nil }), "NO_CREDENTIAL"},
		"an empty header": {changed(fromEnvoy(nil, "GET", "x-api-key", token), func(a *authv3.AttributeContext) {
			a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{})
		}), "VALID"},
		"connected from its address":     {from("192.0.2.1"), "VALID"},
		"and its own word for it":        {from("192.0.2.1", "x-forwarded-for", "1.1.1.1"), "VALID"},
		"from elsewhere":                 {from("198.51.100.1"), "IP_NOT_ALLOWED"},
		"from elsewhere, claims its own": {from("198.51.100.1", "x-forwarded-for", "192.0.2.1"), "IP_NOT_ALLOWED"},
		"elsewhere, as Envoy appends it": {from("198.51.100.1", "x-forwarded-for", "192.0.2.1,198.51.100.1"), "IP_NOT_ALLOWED"},
		"behind a balancer":              {from("10.1.1.1", "x-forwarded-for", "1.1.1.1, 192.0.2.1"), "VALID"},
		"behind one, as Envoy appends":   {from("10.1.1.1", "x-forwarded-for", "1.1.1.1, 192.0.2.1,10.1.1.1"), "VALID"},
		"behind one, in two lines":       {from("10.1.1.1", "x-forwarded-for", "192.0.2.1", "x-forwarded-for", "10.1.1.1"), "VALID"},
		"behind one, claims":             {from("10.1.1.1", "x-forwarded-for", "192.0.2.1, 198.51.100.1"), "IP_NOT_ALLOWED"},
		"a pipe": {changed(from(""), func(a *authv3.AttributeContext) {
			a.Source.Address.Address = &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/run/front"}}
		}), "IP_NOT_ALLOWED"},
		"no source":             {changed(from("", "x-forwarded-for", "192.0.2.1"), func(a *authv3.AttributeContext) { a.Source = nil }), "IP_NOT_ALLOWED"},
		"an empty scope":        {fromEnvoy(map[string]string{"scope": ""}, "GET", "x-api-key", token), "MISCONFIGURED"},
		"two spaces in scope":   {fromEnvoy(map[string]string{"scope": "renders:create  renders:read"}, "GET", "x-api-key", token), "MISCONFIGURED"},
		"a value that can't be": {fromEnvoy(map[string]string{"keep_key": "yes"}, "GET", "x-api-key", token), "MISCONFIGURED"},
		"too many extensions": {changed(fromEnvoy(map[string]string{}, "GET", "x-api-key", token), func(a *authv3.AttributeContext) {
			for i := range 17 {
				a.ContextExtensions[strings.Repeat("x", i+1)] = ""
			}
		}), "MISCONFIGURED"},
	} {
		got, err := landlord.Check(t.Context(), tc.request)
		if outcome := got.GetDynamicMetadata().GetFields()["outcome"].GetStringValue(); err != nil || outcome != tc.outcome {
			t.Errorf("%s: %s, want %s: %v", name, outcome, tc.outcome, err)
		}
		if (got.GetOkResponse() != nil) != (tc.outcome == "VALID") || (got.GetDeniedResponse() != nil) != (tc.outcome != "VALID") {
			t.Errorf("%s: %v", name, got)
		}
	}

	w.status("frozen")
	if got, err := landlord.Check(t.Context(), frozen); err != nil || got.GetDynamicMetadata().GetFields()["outcome"].GetStringValue() != "TENANT_FROZEN" {
		t.Errorf("%v %v", got, err)
	}
}

// A question that is too large is refused before it is read, and a defect of ours
// ends one call, not the process.
func TestExtAuthz_failures(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	broken := gateway.New(gateway.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}) // without a verifier
	landlord := authv3.NewAuthorizationClient(dial(t, serveExtAuthz(t, broken)))
	large := fromEnvoy(nil, "GET", "x-else", strings.Repeat("x", 2<<20))
	if _, err := landlord.Check(t.Context(), large); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	for range 2 {
		if _, err := landlord.Check(t.Context(), fromEnvoy(nil, "GET", "x-api-key", "x")); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "nil pointer") {
			t.Error(err)
		}
	}
	if !strings.Contains(log.String(), "nil pointer") {
		t.Error(log.String())
	}
}

// Calls that are under way are answered before the server ends; those that take
// too long are cut off.
func TestExtAuthz_stop(t *testing.T) {
	t.Parallel()
	for name, patient := range map[string]bool{"answered": true, "cut off": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, token := w.create(func(p *apikey.CreateParams) { p.Name = "held" })
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := w.gateway.NewExtAuthz()
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			conn := dial(t, l.Addr().String())
			watching, unwatch := context.WithCancel(t.Context())
			defer unwatch()
			health, err := healthv1.NewHealthClient(conn).Watch(watching, &healthv1.HealthCheckRequest{Service: "envoy.service.auth.v3.Authorization"})
			if err != nil {
				t.Fatal(err)
			}
			if h, err := health.Recv(); err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
				t.Errorf("%v %v", h, err)
			}
			type answer struct {
				*authv3.CheckResponse
				error
			}
			answered := make(chan answer, 1)
			go func() {
				r, err := authv3.NewAuthorizationClient(conn).Check(context.WithoutCancel(t.Context()), fromEnvoy(nil, "GET", "x-api-key", token))
				answered <- answer{r, err}
			}()
			<-w.held
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- s.Stop(ctx) }()
			if h, err := health.Recv(); err != nil || h.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
				t.Errorf("Envoy is not told to go elsewhere: %v %v", h, err)
			}
			unwatch()
			if patient {
				close(w.release)
				if a := <-answered; a.error != nil || a.GetOkResponse() == nil {
					t.Errorf("%v", a)
				}
				if err := <-stopped; err != nil {
					t.Error(err)
				}
			} else {
				cancel()
				if a := <-answered; status.Code(a.error) != codes.Unavailable {
					t.Errorf("%v", a)
				}
				close(w.release) // the verification went on
				if err := <-stopped; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// No bytes make it panic, answer with an error, or let a stranger in.
func FuzzExtAuthz(f *testing.F) {
	w := newWorld(f)
	_, token := w.create()
	add := func(r *authv3.CheckRequest) {
		raw, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	add(fromEnvoy(map[string]string{"product": "render", "scope": "renders:create renders:read"}, "POST", "authorization", "Bearer "+token, "x-forwarded-for", "1.1.1.1, 192.0.2.1"))
	add(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: source("127.0.0.1"), ContextExtensions: map[string]string{"errors": "grpc", "keep_key": "true"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Headers: map[string]string{"x-api-key": token, "authorization": "Basic eDp5"}}},
	}})
	add(&authv3.CheckRequest{})
	check := w.gateway.Checker()
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &authv3.CheckRequest{}
		if proto.Unmarshal(raw, r) != nil {
			return // the library refuses it
		}
		got, err := check(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.ValidateAll(); err != nil {
			t.Error(err)
		}
		ok, denied := got.GetOkResponse(), got.GetDeniedResponse()
		switch {
		case (ok == nil) == (denied == nil):
			t.Errorf("%v", got)
		case denied != nil:
			if c := denied.GetStatus().GetCode(); c < http.StatusBadRequest || denied.GetBody() == "" || got.GetStatus().GetCode() == 0 {
				t.Errorf("%v", got)
			}
		case !bytes.Contains(raw, []byte(token)):
			t.Errorf("let through without the key: %v", r)
		default:
			for _, n := range identityHeaders {
				if headerOf(ok.GetHeaders(), strings.ToLower(n)) == "" {
					t.Errorf("%s is missing", n)
				}
			}
		}
	})
}
