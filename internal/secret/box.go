package secret

import (
	"errors"
	"fmt"
)

// ErrSealed is returned by Open for a box that it can't open: changed, moved to another row or column, or sealed with a key
// that the secrets file no longer has.
var ErrSealed = errors.New("the sealed value can't be opened")

// boxFormat is the first byte of a box. The rest: length of the key id, key id, nonce (12), ciphertext and tag (16).
const boxFormat = 1

// Row says where a box is stored. It is authenticated with the box, so that a box copied into another row, say
// another tenant's, doesn't open there.
type Row struct {
	Table  string
	Column string
	ID     string // the primary key
}

// Seal encrypts plaintext under the current box key for one place in the database.
//
// The nonce is random, 96 bits: a key must be rotated before 2^32 boxes were made with it.
func (k *Keyring) Seal(plaintext Text, at Row) []byte {
	b := k.boxes[0]
	header := append([]byte{boxFormat, byte(len(b.id))}, b.id...)
	// Seal must not share memory between header and associated data: it appends to the former.
	return b.aead.Seal(header, nil, []byte(plaintext.Reveal()), associate(header, at))
}

// Open decrypts what Seal made for the same place, under any key of the ring.
func (k *Keyring) Open(sealed []byte, at Row) (Text, error) {
	header, b, err := k.boxOf(sealed)
	if err != nil {
		return Text{}, err
	}
	plain, err := b.aead.Open(nil, nil, sealed[len(header):], associate(header, at))
	if err != nil {
		return Text{}, fmt.Errorf("%w: it was changed, or belongs to another row than %s.%s of %s", ErrSealed, at.Table, at.Column, at.ID)
	}
	return NewText(string(plain)), nil
}

// IsSealedCurrent reports whether a box was made with the current key; when not, seal it again.
func (k *Keyring) IsSealedCurrent(sealed []byte) bool {
	_, b, err := k.boxOf(sealed)
	return err == nil && b == k.boxes[0]
}

func (k *Keyring) boxOf(sealed []byte) (header []byte, _ *box, _ error) {
	if len(sealed) < 2 || sealed[0] != boxFormat || len(sealed) < 2+int(sealed[1]) {
		return nil, nil, fmt.Errorf("%w: it is no box", ErrSealed)
	}
	header = sealed[:2+int(sealed[1])]
	for _, b := range k.boxes {
		if b.id == string(header[2:]) {
			return header, b, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: the secrets file has no box key %q", ErrSealed, header[2:])
}

// associate encodes header and place so that no two places give the same bytes: names of tables and columns have no
// NUL, and the id is last.
func associate(header []byte, at Row) []byte {
	ad := make([]byte, 0, len(header)+len(at.Table)+len(at.Column)+len(at.ID)+3)
	ad = append(ad, header...)
	for _, part := range []string{at.Table, at.Column, at.ID} {
		ad = append(ad, 0)
		ad = append(ad, part...)
	}
	return ad
}
