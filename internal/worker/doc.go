// Package worker runs periodic loops in the background: each on its own goroutine, one tick at a time, and, unless a
// loop says otherwise, on one replica at a time.
//
//	wait (Every + jitter, or Wake) ──▶ lock ──free──▶ Run ──ok──▶ wait
//	             ▲                      │              │
//	             └───── other replica ──┘              └─ error or panic ──▶ wait longer (backoff, deaf to Wake) ──▶
//
// # Invariants
//
// Ticks of a loop never overlap in a process. Across replicas a cluster-wide lock, tried anew for each tick, keeps all but
// one out; but a replica that loses its database session in the middle of a tick has lost the lock too, so Run must
// still be right when two replicas run it: work from database state, with row locks or idempotent statements.
//
// A missed tick, a killed process and a panic heal themselves with the next tick, because a loop keeps nothing in memory
// that it can't find again in the database.
//
// Close cancels what runs and waits for it. Nothing outlives it.
//
// It reads and writes nothing itself; the lock is a function that app passes in (pg.DB's TryLock).
package worker
