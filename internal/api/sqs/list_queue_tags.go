package sqs

import (
	"cmp"
	"slices"
)

// ListQueueTags
//
// Parameters: QueueUrl. Without tags there is no Tags in the answer.
//
// Differences: none known.

type listQueueTagsOutput struct{ Tags []pair }

func (out listQueueTagsOutput) encode(e *encoder) { e.pairs("Tags", "Tag", "Key", out.Tags) }

func (c *call) listQueueTags(in *queueURLInput) (out listQueueTagsOutput, err error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return out, err
	}

	settings, _ := q.Settings()
	for key, value := range settings.Tags {
		out.Tags = append(out.Tags, pair{key, value})
	}
	slices.SortFunc(out.Tags, func(a, b pair) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}
