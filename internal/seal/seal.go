package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	version   = 1
	keySize   = 32
	idSize    = 8
	saltSize  = 32
	headSize  = 1 + idSize + saltSize
	tagSize   = 16
	labelID   = "runnel key id"
	labelData = "runnel seal 1"
)

// The reasons for which Open refuses a value.
var (
	// ErrKey: it was sealed with a key that is not in the ring.
	ErrKey = errors.New("sealed with another key")
	// ErrDamaged: the key is there, and the value is not what was sealed with
	// it for this context.
	ErrDamaged = errors.New("the sealed value is damaged, or another's")
)

// Ring is the keys of a server. It does not change; its methods may be called
// by several goroutines at once.
type Ring struct {
	keys []key // the first seals
}

// key is one key of the server.
type key struct {
	id     [idSize]byte
	secret [keySize]byte
}

func newKey(secret [keySize]byte) key {
	k := key{secret: secret}
	sum := sha256.Sum256(append([]byte(labelID), secret[:]...))
	copy(k.id[:], sum[:])
	return k
}

// String says how many keys there are, and the id of the first.
func (r *Ring) String() string { return fmt.Sprintf("%d keys, %x first", len(r.keys), r.keys[0].id) }

// Seal seals a value for a context, of which each part counts.
func (r *Ring) Seal(value []byte, context ...string) []byte {
	k := &r.keys[0]
	out := make([]byte, headSize, headSize+len(value)+tagSize)
	out[0] = version
	copy(out[1:], k.id[:])
	_, _ = rand.Read(out[1+idSize:]) // never fails: see its documentation
	aead, nonce := k.cipher(out[1+idSize : headSize])
	return aead.Seal(out, nonce, value, associated(out[:headSize], context))
}

// Open returns the value that was sealed for this context. Its errors wrap
// ErrKey or ErrDamaged.
func (r *Ring) Open(sealed []byte, context ...string) ([]byte, error) {
	if len(sealed) < headSize+tagSize {
		return nil, fmt.Errorf("%d bytes are too few: %w", len(sealed), ErrDamaged)
	}
	if sealed[0] != version {
		return nil, fmt.Errorf("it has the version %d, and this release knows %d: %w", sealed[0], version, ErrDamaged)
	}
	id := [idSize]byte(sealed[1:])
	for i := range r.keys {
		k := &r.keys[i]
		if k.id != id {
			continue
		}
		aead, nonce := k.cipher(sealed[1+idSize : headSize])
		value, err := aead.Open(nil, nonce, sealed[headSize:], associated(sealed[:headSize], context))
		if err != nil {
			return nil, ErrDamaged // its text says nothing
		}
		return value, nil
	}
	return nil, fmt.Errorf("the key has the id %x: %w", id, ErrKey)
}

// Current says whether a sealed value is one of the key that seals now.
func (r *Ring) Current(sealed []byte) bool {
	return len(sealed) >= headSize && sealed[0] == version && [idSize]byte(sealed[1:]) == r.keys[0].id
}

// cipher returns the cipher of one value. Its key is for this one value alone,
// so that the nonce may be the same for all.
func (k *key) cipher(salt []byte) (aead cipher.AEAD, nonce []byte) {
	data, err := hkdf.Key(sha256.New, k.secret[:], salt, labelData, keySize)
	if err != nil {
		panic(err) // the sizes are constants
	}
	block, err := aes.NewCipher(data)
	if err != nil {
		panic(err)
	}
	if aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	return aead, make([]byte, aead.NonceSize())
}

// associated is what a value is bound to: its head, and its context, each part
// with its length, so that no two contexts are the same bytes.
func associated(head []byte, context []string) []byte {
	out := append([]byte(nil), head...)
	for _, part := range context {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}
