package queue

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Receipt names one delivery of one message: the message by its number, the
// delivery by a random nonce.
type Receipt struct {
	queue, n, nonce uint64
}

// ErrBadReceipt is returned for a receipt handle that no queue ever gave, or
// that another queue gave.
var ErrBadReceipt = errors.New("the receipt handle is not valid")

var receiptTable = crc32.MakeTable(crc32.Castagnoli)

const receiptV1 = 1

// String returns the receipt handle as clients see it: 39 characters that mean
// nothing to them. Its checksum tells a garbled handle from an old one.
func (r Receipt) String() string {
	var b [29]byte
	be := binary.BigEndian
	b[0] = receiptV1
	be.PutUint64(b[1:], r.queue)
	be.PutUint64(b[9:], r.n)
	be.PutUint64(b[17:], r.nonce)
	be.PutUint32(b[25:], crc32.Checksum(b[:25], receiptTable))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ParseReceipt is the inverse of String, or ErrBadReceipt.
func ParseReceipt(s string) (Receipt, error) {
	var b [30]byte
	if len(s) != base64.RawURLEncoding.EncodedLen(29) {
		return Receipt{}, ErrBadReceipt
	}
	n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(s))
	be := binary.BigEndian
	if err != nil || n != 29 || b[0] != receiptV1 || be.Uint32(b[25:]) != crc32.Checksum(b[:25], receiptTable) {
		return Receipt{}, ErrBadReceipt
	}
	return Receipt{be.Uint64(b[1:]), be.Uint64(b[9:]), be.Uint64(b[17:])}, nil
}
