package sqs

// GetQueueAttributes
//
// Parameters: QueueUrl, AttributeNames (names, or All). Attributes: see
// queue_attribute.go and fifo.go. One that has no value is left out.
//
// Differences: the numbers of messages are exact. SqsManagedSseEnabled is
// true unless it was set or there is a key of KMS, as at Amazon; but nothing is
// encrypted here.

type getQueueAttributesInput struct {
	QueueURL       string
	AttributeNames []string
}

func (in *getQueueAttributesInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "AttributeNames":
		in.AttributeNames = d.strings()
	default:
		return false
	}
	return true
}

type getQueueAttributesOutput struct{ Attributes []pair }

func (out getQueueAttributesOutput) encode(e *encoder) {
	e.pairs("Attributes", "Attribute", "Name", out.Attributes)
}

func (c *call) getQueueAttributes(in *getQueueAttributesInput) (out getQueueAttributesOutput, err error) {
	q, err := c.useAt(in.QueueURL)
	if err != nil {
		return out, err
	}

	v := view{site: site{c.door, q.Name(), q.accountID}, Queue: q.Queue}
	v.settings, v.modified = q.Settings()
	all := false
	wanted := make(map[string]bool, len(in.AttributeNames))
	for _, name := range in.AttributeNames {
		if name == "All" {
			all = true
		} else if err := asksFor(name, &v.settings); err != nil {
			return out, err
		}
		wanted[name] = true
	}

	for _, a := range queueAttributes {
		if !all && !wanted[a.name] {
			continue
		}
		if value := a.get(&v); value != "" {
			out.Attributes = append(out.Attributes, pair{a.name, value})
		}
	}
	return out, nil
}
