package worker

import (
	"hash/fnv"
	"time"
)

// weighEvery is how often the memory of a busy process is looked at.
const weighEvery = 100 * time.Millisecond

// isWorn says whether a process is to be replaced, with p.mu held.
func (p *Pool) isWorn(w *worker, calls int, resident int64) bool {
	r := &p.recycle
	switch {
	case r.Calls > 0 && calls >= r.Calls:
	case r.Age > 0 && time.Since(w.born) >= w.lifetime(r.Age):
	case r.Memory > 0 && resident > int64(r.Memory):
	default:
		return false
	}
	return true
}

// lifetime is the age, less up to a tenth of it, by the process's name: those
// that were started together are not all replaced at once.
func (w *worker) lifetime(age time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(w.name))
	return age - age/10*time.Duration(h.Sum32()%100)/100
}

// weigh returns how much memory the process occupies, or 0 where nobody wants
// to know, or knew a moment ago.
func (w *worker) weigh() int64 {
	if !w.pool.weighs.Load() {
		return 0
	}
	now := time.Now().UnixNano()
	if now-w.weighed.Load() < int64(weighEvery) {
		return 0
	}
	w.weighed.Store(now)
	return w.proc.resident()
}
