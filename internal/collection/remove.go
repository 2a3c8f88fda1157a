package collection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Remove removes a file, durably, or returns CodeNotFound.
func (s *Set) Remove(ctx context.Context, ref Ref, name string) error {
	if err := CheckName("file", name); err != nil {
		return err
	}
	c, err := s.Collection(ctx, ref)
	if err != nil {
		return err
	}
	return s.remove(c, name, func(f File) bool { return !s.expired(c.Kind, f.Modified) })
}

// remove removes a file of which only says that it is the one.
func (s *Set) remove(c Collection, name string, only func(File) bool) error {
	l := s.lockOf(c.Ref)
	l.RLock()
	defer l.RUnlock()
	if _, err := s.same(c); err != nil {
		return err
	}
	blob, err := s.drop(c, name, only)
	if err != nil {
		return err
	}
	s.stats.removed.Add(1)
	if blob != nil {
		s.removeBlob(*blob)
	}
	return nil
}

func (s *Set) drop(c Collection, name string, only func(File) bool) (blob *note, err error) {
	l := s.fileLock(c.ID, name)
	l.Lock()
	defer l.Unlock()
	old, err := s.record(c, name)
	if err != nil {
		return nil, err
	}
	if !only(old) {
		return nil, errNoFile(c, name)
	}
	return s.commitChange(c, &old, func(b *store.Batch) { b.Delete(spaceFiles, c.ID.key(name)) })
}

// removeBlob removes a blob that is noted, and then the note. What cannot be
// removed, or not now, since a copy is made, remains noted.
func (s *Set) removeBlob(n note) {
	if !s.removals.TryRLock() {
		return
	}
	defer s.removals.RUnlock()
	var err error
	if n.content == (ID{}) {
		err = s.blobs.RemoveAll(n.collection)
	} else {
		err = s.blobs.Remove(n.collection, n.content)
	}
	if err != nil {
		s.opt.Log.Warn("a file that is deleted still takes disk space, its removal will be tried again", "err", err)
		return
	}
	var b store.Batch
	b.Delete(spaceNotes, n.key())
	s.store.Go(&b, nil) // again at worst
}

// removeNoted removes the blobs of all notes but those of uploads under way.
func (s *Set) removeNoted() error {
	var notes []note
	err := s.store.Scan(spaceNotes, nil, func(key, _ []byte) bool {
		var n note
		copy(n.content[:], key[copy(n.collection[:], key):])
		notes = append(notes, n)
		return len(notes) < 10_000 // the others next time
	})
	if err != nil {
		return err
	}
	for _, n := range notes {
		s.mu.Lock()
		_, uploading := s.uploads[n]
		s.mu.Unlock()
		if uploading {
			continue
		}
		// An upload that has ended since the scan has taken its note away
		// before it said so: the blob of one that is still there is nobody's.
		_, err := s.store.Get(spaceNotes, n.key())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		s.removeBlob(n)
	}
	return nil
}

// Run removes what is too old until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opt.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.opt.Log.Error("files of sessions and temporary files were not looked through, the next time will be in a moment", "every", s.opt.SweepEvery, "err", err)
		}
	}
}

// Sweep removes the files that are too old, the collections that are empty
// then, and blobs that could not be removed before.
func (s *Set) Sweep(ctx context.Context) error {
	for _, kind := range []Kind{Session, Temporary} {
		var all []Collection
		var failed error
		err := s.store.Scan(spaceCollections, []byte{byte(kind)}, func(key, value []byte) bool {
			ref, _ := parseRef(key)
			c, err := decodeCollection(ref, value)
			if err != nil {
				failed = err
				return false
			}
			// In one that is young no file is old.
			if s.expired(kind, c.Created) {
				all = append(all, c)
			}
			return true
		})
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		for _, c := range all {
			if err := s.sweep(ctx, c); err != nil {
				return fmt.Errorf("sweep %s/%s: %w", c.Owner, c.Name, err)
			}
		}
	}
	return s.removeNoted()
}

func (s *Set) sweep(ctx context.Context, c Collection) error {
	after, more := "", true
	for more {
		if err := ctx.Err(); err != nil {
			return err
		}
		var old []string
		n := 0
		var failed error
		more = false
		err := s.store.Range(spaceFiles, c.ID.key(after), c.ID.end(), func(key, value []byte) bool {
			f, err := decodeFile(string(key[len(c.ID):]), value)
			if err != nil {
				failed = err
				return false
			}
			if n++; n > 1000 {
				after, more = f.Name, true
				return false
			}
			if s.expired(c.Kind, f.Modified) {
				old = append(old, f.Name)
			}
			return true
		})
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		for _, name := range old {
			err := s.remove(c, name, func(f File) bool { return s.expired(c.Kind, f.Modified) })
			if err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
				return err
			}
		}
	}
	return s.sweepAway(c)
}

// sweepAway removes a collection that is empty and nobody writes to.
func (s *Set) sweepAway(c Collection) error {
	l := s.lockOf(c.Ref)
	l.Lock()
	defer l.Unlock()
	// Who is busy later finds out that it is gone, and makes it again: see Put.
	s.mu.Lock()
	busy := s.busy[c.Ref] > 0
	s.mu.Unlock()
	if _, err := s.same(c); busy || runnel.CodeOf(err) == runnel.CodeNotFound {
		return nil
	}
	_, err := s.delete(c, false)
	if runnel.CodeOf(err) == runnel.CodeConflict {
		return nil // it is not empty
	}
	return err
}

// EndSession removes the files of a session.
func (s *Set) EndSession(ctx context.Context, owner, session string) error {
	_, err := s.Delete(ctx, Ref{Session, owner, session}, true)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return nil
	}
	return err
}

// DeleteOwner removes all collections of an account that is going.
func (s *Set) DeleteOwner(ctx context.Context, owner string) error {
	for _, kind := range []Kind{Hosted, Session, Temporary, Permanent} {
		var names []string
		lo := ownerKey(kind, owner)
		if err := s.store.Scan(spaceCollections, lo, func(key, _ []byte) bool {
			names = append(names, string(key[len(lo):]))
			return true
		}); err != nil {
			return err
		}
		for _, name := range names {
			if _, err := s.Delete(ctx, Ref{kind, owner, name}, true); err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
				return err
			}
		}
	}
	return nil
}

// Copy has copyStore make a copy of the store, and then makes one of the blobs
// in the new directory dest: those that are content in the copy of the store,
// and perhaps some that are noted there. Writing goes on meanwhile, but for a
// moment.
func (s *Set) Copy(dest string, copyStore func() error) error {
	if s.disk == nil {
		return copyStore()
	}
	// Blobs that are content now may be replaced, and must stay.
	s.removals.Lock()
	defer s.removals.Unlock()
	blobs, err := s.copyStore(copyStore)
	if err != nil {
		return err
	}
	if err := s.disk.copy(dest, blobs); err != nil {
		return fmt.Errorf("copy the files: %w", err)
	}
	return nil
}

// copyStore makes the copy of the store and returns the blobs that may be in
// it. None begins meanwhile: one without a note in the copy would be there for
// ever.
func (s *Set) copyStore(copyStore func() error) ([]blob, error) {
	s.starts.Lock()
	defer s.starts.Unlock()
	if err := copyStore(); err != nil {
		return nil, err
	}
	all, err := s.disk.list()
	if err != nil {
		return nil, err
	}
	// Those that grow are noted in the copy. Those that do not may be content in
	// it, though the list has them still.
	s.mu.Lock()
	defer s.mu.Unlock()
	growing := make(map[blob]bool, len(s.uploads))
	for n, grows := range s.uploads {
		growing[blob{n.collection.String(), n.content.String()}] = grows
	}
	return slices.DeleteFunc(all, func(b blob) bool { return growing[b] }), nil
}
