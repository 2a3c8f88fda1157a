package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// room remembers how much free space there was.
type room struct {
	mu      sync.Mutex // held while the filesystem is asked
	checked time.Time
	low     atomic.Bool
	free    atomic.Uint64
}

const roomInterval = 250 * time.Millisecond

// Room returns nil, or ErrNoSpace while less than Options.FreeReserve bytes
// are free. Whoever is about to add data asks first; removing needs no room.
// The filesystem is asked at most four times a second, by the writer as it
// writes, and by Room itself while space is low.
func (s *Store) Room() error {
	if !s.room.low.Load() {
		return nil
	}
	s.checkRoom()
	if s.room.low.Load() {
		return ErrNoSpace
	}
	return nil
}

// RoomFor is Room for who writes bytes beside the store, in the same
// filesystem: the writer, which asks for the others, may not be at work then.
// It returns ErrNoSpace if less than the reserve would be left.
func (s *Store) RoomFor(bytes int64) error {
	s.checkRoom()
	free := s.room.free.Load()
	if s.room.low.Load() || s.opt.FreeReserve >= 0 && free > 0 && bytes > 0 && free < uint64(bytes)+uint64(s.opt.FreeReserve) {
		return ErrNoSpace
	}
	return nil
}

func (s *Store) checkRoom() {
	if s.opt.FreeReserve < 0 {
		return
	}
	r := &s.room
	if !r.mu.TryLock() {
		return // somebody is asking
	}
	defer r.mu.Unlock()
	now := s.opt.Now()
	if !r.checked.IsZero() && now.Sub(r.checked).Abs() < roomInterval {
		return
	}
	r.checked = now
	use, err := s.opt.FS.GetDiskUsage(s.dir)
	if err != nil {
		if !errors.Is(err, vfs.ErrUnsupported) {
			s.opt.Log.Warn("free disk space is unknown", "err", err)
		}
		return
	}
	r.free.Store(use.AvailBytes)
	low := use.AvailBytes < uint64(s.opt.FreeReserve)
	if r.low.Swap(low) != low {
		if low {
			s.opt.Log.Error("disk nearly full: sends are refused, deletes go on", "free", use.AvailBytes, "reserve", s.opt.FreeReserve)
		} else {
			s.opt.Log.Info("disk has room again: sends are taken", "free", use.AvailBytes, "reserve", s.opt.FreeReserve)
		}
	}
}
