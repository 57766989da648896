package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Addresses are where a replica listens.
type Addresses struct {
	Public, Private net.Addr
	ExtAuthz        net.Addr // nil: nowhere
}

// listener is an address that is served.
type listener struct {
	addr net.Addr
	stop func(context.Context) error // lets open requests end within ctx, and cuts those that do not
}

// listenAll opens the listeners: the public one, the private one and, where it is
// wanted, the one for Envoy. What goes wrong with one of them later is sent to
// failed, which has room for it.
func (a *App) listenAll(ctx context.Context, failed chan<- error) (all []listener, at Addresses, err error) {
	for _, f := range []struct {
		address string
		open    func(net.Listener, chan<- error) listener
		at      *net.Addr
	}{
		{a.cfg.Listen, a.serveHTTP(a.public), &at.Public},
		{a.cfg.PrivateListen, a.serveHTTP(a.private), &at.Private},
		{a.cfg.ExtAuthzListen, a.serveExtAuthz, &at.ExtAuthz},
	} {
		if f.address == "" && f.at == &at.ExtAuthz {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.address)
		if err != nil {
			now, cancel := context.WithCancel(ctx)
			cancel()
			for _, open := range all {
				_ = open.stop(now)
			}
			return nil, at, fmt.Errorf("listen on %s: %w", f.address, err)
		}
		*f.at = l.Addr()
		all = append(all, f.open(l, failed))
	}
	return all, at, nil
}

// serveHTTP serves a face over HTTP.
func (a *App) serveHTTP(h http.Handler) func(net.Listener, chan<- error) listener {
	return func(l net.Listener, failed chan<- error) listener {
		s := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       60 * time.Second,
			WriteTimeout:      2 * time.Minute, // a client that does not read; pprof takes its time
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
		}
		go func() { // ends with Shutdown or Close of the server, which stop calls
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		}()
		return listener{l.Addr(), func(ctx context.Context) error {
			if err := s.Shutdown(ctx); err != nil {
				_ = s.Close() // ends their contexts too
				return fmt.Errorf("requests on %s were cut off: %w", l.Addr(), err)
			}
			return nil
		}}
	}
}

// serveExtAuthz serves the gateways' face over gRPC.
func (a *App) serveExtAuthz(l net.Listener, failed chan<- error) listener {
	s := a.ExtAuthz()
	go func() { // ends with Stop
		if err := s.Serve(l); err != nil {
			failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
	}()
	return listener{l.Addr(), s.Stop}
}
