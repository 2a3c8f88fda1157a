package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strings"
	"sync"
)

// signingKeyID names a signing key: it is good for one key, day, region and
// service.
type signingKeyID struct{ id, date, region, service string }

func (id signingKeyID) clone() signingKeyID {
	// The strings are parts of a request's header, which would stay with them.
	return signingKeyID{strings.Clone(id.id), strings.Clone(id.date), strings.Clone(id.region), strings.Clone(id.service)}
}

// signingKey is the key that is derived from a secret, by four HMACs.
type signingKey struct {
	secret string
	key    []byte
	macs   sync.Pool // of *macState, keyed and ready: keying costs as much as a signature
}

type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

func deriveKey(id signingKeyID, secret string) *signingKey {
	key := []byte("AWS4" + secret)
	for _, part := range [...]string{id.date, id.region, id.service, terminator} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return &signingKey{secret: secret, key: key}
}

// mac sets dst to the HMAC of data.
func (k *signingKey) mac(dst *[sha256.Size]byte, data []byte) {
	m, ok := k.macs.Get().(*macState)
	if !ok {
		m = &macState{hash: hmac.New(sha256.New, k.key)}
	}
	m.hash.Reset()
	m.hash.Write(data)
	m.hash.Sum(m.sum[:0])
	*dst = m.sum
	k.macs.Put(m)
}

// signingKeysLimit is how many signing keys one generation of the cache holds,
// at somewhat under a kilobyte each.
const signingKeysLimit = 4096

// signingKeys remembers signing keys. There are two generations: when the
// younger is full the elder is forgotten, so that what is in use stays and
// yesterday's keys go. The zero value is ready.
type signingKeys struct {
	mu    sync.RWMutex
	young map[signingKeyID]*signingKey
	elder map[signingKeyID]*signingKey
}

// find returns the signing key of an id and a secret, and whether it was
// remembered. A key that was replaced by another with the same id has another
// secret and is not found.
func (c *signingKeys) find(id signingKeyID, secret string) (k *signingKey, cached bool) {
	c.mu.RLock()
	k, cached = c.young[id]
	if !cached {
		k = c.elder[id]
	}
	c.mu.RUnlock()
	if k != nil && subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) == 1 {
		return k, cached
	}
	return deriveKey(id, secret), false
}

// keep remembers a signing key.
func (c *signingKeys) keep(id signingKeyID, k *signingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= signingKeysLimit || c.young == nil {
		c.young, c.elder = make(map[signingKeyID]*signingKey), c.young
	}
	c.young[id.clone()] = k
}
