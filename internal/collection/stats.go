package collection

import "sync/atomic"

// counters are of what was done since Open.
type counters struct {
	written, writtenBytes, read, removed atomic.Uint64
}

// Stats are figures since Open, and Uploads of now.
type Stats struct {
	// Written files, and their bytes; files that were Read, or opened; files
	// that were Removed, one by one or with their collection, replaced ones
	// not among them.
	Written, WrittenBytes, Read, Removed uint64
	// Uploads are large files that are being written.
	Uploads int
}

// Stats returns the figures.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	uploads := len(s.uploads)
	s.mu.Unlock()
	return Stats{
		Written: s.stats.written.Load(), WrittenBytes: s.stats.writtenBytes.Load(), Read: s.stats.read.Load(), Removed: s.stats.removed.Load(),
		Uploads: uploads,
	}
}
