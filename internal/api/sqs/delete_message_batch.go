package sqs

import "github.com/runnel-io/runnel/internal/queue"

// DeleteMessageBatch
//
// Parameters: QueueUrl, Entries, 1 to 10 of them: Id, ReceiptHandle. A bad
// entry fails alone; the messages of the good ones are gone when the call
// returns, by one commit. For handles see DeleteMessage.
//
// Differences: none known.

type deleteMessageBatchInput struct {
	QueueURL string
	entryIDs
	handles []string
}

func (in *deleteMessageBatchInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Entries":
		in.handles = make([]string, 0, maxEntries)
		in.entryIDs = d.entries(func() (id string) {
			handle := ""
			d.object(func(name []byte) {
				switch string(name) {
				case "Id":
					id = d.string()
				case "ReceiptHandle":
					handle = d.string()
				default:
					d.skip()
				}
			})
			in.handles = append(in.handles, handle)
			return id
		})
	default:
		return false
	}
	return true
}

func (c *call) deleteMessageBatch(in *deleteMessageBatchInput) (*batchOutput, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := in.check("DeleteMessageBatchRequestEntry"); err != nil {
		return nil, err
	}

	return settleEntries("DeleteMessageBatchResultEntry", in.ids, in.handles,
		func(int) error { return nil },
		func(entries []int, receipts []queue.Receipt) []error {
			errs := q.Delete(receipts)
			for n, i := range entries {
				errs[n] = receiptError(errs[n], in.handles[i], 0)
			}
			return errs
		})
}
