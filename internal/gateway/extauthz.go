package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// ExtAuthz answers Envoy's ext_authz filter: the gRPC service
// envoy.service.auth.v3.Authorization, and grpc.health.v1.Health beside it.
//
// A denial is an answer (denied_response), never an error of the call, which Envoy
// would take for a failure of ours. What can't be decided is error_response, so
// that the filter's failure_mode_allow applies; a route that can't be understood
// is a denial, which nothing lets through.
type ExtAuthz struct {
	server *grpc.Server
	health *health.Server
}

const (
	// maxCheck bounds a question. Envoy's bound on a request's headers is 60 KiB
	// by default; the body has no place in it.
	maxCheck = 1 << 20
	// maxStreams bounds the questions of a connection that are under way.
	maxStreams = 4096
	// streamWorkers is how many questions are answered by goroutines that are there
	// already; more than that at a time get one of their own.
	streamWorkers = 256
)

// NewExtAuthz returns the server, which listens nowhere yet.
func (g *Gateway) NewExtAuthz() *ExtAuthz {
	s := &ExtAuthz{
		server: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxCheck),
			grpc.MaxHeaderListSize(16<<10),
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.ConnectionTimeout(10*time.Second),
			// An Envoy that is gone without a word is noticed; one that pings is let to.
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
			// Without these each question costs a stack that grows, and a ping that measures how much could be under way.
			grpc.NumStreamWorkers(streamWorkers),
			grpc.StaticStreamWindowSize(maxCheck),
			grpc.StaticConnWindowSize(4*maxCheck),
			grpc.UnaryInterceptor(g.recoverCheck),
		),
		health: health.NewServer(),
	}
	authv3.RegisterAuthorizationServer(s.server, checker{g: g})
	healthv1.RegisterHealthServer(s.server, s.health)
	s.health.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	return s
}

// Serve answers on a listener until Stop, and closes it.
func (s *ExtAuthz) Serve(l net.Listener) error { return s.server.Serve(l) }

// Stop lets questions that are under way be answered within ctx, and cuts those
// that are not.
func (s *ExtAuthz) Stop(ctx context.Context) error {
	s.health.Shutdown()
	done := make(chan struct{})
	go func() { // ends with the server, which Stop below ends at the latest
		s.server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.server.Stop() // ends the calls' contexts
		<-done
		return fmt.Errorf("calls of Envoy were cut off: %w", ctx.Err())
	}
}

// recoverCheck makes a panic the failure of one call: the library would let it end
// the process.
func (g *Gateway) recoverCheck(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.cfg.Log.ErrorContext(ctx, "panic", "method", info.FullMethod, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, err = nil, status.Error(codes.Internal, "a defect of landlord's; its log has more")
		}
	}()
	return handle(ctx, req)
}

// checker is the service.
type checker struct {
	authv3.UnimplementedAuthorizationServer

	g *Gateway
}

// Check implements authv3.AuthorizationServer.
func (c checker) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	began := c.g.cfg.Now()
	d, how := c.g.askEnvoy(ctx, r.GetAttributes())
	defer c.g.observe("envoy", &d, began)
	who := d.identity()
	switch {
	case d.status == http.StatusNoContent:
		return d.forEnvoy(codes.OK, &who, okResponse, d.envoyOK(&who, how.remove)), nil
	case d.status == http.StatusUnauthorized:
		return d.forEnvoy(codes.Unauthenticated, &who, deniedResponse, d.envoyDenied()), nil
	case d.outcome != outcomeUnavailable:
		return d.forEnvoy(codes.PermissionDenied, &who, deniedResponse, d.envoyDenied()), nil
	case how.grpcErrors:
		return nil, status.Error(codes.Unavailable, "the key can't be checked at the moment")
	default:
		return d.forEnvoy(codes.Unavailable, &who, errorResponse, d.envoyDenied()), nil
	}
}

// envoyAnswered is how the answer to an Envoy is to be given.
type envoyAnswered struct {
	grpcErrors bool
	remove     []string // headers that the backend does not get
}

// askEnvoy reads the question of an Envoy, and answers it. Every part of it may be
// missing.
func (g *Gateway) askEnvoy(ctx context.Context, attributes *authv3.AttributeContext) (decision, envoyAnswered) {
	route, err := g.routes.extensions(attributes.GetContextExtensions())
	if err != nil {
		return g.refuseRoute(ctx, fmt.Sprint(attributes.GetContextExtensions()), err), envoyAnswered{}
	}
	request := attributes.GetRequest().GetHttp()
	var h envoyHeaders
	h.read(request)
	q := question{
		need: route.need, write: unsafeMethod(request.GetMethod()),
		ip: envoyClient(peerOf(ctx), attributes.GetSource().GetAddress().GetSocketAddress().GetAddress(), h.forwarded, g.cfg.TrustedProxies),
	}
	q.token, q.problem = credential(h.authorization, h.key)
	how := envoyAnswered{grpcErrors: route.grpcErrors, remove: removeOutcome}
	if !route.keepKey {
		how.remove = removeKey
		if len(h.authorization) == 1 && bearerOf(h.authorization[0]) != "" {
			how.remove = removeBearer
		}
	}
	return g.decide(ctx, &q), how
}

// What is removed on the way to the backend. Another scheme of Authorization than
// Bearer may be the backend's own.
var (
	removeOutcome = []string{"x-landlord-outcome"}
	removeKey     = []string{"x-landlord-outcome", "x-api-key"}
	removeBearer  = []string{"x-landlord-outcome", "x-api-key", "authorization"}
)

// peerOf is the address of the Envoy that asks.
func peerOf(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr()
}

// envoyHeaders are the headers that matter of a client's request.
type envoyHeaders struct {
	authorization, key, forwarded []string
}

// read collects the headers from both encodings. With encode_raw_headers each is
// as it came. Otherwise Envoy has joined those of one name by commas; a key has
// none, so that each part of a credential counts as one.
func (e *envoyHeaders) read(r *authv3.AttributeContext_HttpRequest) {
	for _, h := range r.GetHeaderMap().GetHeaders() {
		to := e.named(h.GetKey())
		switch {
		case to == nil:
		case len(h.GetRawValue()) > 0:
			*to = append(*to, string(h.GetRawValue()))
		default:
			*to = append(*to, h.GetValue())
		}
	}
	for name, v := range r.GetHeaders() {
		switch to := e.named(name); to {
		case nil:
		case &e.forwarded:
			*to = append(*to, v)
		default:
			*to = append(*to, strings.Split(v, ",")...)
		}
	}
}

func (e *envoyHeaders) named(name string) *[]string {
	switch len(name) {
	case len(authorization):
		if strings.EqualFold(name, authorization) {
			return &e.authorization
		}
	case len(xAPIKey):
		if strings.EqualFold(name, xAPIKey) {
			return &e.key
		}
	case len(xForwardedFor):
		if strings.EqualFold(name, xForwardedFor) {
			return &e.forwarded
		}
	}
	return nil
}
