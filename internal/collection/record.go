package collection

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
)

// Access is who may read a collection besides its owner.
type Access string

const (
	// Private is nobody.
	Private Access = "private"
	// Algorithms are the functions of the owner, whoever calls them.
	Algorithms Access = "algorithms"
	// Public is everybody with a key.
	Public Access = "public"
)

func (a Access) check() error {
	switch a {
	case Private, Algorithms, Public:
		return nil
	}
	return runnel.Errorf(runnel.CodeInvalid, "the access %.80q is not private, algorithms or public", string(a))
}

// Collection is a collection.
type Collection struct {
	Ref
	ID      ID
	Access  Access
	Created time.Time
}

// collectionRecord is how a collection is stored.
type collectionRecord struct {
	ID      []byte    `json:"id"`
	Access  Access    `json:"access"`
	Created time.Time `json:"created"`
}

func (c Collection) encode() ([]byte, error) {
	return json.Marshal(collectionRecord{ID: c.ID[:], Access: c.Access, Created: c.Created})
}

func decodeCollection(ref Ref, value []byte) (Collection, error) {
	var r collectionRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return Collection{}, fmt.Errorf("read the collection %s/%s: %w", ref.Owner, ref.Name, err)
	}
	c := Collection{Ref: ref, Access: r.Access, Created: r.Created}
	if copy(c.ID[:], r.ID) != len(c.ID) {
		return Collection{}, fmt.Errorf("read the collection %s/%s: its id has %d bytes", ref.Owner, ref.Name, len(r.ID))
	}
	return c, nil
}

// File is a file.
type File struct {
	Name string
	// Size in bytes.
	Size int64
	// Modified is when it was written, to the microsecond.
	Modified time.Time
	SHA256   [sha256.Size]byte
	MD5      [md5.Size]byte

	content ID
	blob    bool // the content is one
}

// A record of a file is, in 82 bytes:
//
//	1 | blob, 1 byte | size, 8 | microseconds since 1970, 8 | content, 16 | SHA-256, 32 | MD5, 16
const (
	recordVersion = 1
	recordLength  = 2 + 8 + 8 + 16 + sha256.Size + md5.Size
)

func (f File) encode() []byte {
	b := make([]byte, 0, recordLength)
	b = append(b, recordVersion, 0)
	if f.blob {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(f.Size))                 //nolint:gosec // not negative
	b = binary.BigEndian.AppendUint64(b, uint64(f.Modified.UnixMicro())) //nolint:gosec // read back as it was
	b = append(b, f.content[:]...)
	b = append(b, f.SHA256[:]...)
	return append(b, f.MD5[:]...)
}

func decodeFile(name string, b []byte) (File, error) {
	if len(b) != recordLength || b[0] != recordVersion {
		return File{}, fmt.Errorf("read the record of a file: it has %d bytes and begins with %x", len(b), b[:min(1, len(b))])
	}
	f := File{
		Name: name, blob: b[1] == 1,
		Size:     int64(binary.BigEndian.Uint64(b[2:])),                        //nolint:gosec // as it was written
		Modified: time.UnixMicro(int64(binary.BigEndian.Uint64(b[10:]))).UTC(), //nolint:gosec // as it was written
	}
	b = b[18:]
	b = b[copy(f.content[:], b):]
	b = b[copy(f.SHA256[:], b):]
	copy(f.MD5[:], b)
	return f, nil
}
