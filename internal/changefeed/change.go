package changefeed

import (
	"context"
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// MinAge is the youngest that TrimBefore may delete: more than the longest transaction that notes a change, and more than
// the longest time between two polls.
const MinAge = 10 * time.Minute

// trimBatch bounds what one TrimBefore deletes, to keep its transaction short.
const trimBatch = 10_000

// Change says that something changed, or went, or came.
type Change struct {
	// Kind is the noun that changed: "api_key", "tenant", "project", "entitlement", "catalog", …
	Kind string
	// TenantID is the tenant concerned; zero means the whole platform, and needs an operator's transaction.
	TenantID id.Tenant
	// ID is the UUID text of what changed; empty means everything of the kind.
	ID string
}

// Note tells every replica of a change, when the caller's transaction commits and not otherwise.
//
// Committing a notification takes a lock that the whole database shares, so only what somebody did to the control plane is
// noted; never a count, a last-used time or anything else that traffic causes.
func Note(ctx context.Context, tx pg.Tx, changes ...Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := insertChanges(ctx, tx, changes); err != nil {
		return fmt.Errorf("note a change: %w", err)
	}
	return nil
}

// TrimBefore deletes up to 10,000 changes that are older than age, and returns how many; call it again when it was that
// many. It needs an operator's transaction.
func TrimBefore(ctx context.Context, tx pg.Tx, age time.Duration) (int64, error) {
	if age < MinAge {
		return 0, fmt.Errorf("trim changes: %v is younger than %v", age, MinAge)
	}
	n, err := deleteChanges(ctx, tx, age)
	if err != nil {
		return 0, fmt.Errorf("trim changes: %w", err)
	}
	return n, nil
}
