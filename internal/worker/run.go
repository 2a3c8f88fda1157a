package worker

import (
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// run reads frames until the process ends, and then clears up. It owns the
// decoder, and the end of every call.
func (w *worker) run(pumps *sync.WaitGroup) {
	go func() {
		<-w.proc.exited
		// What it wrote is read at once; only a descendant that holds the pipe
		// keeps it open until then.
		_ = w.pipes.out.SetReadDeadline(time.Now().Add(lastWords))
	}()
	err := w.read()
	var rule *broken
	if errors.As(err, &rule) {
		w.proc.kill()
	} else if w.outlived() {
		err = breaks("it closed descriptor 4 and did not end")
	}
	<-w.proc.exited
	w.gone.Store(true)
	w.out.close()
	pumps.Wait()
	_ = w.pipes.in.Close()
	_ = w.pipes.out.Close()

	failure := w.failure(err)
	w.mu.Lock()
	w.over = true
	call, wanted, unused := w.call != nil, w.stopping, w.calls == 0
	w.mu.Unlock()
	select {
	case w.loaded <- failure:
	default: // it was ready once
	}
	w.pool.lost(w, failure, wanted || call, unused)
	if call {
		w.done <- outcome{err: failure, dead: true}
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

// read handles frames until there are no more.
func (w *worker) read() error {
	ready := false
	var h head
	for {
		if err := w.dec.next(&h); err != nil {
			return err
		}
		switch h.verb {
		case verbReady:
			if ready {
				return breaks("ready was said before")
			}
			ready = true
			w.out.end()
			w.loaded <- nil
		case verbFailed:
			text, err := w.dec.text(h.length, maxError)
			if err != nil {
				return err
			}
			failure, err := decodeError(text, h.length)
			if err != nil {
				return err
			}
			if ready {
				return breaks("failed after ready")
			}
			// The process exits by itself; how is of no interest.
			w.loaded <- failure
			ready = true
		case verbLog:
			id := string(h.id)
			text, err := w.dec.text(h.length, maxText)
			if err != nil {
				return err
			}
			if id == "-" {
				id = ""
			}
			w.out.logged(h.level, id, text)
		default:
			if err := w.answer(&h); err != nil {
				return err
			}
		}
	}
}

// answer reads the rest of a result or an error, and ends the call.
func (w *worker) answer(h *head) error {
	w.mu.Lock()
	call := w.call
	w.mu.Unlock()
	if call == nil || string(h.id) != call.ID {
		return breaks("an answer to %s, which is not the call in flight", excerpt(h.id))
	}
	var o outcome
	exhausted := false
	if h.verb == verbError {
		text, err := w.dec.text(h.length, maxError)
		if err != nil {
			return err
		}
		if o.err, err = decodeError(text, h.length); err != nil {
			return err
		}
		exhausted = isOutOfMemory(o.err)
	} else {
		if len(h.values) != len(call.Items) {
			return breaks("%d values for a call with %d items", len(h.values), len(call.Items))
		}
		var err error
		if o.answers, err = w.dec.answers(h); err != nil {
			return err
		}
		for i := range o.answers {
			exhausted = exhausted || o.answers[i].Err != nil && isOutOfMemory(o.answers[i].Err)
		}
	}
	w.out.end()
	w.mu.Lock()
	w.call = nil
	w.exhausted = w.exhausted || exhausted
	w.mu.Unlock()
	w.done <- o
	return nil
}

func isOutOfMemory(err error) bool {
	var e *runnel.FunctionError
	return errors.As(err, &e) && e.Kind == runnel.KindOutOfMemory
}

// failure is what the end of the process means for the call in flight, or for
// the start. It is called when the process has been reaped.
func (w *worker) failure(err error) error {
	w.mu.Lock()
	killed := w.killed
	w.mu.Unlock()
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
	words := []string{"fatal error: runtime: out of memory", "runtime: cannot allocate memory"}
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
