package gateway

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// Checker is what ExtAuthz serves, without a connection.
func (g *Gateway) Checker() func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return checker{g: g}.Check
}
