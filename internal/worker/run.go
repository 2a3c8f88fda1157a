package worker

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// run reads what the process says until it ends, and then clears up. It owns
// the end of every call that the process does not answer.
func (w *worker) run(pumps *sync.WaitGroup) {
	go func() {
		<-w.proc.exited
		w.wire.exited()
	}()
	err := w.wire.read()
	var rule *broken
	if errors.As(err, &rule) {
		w.proc.kill()
	} else if w.outlived() {
		err = breaks("it closed descriptor 4 and did not end")
	}
	<-w.proc.exited
	w.gone.Store(true)
	w.pass.end()
	w.out.close()
	pumps.Wait()
	w.wire.close()

	failure := w.mask.err(w.failure(err))
	w.mu.Lock()
	w.over = true
	wanted, unused := w.stopping, w.calls == 0
	var calls []*slot
	for _, s := range w.slots {
		if s.call != nil {
			calls = append(calls, s)
		}
	}
	if len(calls) > 1 && !w.killed {
		// Whose fault it was will be seen when each of them is alone.
		failure = interrupted(fmt.Errorf("the worker died with %d calls in flight: %w", len(calls), failure))
		for _, s := range calls {
			w.pool.suspects.add(s.call)
		}
	}
	w.mu.Unlock()
	select {
	case w.loaded <- failure:
	default: // it was ready once
	}
	w.pool.peaked(w.proc.peak())
	w.pool.lost(w, failure, wanted || len(calls) > 0, unused)
	for _, s := range calls {
		s.done <- outcome{err: failure, dead: true}
	}
	watching.remove(w.proc)
	removeAll(w.temp)
	close(w.ended)
	w.pool.cleared(w)
}

// outlived waits for a process that closed its pipe, and kills it if it does
// not end.
func (w *worker) outlived() bool {
	timer := time.NewTimer(exitWait)
	defer timer.Stop()
	select {
	case <-w.proc.exited:
		return false
	case <-timer.C:
		w.proc.kill()
		return true
	}
}

// failure is what the end of the process means for the call in flight, or for
// the start. It is called when the process has been reaped.
func (w *worker) failure(err error) error {
	w.mu.Lock()
	killed, dying := w.killed, w.dying
	w.mu.Unlock()
	if dying != nil {
		return interrupted(dying)
	}
	if killed {
		// Whoever killed it knows better, but for a drain.
		return interrupted(errors.New("the worker was killed"))
	}
	stderr, line := w.out.stderr()
	if words := w.proc.exceeded(); words != "" {
		return limitError(words, stderr)
	}
	var rule *broken
	if errors.As(err, &rule) {
		return &runnel.FunctionError{Kind: runnel.KindCrash, Message: "the worker broke the rules of its frames: " + rule.rule, Stack: stderr}
	}
	fate, sigkill := w.proc.fate()
	e := &runnel.FunctionError{Kind: runnel.KindCrash, Message: "the worker process ended: " + fate, Stack: stderr}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		e.Message += ", in the middle of a frame"
	}
	if sigkill {
		e.Message += "; it was not the server that killed it: it may have been the kernel, short of memory"
	}
	if words := memoryWords(stderr, w.proc.aborted()); words != "" {
		e.Kind, e.Message = runnel.KindOutOfMemory, "the worker process ended: "+fate+": "+words
		return e
	}
	if line != "" {
		e.Message += ": " + line
	}
	return e
}

// memoryWords finds the last words of a process that ran out of memory.
func memoryWords(stderr string, aborted bool) string {
	words := []string{"fatal error: runtime: out of memory", "runtime: cannot allocate memory", "fatal error: out of memory"}
	if aborted {
		words = []string{"heap out of memory", "process out of memory", "std::bad_alloc", "memory allocation of"}
	}
	for _, w := range words {
		if i := strings.Index(stderr, w); i >= 0 {
			line := stderr[strings.LastIndexByte(stderr[:i], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			return line
		}
	}
	if i := strings.LastIndexByte(stderr, '\n') + 1; strings.HasPrefix(stderr[i:], "MemoryError") {
		return stderr[i:]
	}
	return ""
}
