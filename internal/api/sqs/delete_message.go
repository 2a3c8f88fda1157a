package sqs

import "github.com/runnel-io/runnel/internal/queue"

// DeleteMessage
//
// Parameters: QueueUrl, ReceiptHandle. The message is gone from the disk when
// the call returns.
//
// A handle whose message is gone, or was received again since, does nothing
// and is no error, as at Amazon. One that was never given, or by another queue,
// is ReceiptHandleIsInvalid.
//
// Differences: none known.

type deleteMessageInput struct {
	QueueURL      string
	ReceiptHandle string
}

func (in *deleteMessageInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "ReceiptHandle":
		in.ReceiptHandle = d.string()
	default:
		return false
	}
	return true
}

func (c *call) deleteMessage(in *deleteMessageInput) (none, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return none{}, err
	}

	receipt, err := parseReceipt(in.ReceiptHandle)
	if err != nil {
		return none{}, err
	}

	errs := q.Delete([]queue.Receipt{receipt})
	return none{}, receiptError(errs[0], in.ReceiptHandle, 0)
}
