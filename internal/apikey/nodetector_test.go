//go:build !race

package apikey_test

const dropped = 0
