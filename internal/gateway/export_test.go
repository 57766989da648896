package gateway

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// Checker is what ExtAuthz serves, without a connection. The answer is read as its receiver does.
func (g *Gateway) Checker() func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return func(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		sent, err := checker{g: g}.Check(ctx, r)
		if err != nil {
			return nil, err
		}
		wire, err := proto.Marshal(sent)
		if err != nil {
			return nil, err
		}
		got := &authv3.CheckResponse{}
		return got, proto.Unmarshal(wire, got)
	}
}
