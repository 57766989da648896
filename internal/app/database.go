package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/migrations"
)

// checkDatabase refuses a role for which row-level security would not hold, and
// a schema that is older than this program.
func (a *App) checkDatabase(ctx context.Context) error {
	role, err := a.db.Role(ctx)
	if err != nil {
		return err
	}
	if role.Superuser || role.BypassRLS {
		return fmt.Errorf("the database role %q is a superuser or has BYPASSRLS, so tenants would not be isolated: "+
			"connect as a plain role that is a member of landlord_app (see docs/migrations.md)", role.Name)
	}
	if !role.Member {
		return fmt.Errorf("the database role %q is not a member of landlord_app: GRANT landlord_app TO %s", role.Name, role.Name)
	}
	at, err := a.schema(ctx)
	if err != nil {
		return err
	}
	head, err := migrations.Latest()
	switch {
	case err != nil:
		return err
	case at.Dirty:
		return fmt.Errorf("the schema was left half migrated at version %d: see landlord-migrate force", at.Number)
	case at.Number < head:
		return fmt.Errorf("the schema is at version %d, this program needs %d: run landlord-migrate up", at.Number, head)
	}
	return nil
}

// errNoSchema ends the transaction in which a database without a schema was asked
// for its version: the statement failed, so it can't be committed.
var errNoSchema = errors.New("no schema")

// schema reads where the schema stands.
func (a *App) schema(ctx context.Context) (at migrations.Version, err error) {
	err = a.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		at, err = migrations.Current(ctx, tx)
		if err == nil && at.Number == 0 {
			err = errNoSchema
		}
		return err
	})
	if errors.Is(err, errNoSchema) {
		return migrations.Version{}, nil
	}
	return at, err
}

// monthsAhead is how many months of partitions exist before they are needed.
const monthsAhead = 3

func (a *App) ensurePartitions(ctx context.Context) error {
	return a.db.AsOperator(ctx, func(tx pg.Tx) error {
		return migrations.EnsurePartitions(ctx, tx, a.cfg.Now(), monthsAhead)
	})
}

// feedKept is how long a row of the change feed is kept: much longer than a
// replica may be behind before it starts anew.
const feedKept = 6 * time.Hour

func (a *App) trimFeed(ctx context.Context) error {
	return a.db.AsOperator(ctx, func(tx pg.Tx) error {
		_, err := changefeed.TrimBefore(ctx, tx, feedKept)
		return err
	})
}
