package server

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/collection"
	"github.com/runnel-io/runnel/internal/store"
)

// copyDir is where the copy for a backup is made: inside the data directory,
// so that it is on the same filesystem and mostly hard links. The store does
// not look at it.
const copyDir = "backup.tmp"

// copies makes the copies of the data for backups. One exists at a time: each
// keeps files on the disk that compaction has replaced.
type copies struct {
	dir         string
	store       *store.Store
	collections *collection.Set
	working     *working
	one         sync.Mutex // held while there is a copy
}

// Backup implements admin.Backups.
func (c *copies) Backup() (admin.Copy, error) {
	if !c.one.TryLock() {
		return admin.Copy{}, runnel.Errorf(runnel.CodeLimit, "a backup is under way: one at a time is made")
	}
	dest := filepath.Join(c.dir, copyDir)
	remove := func() error {
		defer c.one.Unlock()
		return os.RemoveAll(dest)
	}
	if err := c.store.Room(); err != nil {
		c.one.Unlock()
		return admin.Copy{}, runnel.Errorf(runnel.CodeUnavailable, "the disk of the server is nearly full, and a backup would keep files on it: %w", err)
	}
	// An earlier one that could not be removed would be in the way.
	err := removeCopies(c.dir)
	if err == nil {
		err = c.collections.Copy(filepath.Join(dest, blobsDir), func() error { return c.store.Backup(dest) })
	}
	if err == nil { // after the store, which knows whose they are
		err = c.working.linkAll(filepath.Join(dest, workingDir))
	}
	if err != nil {
		return admin.Copy{}, errors.Join(err, remove())
	}
	return admin.Copy{Files: os.DirFS(dest), Remove: remove}, nil
}

// removeCopies removes what is left of a backup that did not end well. The
// caller has the store open, so it is nobody else's.
func removeCopies(dir string) error { return os.RemoveAll(filepath.Join(dir, copyDir)) }
