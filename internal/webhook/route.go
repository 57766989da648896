package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// route is how an endpoint is sent to: what its row says, out of its boxes.
type route struct {
	version time.Time // the row's updated_at
	url     string
	signer  signer
	headers map[string]string
	err     error // why nothing can be sent, such as a box that does not open
}

// routes remembers routes. One is asked for together with the version that the
// database has right now, so it is never out of date.
type routes struct {
	keys *secret.Keyring

	mu  sync.Mutex
	all map[id.Webhook]*route
}

// maxRoutes bounds what is remembered; beyond it all is forgotten and read again.
const maxRoutes = 20_000

// find returns the routes of endpoints, and reads those that it does not know.
func (r *routes) find(ctx context.Context, tx pg.Tx, targets []target) (map[id.Webhook]*route, error) {
	found := make(map[id.Webhook]*route, len(targets))
	var unknown []id.Webhook
	r.mu.Lock()
	for _, t := range targets {
		if known := r.all[t.ID]; known != nil && known.version.Equal(t.UpdatedAt) {
			found[t.ID] = known
		} else {
			unknown = append(unknown, t.ID)
		}
	}
	r.mu.Unlock()
	if len(unknown) == 0 {
		return found, nil
	}
	rows, err := pg.Collect[sealedConfig](ctx, tx, selectConfigs, unknown)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all)+len(rows) > maxRoutes {
		r.all = map[id.Webhook]*route{}
	}
	for _, row := range rows {
		opened := r.open(row)
		r.all[row.ID], found[row.ID] = opened, opened
	}
	return found, nil
}

func (r *routes) open(row sealedConfig) *route {
	opened := &route{version: row.UpdatedAt, url: row.URL}
	secrets, err := openSecrets(r.keys, row.ID, row.Secrets)
	if err == nil {
		opened.signer, err = newSigner(secrets, row.Signatures)
	}
	if err == nil {
		opened.headers, err = openHeaders(r.keys, row.ID, row.Headers)
	}
	opened.err = err
	return opened
}
