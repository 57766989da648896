//go:build race

package secret_test

// raceEnabled: the race detector makes sync.Pool drop entries at random, so allocations can't be counted under it.
const raceEnabled = true
