package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/landlordhq/landlord/internal/secret"
)

// LogConfig says how to log.
type LogConfig struct {
	Format string // "json" (also for ""), or "text"
	Level  string // "debug", "info" (also for ""), "warn" or "error"
}

// NewLogger returns a logger that writes to w.
func NewLogger(w io.Writer, c LogConfig) (*slog.Logger, error) {
	var level slog.Level
	if c.Level != "" {
		if err := level.UnmarshalText([]byte(c.Level)); err != nil {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", c.Level)
		}
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	switch c.Format {
	case "", "json":
		return slog.New(contextHandler{slog.NewJSONHandler(w, opts)}), nil
	case "text":
		return slog.New(contextHandler{slog.NewTextHandler(w, opts)}), nil
	}
	return nil, fmt.Errorf("log format %q: want json or text", c.Format)
}

// secretKeys are attribute keys whose values never show, in lower case with underscores.
var secretKeys = map[string]bool{
	"authorization": true, "proxy_authorization": true, "cookie": true, "set_cookie": true, "x_api_key": true,
	"token": true, "access_token": true, "refresh_token": true, "id_token": true, "bearer": true,
	"password": true, "passphrase": true, "secret": true, "client_secret": true, "signing_secret": true,
	"api_key": true, "private_key": true, "pepper": true, "database_url": true, "dsn": true,
}

// redact hides the values of secretKeys, in any group. An empty value stays, so that a log can tell that something is
// not set.
func redact(_ []string, a slog.Attr) slog.Attr {
	key := strings.ReplaceAll(strings.ToLower(a.Key), "-", "_")
	if !secretKeys[key] || (a.Value.Kind() == slog.KindString && a.Value.String() == "") {
		return a
	}
	return slog.String(a.Key, secret.Redacted)
}

// contextHandler adds what the context knows about the request.
type contextHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}
