package sqs

import (
	"strconv"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// FIFO queues: what their attributes and parameters are, beside those of
// standard queues.
//
// Differences: FifoThroughputLimit is kept and returned, and nothing is
// throttled. Sequence numbers have 20 digits and begin with 1. A
// ReceiveRequestAttemptId is forgotten when the server restarts.

// fifoAttributes are in queueAttributes; only FIFO queues have them.
var fifoAttributes = []queueAttribute{
	{
		name: "FifoQueue",
		set: func(s *queue.Settings, q site, value string) error {
			switch {
			case !q.name.FIFO():
				return unknownAttribute("FifoQueue") // no standard queue has it, not even false
			case value != "true":
				return wrongValue("FifoQueue", "Modifying queue type is not supported.")
			}
			return nil // newSettings knows by the name
		},
		get: func(v *view) string {
			if v.settings.FIFO == nil {
				return ""
			}
			return "true"
		},
	},
	fifoAttribute("ContentBasedDeduplication", "false", "true", func(f *queue.FIFO) *bool { return &f.ContentDedup }),
	fifoAttribute("DeduplicationScope", "queue", "messageGroup", func(f *queue.FIFO) *bool { return &f.DedupByGroup }),
	fifoAttribute("FifoThroughputLimit", "perQueue", "perMessageGroupId", func(f *queue.FIFO) *bool { return &f.LimitByGroup }),
}

// fifoAttribute is an attribute with one of two values.
func fifoAttribute(name, off, on string, field func(*queue.FIFO) *bool) queueAttribute {
	return queueAttribute{
		name: name,
		set: func(s *queue.Settings, _ site, value string) error {
			if s.FIFO == nil {
				if name == "ContentBasedDeduplication" {
					return unknownAttribute(name)
				}
				return invalidAttributeName.says("You can specify the %s only when FifoQueue is set to true.", name)
			}
			if value != off && value != on {
				return wrongValue(name, "Must be "+off+" or "+on+".")
			}
			f := *s.FIFO
			*field(&f) = value == on
			s.FIFO = &f
			return nil
		},
		get: func(v *view) string {
			switch {
			case v.settings.FIFO == nil:
				return ""
			case *field(v.settings.FIFO):
				return on
			}
			return off
		},
	}
}

// asksFor refuses the name of an attribute that this sort of queue has not.
func asksFor(name string, s *queue.Settings) error {
	_, err := attributeNamed(name)
	for i := range fifoAttributes {
		if fifoAttributes[i].name == name && s.FIFO == nil {
			return unknownAttribute(name)
		}
	}
	return err
}

// checkFIFO refuses combinations of attributes.
func checkFIFO(s *queue.Settings) error {
	if f := s.FIFO; f != nil && f.LimitByGroup && !f.DedupByGroup {
		return wrongValue("FifoThroughputLimit", "perMessageGroupId needs the DeduplicationScope messageGroup.")
	}
	return nil
}

// newSettings are the settings of a queue about which nothing was said but
// its name and, perhaps, that it is a FIFO queue.
func (q site) newSettings(given []pair) (queue.Settings, error) {
	s := queue.Defaults()
	asked := false
	for _, g := range given {
		asked = asked || g.name == "FifoQueue" && g.value == "true"
	}
	switch {
	case asked && !q.name.FIFO():
		return s, invalidParameterValue.says("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	case asked:
		s.FIFO = new(queue.FIFO)
	case q.name.FIFO():
		return s, invalidParameterValue.says(textQueueName)
	}
	return s, nil
}

const reasonID = " can only include alphanumeric and punctuation characters. 1 to 128 in length."

// checkFor refuses parameters that this sort of queue does not take.
func (m *message) checkFor(s *queue.Settings) error {
	id := m.MessageDeduplicationID
	if s.FIFO == nil {
		if id != nil {
			return invalid("MessageDeduplicationId", *id, reasonQueueType)
		}
		return nil
	}
	if err := m.checkOrder(s); err != nil {
		return err
	}
	switch {
	case id != nil && !isGroupID(*id):
		return invalid("MessageDeduplicationId", *id, "MessageDeduplicationId"+reasonID)
	case m.DelaySeconds.n > 0:
		return invalid("DelaySeconds", strconv.Itoa(m.DelaySeconds.n), reasonQueueType)
	}
	return nil
}

// checkOrder refuses a message that does not say to a FIFO queue which group it
// is of, or which message it is. In a batch one such entry fails the call.
func (m *message) checkOrder(s *queue.Settings) error {
	switch {
	case s.FIFO == nil:
	case m.MessageGroupID == nil:
		return missing("MessageGroupId")
	case m.MessageDeduplicationID == nil && !s.FIFO.ContentDedup:
		return invalidParameterValue.says("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

// send stores messages and fills in what is told of them: those that fail keep
// an empty MessageID.
func (c *call) send(q addressed, ms []runnel.Message, tell func(i int) *sent) error {
	if settings, _ := q.Settings(); settings.FIFO == nil {
		ids, err := q.Send(ms)
		for i := range ids {
			tell(i).MessageID = ids[i]
		}
		return err
	}
	all, err := q.SendOrdered(ms)
	for i := range all {
		if all[i].ID != "" {
			tell(i).MessageID = all[i].ID
			tell(i).SequenceNumber = queue.SequenceNumber(all[i].Position)
		}
	}
	return err
}

// checkAttempt refuses a ReceiveRequestAttemptId that is none, or on a standard
// queue.
func (in *receiveMessageInput) checkAttempt(s *queue.Settings) error {
	switch id := in.ReceiveRequestAttemptID; {
	case id == nil:
	case s.FIFO == nil:
		return invalid("ReceiveRequestAttemptId", *id, reasonQueueType)
	case !isGroupID(*id):
		return invalid("ReceiveRequestAttemptId", *id, "ReceiveRequestAttemptId"+reasonID)
	}
	return nil
}

// sequence returns the two attributes that only messages of FIFO queues have.
func (s systemAttributes) sequence(m *runnel.Delivery, add func(which systemAttributes, name, value string)) {
	if m.Lane == "" {
		return
	}
	add(sequenceNumber, "SequenceNumber", queue.SequenceNumber(m.Position))
	add(messageDeduplicationID, "MessageDeduplicationId", m.DedupID)
}
