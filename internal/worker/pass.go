package worker

import (
	"slices"

	"github.com/runnel-io/runnel"
)

// Pass is what one process acts by: a key in its environment, which ends with
// it. The zero value is none.
type Pass struct {
	// Env are entries that go over those of the program, Mask values that are
	// masked besides the program's.
	Env, Mask []string
	// Act is told of the call that the process is in; nil: of none. It is called
	// with a lock held, for each call twice.
	//
	// Calls in flight together, all made for the same account, are told of as
	// the one of them that most calls are before. Of those for several, what is
	// told has no account, no id, and the depth of that one.
	Act func(in *runnel.Invocation)
	// End is called once, when the process has ended or did not start.
	End func()
}

func (p *Pass) end() {
	if p.End != nil {
		p.End()
	}
}

// usePass gives the process its pass.
func (w *worker) usePass() {
	if w.pool.opt.Pass != nil {
		w.pass = w.pool.opt.Pass()
	}
	w.mask = newMask(slices.Concat(w.pool.prog.Mask, w.pass.Mask))
}

// act says which calls the process is in. The caller holds w.mu.
func (w *worker) act() {
	if w.pass.Act == nil {
		return
	}
	var told *runnel.Invocation
	mixed, depth := false, 0
	for _, s := range w.slots {
		in := s.call
		if in == nil {
			continue
		}
		if told == nil || before(in) > before(told) {
			mixed = mixed || told != nil && !sameCaller(in, told)
			told = in
		} else {
			mixed = mixed || !sameCaller(in, told)
		}
		depth = max(depth, before(in))
	}
	if mixed {
		told = &runnel.Invocation{Caller: &runnel.Principal{Depth: depth}}
	}
	w.pass.Act(told)
}

// before is how many calls there are before in.
func before(in *runnel.Invocation) int {
	if in.Caller == nil {
		return 0
	}
	return in.Caller.Depth
}

// sameCaller says whether two calls give a process the same rights.
func sameCaller(a, b *runnel.Invocation) bool {
	if a.Caller == nil || b.Caller == nil {
		return a.Caller == b.Caller
	}
	return a.Caller == b.Caller ||
		a.Caller.Account == b.Caller.Account && a.Caller.Permissions.Equal(b.Caller.Permissions) &&
			slices.Equal(a.Caller.Organizations, b.Caller.Organizations)
}
