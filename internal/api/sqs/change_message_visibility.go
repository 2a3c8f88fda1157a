package sqs

import (
	"time"

	"github.com/runnel-io/runnel/internal/queue"
)

// ChangeMessageVisibility
//
// Parameters: QueueUrl, ReceiptHandle, VisibilityTimeout: 0 to 43200 s, counted
// from now; 0 makes the message visible at once. In total a message is
// invisible for at most 12 h from its receive.
//
// For handles see DeleteMessage; but one whose message is gone, or was received
// again since, is InvalidParameterValue here.
//
// Differences: a message that is visible again is MessageNotInflight, as in the
// API reference; Amazon in fact makes it invisible for the new timeout.

type changeMessageVisibilityInput struct {
	QueueURL          string
	ReceiptHandle     string
	VisibilityTimeout number
}

func (in *changeMessageVisibilityInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "ReceiptHandle":
		in.ReceiptHandle = d.string()
	case "VisibilityTimeout":
		in.VisibilityTimeout = d.number()
	default:
		return false
	}
	return true
}

// checkVisibilityTimeout refuses what is no visibility timeout.
func checkVisibilityTimeout(n number) error {
	if n.n < 0 || n.n > int(queue.MaxVisibilityTimeout/time.Second) {
		return invalid("VisibilityTimeout", n.n, "Must be >= 0 and <= 43200, if provided.")
	}
	return nil
}

func (c *call) changeMessageVisibility(in *changeMessageVisibilityInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}
	if !in.VisibilityTimeout.given {
		return none{}, missing("VisibilityTimeout")
	}
	if err := checkVisibilityTimeout(in.VisibilityTimeout); err != nil {
		return none{}, err
	}

	receipt, err := parseReceipt(in.ReceiptHandle)
	if err != nil {
		return none{}, err
	}

	timeout := time.Duration(in.VisibilityTimeout.n) * time.Second
	errs := q.ChangeVisibility([]queue.Visibility{{Receipt: receipt, Timeout: timeout}})
	return none{}, receiptError(errs[0], in.ReceiptHandle, in.VisibilityTimeout.n)
}
