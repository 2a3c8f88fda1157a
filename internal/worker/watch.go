package worker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

const (
	// watchEvery is how often busy processes are looked at. A look that takes
	// long is followed by watchRest times as long without one.
	watchEvery = 250 * time.Millisecond
	watchRest  = 20
)

// watching looks at the processes of the server for what the kernel does not
// bound by itself: how much is in their directories for temporary files, and
// whether they have more processes than they may. Its goroutine is there while
// they are, so that nothing is to be done for a call.
var watching watcher

type watcher struct {
	mu  sync.Mutex
	all map[*process]*watched
}

// watched is a process, and what is known of it.
type watched struct {
	proc *process
	dirs []string // what is in them counts
	most int64
	busy func() bool
	// The goroutine's: whether it was busy at the last look, and that it is not
	// to be measured before next.
	was  bool
	next time.Time
}

// add watches a process, while it is busy, until it is removed.
func (x *watcher) add(proc *process, dirs []string, most int64, busy func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = make(map[*process]*watched)
		go x.run()
	}
	x.all[proc] = &watched{proc: proc, dirs: dirs, most: most, busy: busy, was: true} // with loading its code
}

func (x *watcher) remove(proc *process) {
	x.mu.Lock()
	delete(x.all, proc)
	x.mu.Unlock()
}

// run looks until no process is left.
func (x *watcher) run() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var due []*watched
	for now := range ticker.C {
		x.mu.Lock()
		if len(x.all) == 0 {
			x.all = nil
			x.mu.Unlock()
			return
		}
		due = due[:0]
		for _, w := range x.all {
			busy := w.busy()
			// Once more when a call has ended: what it did since the last look
			// may be seen only now.
			if (busy || w.was) && !now.Before(w.next) {
				due = append(due, w)
				w.was = busy
			}
		}
		x.mu.Unlock()
		for _, w := range due {
			begun := time.Now()
			w.look()
			w.next = time.Now().Add(watchRest * time.Since(begun))
		}
	}
}

// look kills a process that has more than it may.
func (w *watched) look() {
	w.proc.mu.Lock()
	crowded := !w.proc.reaped && w.proc.count()
	w.proc.mu.Unlock()
	if crowded {
		w.proc.breach(w.proc.crowd())
		return
	}
	sum := int64(0)
	for _, dir := range w.dirs {
		sum += sizeOf(dir, w.most-sum)
	}
	if sum > w.most {
		w.proc.breach(tempWords(w.most))
	}
}

// calling says whether the worker has a call in flight.
func (w *worker) calling() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flying > 0
}

// limitTemp says how the directory for temporary files is bounded.
func limitTemp(prog *Program, private []string) Limit {
	l := Limit{Name: "temporary space", Wanted: runnel.Size(prog.TempBytes).String(), InForce: true}
	l.How = "measured while it has a call; the worker is killed"
	if len(private) > 0 {
		l.How += "; " + strings.Join(private, ", ") + " are the same directory to it"
	}
	return l
}

// tempWords are the failure of a process whose directory is full.
func tempWords(most int64) string {
	return fmt.Sprintf("temporary space: it wrote more than %s into its directory for temporary files, and limits.temp is that", runnel.Size(most))
}

// sizeOf adds up what files below a directory take on the disk, and stops
// beyond most. A file with several names counts for each.
func sizeOf(dir string, most int64) int64 {
	var sum int64
	// What disappears meanwhile takes nothing.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d == nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if sum += blocksOf(info); sum > most {
			return fs.SkipAll
		}
		return nil
	})
	return sum
}

// limitError is the failure of a process that a limit ended, by the words of
// process.exceeded.
func limitError(words, stderr string) error {
	e := &runnel.FunctionError{Kind: runnel.KindCrash, Message: "the worker process was ended by a limit: " + words, Stack: stderr}
	if strings.HasPrefix(words, memoryName) {
		e.Kind = runnel.KindOutOfMemory
	}
	return e
}

// blocksOf is what a file takes on the disk.
func blocksOf(info os.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
