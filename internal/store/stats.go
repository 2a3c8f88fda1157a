package store

import (
	"sync/atomic"
	"time"
)

// counters are written by the writer and settle goroutines.
type counters struct {
	commits atomic.Uint64
	batches atomic.Uint64
	bytes   atomic.Uint64
	waited  atomic.Int64
}

func (c *counters) group(g *group) {
	c.commits.Add(1)
	c.batches.Add(uint64(len(g.members)))
	c.bytes.Add(uint64(g.batch.Len()))
}

func (c *counters) synced(d time.Duration) { c.waited.Add(int64(d)) }

// Stats are figures since Open, and the state of the files now.
type Stats struct {
	// Commits that were fsynced, and Batches in them: their ratio says how
	// many callers shared an fsync.
	Commits, Batches uint64
	// CommitBytes were handed to the engine in commits, and CommitTime is how
	// long these commits took together, fsync included.
	CommitBytes uint64
	CommitTime  time.Duration
	// WriteQueue is how many batches wait for the writer.
	WriteQueue int
	// DiskBytes is what the files in use take; WALBytes is the part of the
	// log. Files that are about to be deleted are not counted.
	DiskBytes, WALBytes uint64
	// FlushedBytes and CompactedBytes were written besides the log.
	FlushedBytes, CompactedBytes uint64
	// MemTableBytes and CacheBytes are in memory.
	MemTableBytes, CacheBytes uint64
	// FreeBytes of the filesystem, when last asked, and whether that is less
	// than the reserve.
	FreeBytes uint64
	NoRoom    bool
}

// Stats returns the figures.
func (s *Store) Stats() Stats {
	m := s.db.Metrics()
	st := Stats{
		Commits:     s.stats.commits.Load(),
		Batches:     s.stats.batches.Load(),
		CommitBytes: s.stats.bytes.Load(),
		CommitTime:  time.Duration(s.stats.waited.Load()),
		// Not m.DiskSpaceUsage: the obsolete files in it can go below zero.
		DiskBytes:     max(m.WAL.PhysicalSize, m.WAL.Size) + m.Table.Local.LiveSize + m.BlobFiles.Local.LiveSize,
		WALBytes:      max(m.WAL.PhysicalSize, m.WAL.Size),
		MemTableBytes: m.MemTable.Size,
		CacheBytes:    uint64(m.BlockCache.Size),
		FreeBytes:     s.room.free.Load(),
		NoRoom:        s.room.low.Load(),
	}
	for i := range m.Levels {
		st.FlushedBytes += m.Levels[i].TableBytesFlushed + m.Levels[i].BlobBytesFlushed
		st.CompactedBytes += m.Levels[i].TableBytesCompacted + m.Levels[i].BlobBytesCompacted
	}
	s.mu.Lock()
	st.WriteQueue = len(s.sends) + len(s.others)
	s.mu.Unlock()
	return st
}
