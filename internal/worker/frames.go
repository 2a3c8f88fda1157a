package worker

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

var _ wire = (*frames)(nil)

// frames is the wire of ADR 8: lines and bytes on two pipes.
type frames struct {
	w       *worker
	in, out *os.File // the host writes in, and reads out
	conn    syscall.RawConn
	dec     *decoder

	// writing is held while a frame is being written; by a goroutine of its own
	// if the process takes its time.
	writing  sync.Mutex
	write    func(fd uintptr) bool
	toWrite  []byte
	writeErr error
}

func newFrames(w *worker, p *pipes) (*frames, error) {
	f := &frames{w: w, in: p.in, out: p.out, dec: newDecoder(p.out, &w.pool.prog)}
	var err error
	f.conn, err = p.in.SyscallConn()
	growPipe(p.in)
	growPipe(p.out)
	f.write = f.writeOnce
	return f, err
}

// start says how many calls may be in flight, where it is more than one.
func (f *frames) start() {
	line := "start\n"
	if n := len(f.w.slots); n > 1 {
		line = "start " + strconv.Itoa(n) + "\n"
	}
	f.say(line)
}

func (f *frames) prepare(s *slot, in *runnel.Invocation, until int64) (err error) {
	s.frame, s.meta, err = appendInvoke(s.frame[:0], s.meta, until, in)
	return err
}

// send writes what the pipe takes at once, and lets a goroutine write the rest:
// the process reads it while the caller waits for its answer. Until then the
// frame is the writer's.
func (f *frames) send(s *slot) (written chan struct{}) {
	frame := s.frame
	s.writeErr = nil
	if !f.writing.TryLock() {
		// Another call's frame is on its way.
		written = make(chan struct{})
		go func() {
			defer close(written)
			f.writing.Lock()
			defer f.writing.Unlock()
			// An error is that of a closed pipe, when the process has ended.
			_, _ = f.in.Write(frame)
		}()
		return written
	}
	if s.writeErr = f.try(frame); !errors.Is(s.writeErr, syscall.EAGAIN) {
		f.writing.Unlock()
		return nil
	}
	written = make(chan struct{})
	rest := f.toWrite
	s.writeErr = nil
	go func() {
		defer close(written)
		defer f.writing.Unlock()
		_, _ = f.in.Write(rest)
	}()
	return written
}

// reached is false where the pipe was closed already.
func (f *frames) reached(s *slot) bool { return s.writeErr == nil }

// try writes without waiting. EAGAIN says that the pipe is full, and f.toWrite
// is what did not fit.
func (f *frames) try(frame []byte) error {
	f.toWrite, f.writeErr = frame, nil
	if err := f.conn.Write(f.write); err != nil {
		f.writeErr = err
	}
	return f.writeErr
}

func (f *frames) writeOnce(fd uintptr) bool {
	for len(f.toWrite) > 0 {
		n, err := syscall.Write(int(fd), f.toWrite)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			f.writeErr = err
			return true
		default:
			f.toWrite = f.toWrite[n:]
		}
	}
	return true
}

// say writes a short line, if the pipe takes it. A process that reads so little
// that it does not will be killed, whatever it is told.
func (f *frames) say(line string) {
	if !f.writing.TryLock() {
		return
	}
	defer f.writing.Unlock()
	_ = f.try([]byte(line))
}

func (f *frames) cancel(id string) { f.say("cancel " + id + "\n") }

func (f *frames) drain() {
	f.say("drain\n")
	_ = f.in.Close()
}

// exited bounds the reading: what the process wrote is read at once, and only
// a descendant that holds the pipe keeps it open.
func (f *frames) exited() { _ = f.out.SetReadDeadline(time.Now().Add(lastWords)) }

func (f *frames) close() {
	_ = f.in.Close()
	_ = f.out.Close()
}

// read handles frames until there are no more.
func (f *frames) read() error {
	ready := false
	var h head
	for {
		if err := f.dec.next(&h); err != nil {
			return err
		}
		switch h.verb {
		case verbReady:
			if ready {
				return breaks("ready was said before")
			}
			ready = true
			f.w.ready()
		case verbFailed:
			text, err := f.dec.text(h.length, maxError)
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
			f.w.loaded <- f.w.mask.err(failure)
			ready = true
		case verbLog:
			id := string(h.id)
			text, err := f.dec.text(h.length, maxText)
			if err != nil {
				return err
			}
			flow := ""
			if id == "-" {
				id = ""
			} else if s := f.w.slotOf([]byte(id)); s != nil {
				flow = f.w.flowOf(s)
			}
			f.w.out.logged(h.level, id, flow, text)
		default:
			if err := f.answer(&h); err != nil {
				return err
			}
		}
	}
}

// flowOf returns the flow of the call in flight.
func (w *worker) flowOf(s *slot) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.call == nil {
		return ""
	}
	return s.call.Flow
}

// answer reads the rest of a result or an error, and ends the call.
func (f *frames) answer(h *head) error {
	s := f.w.slotOf(h.id)
	if s == nil {
		return breaks("an answer to %s, which is not a call in flight", excerpt(h.id))
	}
	var o outcome
	if h.verb == verbError {
		text, err := f.dec.text(h.length, maxError)
		if err != nil {
			return err
		}
		if o.err, err = decodeError(text, h.length); err != nil {
			return err
		}
	} else {
		f.w.mu.Lock()
		items := len(s.call.Items)
		f.w.mu.Unlock()
		if len(h.values) != items {
			return breaks("%d values for a call with %d items", len(h.values), items)
		}
		var err error
		if o.answers, err = f.dec.answers(h); err != nil {
			return err
		}
	}
	f.w.finish(s, o)
	return nil
}
