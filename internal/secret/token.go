package secret

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	// TokenLen is the number of base62 characters of NewToken: the fewest that hold 256 bits (62^43 > 2^256).
	TokenLen = 43
	// ChecksumLen is the number of base62 characters of a CRC32 (62^6 > 2^32).
	ChecksumLen = 6

	// alphabet is in ASCII order, so that tokens sort as the numbers they encode. It has no '_' or '-': a double click
	// selects the whole body, and '_' stays free to separate prefixes.
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewToken returns 256 bits of r as 43 base62 characters. r is crypto/rand.Reader except in tests.
func NewToken(r io.Reader) (string, error) {
	var raw [32]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	// Long division of the 256-bit number by 62, most significant word first; the remainders are the digits.
	var words [8]uint32
	for i := range words {
		words[i] = binary.BigEndian.Uint32(raw[4*i:])
	}
	var out [TokenLen]byte
	for i := TokenLen - 1; i >= 0; i-- {
		var rem uint64
		for j, w := range words {
			n := rem<<32 | uint64(w)
			words[j] = uint32(n / 62) // rem < 62, so the quotient fits 32 bits
			rem = n % 62
		}
		out[i] = alphabet[rem]
	}
	clear(raw[:])
	return string(out[:]), nil
}

// Checksum returns the CRC32 (IEEE) of s as 6 base62 characters. Give it everything that precedes the checksum, prefix
// and environment included, so that a changed environment is caught offline too. It is no security: anyone can
// compute it; it turns away typing errors and garbage before any look-up.
func Checksum(s string) string {
	c := checksum(s)
	return string(c[:])
}

// HasChecksum reports whether s ends in the Checksum of what precedes it. It does not allocate.
func HasChecksum(s string) bool {
	n := len(s) - ChecksumLen
	if n < 0 {
		return false
	}
	c := checksum(s[:n])
	return s[n:] == string(c[:])
}

// IsBase62 reports whether s has only base62 characters. The empty string has.
func IsBase62(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		default:
			return false
		}
	}
	return true
}

func checksum(s string) (out [ChecksumLen]byte) {
	// A table look-up a byte: crc32.ChecksumIEEE is faster on long input, but needs a []byte, which costs an
	// allocation for a string of a token's length.
	n := ^uint32(0)
	for i := range len(s) {
		n = crc32.IEEETable[byte(n)^s[i]] ^ n>>8
	}
	n = ^n
	for i := ChecksumLen - 1; i >= 0; i-- {
		out[i] = alphabet[n%62]
		n /= 62
	}
	return out
}
