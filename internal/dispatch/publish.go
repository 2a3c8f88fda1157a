package dispatch

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/runnel-io/runnel"
)

// outgoing is what goes to one sink, and whose it is.
type outgoing struct {
	messages []runnel.Message
	owners   []int // by message: the index of its outcome
}

// outgoingTo collects what the outcomes have for a sink. Every message has the
// same deduplication id whenever it is sent again.
func (f *Flow) outgoingTo(sink int, outcomes []outcome) (o outgoing) {
	home := f.flow.To[sink] == f.flow.From
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.dropped || oc.dead != nil || oc.verdict != runnel.Ack || oc.sent != nil && oc.sent[sink] {
			continue
		}
		in := &oc.item.d.Message
		for n, m := range oc.out {
			m.ID = ""
			m.DedupID = string(in.ID) + "/" + strconv.Itoa(sink) + "/" + strconv.Itoa(n)
			if m.Trace == "" {
				m.Trace = oc.item.trace
			}
			m.Hops, m.Steps = in.Hops+1, 0
			if home {
				m.Hops, m.Steps = in.Hops, in.Steps+1
			}
			o.messages = append(o.messages, m)
			o.owners = append(o.owners, i)
		}
	}
	return o
}

// deadLetters collects the outcomes that are dead letters.
func (f *Flow) deadLetters(outcomes []outcome) (o outgoing) {
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.dropped || oc.dead == nil || oc.sent != nil {
			continue
		}
		m := oc.item.d.Message
		m.DeadLetter, m.Delay = oc.dead, -1
		o.messages = append(o.messages, m)
		o.owners = append(o.owners, i)
	}
	return o
}

// publish sends what goes to sinks that are not part of the one commit, and
// waits for the confirmations. What a sink does not take now is tried again:
// the result is kept, and no attempt is spent. It returns an error when the flow
// is stopped before all is confirmed.
func (f *Flow) publish(outcomes []outcome) error {
	for sink := range f.cfg.Sinks {
		if f.joined[sink] {
			continue
		}
		next := func() outgoing { return f.outgoingTo(sink, outcomes) }
		confirmed := func(oc *outcome) {
			if oc.sent == nil {
				oc.sent = make([]bool, len(f.cfg.Sinks))
			}
			oc.sent[sink] = true
		}
		if err := f.send(string(f.flow.To[sink]), f.cfg.Sinks[sink], outcomes, next, confirmed); err != nil {
			return err
		}
	}
	if f.cfg.DeadLetter == nil || f.deadJoined {
		return nil
	}
	next := func() outgoing { return f.deadLetters(outcomes) }
	return f.send(string(f.flow.DeadLetter), f.cfg.DeadLetter, outcomes, next, func(oc *outcome) { oc.sent = []bool{} })
}

// send sends what next collects until there is nothing left. confirmed marks
// an outcome all of whose messages are confirmed; a message that the sink never
// takes makes its outcome a dead letter.
func (f *Flow) send(to string, sink runnel.Sink, outcomes []outcome, next func() outgoing, confirmed func(*outcome)) error {
	for failed := 0; ; {
		f.dropLost(outcomes)
		o := next()
		if len(o.messages) == 0 {
			if failed > 0 {
				f.outOfTrouble("sink " + to)
			}
			return nil
		}
		open, err := f.sendChunks(sink, o, outcomes)
		for _, i := range o.owners {
			if !open[i] {
				confirmed(&outcomes[i])
			}
		}
		if err == nil {
			continue
		}
		failed++
		wait := backOff(200*time.Millisecond, 30*time.Second, failed)
		if f.inTrouble("sink "+to, err) {
			f.log.Warn("results cannot be sent, they are kept and sent again", "sink", to, "after", wait, "err", err)
		}
		if !pause(f.work, wait) {
			return ErrStopping
		}
	}
}

// sendChunks sends messages by the limits of the sink. It returns which
// outcomes are not confirmed, and why; those that the sink will never take are
// made dead letters, and are not confirmed either.
func (f *Flow) sendChunks(sink runnel.Sink, o outgoing, outcomes []outcome) (open map[int]bool, err error) {
	open = make(map[int]bool)
	var limits runnel.SendLimits
	if l, ok := sink.(runnel.Limiter); ok {
		limits = l.Limits()
	}
	for first := 0; first < len(o.messages); {
		last, bytes := first, 0
		for last < len(o.messages) && (limits.Messages == 0 || last-first < limits.Messages) {
			bytes += messageBytes(&o.messages[last])
			if limits.BatchBytes > 0 && bytes > limits.BatchBytes && last > first {
				break
			}
			last++
		}
		sent := sink.Send(f.work, o.messages[first:last])
		var partial *runnel.SendError
		switch {
		case sent == nil:
		case errors.As(sent, &partial):
			for n, failure := range partial.Failed {
				i := o.owners[first+n]
				open[i] = true
				if f.refused(&outcomes[i], failure) {
					continue
				}
				err = failure
			}
		default:
			err = sent
			for _, i := range o.owners[first:last] {
				open[i] = true
			}
		}
		first = last
	}
	return open, err
}

// refused makes an outcome a dead letter if a sink will never take its result,
// and says whether that is so. A dead letter itself stays one.
func (f *Flow) refused(oc *outcome, failure error) bool {
	switch runnel.CodeOf(failure) {
	case runnel.CodeInvalid, runnel.CodeTooLarge:
	default:
		return false
	}
	if oc.dead != nil {
		return false
	}
	dead := f.giveUp(oc.item, "", &runnel.FunctionError{Kind: runnel.KindOutput, Message: fmt.Sprintf("a sink does not take the result: %v", failure)})
	oc.dead, oc.out, oc.sent = dead.dead, nil, nil
	return true
}

func messageBytes(m *runnel.Message) int {
	n := len(m.Body)
	for i := range m.Attributes {
		n += len(m.Attributes[i].Name) + len(m.Attributes[i].Value)
	}
	return n
}
