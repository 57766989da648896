package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/examples"
	"github.com/landlordhq/landlord/internal/app"
	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/telemetry"
	"github.com/landlordhq/landlord/migrations"
)

// devCmd is a whole world on one machine, for trying and developing.
type devCmd struct {
	Listen         string `help:"Public address: REST API and reference." env:"LANDLORD_LISTEN" default:"127.0.0.1:8080" placeholder:"ADDR"`
	PrivateListen  string `help:"Private address: gateways, metrics, health, pprof." env:"LANDLORD_PRIVATE_LISTEN" default:"127.0.0.1:8081" placeholder:"ADDR"`
	ExtAuthzListen string `help:"Private address for Envoy's ext_authz, gRPC; without it there is none." env:"LANDLORD_EXT_AUTHZ_LISTEN" placeholder:"ADDR"`
	Data           string `help:"Folder of the database, the secrets and the owner's token." env:"LANDLORD_DEV_DATA" default:".landlord" type:"path" placeholder:"DIR"`
	PostgresPort   int    `help:"Port of the embedded PostgreSQL; 0 picks a free one." env:"LANDLORD_DEV_POSTGRES_PORT" default:"0" placeholder:"PORT"`
	Demo           bool   `help:"Make a small demo world, once." default:"true" negatable:""`
	LogLevel       string `help:"What to log: ${enum}." env:"LANDLORD_LOG_LEVEL" enum:"debug, info, warn, error" default:"warn"`
}

// Run implements the command.
func (c *devCmd) Run(ctx context.Context, g *Globals) (err error) {
	log, err := telemetry.NewLogger(g.errOut, telemetry.LogConfig{Format: "text", Level: c.LogLevel})
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := os.Stat(filepath.Join(c.Data, "pgdata")); errors.Is(err, os.ErrNotExist) {
		g.done("Making a database in %s …", c.Data)
	}
	server, err := embeddedpg.Start(ctx, embeddedpg.Config{DataDir: c.Data, Port: c.PostgresPort, Install: true, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		err = errors.Join(err, server.Stop(stop))
	}()
	g.done("PostgreSQL %s on 127.0.0.1:%d", server.Version(), server.Port())
	if err := c.migrate(ctx, g, server, log); err != nil {
		return err
	}
	keys, err := secret.LoadOrCreate(filepath.Join(server.DataDir(), "secrets"), rand.Reader)
	if err != nil {
		return err
	}
	egress, err := devEgress()
	if err != nil {
		return err
	}
	a, err := app.New(ctx, app.Config{
		Egress:      egress,
		DatabaseURL: server.AppURL(embeddedpg.Database), Keys: keys, Listen: c.Listen, PrivateListen: c.PrivateListen, ExtAuthzListen: c.ExtAuthzListen,
		// The gateways of a developer's machine are on it.
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Version:        release(), Logger: log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with the server or with ctx
		select {
		case <-server.Done():
			cancel(errors.New("PostgreSQL has ended; see the log in " + server.DataDir()))
		case <-ctx.Done():
		}
	}()
	err = a.Run(ctx, func(at app.Addresses) {
		if err := c.world(ctx, g, a, c.shown(server.DataDir()), at.Public, at.Private, began); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		g.done("Stopped. The data stay in %s.", c.Data)
	}
	return err
}

func (c *devCmd) migrate(ctx context.Context, g *Globals, server *embeddedpg.Server, log *slog.Logger) error {
	m, err := migrations.Open(ctx, migrations.Options{URL: server.OwnerURL(embeddedpg.Database), Log: log})
	if err != nil {
		return err
	}
	r, err := m.Up(ctx)
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	if r.From != r.To {
		g.done("Migrated the schema from version %d to %d", r.From, r.To)
	}
	return server.GrantApp(ctx)
}

// shown is the folder of the data as a newcomer is told of it: the one that was asked
// for. Where PostgreSQL could not have that one, it leads to the one that it has, so
// that what the pages say of .landlord holds there too.
func (c *devCmd) shown(dir string) string {
	if at, err := filepath.EvalSymlinks(c.Data); err == nil && at == dir {
		return c.Data
	}
	if err := os.Symlink(dir, c.Data); err != nil { // something else is there
		return dir
	}
	return c.Data
}

// world makes what a newcomer needs, once, and prints what to try. Every step
// can be repeated, so that a world that was cut short is completed next time.
func (c *devCmd) world(ctx context.Context, g *Globals, a *app.App, dir string, public, private net.Addr, began time.Time) error {
	tokenFile := filepath.Join(dir, "owner.token")
	if made, err := a.ApplyCatalogOnce(ctx, examples.Catalogs, "media-reseller", "ai-platform"); err != nil {
		return fmt.Errorf("apply the example catalogue: %w", err)
	} else if made {
		g.done("Applied the example catalogues media-reseller and ai-platform")
	}
	url, gateway := "http://"+public.String(), "http://"+private.String()
	token, err := c.ownerToken(ctx, a, url, tokenFile)
	if err != nil {
		return err
	}
	if c.Demo {
		api, err := client.New(url, token, client.WithUserAgent("landlord-dev"))
		if err != nil {
			return err
		}
		if err := demo(ctx, g, api, dir); err != nil {
			return fmt.Errorf("make the demo world: %w", err)
		}
	}
	rel := func(name string) string {
		p := filepath.Join(dir, name)
		if wd, err := os.Getwd(); err == nil {
			if r, err := filepath.Rel(wd, p); err == nil && !strings.HasPrefix(r, "..") {
				p = r
			}
		}
		return p
	}
	exe := os.Args[0]
	g.done("Up in %.1f s.\n", time.Since(began).Seconds())
	_, _ = fmt.Fprintf(g.out, `  API       %s    reference: %s/docs
  private   %s    gateways, metrics, health
  token     %s    of the owner

Try, in another terminal:

  export LANDLORD_SERVER=%s LANDLORD_TOKEN_FILE=%s && %s tenants list
`, url, url, gateway, rel("owner.token"), url, rel("owner.token"), exe)
	if c.Demo {
		_, _ = fmt.Fprintf(g.out, `
  curl -s %s/v1/keys/verify -H "Authorization: Bearer $(cat %s)" \
    -H 'Content-Type: application/json' -d '{"key": "'$(cat %s)'", "product": "render", "scopes": ["renders:create"]}'

  curl -i "%s/gateway/nginx?product=render&scope=renders:create" -H "X-API-Key: $(cat %s)"
`, url, rel("owner.token"), rel("demo.key"), gateway, rel("demo.key"))
	}
	_, _ = fmt.Fprintf(g.out, "\nCtrl-C stops everything; the data stay.\n")
	return nil
}

// ownerToken reads the owner's token, or makes the owner. A token that was lost
// or has expired is replaced: whoever can read the folder owns the world.
func (c *devCmd) ownerToken(ctx context.Context, a *app.App, url, file string) (string, error) {
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if token := strings.TrimSpace(string(b)); token != "" {
		api, err := client.New(url, token)
		if err != nil {
			return "", err
		}
		if _, err = api.Whoami(ctx); err == nil {
			return token, nil
		}
		if !strings.HasPrefix(client.Code(err), "credential_") {
			return "", err
		}
	}
	token, err := a.Bootstrap(ctx, "owner@example.com", "Dev Owner", true)
	if err != nil {
		return "", err
	}
	return token, writeSecret(file, token)
}

// writeSecret writes a file that only its owner may read, whole or not at all.
func writeSecret(file, text string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
