package outbound

import (
	"crypto/sha256"
	"crypto/tls"
	"sync"
)

// pools keeps the connections of client certificates apart: a connection speaks for the certificate that it was made with, so it
// serves no request that has another, or none. The least recently used are forgotten.
type pools struct {
	mu    sync.Mutex
	max   int
	make  func(*tls.Certificate) transports
	uses  uint64
	byKey map[poolKey]*pool
}

// poolKey is whose certificate it is as well: certificates are public, and who shows another's has no part in his connections.
type poolKey struct {
	owner string
	leaf  [sha256.Size]byte
}

type pool struct {
	transports

	used uint64
}

func newPools(most int, newTransports func(*tls.Certificate) transports) *pools {
	return &pools{max: most, make: newTransports, byKey: map[poolKey]*pool{}}
}

func (p *pools) of(owner string, cert *tls.Certificate) transports {
	key := poolKey{owner: owner}
	if len(cert.Certificate) > 0 {
		key.leaf = sha256.Sum256(cert.Certificate[0])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.byKey[key]
	if found == nil {
		if len(p.byKey) >= p.max {
			p.forget()
		}
		found = &pool{transports: p.make(cert)}
		p.byKey[key] = found
	}
	p.uses++
	found.used = p.uses
	return found.transports
}

// forget closes the connections that were used the longest ago. One in use is closed when it has been idle for idleFor.
func (p *pools) forget() {
	var oldest poolKey
	least := p.uses + 1
	for key, pool := range p.byKey {
		if pool.used < least {
			oldest, least = key, pool.used
		}
	}
	p.byKey[oldest].closeIdle()
	delete(p.byKey, oldest)
}

func (p *pools) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pool := range p.byKey {
		pool.closeIdle()
	}
}
