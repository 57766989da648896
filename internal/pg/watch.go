package pg

import (
	"slices"
	"sync"
)

// Mark says in a transaction that it wrote something of a kind, which the process's own watchers of that kind are
// told of when it has committed. It costs the database nothing. Who must not miss anything still looks by himself: other
// processes aren't told, and neither is anybody when this one dies.
func Mark(tx Tx, kind string) {
	m, ok := tx.(*markedTx)
	if ok && !slices.Contains(m.marks, kind) { // another Tx is a savepoint of one that goes on
		m.marks = append(m.marks, kind)
	}
}

// Watch has fn called after each transaction of this pool that was marked with a kind has committed, by whoever
// committed it: fn must not wait for anything. stop ends that.
func (db *DB) Watch(kind string, fn func()) (stop func()) {
	return db.watchers.add(kind, fn)
}

// markedTx is a transaction with what it was marked with.
type markedTx struct {
	Tx

	marks []string
}

// watchers are shared by the copies of a DB that With makes.
type watchers struct {
	mu   sync.RWMutex
	next int
	all  map[string]map[int]func() // by kind
}

func (w *watchers) add(kind string, fn func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[string]map[int]func(){}
	}
	if w.all[kind] == nil {
		w.all[kind] = map[int]func(){}
	}
	n := w.next
	w.next++
	w.all[kind][n] = fn
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all[kind], n)
	}
}

func (w *watchers) tell(kinds []string) {
	if len(kinds) == 0 {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, kind := range kinds {
		for _, fn := range w.all[kind] {
			fn()
		}
	}
}
