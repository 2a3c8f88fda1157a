package collection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Reader reads a file as it was when it was opened.
type Reader struct {
	io.ReadSeeker
	File
	close func() error
}

// Close ends reading. It is called once.
func (r *Reader) Close() error { return r.close() }

// File returns what is known of a file, or CodeNotFound.
func (s *Set) File(ctx context.Context, ref Ref, name string) (File, error) {
	c, err := s.Collection(ctx, ref)
	if err == nil {
		err = CheckName("file", name)
	}
	if err != nil {
		return File{}, err
	}
	return s.file(c, name)
}

// file reads a record. A file that is too old is none, whether it was removed
// yet or not.
func (s *Set) file(c Collection, name string) (File, error) {
	f, err := s.record(c, name)
	if err == nil && s.expired(c.Kind, f.Modified) {
		err = errNoFile(c, name)
	}
	return f, err
}

func errNoFile(c Collection, name string) error {
	return runnel.Errorf(runnel.CodeNotFound, "there is no file %.80q in the collection %s/%s", name, c.Owner, c.Name)
}

func (s *Set) record(c Collection, name string) (File, error) {
	value, err := s.store.Get(spaceFiles, c.ID.key(name))
	if errors.Is(err, store.ErrNotFound) {
		return File{}, errNoFile(c, name)
	}
	if err != nil {
		return File{}, err
	}
	return decodeFile(name, value)
}

// age is how long files of a kind are there, 0 for ever.
func (s *Set) age(k Kind) time.Duration {
	switch k {
	case Session:
		return s.opt.SessionAge
	case Temporary:
		return s.opt.TemporaryAge
	case Hosted, Permanent:
	}
	return 0
}

func (s *Set) expired(k Kind, modified time.Time) bool {
	age := s.age(k)
	return age > 0 && s.opt.Now().Sub(modified) > age
}

// Open opens a file for reading, or returns CodeNotFound. What is read is what
// was there at one moment, whatever becomes of the file meanwhile.
func (s *Set) Open(ctx context.Context, ref Ref, name string) (*Reader, error) {
	// A content that is gone was replaced after its record was read: the next
	// record has another.
	for range 100 {
		c, err := s.Collection(ctx, ref)
		if err == nil {
			err = CheckName("file", name)
		}
		if err != nil {
			return nil, err
		}
		f, err := s.file(c, name)
		if err != nil {
			return nil, err
		}
		r, err := s.content(c, f)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the file %q of %s/%s: %w", name, c.Owner, c.Name, err)
		}
		s.stats.read.Add(1)
		return r, nil
	}
	return nil, fmt.Errorf("open the file %q of %s/%s: its content is missing: restore it from a backup, or write it again", name, ref.Owner, ref.Name)
}

func (s *Set) content(c Collection, f File) (*Reader, error) {
	if f.blob {
		b, err := s.blobs.Open(c.ID, f.content, f.Size)
		if err != nil {
			return nil, err
		}
		return &Reader{ReadSeeker: b, File: f, close: b.Close}, nil
	}
	value, err := s.store.Get(spaceContents, c.ID.key(string(f.content[:])))
	if err != nil {
		return nil, err
	}
	return &Reader{ReadSeeker: bytes.NewReader(value), File: f, close: func() error { return nil }}, nil
}

// Files returns up to limit files of a collection whose names come after one,
// in the order of their bytes, and whether there are more. A page costs what it
// holds, wherever it begins.
func (s *Set) Files(ctx context.Context, ref Ref, after string, limit int) (list []File, more bool, err error) {
	c, err := s.Collection(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	lo := c.ID.key(after)
	if after != "" {
		lo = append(lo, 0)
	}
	var failed error
	err = s.store.Range(spaceFiles, lo, c.ID.end(), func(key, value []byte) bool {
		f, err := decodeFile(string(key[len(c.ID):]), value)
		switch {
		case err != nil:
			failed = err
			return false
		case s.expired(c.Kind, f.Modified):
			return true
		case len(list) == limit:
			more = true
			return false
		}
		list = append(list, f)
		return true
	})
	return list, more, errors.Join(err, failed)
}
