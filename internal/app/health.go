package app

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/landlordhq/landlord/migrations"
)

// livez says that the process answers. It asks nobody else: a database that is
// away is no reason to restart the process.
func (a *App) livez(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, map[string]string{"status": "ok", "version": a.cfg.Version})
}

// readyz says whether this replica can do its work.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	checks := map[string]string{"status": "ok", "database": "ok", "migrations": "ok", "change_feed": "ok"}
	status := http.StatusOK
	fail := func(what, why string) {
		checks[what], checks["status"] = why, "unavailable"
		status = http.StatusServiceUnavailable
	}
	at, err := a.schema(ctx)
	head, headErr := migrations.Latest()
	switch {
	case err != nil:
		fail("database", "unreachable")
		fail("migrations", "unknown")
	case headErr != nil || at.Dirty:
		fail("migrations", "half done")
	case at.Number < head:
		fail("migrations", "behind")
	}
	if !a.fresh() {
		fail("change_feed", "behind")
	}
	if a.limits != nil { // no reason to send the callers elsewhere
		checks["rate_limits"] = "shared"
		if !a.limits.Status().Shared {
			checks["rate_limits"] = "local, redis is away"
		}
	}
	writeHealth(w, status, checks)
}

func writeHealth(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may be gone
}
