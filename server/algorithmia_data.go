package server

import (
	"context"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/collection"
)

// blobsDir is the folder of the data directory with large files.
const blobsDir = "blobs"

// hosted are the collections as the Algorithmia API has them: with the rules of
// who may what (docs/data.md).
type hosted struct {
	set     *collection.Set
	catalog *catalog.Catalog
}

var _ algorithmia.Data = hosted{}

// Owners implements algorithmia.Data: the caller's own account, the
// organisations that it is a member of, and for an admin all others.
func (h hosted) Owners(ctx context.Context, by auth.Caller) ([]string, error) {
	if err := mayRead(by); err != nil {
		return nil, err
	}
	names := append([]string{by.Account}, slices.Sorted(slices.Values(by.Organizations))...)
	if by.Admin {
		all, err := h.catalog.Accounts(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if !slices.Contains(names, a.Name) {
				names = append(names, a.Name)
			}
		}
	}
	return names, nil
}

// Collections implements algorithmia.Data. Of another account they are those
// that the caller may read; if there is none there is no account.
func (h hosted) Collections(ctx context.Context, by auth.Caller, owner, after string, limit int) (names []string, more bool, err error) {
	if err := mayRead(by); err != nil {
		return nil, false, err
	}
	if by.Owns(owner) {
		if err := h.exists(ctx, owner); err != nil {
			return nil, false, err
		}
	}
	first := after == ""
	for more = true; more && len(names) < limit; {
		var list []collection.Collection
		if list, more, err = h.set.Collections(ctx, owner, after, limit); err != nil {
			return nil, false, err
		}
		for i, c := range list {
			after = c.Name
			if !readable(by, c) {
				continue
			}
			if names = append(names, c.Name); len(names) == limit {
				more = more || i < len(list)-1
				break
			}
		}
	}
	if first && len(names) == 0 && !by.Owns(owner) {
		return nil, false, noData("data://" + owner)
	}
	return names, more, nil
}

// Collection implements algorithmia.Data.
func (h hosted) Collection(ctx context.Context, by auth.Caller, p algorithmia.Place) (algorithmia.DataAccess, error) {
	c, err := h.reads(ctx, by, p)
	return algorithmia.DataAccess(c.Access), err
}

// CreateCollection implements algorithmia.Data.
func (h hosted) CreateCollection(ctx context.Context, by auth.Caller, p algorithmia.Place, access algorithmia.DataAccess) error {
	if err := h.owns(ctx, by, p); err != nil {
		return err
	}
	_, err := h.set.Create(ctx, refOf(p), collection.Access(access))
	return err
}

// SetAccess implements algorithmia.Data.
func (h hosted) SetAccess(ctx context.Context, by auth.Caller, p algorithmia.Place, access algorithmia.DataAccess) error {
	if err := h.owns(ctx, by, p); err != nil {
		return err
	}
	return told(p, h.set.SetAccess(ctx, refOf(p), collection.Access(access)))
}

// DeleteCollection implements algorithmia.Data.
func (h hosted) DeleteCollection(ctx context.Context, by auth.Caller, p algorithmia.Place, force bool) (files int, err error) {
	if err := h.owns(ctx, by, p); err != nil {
		return 0, err
	}
	files, err = h.set.Delete(ctx, refOf(p), force)
	if p.Area != algorithmia.DataHosted && runnel.CodeOf(err) == runnel.CodeNotFound {
		return 0, nil // it is always there
	}
	return files, told(p, err)
}

// Files implements algorithmia.Data.
func (h hosted) Files(ctx context.Context, by auth.Caller, p algorithmia.Place, after string, limit int) (files []algorithmia.DataFile, more bool, err error) {
	if _, err := h.reads(ctx, by, p); err != nil {
		return nil, false, err
	}
	list, more, err := h.set.Files(ctx, refOf(p), after, limit)
	if p.Area != algorithmia.DataHosted && runnel.CodeOf(err) == runnel.CodeNotFound {
		return nil, false, nil // as above
	}
	for _, f := range list {
		files = append(files, dataFile(f))
	}
	return files, more, told(p, err)
}

func dataFile(f collection.File) algorithmia.DataFile {
	return algorithmia.DataFile{Name: f.Name, Size: f.Size, Modified: f.Modified, Checksum: hex.EncodeToString(f.SHA256[:])}
}

// OpenFile implements algorithmia.Data.
func (h hosted) OpenFile(ctx context.Context, by auth.Caller, p algorithmia.Place) (algorithmia.DataReader, error) {
	if _, err := h.reads(ctx, by, p); err != nil {
		return algorithmia.DataReader{}, err
	}
	r, err := h.set.Open(ctx, refOf(p), p.File)
	if err != nil {
		return algorithmia.DataReader{}, told(p, err)
	}
	return algorithmia.DataReader{DataFile: dataFile(r.File), ReadSeekCloser: r}, nil
}

// Writable implements algorithmia.Data.
func (h hosted) Writable(ctx context.Context, by auth.Caller, p algorithmia.Place) error {
	if err := h.owns(ctx, by, p); err != nil {
		return err
	}
	if p.Area != algorithmia.DataHosted {
		return nil
	}
	_, err := h.set.Collection(ctx, refOf(p))
	return told(p, err)
}

// PutFile implements algorithmia.Data.
func (h hosted) PutFile(ctx context.Context, by auth.Caller, p algorithmia.Place, content io.Reader, size int64, md5 []byte) error {
	if err := h.owns(ctx, by, p); err != nil {
		return err
	}
	_, err := h.set.Put(ctx, refOf(p), p.File, collection.Content{Reader: content, Size: size, MD5: md5})
	return told(p, err)
}

// DeleteFile implements algorithmia.Data.
func (h hosted) DeleteFile(ctx context.Context, by auth.Caller, p algorithmia.Place) error {
	if err := h.owns(ctx, by, p); err != nil {
		return err
	}
	return told(p, h.set.Remove(ctx, refOf(p), p.File))
}

// mayRead refuses a key that may not read files, whatever file that is.
func mayRead(by auth.Caller) error {
	if !by.Reads() {
		return runnel.Errorf(runnel.CodeDenied, "this key may not read files: it needs the permission data")
	}
	return nil
}

// reads refuses a caller that may not read a collection, with the words for one
// that is not there.
func (h hosted) reads(ctx context.Context, by auth.Caller, p algorithmia.Place) (collection.Collection, error) {
	if err := mayRead(by); err != nil {
		return collection.Collection{}, err
	}
	if p.Area != algorithmia.DataHosted {
		return collection.Collection{Access: collection.Private}, nil // the door has looked whose it is
	}
	c, err := h.set.Collection(ctx, refOf(p))
	switch {
	case runnel.CodeOf(err) == runnel.CodeInvalid, runnel.CodeOf(err) == runnel.CodeNotFound, err == nil && !readable(by, c):
		return c, noData(dataURI(p, false))
	}
	return c, err
}

// readable says whether a caller may read a collection: its owner, whoever it
// lets, and where it lets the owner's functions these, whoever calls them.
func readable(by auth.Caller, c collection.Collection) bool {
	switch {
	case by.Owns(c.Owner):
		return true
	case c.Access == collection.Public:
		return true
	case c.Access == collection.Algorithms:
		owner, _, in := strings.Cut(by.Function, "/")
		return in && owner == c.Owner
	}
	return false
}

// owns refuses a caller that may not change a collection. Who may read it is
// told that it may not write.
func (h hosted) owns(ctx context.Context, by auth.Caller, p algorithmia.Place) error {
	if !by.Writes() {
		return runnel.Errorf(runnel.CodeDenied, "this key may not change files: it needs the permission data_write")
	}
	if p.Area != algorithmia.DataHosted {
		return nil // as above
	}
	if by.Owns(p.Owner) {
		return h.exists(ctx, p.Owner)
	}
	if c, err := h.set.Collection(ctx, refOf(p)); err == nil && by.Reads() && readable(by, c) {
		return runnel.Errorf(runnel.CodeDenied, "data://%s/%s is of another account: only that may change it", p.Owner, p.Collection)
	}
	return noData(dataURI(p, false))
}

// exists says that there is no such account, to an admin: others own none that
// is not there. A server without keys has the one that all requests are of.
func (h hosted) exists(ctx context.Context, owner string) error {
	_, err := h.catalog.Account(ctx, owner)
	if owner == auth.DefaultAccount || runnel.CodeOf(err) != runnel.CodeNotFound {
		return nil
	}
	return noData("data://" + owner)
}

func noData(uri string) error {
	return runnel.Errorf(runnel.CodeNotFound, "%.400s is not there, or not to be read by this key", uri)
}

// told has an error name a place as clients do.
func told(p algorithmia.Place, err error) error {
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return noData(dataURI(p, p.File != ""))
	}
	return err
}

func dataURI(p algorithmia.Place, file bool) string {
	if !file {
		p.File = ""
	}
	return p.URI()
}

// refOf is the collection of a place.
func refOf(p algorithmia.Place) collection.Ref {
	switch p.Area {
	case algorithmia.DataSession:
		return collection.Ref{Kind: collection.Session, Owner: p.Owner, Name: p.Session}
	case algorithmia.DataTemporary:
		return collection.Ref{Kind: collection.Temporary, Owner: p.Owner, Name: p.Function}
	case algorithmia.DataPermanent:
		return collection.Ref{Kind: collection.Permanent, Owner: p.Owner, Name: p.Function}
	case algorithmia.DataHosted:
	}
	return collection.Ref{Kind: collection.Hosted, Owner: p.Owner, Name: p.Collection}
}
