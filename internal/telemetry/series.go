package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// series remembers the observers of a histogram by what is at hand when something
// is observed: the registry finds one by hashing its labels, which takes longer
// than to observe. Keys must be as bounded as the labels.
type series[K comparable] struct {
	mu    sync.RWMutex
	known map[K]prometheus.Observer
}

// of returns the observer of a key, which find looks for the first time.
func (s *series[K]) of(key K, find func(K) prometheus.Observer) prometheus.Observer {
	s.mu.RLock()
	o := s.known[key]
	s.mu.RUnlock()
	if o != nil {
		return o
	}
	o = find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[K]prometheus.Observer{}
	}
	s.known[key] = o
	return o
}
