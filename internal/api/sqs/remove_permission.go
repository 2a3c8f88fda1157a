package sqs

import (
	"slices"

	"github.com/runnel-io/runnel/internal/queue"
)

// RemovePermission
//
// Parameters: QueueUrl, Label. It removes the statement of this Sid from the
// Policy of the queue, whoever wrote it; with the last one goes the Policy.
//
// Differences: none known.

type removePermissionInput struct {
	QueueURL string
	Label    string
}

func (in *removePermissionInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Label":
		in.Label = d.string()
	default:
		return false
	}
	return true
}

func (c *call) removePermission(in *removePermissionInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if err := checkLabel(in.Label); err != nil {
		return none{}, err
	}

	return none{}, q.Configure(func(s *queue.Settings) error {
		p, err := policyOf(s)
		if err != nil {
			return err
		}
		i := p.find(in.Label)
		if i < 0 {
			return invalid("Label", in.Label, "can't find label.")
		}
		p.statements = slices.Delete(p.statements, i, i+1)
		return p.keep(s, site{c.door, q.Name(), q.accountID}.arn())
	})
}
