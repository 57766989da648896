package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3" // types of the example
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/landlordhq/landlord/internal/gateway"
)

// No registry of ours has Envoy itself. So this is its part in the matter: a front
// that reads the example's configuration with Envoy's own types, asks as its
// ext_authz filter does, in either encoding of the headers, and does with the answer what the
// documentation of the protos says.
func TestEnvoy_byContract(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{"raw headers": "encode_raw_headers: true", "headers in a map": "encode_raw_headers: false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testProgram(t, program{
				column: "Envoy", landlord: serveExtAuthz,
				misspell: []string{"product: render", "produkt: render"},
				start: func(t *testing.T, landlord, backend string, change ...string) string {
					return "http://" + serve(t, newEnvoy(t, example(t, "envoy/envoy.yaml", append(change,
						"encode_raw_headers: true", raw,
						"port_value: 8082", "port_value: "+port(landlord),
						"port_value: 9000", "port_value: "+port(backend))...)))
				},
			})
		})
	}
}

func serveExtAuthz(t *testing.T, g *gateway.Gateway) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := g.NewExtAuthz()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// envoy is a front with one listener.
type envoy struct {
	t        *testing.T
	manager  *hcmv3.HttpConnectionManager
	filter   *extauthzv3.ExtAuthz
	landlord authv3.AuthorizationClient
	backend  string
}

func newEnvoy(t *testing.T, config string) *envoy {
	t.Helper()
	bootstrap := readBootstrap(t, config)
	e := &envoy{t: t, manager: &hcmv3.HttpConnectionManager{}, filter: &extauthzv3.ExtAuthz{}}
	unpack(t, bootstrap.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0].GetTypedConfig(), e.manager)
	for _, f := range e.manager.GetHttpFilters() {
		if f.GetName() == "envoy.filters.http.ext_authz" {
			unpack(t, f.GetTypedConfig(), e.filter)
		}
	}
	addresses := map[string]string{}
	for _, c := range bootstrap.GetStaticResources().GetClusters() {
		a := c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
		addresses[c.GetName()] = net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue())))
	}
	conn, err := grpc.NewClient(addresses[e.filter.GetGrpcService().GetEnvoyGrpc().GetClusterName()], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	e.landlord, e.backend = authv3.NewAuthorizationClient(conn), "http://"+addresses["backend"]
	return e
}

// readBootstrap reads a configuration as Envoy does: a field that it does not know
// is an error, and so is a value that breaks a rule of its protos.
func readBootstrap(t *testing.T, config string) *bootstrapv3.Bootstrap {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(config), &tree); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(raw, b); err != nil {
		t.Fatal(err)
	}
	validate(t, b)
	return b
}

// validate checks the rules of a message, and of those that are packed in it.
func validate(t *testing.T, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Error(err)
		}
	}
	packed := 0
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		if a, ok := m.Interface().(*anypb.Any); ok {
			inner, err := a.UnmarshalNew()
			if err != nil {
				t.Error(err)
				return
			}
			packed++
			validate(t, inner)
			return
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsMap():
				if f.MapValue().Message() != nil {
					v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { walk(v.Message()); return true })
				}
			case f.Message() == nil:
			case f.IsList():
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			default:
				walk(v.Message())
			}
			return true
		})
	}
	walk(m.ProtoReflect())
	if _, top := m.(*bootstrapv3.Bootstrap); top && packed == 0 {
		t.Error("the configuration has no typed part")
	}
}

func unpack(t *testing.T, packed *anypb.Any, to proto.Message) {
	t.Helper()
	if err := packed.UnmarshalTo(to); err != nil {
		t.Fatal(err)
	}
}

// route finds the first route that matches.
func (e *envoy) route(r *http.Request) *routev3.Route {
	for _, route := range e.manager.GetRouteConfig().GetVirtualHosts()[0].GetRoutes() {
		m := route.GetMatch()
		matches := strings.HasPrefix(r.URL.Path, m.GetPrefix())
		if p := m.GetPathSeparatedPrefix(); p != "" {
			matches = r.URL.Path == p || strings.HasPrefix(r.URL.Path, p+"/")
		}
		for _, h := range m.GetHeaders() {
			if h.GetName() != ":method" {
				e.t.Fatalf("a route matches on %s", h.GetName())
			}
			matches = matches && regexp.MustCompile("^(?:"+h.GetStringMatch().GetSafeRegex().GetRegex()+")$").MatchString(r.Method)
		}
		if matches {
			return route
		}
	}
	return nil
}

// request is the client's request as the filter sees it.
func (e *envoy) request(r *http.Request) http.Header {
	h := http.Header{}
	for name, v := range r.Header {
		if strings.Contains(name, "_") && e.manager.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction() == corev3.HttpProtocolOptions_DROP_HEADER {
			continue
		}
		if name != "Connection" {
			h[name] = slices.Clone(v)
		}
	}
	if e.manager.GetUseRemoteAddress().GetValue() {
		peer, _, _ := net.SplitHostPort(r.RemoteAddr)
		h.Set("X-Forwarded-For", strings.Join(append(h["X-Forwarded-For"], peer), ","))
	}
	h.Set("X-Forwarded-Proto", "http")
	return h
}

// question is what the filter sends.
func (e *envoy) question(r *http.Request, h http.Header) *authv3.CheckRequest {
	address, service, _ := net.SplitHostPort(r.RemoteAddr)
	number, _ := strconv.ParseUint(service, 10, 32)
	request := &authv3.AttributeContext_HttpRequest{
		Id: "17", Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Scheme: "http", Size: r.ContentLength, Protocol: "HTTP/1.1",
	}
	all := maps.Clone(h)
	all[":method"], all[":path"], all[":authority"], all[":scheme"] = []string{r.Method}, []string{r.URL.RequestURI()}, []string{r.Host}, []string{"http"}
	for name, values := range all {
		name = strings.ToLower(name)
		if !e.filter.GetEncodeRawHeaders() {
			if request.Headers == nil {
				request.Headers = map[string]string{}
			}
			request.Headers[name] = strings.Join(values, ",")
			continue
		}
		if request.HeaderMap == nil {
			request.HeaderMap = &corev3.HeaderMap{}
		}
		for _, v := range values {
			request.HeaderMap.Headers = append(request.HeaderMap.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(v)})
		}
	}
	a := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(number)},
		}}}},
		Request:         &authv3.AttributeContext_Request{Time: timestamppb.Now(), Http: request},
		MetadataContext: &corev3.Metadata{},
	}
	if packed := e.route(r).GetTypedPerFilterConfig()["envoy.filters.http.ext_authz"]; packed != nil {
		per := &extauthzv3.ExtAuthzPerRoute{}
		unpack(e.t, packed, per)
		a.ContextExtensions = per.GetCheckSettings().GetContextExtensions()
	}
	return &authv3.CheckRequest{Attributes: a}
}

func (e *envoy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := e.request(r)
	ctx, cancel := context.WithTimeout(r.Context(), e.filter.GetGrpcService().GetTimeout().AsDuration())
	defer cancel()
	answer, err := e.landlord.Check(ctx, e.question(r, h))
	if err != nil {
		w.WriteHeader(int(e.filter.GetStatusOnError().GetCode()))
		return
	}
	validate(e.t, answer)
	if failed := answer.GetErrorResponse(); failed != nil && e.filter.GetFailureModeAllow() {
		answer = &authv3.CheckResponse{}
	} else if failed != nil {
		e.reply(w, failed, int(e.filter.GetStatusOnError().GetCode()))
		return
	}
	if codes.Code(answer.GetStatus().GetCode()) != codes.OK {
		e.reply(w, answer.GetDeniedResponse(), http.StatusForbidden)
		return
	}
	ok := answer.GetOkResponse()
	e.mutate(h, ok.GetHeaders())
	for _, name := range ok.GetHeadersToRemove() {
		h.Del(name)
	}
	body, _ := io.ReadAll(r.Body)
	up, err := http.NewRequestWithContext(r.Context(), r.Method, e.backend+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		e.t.Error(err)
		return
	}
	up.Header = h
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(up)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	e.mutate(w.Header(), ok.GetResponseHeadersToAdd())
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// reply answers the client instead of the backend.
func (e *envoy) reply(w http.ResponseWriter, d *authv3.DeniedHttpResponse, otherwise int) {
	if d.GetBody() != "" {
		w.Header().Set("Content-Type", "text/plain")
	}
	e.mutate(w.Header(), d.GetHeaders())
	if c := int(d.GetStatus().GetCode()); c != 0 {
		otherwise = c
	}
	w.WriteHeader(otherwise)
	_, _ = io.WriteString(w, d.GetBody())
}

// mutate changes headers as Envoy does: its names are lower-case, and it refuses
// others.
func (e *envoy) mutate(h http.Header, options []*corev3.HeaderValueOption) {
	for _, o := range options {
		name := o.GetHeader().GetKey()
		if name != strings.ToLower(name) || o.GetHeader().GetValue() == "" {
			e.t.Errorf("Envoy refuses the header %q: %q", name, o.GetHeader().GetValue())
		}
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || o.GetAppend() != nil { //nolint:staticcheck // older Envoys look at it
			e.t.Errorf("%s is not overwritten", name)
		}
		h.Set(name, o.GetHeader().GetValue())
	}
}
