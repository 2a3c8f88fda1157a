package journal

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

const (
	// burst is how many seconds' worth of lines may come at once.
	burst = 2
	// maxMeters bounds the functions that are remembered for their rates and
	// counts; those that were silent for meterIdle go first.
	maxMeters = 10_000
	meterIdle = time.Hour
	// noticeEvery is how often a function is told of what it lost.
	noticeEvery = time.Second
)

// source is who adds lines. What a function prints and what is said about it
// have rates of their own: the one must not hide the other.
type source struct {
	account, function string
	printed           bool
}

// meter is the rate of one source. Journal.mu guards it.
type meter struct {
	source
	lines, bytes   float64 // that it may add now
	refilled       time.Time
	added, dropped uint64
	unsaid         uint64 // of dropped, those that no line tells of yet
}

// allow says whether a source may add a line now, and counts it. Caller holds
// mu.
func (j *Journal) allow(l *Line, now time.Time) bool {
	s := source{l.Account, l.Function, l.Worker != ""}
	perSecond, bytesPerSecond := float64(j.opt.LinesPerSecond), float64(j.opt.BytesPerSecond)
	m := j.meters[s]
	if m == nil {
		j.forgetMeters(now)
		m = &meter{source: s, lines: burst * perSecond, bytes: burst * bytesPerSecond, refilled: now}
		j.meters[s] = m
	}
	if passed := now.Sub(m.refilled).Seconds(); passed > 0 {
		m.lines = min(burst*perSecond, m.lines+passed*perSecond)
		m.bytes = min(burst*bytesPerSecond, m.bytes+passed*bytesPerSecond)
		m.refilled = now
	}
	size := float64(len(l.Text))
	if m.lines < 1 || m.bytes < size {
		if m.unsaid == 0 {
			j.silenced = append(j.silenced, m)
			j.wake()
		}
		m.dropped++
		m.unsaid++
		return false
	}
	m.lines--
	m.bytes -= size
	m.added++
	return true
}

// forgetMeters makes room for one more. Caller holds mu.
func (j *Journal) forgetMeters(now time.Time) {
	if len(j.meters) < maxMeters {
		return
	}
	for s, m := range j.meters {
		if now.Sub(m.refilled) > meterIdle && m.unsaid == 0 {
			delete(j.meters, s)
		}
	}
}

// notices adds a line for each source that has dropped some.
func (j *Journal) notices(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.silenced {
		who := "all workers of a function together"
		if !m.printed {
			who = "flows and builds, of a function,"
		}
		j.keep(&Line{
			Time: time.Unix(0, now.UnixNano()).UTC(), Level: slog.LevelWarn, Account: m.account, Function: m.function,
			Text: fmt.Sprintf("%d lines were dropped: %s may log %d lines and %d bytes per second",
				m.unsaid, who, j.opt.LinesPerSecond, j.opt.BytesPerSecond),
		})
		m.unsaid = 0
	}
	j.silenced = nil
	if j.unsaid > 0 {
		j.keep(&Line{
			Time: time.Unix(0, now.UnixNano()).UTC(), Level: slog.LevelWarn,
			Text: fmt.Sprintf("%d lines are not on disk: they came faster than it took them", j.unsaid),
		})
		j.unsaid = 0
	}
}

// noticed says whether there is anything to tell.
func (j *Journal) noticed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.silenced) > 0 || j.unsaid > 0
}

// Stats is what a journal holds and has done.
type Stats struct {
	// Functions has the counts of each, by name. Lines without a function are
	// those of the empty one.
	Functions []FunctionStats
	// DiskBytes and Segments are what is on disk.
	DiskBytes int64
	Segments  int
	// Unwritten are lines that came faster than the disk took them, and are
	// not on it.
	Unwritten uint64
	// Failing is whether the disk did not take the last write.
	Failing bool
}

// FunctionStats count since the journal was opened.
type FunctionStats struct {
	Function string
	// Lines were kept, Dropped were over the rate.
	Lines, Dropped uint64
}

// Stats returns the figures now.
func (j *Journal) Stats() Stats {
	out := j.shelf.stats()
	j.mu.Lock()
	defer j.mu.Unlock()
	by := make(map[string]int, len(j.meters))
	for s, m := range j.meters {
		i, ok := by[s.function]
		if !ok {
			i = len(out.Functions)
			by[s.function] = i
			out.Functions = append(out.Functions, FunctionStats{Function: s.function})
		}
		out.Functions[i].Lines += m.added
		out.Functions[i].Dropped += m.dropped
	}
	out.Unwritten = j.lost
	slices.SortFunc(out.Functions, func(a, b FunctionStats) int { return cmp.Compare(a.Function, b.Function) })
	return out
}
