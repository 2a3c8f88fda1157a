package worker

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxLineText is where a printed line is cut into two.
	maxLineText = 64 << 10
	// tailBytes of standard error are kept for the message of a crash.
	tailBytes = 8 << 10
	// excerptBytes of a line of it go into the message itself.
	excerptBytes = 500
	// A process may log linesPerSecond, and lineBurst at once; what is more is
	// dropped and counted.
	linesPerSecond = 1000
	lineBurst      = 2000
	// dryMost ends a read of a pipe that somebody fills without pause: no pipe
	// holds more at one time.
	dryMost = 1 << 20
)

// output reads what one process prints, and makes lines of it. Each of the two
// streams keeps its order; which of them came first is not known.
type output struct {
	log   func(Line)
	stamp Line // function, version and worker of every line
	mask  *mask

	streams [2]stream // standard output and standard error

	mu               sync.Mutex
	invocation, flow string // the call in flight
	tail             []byte // the last bytes of standard error in this call
	buf              []byte // for one read
	tokens           float64
	refilled         time.Time
	dropped          int       // lines since the last notice
	noticed          time.Time // of the last notice
}

// stream is one pipe that a process prints into.
type stream struct {
	out     *output
	level   string
	file    *os.File
	conn    syscall.RawConn
	partial []byte // the line that has no end yet; guarded by output.mu
	read    func(fd uintptr)
	ended   bool // nothing more will come; guarded by output.mu
}

func newOutput(log func(Line), stamp Line, mask *mask, stdout, stderr *os.File) (*output, error) {
	o := &output{log: log, stamp: stamp, mask: mask, buf: make([]byte, 32<<10), tokens: lineBurst, refilled: time.Now()}
	for i, file := range []*os.File{stdout, stderr} {
		s := &o.streams[i]
		s.out, s.file, s.level = o, file, "info"
		if i == 1 {
			s.level = "warn"
		}
		var err error
		if s.conn, err = file.SyscallConn(); err != nil {
			return nil, err
		}
		s.read = s.readDry
	}
	return o, nil
}

// pump reads a stream until it ends or is closed. Whoever started it waits.
func (s *stream) pump() {
	// The error is that of a closed file, after which nothing is to be read.
	_ = s.conn.Read(func(fd uintptr) bool {
		for {
			s.out.mu.Lock()
			more, ended := s.readSome(fd), s.ended
			s.out.mu.Unlock()
			// Poll tells of changes only: it must see the pipe empty to wait.
			if !more {
				return ended
			}
		}
	})
}

// begin stamps the lines that follow with a call.
func (o *output) begin(invocation, flow string) {
	o.mu.Lock()
	o.invocation, o.flow = invocation, flow
	o.tail = o.tail[:0]
	o.mu.Unlock()
}

// end reads both pipes dry and ends the call's stamp. What the process printed
// before it answered is in the pipes by now, if it flushed it.
func (o *output) end() {
	for i := range o.streams {
		// A closed file has nothing left.
		_ = o.streams[i].conn.Control(o.streams[i].read)
	}
	o.mu.Lock()
	for i := range o.streams {
		o.streams[i].cutLine()
	}
	o.notice(false)
	o.invocation, o.flow = "", ""
	o.mu.Unlock()
}

// close ends the lines of a process that has ended. The pumps return.
func (o *output) close() {
	o.end()
	o.mu.Lock()
	o.notice(true)
	o.mu.Unlock()
	for i := range o.streams {
		_ = o.streams[i].file.Close()
	}
}

// stderr returns the last bytes of standard error, from the beginning of a
// line, and the one line of them that says most: where a Go program panics, or
// the last.
func (o *output) stderr() (tail, line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.tail
	if o.mask != nil { // before anything is cut, so that no half of a value stays
		all = []byte(o.mask.text(string(all)))
	}
	for _, word := range []string{"panic: ", "fatal error: "} {
		if i := bytes.Index(all, []byte(word)); i == 0 || i > 0 && all[i-1] == '\n' {
			first, _, _ := bytes.Cut(all[i:], []byte{'\n'})
			line = clean(first[:min(len(first), excerptBytes)])
			break
		}
	}
	if len(all) > tailBytes {
		all = all[len(all)-tailBytes:]
		if i := bytes.IndexByte(all, '\n'); i >= 0 {
			all = all[i+1:]
		}
	}
	tail = clean(all)
	if line == "" {
		line = tail[strings.LastIndexByte(tail, '\n')+1:]
		line = clean([]byte(line[:min(len(line), excerptBytes)]))
	}
	return tail, line
}

func clean(text []byte) string {
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "\uFFFD"))
}

// logged passes on a line that came by a frame. id and flow are empty or the
// call's.
func (o *output) logged(level, id, flow string, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emit(level, id, flow, text)
}

func (s *stream) readDry(fd uintptr) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	for n := 0; n < dryMost && s.readSome(fd); n += len(s.out.buf) {
	}
}

// readSome reads once, with output.mu held, and says whether there was
// anything.
func (s *stream) readSome(fd uintptr) bool {
	if s.ended {
		return false
	}
	for {
		n, err := syscall.Read(int(fd), s.out.buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil || n <= 0:
			s.ended = true
			return false
		}
		s.split(s.out.buf[:n])
		return true
	}
}

// split makes lines of what was read.
func (s *stream) split(data []byte) {
	if s.level == "warn" {
		o := s.out
		if len(o.tail) > 4*tailBytes {
			o.tail = append(o.tail[:0], o.tail[len(o.tail)-tailBytes:]...)
		}
		o.tail = append(o.tail, data...)
	}
	for len(data) > 0 {
		line, rest, ended := bytes.Cut(data, []byte{'\n'})
		if room := maxLineText - len(s.partial); len(line) > room {
			line, rest, ended = data[:room], data[room:], true
		}
		data = rest
		if !ended {
			s.partial = append(s.partial, line...)
			return
		}
		if len(s.partial) > 0 {
			s.partial = append(s.partial, line...)
			s.cutLine()
			continue
		}
		s.out.print(s.level, line)
	}
}

// cutLine makes a line of what has no end.
func (s *stream) cutLine() {
	if len(s.partial) > 0 {
		s.out.print(s.level, s.partial)
		s.partial = s.partial[:0]
	}
}

func (o *output) print(level string, text []byte) { o.emit(level, o.invocation, o.flow, text) }

// emit passes a line on, if the process did not log too many.
func (o *output) emit(level, invocation, flow string, text []byte) {
	if o.log == nil {
		return
	}
	now := time.Now()
	o.tokens = min(lineBurst, o.tokens+now.Sub(o.refilled).Seconds()*linesPerSecond)
	o.refilled = now
	if o.tokens < 1 {
		o.dropped++
		return
	}
	o.tokens--
	o.notice(false)
	line := o.stamp
	line.Time, line.Level, line.Invocation, line.Flow = now, level, invocation, flow
	line.Text = strings.ToValidUTF8(o.mask.text(string(bytes.TrimSuffix(text, []byte{'\r'}))), "\uFFFD")
	o.log(line)
}

// notice says how many lines were dropped, once a second at most unless it is
// the last chance.
func (o *output) notice(last bool) {
	if o.dropped == 0 || o.log == nil {
		return
	}
	now := time.Now()
	if !last && now.Sub(o.noticed) < time.Second {
		return
	}
	line := o.stamp
	line.Time, line.Level, line.Invocation, line.Flow = now, "warn", o.invocation, o.flow
	line.Text = fmt.Sprintf("%d lines were dropped: a worker may log %d per second", o.dropped, linesPerSecond)
	o.dropped, o.noticed = 0, now
	o.log(line)
}
