package secret

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// The most that a slow hash may cost: whoever sends a token makes us compute it.
const (
	MaxArgon2Memory = 64 << 10  // KiB: 64 MiB
	MaxArgon2Work   = 256 << 10 // KiB times passes
	MaxArgon2Lanes  = 4
	MaxBcryptCost   = 14
	// MaxBcryptToken is where bcrypt stops reading. A longer token matches no bcrypt hash: else whatever follows
	// would match too.
	MaxBcryptToken = 72
)

// Errors of ParseSlowHash; what it returns says more.
var (
	ErrHashMalformed = errors.New("not an argon2id or bcrypt hash")
	ErrHashCostly    = errors.New("the hash costs too much to check")
)

// SlowHash is an argon2id or bcrypt hash that another system made of a token. Landlord makes none: a random token needs
// no slow hash.
type SlowHash struct {
	text string // bcrypt's, as it is; "" for argon2id

	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

var (
	argon2Form = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
)

// maxSlowHash is the longest text that can be one of the forms.
const maxSlowHash = 256

// ParseSlowHash reads a hash in the form that libraries write: argon2id as a PHC string ($argon2id$v=19$m=…,t=…,p=…$salt$hash),
// bcrypt as $2a$, $2b$ or $2y$. It refuses those that would cost more than the bounds above.
func ParseSlowHash(s string) (SlowHash, error) {
	if len(s) > maxSlowHash {
		return SlowHash{}, fmt.Errorf("%w: longer than %d characters", ErrHashMalformed, maxSlowHash)
	}
	if m := bcryptForm.FindStringSubmatch(s); m != nil {
		cost, _ := strconv.Atoi(m[1]) // two digits
		switch {
		case cost < bcrypt.MinCost:
			return SlowHash{}, fmt.Errorf("%w: bcrypt has no cost %d", ErrHashMalformed, cost)
		case cost > MaxBcryptCost:
			return SlowHash{}, fmt.Errorf("%w: bcrypt's cost is %d, the most is %d", ErrHashCostly, cost, MaxBcryptCost)
		}
		return SlowHash{text: s}, nil
	}
	m := argon2Form.FindStringSubmatch(s)
	if m == nil {
		return SlowHash{}, ErrHashMalformed
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(m[i+1], 10, 64) // at most ten digits
	}
	memory, passes, lanes := n[0], n[1], n[2]
	switch {
	case memory > MaxArgon2Memory, memory*passes > MaxArgon2Work, lanes > MaxArgon2Lanes:
		return SlowHash{}, fmt.Errorf("%w: argon2id's m, t and p are %d, %d and %d; the most is m %d, m times t %d, p %d",
			ErrHashCostly, memory, passes, lanes, MaxArgon2Memory, MaxArgon2Work, MaxArgon2Lanes)
	case memory < 8*lanes: // RFC 9106, section 3.1
		return SlowHash{}, fmt.Errorf("%w: argon2id's m is less than 8 times p", ErrHashMalformed)
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(m[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(m[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return SlowHash{}, fmt.Errorf("%w: argon2id's salt has 8 to 64 bytes, its hash 16 to 64, in base64 without padding", ErrHashMalformed)
	}
	return SlowHash{memory: uint32(memory), passes: uint32(passes), lanes: uint8(lanes), salt: salt, sum: sum}, nil
}

// IsSlowHash reports whether a stored form is a slow hash, which can't be looked up by its token: no other form begins so.
func IsSlowHash(stored string) bool { return strings.HasPrefix(stored, "$") }

// Lanes is how many processors Matches keeps busy.
func (h SlowHash) Lanes() int { return max(1, int(h.lanes)) }

// Matches reports whether the hash is the token's. It takes what the hash costs: up to a second, and 64 MiB. Bound how
// many run at a time.
func (h SlowHash) Matches(token string) bool {
	if h.text != "" {
		return len(token) <= MaxBcryptToken && bcrypt.CompareHashAndPassword([]byte(h.text), []byte(token)) == nil
	}
	got := argon2.IDKey([]byte(token), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(got, h.sum) == 1
}
