package sqs

// DeleteQueue
//
// Parameters: QueueUrl. The queue and its messages, those in flight too, are
// gone when it returns; receives that wait end with QueueDoesNotExist.
//
// Differences: a queue that a spec file declares or a flow uses is refused, with
// AccessDenied. At Amazon it takes up to 60 s. A queue that does not exist is
// QueueDoesNotExist, as in the API reference.

// queueURLInput is the input of actions that need to know the queue only.
type queueURLInput struct{ QueueURL string }

func (in *queueURLInput) parameter(d *decoder, name []byte) bool {
	if string(name) != "QueueUrl" {
		return false
	}
	in.QueueURL = d.string()
	return true
}

func (c *call) deleteQueue(in *queueURLInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if err := c.door.guard(c.r.Context(), q.Name(), true); err != nil {
		return none{}, err
	}

	return none{}, c.door.queues.Delete(q.Name())
}
