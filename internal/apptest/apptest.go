// Package apptest runs a whole replica for a test: real PostgreSQL, real
// listeners on loopback, an owner's token, a client. Only _test files import it.
package apptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

// World is a running replica and what a test needs to use it.
type World struct {
	App     *app.App
	URL     string // public face
	Private string // private face
	Envoy   string // address of the face for Envoy
	Owner   string // token of an owner
	Client  *client.Client
	DB      *pg.DB // the replica's own pool, for looking behind the face
	Log     *Log
}

// Option changes the replica's configuration.
type Option func(*app.Config)

// New runs a replica on a database of its own. It stops with the test.
func New(t testing.TB, opts ...Option) *World {
	t.Helper()
	urls := pgtest.CloneURLs(t)
	return On(t, urls.App, NewKeys(t), opts...)
}

// NewKeys returns a fresh secrets file, parsed.
func NewKeys(t testing.TB) *secret.Keyring {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// nowhere resolves no name: a test's webhooks don't leave this machine.
var nowhere = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("tests resolve no names")
}}

// On runs a replica on a given database, for tests with several replicas. Only
// the first bootstraps an owner; give the others its token with World.As.
func On(t testing.TB, databaseURL string, keys *secret.Keyring, opts ...Option) *World {
	t.Helper()
	log := &Log{}
	cfg := app.Config{
		DatabaseURL: databaseURL, Keys: keys, Version: "test", MaxConns: 8,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.Egress.Resolver == nil {
		cfg.Egress.Resolver = nowhere
	}
	a, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		a.Close(t.Context())
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		a.Close(t.Context())
		t.Fatal(err)
	}
	envoy, served := a.ExtAuthz(), make(chan error, 1)
	go func() { served <- envoy.Serve(l) }()
	public, private := httptest.NewServer(a.Public()), httptest.NewServer(a.Private())
	t.Cleanup(func() {
		public.Close()
		private.Close()
		now, cancel := context.WithCancel(context.Background()) // the test's own context is over by now
		cancel()
		_ = envoy.Stop(now) // says that calls were cut off, if any are left
		if err := <-served; err != nil {
			t.Error(err)
		}
		a.Close(context.Background())
	})
	w := &World{App: a, URL: public.URL, Private: private.URL, Envoy: l.Addr().String(), DB: a.DB(), Log: log}
	if token, err := a.Bootstrap(t.Context(), "owner@example.com", "Olivia Owner", false); err == nil {
		w.Owner = token
		w.Client = w.As(t, token)
	}
	return w
}

// As returns a client of the replica with another credential.
func (w *World) As(t testing.TB, token string) *client.Client {
	t.Helper()
	c, err := client.New(w.URL, token, client.WithStrictDecoding(), client.WithRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Request is a raw request to the public face.
type Request struct {
	Method string
	Path   string
	Token  string // "" sends no credential
	Body   any    // string and []byte go as they are; anything else as JSON; nil sends none
	Header map[string]string
}

// Response is a raw answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a raw request.
func (w *World) Do(t testing.TB, r Request) Response {
	t.Helper()
	var body io.Reader
	switch b := r.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), r.Method, w.URL+r.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	c := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: b}
}

// JSON decodes the answer.
func (r Response) JSON(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		t.Fatalf("answer %d is no JSON object: %s", r.Status, r.Body)
	}
	return m
}

// Code is the stable code of a problem, "" for anything else.
func (r Response) Code() string {
	var p struct {
		Code string `json:"code"`
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(r.Body, &p) != nil {
		return ""
	}
	return p.Code
}

// Log collects what a replica logs.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
