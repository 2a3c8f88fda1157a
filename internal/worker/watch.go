package worker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

const (
	// watchEvery is how often busy workers are looked at. A look at a directory
	// that takes long is followed by watchRest times as long without one.
	watchEvery = 250 * time.Millisecond
	watchRest  = 20
)

// watching looks at the workers of the server for what the kernel does not
// bound by itself: how much is in their directories for temporary files, and
// whether they have more processes than they may. Its goroutine is there while
// workers are, so that nothing is to be done for a call.
var watching watcher

type watcher struct {
	mu      sync.Mutex
	workers map[*worker]*watched
}

// watched is what is known of a worker. Its fields are the goroutine's.
type watched struct {
	busy bool      // at the last look
	next time.Time // not to be measured before
}

func (x *watcher) add(w *worker) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.workers == nil {
		x.workers = make(map[*worker]*watched)
		go x.run()
	}
	x.workers[w] = &watched{busy: true} // with loading its code
}

func (x *watcher) remove(w *worker) {
	x.mu.Lock()
	delete(x.workers, w)
	x.mu.Unlock()
}

// run looks until no worker is left.
func (x *watcher) run() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var due []*worker
	for now := range ticker.C {
		x.mu.Lock()
		if len(x.workers) == 0 {
			x.workers = nil
			x.mu.Unlock()
			return
		}
		due = due[:0]
		for w, is := range x.workers {
			busy := w.calling()
			// Once more when a call has ended: what it did since the last look
			// may be seen only now.
			if (busy || is.busy) && !now.Before(is.next) {
				due = append(due, w)
				is.busy = busy
			}
		}
		x.mu.Unlock()
		for _, w := range due {
			took := w.look()
			x.mu.Lock()
			if is := x.workers[w]; is != nil {
				is.next = time.Now().Add(watchRest * took)
			}
			x.mu.Unlock()
		}
	}
}

// calling says whether the worker has a call in flight.
func (w *worker) calling() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.call != nil
}

// look kills a worker that has more than it may, and returns how long it took
// to find out.
func (w *worker) look() time.Duration {
	begun := time.Now()
	w.proc.mu.Lock()
	crowded := !w.proc.reaped && w.proc.count()
	w.proc.mu.Unlock()
	prog := &w.pool.prog
	if crowded {
		w.proc.breach(w.proc.crowd())
		return 0
	}
	if size := sizeOf(w.temp, prog.TempBytes); size > prog.TempBytes {
		w.proc.breach(tempWords(prog.TempBytes))
	}
	return time.Since(begun)
}

// limitTemp says how the directory for temporary files is bounded.
func limitTemp(prog *Program, private []string) Limit {
	l := Limit{Name: "temporary space", Wanted: strconv.FormatInt(prog.TempBytes, 10), InForce: true}
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
