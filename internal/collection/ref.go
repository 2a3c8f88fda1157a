package collection

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// The key spaces: see the package comment.
const (
	spaceCollections store.Space = 'h'
	spaceFiles       store.Space = 'i'
	spaceContents    store.Space = 'b'
	spaceNotes       store.Space = 'g'
)

// MaxName is the most bytes of a name of a collection or a file.
const MaxName = 255

// Kind is what a collection is for, and how long its files are kept.
type Kind byte

const (
	// Hosted collections are made by their owner, and listed.
	Hosted Kind = 'c'
	// Session, Temporary and Permanent ones are there with their first file.
	// Their names are the caller's business. Files of a session are kept for
	// SessionAge after they were written, temporary ones for TemporaryAge.
	Session   Kind = 's'
	Temporary Kind = 't'
	Permanent Kind = 'p'
)

// Ref names a collection.
type Ref struct {
	Kind Kind
	// Owner is an account.
	Owner string
	Name  string
}

func (r Ref) key() []byte { return append(ownerKey(r.Kind, r.Owner), r.Name...) }

func ownerKey(kind Kind, owner string) []byte {
	key := append([]byte{byte(kind)}, owner...)
	return append(key, 0)
}

func parseRef(key []byte) (Ref, bool) {
	if len(key) == 0 {
		return Ref{}, false
	}
	owner, name, ok := bytes.Cut(key[1:], []byte{0})
	return Ref{Kind: Kind(key[0]), Owner: string(owner), Name: string(name)}, ok
}

// check refuses a name that no collection may have.
func (r Ref) check() error {
	if r.Owner == "" || strings.ContainsRune(r.Owner, 0) {
		return runnel.Errorf(runnel.CodeInvalid, "a collection needs an owner")
	}
	if r.Kind != Hosted {
		if r.Name == "" || strings.ContainsRune(r.Name, 0) {
			return runnel.Errorf(runnel.CodeInvalid, "a collection needs a name")
		}
		return nil
	}
	if strings.HasPrefix(r.Name, ".") {
		return runnel.Errorf(runnel.CodeInvalid, "the collection name %.80q begins with a dot, which is for .my, .session and .algo", r.Name)
	}
	return CheckName("collection", r.Name)
}

// CheckName refuses a name that no file may have. what is in the error.
func CheckName(what, name string) error {
	switch {
	case name == "" || len(name) > MaxName:
		return runnel.Errorf(runnel.CodeInvalid, "the %s name %.80q is not of 1 to %d bytes", what, name, MaxName)
	case name == "." || name == "..":
		return runnel.Errorf(runnel.CodeInvalid, "%q is not a name of a %s", name, what)
	case !utf8.ValidString(name):
		return runnel.Errorf(runnel.CodeInvalid, "the %s name %.80q is not UTF-8", what, name)
	case strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, unicode.IsControl):
		return runnel.Errorf(runnel.CodeInvalid, "the %s name %.80q has a slash, a backslash or a control character", what, name)
	}
	return nil
}

// ID is the id of a collection, or of a content. It begins with the time that
// it was made at, so that contents lie in the store in that order.
type ID [16]byte

func newID() ID {
	id, err := uuid.NewV7()
	if err != nil { // reading random bytes does not fail: see crypto/rand
		panic(err)
	}
	return ID(id)
}

// String returns the id in hexadecimal, as it is in names of blobs.
func (id ID) String() string { return strings.ReplaceAll(uuid.UUID(id).String(), "-", "") }

// key is the id, and a name or another id.
func (id ID) key(rest string) []byte { return append(id[:], rest...) }

// end is the first key after all that begin with the id.
func (id ID) end() []byte {
	end := bytes.Clone(id[:])
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			break
		}
	}
	return end // an id of 16 times 255 is none of ours
}
