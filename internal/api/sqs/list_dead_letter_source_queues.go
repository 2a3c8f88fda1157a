package sqs

// ListDeadLetterSourceQueues
//
// Parameters: QueueUrl, MaxResults (1 to 1000), NextToken. It lists the queues
// of the same account whose RedrivePolicy names this one, by name.
//
// Differences: as with ListQueues, a NextToken is returned without MaxResults
// too, if there are more than 1000.

type listDeadLetterSourceQueuesInput struct {
	QueueURL string
	paging
}

func (in *listDeadLetterSourceQueuesInput) parameter(d *decoder, name []byte) bool {
	if string(name) == "QueueUrl" {
		in.QueueURL = d.string()
		return true
	}
	return in.paging.parameter(d, name)
}

type listDeadLetterSourceQueuesOutput struct {
	QueueURLs []string
	NextToken string
}

// encode writes the list even if it is empty: clients count on it, as they do
// not with ListQueues.
func (out listDeadLetterSourceQueuesOutput) encode(e *encoder) {
	if len(out.QueueURLs) == 0 && !e.xml {
		e.member("queueUrls")
		e.b = append(e.b, "[]"...)
	}
	e.strings("queueUrls", "QueueUrl", out.QueueURLs)
	e.optional("NextToken", out.NextToken)
}

func (c *call) listDeadLetterSourceQueues(in *listDeadLetterSourceQueuesInput) (out listDeadLetterSourceQueuesOutput, err error) {
	target, err := c.queueAt(in.QueueURL)
	if err != nil {
		return out, err
	}
	most, after, err := in.page()
	if err != nil {
		return out, err
	}

	name := target.Name()
	for _, q := range c.door.queues.List(name.Account, "", after, 0) {
		settings, _ := q.Settings()
		if settings.DeadLetter == nil || settings.DeadLetter.Queue != name.Queue {
			continue
		}
		if len(out.QueueURLs) == most {
			out.NextToken = token(after)
			break
		}
		after = q.Name().Queue
		out.QueueURLs = append(out.QueueURLs, c.url(target.accountID, after))
	}
	return out, nil
}
