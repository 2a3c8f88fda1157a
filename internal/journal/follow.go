package journal

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"
)

const (
	// readPart is how many lines a follower takes from memory at once,
	// catchPart how many from the disk.
	readPart  = 100
	catchPart = 1000
)

// follower is one who wants new lines. They are not kept for him: he reads
// them from those of all in memory, and misses what is gone before he comes.
type follower struct {
	query  *Query
	next   uint64        // the id of the line that he reads next
	missed uint64        // wanted lines that are gone
	more   chan struct{} // capacity 1: there are new lines; never closed
}

// Follow calls fn with the lines that Search would return, or with those after
// an id if that is not 0, and then with each new one, until ctx ends or fn
// returns an error, which Follow returns. No line is left out or given twice
// between them. Who then takes lines so slowly that they are gone from memory
// is told how many he missed, by a line with the id 0.
func (j *Journal) Follow(ctx context.Context, q Query, after uint64, fn func(Line) error) error {
	q.Until, q.Before = time.Time{}, 0
	give := func(lines []*Line) error {
		for _, l := range lines {
			if err := fn(*l); err != nil {
				return err
			}
		}
		return nil
	}
	q.prepare(j.opt.Now(), j.opt.Age)
	j.mu.Lock()
	next := j.next
	j.mu.Unlock()
	if after == 0 {
		p, err := j.pick(ctx, &q, 0, next, false)
		if err != nil {
			return untilEnd(ctx, err)
		}
		if err := give(p.lines); err != nil {
			return err
		}
	} else {
		next = min(after+1, next)
	}
	// What came meanwhile may be on disk only by now.
	q.Limit = catchPart
	f := &follower{query: &q, more: make(chan struct{}, 1)}
	for !j.join(f, next) {
		p, err := j.pick(ctx, &q, next, math.MaxUint64, true)
		if err != nil {
			return untilEnd(ctx, err)
		}
		if p.lost > 0 {
			p.lines = append([]*Line{j.leftOut("%d lines of all functions are left out here: they came faster than they were written", p.lost)}, p.lines...)
		}
		if err := give(p.lines); err != nil {
			return err
		}
		next = p.rest
	}
	defer j.leave(f)
	for {
		lines := j.read(f)
		if err := give(lines); err != nil {
			return err
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.more:
		}
	}
}

// untilEnd is nil for a search that ended with the follower.
func untilEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// leftOut is a notice to one follower.
func (j *Journal) leftOut(format string, n uint64) *Line {
	return &Line{Time: j.opt.Now().UTC(), Level: slog.LevelWarn, Text: fmt.Sprintf(format, n)}
}

// join lets a follower read from memory, from an id on, if that is there.
func (j *Journal) join(f *follower, next uint64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if next < j.first() {
		return false
	}
	f.next = next
	j.followers[f] = struct{}{}
	return true
}

func (j *Journal) leave(f *follower) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.followers, f)
}

// read returns the next lines of a follower, none if there are none yet.
func (j *Journal) read(f *follower) []*Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []*Line
	if f.missed > 0 {
		out = append(out, j.leftOut("%d lines are left out here: they came faster than they were read", f.missed))
		f.missed = 0
	}
	first := j.first()
	f.next = max(f.next, first)
	for ; f.next < j.next && len(out) < readPart; f.next++ {
		if l := j.lines[f.next-first]; f.query.wants(l) {
			out = append(out, l)
		}
	}
	return out
}
