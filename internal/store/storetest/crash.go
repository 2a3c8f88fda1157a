// Package storetest has filesystems that fail in the ways that disks do.
package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/runnel-io/runnel/internal/store"
)

// CrashFS is a filesystem in memory that keeps apart what was synced and what
// was not. It calls AtSync before and after every sync, where a test can take a
// Crash: what a machine that lost power at that moment would find. Before a sync
// shows what was promised too early; after it, what it left half done.
type CrashFS struct {
	vfs.FS
	mem *vfs.MemFS

	// AtSync is called before and after each sync of a file or directory, by
	// the goroutine that syncs, one at a time. Set it before the first use.
	AtSync func()

	mu       sync.Mutex // held while AtSync runs
	failSync atomic.Bool
	free     atomic.Uint64
}

// NewCrashFS returns an empty filesystem with a gigabyte of free space.
func NewCrashFS() *CrashFS { return wrap(vfs.NewCrashableMem()) }

func wrap(mem *vfs.MemFS) *CrashFS {
	f := &CrashFS{FS: mem, mem: mem}
	f.free.Store(1 << 30)
	return f
}

// Crash returns a filesystem that holds what was synced, and nothing else.
func (f *CrashFS) Crash() *CrashFS { return wrap(f.mem.CrashClone(vfs.CrashCloneCfg{})) }

// FailSyncs makes every later sync fail, as a disk does that has gone away.
func (f *CrashFS) FailSyncs() { f.failSync.Store(true) }

// SetFree sets the free space that the filesystem reports.
func (f *CrashFS) SetFree(bytes uint64) { f.free.Store(bytes) }

// GetDiskUsage reports the free space that was set.
func (f *CrashFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free := f.free.Load()
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: 2 << 30, UsedBytes: 2<<30 - free}, nil
}

// Unwrap returns nil: no optimisation may go past the counting of syncs.
func (f *CrashFS) Unwrap() vfs.FS { return nil }

func (f *CrashFS) atSync() {
	if f.AtSync == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.AtSync()
}

func (f *CrashFS) file(inner vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &crashFile{File: inner, fs: f}, nil
}

// Create is vfs.FS.Create.
func (f *CrashFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(f.FS.Create(name, c))
}

// Open is vfs.FS.Open.
func (f *CrashFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.FS.Open(name, opts...))
}

// OpenReadWrite is vfs.FS.OpenReadWrite.
func (f *CrashFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(f.FS.OpenReadWrite(name, c, opts...))
}

// OpenDir is vfs.FS.OpenDir.
func (f *CrashFS) OpenDir(name string) (vfs.File, error) { return f.file(f.FS.OpenDir(name)) }

// ReuseForWrite is vfs.FS.ReuseForWrite.
func (f *CrashFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(f.FS.ReuseForWrite(oldname, newname, c))
}

type crashFile struct {
	vfs.File
	fs *CrashFS
}

func (c *crashFile) sync(do func() error) error {
	if c.fs.failSync.Load() {
		return fmt.Errorf("sync: input/output error (simulated)")
	}
	c.fs.atSync()
	if err := do(); err != nil {
		return err
	}
	c.fs.atSync()
	return nil
}

func (c *crashFile) Sync() error     { return c.sync(c.File.Sync) }
func (c *crashFile) SyncData() error { return c.sync(c.File.SyncData) }

func (c *crashFile) SyncTo(length int64) (full bool, err error) {
	err = c.sync(func() error {
		full, err = c.File.SyncTo(length)
		return err
	})
	return full, err
}

var _ store.FS = (*CrashFS)(nil)
