package sqs

import (
	"errors"

	"github.com/runnel-io/runnel/internal/queue"
)

// PurgeQueue
//
// Parameters: QueueUrl. All messages, those in flight too, are gone when it
// returns. Again within 60 s it is PurgeQueueInProgress.
//
// Differences: at Amazon it takes up to 60 s. The 60 s are forgotten when the
// server restarts.

func (c *call) purgeQueue(in *queueURLInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}

	err = q.Purge()
	if errors.Is(err, queue.ErrPurgeInProgress) {
		err = purgeQueueInProgress.says("Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.Name().Queue)
	}
	return none{}, err
}
