package collection

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Content is what a file shall hold.
type Content struct {
	io.Reader
	// Size is how many bytes Reader must have, -1 if that is not known.
	Size int64
	// MD5 is what the content must have, nil if that is not known.
	MD5 []byte
}

// ErrContent is returned by Put for a content that does not come as it was
// announced, or not at all.
var ErrContent = errors.New("the content did not come whole")

// chunk is how much of a large content is read at a time. Up to four are in
// memory.
const chunk = 256 << 10

// roomEvery is after how many bytes the free space is looked at again.
const roomEvery = 4 << 20

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// Put writes a file, which replaces what has its name, at once and durably.
// The collection must be there if it is hosted: CodeNotFound. CodeTooLarge for
// what is over Options.MaxFile, CodeUnavailable while the disk is nearly full,
// ErrContent, as CodeInvalid, where the content is not what it should be. After
// an error what was there before still is.
func (s *Set) Put(ctx context.Context, ref Ref, name string, content Content) (File, error) {
	if err := CheckName("file", name); err != nil {
		return File{}, err
	}
	if content.Size > s.opt.MaxFile {
		return File{}, s.tooLarge()
	}
	if err := s.room(max(content.Size, 0)); err != nil {
		return File{}, err
	}
	defer s.occupy(ref)()
	c, err := s.ensure(ctx, ref)
	if err != nil {
		return File{}, err
	}
	if content.Size >= 0 {
		content.Reader = &exact{content.Reader, content.Size}
	}
	buf := make([]byte, s.headSize(content.Size))
	head, whole, err := s.readSmall(content.Reader, buf)
	if err != nil {
		return File{}, err
	}
	if whole {
		small := head
		f := File{Name: name, Size: int64(len(small)), SHA256: sha256.Sum256(small), MD5: md5.Sum(small), content: newID()}
		if err := content.check(f); err != nil {
			return File{}, err
		}
		return s.commit(c, f, small)
	}
	return s.putBlob(ctx, c, name, content, head)
}

// occupy keeps a collection that is not hosted from being swept away while a
// file is on its way into it.
func (s *Set) occupy(ref Ref) (leave func()) {
	if ref.Kind == Hosted {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[ref]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy[ref]--; s.busy[ref] == 0 {
			delete(s.busy, ref)
		}
	}
}

// headSize is how much is read before it is decided where a content goes: all
// of a small one, and a byte to see its end.
func (s *Set) headSize(size int64) int64 {
	small := int64(max(s.opt.Small, 0))
	if size >= 0 {
		small = min(small, size)
	}
	return small + 1
}

// readSmall fills buf, or reads the whole content.
func (s *Set) readSmall(r io.Reader, buf []byte) (head []byte, whole bool, err error) {
	head = buf
	n := 0
	for n < len(head) {
		m, err := r.Read(head[n:])
		n += m
		if errors.Is(err, io.EOF) {
			// No bytes are a small content, too, unless none is.
			return head[:n], s.opt.Small >= 0, nil
		}
		if err != nil {
			return nil, false, unread(err)
		}
	}
	return head, false, nil
}

// unread says that a content could not be read.
func unread(err error) error {
	var coded *runnel.Error
	if errors.As(err, &coded) {
		return err
	}
	return &runnel.Error{Code: runnel.CodeInvalid, Message: ErrContent.Error(), Err: fmt.Errorf("%w: %w", ErrContent, err)}
}

func (s *Set) tooLarge() error {
	return runnel.Errorf(runnel.CodeTooLarge, "a file has at most %d bytes", s.opt.MaxFile)
}

func (c Content) check(f File) error {
	if c.MD5 != nil && !bytes.Equal(c.MD5, f.MD5[:]) {
		return runnel.Errorf(runnel.CodeInvalid, "the content has not the MD5 checksum that came with it: %w", ErrContent)
	}
	return nil
}

// exact is a reader that has size bytes, and says so if it has not.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(b []byte) (int, error) {
	// One byte more than there should be, to see that there is none.
	if int64(len(b)) > e.left+1 {
		b = b[:e.left+1]
	}
	n, err := e.r.Read(b)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return n, runnel.Errorf(runnel.CodeInvalid, "the content has more bytes than were announced: %w", ErrContent)
	case e.left > 0 && errors.Is(err, io.EOF):
		return n, runnel.Errorf(runnel.CodeInvalid, "%d bytes of the content are missing: %w", e.left, ErrContent)
	}
	return n, err
}

// putBlob writes a large content, of which head was read, beside the store.
func (s *Set) putBlob(ctx context.Context, c Collection, name string, content Content, head []byte) (File, error) {
	n := note{c.ID, newID()}
	if err := s.begin(n); err != nil {
		return File{}, err
	}
	defer s.end(n)
	f, err := s.writeBlob(ctx, n, content, head)
	if err != nil {
		s.removeBlob(n)
		if _, gone := s.same(c); runnel.CodeOf(gone) == runnel.CodeNotFound {
			s.removeBlob(note{collection: c.ID}) // a directory that came back
			err = gone
		}
		return File{}, err
	}
	s.mu.Lock()
	s.uploads[n] = false // it does not grow any more
	s.mu.Unlock()
	f.Name = name
	f, err = s.commit(c, f, nil)
	// Where the store has failed the file may be there after a restart: the note
	// will say.
	switch {
	case runnel.CodeOf(err) == runnel.CodeNotFound:
		s.removeBlob(n)
		s.removeBlob(note{collection: c.ID}) // it came back with the blob
	case err != nil && !errors.Is(err, store.ErrFailed) && !errors.Is(err, store.ErrClosed):
		s.removeBlob(n)
	}
	return f, err
}

// writeBlob makes a blob, durably, or leaves what removeBlob removes.
func (s *Set) writeBlob(ctx context.Context, n note, content Content, head []byte) (File, error) {
	w, err := s.blobs.Create(n.collection, n.content)
	if err != nil {
		return File{}, fmt.Errorf("make a blob: %w", err)
	}
	f := File{content: n.content, blob: true}
	err = s.stream(ctx, &f, w, head, content.Reader)
	if err == nil {
		err = content.check(f)
	}
	if err != nil {
		return File{}, errors.Join(err, w.Abort())
	}
	if err := w.Commit(); err != nil {
		return File{}, fmt.Errorf("write a blob: %w", err)
	}
	return f, nil
}

// begin notes a blob that is about to be made.
func (s *Set) begin(n note) error {
	s.starts.RLock()
	defer s.starts.RUnlock()
	s.mu.Lock()
	s.uploads[n] = true
	s.mu.Unlock()
	var b store.Batch
	b.Set(spaceNotes, n.key(), nil)
	if err := s.store.Commit(&b); err != nil {
		s.end(n)
		return err
	}
	return nil
}

// end says that a blob is content, or will not be.
func (s *Set) end(n note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, n)
}

// stream writes head and what r has, and finds out size and checksums. Reading,
// summing up and writing are beside each other: MD5 alone takes longer than a
// good disk.
func (s *Set) stream(ctx context.Context, f *File, w io.Writer, head []byte, r io.Reader) error {
	const buffers = 4
	free := make(chan []byte, buffers)   // of buffers; nobody closes it
	read := make(chan []byte, buffers)   // closed below
	summed := make(chan []byte, buffers) // closed by the one that sums up
	failed := make(chan error, 1)        // gets the error of writing; nobody closes it
	made := 0
	defer func() {
		for range made { // all are free at the end
			b := <-free
			chunks.Put(&b)
		}
	}()
	// A client that is slow needs one only.
	buffer := func() (buf []byte, err error) {
		select {
		case buf = <-free:
			return buf, nil
		default:
		}
		if made < buffers {
			made++
			return *chunks.Get().(*[]byte), nil
		}
		select {
		case err = <-failed:
		case buf = <-free:
		}
		return buf, err
	}
	sha, md := sha256.New(), md5.New()
	var beside sync.WaitGroup
	beside.Go(func() {
		defer close(summed)
		for b := range read {
			_, _ = sha.Write(b) // never fails: see hash.Hash
			_, _ = md.Write(b)
			summed <- b
		}
	})
	beside.Go(func() {
		var err error
		for b := range summed {
			// After the sums: what is written may be changed by that, says vfs.
			if err == nil {
				if _, err = w.Write(b); err != nil {
					failed <- fmt.Errorf("write a blob: %w", err)
				}
			}
			free <- b[:cap(b)]
		}
	})
	err := s.read(ctx, f, head, r, buffer, read, free)
	close(read)
	beside.Wait()
	sha.Sum(f.SHA256[:0])
	md.Sum(f.MD5[:0])
	select {
	case late := <-failed:
		return errors.Join(err, late)
	default:
		return err
	}
}

// read reads head and then r into buffers, and hands them on. What it does not
// hand on it frees.
func (s *Set) read(ctx context.Context, f *File, head []byte, r io.Reader, buffer func() ([]byte, error), full, free chan<- []byte) error {
	var looked int64
	for done := false; !done; {
		buf, err := buffer()
		if err != nil {
			return err
		}
		n := copy(buf, head)
		head = head[n:]
		if n, done, err = fill(r, buf, n); err == nil {
			f.Size += int64(n)
			err = s.fits(ctx, f.Size, &looked)
		}
		if err != nil {
			free <- buf
			return err
		}
		full <- buf[:n]
	}
	return nil
}

// fill reads into a buffer from n on, until it is full or r is done.
func fill(r io.Reader, buf []byte, n int) (int, bool, error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF):
			return n, true, nil
		case err != nil:
			return n, false, unread(err)
		}
	}
	return n, false, nil
}

// fits refuses a file that is too large, or that the disk has no room for.
func (s *Set) fits(ctx context.Context, size int64, looked *int64) error {
	if size > s.opt.MaxFile {
		return s.tooLarge()
	}
	if size-*looked < roomEvery {
		return nil
	}
	*looked = size
	return errors.Join(ctx.Err(), s.room(0))
}

// commit makes f, whose content is small or a blob that is durable, a file.
func (s *Set) commit(c Collection, f File, small []byte) (File, error) {
	l := s.lockOf(c.Ref)
	l.RLock()
	defer l.RUnlock()
	if _, err := s.same(c); err != nil {
		return File{}, err
	}
	replaced, err := s.change(c, f.Name, func(b *store.Batch) {
		f.Modified = s.opt.Now().UTC().Truncate(time.Microsecond)
		b.Set(spaceFiles, c.ID.key(f.Name), f.encode())
		if f.blob {
			b.Delete(spaceNotes, note{c.ID, f.content}.key())
		} else {
			b.Set(spaceContents, c.ID.key(string(f.content[:])), small)
		}
	})
	if err != nil {
		return File{}, err
	}
	s.stats.written.Add(1)
	s.stats.writtenBytes.Add(uint64(f.Size)) //nolint:gosec // not negative
	if replaced != nil {
		s.removeBlob(*replaced)
	}
	return f, nil
}

// same returns a collection as it is now, or CodeNotFound if it was deleted, and
// perhaps made anew.
func (s *Set) same(c Collection) (Collection, error) {
	now, err := s.collection(c.Ref)
	if err == nil && now.ID != c.ID {
		err = runnel.Errorf(runnel.CodeNotFound, "the collection %s/%.80q was deleted meanwhile", c.Owner, c.Name)
	}
	return now, err
}

// change commits a batch that gives a file a record. The caller holds the
// collection for reading.
func (s *Set) change(c Collection, name string, fill func(*store.Batch)) (blob *note, err error) {
	l := s.fileLock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	old, err := s.record(c, name)
	switch {
	case err == nil:
		return s.commitChange(c, &old, fill)
	case runnel.CodeOf(err) == runnel.CodeNotFound:
		return s.commitChange(c, nil, fill)
	}
	return nil, err
}

// commitChange commits a batch about a file, and with it the end of the content
// that the file had, if any: the blob that remains of it is returned, and
// noted. The caller holds the file.
func (s *Set) commitChange(c Collection, old *File, fill func(*store.Batch)) (blob *note, err error) {
	var b store.Batch
	switch {
	case old == nil:
	case old.blob:
		blob = &note{c.ID, old.content}
		b.Set(spaceNotes, blob.key(), nil)
	default:
		b.Delete(spaceContents, c.ID.key(string(old.content[:])))
	}
	fill(&b)
	return blob, s.store.Commit(&b)
}
