package collection

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Options configure a Set. Dir or Blobs is needed.
type Options struct {
	// Dir holds the blobs, on FS. It is on the filesystem of the store, whose
	// free space is looked at.
	Dir string
	// FS is the filesystem. It must be that of the store. Needed with Dir.
	FS store.FS
	// Blobs are instead of Dir. Copy does not copy them.
	Blobs Blobs
	// Small is up to how many bytes a content is in the store. Default
	// 64 KiB, at most 1 MiB. Negative: none is.
	Small int
	// MaxFile is the most bytes of a file. Default 5 GiB.
	MaxFile int64
	// MaxCollections is how many collections of a kind an owner may have;
	// sessions are as many as they are. Default 10,000.
	MaxCollections int
	// SessionAge and TemporaryAge are how long after it was written a file of
	// these kinds is there. Defaults: an hour; a day.
	SessionAge, TemporaryAge time.Duration
	// SweepEvery is how often Run removes what is too old. Default a minute.
	SweepEvery time.Duration
	// Log gets what an operator must know of. Default: nothing.
	Log *slog.Logger
	// Now is the clock of what is stored. Default time.Now.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.Small == 0 {
		o.Small = 64 << 10
	}
	o.Small = min(o.Small, 1<<20)
	if o.MaxFile == 0 {
		o.MaxFile = 5 << 30
	}
	if o.MaxCollections == 0 {
		o.MaxCollections = 10_000
	}
	if o.SessionAge == 0 {
		o.SessionAge = time.Hour
	}
	if o.TemporaryAge == 0 {
		o.TemporaryAge = 24 * time.Hour
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// stripes is how many locks there are of each sort.
const stripes = 1024

// Set is all collections. Its methods may be called by several goroutines at
// once.
type Set struct {
	store *store.Store
	opt   Options
	blobs Blobs
	disk  *disk // blobs, if they are ours

	seed  maphash.Seed
	stats counters
	// collections are held for writing by what makes, changes and removes
	// one, and for reading by changes of its files; files for a change of one.
	// A collection comes before a file, and nobody holds two.
	collections [stripes]sync.RWMutex
	files       [stripes]sync.Mutex

	// starts is held for reading while a note is made of a new blob, and for
	// writing while a copy finds out which there are; removals for reading
	// while one is removed, and for writing while they are copied.
	starts, removals sync.RWMutex

	mu sync.Mutex // guards the fields below
	// uploads are the blobs that are noted and shall become content, and
	// whether they still grow.
	uploads map[note]bool
	// busy counts the Puts under way, by collections that are not hosted.
	busy map[Ref]int
}

// note names a blob, or all of a collection, by the zero content.
type note struct{ collection, content ID }

func (n note) key() []byte {
	if n.content == (ID{}) {
		return n.collection.key("")
	}
	return n.collection.key(string(n.content[:]))
}

// Open opens the collections of a store, of which there is one Set, and
// removes the blobs that a crash has left.
func Open(s *store.Store, opt Options) (*Set, error) {
	opt.setDefaults()
	set := &Set{
		store: s, opt: opt, blobs: opt.Blobs, seed: maphash.MakeSeed(),
		uploads: make(map[note]bool), busy: make(map[Ref]int),
	}
	if opt.Blobs == nil {
		set.disk = &disk{fs: opt.FS, dir: opt.Dir}
		set.blobs = set.disk
		if err := set.disk.makeDir(opt.Dir); err != nil {
			return nil, fmt.Errorf("open collections: %w", err)
		}
	}
	if err := set.removeNoted(); err != nil {
		return nil, fmt.Errorf("open collections: remove what a crash has left: %w", err)
	}
	return set, nil
}

func (s *Set) lockOf(ref Ref) *sync.RWMutex {
	return &s.collections[maphash.Bytes(s.seed, ref.key())%stripes]
}

func (s *Set) fileLock(collection ID, name string) *sync.Mutex {
	return &s.files[maphash.Bytes(s.seed, collection.key(name))%stripes]
}

// Create makes a hosted collection: CodeConflict if it is there, CodeLimit for
// one too many.
func (s *Set) Create(ctx context.Context, ref Ref, access Access) (Collection, error) {
	if err := errors.Join(ctx.Err(), ref.check(), access.check()); err != nil {
		return Collection{}, err
	}
	if err := s.room(0); err != nil {
		return Collection{}, err
	}
	l := s.lockOf(ref)
	l.Lock()
	defer l.Unlock()
	switch _, err := s.collection(ref); {
	case err == nil:
		return Collection{}, runnel.Errorf(runnel.CodeConflict, "the collection %s/%s exists already", ref.Owner, ref.Name)
	case runnel.CodeOf(err) != runnel.CodeNotFound:
		return Collection{}, err
	}
	return s.make(ref, access)
}

// make makes a collection. The caller holds its lock for writing.
func (s *Set) make(ref Ref, access Access) (Collection, error) {
	if err := s.another(ref); err != nil {
		return Collection{}, err
	}
	c := Collection{Ref: ref, ID: newID(), Access: access, Created: s.opt.Now().UTC().Round(0)}
	value, err := c.encode()
	if err != nil {
		return Collection{}, err
	}
	var b store.Batch
	b.Set(spaceCollections, ref.key(), value)
	return c, s.store.Commit(&b)
}

// another refuses a collection that is one too many: it keeps an owner from
// filling the store. Two at once may pass.
func (s *Set) another(ref Ref) error {
	if ref.Kind == Session {
		return nil
	}
	n := 0
	if err := s.store.Scan(spaceCollections, ownerKey(ref.Kind, ref.Owner), func(_, _ []byte) bool { n++; return n < s.opt.MaxCollections }); err != nil {
		return err
	}
	if n >= s.opt.MaxCollections {
		return runnel.Errorf(runnel.CodeLimit, "%s has %d collections, which is the most: delete one first", ref.Owner, n)
	}
	return nil
}

// ensure returns a collection that is made if it is not there, unless it is
// hosted.
func (s *Set) ensure(ctx context.Context, ref Ref) (Collection, error) {
	c, err := s.Collection(ctx, ref)
	if ref.Kind == Hosted || runnel.CodeOf(err) != runnel.CodeNotFound {
		return c, err
	}
	l := s.lockOf(ref)
	l.Lock()
	defer l.Unlock()
	if c, err = s.collection(ref); runnel.CodeOf(err) != runnel.CodeNotFound {
		return c, err
	}
	return s.make(ref, Private)
}

// Collection returns a collection, or CodeNotFound.
func (s *Set) Collection(ctx context.Context, ref Ref) (Collection, error) {
	if err := errors.Join(ctx.Err(), ref.check()); err != nil {
		return Collection{}, err
	}
	return s.collection(ref)
}

func (s *Set) collection(ref Ref) (Collection, error) {
	value, err := s.store.Get(spaceCollections, ref.key())
	if errors.Is(err, store.ErrNotFound) {
		return Collection{}, runnel.Errorf(runnel.CodeNotFound, "there is no collection %s/%.80q", ref.Owner, ref.Name)
	}
	if err != nil {
		return Collection{}, err
	}
	return decodeCollection(ref, value)
}

// Collections returns up to limit hosted collections of an owner whose names
// come after one, in the order of their names, and whether there are more.
func (s *Set) Collections(ctx context.Context, owner, after string, limit int) (list []Collection, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	lo := ownerKey(Hosted, owner)
	hi := append(ownerKey(Hosted, owner)[:len(lo)-1], 1)
	if after != "" {
		lo = append(append(lo, after...), 0)
	}
	var failed error
	err = s.store.Range(spaceCollections, lo, hi, func(key, value []byte) bool {
		if len(list) == limit {
			more = true
			return false
		}
		ref, _ := parseRef(key)
		c, err := decodeCollection(ref, value)
		if err != nil {
			failed = err
			return false
		}
		list = append(list, c)
		return true
	})
	return list, more, errors.Join(err, failed)
}

// SetAccess changes who may read a collection.
func (s *Set) SetAccess(ctx context.Context, ref Ref, access Access) error {
	if err := errors.Join(ctx.Err(), ref.check(), access.check()); err != nil {
		return err
	}
	l := s.lockOf(ref)
	l.Lock()
	defer l.Unlock()
	c, err := s.collection(ref)
	if err != nil {
		return err
	}
	c.Access = access
	value, err := c.encode()
	if err != nil {
		return err
	}
	var b store.Batch
	b.Set(spaceCollections, ref.key(), value)
	return s.store.Commit(&b)
}

// Delete removes a collection and returns how many files went with it.
// CodeConflict if it has files and that is not forced. All of it goes at once.
func (s *Set) Delete(ctx context.Context, ref Ref, force bool) (files int, err error) {
	if err := errors.Join(ctx.Err(), ref.check()); err != nil {
		return 0, err
	}
	l := s.lockOf(ref)
	l.Lock()
	defer l.Unlock()
	c, err := s.collection(ref)
	if err != nil {
		return 0, err
	}
	files, err = s.delete(c, force)
	return files, err
}

// delete removes a collection. The caller holds its lock for writing.
func (s *Set) delete(c Collection, force bool) (files int, err error) {
	err = s.store.Scan(spaceFiles, c.ID.key(""), func(_, _ []byte) bool {
		files++
		return force
	})
	if err != nil {
		return 0, err
	}
	if files > 0 && !force {
		return 0, runnel.Errorf(runnel.CodeConflict, "the collection %s/%s has files: delete them first, or force it", c.Owner, c.Name)
	}
	var b store.Batch
	b.Delete(spaceCollections, c.key())
	b.DeleteRange(spaceFiles, c.ID.key(""), c.ID.end())
	b.DeleteRange(spaceContents, c.ID.key(""), c.ID.end())
	all := note{collection: c.ID}
	b.Set(spaceNotes, all.key(), nil)
	if err := s.store.Commit(&b); err != nil {
		return 0, err
	}
	s.stats.removed.Add(uint64(files)) //nolint:gosec // a count
	s.removeBlob(all)
	return files, nil
}

// room refuses what the disk has no space for.
func (s *Set) room(bytes int64) error {
	if err := s.store.RoomFor(bytes); err != nil {
		return runnel.Errorf(runnel.CodeUnavailable, "the disk of the server is nearly full: files can be deleted, and not written: %w", err)
	}
	return nil
}
