package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is the filesystem that a store lives on. Tests use one that forgets what
// was not synced (package storetest).
type FS = vfs.FS

// Disk is the filesystem of the operating system.
var Disk FS = vfs.Default

// Space is the first byte of a key: each kind of document has its own. The
// list is in the package comment.
type Space byte

// The key spaces that the store itself writes.
const (
	spaceHeader Space = 'n'
	spaceRecord Space = 'm'
	spaceMark   Space = 'x'
)

// ErrLocked is returned by Open when another process uses the directory.
var ErrLocked = errors.New("in use by another runnel process")

// ErrNewerFormat is returned by Open when a later release of Runnel wrote the
// directory.
var ErrNewerFormat = errors.New("written by a newer release of runnel")

// ErrNotStore is returned by Open for a directory that holds something else.
var ErrNotStore = errors.New("not a runnel data directory")

// ErrNotFound is returned for a key or record that is not there.
var ErrNotFound = errors.New("not found")

// ErrNoSpace is returned by Room while the disk has less free space than the
// reserve.
var ErrNoSpace = errors.New("free disk space is below the reserve")

// ErrFailed is returned by every commit at and after the first one that did
// not reach the disk. Its batch may or may not be there after a restart.
var ErrFailed = errors.New("the store has failed and takes no more writes")

// ErrClosed is returned by commits after Close.
var ErrClosed = errors.New("the store is closed")

// Options configure a store. The zero value is the default.
type Options struct {
	// FS is the filesystem. Default: the operating system's.
	FS FS
	// Log gets one line per event that an operator must know of. Default:
	// slog.Default.
	Log *slog.Logger
	// CommitBytes is the most bytes of appended records in one commit, where a
	// single batch is not larger. More means fewer fsyncs and a longer one.
	// Default 4 MiB, at most 7 MiB: Pebble writes batches over half a memtable
	// by a slower way.
	CommitBytes int
	// CommitDeletes is the most keys that one commit takes from batches which
	// append nothing, where a single batch does not have more. Default 256.
	CommitDeletes int
	// FreeReserve is the free disk space, in bytes, below which Room reports
	// ErrNoSpace: the rest is for deletes and for compaction, which need to
	// write in order to free space. Default 256 MiB; negative means none.
	FreeReserve int64
	// Fail is called once, with the reason, when a commit did not reach the
	// disk. Default: write one line to Log and exit the process with status 1,
	// since nothing that was said from now on could be kept.
	Fail func(error)
	// Now is the clock of the free-space check. Default time.Now.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.CommitBytes <= 0 {
		o.CommitBytes = 4 << 20
	}
	o.CommitBytes = min(o.CommitBytes, 7<<20)
	if o.CommitDeletes <= 0 {
		o.CommitDeletes = 256
	}
	if o.FreeReserve == 0 {
		o.FreeReserve = 256 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Fail == nil {
		log := o.Log
		o.Fail = func(err error) {
			log.Error("commit failed: stopping, nothing unconfirmed was acknowledged", "err", err)
			os.Exit(1)
		}
	}
}

// Store is an open database. Its methods may be called by several goroutines
// at once.
type Store struct {
	dir  string
	opt  Options
	db   *pebble.DB
	lock *pebble.Lock

	// mu guards the queue of the writer.
	mu     sync.Mutex
	work   sync.Cond // signalled when sends, others or closed change
	sends  []*Batch  // batches that append, oldest first
	others []*Batch  // batches that do not, oldest first
	closed bool      // no more batches are taken
	failed error     // set once; every later commit gets it
	// unsynced is how many groups were taken and are not durable yet.
	unsynced int

	groups chan *group   // from write to settle; closed by write
	done   chan struct{} // closed by settle when the last group was told

	seriesMu sync.Mutex
	series   map[uint64]*Series // every series that was opened

	room  room
	stats counters
}

// Open opens or creates the store in dir. The directory must not be in use
// (ErrLocked), must be of a format that this release knows (ErrNewerFormat),
// and must hold nothing else (ErrNotStore).
func Open(dir string, opt Options) (*Store, error) {
	opt.setDefaults()
	if err := makeDir(opt.FS, dir); err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be made: %w: choose another, or make it and give it to this user", dir, err)
	}
	if err := openFormat(opt.FS, dir); err != nil {
		return nil, err
	}
	dbDir := opt.FS.PathJoin(dir, "db")
	if err := makeDir(opt.FS, dbDir); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := pebble.LockDirectory(dbDir, opt.FS)
	if err != nil {
		// EAGAIN: another process has the lock; the text: this one has.
		if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
			return nil, fmt.Errorf("data directory %s: %w: stop that one, or choose another directory", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	s := &Store{
		dir:    dir,
		opt:    opt,
		lock:   lock,
		groups: make(chan *group),
		done:   make(chan struct{}),
		series: make(map[uint64]*Series),
	}
	s.work.L = &s.mu
	cache := pebble.NewCache(32 << 20)
	defer cache.Unref()
	s.db, err = pebble.Open(dbDir, s.pebbleOptions(cache))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", dir, err), lock.Close())
	}
	go s.write()
	go s.settle()
	return s, nil
}

func (s *Store) pebbleOptions(cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		FS:                 s.opt.FS,
		Lock:               s.lock,
		Cache:              cache,
		FormatMajorVersion: pebble.FormatValueSeparation, // part of our format 1
		// 16 MiB: with 64 the log to replay at open takes over a second.
		MemTableSize: 16 << 20,
		Logger:       pebbleLogger{s},
		// One compaction at a time, two under pressure: they share the cores
		// with the messages.
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	// Records of 256 bytes and more are written once, to a blob file, and not
	// again by each compaction: with Batch.Clear, and a backlog, about a third of
	// the CPU of a message (docs/adr/0001). Blob files that are half garbage are
	// rewritten.
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           256,
			MaxBlobReferenceDepth: 100, // no difference from 10 was measured
			RewriteMinimumAge:     time.Minute,
			TargetGarbageRatio:    0.5,
		}
	}
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			s.opt.Log.Error("store background work failed, it will be tried again", "err", err)
		},
	}
	return o
}

// Close waits for the commits under way and closes the database. Commits that
// start later fail with ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	failed := s.failed
	s.work.Broadcast()
	s.mu.Unlock()
	<-s.done
	if failed != nil {
		// Pebble's commit pipeline is stuck after a failed commit: closing it
		// would wait for ever. The lock goes with the process.
		return failed
	}
	return errors.Join(s.db.Close(), s.lock.Close())
}

// Get returns the value of a key, or ErrNotFound.
func (s *Store) Get(space Space, key []byte) ([]byte, error) {
	return s.get(appendKey(nil, space, key), nil)
}

func (s *Store) get(key, buf []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	buf = append(buf, v...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return buf, nil
}

// Scan calls f with each key of the space that begins with prefix, in order,
// until f returns false. The key comes without its space; both slices are
// good until f returns.
func (s *Store) Scan(space Space, prefix []byte, f func(key, value []byte) bool) error {
	lower := appendKey(nil, space, prefix)
	return s.scan(lower, upperBound(lower), f)
}

// Range calls f with each key of the space from lo on and below hi, as Scan
// does.
func (s *Store) Range(space Space, lo, hi []byte, f func(key, value []byte) bool) error {
	return s.scan(appendKey(nil, space, lo), appendKey(nil, space, hi), f)
}

func (s *Store) scan(lower, upper []byte, f func(key, value []byte) bool) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("scan: %w", err), it.Close())
		}
		if !f(it.Key()[1:], v) {
			break
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// fail stops all writing and says why, once.
func (s *Store) fail(err error) {
	s.mu.Lock()
	first := s.failed == nil
	if first {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	s.work.Broadcast()
	s.mu.Unlock()
	if first {
		s.opt.Fail(err)
	}
}

func appendKey(buf []byte, space Space, key []byte) []byte {
	return append(append(buf, byte(space)), key...)
}

// upperBound returns the first key after all that begin with prefix.
func upperBound(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// makeDir creates dir, and what is missing above it, so that it is still there
// after a crash: a new directory is durable once its parent was synced.
func makeDir(f FS, dir string) error {
	if info, err := f.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := f.PathDir(dir)
	if parent != dir {
		if err := makeDir(f, parent); err != nil {
			return err
		}
	}
	if err := f.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(f, parent)
}

func syncDir(f FS, dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// pebbleLogger passes on what Pebble says when it matters.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.s.opt.Log.Error("store engine", "err", fmt.Sprintf(format, args...))
}

// Fatalf is called by Pebble where it cannot go on. It must not return.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}

func be64(buf []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(buf, n) }
