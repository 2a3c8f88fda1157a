package sqs

import (
	"time"

	"github.com/runnel-io/runnel/internal/queue"
)

// ChangeMessageVisibilityBatch
//
// Parameters: QueueUrl, Entries, 1 to 10 of them: Id, ReceiptHandle,
// VisibilityTimeout. A bad entry fails alone; the good ones are changed by one
// commit. For the rules see ChangeMessageVisibility.

type changeMessageVisibilityBatchInput struct {
	QueueURL string
	entryIDs
	handles  []string
	timeouts []number
}

func (in *changeMessageVisibilityBatchInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Entries":
		in.handles, in.timeouts = nil, nil
		in.entryIDs = d.entries(func() (id string) {
			var e changeMessageVisibilityInput
			d.object(func(name []byte) {
				switch {
				case string(name) == "Id":
					id = d.string()
				case !e.parameter(d, name):
					d.skip()
				}
			})
			in.handles, in.timeouts = append(in.handles, e.ReceiptHandle), append(in.timeouts, e.VisibilityTimeout)
			return id
		})
	default:
		return false
	}
	return true
}

func (c *call) changeMessageVisibilityBatch(in *changeMessageVisibilityBatchInput) (*batchOutput, error) {
	q, err := c.queueAt(in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := in.check("ChangeMessageVisibilityBatchRequestEntry"); err != nil {
		return nil, err
	}

	return settleEntries("ChangeMessageVisibilityBatchResultEntry", in.ids, in.handles,
		func(i int) error {
			if !in.timeouts[i].given {
				return missing("VisibilityTimeout")
			}
			return checkVisibilityTimeout(in.timeouts[i])
		},
		func(entries []int, receipts []queue.Receipt) []error {
			vs := make([]queue.Visibility, len(entries))
			for n, i := range entries {
				vs[n] = queue.Visibility{Receipt: receipts[n], Timeout: time.Duration(in.timeouts[i].n) * time.Second}
			}
			errs := q.ChangeVisibility(vs)
			for n, i := range entries {
				errs[n] = receiptError(errs[n], in.handles[i], in.timeouts[i].n)
			}
			return errs
		})
}
