package outbound

import "sync"

// slots bounds how much is in flight at once under each key. Who finds none free is refused, not kept waiting: a caller with work
// for others has better things to do.
type slots struct {
	mu    sync.Mutex
	max   int
	taken map[string]int
}

func newSlots(most int) *slots { return &slots{max: most, taken: map[string]int{}} }

func (s *slots) take(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[key] >= s.max {
		return false
	}
	s.taken[key]++
	return true
}

func (s *slots) give(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[key]--; s.taken[key] <= 0 {
		delete(s.taken, key)
	}
}
