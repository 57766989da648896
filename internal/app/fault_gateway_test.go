package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/landlordhq/landlord/internal/apptest"
)

// face is one of the faces that tell whether a key may pass. The answer is what
// the client of a product gets in the end: 204 when it may.
type face struct {
	name string
	ask  func(t *testing.T, token string) apptest.Response
}

// faces are all of a replica's: what breaks must break alike on each.
func faces(t *testing.T, w *apptest.World, owner string) []face {
	t.Helper()
	conn, err := grpc.NewClient(w.Envoy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return []face{
		{"verify", func(t *testing.T, token string) apptest.Response {
			r := w.Do(t, apptest.Request{Method: "POST", Path: "/v1/keys/verify", Token: owner, Body: map[string]any{"key": token}})
			var v struct{ Outcome string }
			if r.Status == http.StatusOK && json.Unmarshal(r.Body, &v) == nil {
				r.Status = map[string]int{"VALID": http.StatusNoContent, "RATE_LIMITED": http.StatusTooManyRequests}[v.Outcome]
				if r.Status == 0 {
					r.Status = http.StatusUnauthorized
				}
			}
			return r
		}},
		{"nginx", func(t *testing.T, token string) apptest.Response {
			r := get(t, w.Private+"/gateway/nginx", map[string]string{"Authorization": "Bearer " + token})
			if r.Status == http.StatusForbidden && r.Header.Get("X-Auth-Status") == "429" {
				r.Status = http.StatusTooManyRequests // as the configuration does
			}
			return r
		}},
		{"forward-auth", func(t *testing.T, token string) apptest.Response {
			return get(t, w.Private+"/gateway/forward-auth", map[string]string{"Authorization": "Bearer " + token})
		}},
		{"Envoy", func(t *testing.T, token string) apptest.Response {
			return envoy(t, authv3.NewAuthorizationClient(conn), token)
		}},
	}
}

// envoy asks as Envoy's filter does, and is told for the client what it would get.
func envoy(t *testing.T, landlord authv3.AuthorizationClient, token string) apptest.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := landlord.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: http.MethodGet, Path: "/", HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-api-key", RawValue: []byte(token)}}},
		}},
	}})
	if err != nil {
		t.Error(err)
		return apptest.Response{}
	}
	no := answer.GetDeniedResponse()
	if failed := answer.GetErrorResponse(); failed != nil {
		no = failed
	}
	if no == nil {
		if answer.GetOkResponse() == nil || answer.GetStatus().GetCode() != 0 {
			t.Errorf("answered %v", answer)
		}
		return apptest.Response{Status: http.StatusNoContent}
	}
	r := apptest.Response{Status: int(no.GetStatus().GetCode()), Header: http.Header{}, Body: []byte(no.GetBody())}
	for _, o := range no.GetHeaders() {
		r.Header.Set(o.GetHeader().GetKey(), o.GetHeader().GetValue())
	}
	return r
}
