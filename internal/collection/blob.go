package collection

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/runnel-io/runnel/internal/store"
)

// Blobs is where the content of large files is. Ids are never used twice.
type Blobs interface {
	// Create begins a blob. It is not there before Commit.
	Create(collection, content ID) (BlobWriter, error)
	// Open returns a blob of which size bytes are read, or an error that is
	// fs.ErrNotExist. What was opened can be read after a Remove.
	Open(collection, content ID, size int64) (io.ReadSeekCloser, error)
	// Remove removes a blob, or what there is of it; nil if there is none.
	// RemoveAll does so for a collection.
	Remove(collection, content ID) error
	RemoveAll(collection ID) error
}

// BlobWriter takes the content of a blob. It ends with a Commit or an Abort.
type BlobWriter interface {
	io.Writer
	// Commit returns when the blob is durable.
	Commit() error
	// Abort leaves nothing.
	Abort() error
}

// disk is blobs on a disk: DIR/COLLECTION/CONTENT.
type disk struct {
	fs  store.FS
	dir string

	mu sync.Mutex // held while directories are made and removed
}

func (d *disk) folder(collection ID) string { return d.fs.PathJoin(d.dir, collection.String()) }

func (d *disk) path(collection, content ID) string {
	return d.fs.PathJoin(d.dir, collection.String(), content.String())
}

// writeBack is after how many bytes the system is told to begin to write, so
// that the sync at the end has little left to do.
const writeBack = 8 << 20

type diskWriter struct {
	d                   *disk
	collection, content ID
	file                interface {
		io.WriteCloser
		Sync() error
		SyncTo(length int64) (bool, error)
	}
	size, told int64
}

func (d *disk) Create(collection, content ID) (BlobWriter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.makeDir(d.folder(collection)); err != nil {
		return nil, err
	}
	f, err := d.fs.Create(d.path(collection, content), "")
	if err != nil {
		return nil, err
	}
	return &diskWriter{d: d, collection: collection, content: content, file: f}, nil
}

// makeDir makes a directory below one that is there, durably.
func (d *disk) makeDir(dir string) error {
	if _, err := d.fs.Stat(dir); err == nil {
		return nil
	}
	if err := d.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return d.sync(d.fs.PathDir(dir))
}

func (d *disk) sync(dir string) error {
	f, err := d.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (w *diskWriter) Write(b []byte) (int, error) {
	n, err := w.file.Write(b)
	w.size += int64(n)
	if err == nil && w.size-w.told >= writeBack {
		w.told = w.size
		_, err = w.file.SyncTo(w.size)
	}
	return n, err
}

func (w *diskWriter) Commit() error {
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		return errors.Join(err, w.d.Remove(w.collection, w.content))
	}
	if err := w.d.sync(w.d.folder(w.collection)); err != nil {
		return errors.Join(err, w.d.Remove(w.collection, w.content))
	}
	return nil
}

func (w *diskWriter) Abort() error {
	return errors.Join(w.file.Close(), w.d.Remove(w.collection, w.content))
}

func (d *disk) Open(collection, content ID, size int64) (io.ReadSeekCloser, error) {
	f, err := d.fs.Open(d.path(collection, content))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if info.Size() != size {
		return nil, errors.Join(fmt.Errorf("blob %s/%s has %d bytes, and should have %d: the disk was changed, restore it from a backup", collection, content, info.Size(), size), f.Close())
	}
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(f, 0, size), f}, nil
}

// Remove is durable, as RemoveAll is: a note of what is back after a crash is
// gone.
func (d *disk) Remove(collection, content ID) error {
	err := d.fs.Remove(d.path(collection, content))
	if err == nil {
		err = d.sync(d.folder(collection))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *disk) RemoveAll(collection ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.fs.Stat(d.folder(collection)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.fs.RemoveAll(d.folder(collection)); err != nil {
		return err
	}
	return d.sync(d.dir)
}

// blob is one on the disk.
type blob struct{ collection, content string }

// list returns all blobs, and those half written.
func (d *disk) list() (all []blob, err error) {
	folders, err := d.fs.List(d.dir)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		names, err := d.fs.List(d.fs.PathJoin(d.dir, folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			all = append(all, blob{folder, name})
		}
	}
	return all, nil
}

// copy makes copies of blobs in a new directory: hard links, where the
// filesystem has them.
func (d *disk) copy(dest string, blobs []blob) error {
	if err := d.fs.MkdirAll(dest, 0o700); err != nil {
		return err
	}
	made := make(map[string]bool)
	for _, b := range blobs {
		folder := d.fs.PathJoin(dest, b.collection)
		if !made[folder] {
			if err := d.fs.MkdirAll(folder, 0o700); err != nil {
				return err
			}
			made[folder] = true
		}
		from, to := d.fs.PathJoin(d.dir, b.collection, b.content), d.fs.PathJoin(folder, b.content)
		if err := d.fs.Link(from, to); err == nil || errors.Is(err, fs.ErrNotExist) {
			// What is gone belongs to an upload that was given up.
			continue
		}
		if err := d.copyFile(from, to); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) copyFile(from, to string) error {
	in, err := d.fs.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := d.fs.Create(to, "")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
