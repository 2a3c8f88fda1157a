package sqs

import (
	"errors"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// SendMessageBatch
//
// Parameters: QueueUrl, Entries, 1 to 10 of them: Id, and the parameters of
// SendMessage. All bodies and attributes together have at most 1 MiB.
//
// A bad entry fails alone; the good ones are on disk when the call returns, by
// one commit. Where a bad entry cannot be told from a bad call, as with ids,
// the call fails, and also, as at Amazon, if an entry for a FIFO queue lacks its
// MessageGroupId or the MessageDeduplicationId that it needs.
//
// Differences: none known.

type sendMessageBatchInput struct {
	QueueURL string
	entryIDs
	Entries []message
}

func (in *sendMessageBatchInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "Entries":
		in.Entries = make([]message, 0, maxEntries)
		in.entryIDs = d.entries(func() (id string) {
			in.Entries = append(in.Entries, message{})
			m := &in.Entries[len(in.Entries)-1]
			d.object(func(name []byte) {
				switch {
				case string(name) == "Id":
					id = d.string()
				case !m.parameter(d, name):
					d.skip()
				}
			})
			return id
		})
	default:
		return false
	}
	return true
}

type sendMessageBatchOutput struct {
	Successful []sentEntry
	Failed     []failedEntry
}

type sentEntry struct {
	ID string
	sent
}

func (out *sendMessageBatchOutput) encode(e *encoder) {
	e.list("Successful", "SendMessageBatchResultEntry", len(out.Successful), func(i int) {
		s := &out.Successful[i]
		e.field("Id", s.ID)
		s.encode(e)
	})
	e.failed(out.Failed)
}

func (c *call) sendMessageBatch(in *sendMessageBatchInput) (*sendMessageBatchOutput, error) {
	q, err := c.useAt(in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := in.check("SendMessageBatchRequestEntry"); err != nil {
		return nil, err
	}
	sum := 0
	for i := range in.Entries {
		sum += in.Entries[i].size()
	}
	if sum > queue.MaxMessageBytes {
		return nil, batchRequestTooLong.says("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", queue.MaxMessageBytes, sum)
	}

	settings, _ := q.Settings()
	for i := range in.Entries {
		if err := in.Entries[i].checkOrder(&settings); err != nil {
			// Of a batch Amazon gives another code than of a single message.
			return nil, invalidParameterValue.says("%s", textOf(err))
		}
	}

	errs := make([]error, len(in.Entries))
	told := make([]sentEntry, 0, len(in.Entries))
	stored := make([]runnel.Message, 0, len(in.Entries))
	entries := make([]int, 0, len(in.Entries)) // of stored
	for i := range in.Entries {
		m, s, err := c.parseEntry(&in.Entries[i], &settings)
		if err != nil {
			errs[i] = err
			continue
		}
		told = append(told, sentEntry{in.ids[i], s})
		stored = append(stored, m)
		entries = append(entries, i)
	}

	out := new(sendMessageBatchOutput)
	if len(stored) > 0 {
		err := c.send(q, stored, func(n int) *sent { return &told[n].sent })
		var partial *runnel.SendError
		if err != nil && !errors.As(err, &partial) {
			return nil, err
		}
		out.Successful = told[:0] // in place, since what is kept only moves to the front
		for n, i := range entries {
			if told[n].MessageID == "" {
				errs[i] = sendError(err, n)
				continue
			}
			out.Successful = append(out.Successful, told[n])
		}
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		f, err := fail(in.ids[i], err)
		if err != nil {
			return nil, err
		}
		out.Failed = append(out.Failed, f)
	}
	return out, nil
}

// parseEntry is check and parse of one entry.
func (c *call) parseEntry(m *message, s *queue.Settings) (runnel.Message, sent, error) {
	if err := m.check(); err != nil {
		return runnel.Message{}, sent{}, err
	}
	if err := m.checkFor(s); err != nil {
		return runnel.Message{}, sent{}, err
	}
	if m.size() > s.MaxMessageBytes {
		return runnel.Message{}, sent{}, invalidParameterValue.says("One or more parameters cannot be validated. Reason: Message must be shorter than %d bytes.", s.MaxMessageBytes)
	}
	return m.parse(c.caller.AccountID)
}
