package apikey

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

const (
	// flushBatch is how many keys one statement of a flush updates.
	flushBatch = 5000
	// flushesKept is how long it is known which batch a replica wrote last. One that
	// could not reach the database for longer may count its last batch twice.
	flushesKept = 7 * 24 * time.Hour
)

// use counts a key's verifications until the next flush takes them. Every entry
// of a key has its own; the flush adds up those that meet.
type use struct {
	of *entry

	mu    sync.Mutex
	taken bool // by a flush: nothing is added any more
	count int64
	last  time.Time
	ip    netip.Addr
}

// usage collects what was used since the last flush. Nothing is written on the
// verify path; what a process that is killed had not flushed is lost, at most
// one interval's worth.
//
//	note ──▶ pending ──flush──▶ unsent ──▶ batch, numbered ──written──▶ gone
//	                                         └── no answer: sent again as it is
//
// Whether a commit was carried out whose answer did not arrive, nobody knows. So
// the batch goes again as it is, under its number, which the database remembers.
type usage struct {
	db      *pg.DB
	replica uuid.UUID // of this process: numbers are its own

	mu      sync.Mutex
	pending []*use // those that no flush took yet
	hashes  map[id.APIKey]rehash

	flushing sync.Mutex // one flush at a time; guards the rest
	unsent   map[id.APIKey]used
	batch    []used // sent at least once and not known to be written
	number   int64  // of the batch
}

// rehash is the digest under the current pepper of a key that was found under a
// retired one.
type rehash struct {
	key    id.APIKey
	tenant id.Tenant
	hash   string
}

// used is a key's use, added up.
type used struct {
	key    id.APIKey
	tenant id.Tenant
	count  int64
	last   time.Time
	ip     netip.Addr
}

// note counts one use.
func (u *usage) note(e *entry, now time.Time, ip netip.Addr) {
	for {
		k := e.use.Load()
		if k == nil {
			k = &use{of: e}
			if !e.use.CompareAndSwap(nil, k) {
				continue
			}
			u.mu.Lock()
			u.pending = append(u.pending, k)
			u.mu.Unlock()
		}
		if k.add(now, ip) {
			return
		}
	}
}

// add counts one use, unless a flush was here first.
func (k *use) add(now time.Time, ip netip.Addr) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken {
		return false
	}
	k.count++
	if !now.Before(k.last) {
		k.last, k.ip = now, ip
	}
	return true
}

// take ends the counting. The entry lets go of the record before the record is
// closed, so that who meets a closed one finds another at the next look.
func (k *use) take() used {
	k.of.use.Store(nil)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken = true
	return used{k.of.id, k.of.tenant, k.count, k.last, k.ip}
}

// upgrade notes that a key's digest is to be written anew.
func (u *usage) upgrade(e *entry, hash string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hashes[e.id] = rehash{e.id, e.tenant, hash}
}

// flush writes what was used since the last one. What can't be written is kept
// for the next flush: there is at most one record a key of it, beside the batch
// that is on its way.
func (u *usage) flush(ctx context.Context) error {
	u.flushing.Lock()
	defer u.flushing.Unlock()
	u.mu.Lock()
	pending := u.pending
	u.pending = nil
	hashes := slices.Collect(maps.Values(u.hashes))
	clear(u.hashes) // what is not written now is found again by the next look-up
	u.mu.Unlock()
	for _, k := range pending {
		u.keep(k.take())
	}
	return errors.Join(u.send(ctx), u.rehash(ctx, hashes))
}

// send writes the batch that is on its way, and then what is unsent.
func (u *usage) send(ctx context.Context) error {
	for {
		if len(u.batch) == 0 {
			if len(u.unsent) == 0 {
				return nil
			}
			u.seal()
		}
		err := u.db.AsOperator(ctx, func(tx pg.Tx) error { return addUsage(ctx, tx, u.replica, u.number, u.batch) })
		if err != nil {
			return err
		}
		u.batch = u.batch[:0]
	}
}

// seal makes a batch of what is unsent.
func (u *usage) seal() {
	u.number++
	for key, x := range u.unsent {
		if len(u.batch) == flushBatch {
			break
		}
		u.batch = append(u.batch, x)
		delete(u.unsent, key)
	}
	slices.SortFunc(u.batch, func(a, b used) int { return slices.Compare(a.key[:], b.key[:]) }) // as the rows are locked
}

func (u *usage) rehash(ctx context.Context, hashes []rehash) error {
	for part := range slices.Chunk(hashes, flushBatch) {
		if err := u.db.AsOperator(ctx, func(tx pg.Tx) error { return updateHashes(ctx, tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

func (u *usage) keep(add used) {
	x, ok := u.unsent[add.key]
	if !ok {
		u.unsent[add.key] = add
		return
	}
	x.count += add.count
	if cmp.Compare(x.last.UnixNano(), add.last.UnixNano()) <= 0 {
		x.last, x.ip = add.last, add.ip
	}
	u.unsent[add.key] = x
}
