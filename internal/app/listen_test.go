package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/apptest"
	"github.com/landlordhq/landlord/internal/pgtest"
)

// Envoy's listener is there where it is wanted, is measured as the others are,
// and ends with the replica.
func TestListen_extAuthz(t *testing.T) {
	t.Parallel()
	url := pgtest.CloneURLs(t).App
	s := serve(t, app.Config{DatabaseURL: url, ExtAuthzListen: "127.0.0.1:0"})
	conn, err := grpc.NewClient(s.extAuthz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), &authv3.CheckRequest{})
	if err != nil || got.GetDeniedResponse().GetStatus().GetCode() != http.StatusUnauthorized {
		t.Fatalf("%v %v", got, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.private+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(metrics), `gateway="envoy",outcome="NO_CREDENTIAL"`) {
		t.Errorf("%v\n%s", err, metrics)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.extAuthz); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}

// An address that is taken stops the start, and leaves no other listener behind.
func TestListen_taken(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public := free.Addr().String()
	_ = free.Close()
	a, err := app.New(t.Context(), app.Config{
		DatabaseURL: pgtest.CloneURLs(t).App, Keys: apptest.NewKeys(t), MaxConns: 4,
		Listen: public, PrivateListen: "127.0.0.1:0", ExtAuthzListen: taken.Addr().String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Run(context.WithoutCancel(t.Context()), func(app.Addresses) { t.Error("it is ready") })
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Error(err)
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", public); err == nil {
		_ = c.Close()
		t.Error("the public listener is still there")
	}
}
