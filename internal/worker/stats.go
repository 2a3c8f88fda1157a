package worker

import (
	"errors"
	"slices"
	"time"

	"github.com/runnel-io/runnel"
)

// State is what a pool is doing, in one word.
type State string

// The states.
const (
	StateReady    State = "ready"    // a call gets a process, at once or after a start
	StateStarting State = "starting" // there is no process yet
	StateFailing  State = "failing"  // processes do not start: the next try waits
	StateDraining State = "draining" // no more calls
)

// Stats are figures of a pool. The counters only grow.
type Stats struct {
	State State
	// LastError is why the last process did not start; empty unless failing.
	LastError string
	// Min and Max bound the processes; Idle, Busy and Starting count them now,
	// Waiting the calls that wait for one.
	Min, Max                      int
	Idle, Busy, Starting, Waiting int
	// Starts counts processes started.
	Starts int64
	// Calls counts calls that ended; Errors those of them with any failure,
	// Timeouts, Crashes and OutOfMemory by what the failure was. Crashes also
	// counts idle processes that ended by themselves. Interrupted calls are
	// none of these.
	Calls, Errors, Timeouts, Crashes, OutOfMemory, Interrupted int64
	// Wait is how long calls waited for room on a process, Start how long
	// processes took to load their code, Run how long calls took.
	Wait, Start, Run runnel.Histogram
	// PeakMemory is the most that one process ever occupied, in bytes.
	PeakMemory int64
}

// Stats returns the figures of now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	s := Stats{
		State: StateReady, Min: p.min, Max: p.max,
		Starting: p.starting, Waiting: p.waiting.count,
		Starts: p.starts, PeakMemory: p.peak,
	}
	processes := make([]*process, 0, len(p.all))
	for w := range p.all {
		processes = append(processes, w.proc)
		switch {
		case !w.idle():
			s.Busy++
		case w.listed:
			s.Idle++
		}
	}
	switch {
	case p.draining:
		s.State = StateDraining
	case p.failing:
		s.State, s.LastError = StateFailing, p.failure.Error()
	case p.size == 0 && p.starting > 0:
		s.State = StateStarting
	}
	p.mu.Unlock()
	for _, proc := range processes {
		s.PeakMemory = max(s.PeakMemory, proc.high())
	}
	s.Calls, s.Errors, s.Timeouts = p.calls.Load(), p.errors.Load(), p.timeouts.Load()
	s.Crashes, s.OutOfMemory, s.Interrupted = p.crashes.Load(), p.outOfMemory.Load(), p.interrupts.Load()
	s.Wait, s.Start, s.Run = p.wait.Read(), p.start.Read(), p.run.Read()
	return s
}

// peaked notes how much memory a process that has ended occupied at most.
func (p *Pool) peaked(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peak = max(p.peak, bytes)
}

// Limits says which limits are in force for the process that was started last.
func (p *Pool) Limits() []Limit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.limits)
}

// count counts a call, and says whether it is one: not if it was interrupted.
func (p *Pool) count(answers []runnel.Answer, err error, took time.Duration) bool {
	if errors.Is(err, runnel.ErrInterrupted) {
		p.interrupts.Add(1)
		return false
	}
	p.calls.Add(1)
	p.run.Record(took)
	for i := range answers {
		if err == nil {
			err = answers[i].Err
		}
	}
	if err == nil {
		return true
	}
	p.errors.Add(1)
	var e *runnel.FunctionError
	if !errors.As(err, &e) {
		return true
	}
	switch e.Kind {
	case runnel.KindTimeout:
		p.timeouts.Add(1)
	case runnel.KindCrash:
		p.crashes.Add(1)
	case runnel.KindOutOfMemory:
		p.outOfMemory.Add(1)
	}
	return true
}
