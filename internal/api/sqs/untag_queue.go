package sqs

import (
	"maps"

	"github.com/runnel-io/runnel/internal/queue"
)

// UntagQueue
//
// Parameters: QueueUrl, TagKeys. Keys that the queue does not have do nothing.
//
// Differences: none known.

type untagQueueInput struct {
	QueueURL string
	TagKeys  []string
}

func (in *untagQueueInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "TagKeys":
		in.TagKeys = d.strings()
	default:
		return false
	}
	return true
}

func (c *call) untagQueue(in *untagQueueInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if len(in.TagKeys) == 0 {
		return none{}, missing("TagKeys")
	}

	return none{}, q.Configure(func(s *queue.Settings) error {
		s.Tags = maps.Clone(s.Tags)
		for _, key := range in.TagKeys {
			delete(s.Tags, key)
		}
		return nil
	})
}
