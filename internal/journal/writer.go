package journal

import (
	"slices"
	"time"
)

const (
	// gather is how long the writer waits for more lines after the first.
	gather = 50 * time.Millisecond
	// A batch is what it writes at once.
	batchLines = 1000
	batchBytes = 1 << 20
	// retryEvery is how often a disk that took no write is tried again.
	retryEvery = time.Minute
	// expireEvery is how often it is looked for lines that are too old.
	expireEvery = time.Minute
)

// write takes lines from memory to the disk until Close. It alone changes the
// shelf. Memory is its queue: what is dropped there before the writer came to it
// is counted as lost.
func (j *Journal) write() {
	defer close(j.closed)
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	var notice, retry <-chan time.Time
	for {
		select {
		case <-j.work:
			more := time.NewTimer(gather)
			select {
			case <-more.C:
			case <-j.stop:
				more.Stop()
			}
		case <-notice:
			notice = nil
			j.notices(j.opt.Now())
		case <-retry:
			retry = nil
		case <-expire.C:
			j.shelf.expire()
		case <-j.stop:
			j.notices(j.opt.Now())
			j.flush()
			j.shelf.close()
			return
		}
		if retry == nil && !j.flush() {
			retry = time.After(retryEvery)
		}
		if notice == nil && j.noticed() {
			notice = time.After(noticeEvery)
		}
	}
}

// flush writes all there is, and says whether the disk took it.
func (j *Journal) flush() bool {
	for {
		batch := j.take()
		if len(batch) == 0 {
			return true
		}
		err := j.opt.Room()
		if err == nil {
			err = j.shelf.append(batch)
		}
		j.mu.Lock()
		if err == nil {
			j.unwritten = batch[len(batch)-1].ID + 1
		}
		j.flight = nil
		j.mu.Unlock()
		if err != nil {
			j.shelf.failed(err)
			return false
		}
		j.shelf.worked()
	}
}

// take returns the next lines to be written. They can be found in flight until
// they are on disk, also when they are dropped from memory meanwhile.
func (j *Journal) take() []*Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.first()
	if j.unwritten < first {
		j.lost += first - j.unwritten
		j.unsaid += first - j.unwritten
		if j.gaps = append(j.gaps, gap{j.unwritten, first}); len(j.gaps) > maxGaps {
			j.gaps = slices.Delete(j.gaps, 0, 1)
		}
		j.unwritten = first
	}
	rest := j.lines[j.unwritten-first:]
	n, size := 0, 0
	for n < len(rest) && n < batchLines && size < batchBytes {
		size += rest[n].bytes()
		n++
	}
	// A copy: drop clears what it drops.
	j.flight = append([]*Line(nil), rest[:n]...)
	return j.flight
}
