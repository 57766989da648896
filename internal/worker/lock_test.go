//go:build unix

package worker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// Three replicas with the database's own lock: their ticks never overlap, each of them gets a turn, and a panic gives the
// lock back.
func TestGroup_databaseLock(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var inside, overlaps atomic.Int64
	var done sync.WaitGroup
	for range 3 {
		var ticks int // of this replica's single goroutine
		enough := make(chan struct{})
		g := group(t, worker.Config{Lock: db.TryLock}, worker.Loop{
			Name: t.Name(), Every: time.Millisecond, Jitter: 4 * time.Millisecond,
			Run: func(ctx context.Context) error {
				if inside.Add(1) > 1 {
					overlaps.Add(1)
				}
				defer inside.Add(-1)
				if err := db.Ping(ctx); err != nil {
					return err
				}
				switch ticks++; ticks {
				case 5:
					panic("oh")
				case 10:
					close(enough)
				}
				return nil
			},
		})
		g.Start(t.Context())
		done.Go(func() {
			defer g.Close()
			select {
			case <-enough:
			case <-time.After(30 * time.Second):
				t.Error("a replica never gets its turn")
			}
		})
	}
	done.Wait()
	if n := overlaps.Load(); n > 0 {
		t.Errorf("%d ticks overlapped", n)
	}
}
