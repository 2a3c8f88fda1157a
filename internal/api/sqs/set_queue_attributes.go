package sqs

import "github.com/runnel-io/runnel/internal/queue"

// SetQueueAttributes
//
// Parameters: QueueUrl, Attributes. Attributes of standard queues: see
// queue_attribute.go. All of them are changed or, if one is refused, none. An
// empty RedrivePolicy, Policy or other kept attribute takes it away.
//
// Differences: a queue that a spec file declares is refused, with AccessDenied. It
// holds when it returns, at Amazon after up to 60 s. A longer
// or shorter MessageRetentionPeriod holds for messages that are there, too.

type setQueueAttributesInput struct {
	QueueURL   string
	Attributes []pair
	given      bool
}

func (in *setQueueAttributesInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Attributes":
		in.Attributes, in.given = d.pairs()
	default:
		return false
	}
	return true
}

func (c *call) setQueueAttributes(in *setQueueAttributesInput) (none, error) {
	if !in.given {
		return none{}, missing("Attributes")
	}

	q, err := c.queueAt(in.QueueURL)
	if err != nil || len(in.Attributes) == 0 {
		return none{}, err
	}

	if err := c.door.guard(c.r.Context(), q.Name(), false); err != nil {
		return none{}, err
	}
	at := site{c.door, q.Name(), q.accountID}
	return none{}, q.Configure(func(s *queue.Settings) error { return at.apply(s, in.Attributes) })
}
