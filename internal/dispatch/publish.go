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
	dead     bool  // they are dead letters, not results
}

func (o *outgoing) add(m runnel.Message, owner int) {
	o.messages = append(o.messages, m)
	o.owners = append(o.owners, owner)
}

// keep keeps the messages that ok says and that are still to be sent, in their
// order.
func (o *outgoing) keep(outcomes []outcome, ok func(i int) bool) {
	n := 0
	for i := range o.messages {
		oc := &outcomes[o.owners[i]]
		if ok(i) && !oc.over() && oc.verdict == runnel.Ack && (oc.dead != nil) == o.dead {
			o.messages[n], o.owners[n] = o.messages[i], o.owners[i]
			n++
		}
	}
	o.messages, o.owners = o.messages[:n], o.owners[:n]
}

// results collects what the outcomes have for a sink. Every message has the
// same deduplication id whenever it is sent again: made of what the function
// saw, the sink, and the place among the results.
func (f *Flow) results(sink int, outcomes []outcome) (o outgoing) {
	n := 0
	for i := range outcomes {
		n += len(outcomes[i].out)
	}
	if n == 0 {
		return o
	}
	o.messages, o.owners = make([]runnel.Message, 0, n), make([]int, 0, n)
	home := f.flow.To[sink] == f.flow.From
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.over() || oc.dead != nil || oc.verdict != runnel.Ack {
			continue
		}
		in := &oc.item.d.Message
		for n := range oc.out {
			m := oc.out[n]
			// A handler may hand on what it got: that is another message now.
			m.ID, m.Sent, m.DeadLetter = "", time.Time{}, nil
			m.DedupID = string(in.ID) + "/" + strconv.Itoa(sink) + "/" + strconv.Itoa(n)
			if m.Trace == "" {
				m.Trace = oc.item.trace
			}
			m.Hops, m.Steps = in.Hops+1, 0
			if home {
				m.Hops, m.Steps = in.Hops, in.Steps+1
			}
			o.add(m, i)
		}
	}
	return o
}

// deadLetters collects the outcomes that are dead letters. They stay the same
// messages. Their deduplication id is of this death: one that was redriven and
// dies again is not the same.
func (f *Flow) deadLetters(outcomes []outcome) (o outgoing) {
	o.dead = true
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.over() || oc.dead == nil || oc.deadSent {
			continue
		}
		m := oc.item.d.Message
		m.DeadLetter, m.Delay = oc.dead, -1
		m.DedupID = string(m.ID) + "/dead/" + strconv.FormatInt(oc.dead.Last.UnixNano(), 36)
		o.add(m, i)
	}
	return o
}

// publish sends the results to the sinks that are not part of the one commit,
// and waits for the confirmations. What a sink does not take now is tried
// again: the result is kept, and no attempt is spent. It returns an error when
// the flow is stopped before all is confirmed.
func (f *Flow) publish(outcomes []outcome) error {
	for sink := range f.cfg.Sinks {
		if f.joined[sink] {
			continue
		}
		if err := f.send(string(f.flow.To[sink]), f.cfg.Sinks[sink], f.results(sink, outcomes), outcomes); err != nil {
			return err
		}
	}
	return nil
}

// publishDead does the same with the dead letters.
func (f *Flow) publishDead(outcomes []outcome) error {
	if f.cfg.DeadLetter == nil || f.deadJoined {
		return nil
	}
	o := f.deadLetters(outcomes)
	owners := append([]int(nil), o.owners...) // send keeps those that are open
	if err := f.send(string(f.flow.DeadLetter), f.cfg.DeadLetter, o, outcomes); err != nil {
		return err
	}
	for _, i := range owners {
		outcomes[i].deadSent = outcomes[i].dead != nil && !outcomes[i].over()
	}
	return nil
}

// send sends until nothing is open: each message is confirmed, or its outcome
// has become another one.
func (f *Flow) send(to string, sink runnel.Sink, o outgoing, outcomes []outcome) error {
	for failed := 0; ; {
		if len(o.messages) > 0 && failed > 0 {
			f.dropLost(outcomes)
			o.keep(outcomes, func(int) bool { return true })
		}
		if len(o.messages) == 0 {
			if failed > 0 {
				f.outOfTrouble("sink " + to)
			}
			return nil
		}
		err := f.sendOnce(sink, &o, outcomes)
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

// sendOnce sends messages by the limits of the sink, and keeps in o those that
// are open. It stops at the first failure that may pass: what follows must not
// overtake.
func (f *Flow) sendOnce(sink runnel.Sink, o *outgoing, outcomes []outcome) error {
	var limits runnel.SendLimits
	if l, ok := sink.(runnel.Limiter); ok {
		limits = l.Limits()
	}
	if limits.MessageBytes > 0 {
		f.refuseLarge(o, limits.MessageBytes, outcomes)
	}
	for len(o.messages) > 0 {
		n := limited(o.messages, limits)
		err := sink.Send(f.work, o.messages[:n])
		var partial *runnel.SendError
		if err == nil {
			o.messages, o.owners = o.messages[n:], o.owners[n:]
			continue
		}
		if !errors.As(err, &partial) {
			return err
		}
		var open error
		for i, failure := range partial.Failed {
			if !f.refused(o, i, failure, outcomes) {
				open = failure
			}
		}
		o.keep(outcomes, func(i int) bool { return i >= n || partial.Failed[i] != nil })
		if open != nil {
			return open
		}
	}
	return nil
}

// limited is how many of the messages one Send may have; at least one.
func limited(ms []runnel.Message, limits runnel.SendLimits) int {
	most := len(ms)
	if limits.Messages > 0 {
		most = min(most, limits.Messages)
	}
	if limits.BatchBytes == 0 {
		return most
	}
	bytes := messageBytes(&ms[0])
	for n := 1; n < most; n++ {
		if bytes += messageBytes(&ms[n]); bytes > limits.BatchBytes {
			return n
		}
	}
	return most
}

// refuseLarge refuses what is larger than the sink takes, before it is asked.
func (f *Flow) refuseLarge(o *outgoing, most int, outcomes []outcome) {
	large := false
	for i := range o.messages {
		if n := messageBytes(&o.messages[i]); n > most {
			large = true
			f.refused(o, i, runnel.Errorf(runnel.CodeTooLarge, "it has %d bytes, the sink takes %d", n, most), outcomes)
		}
	}
	if large {
		o.keep(outcomes, func(int) bool { return true })
	}
}

// unsendable is when a message comes again that nobody takes as a dead letter.
const unsendable = 5 * time.Minute

// refused changes the outcome of a message that a sink will never take, and
// says whether that is so. A result makes its message a dead letter. A dead
// letter is tried once more with less of its reason; one that is refused even so
// is given back to the source, to be lost by nobody.
func (f *Flow) refused(o *outgoing, i int, failure error, outcomes []outcome) bool {
	switch runnel.CodeOf(failure) {
	case runnel.CodeInvalid, runnel.CodeTooLarge:
	default:
		return false
	}
	oc := &outcomes[o.owners[i]]
	switch {
	case !o.dead && oc.dead != nil: // another of its results was refused
	case !o.dead:
		dead := f.giveUp(oc.item, &runnel.FunctionError{Kind: runnel.KindOutput, Message: fmt.Sprintf("a sink does not take the result: %v", failure)})
		oc.dead, oc.out = dead.dead, nil
	case !oc.trimmed:
		oc.trimmed = true
		less := *oc.dead
		less.Message, less.Stack = clip(less.Message, 1<<10), ""
		oc.dead, o.messages[i].DeadLetter = &less, &less
	default:
		f.log.Error("no dead-letter place takes the message, it is given back to the source", "message", oc.item.d.ID, "after", unsendable, "err", failure)
		oc.dead, oc.verdict, oc.after = nil, runnel.Release, unsendable
		f.mu.Lock()
		f.goesBack(outcomes[o.owners[i]:o.owners[i]+1], time.Now())
		f.mu.Unlock()
	}
	return true
}

// messageBytes is what the limits of sinks count: the body and the attributes.
func messageBytes(m *runnel.Message) int {
	n := len(m.Body)
	for i := range m.Attributes {
		n += len(m.Attributes[i].Name) + len(m.Attributes[i].Type) + len(m.Attributes[i].Value)
	}
	return n
}
