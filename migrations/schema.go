package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Latest is the version that the migrations of this program lead to: what a
// server expects of its database, or more.
func Latest() (uint, error) {
	entries, err := FS.ReadDir(".")
	if err != nil {
		return 0, err
	}
	var latest uint
	for _, e := range entries { // sorted
		if _, err := fmt.Sscanf(e.Name(), "%d_", &latest); err != nil {
			return 0, fmt.Errorf("migration %s has no number: %w", e.Name(), err)
		}
	}
	return latest, nil
}

// Querier is a connection, pool or transaction that reads.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Current reads where the schema stands. It needs no more than the application's
// rights. A database without any schema is at version 0.
func Current(ctx context.Context, db Querier) (Version, error) {
	var v Version
	err := db.QueryRow(ctx, `SELECT version, dirty FROM schema_migrations`).Scan(&v.Number, &v.Dirty)
	var pg *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || errors.As(err, &pg) && pg.Code == "42P01" {
		return Version{}, nil
	}
	return v, err
}

// Execer is a connection or pool that writes.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// partitioned has to be kept equal to landlord_month_partitioned_tables(); a test does.
var partitioned = []string{"tenant_events", "tenant_webhook_deliveries", "tenant_webhook_attempts", "tenant_webhook_stats", "tenant_usage_events", "tenant_api_request_logs"}

// EnsurePartitions makes the month partitions of now and of so many months
// ahead, in UTC, where they are missing. It works with the application's rights,
// and any number may run at once. Give it a connection or a pool rather than a
// transaction: each partition is made and committed for itself, so that no lock
// is held while another is waited for. One that cannot be made does not keep the
// others from being made; try again soon.
func EnsurePartitions(ctx context.Context, db Execer, now time.Time, monthsAhead int) error {
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	var errs []error
	for ahead := 0; ahead <= monthsAhead && ctx.Err() == nil; ahead++ {
		month := first.AddDate(0, ahead, 0)
		for _, table := range partitioned {
			if _, err := db.Exec(ctx, `SELECT landlord_make_month_partition($1, $2::date)`, table, month); err != nil {
				errs = append(errs, fmt.Errorf("make the partition %s of %s: %w", month.Format("2006-01"), table, err))
			}
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// DropPartition drops the partition of a month that is over, with its rows: how
// retention forgets. Dropping one that is not there does nothing.
func DropPartition(ctx context.Context, db Execer, table string, month time.Time) error {
	if _, err := db.Exec(ctx, `SELECT landlord_drop_month_partition($1, $2::date)`, table, month.UTC()); err != nil {
		return fmt.Errorf("drop the partition %s of %s: %w", month.UTC().Format("2006-01"), table, err)
	}
	return nil
}
