//go:build race

package apikey_test

// dropped is what a count of allocations may be too high by: the race detector makes
// a sync.Pool drop entries at random.
const dropped = 1
